package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// special translates the keywords that need more than a look at the kind of their value.
func (t *translation) special(m member) {
	v := m.value
	switch m.name {
	case "$ref":
		t.reference(m)
	case "$schema":
		if v.text != schemaDialect {
			t.fail(v, schemaDialect, "schemas of dialect %q are not read", v.text)
		}
	case "properties", "patternProperties":
		t.schemaMap(m, t.below(special))
	case "additionalProperties", "unevaluatedProperties":
		t.additional(m)
	case "items":
		if v.kind == list {
			t.fail(v, "prefixItems", "items is a list; OpenAPI 3.1 writes prefixItems")
			return
		}
		t.out["items"] = t.s.translate(v, t.below(special), around{})
	case "then", "else":
		t.out[m.name] = t.s.translate(v, t.inside(), around{readOnly: t.readOnly})
	case "exclusiveMinimum", "exclusiveMaximum":
		t.exclusive(m)
	case "multipleOf":
		if v.kind != number || strings.HasPrefix(v.text, "-") || strings.Trim(v.text, "0.") == "" {
			t.fail(v, "", "multipleOf is not a number above 0")
			return
		}
		t.out[m.name] = json.Number(v.text)
	case "nullable":
		if t.s.l.minor > 0 {
			t.s.l.warn(t.n, "schema.nullable", "type: [..., 'null']", "nullable does nothing since OpenAPI 3.1")
		}
	case "type":
		t.types(m)
	case "enum":
		if v.kind != list || len(v.items) == 0 {
			t.fail(v, "", "enum is not a list of values")
			return
		}
		t.out["enum"] = v.value()
	case "required":
		t.required(m)
	case "dependentRequired":
		t.dependent(m)
	case "format":
		t.format(m)
	case "pattern":
		if v.kind != text {
			t.want(m, "a text")
			return
		}
		if t.pattern(v, v.text, v.line, v.column) {
			t.out["pattern"] = v.text
		}
	case sinkKeyword:
		if sink := t.s.l.sink(t.n); sink != "" {
			t.out[sinkKeyword] = sink
		}
	case "contentEncoding", "contentMediaType", "contentSchema":
		t.s.l.warn(t.n, "schema.content_not_judged", "", "%s says something of a text that is not judged", m.name)
	}
}

func (t *translation) reference(m member) {
	if m.value.kind != text {
		t.want(m, "a text")
		return
	}
	if target := t.s.l.follow(m.value); target != nil {
		if e := t.s.use(target, t.inside(), t.shared); e != nil {
			t.out["$ref"] = e.url
		}
	}
}

func (t *translation) additional(m member) {
	v := m.value
	switch {
	case v.kind == boolean && (m.name == "additionalProperties" || t.s.l.minor > 0):
		t.out[m.name] = v.truth
	case v.kind == object && len(v.members) == 0:
		t.out[m.name] = true
	default:
		t.out[m.name] = t.s.translate(v, t.below(special), around{})
	}
	if t.mode != test && (v.kind == boolean && v.truth || v.kind == object && len(v.members) == 0) {
		t.s.l.warn(t.n, "body.additional_properties", m.name+": false", "%s admits any property", m.name)
	}
}

// exclusive reads both forms: OpenAPI 3.0 puts a boolean beside minimum, 3.1 writes the bound itself.
func (t *translation) exclusive(m member) {
	bound := strings.ToLower(strings.TrimPrefix(m.name, "exclusive"))
	switch {
	case m.value.kind == number:
		t.out[m.name] = json.Number(m.value.text)
	case m.value.kind == boolean && t.s.l.minor == 0:
		if limit := t.n.get(bound); m.value.truth && limit != nil && limit.kind == number {
			t.out[m.name] = json.Number(limit.text)
		}
	default:
		write := ""
		if limit := t.n.get(bound); limit != nil {
			write = fmt.Sprintf("%s: %s", m.name, limit.text)
		}
		t.fail(m.value, write, "%s is %s, not a number", m.name, m.value.kind)
	}
}

var typeNames = []string{"string", "integer", "number", "boolean", "array", "object", "null"}

func (t *translation) types(m member) {
	written := []*node{m.value}
	if m.value.kind == list && t.s.l.minor > 0 {
		written = m.value.items
	}
	out := make([]any, 0, len(written)+1)
	for _, w := range written {
		if w.kind != text || !slices.Contains(typeNames, w.text) || t.s.l.minor == 0 && w.text == "null" {
			t.fail(w, mistake.Nearest(w.text, typeNames), "type is not one of %s", strings.Join(typeNames, ", "))
			return
		}
		out = append(out, w.text)
	}
	if len(out) == 0 {
		t.fail(m.value, "", "type admits nothing")
	}
	if t.s.l.minor == 0 && t.n.yes("nullable") {
		out = append(out, "null")
	}
	t.out["type"] = out
}

func (t *translation) texts(n *node, name string) []any {
	out := []any{}
	if n.kind != list {
		t.fail(n, "", "%s is %s, not a list", name, n.kind)
		return out
	}
	for i, item := range n.items {
		if item.kind != text || slices.ContainsFunc(n.items[:i], func(o *node) bool { return o.text == item.text }) {
			t.fail(item, "", "%s is not a list of texts, each once", name)
			continue
		}
		out = append(out, item.text)
	}
	return out
}

// required leaves out what a request may not have: OpenAPI asks for readOnly properties in answers only.
func (t *translation) required(m member) {
	out := t.texts(m.value, "required")
	t.out["required"] = slices.DeleteFunc(out, func(name any) bool { return t.readOnly[name.(string)] })
}

func (t *translation) dependent(m member) {
	if m.value.kind != object {
		t.want(m, "an object")
		return
	}
	out := map[string]any{}
	for _, c := range m.value.members {
		out[c.name] = t.texts(c.value, m.name)
	}
	t.out[m.name] = out
}

func (t *translation) format(m member) {
	switch {
	case m.value.kind != text:
		t.want(m, "a text")
	case formats[m.value.text] != nil:
		t.out["format"] = m.value.text
	default:
		t.s.l.warn(t.n, "schema.unknown_format", mistake.Nearest(m.value.text, formatNames()), "format %q is unknown and does nothing", m.value.text)
	}
}

// pattern reports whether a pattern is judged. One that can't be is a mistake, unless that risk is accepted beside it.
func (t *translation) pattern(at *node, written string, line, column int) bool {
	p := t.s.pattern(written)
	if p.err != nil {
		if risk := t.n.get("x-gatehouse-accept-risk"); risk != nil && risk.kind == text && strings.TrimSpace(risk.text) != "" {
			t.s.l.warn(t.n, "schema.pattern_not_judged", "", "pattern is not judged (%s): %s", p.err, risk.text)
			return false
		}
		t.s.l.failAt(at, line, column, "x-gatehouse-accept-risk: why any value is acceptable here", "pattern can't be judged: %s", p.err)
		return false
	}
	if !p.anchored {
		t.s.l.warn(t.n, "schema.unanchored_pattern", "'^(?:"+written+")$'", "the pattern is not anchored: anything may stand around what it describes")
	}
	return true
}

// close refuses properties that nobody declares, unless the schema says something of them.
func (t *translation) close() {
	found := t.s.traitsOf(t.n, map[*node]bool{})
	_, additional := t.out["additionalProperties"]
	_, unevaluated := t.out["unevaluatedProperties"]
	switch {
	case additional || unevaluated:
	case found.properties && len(t.s.inPlace(t.n)) == 0:
		t.out["additionalProperties"] = false
	case found.properties:
		t.out["unevaluatedProperties"] = false
	case !found.extra && !found.bounded:
		t.s.l.warn(t.n, "body.free_form", "properties: {...}", "no property is declared: anything is admitted")
	case typesIn(t.n).has(list) && t.out["items"] == nil && t.out["prefixItems"] == nil && t.out["unevaluatedItems"] == nil && len(t.s.inPlace(t.n)) == 0:
		t.s.l.warn(t.n, "body.free_form", "items: {...}", "no items are declared: anything is admitted")
	}
}

const schemaDialect = "https://json-schema.org/draft/2020-12/schema"
