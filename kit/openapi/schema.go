package openapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// mode says what a schema is used for.
type mode int

const (
	closed mode = iota // it describes a whole value: properties that nobody declares are refused
	open               // it is a part of such a description: allOf, oneOf, the target of a $ref with siblings
	test               // it only asks a question: not, if, contains. Nothing is added to it
)

// schemas turns the schemas of requests into JSON Schema 2020-12, each use into a resource of its own, and compiles them.
type schemas struct {
	l       *loader
	entries map[entryKey]*entry
	order   []*entry // what is referred to comes before what refers to it, but for cycles
	shapes  map[*node]*shape
	scalars map[*node]*scalar
	traits  map[*node]*traits
	parsing map[string]*pattern
	all     *directory
	joined  map[string]*node // see shared.go
	current []*entry         // being translated, the innermost last
	depth   int              // of shapes being made
}

// maxChain bounds how many schemas may lead from one to the next, so that no document exhausts the stack (G23).
const maxChain = 2_000

type entryKey struct {
	node   *node
	mode   mode
	shared string // names of properties that others declare too, joined
}

// entry is one schema in one mode.
type entry struct {
	url     string
	pointer string // of the schema in the contract
	node    *node
	doc     any
	schema  *jsonschema.Schema // nil when counted
	sure    *sure              // asked first, where the value is nodes of a body
	outline *Outline
	counted bool // judged within a budget; see budget.go
	refers  []*entry
	all     *directory
}

// directory is what all entries share.
type directory struct {
	pointers []string // place of every entry, by its number
	judges   judges
}

// resourceBase is in front of the name of every compiled schema. The library doesn't check documents below this address
// against the metaschema, which takes longer than everything else in Load; keyword.go has checked them by then, and says
// line and column. Nothing is ever fetched: refuseAll is the only loader.
const resourceBase = "https://json-schema.org/gatehouse/"

func newSchemas(l *loader) *schemas {
	return &schemas{l: l, entries: map[entryKey]*entry{}, shapes: map[*node]*shape{}, traits: map[*node]*traits{},
		scalars: map[*node]*scalar{}, parsing: map[string]*pattern{}, all: &directory{}, joined: map[string]*node{}}
}

// use gives the entry of a schema. It follows references that have nothing to add, so that they cost nothing.
func (s *schemas) use(n *node, m mode, shared map[string]bool) *entry {
	for range maxReferences {
		if !s.isPlainReference(n) {
			break
		}
		target := s.l.follow(n.get("$ref"))
		if target == nil {
			return nil
		}
		n = target
	}
	if s.isPlainReference(n) {
		s.l.fail(n, "", "references run in a circle")
		return nil
	}
	key := entryKey{n, m, strings.Join(slices.Sorted(maps.Keys(shared)), "\x00")}
	if e, ok := s.entries[key]; ok {
		s.refer(e)
		return e
	}
	if len(s.current) >= maxChain {
		s.l.fail(n, "", "more than %d schemas lead from one to the next", maxChain)
		return nil
	}
	e := &entry{url: fmt.Sprintf("%s%d", resourceBase, len(s.entries)), pointer: n.pointer(), node: n, all: s.all}
	s.all.pointers = append(s.all.pointers, e.pointer)
	s.entries[key] = e
	s.refer(e)
	s.current = append(s.current, e)
	e.doc = s.translate(n, m, around{shared: shared})
	s.current = s.current[:len(s.current)-1]
	s.order = append(s.order, e)
	return e
}

// refer notes that the entry being translated refers to another.
func (s *schemas) refer(to *entry) {
	if len(s.current) > 0 {
		from := s.current[len(s.current)-1]
		from.refers = append(from.refers, to)
	}
}

// isPlainReference tells that a schema is a $ref and nothing else that matters. In OpenAPI 3.0 nothing beside a $ref does.
func (s *schemas) isPlainReference(n *node) bool {
	if n == nil || n.get("$ref") == nil {
		return false
	}
	for _, m := range n.members {
		if k := keywords[m.name]; m.name != "$ref" && k != ignored && (!strings.HasPrefix(m.name, "x-") || m.name == sinkKeyword) {
			if s.l.minor == 0 {
				s.l.warn(n, "schema.beside_ref", "allOf: [{$ref: ...}, {"+m.name+": ...}]",
					"%q stands beside a $ref, where OpenAPI 3.0 ignores it", m.name)
				continue
			}
			return false
		}
	}
	return true
}

// compile makes every entry ready to judge. A schema that can't be compiled is a mistake.
func (s *schemas) compile() {
	s.makeSure()
	s.makeOutlines()
	found := findCircles(s.order)
	s.countOnCircles(found)
	s.all.judges = s.makeJudges(found)
	compiler := s.compiler(anyValue)
	for _, e := range s.order {
		if e.counted = found.reaches[e]; !e.counted {
			e.schema = s.compileOne(compiler, e)
		}
	}
	for _, e := range s.order {
		e.node, e.doc, e.refers = nil, nil, nil
	}
}

// compiler makes a compiler that knows every entry. Count is the format of schemas that lie on a circle.
func (s *schemas) compiler(count func(any) error) *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(refuseAll{})
	c.UseRegexpEngine(s.regexp)
	c.RegisterFormat(&jsonschema.Format{Name: countFormat, Validate: count})
	for name, check := range formats {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: check})
		c.RegisterFormat(&jsonschema.Format{Name: countFormat + name, Validate: func(v any) error {
			if err := count(v); err != nil {
				return err
			}
			return check(v)
		}})
	}
	for _, e := range s.order {
		if err := c.AddResource(e.url, e.doc); err != nil {
			s.l.fail(e.node, "", "schema: %s", err)
		}
	}
	return c
}

func (s *schemas) compileOne(c *jsonschema.Compiler, e *entry) *jsonschema.Schema {
	schema, err := c.Compile(e.url)
	if err != nil {
		s.l.fail(e.node, "", "schema: %s", err)
	}
	return schema
}

// refuseAll loads nothing (I11).
type refuseAll struct{}

func (refuseAll) Load(url string) (any, error) {
	return nil, errors.New("nothing is loaded from " + url)
}

// value is a place where a request has a value that a schema describes.
type value struct {
	entry  *entry
	shape  *shape
	scalar *scalar // the fast way, nil when the schema needs the general one
	sink   string  // x-gatehouse-sink at the parameter, beside its schema
}

// newValue reads the schema of a value. At is where it should have stood when n is nil.
func (l *loader) newValue(n, at *node) *value {
	if n == nil {
		l.warn(at, "body.free_form", "schema: {type: object, properties: {...}}", "no schema: anything is admitted")
		return &value{shape: &shape{}}
	}
	v := &value{entry: l.schemas.use(n, closed, nil), shape: l.schemas.shape(n)}
	if v.shape.simple() {
		v.scalar = l.schemas.scalar(n)
	}
	return v
}

// traits are what a schema says of objects, with all that applies to the same value: $ref, allOf, anyOf, oneOf, then, else.
type traits struct {
	properties bool // some are declared
	extra      bool // additionalProperties or unevaluatedProperties is said
	bounded    bool // the value is of another type, or one of an enum
	readOnly   map[string]bool
}

// traitsOf walks a schema. A schema that contains itself without going down into the value is a mistake.
func (s *schemas) traitsOf(n *node, path map[*node]bool) *traits {
	if t, ok := s.traits[n]; ok {
		return t
	}
	t := &traits{readOnly: map[string]bool{}}
	if n == nil || n.kind != object {
		t.bounded = n != nil && n.kind == boolean && !n.truth
		return t
	}
	if path[n] || len(path) >= maxChain {
		s.l.fail(n, "", "a schema refers to itself without an end")
		return t
	}
	path[n] = true
	defer delete(path, n)
	s.ownTraits(n, t)
	for _, part := range s.inPlace(n) {
		other := s.traitsOf(part.node, path)
		t.properties = t.properties || other.properties
		t.extra = t.extra || other.extra
		t.bounded = t.bounded || other.bounded && part.always
		for name := range other.readOnly {
			t.readOnly[name] = true
		}
	}
	if alternatives := append(n.get("anyOf").all(), n.get("oneOf").all()...); len(alternatives) > 0 && !t.bounded {
		t.bounded = true
		for _, a := range alternatives {
			t.bounded = t.bounded && s.traitsOf(a, path).bounded
		}
	}
	s.traits[n] = t
	return t
}

func (s *schemas) ownTraits(n *node, t *traits) {
	t.properties = len(n.get("properties").each()) > 0 || len(n.get("patternProperties").each()) > 0
	t.extra = n.get("additionalProperties") != nil || n.get("unevaluatedProperties") != nil
	t.bounded = n.get("enum") != nil || n.get("const") != nil || n.get("type") != nil && !typesIn(n).has(object)
	for _, m := range n.get("properties").each() {
		if s.isReadOnly(m.value, 0) {
			t.readOnly[m.name] = true
		}
	}
}

// part is a schema that applies to the same value as the one it stands in.
type part struct {
	node   *node
	always bool // not only in some case
}

func (s *schemas) inPlace(n *node) []part {
	var parts []part
	if ref := n.get("$ref"); ref != nil {
		if target := s.l.follow(ref); target != nil {
			parts = append(parts, part{target, true})
		}
		if s.l.minor == 0 {
			return parts
		}
	}
	for _, c := range n.get("allOf").all() {
		parts = append(parts, part{c, true})
	}
	for _, name := range []string{"anyOf", "oneOf"} {
		for _, c := range n.get(name).all() {
			parts = append(parts, part{c, false})
		}
	}
	for _, name := range []string{"then", "else"} {
		if c := n.get(name); c != nil {
			parts = append(parts, part{c, false})
		}
	}
	for _, m := range n.get("dependentSchemas").each() {
		parts = append(parts, part{m.value, false})
	}
	return parts
}

// all gives the items of a list, none of anything else.
func (n *node) all() []*node {
	if n == nil || n.kind != list {
		return nil
	}
	return n.items
}

// isReadOnly tells that a property is only for answers.
func (s *schemas) isReadOnly(n *node, depth int) bool {
	if n == nil || n.kind != object || depth > 20 {
		return false
	}
	if n.yes("readOnly") && !(s.l.minor == 0 && n.get("$ref") != nil) {
		return true
	}
	if ref := n.get("$ref"); ref != nil {
		return s.isReadOnly(s.l.follow(ref), depth+1)
	}
	for _, c := range n.get("allOf").all() {
		if s.isReadOnly(c, depth+1) {
			return true
		}
	}
	return false
}
