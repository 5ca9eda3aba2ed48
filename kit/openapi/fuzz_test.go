package openapi

import (
	"errors"
	"strings"
	"testing"

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
