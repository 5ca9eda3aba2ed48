package openapi

import (
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

const bodies = head + `
  /order:
    post:
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: '#/components/schemas/Order'}}
          application/x-www-form-urlencoded:
            schema:
              type: object
              required: [name]
              properties:
                name: {type: string, maxLength: 5}
                count: {type: integer, maximum: 9}
                tags: {type: array, items: {type: string}}
                nums: {type: array, items: {type: integer}}
                address: {$ref: '#/components/schemas/Address'}
                deep: {$ref: '#/components/schemas/Address'}
                ok: {type: boolean}
            encoding:
              nums: {style: form, explode: false}
              deep: {style: deepObject}
          multipart/form-data:
            schema:
              type: object
              required: [photo]
              properties:
                photo: {type: string, format: binary}
                name: {type: string, maxLength: 5}
                meta: {$ref: '#/components/schemas/Address'}
                pages: {type: array, items: {type: string, format: binary}, maxItems: 2}
                strict: {type: string, contentMediaType: image/png}
                bytes: {type: string, contentMediaType: application/octet-stream}
                said: {type: string, format: binary}
                letter: {type: string, contentMediaType: application/msword}
                table: {type: string, format: binary, contentMediaType: text/csv}
            encoding:
              said: {contentType: application/octet-stream}
              photo: {contentType: 'image/png, image/jpeg'}
          text/plain: {schema: {type: integer, maximum: 9}}
          image/*: {}
  /optional:
    post:
      requestBody:
        content:
          application/*+json: {schema: {type: array, items: {type: integer}}}
          text/json: {schema: {type: object, properties: {a: {type: integer}}}}
          application/vnd.x+json: {schema: {$ref: '#/components/schemas/Any'}}
  /none: {post: {}}
components:
  schemas:
    Address: {type: object, required: [street], properties: {street: {type: string, maxLength: 10}, zip: {type: integer}}}
    Order:
      type: object
      required: [id, name]
      properties:
        id: {type: integer, readOnly: true}
        name: {type: string, pattern: '^[a-z]{1,10}$'}
        address: {$ref: '#/components/schemas/Address'}
        both: {allOf: [{$ref: '#/components/schemas/Address'}, {properties: {floor: {type: integer}}, required: [floor]}]}
        pet: {oneOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}]}
        items: {type: array, maxItems: 3, items: {$ref: '#/components/schemas/Line'}}
        open: {type: object, properties: {a: {type: integer}}, additionalProperties: true}
        map: {type: object, additionalProperties: {type: integer}}
        shut: {type: object, additionalProperties: false}
        tree: {$ref: '#/components/schemas/Tree'}
        null: {type: [string, 'null']}
        price: {type: number, multipleOf: 0.01, minimum: 0}
        big: {type: integer, maximum: 9007199254740993}
        cond: {type: object, properties: {kind: {type: string}}, if: {properties: {kind: {const: a}}}, then: {properties: {a: {type: integer}}}, else: {properties: {b: {type: integer}}}}
        not: {not: {type: object, properties: {x: {type: string}}, required: [x]}}
        when: {type: string, format: date-time}
        a/b~c: {type: string, maxLength: 1}
    Line: {type: object, properties: {price: {type: integer, minimum: 1}}}
    Cat: {type: object, required: [meow], properties: {meow: {type: integer}}}
    Dog: {type: object, required: [bark], properties: {bark: {type: boolean}}}
    Tree: {type: object, properties: {leaf: {type: string}, kids: {type: array, items: {$ref: '#/components/schemas/Tree'}}}}
    Any: {}
`

// judgeBody reads and judges a body as the pipeline does.
func judgeBody(t testing.TB, c *Contract, path, mediaType, raw string) *Violation {
	t.Helper()
	var op *Operation
	for _, o := range c.Operations {
		if o.Template == path {
			op = o
		}
	}
	essence, parameters, _ := strings.Cut(mediaType, ";")
	b, v := op.BodyFor(essence)
	if v != nil {
		return v
	}
	params := map[string]string{}
	if name, value, ok := strings.Cut(strings.TrimSpace(parameters), "="); ok {
		params[name] = value
	}
	tree, refusal := body.Read(b.Kind, params, "", strings.NewReader(raw), body.Limits{})
	if refusal != nil {
		t.Fatalf("%s: %v", raw, refusal)
	}
	return op.CheckBody(b, tree)
}

func TestJSON(t *testing.T) {
	c := load(t, bodies)
	const order = "c.yaml#/components/schemas/Order"
	for _, w := range []struct{ members, reason, where, pointer string }{
		{``, "", "", ""},
		{`"id":1`, readOnlyProperty, "body /id", order + "/properties/id"},
		{`"role":"admin"`, unknownProperty, "body /role", order},
		{`"Name":"x"`, unknownProperty, "body /Name", order}, // G7
		{`"address":{"street":"a"}`, "", "", ""},
		{`"address":{"street":"a","role":1}`, unknownProperty, "body /address/role", "c.yaml#/components/schemas/Address"},
		{`"address":{"zip":1}`, missingProperty, "body /address/street", "c.yaml#/components/schemas/Address/required"},
		{`"address":{"street":"abcdefghijk"}`, badBody, "body /address/street", "c.yaml#/components/schemas/Address/properties/street/maxLength"},
		{`"address":null`, badBody, "body /address", "c.yaml#/components/schemas/Address/type"},
		{`"both":{"street":"a","floor":1}`, "", "", ""},
		{`"both":{"street":"a","floor":1,"x":1}`, unknownProperty, "body /both/x", order + "/properties/both"},
		{`"both":{"street":"a"}`, missingProperty, "body /both/floor", order + "/properties/both/allOf/1/required"},
		{`"both":{"street":"abcdefghijk","floor":1}`, badBody, "body /both/street", "c.yaml#/components/schemas/Address/properties/street/maxLength"},
		{`"pet":{"meow":1}`, "", "", ""},
		{`"pet":{"bark":true}`, "", "", ""},
		{`"pet":{"meow":1,"bark":true}`, badBody, "body /pet", order + "/properties/pet/oneOf"},
		{`"pet":{"meow":1,"role":1}`, unknownProperty, "body /pet/role", order + "/properties/pet"},
		{`"pet":{"meow":"x"}`, badBody, "body /pet/meow", "c.yaml#/components/schemas/Cat/properties/meow/type"},
		{`"pet":{}`, badBody, "body /pet", order + "/properties/pet/oneOf"},
		{`"items":[{"price":1},{"price":0}]`, badBody, "body /items/1/price", "c.yaml#/components/schemas/Line/properties/price/minimum"},
		{`"items":[{"cost":1}]`, unknownProperty, "body /items/0/cost", "c.yaml#/components/schemas/Line"},
		{`"items":[{},{},{},{}]`, badBody, "body /items", order + "/properties/items/maxItems"},
		{`"open":{"a":1,"b":2}`, "", "", ""},
		{`"open":{"a":"1"}`, badBody, "body /open/a", ""},
		{`"map":{"x":1}`, "", "", ""},
		{`"map":{"x":"1"}`, badBody, "body /map/x", order + "/properties/map/additionalProperties/type"},
		{`"shut":{"x":1}`, unknownProperty, "body /shut/x", order + "/properties/shut"},
		{`"tree":{"kids":[{"kids":[{"leaf":"x"}]}]}`, "", "", ""},
		{`"tree":{"kids":[{"kids":[{"leaf":1}]}]}`, badBody, "body /tree/kids/0/kids/0/leaf", "c.yaml#/components/schemas/Tree/properties/leaf/type"},
		{`"tree":{"kids":[{"kids":[{"fruit":1}]}]}`, unknownProperty, "body /tree/kids/0/kids/0/fruit", "c.yaml#/components/schemas/Tree"},
		{`"null":null`, "", "", ""},
		{`"price":0.07`, "", "", ""},
		{`"price":0.075`, badBody, "body /price", order + "/properties/price/multipleOf"},
		{`"big":9007199254740993`, "", "", ""}, // G8
		{`"big":9007199254740994`, badBody, "body /big", order + "/properties/big/maximum"},
		{`"cond":{"kind":"a","a":1}`, "", "", ""},
		{`"cond":{"kind":"b","b":1}`, "", "", ""},
		{`"cond":{"kind":"b","a":1}`, unknownProperty, "body /cond/a", order + "/properties/cond"},
		{`"not":{"y":1}`, "", "", ""},
		{`"not":{"x":"1","y":1}`, badBody, "body /not", ""},
		{`"when":"2026-02-30T00:00:00Z"`, badBody, "body /when", order + "/properties/when/format"},
		{`"a/b~c":"xx"`, badBody, "body /a~1b~0c", order + "/properties/a~1b~0c/maxLength"},
	} {
		raw := `{"name":"x"}`
		if w.members != "" {
			raw = `{"name":"x",` + w.members + `}`
		}
		for range 3 { // the choice of what is reported does not depend on the order of a map
			v := judgeBody(t, c, "/order", "application/json", raw)
			if v == nil {
				v = &Violation{}
			}
			if v.Reason != w.reason || v.Where != w.where || w.pointer != "" && v.Pointer != w.pointer {
				t.Errorf("%s: got %q %q %q (%s), want %q %q %q", raw, v.Reason, v.Where, v.Pointer, v.What, w.reason, w.where, w.pointer)
			}
		}
	}
	for _, w := range []struct{ raw, reason, where string }{
		{`{}`, missingProperty, "body /name"},
		{`[]`, badBody, "body"},
		{`null`, badBody, "body"},
		{`{"name":"UPPER"}`, badBody, "body /name"},
		{`{"name":"x\n"}`, badBody, "body /name"},
	} {
		if v := judgeBody(t, c, "/order", "application/json", w.raw); v == nil || v.Reason != w.reason || v.Where != w.where {
			t.Errorf("%s: got %+v", w.raw, v)
		}
	}
}

func TestForm(t *testing.T) {
	c := load(t, bodies)
	for _, w := range []struct{ raw, reason, where string }{
		{"name=abc", "", ""},
		{"name=abcdef", badBody, "body /name"},
		{"name=a&name=b", badBody, "body /name"},
		{"count=1", missingProperty, "body /name"},
		{"name=a&count=9&ok=true", "", ""},
		{"name=a&count=10", badBody, "body /count"},
		{"name=a&count=01", badBody, "body /count"},
		{"name=a&role=admin", unknownProperty, "body /role"},
		{"name=a&tags=x&tags=y", "", ""},
		{"name=a&nums=1,2", "", ""},
		{"name=a&nums=1,x", badBody, "body /nums/1"},
		{"name=a&nums=1&nums=2", badBody, "body /nums"},
		{`name=a&address=%7B%22street%22:%22s%22%7D`, "", ""},
		{`name=a&address=%7B%22street%22:%22s%22,%22street%22:%22t%22%7D`, badBody, "body /address"},
		{`name=a&address=%7B%22zip%22:1%7D`, missingProperty, "body /address/street"},
		{"name=a&deep%5Bstreet%5D=s&deep%5Bzip%5D=5", "", ""},
		{"name=a&deep%5Bstreet%5D=s&deep%5Bx%5D=5", unknownProperty, "body /deep/x"},
		{"name=a&deep%5Bstreet%5D=s&deep%5Bstreet%5D=t", badBody, "body /deep"},
		{"name=a&deep=x", badBody, "body /deep"},
		{"name=a&name%5Bx%5D=1", unknownProperty, "body /name[x]"},
		{"name=a&ok=1", badBody, "body /ok"},
	} {
		v := judgeBody(t, c, "/order", "application/x-www-form-urlencoded", w.raw)
		if v == nil {
			v = &Violation{}
		}
		if v.Reason != w.reason || v.Where != w.where {
			t.Errorf("%s: got %q %q (%s)", w.raw, v.Reason, v.Where, v.What)
		}
	}
}

func TestMultipart(t *testing.T) {
	c := load(t, bodies)
	part := func(disposition, mediaType, data string) string {
		if mediaType != "" {
			mediaType = "Content-Type: " + mediaType + "\r\n"
		}
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n" + mediaType + "\r\n" + data + "\r\n"
	}
	photo := part(`name="photo"; filename="a.png"`, "image/png", "\x89PNG")
	for name, w := range map[string]struct{ parts, reason, where string }{
		"photo":             {photo, "", ""},
		"photo as html":     {part(`name="photo"; filename="a.html"`, "text/html", "<p>"), badMediaType, "body /photo"},
		"no photo":          {part(`name="name"`, "", "abc"), missingProperty, "body /photo"},
		"name":              {photo + part(`name="name"`, "", "abc"), "", ""},
		"long name":         {photo + part(`name="name"`, "", "abcdef"), badBody, "body /name"},
		"name twice":        {photo + part(`name="name"`, "", "a") + part(`name="name"`, "", "b"), badBody, "body /name"},
		"name as file":      {photo + part(`name="name"; filename="x"`, "text/plain", "a"), badBody, "body /name"},
		"name as image":     {photo + part(`name="name"`, "image/png", "a"), badMediaType, "body /name"},
		"meta":              {photo + part(`name="meta"`, "application/json", `{"street":"s"}`), "", ""},
		"meta as blob":      {photo + part(`name="meta"; filename="blob"`, "application/json", `{"street":"s"}`), "", ""},
		"meta, unknown":     {photo + part(`name="meta"`, "application/json", `{"street":"s","x":1}`), unknownProperty, "body /meta/x"},
		"meta, no JSON":     {photo + part(`name="meta"`, "application/json", `{`), badBody, "body /meta"},
		"unknown":           {photo + part(`name="role"`, "", "admin"), unknownProperty, "body /role"},
		"two pages":         {photo + part(`name="pages"; filename="1"`, "image/png", "x") + part(`name="pages"; filename="2"`, "image/png", "x"), "", ""},
		"too many pages":    {photo + strings.Repeat(part(`name="pages"; filename="1"`, "image/png", "x"), 3), badBody, "body /pages"},
		"picture as bytes":  {photo + part(`name="bytes"; filename="a.png"`, "image/png", "x") + part(`name="said"; filename="a.png"`, "image/png", "x"), "", ""},
		"letter":            {photo + part(`name="letter"; filename="a.doc"`, "application/msword", "x"), "", ""},
		"page as letter":    {photo + part(`name="letter"; filename="a.doc"`, "text/html", "x"), badMediaType, "body /letter"},
		"page as table":     {photo + part(`name="table"; filename="a.csv"`, "text/html", "x"), badMediaType, "body /table"},
		"photo given twice": {photo + photo, badBody, "body /photo"},
	} {
		v := judgeBody(t, c, "/order", "multipart/form-data; boundary=b", w.parts+"--b--\r\n")
		if v == nil {
			v = &Violation{}
		}
		if v.Reason != w.reason || v.Where != w.where {
			t.Errorf("%s: got %q %q (%s)", name, v.Reason, v.Where, v.What)
		}
		if v.Reason == badMediaType && v.Status != 415 {
			t.Errorf("%s: status %d", name, v.Status)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	c := load(t, bodies)
	for _, w := range []struct{ path, mediaType, raw, reason string }{
		{"/order", "text/plain", "7", ""},
		{"/order", "text/plain", "10", badBody},
		{"/order", "image/png", "\x00\xff", ""},
		{"/order", "image/svg+xml", "<svg/>", ""},
		{"/order", "image/", "x", badMediaType},
		{"/order", "image/*", "x", badMediaType}, // a range is no type
		{"/order", "*/*", "x", badMediaType},
		{"/order", "text/html", "x", badMediaType}, // G14
		{"/order", "application/xml", "x", badMediaType},
		{"/order", "", "x", badMediaType},
		{"/order", "/", "x", badMediaType},
		{"/optional", "application/json", "{}", badMediaType},
		{"/optional", "application/vnd.x+json", `{"a":[1]}`, ""},
		{"/optional", "application/vnd.x+json", `{"a":[1e300]}`, ""},
		{"/optional", "application/other+json", `[1]`, ""},
		{"/optional", "application/other+json", `["a"]`, badBody},
		{"/optional", "application/+json", `[1]`, ""},
		{"/optional", "text/other+json", `[1]`, badMediaType},
		{"/optional", "text/json", `{"a":1}`, ""},
		{"/optional", "text/json", `{"b":1}`, unknownProperty},
		{"/none", "application/json", "{}", bodyUnexpected},
	} {
		v := judgeBody(t, c, w.path, w.mediaType, w.raw)
		if v == nil {
			v = &Violation{}
		}
		if v.Reason != w.reason || v.Reason == badMediaType && v.Status != 415 {
			t.Errorf("%s %s %s: got %+v", w.path, w.mediaType, w.raw, v)
		}
	}
	op := c.Operations[0]
	if v := op.CheckBody(nil, nil); v == nil || v.Reason != bodyMissing {
		t.Errorf("a missing body is admitted: %v", v)
	}
	if v := op.CheckBody(op.Bodies[0], &body.Tree{Kind: body.Text}); v == nil {
		t.Error("a body read as another kind is admitted")
	}
	if v := c.Operations[1].CheckBody(nil, nil); v != nil {
		t.Errorf("an optional body is demanded: %v", v)
	}
}

func BenchmarkBody(b *testing.B) {
	c := load(b, string(generate(10)))
	op := c.Operations[1]
	raw := `{"name":"x","price":{"amount":100,"currency":"EUR"},"ship_to":{"street":"a","city":"b","zip":"12345"},"tags":["a","b","c"],"state":"live","quantity":3,"description":"` + strings.Repeat("x", 800) + `"}`
	tree, refusal := body.Read(body.JSON, nil, "", strings.NewReader(raw), body.Limits{})
	if refusal != nil {
		b.Fatal(refusal)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := op.CheckBody(op.Bodies[0], tree); v != nil {
			b.Fatal(v)
		}
	}
}

// TestLongNumbers: G8, also when another reader than kit/body made the tree.
func TestLongNumbers(t *testing.T) {
	c := load(t, bodies)
	b := c.Operations[1].Bodies[0]
	tree := &body.Tree{Kind: body.JSON, Nodes: []body.Node{{Kind: body.Object, Next: 4, Size: 1}, {Name: "a", Kind: body.Array, Next: 4, Size: 2},
		{Kind: body.True, Next: 3}, {Kind: body.Number, Text: "1e999999999", Next: 4}}}
	if v := c.Operations[1].CheckBody(b, tree); v == nil || v.Where != "body /a/1" {
		t.Errorf("got %+v", v)
	}
	tree = &body.Tree{Kind: body.JSON, Nodes: []body.Node{{Kind: body.Number, Text: "1e999999999", Next: 1}}}
	if v := c.Operations[1].CheckBody(b, tree); v == nil || v.Where != "body" {
		t.Errorf("got %+v", v)
	}
}
