package openapi

import (
	"encoding/json"
	"maps"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strconv"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// sureMaker makes a sure of every document that the library compiles.
type sureMaker struct {
	docs    map[string]any // by the name that a $ref has for them
	made    map[string]*sure
	pattern func(written string) *regexp.Regexp // nil for one that can't be judged
}

// makeSure is called before schemas on circles are made to count.
func (s *schemas) makeSure() {
	m := &sureMaker{docs: make(map[string]any, len(s.order)), made: make(map[string]*sure, len(s.order)),
		pattern: func(written string) *regexp.Regexp { return s.pattern(written).re }}
	for _, e := range s.order {
		m.docs[e.url] = e.doc
	}
	for _, e := range s.order {
		e.sure = m.named(e.url)
	}
}

// named gives the schema that a $ref names. It may not be finished yet: schemas lie on circles.
func (m *sureMaker) named(url string) *sure {
	if known := m.made[url]; known != nil {
		return known
	}
	doc, ok := m.docs[url]
	if !ok {
		return &sure{never: true}
	}
	s := &sure{}
	m.made[url] = s
	m.fill(s, doc)
	return s
}

func (m *sureMaker) make(doc any) *sure {
	s := &sure{}
	m.fill(s, doc)
	return s
}

func (m *sureMaker) fill(s *sure, doc any) {
	switch doc := doc.(type) {
	case bool:
		s.never = !doc
	case map[string]any:
		for name, v := range doc {
			if !m.member(s, doc, name, v) {
				s.never = true
			}
		}
	default:
		s.never = true
	}
}

// member reads one keyword. False means that it is none that this form can express.
func (m *sureMaker) member(s *sure, doc map[string]any, name string, v any) bool {
	ok := true
	switch name {
	case "x-gatehouse-secret", sinkKeyword: // they say nothing of values
	case "type":
		return s.readTypes(v)
	case "enum":
		values, isList := v.([]any)
		return isList && s.admit(values)
	case "const":
		return s.admit([]any{v})
	case "format":
		word, _ := v.(string)
		s.format, ok = formats[word]
	case "$ref":
		url, isText := v.(string)
		if isText {
			s.parts.all = append(s.parts.all, m.named(url))
		}
		return isText
	case "allOf":
		s.parts.all, ok = m.each(s.parts.all, v)
	case "anyOf":
		s.parts.any, ok = m.each(nil, v)
	case "oneOf":
		s.parts.one, ok = m.each(nil, v)
	case "unevaluatedProperties":
		s.parts.unevaluated = m.make(v)
	case "minLength", "maxLength", "pattern":
		if s.text == nil {
			s.text, ok = m.readText(doc)
		}
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		if s.number == nil {
			s.number, ok = readNumber(doc)
		}
	case "items", "prefixItems", "minItems", "maxItems", "uniqueItems":
		if s.list == nil {
			s.list, ok = m.readList(doc)
		}
	case "properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties":
		if s.object == nil {
			s.object, ok = m.readObject(doc)
		}
	default:
		return false
	}
	return ok
}

func (s *sure) readTypes(v any) bool {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	kinds := map[any]uint8{"null": 1 << body.Null, "boolean": 1<<body.False | 1<<body.True, "number": 1 << body.Number, "integer": 1 << body.Number,
		"string": 1 << body.String, "array": 1 << body.Array, "object": 1 << body.Object}
	anyNumber := false
	for _, word := range list {
		text, _ := word.(string)
		if kinds[text] == 0 {
			s.types = 0
			return false
		}
		s.types |= kinds[text]
		s.whole = s.whole || text == "integer"
		anyNumber = anyNumber || text == "number"
	}
	s.whole = s.whole && !anyNumber
	return s.types != 0
}

// admit reads enum or const. Lists and objects in it are left out, so that they are left to the library.
func (s *sure) admit(values []any) bool {
	if s.enum != nil { // both are given
		return false
	}
	s.enum = &sureEnum{}
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			s.enum.kinds |= 1 << body.Null
		case bool:
			s.enum.kinds |= map[bool]uint8{false: 1 << body.False, true: 1 << body.True}[v]
		case string:
			s.enum.texts = append(s.enum.texts, v)
		case json.Number:
			if d, ok := toDecimal(string(v)); ok {
				s.enum.numbers = append(s.enum.numbers, d)
			}
		}
	}
	return true
}

func (m *sureMaker) each(list []*sure, v any) ([]*sure, bool) {
	docs, ok := v.([]any)
	for _, doc := range docs {
		list = append(list, m.make(doc))
	}
	return list, ok
}

// bounds reads two counts.
func bounds(doc map[string]any, low, high string) (least, most int, ok bool) {
	least, most = 0, math.MaxInt
	for name, to := range map[string]*int{low: &least, high: &most} {
		if v, given := doc[name]; given {
			n, isNumber := v.(json.Number)
			i, err := strconv.ParseUint(string(n), 10, 31)
			if !isNumber || err != nil {
				return 0, 0, false
			}
			*to = int(i)
		}
	}
	return least, most, true
}

func (m *sureMaker) readText(doc map[string]any) (*sureText, bool) {
	t := &sureText{}
	var ok bool
	t.min, t.max, ok = bounds(doc, "minLength", "maxLength")
	if v, given := doc["pattern"]; given {
		written, _ := v.(string)
		t.pattern = m.pattern(written)
		ok = ok && t.pattern != nil
	}
	return t, ok
}

func readNumber(doc map[string]any) (*sureNumber, bool) {
	n := &sureNumber{}
	for name, to := range map[string]**decimal{"minimum": &n.low, "maximum": &n.high, "exclusiveMinimum": &n.above, "exclusiveMaximum": &n.below} {
		if v, given := doc[name]; given {
			d, ok := readDecimal(v)
			if !ok {
				return nil, false
			}
			*to = &d
		}
	}
	if v, given := doc["multipleOf"]; given {
		d, ok := readDecimal(v)
		if !ok {
			return nil, false
		}
		n.digits = len(d.fraction)
		if n.multiple, ok = d.scaled(n.digits); !ok || n.multiple == 0 {
			return nil, false
		}
	}
	return n, true
}

func readDecimal(v any) (decimal, bool) {
	n, ok := v.(json.Number)
	if !ok || !isJSONNumber(string(n)) {
		return decimal{}, false
	}
	return toDecimal(string(n))
}

func (m *sureMaker) readList(doc map[string]any) (*sureList, bool) {
	l := &sureList{}
	var ok bool
	if l.min, l.max, ok = bounds(doc, "minItems", "maxItems"); !ok {
		return nil, false
	}
	if v, given := doc["items"]; given {
		l.items = m.make(v)
	}
	if v, given := doc["prefixItems"]; given {
		if l.first, ok = m.each(nil, v); !ok {
			return nil, false
		}
	}
	if v, given := doc["uniqueItems"]; given {
		l.unique, ok = v.(bool)
	}
	return l, ok
}

func (m *sureMaker) readObject(doc map[string]any) (*sureObject, bool) {
	o := &sureObject{}
	var ok bool
	if o.min, o.max, ok = bounds(doc, "minProperties", "maxProperties"); !ok {
		return nil, false
	}
	declared, isObject := doc["properties"].(map[string]any)
	if _, given := doc["properties"]; given && !isObject {
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		o.properties = append(o.properties, sureProperty{name: name, schema: m.make(declared[name])})
	}
	if !o.readRequired(doc) || !m.readPatterns(o, doc) {
		return nil, false
	}
	if v, given := doc["additionalProperties"]; given {
		o.additional = m.make(v)
	}
	if len(o.properties) > manyProperties {
		o.numbers = make(map[string]int, len(o.properties))
		for i, p := range o.properties {
			o.numbers[p.name] = i
		}
	}
	return o, true
}

func (o *sureObject) readRequired(doc map[string]any) bool {
	v, given := doc["required"]
	list, isList := v.([]any)
	if given && !isList {
		return false
	}
	for _, item := range list {
		name, isText := item.(string)
		if !isText || bits.OnesCount64(o.required) == 64 {
			return false
		}
		i := o.property(name)
		if i < 0 {
			i = len(o.properties)
			o.properties = append(o.properties, sureProperty{name: name})
		}
		o.properties[i].bit = 1 << bits.OnesCount64(o.required)
		o.required |= o.properties[i].bit
	}
	return true
}

func (m *sureMaker) readPatterns(o *sureObject, doc map[string]any) bool {
	v, given := doc["patternProperties"]
	members, isObject := v.(map[string]any)
	for _, written := range slices.Sorted(maps.Keys(members)) {
		name := m.pattern(written)
		if name == nil {
			return false
		}
		o.patterns = append(o.patterns, surePattern{name, m.make(members[written])})
	}
	return isObject || !given
}

// nodesOf writes a value that was not read from JSON, a form or a parameter, as a body's nodes behind those before it.
func nodesOf(nodes []body.Node, name string, v any) []body.Node {
	at, n := len(nodes), body.Node{Name: name}
	if nodes == nil {
		nodes = make([]body.Node, 0, 8)
	}
	nodes = append(nodes, n)
	switch v := v.(type) {
	case nil:
	case bool:
		n.Kind = map[bool]body.NodeKind{false: body.False, true: body.True}[v]
	case json.Number:
		n.Kind, n.Text = body.Number, string(v)
	case string:
		n.Kind, n.Text = body.String, v
	case []any:
		n.Kind, n.Size = body.Array, int32(len(v))
		for _, item := range v {
			nodes = nodesOf(nodes, "", item)
		}
	case map[string]any:
		n.Kind, n.Size = body.Object, int32(len(v))
		for inner, item := range v {
			nodes = nodesOf(nodes, inner, item)
		}
	default:
		n.Kind = body.Number // without digits: nobody is sure of it
	}
	n.Next = int32(len(nodes))
	nodes[at] = n
	return nodes
}
