package openapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/route"
)

// head is the beginning of a small contract.
const head = "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths:\n"

// request makes the canonical form of a request. Written is "METHOD target", then a field on each line.
func request(t testing.TB, written string) *canon.Request {
	t.Helper()
	lines := strings.Split(written, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	path, query, _ := strings.Cut(target, "?")
	r := &canon.Request{Method: method, Path: path, Fields: http.Header{}}
	for _, s := range strings.Split(path[1:], "/") {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			t.Fatal(err)
		}
		r.Segments = append(r.Segments, decoded)
	}
	for _, pair := range strings.Split(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		r.Query = append(r.Query, canon.Pair{Name: name, Value: value})
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Cookie" {
			for _, c := range strings.Split(value, "; ") {
				n, v, _ := strings.Cut(c, "=")
				r.Cookies = append(r.Cookies, canon.Pair{Name: n, Value: v})
			}
			continue
		}
		r.Fields.Add(name, value)
	}
	return r
}

// ask matches and judges a request.
func ask(t testing.TB, c *Contract, written string) (*Operation, *Violation) {
	t.Helper()
	var entries []route.Entry[*Operation]
	for _, op := range c.Operations {
		entries = append(entries, route.Entry[*Operation]{Method: op.Method, Template: op.Template, Value: op})
	}
	table, err := route.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, written)
	op, params, _, ok := table.Match(r.Method, r.Segments)
	if !ok {
		t.Fatalf("%s: no operation", written)
	}
	return op, op.CheckParameters(r, params)
}

const parameters = head + `
  /orders/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: state, in: query, schema: {type: string, enum: [new, paid]}}
        - {name: ids, in: query, schema: {type: array, maxItems: 3, items: {type: integer}}}
        - {name: csv, in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: pipe, in: query, style: pipeDelimited, explode: false, schema: {type: array, items: {type: string, enum: [a, b]}}}
        - {name: space, in: query, style: spaceDelimited, explode: false, schema: {type: array, items: {type: boolean}}}
        - name: filter
          in: query
          style: deepObject
          schema: {type: object, properties: {min: {type: integer}, name: {type: string, maxLength: 5}, tag: {type: array, items: {type: string}}}}
        - {name: color, in: query, explode: false, schema: {type: object, properties: {R: {type: integer}, G: {type: integer}}}}
        - {name: page, in: query, schema: {type: object, properties: {from: {type: integer}, size: {type: integer, maximum: 10}}}}
        - {name: json, in: query, content: {application/json: {schema: {type: object, properties: {a: {type: integer}}}}}}
        - {name: flag, in: query, allowEmptyValue: true, schema: {type: boolean}}
        - {name: price, in: query, schema: {type: number, exclusiveMinimum: 0}}
        - {name: either, in: query, schema: {type: [integer, string], maxLength: 3, maximum: 5}}
        - {name: nothing, in: query, schema: {type: [integer, 'null']}}
        - {name: X-Group, in: header, schema: {type: string, format: uuid}}
        - {name: X-List, in: header, schema: {type: array, items: {type: integer}}}
        - {name: X-Map, in: header, explode: true, schema: {type: object, properties: {a: {type: integer}}}}
        - {name: Accept, in: header, schema: {type: string, enum: [never]}}
        - {name: theme, in: cookie, schema: {type: string, enum: [dark, light]}}
        - {name: seen, in: cookie, explode: false, schema: {type: array, items: {type: integer}}}
  /label/{plain}/{list}/{map}:
    get:
      parameters:
        - {name: plain, in: path, required: true, style: label, schema: {type: integer}}
        - {name: list, in: path, required: true, style: label, explode: true, schema: {type: array, items: {type: integer}}}
        - {name: map, in: path, required: true, schema: {type: object, properties: {a: {type: integer}}, required: [a]}}
  /needs:
    get:
      parameters:
        - {name: q, in: query, required: true, schema: {type: string}}
        - {name: H, in: header, required: true, schema: {type: string}}
        - {name: c, in: cookie, required: true, schema: {type: string}}
`

func TestParameters(t *testing.T) {
	c := load(t, parameters)
	for _, w := range []struct{ request, reason, where, pointer string }{
		{"GET /orders/7", "", "", ""},
		{"GET /orders/0", badParameter, "path.id", "c.yaml#/paths/~1orders~1{id}/get/parameters/0/schema/minimum"},
		{"GET /orders/abc", badParameter, "path.id", "c.yaml#/paths/~1orders~1{id}/get/parameters/0/schema/type"},
		{"GET /orders/99999999999999999999999999", "", "", ""},
		{"GET /orders/-99999999999999999999999999", badParameter, "path.id", "c.yaml#/paths/~1orders~1{id}/get/parameters/0/schema/minimum"},
		// G8: one canonical form
		{"GET /orders/1E2", badParameter, "path.id", ""},
		{"GET /orders/01", badParameter, "path.id", ""},
		{"GET /orders/-0", badParameter, "path.id", ""},
		{"GET /orders/%2B1", badParameter, "path.id", ""},
		{"GET /orders/1.0", badParameter, "path.id", ""},
		{"GET /orders/%201", badParameter, "path.id", ""},
		{"GET /orders/7?limit=100", "", "", ""},
		{"GET /orders/7?limit=101", badParameter, "query.limit", "c.yaml#/paths/~1orders~1{id}/get/parameters/1/schema/maximum"},
		{"GET /orders/7?limit=", badParameter, "query.limit", ""},
		{"GET /orders/7?limit=99999999999999999999999999", badParameter, "query.limit", "c.yaml#/paths/~1orders~1{id}/get/parameters/1/schema/maximum"},
		// G15
		{"GET /orders/7?limit=1&limit=2", badParameter, "query.limit", ""},
		{"GET /orders/7?limit[]=1", unknownParameter, "query.limit[]", "c.yaml#/paths/~1orders~1{id}/get"},
		{"GET /orders/7?Limit=1", unknownParameter, "query.Limit", ""},
		{"GET /orders/7?debug=1", unknownParameter, "query.debug", ""},
		{"GET /orders/7?", "", "", ""},
		{"GET /orders/7?state=paid", "", "", ""},
		{"GET /orders/7?state=PAID", badParameter, "query.state", "c.yaml#/paths/~1orders~1{id}/get/parameters/2/schema/enum"},
		{"GET /orders/7?ids=1&ids=2&ids=3", "", "", ""},
		{"GET /orders/7?ids=1&ids=x", badParameter, "query.ids", "c.yaml#/paths/~1orders~1{id}/get/parameters/3/schema/items/type"},
		{"GET /orders/7?ids=1&ids=2&ids=3&ids=4", badParameter, "query.ids", "c.yaml#/paths/~1orders~1{id}/get/parameters/3/schema/maxItems"},
		{"GET /orders/7?ids=1,2", badParameter, "query.ids", ""},
		{"GET /orders/7?csv=1,2", "", "", ""},
		{"GET /orders/7?csv=1%2C2", "", "", ""},
		{"GET /orders/7?csv=1&csv=2", badParameter, "query.csv", ""},
		{"GET /orders/7?csv=1,,2", badParameter, "query.csv", ""},
		{"GET /orders/7?pipe=a%7Cb", "", "", ""},
		{"GET /orders/7?pipe=a%7Cc", badParameter, "query.pipe", ""},
		{"GET /orders/7?space=true%20false", "", "", ""},
		{"GET /orders/7?space=true+1", badParameter, "query.space", ""},
		{"GET /orders/7?filter[min]=1&filter[name]=abc&filter[tag]=x&filter[tag]=y", "", "", ""},
		{"GET /orders/7?filter[min]=x", badParameter, "query.filter", "c.yaml#/paths/~1orders~1{id}/get/parameters/7/schema/properties/min/type"},
		{"GET /orders/7?filter[min]=1&filter[min]=2", badParameter, "query.filter", ""},
		{"GET /orders/7?filter[admin]=1", badParameter, "query.filter", "c.yaml#/paths/~1orders~1{id}/get/parameters/7/schema"},
		{"GET /orders/7?filter[min][x]=1", badParameter, "query.filter", ""},
		{"GET /orders/7?filter[min=1", badParameter, "query.filter", ""},
		{"GET /orders/7?filter=1", unknownParameter, "query.filter", ""},
		{"GET /orders/7?color=R,100,G,200", "", "", ""},
		{"GET /orders/7?color=R,100,G", badParameter, "query.color", ""},
		{"GET /orders/7?color=R,1,R,2", badParameter, "query.color", ""},
		{"GET /orders/7?color=A,1", badParameter, "query.color", ""},
		{"GET /orders/7?from=1&size=10", "", "", ""},
		{"GET /orders/7?from=1&size=11", badParameter, "query.page", "c.yaml#/paths/~1orders~1{id}/get/parameters/9/schema/properties/size/maximum"},
		{"GET /orders/7?page=1", unknownParameter, "query.page", ""},
		{`GET /orders/7?json={"a":1}`, "", "", ""},
		{`GET /orders/7?json={"a":1,"a":2}`, badParameter, "query.json", ""},
		{`GET /orders/7?json={"b":1}`, badParameter, "query.json", ""},
		{`GET /orders/7?json=1&json=2`, badParameter, "query.json", ""},
		{"GET /orders/7?flag=", "", "", ""},
		{"GET /orders/7?flag", "", "", ""},
		{"GET /orders/7?flag=yes", badParameter, "query.flag", ""},
		{"GET /orders/7?price=0.01", "", "", ""},
		{"GET /orders/7?price=1e2", "", "", ""},
		{"GET /orders/7?price=0", badParameter, "query.price", ""},
		{"GET /orders/7?price=1e999999", badParameter, "query.price", ""},
		{"GET /orders/7?price=NaN", badParameter, "query.price", ""},
		{"GET /orders/7?price=0x10", badParameter, "query.price", ""},
		{"GET /orders/7?either=5", "", "", ""},
		{"GET /orders/7?either=999", "", "", ""}, // as a text of three characters
		{"GET /orders/7?either=9999", badParameter, "query.either", ""},
		{"GET /orders/7?nothing=", "", "", ""},
		{"GET /orders/7?nothing=null", badParameter, "query.nothing", ""},
		{"GET /orders/7\nX-Group: 123e4567-e89b-12d3-a456-426614174000", "", "", ""},
		{"GET /orders/7\nX-Group: 123e4567", badParameter, "header.X-Group", ""},
		{"GET /orders/7\nx-group: 123e4567", badParameter, "header.X-Group", ""},
		{"GET /orders/7\nX-List: 1, 2\nX-List: 3", "", "", ""},
		{"GET /orders/7\nX-List: 1, b", badParameter, "header.X-List", ""},
		{"GET /orders/7\nX-Map: a=1", "", "", ""},
		{"GET /orders/7\nX-Map: a,1", badParameter, "header.X-Map", ""},
		{"GET /orders/7\nAccept: */*\nX-Other: 1", "", "", ""},
		{"GET /orders/7\nCookie: theme=dark; other=1", "", "", ""},
		{"GET /orders/7\nCookie: theme=blue", badParameter, "cookie.theme", ""},
		{"GET /orders/7\nCookie: theme=dark; theme=dark", badParameter, "cookie.theme", ""},
		{"GET /orders/7\nCookie: seen=1,2", "", "", ""},
		{"GET /orders/7\nCookie: seen=1,x", badParameter, "cookie.seen", ""},
		{"GET /label/.5/.1.2/a,1", "", "", ""},
		{"GET /label/5/.1.2/a,1", badParameter, "path.plain", ""},
		{"GET /label/.5/.1,2/a,1", badParameter, "path.list", ""},
		{"GET /label/.5/.1.2/b,1", badParameter, "path.map", ""},
		{"GET /needs?q=1\nH: 1\nCookie: c=1", "", "", ""},
		{"GET /needs?q=\nH: 1\nCookie: c=1", "", "", ""},
		{"GET /needs\nH: 1\nCookie: c=1", missingParameter, "query.q", "c.yaml#/paths/~1needs/get/parameters/0/required"},
		{"GET /needs?q=1\nCookie: c=1", missingParameter, "header.H", ""},
		{"GET /needs?q=1\nH: 1", missingParameter, "cookie.c", ""},
	} {
		_, v := ask(t, c, w.request)
		if v == nil {
			v = &Violation{}
		}
		if v.Reason != w.reason || v.Where != w.where || w.pointer != "" && v.Pointer != w.pointer {
			t.Errorf("%s: got %q %q %q (%s), want %q %q %q", w.request, v.Reason, v.Where, v.Pointer, v.What, w.reason, w.where, w.pointer)
		}
		if v.Reason != "" && (v.Status != 400 || v.What == "" || v.Pointer == "") {
			t.Errorf("%s: incomplete: %+v", w.request, v)
		}
	}
}

// TestSecretsAreNotShown: K1, a secret parameter's value is in no part of the violation.
func TestSecretsAreNotShown(t *testing.T) {
	c := load(t, head+`
  /a:
    get:
      parameters:
        - {name: pin, in: query, schema: {type: string, format: password, maxLength: 4}}
        - {name: key, in: header, x-gatehouse-secret: true, schema: {type: string, maxLength: 4}}
`)
	for _, r := range []string{"GET /a?pin=hunter2hunter2", "GET /a?pin=1&pin=hunter2hunter2", "GET /a\nKey: hunter2hunter2"} {
		_, v := ask(t, c, r)
		if v == nil || v.Value != "" || strings.Contains(v.What+v.Fix+v.Where, "hunter2") {
			t.Errorf("%s: %+v", r, v)
		}
	}
}

// TestCredentialInQuery: a declared API key in the query is no unknown parameter.
func TestCredentialInQuery(t *testing.T) {
	c := load(t, `openapi: 3.0.3
info: {title: t, version: '1'}
components: {securitySchemes: {key: {type: apiKey, in: query, name: api_key}}}
paths:
  /a: {get: {security: [{key: []}]}}
  /b: {get: {}}
`)
	if _, v := ask(t, c, "GET /a?api_key=x"); v != nil {
		t.Error(v)
	}
	if _, v := ask(t, c, "GET /b?api_key=x"); v == nil {
		t.Error("a key is admitted where none is declared")
	}
}

// TestScalarsAgree: the fast way and the general way say the same.
func TestScalarsAgree(t *testing.T) {
	values := []string{"", "0", "1", "-1", "-0", "01", "5", "100", "101", "1e2", "9223372036854775807", "9223372036854775808",
		"-9223372036854775809", "2147483648", "true", "false", "True", "a", "abc", "abcd", "äöü", "paid", "123e4567-e89b-12d3-a456-426614174000", "a\nb"}
	for _, schema := range []string{
		"{type: integer}", "{type: integer, minimum: 1, maximum: 100}", "{type: integer, format: int32}", "{type: integer, minimum: -1}",
		"{type: integer, format: int64}", "{type: boolean}", "{type: string}", "{type: string, minLength: 1, maxLength: 3}",
		"{type: string, enum: [paid, a]}", "{type: string, pattern: '^[a-z]+$'}", "{type: string, pattern: '^.*$'}", "{type: string, format: uuid}",
	} {
		c := load(t, head+"  /a:\n    get:\n      parameters:\n        - {name: q, in: query, schema: "+schema+"}\n")
		p := c.Operations[0].Parameters[0]
		if p.value.scalar == nil {
			t.Errorf("%s takes the slow way", schema)
			continue
		}
		for _, raw := range values {
			fast := p.one(raw)
			slow := p.decide(p.value.shape.read(raw), raw)
			if (fast == nil) != (slow == nil) || fast != nil && fast.Pointer != slow.Pointer {
				t.Errorf("%s, %q: fast %v, slow %v", schema, raw, fast, slow)
			}
		}
	}
}

func BenchmarkParameters(b *testing.B) {
	c := load(b, string(generate(10)))
	r := request(b, "GET /things0?limit=10&cursor=abc&sort=name")
	read := request(b, "GET /things0/123e4567-e89b-12d3-a456-426614174000")
	list, one := c.Operations[0], c.Operations[2]
	b.Run("query", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v := list.CheckParameters(r, nil); v != nil {
				b.Fatal(v)
			}
		}
	})
	b.Run("path", func(b *testing.B) {
		params := []canon.Pair{{Name: "id", Value: read.Segments[1]}}
		b.ReportAllocs()
		for b.Loop() {
			if v := one.CheckParameters(read, params); v != nil {
				b.Fatal(v)
			}
		}
	})
}

func FuzzParameters(f *testing.F) {
	c := load(f, parameters)
	for _, seed := range []string{"limit=1", "filter[min]=1&filter[", "color=R,1", "csv=1,2,", "json={}", "page=&from=1"} {
		f.Add(seed, "7", "1,2", "a=1")
	}
	f.Fuzz(func(t *testing.T, query, id, field, cookie string) {
		r := &canon.Request{Method: "GET", Fields: http.Header{"X-List": {field}, "X-Map": {field, cookie}}}
		for _, pair := range strings.Split(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			r.Query = append(r.Query, canon.Pair{Name: name, Value: value})
		}
		r.Cookies = []canon.Pair{{Name: "seen", Value: cookie}, {Name: "theme", Value: id}}
		for _, op := range c.Operations {
			path := []canon.Pair{{Name: "id", Value: id}, {Name: "plain", Value: id}, {Name: "list", Value: field}, {Name: "map", Value: cookie}}
			if v := op.CheckParameters(r, path); v != nil && (v.Reason == "" || v.Status == 0 || v.Pointer == "") {
				t.Fatalf("incomplete: %+v", v)
			}
		}
	})
}
