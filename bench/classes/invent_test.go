package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// TestInventedIsValid: JSON bodies invented for the shop's contracts are what the contracts declare.
func TestInventedIsValid(t *testing.T) {
	files, err := filepath.Glob("../../examples/shop/contracts/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no contract of the shop, %v", err)
	}
	bodies := 0
	for _, file := range files {
		d, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		rewritten := filepath.Join(t.TempDir(), "contract.json")
		if err := d.write(rewritten); err != nil {
			t.Fatal(err)
		}
		contract, err := openapi.Load(rewritten, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		operations := map[string]*openapi.Operation{}
		for _, op := range contract.Operations {
			operations[op.Method+" "+op.Template] = op
		}
		for _, op := range d.operations {
			declared := operations[op.method+" "+op.path]
			if declared == nil {
				t.Fatalf("%s: no %s %s", file, op.method, op.path)
			}
			if !declared.Security.Public {
				t.Errorf("%s: %s is not public", file, declared.ID)
			}
			for _, r := range d.requests(op, 20) {
				if !strings.Contains(r.class, "JSON") {
					continue
				}
				bodies++
				media, v := declared.BodyFor("application/json")
				if v != nil {
					t.Fatalf("%s: %+v", declared.ID, v)
				}
				tree, refusal := body.Read(body.JSON, nil, "", strings.NewReader(string(r.Body)), body.Limits{})
				if refusal != nil {
					t.Fatalf("%s: %s: %+v", declared.ID, r.Body, refusal)
				}
				if v := declared.CheckBody(media, tree); v != nil {
					t.Errorf("%s: %s: %s %s", declared.ID, r.Body, v.Where, v.What)
				}
			}
		}
	}
	if bodies < 100 {
		t.Errorf("%d bodies only", bodies)
	}
}

// TestInvent: values keep to their schemas, and the same request gives the same values.
func TestInvent(t *testing.T) {
	d := &document{root: map[string]any{"components": map[string]any{"schemas": map[string]any{"Name": map[string]any{"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$", "minLength": 8}}}}}
	code := regexp.MustCompile(`^[A-Z]{2}-[0-9]+$`)
	schema := map[string]any{
		"allOf": []any{
			map[string]any{"type": "object", "required": []any{"code"}, "properties": map[string]any{"code": map[string]any{"$ref": "#/components/schemas/Name"}}},
			map[string]any{"type": "object", "required": []any{"n", "tags"}, "properties": map[string]any{
				"n":      map[string]any{"type": "integer", "minimum": 5, "maximum": 7},
				"tags":   map[string]any{"type": "array", "minItems": 2, "maxItems": 3, "items": map[string]any{"enum": []any{"a", "b"}}},
				"secret": map[string]any{"type": "string", "readOnly": true},
			}},
		},
	}
	for i := range 200 {
		v := inventor{d, draw("POST", "/x", "json", i)}
		made, _ := json.Marshal(v.value(schema, "", 4))
		again, _ := json.Marshal(inventor{d, draw("POST", "/x", "json", i)}.value(schema, "", 4))
		if string(made) != string(again) {
			t.Fatalf("%s, then %s", made, again)
		}
		var got struct {
			Code   string
			N      int
			Tags   []string
			Secret *string
		}
		if err := json.Unmarshal(made, &got); err != nil {
			t.Fatal(err)
		}
		if !code.MatchString(got.Code) || len(got.Code) < 8 || got.N < 5 || got.N > 7 || len(got.Tags) < 2 || len(got.Tags) > 3 || got.Secret != nil {
			t.Errorf("%s", made)
		}
	}
}

// TestSlug: what stands for a text in a path is one segment.
func TestSlug(t *testing.T) {
	for text, want := range map[string]string{"Ann Miller": "Ann-Miller", "https://a.example/?x=1&y": "https-a-example-x-1", "--": "one", "東京都 7": "東京都-7"} {
		if got := slug(text); got != want {
			t.Errorf("%q: %q instead of %q", text, got, want)
		}
	}
}
