package openapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// both is a document in the form that the library judges by, and in ours.
type both struct {
	library *jsonschema.Schema
	sure    *sure
}

// makeBoth compiles the first of some documents, which refer to each other by resourceBase and their names.
func makeBoth(t testing.TB, docs map[string]any, first string) both {
	t.Helper()
	s := newSchemas(nil)
	for name, doc := range docs {
		s.order = append(s.order, &entry{url: resourceBase + name, doc: doc, all: s.all})
	}
	s.makeSure()
	library, err := s.compiler(anyValue).Compile(resourceBase + first)
	if err != nil {
		t.Fatalf("%v: %v", docs, err)
	}
	for _, e := range s.order {
		if e.url == resourceBase+first {
			return both{library, e.sure}
		}
	}
	return both{}
}

// judge holds both against each other, and tells what ours says.
func (b both) judge(t testing.TB, docs any, tree *body.Tree) bool {
	t.Helper()
	said := b.sure.isSure(tree.Nodes)
	also := b.sure.isSure(nodesOf(nil, "", tree.Value()))
	if err := b.library.Validate(tree.Value()); (said || also) && err != nil {
		schema, _ := json.Marshal(docs)
		t.Fatalf("%s is said to be valid by %s\n%v", tree.Raw, schema, err)
	}
	return said
}

func readTree(t testing.TB, raw string) *body.Tree {
	t.Helper()
	tree, refusal := body.Read(body.JSON, nil, "", strings.NewReader(raw), body.Limits{AllowNUL: true})
	if refusal != nil {
		t.Fatalf("%s: %v", raw, refusal)
	}
	return tree
}

func fromJSON(t testing.TB, raw []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// sureCases hold, for each keyword, values of which we are sure, valid ones that are left to the library, and invalid ones.
var sureCases = []struct{ schema, sure, left, wrong string }{
	{`true`, `1 "a" null [] {"a":[1]} 1e2`, `1` + strings.Repeat("0", 100) + ` {"a":[0.` + strings.Repeat("1", 101) + `]}`, ``},
	{`false`, ``, ``, `1 null {}`},
	{`{"type":"string"}`, `"" "a"`, ``, `1 null true [] {}`},
	{`{"type":"integer"}`, `0 -1 12345678901234567890 1.0 -0.0`, `1e2`, `1.5 "1" true null -0.1`},
	{`{"type":"number"}`, `0 1.5 1e2`, ``, `"1" false`},
	{`{"type":["integer","number"]}`, `1.5`, ``, `"1"`},
	{`{"type":["integer","null"]}`, `1 null`, ``, `1.5 false`},
	{`{"type":"boolean"}`, `true false`, ``, `null 0 "true"`},
	{`{"type":"array"}`, `[] [1]`, ``, `{} "[]"`},
	{`{"type":"object"}`, `{}`, ``, `[] null`},
	{`{"type":"null"}`, `null`, ``, `false 0 ""`},
	{`{"enum":["a",1,null,true,[1]]}`, `"a" 1 1.0 null true`, `[1] 1e0`, `"b" 2 false [] {} -1`},
	{`{"enum":[0,1]}`, `0 -0 1.0`, `1e0`, `1e2 0.1`},
	{`{"const":false}`, `false`, ``, `true 0 null`},
	{`{"const":{"a":1}}`, ``, `{"a":1}`, `{} {"a":2}`},
	{`{"enum":[1,2],"const":1}`, ``, `1`, `2`},
	{`{"minLength":2}`, `"ab" "äö" 1`, ``, `"a" "ä"`},
	{`{"maxLength":2}`, `"ab" "äö" "😀😀" [1,2,3]`, ``, `"abc" "äöü"`},
	{`{"pattern":"^a+$"}`, `"aa" 1`, ``, `"b" "" "aab"`},
	{`{"format":"uuid"}`, `"123e4567-e89b-12d3-a456-426614174000" 1`, ``, `"x" ""`},
	{`{"format":"int32"}`, `2147483647 "x"`, ``, `2147483648`},
	{`{"format":"regex"}`, ``, `"a" 1`, `"("`},
	{`{"minimum":1.5}`, `1.5 2 1.50 10 1.51 "0"`, `1e9`, `1 1.49 -2 0 -10.5`},
	{`{"minimum":-1.5}`, `-1.5 0 -1 -1.49 -0`, ``, `-2 -1.51 -10`},
	{`{"maximum":10}`, `10 9.99 -11 10.0 0.5`, `1.5e0 9e-1`, `10.01 11 100 1.5e3`},
	{`{"exclusiveMinimum":0}`, `0.001 1`, ``, `0 -0 -1 0.0 -0.5`},
	{`{"exclusiveMaximum":0}`, `-0.001 -1`, ``, `0 -0.0 1`},
	{`{"minimum":1e2}`, ``, `100 "a"`, `99`},
	{`{"multipleOf":0.01}`, `1.25 -0.1 3 0`, `0.010e1`, `1.255 0.001`},
	{`{"multipleOf":3}`, `9 -3 0 6.0`, `3000000000000000000`, `10 1.5`},
	{`{"multipleOf":12345678901234567890}`, ``, `0 "a"`, `1`},
	{`{"multipleOf":0.0000000000000000001}`, ``, `1`, `0.00000000000000000001`},
	{`{"multipleOf":0.05}`, `0.15 10`, ``, `0.16 0.01`},
	{`{"multipleOf":1.5}`, `3 4.5`, ``, `1 2.5`},
	{`{"items":{"type":"integer"}}`, `[] [1,2] {}`, ``, `["a"] [1,null]`},
	{`{"prefixItems":[{"type":"string"}],"items":{"type":"integer"}}`, `[] ["a"] ["a",1]`, ``, `[1] ["a","b"]`},
	{`{"prefixItems":[{"type":"string"}]}`, `["a",null]`, ``, `[1]`},
	{`{"minItems":1,"maxItems":2}`, `[1] [1,[2,3]]`, ``, `[] [1,2,3]`},
	{`{"uniqueItems":true}`, `["a","b"] [1] []`, `[1,2] [{},[]]`, `["a","a"] [1,1.0] [{"a":1},{"a":1}]`},
	{`{"uniqueItems":false}`, `["a","a"]`, ``, ``},
	{`{"required":["a","b"]}`, `{"a":1,"b":2} {"c":1,"b":1,"a":1} []`, ``, `{} {"a":1} {"b":1}`},
	{`{"minProperties":1,"maxProperties":2}`, `{"a":{}} {"a":1,"b":2}`, ``, `{} {"a":1,"b":1,"c":1}`},
	{`{"properties":{"a":{"type":"string"},"b":false}}`, `{} {"a":"x"} {"c":1}`, ``, `{"a":1} {"b":1}`},
	{`{"properties":{"a":true},"additionalProperties":false}`, `{} {"a":1}`, ``, `{"b":1} {"a":1,"c":2}`},
	{`{"properties":{"a":true},"required":["b"],"additionalProperties":false}`, ``, ``, `{"a":1,"b":1} {"b":1}`},
	{`{"properties":{"a":true},"additionalProperties":{"type":"integer"}}`, `{"a":"x","b":1}`, ``, `{"b":"x"}`},
	{`{"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`, `{"x":1,"xy":2}`, ``, `{"x":"a"} {"y":1}`},
	{`{"properties":{"xa":{"minimum":5}},"patternProperties":{"^x":{"type":"integer"},"a$":{"maximum":9}}}`, `{"xa":7,"b":"c"}`, ``, `{"xa":4} {"xa":10} {"xa":"5"} {"ba":10}`},
	{`{"allOf":[{"type":"integer"},{"minimum":5}]}`, `5`, ``, `4 "5"`},
	{`{"anyOf":[{"type":"integer"},{"minLength":2}]}`, `1 "ab" []`, ``, `"a"`},
	{`{"oneOf":[{"type":"integer"},{"type":"string"}]}`, `1 "a"`, ``, `null []`},
	{`{"oneOf":[{"minimum":1},{"minimum":5}]}`, ``, `3`, `6 0`},
	{`{"oneOf":[{"properties":{"k":{"const":"a"}},"required":["k"]},{"properties":{"k":{"enum":["b"]},"x":{"type":"integer"}},"required":["k","x"]}]}`,
		`{"k":"a"} {"k":"b","x":1} {"k":"a","x":2}`, ``, `{} {"k":"c"} {"k":"b"} {"k":"b","x":"1"}`},
	{`{"allOf":[{"properties":{"a":true}}],"properties":{"b":true},"unevaluatedProperties":false}`, `{} {"a":1} {"b":1,"a":2}`, ``, `{"c":1} {"a":1,"c":1}`},
	{`{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":{"type":"integer"}}`, `{"a":"x","b":1}`, ``, `{"b":"x"}`},
	{`{"anyOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":true}}],"unevaluatedProperties":false}`, `{"a":1} {"b":1}`, `{"b":1,"a":1}`, `{"c":1} {"a":"x"}`},
	{`{"anyOf":[{"properties":{"a":true},"required":["z"]},{"properties":{"b":true}}],"unevaluatedProperties":false}`, `{"b":1}`, ``, `{"a":1,"b":1}`},
	{`{"allOf":[{"properties":{"a":true},"unevaluatedProperties":true}],"unevaluatedProperties":false}`, `{"c":1}`, ``, ``},
	{`{"allOf":[{"properties":{"a":true},"additionalProperties":true}],"unevaluatedProperties":false}`, `{"c":1}`, ``, ``},
	{`{"properties":{"a":{"properties":{"b":true}}},"unevaluatedProperties":false}`, `{"a":{"c":1}}`, ``, `{"b":1}`},
	{`{"not":{"type":"string"}}`, ``, `1`, `"a"`},
	{`{"if":{"type":"string"},"then":{"minLength":2}}`, ``, `1 "ab"`, `"a"`},
	{`{"dependentRequired":{"a":["b"]}}`, ``, `{"a":1,"b":1}`, `{"a":1}`},
	{`{"propertyNames":{"maxLength":1}}`, ``, `{"a":1}`, `{"ab":1}`},
	{`{"contains":{"type":"string"}}`, ``, `["a"]`, `[1]`},
	{`{"unevaluatedItems":false}`, ``, `[]`, `[1]`},
	{`{"$ref":"` + resourceBase + `int"}`, `1`, ``, `"a"`},
	{`{"$ref":"` + resourceBase + `tree"}`, `{} {"kids":[{},{"kids":[{}]}]}`, ``, `{"kids":[{"kids":1}]} {"kid":[]}`},
	{`{"allOf":[{"$ref":"` + resourceBase + `open"}],"unevaluatedProperties":false}`, `{"a":1}`, ``, `{"b":1}`},
}

func TestSure(t *testing.T) {
	for _, c := range sureCases {
		docs := map[string]any{
			"":     fromJSON(t, []byte(c.schema)),
			"int":  map[string]any{"type": []any{"integer"}},
			"open": map[string]any{"properties": map[string]any{"a": true}},
			"tree": map[string]any{"properties": map[string]any{"kids": map[string]any{"type": "array", "items": map[string]any{"$ref": resourceBase + "tree"}}}, "additionalProperties": false},
		}
		b := makeBoth(t, docs, "")
		for _, values := range []struct {
			list        string
			sure, valid bool
		}{{c.sure, true, true}, {c.left, false, true}, {c.wrong, false, false}} {
			for _, raw := range strings.Fields(values.list) {
				tree := readTree(t, raw)
				if said := b.judge(t, c.schema, tree); said != values.sure {
					t.Errorf("%s, %s: sure is %v", c.schema, raw, said)
				}
				if err := b.library.Validate(tree.Value()); (err == nil) != values.valid {
					t.Errorf("%s, %s: the library says %v", c.schema, raw, err)
				}
			}
		}
	}
}

// TestSureLeavesPatterns: a pattern that can't be judged leaves the value to the library.
func TestSureLeavesPatterns(t *testing.T) {
	m := &sureMaker{pattern: func(string) *regexp.Regexp { return nil }}
	for raw, schema := range map[string]string{`"a"`: `{"pattern":"(?=b)"}`, `{"a":1}`: `{"patternProperties":{"(?=a)":false}}`} {
		if m.make(fromJSON(t, []byte(schema))).isSure(readTree(t, raw).Nodes) {
			t.Errorf("%s: sure of %s", schema, raw)
		}
	}
}

// TestSureManyMembers: more members than can be marked, more required ones, and objects large enough for a map.
func TestSureManyMembers(t *testing.T) {
	properties, required, members := map[string]any{}, []any{}, []string{}
	for i := range 70 {
		name := strings.Repeat("p", i+1)
		properties[name], required = map[string]any{"type": "integer"}, append(required, name)
		members = append(members, `"`+name+`":1`)
	}
	whole, part := "{"+strings.Join(members, ",")+"}", "{"+strings.Join(members[:60], ",")+"}"
	for _, c := range []struct {
		doc  map[string]any
		raw  string
		sure bool
	}{
		{map[string]any{"properties": properties, "additionalProperties": false}, whole, true},
		{map[string]any{"properties": properties, "unevaluatedProperties": false}, whole, false},
		{map[string]any{"properties": properties, "unevaluatedProperties": false}, part, true},
		{map[string]any{"properties": properties, "required": required[:64]}, whole, true},
		{map[string]any{"properties": properties, "required": required[:64]}, part, false},
		{map[string]any{"properties": properties, "required": required}, whole, false},
		{map[string]any{"properties": properties, "additionalProperties": false}, strings.Replace(whole, "}", `,"q":1}`, 1), false},
	} {
		if said := makeBoth(t, map[string]any{"": c.doc}, "").judge(t, c.doc, readTree(t, c.raw)); said != c.sure {
			t.Errorf("%v, %s: sure is %v", c.doc, c.raw, said)
		}
	}
}

// TestSureEnds: G11, alternatives that contain themselves twice at each depth don't take for ever.
func TestSureEnds(t *testing.T) {
	self := map[string]any{"properties": map[string]any{"a": map[string]any{"$ref": resourceBase}}}
	docs := map[string]any{"": map[string]any{"allOf": []any{self, self, map[string]any{"anyOf": []any{self, self}}}}}
	s := newSchemas(nil)
	s.order = []*entry{{url: resourceBase, doc: docs[""]}}
	s.makeSure()
	if raw := strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30); s.order[0].sure.isSure(readTree(t, raw).Nodes) {
		t.Error("sure of 3^30 steps")
	}
}

// TestSureSuite runs over the official JSON-Schema-Test-Suite, found through GATEHOUSE_CORPORA: what we are sure of is valid there.
func TestSureSuite(t *testing.T) {
	root := os.Getenv("GATEHOUSE_CORPORA")
	if root == "" {
		t.Log("NOT RUN: GATEHOUSE_CORPORA does not name the folder of the corpora; TestSure holds a table of its own")
		return
	}
	files, err := filepath.Glob(filepath.Join(root, "json-schema", "tests", "draft2020-12", "*.json"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files under json-schema/tests/draft2020-12, %v", len(files), err)
	}
	sure, valid := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Schema json.RawMessage
			Tests  []struct {
				Data  json.RawMessage
				Valid bool
			}
		}
		if err := json.Unmarshal(data, &groups); err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			s := sureOfSuite(fromJSON(t, g.Schema))
			for _, c := range g.Tests {
				tree, refusal := body.Read(body.JSON, nil, "", bytes.NewReader(c.Data), body.Limits{AllowNUL: true})
				if refusal != nil {
					continue
				}
				said := s.isSure(tree.Nodes)
				if said && !c.Valid {
					t.Errorf("%s: %s is said to be valid by %s", filepath.Base(file), c.Data, g.Schema)
				}
				if c.Valid {
					valid++
				}
				if said {
					sure++
				}
			}
		}
	}
	t.Logf("sure of %d of %d valid values", sure, valid)
	if sure < 250 {
		t.Errorf("sure of %d of %d valid values only", sure, valid)
	}
}

// sureOfSuite resolves the references within one document, which contracts have been rid of. A document with names of its own is
// left alone.
func sureOfSuite(doc any) *sure {
	m := &sureMaker{docs: map[string]any{}, made: map[string]*sure{}, pattern: func(p string) *regexp.Regexp { return newSchemas(nil).pattern(p).re }}
	if object, ok := doc.(map[string]any); ok {
		object = maps.Clone(object)
		delete(object, "$schema")
		if named, ok := object["$defs"].(map[string]any); ok {
			for name, inner := range named {
				m.docs["#/$defs/"+name] = inner
			}
			delete(object, "$defs")
		}
		doc = object
	}
	m.docs["#"] = doc
	return m.named("#")
}

// order is a benign order of about the given number of bytes, and the contract that describes it.
func order(t testing.TB, size int) (*Operation, *body.Tree) {
	c := load(t, `openapi: 3.0.3
paths:
  /orders:
    post:
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
components:
  schemas:
    Order:
      type: object
      required: [customer, items]
      properties:
        customer: {type: string, maxLength: 100}
        note: {type: string, maxLength: 500}
        items:
          type: array
          maxItems: 1000
          items:
            type: object
            required: [sku, quantity]
            properties:
              sku: {type: string, pattern: "^SKU-[0-9]{5}$"}
              name: {type: string, maxLength: 100}
              quantity: {type: integer, minimum: 1, maximum: 100}
              price: {type: number, minimum: 0}
`)
	item := `{"sku":"SKU-00001","name":"Blue cotton shirt","quantity":7,"price":10.50}`
	raw := `{"customer":"Ann Miller","note":"please ring twice","items":[` + item + strings.Repeat(","+item, size/len(item)) + `]}`
	return c.Operations[0], readTree(t, raw)
}

// TestSureOfContracts: whole contracts, translated and closed, are judged this way, their readOnly and undeclared properties too.
func TestSureOfContracts(t *testing.T) {
	op, tree := order(t, 1<<10)
	if !op.Bodies[0].value.entry.sure.isSure(tree.Nodes) {
		t.Error("not sure of an order")
	}
	if raw := strings.Replace(string(tree.Raw), `"note"`, `"role"`, 1); op.Bodies[0].value.entry.sure.isSure(readTree(t, raw).Nodes) {
		t.Error("sure of an undeclared property")
	}
	thing := load(t, string(generate(10))).Operations[1].Bodies[0].value.entry.sure
	whole := `{"name":"x","price":{"amount":100,"currency":"EUR"},"ship_to":{"street":"a","city":"b","zip":"12345"},"tags":["a"],"created":"2026-02-28T01:02:03Z","state":"live","quantity":3}`
	if !thing.isSure(readTree(t, whole).Nodes) {
		t.Error("not sure of a thing")
	}
	for before, after := range map[string]string{`"x"`: `""`, `100`: `-1`, `"EUR"`: `"EURO"`, `"12345"`: `"1234"`, `"live"`: `"dead"`, `"a","city"`: `"a","role"`, `{"name":"x"`: `{"id":"123e4567-e89b-12d3-a456-426614174000","name":"x"`, `T01`: `T25`} {
		if thing.isSure(readTree(t, strings.Replace(whole, before, after, 1)).Nodes) {
			t.Errorf("sure with %s", after)
		}
	}
}

// TestNodesOf: values that come from text are judged like a body's, and what is no value of JSON isn't.
func TestNodesOf(t *testing.T) {
	s := makeBoth(t, map[string]any{"": map[string]any{"type": []any{"object"}, "additionalProperties": map[string]any{"type": []any{"array", "null", "boolean"}}}}, "").sure
	for _, c := range []struct {
		value any
		sure  bool
	}{
		{map[string]any{"a": []any{"x", json.Number("1")}, "b": nil, "c": true, "d": map[string]any(nil)}, false},
		{map[string]any{"a": []any{"x", json.Number("1"), map[string]any{"y": false}}, "b": nil, "c": true}, true},
		{map[string]any{"a": []any{1.5}}, false},
		{map[string]any{"a": "x"}, false},
		{nil, false},
	} {
		if s.isSure(nodesOf(nil, "", c.value)) != c.sure {
			t.Errorf("%v: sure is not %v", c.value, c.sure)
		}
	}
}

func BenchmarkOrder(b *testing.B) {
	op, tree := order(b, 10<<10)
	b.ReportAllocs()
	for b.Loop() {
		if v := op.CheckBody(op.Bodies[0], tree); v != nil {
			b.Fatal(v)
		}
	}
}

// BenchmarkOrderLibrary is the measure beside it: the same order, judged by the library.
func BenchmarkOrderLibrary(b *testing.B) {
	op, tree := order(b, 10<<10)
	value := tree.Value()
	b.ReportAllocs()
	for b.Loop() {
		if v := op.Bodies[0].value.ask(value); v != nil {
			b.Fatal(v)
		}
	}
}
