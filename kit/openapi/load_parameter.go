package openapi

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var parameterKeys = []string{"name", "in", "description", "required", "deprecated", "allowEmptyValue", "style", "explode",
	"allowReserved", "schema", "example", "examples", "content", "x-gatehouse-secret", sinkKeyword}

// styles are those that each place may have, its default first.
var styles = map[string][]string{
	"path":   {"simple", "label"},
	"query":  {"form", "spaceDelimited", "pipeDelimited", "deepObject"},
	"header": {"simple"},
	"cookie": {"form"},
}

// loadParameters joins those of the path item with those of the operation, which replace them by place and name.
func (l *loader) loadParameters(p pathItem, n *node, op *Operation) {
	for _, from := range []*node{n.get("parameters"), p.item.get("parameters")} {
		if from == nil {
			continue
		}
		if from.kind != list {
			l.fail(from, "", "parameters is %s, not a list", from.kind)
			continue
		}
		var own []*Parameter
		for _, item := range from.items {
			parameter := l.loadParameter(item)
			if parameter == nil {
				continue
			}
			if slices.ContainsFunc(own, parameter.same) {
				l.fail(item, "", "%s parameter %q is declared twice", parameter.In, parameter.Name)
				continue
			}
			own = append(own, parameter)
			if !slices.ContainsFunc(op.Parameters, parameter.same) {
				op.Parameters = append(op.Parameters, parameter)
			}
		}
	}
	l.matchTemplate(p, n, op)
	op.plan = makePlan(op, l.contract)
	if err := op.plan.conflict(); err != nil {
		l.fail(n, "", "%s", err)
	}
}

func (p *Parameter) same(other *Parameter) bool { return p.In == other.In && p.key == other.key }

// matchTemplate demands that path parameters and the template's variables are the same.
func (l *loader) matchTemplate(p pathItem, n *node, op *Operation) {
	var names []string
	for _, s := range p.segments {
		if s.Name == "" {
			continue
		}
		names = append(names, s.Name)
		if !slices.ContainsFunc(op.Parameters, func(p *Parameter) bool { return p.In == "path" && p.Name == s.Name }) {
			l.fail(n, fmt.Sprintf("parameters: [{name: %s, in: path, required: true, schema: {type: string, maxLength: 64}}]", s.Name),
				"{%s} of the path is not declared as a parameter", s.Name)
		}
	}
	for _, parameter := range op.Parameters {
		if parameter.In == "path" && !slices.Contains(names, parameter.Name) {
			l.fail(n, mistake.Nearest(parameter.Name, names), "path parameter %q is not in the path %s", parameter.Name, p.template)
		}
	}
}

// loadParameter gives nil for what is a mistake, and for headers that OpenAPI says to ignore.
func (l *loader) loadParameter(written *node) *Parameter {
	n := l.resolve(written)
	if n == nil {
		return nil
	}
	if n.kind != object {
		l.fail(n, "", "a parameter is %s, not an object", n.kind)
		return nil
	}
	l.keys(n, parameterKeys...)
	p := &Parameter{Name: n.str("name"), In: n.str("in"), Required: n.yes("required"), Pointer: n.pointer(),
		value: &value{shape: &shape{}}, AllowReserved: n.yes("allowReserved"), Secret: n.yes("x-gatehouse-secret"), allowEmpty: n.yes("allowEmptyValue")}
	p.key = p.Name
	possible, ok := styles[p.In]
	if p.Name == "" || !ok {
		l.fail(n, "in: query", "a parameter needs a name and in: path, query, header or cookie")
		return nil
	}
	if p.In == "header" {
		if !isToken(p.Name) {
			l.fail(n, "", "%q is no name of a header field", p.Name)
			return nil
		}
		p.key = textproto.CanonicalMIMEHeaderKey(p.Name)
		if p.key == "Accept" || p.key == "Content-Type" || p.key == "Authorization" {
			return nil // OpenAPI 3.x, Parameter Object: "the parameter definition SHALL be ignored"
		}
	}
	if p.In == "path" && !p.Required {
		l.fail(n, "required: true", "path parameter %q is not required, but a path always has it", p.Name)
	}
	if n.get("content") != nil {
		p = l.contentParameter(n, p)
	} else {
		p = l.schemaParameter(n, p, possible)
	}
	p.value.sink = l.sink(n)
	return p
}

func (l *loader) contentParameter(n *node, p *Parameter) *Parameter {
	content := n.get("content")
	if n.get("schema") != nil || len(content.each()) != 1 {
		l.fail(n, "", "a parameter has either a schema or exactly one media type as its content")
		return p
	}
	m := content.members[0]
	var ok bool
	if p.media, ok = kindOf(m.name); !ok || p.media != body.JSON && p.media != body.Text {
		l.failMember(content, m.name, "application/json", "a parameter of media type %q can't be judged", m.name)
		return p
	}
	media := l.resolve(m.value)
	if media == nil {
		return p
	}
	p.value = l.newValue(media.get("schema"), media)
	return p
}

func (l *loader) schemaParameter(n *node, p *Parameter, possible []string) *Parameter {
	p.Style = possible[0]
	if s := n.get("style"); s != nil {
		p.Style = s.text
		if s.text == "matrix" {
			l.fail(s, "style: simple", "style matrix needs a semicolon in the path, which is refused in every request")
		} else if !slices.Contains(possible, s.text) {
			l.fail(s, "style: "+possible[0], "a %s parameter has no style %q", p.In, s.text)
		}
	}
	p.Explode = p.Style == "form"
	if e := n.get("explode"); e != nil {
		p.Explode = e.truth
	}
	if n.get("schema") == nil {
		if n.get("type") == nil { // Swagger 2.0 writes the type here; that is noted by then
			l.fail(n, "schema: {type: string, maxLength: 64}", "parameter %q has no schema", p.Name)
		}
		return p
	}
	p.value = l.newValue(n.get("schema"), n)
	p.Secret = p.Secret || p.value.shape.format == "password"
	shape := p.value.shape
	if shape.types.has(list) && p.In == "cookie" && p.Explode && !shape.types.has(text) {
		l.fail(n, "explode: false", "a list in a cookie can't be exploded: a cookie has one value")
	}
	if shape.types.has(object) && p.In == "cookie" && p.Explode {
		l.fail(n, "explode: false", "an object in a cookie can't be exploded: its members would be cookies of their own")
	}
	if p.Style == "deepObject" && !shape.types.has(object) {
		l.fail(n, "style: form", "style deepObject is for objects")
	}
	for _, f := range shape.properties {
		if strings.ContainsAny(f.name, "[]") && p.Style == "deepObject" {
			l.fail(n, "", "property %q can't be written in style deepObject", f.name)
		}
	}
	return p
}
