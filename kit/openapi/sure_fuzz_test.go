package openapi

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// inventor makes schemas out of few words, so that their parts meet, and values that are nearly what a schema says.
type inventor struct{ *rand.Rand }

func (r inventor) pick(list ...any) any { return list[r.IntN(len(list))] }

func (r inventor) number() any {
	return r.pick(json.Number("0"), json.Number("-1"), json.Number("1"), json.Number("1.0"), json.Number("2"), json.Number("0.5"), json.Number("-0.5"),
		json.Number("10"), json.Number("9.99"), json.Number("1e1"), json.Number("-0"), json.Number("12345678901234567890.5"))
}

func (r inventor) word() string { return r.pick("a", "b", "ab", "", "xa", "ä").(string) }

func (r inventor) count() any { return json.Number(strconv.Itoa(r.IntN(4))) }

func (r inventor) scalar() any {
	return r.pick(nil, true, false, r.number(), r.word(), r.number(), r.word(), []any{r.word()}, map[string]any{"a": r.number()})
}

func (r inventor) schema(depth int) any {
	if r.IntN(12) == 0 || depth == 0 {
		return r.pick(true, true, false, map[string]any{"type": "string"}, map[string]any{"type": []any{"integer", "null"}}, map[string]any{"$ref": resourceBase + "self"})
	}
	doc := map[string]any{}
	for range 1 + r.IntN(4) {
		r.keyword(doc, depth-1)
	}
	return doc
}

func (r inventor) schemas(depth int) []any {
	list := make([]any, 1+r.IntN(3))
	for i := range list {
		list[i] = r.schema(depth)
	}
	return list
}

func (r inventor) keyword(doc map[string]any, depth int) {
	switch name := r.pick("type", "type", "types", "enum", "const", "format", "length", "pattern", "bound", "bound", "multipleOf", "items", "prefixItems", "sizes",
		"uniqueItems", "properties", "properties", "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "required", "counts",
		"allOf", "anyOf", "oneOf", "$ref", "other").(string); name {
	case "type":
		doc[name] = r.pick("object", "object", "array", "string", "integer", "number")
	case "types":
		doc["type"] = []any{r.pick("object", "array", "null"), r.pick("string", "integer", "number", "boolean")}
	case "enum":
		doc[name] = []any{r.scalar(), r.scalar(), r.scalar()}
	case "const":
		doc[name] = r.scalar()
	case "format":
		doc[name] = r.pick("int32", "date", "hostname", "ipv4")
	case "length":
		doc[r.pick("minLength", "maxLength").(string)] = r.count()
	case "pattern":
		doc[name] = r.pick("^a", "b$", "^.{1,2}$")
	case "bound":
		doc[r.pick("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum").(string)] = r.number()
	case "multipleOf":
		doc[name] = r.pick(json.Number("1"), json.Number("0.5"), json.Number("3"), json.Number("0.01"))
	case "items", "additionalProperties", "unevaluatedProperties":
		doc[name] = r.schema(depth)
	case "prefixItems", "allOf", "anyOf", "oneOf":
		doc[name] = r.schemas(depth)
	case "sizes":
		doc[r.pick("minItems", "maxItems").(string)] = r.count()
	case "uniqueItems":
		doc[name] = r.IntN(3) > 0
	case "properties":
		doc[name] = map[string]any{r.word(): r.schema(depth), r.word(): r.schema(depth)}
	case "patternProperties":
		doc[name] = map[string]any{r.pick("^a", "b$", "x").(string): r.schema(depth)}
	case "required":
		doc[name] = []any{r.word()}
	case "counts":
		doc[r.pick("minProperties", "maxProperties").(string)] = r.count()
	case "$ref":
		doc[name] = resourceBase + r.pick("self", "other").(string)
	case "other":
		doc["not"] = r.schema(0)
	}
}

// value makes a value with an eye on a schema.
func (r inventor) value(doc any, depth int) any {
	s, _ := doc.(map[string]any)
	if r.IntN(8) == 0 || s == nil || depth == 0 {
		return r.scalar()
	}
	for _, name := range []string{"allOf", "anyOf", "oneOf"} {
		if list, ok := s[name].([]any); ok && r.IntN(3) == 0 {
			return r.value(list[r.IntN(len(list))], depth)
		}
	}
	if list, ok := s["enum"].([]any); ok {
		return r.pick(list...)
	}
	if c, ok := s["const"]; ok {
		return c
	}
	switch s["type"] {
	case "string":
		return r.word()
	case "integer", "number":
		return r.number()
	}
	_, isList := s["items"]
	if s["type"] == "array" || isList && r.IntN(2) == 0 {
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = r.value(s["items"], depth-1)
		}
		return list
	}
	object := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	for name, inner := range properties {
		if r.IntN(4) > 0 {
			object[name] = r.value(inner, depth-1)
		}
	}
	if names, ok := s["required"].([]any); ok && object[names[0].(string)] == nil {
		object[names[0].(string)] = r.value(properties[names[0].(string)], depth-1)
	}
	if r.IntN(4) == 0 {
		object[r.word()] = r.value(s["additionalProperties"], depth-1)
	}
	return object
}

// agree invents schemas and values from a seed, and holds what we are sure of against the library.
func agree(t testing.TB, seed uint64, raws ...string) (said, valid int) {
	r := inventor{rand.New(rand.NewPCG(seed, 7))}
	docs := map[string]any{"": r.schema(4), "other": r.schema(2), "self": r.schema(3)}
	b := makeBoth(t, docs, "")
	for range 12 {
		raw, err := json.Marshal(r.value(docs[""], 4))
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, string(raw))
	}
	for _, raw := range raws {
		tree, refusal := body.Read(body.JSON, nil, "", strings.NewReader(raw), body.Limits{})
		if refusal != nil {
			continue
		}
		if b.library.Validate(tree.Value()) == nil {
			valid++
		}
		if b.judge(t, docs, tree) {
			said++
		}
	}
	return said, valid
}

// TestSureAgrees: over invented schemas we are sure of nothing that the library refuses, and of much that it accepts.
func TestSureAgrees(t *testing.T) {
	said, valid := 0, 0
	for seed := range uint64(2_000) {
		s, v := agree(t, seed)
		said, valid = said+s, valid+v
	}
	t.Logf("sure of %d of %d valid values", said, valid)
	if said < valid/2 {
		t.Errorf("sure of %d of %d valid values only", said, valid)
	}
}

// FuzzSure: whatever the schema and the value, we are sure of nothing that the library refuses.
func FuzzSure(f *testing.F) {
	f.Add(uint64(1), `{"a":1}`)
	f.Add(uint64(2), `["a",{"b":null}]`)
	f.Add(uint64(3), `-0.0`)
	f.Fuzz(func(t *testing.T, seed uint64, raw string) { agree(t, seed, raw) })
}

// ofShape makes a value with an eye on what a contract's schema says of properties and types.
func (r inventor) ofShape(s *shape, depth int) any {
	if s == nil || depth == 0 || r.IntN(15) == 0 {
		return r.scalar()
	}
	switch {
	case s.types.has(object):
		object := map[string]any{}
		for _, p := range s.properties {
			if r.IntN(6) > 0 {
				object[p.name] = r.ofShape(p.shape, depth-1)
			}
		}
		if r.IntN(10) == 0 {
			object[r.word()] = r.scalar()
		}
		return object
	case s.types.has(list):
		items := make([]any, r.IntN(4))
		for i := range items {
			items[i] = r.ofShape(s.items, depth-1)
		}
		return items
	case s.types.has(number):
		return r.number()
	case s.format != "":
		return r.pick("2026-02-28", "2026-02-28T01:02:03Z", "a@b.example", "123e4567-e89b-12d3-a456-426614174000", "https://a.example/")
	}
	return r.pick("a", "EUR", "ab", "12345", "Blue cotton shirt", strings.Repeat("x", 300), "SKU-00001")
}

// TestSureAgreesOnShop: the contracts of the shop, and bodies made for them.
func TestSureAgreesOnShop(t *testing.T) {
	paths, err := filepath.Glob("../../examples/shop/contracts/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no contract of the shop, %v", err)
	}
	r, bodies := inventor{rand.New(rand.NewPCG(1, 2))}, 0
	for _, path := range paths {
		c, err := Load(path, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range c.Operations {
			for _, b := range op.Bodies {
				if b.Kind != body.JSON || b.value.entry == nil {
					continue
				}
				bodies++
				for range 300 {
					raw, err := json.Marshal(r.ofShape(b.value.shape, 6))
					if err != nil {
						t.Fatal(err)
					}
					tree := readTree(t, string(raw))
					if p := b.value.ask(tree.Value()); p != nil && b.value.entry.sure.isSure(tree.Nodes) {
						t.Fatalf("%s: %s is said to be valid, but %+v", op.Pointer, raw, p)
					}
				}
			}
		}
	}
	if bodies < 3 {
		t.Errorf("%d bodies only", bodies)
	}
}
