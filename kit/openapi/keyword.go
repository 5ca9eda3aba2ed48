package openapi

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// keyword says what may stand under a word of a schema.
type keyword int

const (
	unknown      keyword = iota
	ignored              // says nothing of values
	refused              // changes what references mean
	oneSchema            //
	questions            // a schema that only asks: not, if, contains
	manySchemas          // a list of schemas for the same value
	innerSchemas         // a list of schemas for parts of the value
	namedSchemas         // an object of schemas
	count                // an integer that isn't negative
	numeral              //
	flag                 //
	names                // a list of texts, each once
	special              // translated by a function of its own
	anything             //
)

var keywords = map[string]keyword{
	"title": ignored, "description": ignored, "$comment": ignored, "default": ignored, "example": ignored, "examples": ignored,
	"deprecated": ignored, "writeOnly": ignored, "readOnly": ignored, "discriminator": ignored, "xml": ignored,
	"externalDocs": ignored, "$defs": ignored, "definitions": ignored, "summary": ignored,
	"$id": refused, "$anchor": refused, "$dynamicRef": refused, "$dynamicAnchor": refused, "$recursiveRef": refused,
	"$recursiveAnchor": refused, "$vocabulary": refused, "id": unknown,
	"additionalProperties": special, "unevaluatedProperties": special, "propertyNames": questions, "items": special,
	"unevaluatedItems": oneSchema, "contains": questions, "not": questions, "if": questions, "then": special, "else": special,
	"allOf": manySchemas, "anyOf": manySchemas, "oneOf": manySchemas, "prefixItems": innerSchemas,
	"properties": special, "patternProperties": special, "dependentSchemas": namedSchemas,
	"maxLength": count, "minLength": count, "maxItems": count, "minItems": count, "maxProperties": count, "minProperties": count,
	"maxContains": count, "minContains": count,
	"maximum": numeral, "minimum": numeral, "multipleOf": special, "exclusiveMaximum": special, "exclusiveMinimum": special,
	"uniqueItems": flag, "nullable": special, "required": special, "dependentRequired": special, "type": special,
	"enum": special, "const": anything, "format": special, "pattern": special, "$ref": special, "$schema": special,
	"contentEncoding": special, "contentMediaType": special, "contentSchema": special,
	"x-gatehouse-accept-risk": special, "x-gatehouse-secret": flag, sinkKeyword: special,
}

// translation is the state of translating one schema object.
type translation struct {
	s        *schemas
	n        *node
	mode     mode
	readOnly map[string]bool // of this value's properties
	shared   map[string]bool // properties that several parts of this value declare; see shared.go
	out      map[string]any
}

// around is what a schema learns from one around it that describes the same value.
type around struct{ readOnly, shared map[string]bool }

// translate gives a schema in the form of JSON Schema 2020-12, its parts at the same places.
func (s *schemas) translate(n *node, m mode, outer around) any {
	switch {
	case n.kind == boolean && s.l.minor == 0:
		s.l.fail(n, "{}", "a schema is a boolean, which OpenAPI 3.0 does not have")
		return n.truth
	case n.kind == boolean:
		if n.truth && m == closed {
			s.l.warn(n, "body.free_form", "{type: object, properties: {...}}", "the schema true admits anything")
		}
		return n.truth
	case n.kind != object:
		s.l.fail(n, "{type: string}", "a schema is %s, not an object", n.kind)
		return false
	case s.isPlainReference(n):
		if e := s.use(n, m, outer.shared); e != nil {
			return map[string]any{"$ref": e.url}
		}
		return false
	}
	t := &translation{s: s, n: n, mode: m, out: map[string]any{}, readOnly: outer.readOnly, shared: outer.shared}
	if found := s.traitsOf(n, map[*node]bool{}); len(found.readOnly) > 0 && m != test {
		t.readOnly = map[string]bool{}
		for _, from := range []map[string]bool{outer.readOnly, found.readOnly} {
			for name := range from {
				t.readOnly[name] = true
			}
		}
	}
	var several []severalTimes
	if m == closed {
		several = t.findShared()
	}
	for _, member := range n.members {
		t.member(member)
	}
	if m == closed {
		t.join(several)
		t.close()
	}
	return t.out
}

func (t *translation) fail(n *node, write, what string, args ...any) {
	t.s.l.fail(n, write, what, args...)
}

func (t *translation) want(m member, is string) {
	t.fail(m.value, "", "%s is %s, not %s", m.name, m.value.kind, is)
}

func (t *translation) member(m member) {
	if t.s.l.minor == 0 && t.n.get("$ref") != nil && m.name != "$ref" {
		return
	}
	v := m.value
	switch k := keywords[m.name]; k {
	case unknown:
		t.unknown(m)
	case refused:
		t.s.l.failMember(t.n, m.name, "'#/components/schemas/Name'", "%s changes what references mean and is not read; use a JSON pointer", m.name)
	case oneSchema, questions:
		t.out[m.name] = t.s.translate(v, t.below(k), around{})
	case manySchemas, innerSchemas:
		t.schemaList(m, k)
	case namedSchemas:
		t.schemaMap(m, t.inside())
	case count:
		if v.kind != number || strings.HasPrefix(v.text, "-") || !isWhole(v.text) {
			t.s.l.failCount(m.name, v)
			return
		}
		t.out[m.name] = json.Number(v.text)
	case numeral:
		if v.kind != number {
			t.want(m, "a number")
			return
		}
		t.out[m.name] = json.Number(v.text)
	case flag:
		if v.kind != boolean {
			t.want(m, "a boolean")
			return
		}
		t.out[m.name] = v.truth
	case anything:
		t.out[m.name] = v.value()
	case special:
		t.special(m)
	}
}

// isWhole tells that a literal is a whole number that fits.
func isWhole(s string) bool {
	_, err := strconv.ParseInt(s, 10, 32)
	return err == nil
}

func (l *loader) failCount(name string, n *node) {
	l.fail(n, "", "%s is not a whole number from 0 up", name)
}

// below is the mode of a schema for a part of the value.
func (t *translation) below(k keyword) mode {
	if k == questions || t.mode == test {
		return test
	}
	return closed
}

func (t *translation) around() around { return around{t.readOnly, t.shared} }

// inside is the mode of a schema for the same value.
func (t *translation) inside() mode {
	if t.mode == test {
		return test
	}
	return open
}

func (t *translation) unknown(m member) {
	if strings.HasPrefix(m.name, "x-gatehouse-") {
		t.s.l.failMember(t.n, m.name, mistake.Nearest(m.name, []string{"x-gatehouse-accept-risk", "x-gatehouse-secret", sinkKeyword}), "unknown member %q", m.name)
		return
	}
	if strings.HasPrefix(m.name, "x-") {
		return
	}
	var known []string
	for name := range keywords {
		known = append(known, name)
	}
	slices.Sort(known)
	t.s.l.warn(t.n, "schema.unknown_keyword", mistake.Nearest(m.name, known), "keyword %q is unknown and does nothing", m.name)
}

func (t *translation) schemaList(m member, k keyword) {
	if m.value.kind != list || len(m.value.items) == 0 {
		t.fail(m.value, "", "%s is not a list of schemas", m.name)
		return
	}
	inner, outer := t.inside(), t.around()
	switch {
	case k == innerSchemas:
		inner, outer = t.below(k), around{}
	case m.name != "allOf": // a part that does not always apply keeps what it says of a shared property
		outer.shared = nil
	}
	items := make([]any, len(m.value.items))
	for i, item := range m.value.items {
		if item.parent == m.value {
			items[i] = t.s.translate(item, inner, outer)
		} else if e := t.s.use(item, inner, outer.shared); e != nil { // of a joined schema: it stands elsewhere
			items[i] = map[string]any{"$ref": e.url}
		}
	}
	t.out[m.name] = items
}

func (t *translation) schemaMap(m member, inner mode) {
	if m.value.kind != object {
		t.want(m, "an object")
		return
	}
	members := make(map[string]any, len(m.value.members))
	for _, c := range m.value.members {
		switch {
		case m.name == "properties" && t.mode != test && t.s.isReadOnly(c.value, 0):
			members[c.name] = false
			continue
		case m.name == "patternProperties":
			t.pattern(m.value, c.name, c.line, c.column)
		case m.name == "properties" && t.mode != test && t.shared[c.name]:
			members[c.name] = true // judged once, over all declarations
			continue
		}
		members[c.name] = t.s.translate(c.value, inner, around{})
	}
	t.out[m.name] = members
}
