package openapi

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// judgeValue judges JSON by a schema as a request's body.
func judgeValue(t testing.TB, version, schema, raw string) *Violation {
	t.Helper()
	c := load(t, "openapi: "+version+"\npaths:\n  /a:\n    post:\n      requestBody: {content: {application/json: {schema: "+schema+"}}}\n")
	return judgeBody(t, c, "/a", "application/json", raw)
}

func TestVersion30(t *testing.T) {
	for _, w := range []struct {
		schema, raw string
		ok          bool
	}{
		{"{type: string, nullable: true}", "null", true},
		{"{type: string}", "null", false},
		{"{nullable: true, type: string, enum: [a]}", "null", false}, // OpenAPI 3.0.3: null must be in the enum
		{"{type: integer, minimum: 5, exclusiveMinimum: true}", "5", false},
		{"{type: integer, minimum: 5, exclusiveMinimum: true}", "6", true},
		{"{type: integer, minimum: 5, exclusiveMinimum: false}", "5", true},
		{"{type: integer, maximum: 5, exclusiveMaximum: true}", "5", false},
		{"{type: object, example: {a: 1}, properties: {a: {type: integer}}}", `{"a":1}`, true},
		{"{type: object, properties: {a: {type: integer}}}", `{"b":1}`, false},
		{"{type: object, properties: {a: {type: integer, readOnly: true}}, required: [a]}", `{}`, true},
		{"{type: object, properties: {a: {type: integer, readOnly: true}}, required: [a]}", `{"a":1}`, false},
		{"{allOf: [{type: object, properties: {a: {readOnly: true}}}, {required: [a]}]}", `{}`, true},
		{"{type: integer, format: int32}", "2147483648", false},
		{"{type: integer, format: int64}", "9223372036854775807", true},
		{"{type: integer, format: int64}", "9223372036854775808", false},
		{"{type: array, uniqueItems: true, items: {}}", "[1, 1.0]", false},
		{"{type: string, format: byte}", `"aGk="`, true},
		{"{type: string, format: byte}", `"a b"`, false},
	} {
		if v := judgeValue(t, "3.0.3", w.schema, w.raw); (v == nil) != w.ok {
			t.Errorf("%s, %s: got %+v", w.schema, w.raw, v)
		}
	}
	for _, wrong := range []string{"{type: [string]}", "{type: 'null'}", "true"} {
		if _, err := Load("c", files("c", "openapi: 3.0.0\npaths: {/a: {post: {requestBody: {content: {application/json: {schema: "+wrong+"}}}}}}")); err == nil {
			t.Errorf("3.0 admits %s", wrong)
		}
	}
}

// TestFormats: each format is judged over the whole value.
func TestFormats(t *testing.T) {
	for format, values := range map[string][2][]string{
		"uuid":          {{"123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"}, {"", "123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-426614174000}", "urn:uuid:123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400g", "123e4567-e89b-12d3-a456-426614174000\n"}},
		"date":          {{"2026-02-28", "2024-02-29"}, {"2026-02-29", "2026-2-3", "2026-02-28T", "20260228", "２026-02-28"}},
		"date-time":     {{"2026-02-28T01:02:03Z", "2026-02-28t01:02:03.123456789z", "2026-02-28T01:02:03+23:59", "2016-12-31T23:59:60Z", "2017-01-01T00:59:60+01:00"}, {"2026-02-28", "2026-02-28 01:02:03Z", "2026-02-28T01:02:03", "2026-02-28T24:00:00Z", "2026-02-28T01:02:60Z", "2026-02-28T01:02:03.Z", "2026-02-28T01:02:03+24:00", "2026-02-28T1:02:03Z"}},
		"time":          {{"01:02:03Z", "01:02:03.5-01:00"}, {"01:02", "01:02:03"}},
		"duration":      {{"P1D", "PT1H", "P1Y2M3DT4H5M6S", "P4W"}, {"P", "PT", "1D", "P1D2Y", "P1W2D", "PT1D", "P-1D"}},
		"email":         {{"a@b.example", "a.b+c@d-e.example"}, {"a", "@b", "a@", "a b@c", "a..b@c", "a@b@c", "a@[::1]", `"a"@b`, "a@b\r\nBcc: c@d", "ä@b.example"}},
		"ipv4":          {{"127.0.0.1"}, {"127.1", "0x7f000001", "127.0.0.01", "127.0.0.256", "::1", "127.0.0.1/8"}},
		"ipv6":          {{"::1", "::ffff:127.0.0.1"}, {"127.0.0.1", "::1%eth0", "[::1]", ":::"}},
		"uri":           {{"https://a.example/b?c#d", "urn:a:b"}, {"a/b", "https://a b", "https://a/<", "http://[::1"}},
		"uri-reference": {{"a/b", "https://a.example"}, {"a b", "%zz"}},
		"hostname":      {{"a", "a-b.example"}, {"", "a.", "-a", "a-", "a_b", "ä", strings.Repeat("a", 64)}},
		"base64url":     {{"_-8", "aGk", "aGk="}, {"+/8", "a b"}},
		"json-pointer":  {{"", "/a~1b"}, {"a", "/a~2"}},
		"char":          {{"a", "ä"}, {"", "ab"}},
	} {
		for i, list := range values {
			for _, s := range list {
				if err := formats[format](s); (err == nil) != (i == 0) {
					t.Errorf("%s: %q: %v", format, s, err)
				}
			}
		}
		if err := formats[format](json.Number("5")); err != nil {
			t.Errorf("%s judges a number: %v", format, err)
		}
	}
}

// TestPatterns: ECMA-262 means the same in RE2, or is refused.
func TestPatterns(t *testing.T) {
	for _, w := range []struct{ pattern, fits, fails string }{
		{`^a.c$`, "abc", "a\rc"},
		{`^a[^]c$`, "a\nc", "ac"},
		{`^\d+$`, "12", "١"},
		{`^\w+$`, "a_1", "ä"},
		{`^\s$`, "\u00a0", "a"},
		{`^[\s]$`, "\ufeff", "a"},
		{`^\S$`, "a", "\u2003"},
		{`^[a\]]$`, "]", "b"},
		{`^[[:alpha:]]$`, ":]", "z"}, // a class of [ : a l p h, then a ]
		{`^[a[b]$`, "[", "c"},
		{`^\u0041$`, "A", "B"},
		{`^\u{1F600}$`, "😀", "x"},
		{`^\x41$`, "A", "B"},
		{`^\cJ$`, "\n", "J"},
		{`^\/$`, "/", `\`},
		{`^[\b]$`, "\b", "b"},
		{`^\p{Lu}\p{Script=Greek}$`, "Aα", "aa"},
		{`^(?<year>\d{4})$`, "2026", "26"},
		{`^(?:a|b)$`, "a", "c"},
		{`^a$`, "a", "a\n"},
		{`^ä\-\#$`, "ä-#", "a"},
		{`^\0$`, "\x00", "0"},
	} {
		translated, err := fromECMA(w.pattern)
		if err != nil {
			t.Errorf("%s: %v", w.pattern, err)
			continue
		}
		re, err := regexp.Compile(translated)
		if err != nil || !re.MatchString(w.fits) || re.MatchString(w.fails) {
			t.Errorf("%s (%s): %v", w.pattern, translated, err)
		}
	}
	for _, refused := range []string{`(?=a)`, `(?!a)`, `(?<=a)`, `(?<!a)`, `(a)\1`, `\k<a>`, `(?i)a`, `(?P<a>b)`, `\A`, `\z`, `\Qa\E`, `\a`, `\C`,
		`[]`, `[\S]`, `\u12`, `\ud83d\ude00`, `\`, `\p`, `\x4`, `\ä`, `\01`} {
		if got, err := fromECMA(refused); err == nil {
			t.Errorf("%s is read as %s", refused, got)
		}
	}
}

// TestWarnings: what stays open is listed, with its place.
func TestWarnings(t *testing.T) {
	for schema, want := range map[string]string{
		"{type: string, pattern: 'a'}":                                          "schema.unanchored_pattern",
		"{type: string, pattern: '^a|b$'}":                                      "schema.unanchored_pattern",
		"{type: string, pattern: '^a$'}":                                        "",
		"{type: string, pattern: '(?=a)', x-gatehouse-accept-risk: because}":    "schema.pattern_not_judged",
		"{type: string, format: sku}":                                           "schema.unknown_format",
		"{type: string, maxLenght: 5}":                                          "schema.unknown_keyword",
		"{type: string, nullable: true}":                                        "schema.nullable",
		"{type: string, contentEncoding: base64}":                               "schema.content_not_judged",
		"{type: object}":                                                        "body.free_form",
		"{}":                                                                    "body.free_form",
		"true":                                                                  "body.free_form",
		"{type: array}":                                                         "body.free_form",
		"{type: array, items: {}}":                                              "body.free_form",
		"{type: object, properties: {a: {type: object}}}":                       "body.free_form",
		"{type: object, additionalProperties: true}":                            "body.additional_properties",
		"{type: object, additionalProperties: {}}":                              "body.additional_properties",
		"{type: object, additionalProperties: false}":                           "",
		"{type: object, additionalProperties: {type: string}}":                  "",
		"{type: object, properties: {a: {enum: [1]}}}":                          "",
		"{oneOf: [{type: string}, {type: integer}]}":                            "",
		"{oneOf: [{type: string}, {type: object}]}":                             "body.free_form",
		"{type: object, properties: {a: {type: string}}, not: {required: [b]}}": "",
	} {
		c := load(t, "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      requestBody: {content: {application/json: {schema: "+schema+"}}}\n")
		ids := []string{}
		for _, w := range c.Warnings {
			ids = append(ids, w.ID)
			if w.Pointer == "" || w.Line == 0 || w.Column == 0 || w.What == "" || w.Operation != "POST /a" {
				t.Errorf("%s: incomplete: %+v", schema, w)
			}
		}
		ids = slices.Compact(ids)
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: got %q, want %q", schema, got, want)
		}
	}
	for media, want := range map[string]string{"application/xml": "body.xml",
		"application/x-foo: {x-gatehouse-opaque: {accept_risk: why}}, image/png": "body.opaque", "application/json": "body.free_form"} {
		c := load(t, "openapi: 3.1.0\npaths: {/a: {post: {requestBody: {content: {"+media+": {}}}}}}\n")
		if len(c.Warnings) == 0 || c.Warnings[0].ID != want {
			t.Errorf("%s: got %+v", media, c.Warnings)
		}
	}
}

// TestMetaschemaAgrees: what the official metaschema of 2020-12 refuses, the reader of keywords refuses too. It is not
// asked when a contract is loaded (see resourceBase).
func TestMetaschemaAgrees(t *testing.T) {
	values := []string{`null`, `true`, `1`, `-1`, `1.5`, `0`, `"a"`, `"["`, `[]`, `["a"]`, `["a","a"]`, `[1]`, `{}`, `{"a":1}`, `{"a":{}}`, `{"a":["b"]}`, `[{}]`}
	for keyword := range keywords {
		if strings.HasPrefix(keyword, "x-") || keyword == "$schema" {
			continue
		}
		for _, value := range values {
			raw := `{"` + keyword + `": ` + value + `}`
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			c := jsonschema.NewCompiler()
			c.UseLoader(refuseAll{})
			if err := c.AddResource("mem:a", doc); err != nil {
				t.Fatal(err)
			}
			_, metaErr := c.Compile("mem:a")
			_, err = Load("c.json", files("c.json", `{"openapi":"3.1.0","paths":{"/a":{"post":{"requestBody":{"content":{"application/json":{"schema":`+raw+`}}}}}}}`))
			if metaErr != nil && err == nil && keywords[keyword] != ignored && !strings.HasPrefix(keyword, "content") {
				t.Errorf("%s is admitted, the metaschema says: %v", raw, metaErr)
			}
		}
	}
}

// TestSharedProperties: what a base and its refinement both declare is closed over both, at every depth.
func TestSharedProperties(t *testing.T) {
	contract := "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Pet'}}}}\n" + `
components:
  schemas:
    Base: {type: object, properties: {data: {type: object, properties: {id: {type: integer}, in: {type: object, properties: {x: {type: integer}}}}}, one: {type: object, properties: {q: {type: integer}}}}}
    Extra: {type: object, properties: {name: {type: string}, in: {type: object, properties: {y: {type: integer}}}}}
    Pet: {allOf: [{$ref: '#/components/schemas/Base'}, {type: object, properties: {data: {$ref: '#/components/schemas/Extra'}}}]}
    B: {type: object, properties: {x: {$ref: '#/components/schemas/B'}, b: {type: integer}}}
    C: {type: object, properties: {x: {$ref: '#/components/schemas/C'}, c: {type: integer}}}
    D: {allOf: [{$ref: '#/components/schemas/Pet'}, {properties: {data: {required: [id], maxProperties: 2}}}], oneOf: [{properties: {data: {required: [name]}}}, {properties: {data: {required: [in]}}}]}
    A: {allOf: [{$ref: '#/components/schemas/B'}, {$ref: '#/components/schemas/C'}]}
`
	for i, schema := range []string{"Pet", "A", "D"} {
		c := load(t, strings.Replace(contract, "schemas/Pet", "schemas/"+schema, 1))
		for raw, where := range [3]map[string]string{{
			`{"data":{"id":1,"name":"x"}}`:               "",
			`{"data":{"id":1,"name":"x","role":1}}`:      "body /data/role",
			`{"data":{"in":{"x":1,"y":2}}}`:              "",
			`{"data":{"in":{"x":1,"y":2,"z":3}}}`:        "body /data/in/z",
			`{"data":{"in":{"x":"1"}}}`:                  "body /data/in/x",
			`{"one":{"q":1}}`:                            "",
			`{"one":{"r":1}}`:                            "body /one/r",
			`{"data":{"id":1},"one":{"q":1},"other":{}}`: "body /other",
		}, {
			`{"b":1,"c":1,"x":{"b":1,"c":1,"x":{"x":{"c":1}}}}`: "",
			`{"x":{"x":{"x":{"d":1}}}}`:                         "body /x/x/x/d",
			`{"x":{"x":{"x":{"c":"1"}}}}`:                       "body /x/x/x/c",
		}, { // nothing that any part says is lost
			`{"data":{"id":1,"name":"x"}}`:              "",
			`{"data":{"id":1,"in":{"x":1}}}`:            "",
			`{"data":{"name":"x"}}`:                     "body /data/id",
			`{"data":{"id":1}}`:                         "body /data/name",
			`{"data":{"id":1,"name":"x","in":{"x":1}}}`: "body",
			`{"data":{"id":1,"name":"x","role":1}}`:     "body /data",
			`{"data":{"id":"1","name":"x"}}`:            "body /data/id",
		}}[i] {
			v := judgeBody(t, c, "/a", "application/json", raw)
			if v == nil {
				v = &Violation{}
			}
			if v.Where != where {
				t.Errorf("%s: got %q %s at %s", raw, v.Where, v.What, v.Pointer)
			}
		}
	}
}
