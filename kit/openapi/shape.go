package openapi

import (
	"slices"
	"strconv"
)

// types is a set of kinds; integers are numbers in their own bit.
type types uint8

const integers types = 1 << 7

func (t types) has(k kind) bool { return t&(1<<k) != 0 || k == number && t&integers != 0 }

var typeBits = map[string]types{"string": 1 << text, "integer": integers, "number": 1 << number, "boolean": 1 << boolean,
	"array": 1 << list, "object": 1 << object, "null": 1 << null}

// typesIn reads the type keyword of one schema.
func typesIn(n *node) types {
	t := n.get("type")
	if t == nil {
		return 0
	}
	set := typeBits[t.text]
	for _, item := range t.all() {
		set |= typeBits[item.text]
	}
	return set
}

// shape is what must be known of a schema to read its values from text: parameters, forms and parts say everything in
// characters, and the schema alone knows that 7 is a number.
type shape struct {
	types      types // of all parts that apply to the value; 0 when nothing is said, which is read as text
	format     string
	media      string // contentMediaType
	largest    int64  // maxLength; 0 when nothing is said
	items      *shape
	properties []property
	additional *shape // nil when the schema says nothing of further properties
}

type property struct {
	name  string
	shape *shape
}

// simple tells that a value is neither list nor object.
func (s *shape) simple() bool { return !s.types.has(list) && !s.types.has(object) }

func (s *shape) property(name string) *shape {
	for i := range s.properties {
		if s.properties[i].name == name {
			return s.properties[i].shape
		}
	}
	return nil
}

// shape walks a schema and all that applies to the same value.
func (s *schemas) shape(n *node) *shape {
	if known, ok := s.shapes[n]; ok {
		return known
	}
	made := &shape{}
	s.shapes[n] = made
	if s.depth >= maxChain { // use has noted it
		return made
	}
	s.depth++
	defer func() { s.depth-- }()
	s.addShape(made, n, map[*node]bool{})
	made.largest = s.largest(n, map[*node]int64{})
	if made.types == 0 && (len(made.properties) > 0 || made.additional != nil) {
		made.types = typeBits["object"]
	}
	if made.types == 0 && made.items != nil {
		made.types = typeBits["array"]
	}
	return made
}

func (s *schemas) addShape(made *shape, n *node, seen map[*node]bool) {
	if n == nil || n.kind != object || seen[n] {
		return
	}
	seen[n] = true
	if !(s.l.minor == 0 && n.get("$ref") != nil) {
		s.ownShape(made, n)
	}
	for _, p := range s.inPlace(n) {
		s.addShape(made, p.node, seen)
	}
}

func (s *schemas) ownShape(made *shape, n *node) {
	made.types |= typesIn(n)
	if n.get("type") == nil {
		made.types |= typesOfValues(n)
	}
	if f := n.str("format"); f != "" {
		made.format = f
	}
	if m := n.str("contentMediaType"); m != "" && n.get("contentEncoding") == nil {
		made.media, _ = rangeOf(m)
	}
	if items := n.get("items"); items != nil && made.items == nil {
		made.items = s.shape(items)
	}
	for _, m := range n.get("properties").each() {
		if !slices.ContainsFunc(made.properties, func(p property) bool { return p.name == m.name }) {
			made.properties = append(made.properties, property{m.name, s.shape(m.value)})
		}
	}
	for _, name := range []string{"additionalProperties", "unevaluatedProperties"} {
		if a := n.get(name); a != nil && made.additional == nil && !(a.kind == boolean && !a.truth) {
			made.additional = s.shape(a)
		}
	}
}

// largest is the least of all maxLength that apply to a value, 0 when none does. Of alternatives the most counts, of those that
// say something.
func (s *schemas) largest(n *node, known map[*node]int64) int64 {
	if n == nil || n.kind != object {
		return 0
	}
	if most, ok := known[n]; ok {
		return most
	}
	known[n] = 0 // a schema that leads back to itself says nothing more
	var bounds []int64
	if target := n.get("$ref"); target != nil {
		bounds = append(bounds, s.largest(s.l.follow(target), known))
	}
	if s.l.minor > 0 || n.get("$ref") == nil {
		bounds = append(bounds, s.ownLargest(n))
		for _, part := range n.get("allOf").all() {
			bounds = append(bounds, s.largest(part, known))
		}
		for _, alternatives := range [][]*node{n.get("anyOf").all(), n.get("oneOf").all(), {n.get("then"), n.get("else")}} {
			var most int64
			for _, a := range alternatives {
				most = max(most, s.largest(a, known))
			}
			bounds = append(bounds, most)
		}
	}
	least := int64(0)
	for _, b := range bounds {
		if b > 0 && (least == 0 || b < least) {
			least = b
		}
	}
	known[n] = least
	return least
}

// ownLargest is the maxLength of one schema. The schema of a file isn't translated, so what would be no bound is noted here.
func (s *schemas) ownLargest(n *node) int64 {
	m := n.get("maxLength")
	if m == nil {
		return 0
	}
	most, err := strconv.ParseInt(m.text, 10, 64)
	if m.kind != number || err != nil || most < 0 {
		s.l.failCount("maxLength", m)
	}
	return most
}

// typesOfValues reads the types of const and enum, when a schema gives no type.
func typesOfValues(n *node) types {
	values := n.get("enum").all()
	if c := n.get("const"); c != nil {
		values = append(slices.Clone(values), c)
	}
	var set types
	for _, v := range values {
		set |= 1 << v.kind
	}
	return set
}
