package openapi

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// FuzzLoad: G23, a malformed contract is a typed error, never a panic, and what loads can be asked.
func FuzzLoad(f *testing.F) {
	f.Add(string(generate(5)))
	f.Add(parameters)
	f.Add(bodies)
	f.Add(query("{$ref: 'c.yaml#/paths'}"))
	f.Add(query("{allOf: [{$ref: '#'}], pattern: '^[\\s\\u0041]$', enum: [1, null, {a: []}]}"))
	f.Add(`{"openapi":"3.0.0","paths":{"/a/{b}.c":{"$ref":"#/paths/~1a"},"/a":{"get":{"parameters":[null,{"$ref":"#/x"}]}}}}`)
	f.Add("openapi: 3.1.0\nx: &a {<<: *a}\npaths: *a")
	f.Add("openapi: 3.1.0\npaths: {/a: {get: &o {parameters: [&p {name: a, in: query, schema: &s {items: *s}}]}, put: *o}}")
	f.Fuzz(func(t *testing.T, contract string) {
		c, err := loadContract("c.yaml", files("c.yaml", contract))
		var list mistake.List
		if err != nil {
			if !errors.As(err, &list) || c != nil || len(list) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, op := range c.Operations {
			op.CheckParameters(request(t, "GET /a?a=1&b[c]=2\nX: 1\nCookie: a=1"), nil)
			for _, b := range op.Bodies {
				if _, v := op.BodyFor(b.MediaType); v != nil && !strings.Contains(b.MediaType, "*") {
					t.Fatalf("declared %q is not found", b.MediaType)
				}
			}
		}
	})
}

// FuzzBodies: whatever a client sends, a violation is complete, and names that the client chose are cut and printable.
func FuzzBodies(f *testing.F) {
	c := load(f, bodies)
	f.Add(`{"name":"x","tree":{"kids":[{"kids":[]}]},"pet":{"meow":1}}`, 0)
	f.Add("name=a&deep%5Bx%5D=1&address=%7B%7D&nums=1,2&tags=&tags=b", 1)
	f.Add("--b\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n", 2)
	f.Add("{\"na\\u0000\\nme\":1}", 0)
	f.Fuzz(func(t *testing.T, raw string, which int) {
		op := c.Operations[0]
		b := op.Bodies[uint(which)%uint(len(op.Bodies))]
		tree, refusal := body.Read(b.Kind, map[string]string{"boundary": "b"}, "", strings.NewReader(raw), body.Limits{})
		if refusal != nil {
			return
		}
		v := op.CheckBody(b, tree)
		if v == nil {
			return
		}
		if v.Reason == "" || v.Status == 0 || !strings.HasPrefix(v.Pointer, "c.yaml#/") || v.What == "" || strings.ContainsAny(v.Where+v.What+v.Fix, "\r\n\x00") {
			t.Fatalf("incomplete: %+v", v)
		}
	})
}
