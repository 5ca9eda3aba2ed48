package openapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// CheckParameters judges the values of the path's variables (as route.Table.Match gives them), the query, the declared
// header fields and the declared cookies. It gives nil, or the first thing wrong. A query parameter that nobody declares is
// refused; a header field or cookie that nobody declares passes, since clients and proxies add their own.
func (op *Operation) CheckParameters(req *canon.Request, path []canon.Pair) *Violation {
	p := &op.plan
	for _, parameter := range p.path {
		i := slices.IndexFunc(path, func(pair canon.Pair) bool { return pair.Name == parameter.Name })
		if i < 0 {
			return parameter.missing()
		}
		if v := parameter.one(path[i].Value); v != nil {
			return v
		}
	}
	if v := op.checkQuery(req.Query); v != nil {
		return v
	}
	for _, parameter := range p.header {
		if v := parameter.checkHeader(req.Fields[parameter.key]); v != nil {
			return v
		}
	}
	for _, parameter := range p.cookie {
		if v := parameter.checkCookie(req.Cookies); v != nil {
			return v
		}
	}
	return nil
}

func (op *Operation) checkQuery(query []canon.Pair) *Violation {
	p := &op.plan
	var room [16]int // how often each parameter was given
	given := room[:]
	if len(p.query) > len(room) {
		given = make([]int, len(p.query))
	}
	for i := range query {
		at := p.find(query[i].Name)
		if at < 0 {
			if slices.Contains(p.credentials, query[i].Name) {
				continue
			}
			return op.unknownParameter(query[i])
		}
		given[at]++
		parameter := p.query[at]
		if !parameter.value.shape.simple() {
			continue
		}
		if given[at] > 1 {
			return parameter.violation(badParameter, "", "is given twice", query[i].Value)
		}
		if v := parameter.one(query[i].Value); v != nil {
			return v
		}
	}
	for at, parameter := range p.query {
		switch {
		case given[at] == 0 && parameter.Required:
			return parameter.missing()
		case given[at] == 0 || parameter.value.shape.simple():
			continue
		}
		if v := op.checkCompound(at, query); v != nil {
			return v
		}
	}
	return nil
}

// checkCompound gathers a list or an object from the query.
func (op *Operation) checkCompound(at int, query []canon.Pair) *Violation {
	parameter := op.plan.query[at]
	shape := parameter.value.shape
	if parameter.Style == "deepObject" || parameter.spreads() {
		var pairs []canon.Pair
		for _, q := range query {
			if op.plan.find(q.Name) != at {
				continue
			}
			name := q.Name
			if parameter.Style == "deepObject" {
				inner, ok := strings.CutSuffix(q.Name[len(parameter.Name)+1:], "]")
				if !ok || inner == "" || strings.ContainsAny(inner, "[]") {
					return parameter.violation(badParameter, "", "is not written as "+parameter.Name+"[property]", q.Name)
				}
				name = inner
			}
			pairs = append(pairs, canon.Pair{Name: name, Value: q.Value})
		}
		return parameter.object(pairs)
	}
	var values []string
	for _, q := range query {
		if q.Name == parameter.Name {
			values = append(values, q.Value)
		}
	}
	if parameter.Style == "" || !parameter.Explode || !shape.types.has(list) {
		if len(values) > 1 {
			return parameter.violation(badParameter, "", "is given twice", values[1])
		}
		return parameter.one(values[0])
	}
	return parameter.list(values)
}

func (p *Parameter) checkHeader(values []string) *Violation {
	if len(values) == 0 {
		if p.Required {
			return p.missing()
		}
		return nil
	}
	raw := values[0]
	if len(values) > 1 {
		if p.value.shape.simple() || p.Style == "" {
			return p.violation(badParameter, "", "is given twice", values[1])
		}
		raw = strings.Join(values, ",") // RFC 9110 section 5.3
	}
	return p.one(strings.Trim(raw, " \t"))
}

func (p *Parameter) checkCookie(cookies []canon.Pair) *Violation {
	found := -1
	for i := range cookies {
		if cookies[i].Name != p.Name {
			continue
		}
		if found >= 0 {
			return p.violation(badParameter, "", "is given twice", cookies[i].Value)
		}
		found = i
	}
	if found < 0 {
		if p.Required {
			return p.missing()
		}
		return nil
	}
	return p.one(cookies[found].Value)
}

// Fits tells whether a value, as it stands once in path or query, is what the parameter declares. A parameter that was not
// read from a contract fits nothing.
func (p *Parameter) Fits(raw string) bool { return p.value != nil && p.one(raw) == nil }

// one judges a parameter that stands in one text.
func (p *Parameter) one(raw string) *Violation {
	if raw == "" && p.allowEmpty {
		return nil
	}
	if p.Style == "label" {
		rest, ok := strings.CutPrefix(raw, ".")
		if !ok {
			return p.violation(badParameter, "/style", "does not begin with the dot of style label", raw)
		}
		raw = rest
	}
	if s := p.value.scalar; s != nil && p.Style != "" {
		if keyword, what := s.judge(raw); keyword != "" {
			v := p.violation(badParameter, "", what, raw)
			v.Pointer = s.pointer + "/" + keyword
			v.Fix = fixKeyword(keyword, v.Pointer)
			return v
		}
		return nil
	}
	shape := p.value.shape
	switch {
	case p.Style == "":
		return p.content(raw)
	case shape.types.has(list):
		return p.list(p.split(raw))
	case shape.types.has(object):
		pairs, ok := p.pairs(raw)
		if !ok {
			return p.violation(badParameter, "", "is not an object in style "+p.Style, raw)
		}
		return p.object(pairs)
	}
	return p.decide(shape.read(raw), raw)
}

// split takes a list apart.
func (p *Parameter) split(raw string) []string {
	if raw == "" {
		return nil
	}
	separator := ","
	switch {
	case p.Style == "label" && p.Explode:
		separator = "."
	case p.Style == "spaceDelimited":
		separator = " "
	case p.Style == "pipeDelimited":
		separator = "|"
	}
	parts := strings.Split(raw, separator)
	if p.In == "header" {
		for i := range parts {
			parts[i] = strings.Trim(parts[i], " \t")
		}
	}
	return parts
}

// pairs takes an object apart: "R,100,G,200", or exploded "R=100,G=200".
func (p *Parameter) pairs(raw string) ([]canon.Pair, bool) {
	parts := p.split(raw)
	var pairs []canon.Pair
	if p.Explode {
		for _, part := range parts {
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				return nil, false
			}
			pairs = append(pairs, canon.Pair{Name: name, Value: value})
		}
		return pairs, true
	}
	for i := 0; i+1 < len(parts); i += 2 {
		pairs = append(pairs, canon.Pair{Name: parts[i], Value: parts[i+1]})
	}
	return pairs, len(parts)%2 == 0
}

func (p *Parameter) list(values []string) *Violation {
	shape := p.value.shape
	items := make([]any, len(values))
	for i, raw := range values {
		items[i] = shape.items.first(raw)
	}
	problem := p.value.judge(items)
	if problem == nil {
		return nil
	}
	if len(values) == 1 && shape.types&^(typeBits["array"]|typeBits["object"]) != 0 { // a list or a single value
		if p.decide(shape.read(values[0]), values[0]) == nil {
			return nil
		}
	}
	return p.from(problem, strings.Join(values, ","))
}

func (p *Parameter) object(pairs []canon.Pair) *Violation {
	shape := p.value.shape
	members := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		inner := shape.member(pair.Name)
		if inner != nil && inner.types.has(list) {
			before, _ := members[pair.Name].([]any)
			members[pair.Name] = append(before, inner.items.first(pair.Value))
			continue
		}
		if _, twice := members[pair.Name]; twice {
			return p.violation(badParameter, "", fmt.Sprintf("has property %q twice", clean(pair.Name)), pair.Value)
		}
		members[pair.Name] = inner.first(pair.Value)
	}
	if problem := p.value.judge(members); problem != nil {
		return p.from(problem, show(problem.value))
	}
	return nil
}

// content judges a parameter that is a document of its own.
func (p *Parameter) content(raw string) *Violation {
	if p.media == body.Text {
		return p.decide([]any{raw}, raw)
	}
	instance, err := readJSON(raw)
	if err != nil {
		return p.violation(badParameter, "", "is not JSON that can be read in one way only", raw)
	}
	return p.decide([]any{instance}, raw)
}

// decide passes when one reading of the text is what the schema says.
func (p *Parameter) decide(readings []any, raw string) *Violation {
	var first *problem
	for _, r := range readings {
		problem := p.value.judge(r)
		if problem == nil {
			return nil
		}
		if first == nil {
			first = problem
		}
	}
	return p.from(first, raw)
}

func (p *Parameter) from(problem *problem, raw string) *Violation {
	what := problem.what
	if len(problem.at) > 0 {
		what = fmt.Sprintf("at%s: %s", strings.TrimPrefix(problem.place(), "body"), what)
	}
	v := p.violation(badParameter, "", what, raw)
	v.Pointer, v.Fix = problem.pointer, fixKeyword(problem.keyword, problem.pointer)
	return v
}

func (p *Parameter) missing() *Violation {
	return p.violation(missingParameter, "/required", "is missing", "")
}

func (p *Parameter) violation(reason, pointer, what, raw string) *Violation {
	if p.Secret {
		raw = ""
	}
	v := &Violation{Reason: reason, Status: 400, Pointer: p.Pointer + pointer, Where: p.In + "." + p.Name,
		What: fmt.Sprintf("%s parameter %q %s", p.In, p.Name, what), Value: raw}
	if reason == missingParameter {
		v.Fix = "required: false at " + p.Pointer
	}
	return v
}

func (op *Operation) unknownParameter(q canon.Pair) *Violation {
	name := clean(q.Name)
	return &Violation{Reason: unknownParameter, Status: 400, Pointer: op.Pointer, Where: "query." + name,
		What: fmt.Sprintf("query parameter %q is not declared", name), Value: q.Value,
		Fix: fmt.Sprintf("parameters: [{name: %q, in: query, schema: {type: string, maxLength: 64}}] at %s", name, op.Pointer)}
}

func fixKeyword(keyword, pointer string) string {
	if keyword == "" || pointer == "" {
		return ""
	}
	return fmt.Sprintf("another %s at %s", keyword, pointer)
}
