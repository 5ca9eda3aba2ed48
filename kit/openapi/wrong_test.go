package openapi

import (
	"fmt"
	"strings"
	"testing"
)

// operation puts lines into a contract with one operation.
func operation(lines string) string { return head + "  /a/{id}:\n    get:\n" + lines }

const idParameter = "      parameters: [{name: id, in: path, required: true, schema: {type: string}}]\n"

// query puts a schema into a contract.
func query(schema string) string {
	return operation("      parameters:\n        - {name: id, in: path, required: true, schema: {type: string}}\n        - {name: q, in: query, schema: " + schema + "}\n")
}

// TestMistakes: every contract is wrong in one way, and the mistake says where and what.
func TestMistakes(t *testing.T) {
	for _, w := range []struct {
		contract     string
		line, column int
		part         string
	}{
		{"", 1, 1, "empty"},
		{"# nothing", 1, 1, "empty"},
		{"[]", 1, 1, "an object"},
		{"openapi: 3.1.0\n\tpaths: {}", 2, 1, "not YAML"},
		{"openapi: 3.1.0\nopenapi: 3.1.0", 2, 1, "twice"},
		{"openapi: 3.1.0\n---\nopenapi: 3.1.0", 2, 0, "second document"},
		{"openapi: \xff", 1, 10, "UTF-8"},
		{"{\"openapi\":\n \"3.1.0\",}", 2, 10, "not JSON"},
		{"{\"openapi\": \"3.1.0\"} x", 1, 0, "after the end"},
		{"{\"openapi\": \"3.1.0\",\n\"openapi\": \"3.1.0\"}", 2, 1, "twice"},
		{"a: &a [*a]", 1, 8, "inside its own anchor"},
		{"paths: {}", 1, 1, "no version"},
		{"swagger: '2.0'", 1, 10, "Swagger"},
		{"openapi: 4.0.0", 1, 10, "not read"},
		{"openapi: 3.1", 0, 0, ""},
		{"openapi: 3.2.0", 0, 0, ""},
		{"openapi: 3.1.0\npath: {}", 2, 1, `unknown member "path"`},
		{"openapi: 3.1.0\njsonSchemaDialect: http://json-schema.org/draft-07/schema", 2, 20, "dialect"},
		{"openapi: 3.1.0\nservers: [{url: 'https://{x}/'}]", 2, 17, "not the address"},
		{"openapi: 3.1.0\nservers: [{url: 'https://a/%2e%2e/'}]", 2, 17, "dot segment"},
		{"openapi: 3.1.0\nservers: {}", 2, 10, "not a list"},
		{"openapi: 3.1.0\npaths: []", 2, 8, "not an object"},
		{head + "  a: {}", 4, 3, "slash"},
		{head + "  /a: {gett: {}}", 4, 8, `unknown member "gett"`},
		{head + "  /a: {query: {}}", 0, 0, ""},
		{head + "  /a: []", 4, 7, "not an object"},
		{head + "  /a: {get: 1}", 4, 13, "not an object"},
		{head + "  /a: {get: {}}\n  /%61: {get: {}}", 5, 9, "the same as"},
		{head + "  /a/{x}: {get: {parameters: [{name: x, in: path, required: true, schema: {}}]}}\n  /a/{y}: {get: {parameters: [{name: y, in: path, required: true, schema: {}}]}}", 5, 11, "the same as"},
		{head + "  /a: {get: {operationId: x}}\n  /b: {get: {operationId: x}}", 5, 27, "no other operation"},
		{head + "  /a: {get: {paramaters: []}}", 4, 14, `unknown member "paramaters"`},
		{head + "  /a: {get: {security: [{oauth: []}]}}", 4, 26, "not declared"},
		{head + "  /a: {get: {security: {}}}", 4, 24, "not a list"},
		{head + "  /a: {get: {x-gatehouse-roles: admin}}", 4, 33, "not a list"},
		{head + "  /a: {get: {x-gatehouse-roles: [a, a]}}", 4, 37, "written once"},
		{head + "  /a: {get: {x-gatehouse-role: [a]}}", 4, 14, "unknown member"},
		{head + "  /a: {get: {x-gatehouse-stream: websockets}}", 4, 34, "a stream is one of"},
		{head + "  /a/{id}: {get: {}}", 4, 18, "{id} of the path is not declared"},
		{head + "  /a: {get: {parameters: [{name: x, in: path, required: true, schema: {type: string}}]}}", 4, 13, "not in the path"},
		{operation("      parameters: [{name: id, in: path, schema: {type: string}}]\n"), 6, 20, "not required"},
		{operation("      parameters: [{name: id, in: path, required: true, style: matrix, schema: {type: string}}]\n"), 6, 0, "matrix"},
		{operation("      parameters: [{name: id, in: path, required: true, style: form, schema: {type: string}}]\n"), 6, 0, "no style"},
		{operation("      parameters: [{name: id, in: path, required: true, type: string}]\n"), 6, 0, "unknown member \"type\""},
		{operation("      parameters: [{name: id, in: path, required: true}]\n"), 6, 20, "no schema"},
		{operation("      parameters: [{name: id, in: path, required: true, content: {application/xml: {}}}]\n"), 6, 0, "can't be judged"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: id, in: path, required: true, schema: {type: string}}]\n"), 6, 0, "declared twice"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: x, in: querystring, schema: {}}]\n"), 6, 0, "in: path, query"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: 'x y', in: header, schema: {}}]\n"), 6, 0, "no name of a header"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: a, in: query, schema: {type: object, properties: {b: {}}}}, {name: b, in: query, schema: {}}]\n"), 6, 0, "both take"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: a, in: cookie, schema: {type: array, items: {}}}]\n"), 6, 0, "cookie"},
		{operation(idParameter[:len(idParameter)-2] + ", {name: a, in: query, style: deepObject, schema: {type: string}}]\n"), 6, 0, "for objects"},
		{operation("      parameters: [{$ref: '#/components/parameters/x', required: true}]\n") + "components: {parameters: {x: {name: id, in: path, required: true, schema: {type: string}}}}", 6, 56, "beside a $ref"},
		{head + "  /a: {$ref: '#/paths/~1b', get: {}}\n  /b: {get: {}}", 4, 29, "beside a $ref"},
		{operation(idParameter + "      requestBody: {}\n"), 7, 20, "no content"},
		{operation(idParameter + "      requestBody: {content: {application/x-foo: {}}}\n"), 7, 31, "can't be parsed"},
		{operation(idParameter + "      requestBody: {content: {application/x-foo: {x-gatehouse-opaque: {}}}}\n"), 7, 0, "needs its reason"},
		{operation(idParameter + "      requestBody: {content: {application/x-foo: {x-gatehouse-opaque: {accept_risk: ''}}}}\n"), 7, 0, "needs its reason"},
		{operation(idParameter + "      requestBody: {content: {'*/*': {}}}\n"), 7, 0, "can't be parsed"},
		{operation(idParameter + "      requestBody: {content: {json: {}}}\n"), 7, 0, "no media type"},
		{operation(idParameter + "      requestBody: {content: {application/json: {}, 'application/json; v=1': {}}}\n"), 7, 0, "declared twice"},
		{operation(idParameter + "      requestBody: {content: {multipart/form-data: {schema: {type: string}}}}\n"), 7, 0, "not that of an object"},
		{operation(idParameter + "      requestBody: {content: {multipart/form-data: {schema: {type: object, properties: {a: {}}}, encoding: {b: {}}}}}\n"), 7, 0, "no declared property"},
		{query("string"), 8, 40, "not an object"},
		{query("{type: strin}"), 8, 0, "type is not one of"},
		{query("{type: [string, strin]}"), 8, 0, "type is not one of"},
		{query("{type: []}"), 8, 0, "admits nothing"},
		{query("{type: string, maxLength: '5'}"), 8, 0, "whole number"},
		{query("{type: string, maxLength: -5}"), 8, 0, "whole number"},
		{query("{type: string, maxLength: 5.5}"), 8, 0, "whole number"},
		{query("{type: integer, minimum: '5'}"), 8, 0, "not a number"},
		{query("{type: integer, exclusiveMinimum: true, minimum: 5}"), 8, 0, "exclusiveMinimum"},
		{query("{type: integer, multipleOf: 0}"), 8, 0, "above 0"},
		{query("{type: integer, multipleOf: 0.0}"), 8, 0, "above 0"},
		{query("{type: integer, maximum: .inf}"), 8, 0, "not a number that JSON has"},
		{query("{enum: []}"), 8, 0, "not a list of values"},
		{query("{enum: a}"), 8, 0, "not a list of values"},
		{query("{pattern: '(?=a)'}"), 8, 50, "can't be judged"},
		{query("{pattern: '(a'}"), 8, 50, "can't be judged"},
		{query("{pattern: '(a)\\1'}"), 8, 50, "refers back"},
		{query("{pattern: 5}"), 8, 0, "not a text"},
		{query("{pattern: '[', x-gatehouse-accept-risk: ''}"), 8, 0, "can't be judged"},
		{query("{type: object, patternProperties: {'(?!a)': {}}}"), 8, 0, "can't be judged"},
		{query("{type: array, items: [{}]}"), 8, 0, "prefixItems"},
		{query("{allOf: []}"), 8, 0, "list of schemas"},
		{query("{allOf: {}}"), 8, 0, "list of schemas"},
		{query("{not: 5}"), 8, 0, "not an object"},
		{query("{required: name}"), 8, 0, "not a list"},
		{query("{required: [a, a]}"), 8, 0, "each once"},
		{query("{type: object, properties: []}"), 8, 0, "not an object"},
		{query("{$id: a}"), 8, 41, "$id"},
		{query("{$dynamicRef: '#a'}"), 8, 41, "$dynamicRef"},
		{query("{$schema: 'http://json-schema.org/draft-04/schema'}"), 8, 0, "dialect"},
		{query("{$ref: '#/components/schemas/Nope'}"), 8, 47, "nothing stands"},
		{query("{$ref: '#anchor'}"), 8, 47, "JSON pointer"},
		{query("{$ref: 5}"), 8, 0, "not a text"},
		{query("{x-gatehouse-acept-risk: a}"), 8, 41, "unknown member"},
	} {
		list := mistakes(t, w.contract)
		if w.part == "" {
			if len(list) > 0 {
				t.Errorf("%q: %v", w.contract, list)
			}
			continue
		}
		if len(list) != 1 {
			t.Errorf("%q: %d mistakes, want one: %v", w.contract, len(list), list)
			continue
		}
		m := list[0]
		if m.Line != w.line || w.column > 0 && m.Column != w.column || !strings.Contains(m.What, w.part) || m.File != "api/c.yaml" {
			t.Errorf("%q: got %s:%d:%d %s, want %d:%d %s", w.contract, m.File, m.Line, m.Column, m.What, w.line, w.column, w.part)
		}
		if lines := strings.Split(w.contract, "\n"); m.Line > 0 && m.Line <= len(lines) && m.Excerpt != lines[m.Line-1] {
			t.Errorf("%q: excerpt %q", w.contract, m.Excerpt)
		}
	}
}

// TestAllMistakesAtOnce: one pass names them all.
func TestAllMistakesAtOnce(t *testing.T) {
	list := mistakes(t, operation("      parameters: [{name: id, in: path, schema: {type: strin}}]\n      securty: []\n")+"  /b: {gte: {}}\n")
	if len(list) != 4 {
		t.Errorf("got %d: %v", len(list), list)
	}
	for _, m := range list {
		if m.Path == "" || m.Line == 0 || m.Column == 0 || m.Excerpt == "" {
			t.Errorf("incomplete: %+v", m)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for contract, want := range map[string]string{
		head + "  /a: {gett: {}}":              "get",
		head + "  /a: {get: {paramaters: []}}": "parameters",
		query("{type: strng}"):                 "string",
		query("{$ref: '#/components/schemas/Ordr'}") + "components: {schemas: {Order: {}}}": "'#/components/schemas/Order'",
		operation(idParameter + "      requestBody: {content: {application/x-foo: {}}}\n"):  "x-gatehouse-opaque",
	} {
		if list := mistakes(t, contract); len(list) != 1 || !strings.Contains(list[0].Write, want) {
			t.Errorf("%q: got %+v", contract, list)
		}
	}
}

// TestReferences: I11, a reference leads below the contract's folder or nowhere.
func TestReferences(t *testing.T) {
	good := load(t, query("{$ref: 'shared/s.yaml#/Order'}"), "api/shared/s.yaml", "Order: {$ref: 'deep/t.json#/a~1b/0'}", "api/shared/deep/t.json",
		`{"a/b":[{"type":"string","enum":["x"],"title":"\u00e9"}], "back": {"$ref":"../s.yaml#/Order"}}`)
	if _, v := ask(t, good, "GET /a/1?q=y"); v == nil || v.Pointer != "shared/deep/t.json#/a~1b/0/enum" {
		t.Errorf("got %+v", v)
	}
	for ref, part := range map[string]string{
		"http://169.254.169.254/latest#/a": "leaves this machine",
		"https://example.com/a.yaml":       "leaves this machine",
		"file:///etc/passwd":               "leaves this machine",
		"//example.com/a.yaml":             "leaves this machine",
		"/etc/passwd":                      "not a path below",
		"../secret.yaml":                   "out of the contract's folder",
		"shared/../../secret.yaml":         "out of the contract's folder",
		"%2e%2e/secret.yaml":               "out of the contract's folder",
		"..%2fsecret.yaml":                 "out of the contract's folder",
		"..\\secret.yaml":                  "not a path below",
		"a.yaml?x":                         "not a path below",
		"missing.yaml#/a":                  "missing.yaml",
	} {
		read := files("api/c.yaml", query("{$ref: '"+ref+"'}"))
		_, err := Load("api/c.yaml", func(path string) ([]byte, error) {
			if path != "api/c.yaml" && path != "api/missing.yaml" {
				t.Errorf("%s: %s was read", ref, path)
			}
			return read(path)
		})
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %v", ref, err)
		}
	}
}

// TestCycles: a schema may contain itself through a part of its value, not through the value itself.
func TestCycles(t *testing.T) {
	tail := "components: {schemas: {A: {$ref: '#/components/schemas/B'}, B: {$ref: '#/components/schemas/A'}, C: {allOf: [{$ref: '#/components/schemas/C'}]}, D: {type: object, properties: {d: {$ref: '#/components/schemas/D'}}}}}\n"
	for schema, part := range map[string]string{"A": "circle", "C": "without an end", "D": ""} {
		list := mistakes(t, query("{$ref: '#/components/schemas/"+schema+"'}")+tail)
		if part == "" && len(list) > 0 || part != "" && (len(list) == 0 || !strings.Contains(list[0].What, part)) {
			t.Errorf("%s: got %v", schema, list)
		}
	}
	if list := mistakes(t, head+"  /a: {$ref: '#/paths/~1b'}\n  /b: {$ref: '#/paths/~1a'}\n"); len(list) == 0 {
		t.Error("path items that refer to each other are admitted")
	}
}

// TestAliasesDoNotUnfold: a file of a kilobyte doesn't become billions of values.
func TestAliasesDoNotUnfold(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-a0: &a0 [1,2,3,4,5,6,7,8,9,10]\n")
	for i := 1; i < 12; i++ {
		prev, this := string(rune('0'+(i-1)%10))+strings.Repeat("x", (i-1)/10), string(rune('0'+i%10))+strings.Repeat("x", i/10)
		b.WriteString("x-b" + this + ": &a" + this + " [" + strings.TrimSuffix(strings.Repeat("*a"+prev+",", 10), ",") + "]\n")
	}
	if list := mistakes(t, "openapi: 3.1.0\n"+b.String()); len(list) != 1 || !strings.Contains(list[0].What, "unfold") {
		t.Errorf("got %v", list)
	}
}

// TestLongChains: G23, a chain of references does not exhaust the stack.
func TestLongChains(t *testing.T) {
	for _, link := range []string{
		"    S%d: {type: object, properties: {a: {$ref: '#/components/schemas/S%d'}}}\n",
		"    S%d: {allOf: [{$ref: '#/components/schemas/S%d'}]}\n",
		"    S%d: {$ref: '#/components/schemas/S%d'}\n",
	} {
		var b strings.Builder
		b.WriteString(query("{$ref: '#/components/schemas/S0'}") + "components:\n  schemas:\n")
		for i := range 5_000 {
			fmt.Fprintf(&b, link, i, i+1)
		}
		b.WriteString("    S5000: {type: string}\n")
		if list := mistakes(t, b.String()); len(list) == 0 {
			t.Errorf("%s is admitted", link)
		}
	}
}
