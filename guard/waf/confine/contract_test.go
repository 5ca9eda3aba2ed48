package confine_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// inventor makes schemas of the keywords that confine, alone and in every combination, with names that make one key of two
// places, and values that such schemas may let pass.
type inventor struct{ *rand.Rand }

func (r inventor) pick(list ...any) any { return list[r.IntN(len(list))] }

type object = map[string]any

func (r inventor) name() string {
	return r.pick("a", "b", "a.b", "b.c", "0", "c", "", "a.0", "A", "long").(string)
}

var patterns = []any{"^[a-z]+$", "^a|b$", "[0-9]+", "^[A-Za-z0-9+/=]*$", "^.*$", `^\w+$`, `^\s*[^<>]*$`, "^(?:a|b)|c$", `^[\s\S]{1,60}$`, `^[ -~]*$`, `^-?[0-9.eE+]+$`, "^[0-9A-Fx]+$", "^[a-z ()='-]+$",
	`^[\p{L} .'-]+$`, `^\S+$`, `^[^'"]*$`, `^[a-z]{1,3}(?:,[a-z]{1,3})*$`, `^[\w./:?&=-]*$`, "^(?:%[0-9a-f]{2})*$"}

var formats = []any{"uuid", "date", "date-time", "time", "duration", "email", "ipv4", "ipv6", "hostname", "uri", "uri-reference", "byte", "base64url", "json-pointer", "char", "int32", "int64", "uint8", "double", "password", "binary"}

func (r inventor) schema(depth int) any {
	if depth <= 0 || r.IntN(3) == 0 {
		return r.scalar()
	}
	switch r.IntN(9) {
	case 0:
		return object{"type": "array", "items": r.schema(depth - 1)}
	case 1:
		return object{"type": r.pick("array", []any{"array", "string"}, []any{"array", "null"}), "prefixItems": []any{r.schema(depth - 1), r.schema(0)}, "items": r.schema(0)}
	case 2:
		return object{r.pick("oneOf", "anyOf").(string): []any{r.schema(depth - 1), r.schema(depth - 1)}}
	case 3:
		return object{"allOf": []any{r.schema(depth - 1), r.schema(0)}}
	case 4:
		return object{"$ref": "#/components/schemas/" + r.pick("One", "Two").(string)}
	case 5:
		return object{"type": []any{"object", "string", "integer"}, "properties": object{r.name(): r.schema(depth - 1)}, "enum": []any{"x", 1, 1.5, nil, object{"a": "<script>"}, []any{"y"}, "' or 1=1--"}}
	}
	o := object{"type": "object", "properties": object{r.name(): r.schema(depth - 1), r.name(): r.schema(depth - 1), r.name(): r.schema(depth - 1)}}
	switch r.IntN(6) {
	case 0:
		o["additionalProperties"] = r.schema(depth - 1)
	case 1:
		o["additionalProperties"] = true
	case 2:
		o["patternProperties"] = object{"^b": r.schema(depth - 1)}
	case 3:
		o["oneOf"] = []any{object{"properties": object{r.name(): r.schema(depth - 1)}}, object{"properties": object{r.name(): r.schema(depth - 1)}}}
	case 4:
		o["if"], o["then"] = object{"required": []any{"a"}}, object{"properties": object{"c": r.schema(0)}}
	}
	return o
}

func (r inventor) scalar() any {
	switch r.IntN(12) {
	case 0:
		return object{"type": "integer"}
	case 1:
		return object{"type": "number", "maximum": 1000}
	case 2:
		return object{"type": "boolean"}
	case 3:
		return object{"type": []any{"integer", "string"}}
	case 4:
		return object{"enum": []any{"asc", "desc", 1, nil, true, "select", "<b>", "a b"}}
	case 5:
		return object{"const": r.pick("x", 100, "1=1", "etc/passwd", nil)}
	case 6:
		return object{"type": []any{"string", "null"}, "maxLength": r.IntN(9)}
	case 7, 8:
		return object{"type": r.pick("string", "integer", []any{"string", "number"}), "format": r.pick(formats...)}
	case 9:
		return object{"pattern": r.pick(patterns...)}
	}
	return object{"type": "string", "pattern": r.pick(patterns...), "maxLength": 1 + r.IntN(40)}
}

var words = []any{"a", "x", "asc", "b", "' or 1=1--", "<script>alert(1)</script>", "1e5", "-0", "0x1f", "../../etc/passwd", "\n", "a\n", "a\n<script>", "550E8400-e29b-41d4-A716-446655440000", "2026-02-28", "2026-02-28T01:02:03+01:00", "2026-02-28t01:02:03.5z",
	"PT1H", "a@b.example", "o'x@b.example", "`id`@x.y", "10.0.0.1", "::ffff:1.2.3.4", "fe80::1", "host.example", "http://x.y/?a=b&c=../..", "/etc/passwd", "ZXZhbCgp", "X19wcm90b19f", "X19qc19mdW5jdGlvbg==", "/a~0", "ſ", "K", "é", "\u2028", "select", "or 1=1", "sleep(5)",
	"1+1", "1%27", "%3cscript%3e", "a b", "a'b", "admin'--", "union select", "2147483648", "4294967295", "wget", "true", "false", "", "null", "1", "1.50", "a,b,c", "etc/passwd", "1=1", "$(id)", "nc", "a=b;c", "\u00a0", "ls", "who", "curl", "\t", "0", "abc", "b.c"}

func (r inventor) value(s any, c object, depth int) any {
	o, _ := s.(object)
	if o == nil || depth <= 0 || r.IntN(9) == 0 {
		return r.pick(r.pick(words...), r.pick(words...), json.Number("1e2"), json.Number("-0"), json.Number("100.0"), 7, json.Number("1E+2"), true, nil, []any{r.pick(words...)}, object{r.name(): r.pick(words...)})
	}
	if ref, ok := o["$ref"].(string); ok {
		return r.value(c[ref[strings.LastIndexByte(ref, '/')+1:]], c, depth-1)
	}
	for _, k := range []string{"oneOf", "anyOf", "allOf"} {
		if list, ok := o[k].([]any); ok && o["properties"] == nil {
			return r.value(list[r.IntN(len(list))], c, depth-1)
		}
	}
	if list, ok := o["enum"].([]any); ok && r.IntN(4) > 0 {
		return r.pick(list...)
	}
	if v, ok := o["const"]; ok {
		return v
	}
	if items, ok := o["items"]; ok {
		list := []any{}
		first, _ := o["prefixItems"].([]any)
		for i := range r.IntN(4) {
			if i < len(first) {
				list = append(list, r.value(first[i], c, depth-1))
			} else {
				list = append(list, r.value(items, c, depth-1))
			}
		}
		return list
	}
	if properties, ok := o["properties"].(object); ok {
		out := object{}
		fill := func(p object) {
			for name, inner := range p {
				if r.IntN(4) > 0 {
					out[name] = r.value(inner, c, depth-1)
				}
			}
		}
		fill(properties)
		if list, ok := o["oneOf"].([]any); ok {
			fill(list[r.IntN(len(list))].(object)["properties"].(object))
		}
		if r.IntN(3) == 0 {
			out[r.name()] = r.value(o["additionalProperties"], c, depth-1)
		}
		if by, ok := o["patternProperties"].(object); ok {
			out["b"+r.name()] = r.value(by["^b"], c, depth-1)
		}
		return out
	}
	switch o["type"] {
	case "integer", "number":
		return r.pick(json.Number("1"), json.Number("-0"), json.Number("1e2"), json.Number("2147483648"), json.Number("100.000"), json.Number("0"), json.Number("-1.5E+2"), json.Number("9223372036854775807"), json.Number(strings.Repeat("9", 99)))
	case "boolean":
		return r.IntN(2) == 0
	}
	return r.pick(words...)
}

// held counts what was held against the engine.
type held struct{ bodies, parameters, claims int }

// holds invents a contract and requests, and holds each claim about a value that the validator let pass against the engine's
// own operators.
func holds(t testing.TB, w world, seed uint64, more string, count *held) {
	r := inventor{rand.New(rand.NewPCG(seed, 11))}
	components := object{"One": r.schema(2), "Two": r.schema(2)}
	parameters := []any{}
	for _, p := range []object{{"name": "a", "in": "query"}, {"name": "b", "in": "query", "explode": r.IntN(2) == 0, "style": r.pick("form", "pipeDelimited")}, {"name": "X-A", "in": "header"}, {"name": "k", "in": "cookie", "explode": false},
		{"name": "d", "in": "query", "style": "deepObject", "explode": true}, {"name": "id", "in": "path", "required": true}} {
		p["schema"] = r.schema(1)
		if p["style"] == "deepObject" {
			p["schema"] = object{"type": "object", "properties": object{"a": r.scalar(), "b.c": object{"type": "array", "items": r.scalar()}}}
		}
		if p["in"] == "path" && r.IntN(2) == 0 {
			p["schema"] = object{"type": "string"}
		}
		parameters = append(parameters, p)
	}
	root := r.schema(3)
	form := object{"type": "object", "properties": object{"a": r.schema(1), "b": r.scalar(), "json.a": r.scalar(), "c": object{"type": "array", "items": r.scalar()}}}
	if r.IntN(2) == 0 {
		form["additionalProperties"] = r.scalar()
	}
	op := object{"security": []any{}, "parameters": parameters, "responses": object{"200": object{"description": "x"}},
		"requestBody": object{"content": object{"application/json": object{"schema": root}, "application/x-www-form-urlencoded": object{"schema": form}}}}
	text, err := json.Marshal(object{"openapi": "3.1.0", "info": object{"title": "t", "version": "1"}, "paths": object{"/x/{id}": object{"post": op}}, "components": object{"schemas": components}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := openapi.Load("c.json", func(string) ([]byte, error) { return text, nil })
	if err != nil {
		return
	}
	s := w.scope(t, c.Operations[0])
	for range 25 {
		raw, err := json.Marshal(r.value(root, components, 5))
		if err != nil {
			t.Fatal(err)
		}
		x := &gate.Exchange{Request: &canon.Request{Method: "POST", Path: "/x/1", Fields: map[string][]string{}}, Operation: &gate.Operation{Contract: c.Operations[0]}}
		if tree, refusal := body.Read(body.JSON, nil, "", strings.NewReader(string(raw)), body.Limits{}); refusal == nil {
			if b, v := c.Operations[0].BodyFor("application/json"); v == nil && c.Operations[0].CheckBody(b, tree) == nil {
				count.bodies++
				w.against(t, s, x, tree, count, string(text))
			}
		}
		pairs := []canon.Pair{}
		for _, name := range []string{"a", "b", "c", "json.a", "c", "z"} {
			if r.IntN(2) == 0 {
				pairs = append(pairs, canon.Pair{Name: name, Value: r.text(more)})
			}
		}
		tree := &body.Tree{Kind: body.Form, Form: pairs, Raw: []byte("x")}
		if b, v := c.Operations[0].BodyFor("application/x-www-form-urlencoded"); v == nil && c.Operations[0].CheckBody(b, tree) == nil {
			count.bodies++
			w.against(t, s, x, tree, count, string(text))
		}
		r.parameters(x, more)
		if c.Operations[0].CheckParameters(x.Request, x.Params) == nil {
			count.parameters++
			w.against(t, s, x, nil, count, string(text))
		}
	}
}

func (r inventor) text(more string) string {
	if more != "" && r.IntN(3) == 0 {
		return more
	}
	return r.pick(words...).(string)
}

// parameters gives a request one parameter of each place, or none.
func (r inventor) parameters(x *gate.Exchange, more string) {
	x.Params = []canon.Pair{{Name: "id", Value: r.text(more)}}
	if r.IntN(2) == 0 {
		x.Params[0].Value = r.pick("1", "a", "x", "asc").(string)
	}
	for _, name := range []string{"a", "b", "b", "d[a]", "d[b.c]"} {
		if r.IntN(6) == 0 {
			x.Request.Query = append(x.Request.Query, canon.Pair{Name: name, Value: r.text(more)})
		}
	}
	if r.IntN(3) == 0 {
		x.Request.Fields["X-A"] = []string{r.pick("", " ", "\t").(string) + r.text(more)}
	}
	if r.IntN(3) == 0 {
		x.Request.Cookies = []canon.Pair{{Name: "k", Value: r.text(more)}}
	}
}

// against holds all claims about one accepted request.
func (w world) against(t testing.TB, s *confine.Scope, x *gate.Exchange, tree *body.Tree, count *held, contract string) {
	t.Helper()
	var v view.View
	v.Fill(x, tree)
	for _, variable := range []variables.RuleVariable{variables.ArgsGet, variables.ArgsPath, variables.ArgsPost, variables.RequestCookies, variables.RequestHeaders, variables.Args} {
		for _, p := range v.Of(variable) {
			values, names := s.Joined(variable, p.Key)
			if variable != variables.Args {
				values, names = s.Find(variable, p.Key, p.Text)
			}
			for i := range w.list {
				for _, claim := range []struct {
					mask *confine.Mask
					text string
				}{{values, p.Text}, {names, p.Key}} {
					if !claim.mask.Has(i) {
						continue
					}
					count.claims++
					if w.matches(i, claim.text) {
						t.Fatalf("rule %d matches %q at %s %q, which the contract lets pass\n%s", w.list[i].ID, claim.text, variable.Name(), p.Key, contract)
					}
				}
			}
		}
	}
}

// matches asks the engine's operator, once about each text.
func (w world) matches(place int, text string) bool {
	key := asked{place, text}
	if known, ok := w.asked.Load(key); ok {
		return known.(bool)
	}
	is := confine.Matches(w.rules, place, text)
	w.asked.Store(key, is)
	return is
}

type asked struct {
	place int
	text  string
}

// TestContractsHold: what the validator lets pass, the rules that are said not to match do not match.
func TestContractsHold(t *testing.T) {
	w, count := the(t), held{}
	for seed := range uint64(20) {
		holds(t, w, seed, "", &count)
	}
	t.Logf("%+v", count)
	if count.bodies < 100 || count.parameters < 20 || count.claims < 50_000 {
		t.Errorf("too little to say anything: %+v", count)
	}
}

// FuzzContracts: no contract and no request makes a claim wrong.
func FuzzContracts(f *testing.F) {
	w := the(f) // takes seconds
	f.Add(uint64(1), "a")
	f.Add(uint64(2), "1 or 1=1")
	f.Add(uint64(3), "550e8400-e29b-41d4-a716-446655440000")
	f.Fuzz(func(t *testing.T, seed uint64, more string) { holds(t, w, seed, more, new(held)) })
}
