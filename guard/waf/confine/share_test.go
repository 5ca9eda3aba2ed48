package confine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// wide is a contract in the manner of larger APIs: references, lists, dates, identifiers, free text, parameters of each kind.
const wide = `openapi: 3.1.0
info: {title: wide, version: "1"}
paths:
  /orders:
    post:
      security: []
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: cursor, in: query, schema: {type: string, maxLength: 64, pattern: '^[A-Za-z0-9_-]+$'}}
        - {name: sort, in: query, schema: {type: string, enum: [name, price, created]}}
        - {name: since, in: query, schema: {type: string, format: date-time}}
        - {name: Idempotency-Key, in: header, schema: {type: string, format: uuid}}
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties:
                items: {type: array, items: {$ref: '#/components/schemas/Item'}}
                note: {type: string, maxLength: 500}
                total: {$ref: '#/components/schemas/Money'}
                placed: {type: string, format: date-time}
                day: {type: string, format: date}
                gift: {type: boolean}
                customer: {type: string, format: uuid}
                email: {type: string, format: email}
                site: {type: [string, 'null'], format: uri, maxLength: 200}
                labels: {type: object, additionalProperties: {type: string, pattern: '^[a-z0-9-]{1,40}$'}}
                weight: {type: number}
                payment: {oneOf: [{$ref: '#/components/schemas/Card'}, {$ref: '#/components/schemas/Transfer'}]}
      responses: {"200": {description: x}}
components:
  schemas:
    Money: {type: object, properties: {amount: {type: integer, minimum: 0, maximum: 100000000}, currency: {type: string, pattern: '^[A-Z]{3}$'}}}
    Item:
      type: object
      properties:
        sku: {type: string, pattern: '^SKU-[0-9]{5}$'}
        name: {type: string, maxLength: 200}
        price: {$ref: '#/components/schemas/Money'}
        quantity: {type: integer, format: int32}
        state: {type: string, enum: [draft, live, gone]}
        ship_to: {$ref: '#/components/schemas/Address'}
    Address:
      type: object
      properties: {street: {type: string, maxLength: 100}, city: {type: string, maxLength: 100}, zip: {type: string, pattern: '^[0-9]{5}$'}, country: {type: string, pattern: '^[A-Z]{2}$'}}
    Card: {type: object, properties: {kind: {const: card}, token: {type: string, pattern: '^tok_[a-z0-9]{16}$'}}, required: [kind]}
    Transfer: {type: object, properties: {kind: {const: transfer}, iban: {type: string, pattern: '^[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}$'}}, required: [kind]}
`

// TestShare tells what share of the fields of contracts is not inspected, and what share of the tests of a value is left.
func TestShare(t *testing.T) {
	w := the(t)
	tell := func(name string, c *openapi.Contract) {
		for _, level := range []int{1, 4} {
			by, free, fields, left, all := map[string][2]int{}, 0, 0, 0, 0
			for _, op := range c.Operations {
				s := w.scope(t, op)
				for _, f := range s.Fields() {
					i := s.Inspection(f, level)
					n := by[reason(f)]
					n[1]++
					if i.Rules == 0 {
						free++
						n[0]++
					}
					by[reason(f)] = n
					fields, left, all = fields+1, left+i.Rules, all+i.Of
				}
			}
			t.Logf("%s, paranoia %d: %d of %d fields not inspected, %.0f %% of all tests left", name, level, free, fields, 100*float64(left)/float64(all))
			for _, r := range slices.Sorted(maps.Keys(by)) {
				t.Logf("   %-12s %d of %d", r, by[r][0], by[r][1])
			}
		}
	}
	tell("wide", load(t, wide))
	begin := time.Now()
	s := w.scope(t, load(t, wide).Operations[0])
	t.Logf("%v when its texts are known", time.Since(begin))
	for _, f := range s.Fields() {
		t.Logf("   %s %s: %v; %v (%s)", f.In, f.Name, s.Inspection(f, 1), s.Inspection(f, 4), f.Why)
	}
	shop := &openapi.Contract{}
	for _, c := range shops(t) {
		shop.Operations = append(shop.Operations, c.Operations...)
	}
	tell("shop", shop)
	begin = time.Now()
	tell("generated", generated(t))
	t.Logf("%v", time.Since(begin))
}

func reason(f confine.Field) string {
	switch {
	case strings.HasPrefix(f.Why, "free text"):
		return "free text"
	case strings.HasPrefix(f.Why, "one of"):
		return "list"
	case strings.Contains(f.Why, "number"), strings.HasPrefix(f.Why, "text made of -0-9,"):
		return "number"
	case strings.HasPrefix(f.Why, "text"):
		return "pattern"
	}
	return "boolean"
}

// generated is a contract of 30 operations on six resources, no two alike in their patterns.
func generated(t *testing.T) *openapi.Contract {
	var b strings.Builder
	b.WriteString("openapi: 3.1.0\ninfo: {title: g, version: '1'}\npaths:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "  /r%d:\n", i)
		for _, method := range []string{"put", "post", "patch"} {
			fmt.Fprintf(&b, "    %s:\n      security: []\n      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/R%d'}}}}\n      responses: {'200': {description: x}}\n", method, i)
		}
		for _, method := range []string{"get", "delete"} {
			fmt.Fprintf(&b, "    %s:\n      security: []\n      parameters: [{name: limit, in: query, schema: {type: integer, minimum: 1, maximum: %d}}, {name: id, in: query, schema: {type: string, format: uuid}}]\n      responses: {'200': {description: x}}\n", method, i+100)
		}
	}
	b.WriteString("components:\n  schemas:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "    R%d: {type: object, properties: {id: {type: string, format: uuid}, code: {type: string, pattern: '^R%d-[0-9]{%d}$'}, name: {type: string, maxLength: %d}, state: {enum: [draft%d, live]}, count: {type: integer, format: int32}, at: {type: string, format: date-time}, tags: {type: array, items: {type: string, pattern: '^[a-z0-9-]{1,%d}$'}}, next: {$ref: '#/components/schemas/R%d'}}}\n",
			i, i, i%9+1, i+10, i, i+10, (i+1)%6)
	}
	begin := time.Now()
	c := load(t, b.String())
	t.Logf("generated: loaded in %v", time.Since(begin))
	return c
}
