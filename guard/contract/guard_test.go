package contract

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/route"
)

const shop = `openapi: 3.1.0
info: {title: Shop, version: '1'}
paths:
  /orders/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
        - {name: limit, in: query, schema: {type: integer, maximum: 100}}
        - {name: pin, in: query, x-gatehouse-secret: true, schema: {type: string, maxLength: 4}}
  /orders:
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, required: [item], properties: {item: {type: string, maxLength: 10}, role: {type: string, readOnly: true}}}
          application/x-www-form-urlencoded:
            schema: {type: object, required: [item], properties: {item: {type: string, maxLength: 10}}}
    patch:
      requestBody:
        content: {application/json: {schema: {type: object, properties: {item: {type: string}}}}}
  /photo:
    put: {requestBody: {required: true, content: {image/png: {}}}}
  /upload:
    put: {x-gatehouse-stream: upload, requestBody: {required: true, content: {application/json: {}}}}
  /chat:
    get: {x-gatehouse-stream: websocket}
`

// world is an API with its guard.
type world struct {
	api   *gate.API
	guard *Guard
	table *route.Table[*gate.Operation]
}

func newWorld(t testing.TB, contract string) *world {
	t.Helper()
	c, err := openapi.Load("shop.yaml", func(string) ([]byte, error) { return []byte(contract), nil })
	if err != nil {
		t.Fatal(err)
	}
	w := &world{api: &gate.API{Name: "shop", Contract: c}}
	var entries []route.Entry[*gate.Operation]
	for _, o := range c.Operations {
		op := &gate.Operation{API: "shop", Key: o.ID, Method: o.Method, Template: o.Template, Contract: o, Pointer: o.Pointer, Stream: gate.Stream{Kind: o.Stream}}
		w.api.Operations = append(w.api.Operations, op)
		entries = append(entries, route.Entry[*gate.Operation]{Method: o.Method, Template: o.Template, Value: op})
	}
	if w.table, err = route.New(entries); err != nil {
		t.Fatal(err)
	}
	if w.guard, err = New(Config{}, w.api); err != nil {
		t.Fatal(err)
	}
	return w
}

// ask sends "METHOD target", a media type and a body of that length, or of undeclared length when it begins with "~".
func (w *world) ask(t testing.TB, line, mediaType, data string) gate.Verdict {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	r := &canon.Request{Method: method, Path: path, Segments: strings.Split(path[1:], "/"), Fields: http.Header{}}
	if query != "" {
		pairs, refusal := canon.Query(query, 100)
		if refusal != nil {
			t.Fatal(refusal)
		}
		r.Query = pairs
	}
	if mediaType != "" {
		r.Fields.Set("Content-Type", mediaType)
	}
	data, undeclared := strings.CutPrefix(data, "~")
	if r.Length = int64(len(data)); undeclared {
		r.Length = -1
	}
	op, params, _, ok := w.table.Match(method, r.Segments)
	if !ok {
		t.Fatalf("%s: no operation", line)
	}
	x := &gate.Exchange{Request: r, API: w.api, Operation: op, Params: params}
	x.SetBody(func(context.Context) (*body.Tree, gate.Verdict) {
		if !w.guard.NeedsBody(op) {
			t.Errorf("%s: a body is read that was to be streamed", line)
		}
		media, parameters, refusal := body.MediaType(r.Fields)
		if refusal != nil {
			t.Fatal(refusal)
		}
		kind, _ := body.KindOf(media)
		if b, v := op.Contract.BodyFor(media); v == nil {
			kind = b.Kind
		}
		tree, refusal := body.Read(kind, parameters, "", strings.NewReader(data), body.Limits{})
		if refusal != nil {
			return nil, gate.Deny(gate.CodeFor(refusal.Status), gate.Reason(refusal.Reason), "%s", refusal.Detail)
		}
		return tree, gate.Allow()
	})
	return w.guard.Check(context.Background(), x)
}

func TestCheck(t *testing.T) {
	w := newWorld(t, shop)
	for _, c := range []struct {
		line, mediaType, data string
		code                  gate.Code
		reason                gate.Reason
	}{
		{"GET /orders/1", "", "", "", ""},
		{"GET /orders/1?limit=100", "", "", "", ""},
		{"GET /orders/0", "", "", gate.InvalidInput, "contract.parameter"},
		{"GET /orders/1?debug=1", "", "", gate.InvalidInput, "contract.unknown_parameter"},
		{"GET /orders/1?limit=1&limit=1", "", "", gate.InvalidInput, "contract.parameter"}, // G15
		{"GET /orders/1", "application/json", "", "", ""},
		{"GET /orders/1", "application/json", "{}", gate.InvalidInput, "contract.body_unexpected"},
		{"GET /orders/1", "application/json", "~{}", gate.InvalidInput, "contract.body_unexpected"},
		{"GET /orders/1", "", "~", "", ""},
		{"GET /orders/1", "", "~x", gate.UnsupportedMedia, "body.unexpected"},
		{"POST /orders", "application/json", `{"item":"a"}`, "", ""},
		{"POST /orders", "application/json", `~{"item":"a"}`, "", ""},
		{"POST /orders", "application/json; charset=utf-8", `{"item":"a"}`, "", ""},
		{"POST /orders", "application/json; charset=ibm037", `{"item":"a"}`, gate.UnsupportedMedia, "media.charset"}, // G3
		{"POST /orders", "application/json", `{"item":"a","role":"admin"}`, gate.InvalidInput, "contract.read_only_property"},
		{"POST /orders", "application/json", `{"item":"a","Role":"admin"}`, gate.InvalidInput, "contract.unknown_property"}, // G7
		{"POST /orders", "application/json", `{"item":"a","item":"b"}`, gate.BadRequest, "body.duplicate_member"},           // G6
		{"POST /orders", "application/json", `{}`, gate.InvalidInput, "contract.missing_property"},
		{"POST /orders", "application/json", `{"item":"01234567890"}`, gate.InvalidInput, "contract.body"},
		{"POST /orders", "application/json", ``, gate.InvalidInput, "contract.body_missing"},
		{"POST /orders", "", ``, gate.InvalidInput, "contract.body_missing"},
		{"POST /orders", "", `~`, gate.InvalidInput, "contract.body_missing"},
		{"POST /orders", "", `{"item":"a"}`, gate.UnsupportedMedia, "contract.media_type"},           // G14
		{"POST /orders", "text/plain", `{"item":"a"}`, gate.UnsupportedMedia, "contract.media_type"}, // G14
		{"POST /orders", "text/plain", `~{"item":"a"}`, gate.UnsupportedMedia, "contract.media_type"},
		{"POST /orders", "application/x-www-form-urlencoded", "item=a", "", ""},
		{"POST /orders", "application/x-www-form-urlencoded", "item=a&role=admin", gate.InvalidInput, "contract.unknown_property"},
		{"POST /orders", "application/x-www-form-urlencoded; charset=ibm037", "item=a", gate.UnsupportedMedia, "media.charset"}, // G3
		{"PATCH /orders", "", "", "", ""},
		{"PATCH /orders", "application/json", "{}", "", ""},
		{"PUT /photo", "image/png", "\x89PNG", "", ""},
		{"PUT /photo", "image/png", "~\x89PNG", "", ""},
		{"PUT /photo", "image/svg+xml", "<svg/>", gate.UnsupportedMedia, "contract.media_type"},
		{"PUT /photo", "image/png", "", gate.InvalidInput, "contract.body_missing"},
		{"PUT /upload", "application/json", "~anything", "", ""},
		{"PUT /upload", "text/plain", "~anything", gate.UnsupportedMedia, "contract.media_type"},
		{"GET /chat", "", "", "", ""},
		{"GET /chat?x=1", "", "", gate.InvalidInput, "contract.unknown_parameter"},
	} {
		v := w.ask(t, c.line, c.mediaType, c.data)
		if v.Allowed() != (c.code == "") || v.Code != c.code || v.Reason != c.reason {
			t.Errorf("%s %s %q: got %q %q (%s), want %q %q", c.line, c.mediaType, c.data, v.Code, v.Reason, v.Detail, c.code, c.reason)
		}
		if strings.HasPrefix(string(c.reason), "contract.") {
			if !slices.Contains(Reasons(), string(c.reason)) {
				t.Errorf("%s is not in Reasons", c.reason)
			}
			if !strings.HasPrefix(v.Rule, "shop.yaml#/") || v.Detail == "" {
				t.Errorf("%s %s: incomplete: %+v", c.line, c.data, v)
			}
		}
	}
}

// TestExplained: an operator learns rule, place and masked value; nobody learns a secret (K1).
func TestExplained(t *testing.T) {
	w := newWorld(t, shop)
	v := w.ask(t, "GET /orders/1?limit=101", "", "")
	if v.Rule != "shop.yaml#/paths/~1orders~1{id}/get/parameters/1/schema/maximum" || v.Shown != "(3 characters)" || !strings.HasPrefix(v.Detail, `query parameter "limit" `) || v.Fix == "" {
		t.Errorf("got %+v", v)
	}
	v = w.ask(t, "GET /orders/1?pin=hunter2hunter2", "", "")
	if v.Allowed() || v.Shown != "" || strings.Contains(v.Detail+v.Fix, "hu") {
		t.Errorf("a secret is shown: %+v", v)
	}
	v = w.ask(t, "POST /orders", "application/json", `{"item":"abcdefghijklmnop"}`)
	if strings.Contains(v.Shown+v.Detail, "abcdefgh") || v.Shown == "" {
		t.Errorf("a value is not masked: %+v", v)
	}
	if strings.Count(v.Detail, "/item") != 1 {
		t.Errorf("the place is told twice: %s", v.Detail)
	}
}

// TestWrongUses: what was not matched, or has no contract, is not judged by accident.
func TestWrongUses(t *testing.T) {
	g, _ := New(Config{}, &gate.API{})
	if v := g.Check(context.Background(), &gate.Exchange{Request: &canon.Request{}}); v.Allowed() {
		t.Error("an exchange without an operation is allowed")
	}
	if v := g.Check(context.Background(), &gate.Exchange{Request: &canon.Request{}, Operation: &gate.Operation{}}); !v.Allowed() {
		t.Errorf("an API without a contract is denied: %+v", v)
	}
	w := newWorld(t, shop)
	r := &canon.Request{Method: "POST", Path: "/orders", Segments: []string{"orders"}, Length: 2, Fields: http.Header{"Content-Type": {"application/json"}}}
	op, _, _, _ := w.table.Match("POST", r.Segments)
	if v := w.guard.Check(context.Background(), &gate.Exchange{Request: r, Operation: op}); v.Allowed() {
		t.Errorf("a body that nobody can read is allowed: %+v", v)
	}
	// a request that was matched without its values is refused, not passed unchecked
	op, _, _, _ = w.table.Match("GET", []string{"orders", "1"})
	if v := w.guard.Check(context.Background(), &gate.Exchange{Request: &canon.Request{Fields: http.Header{}}, Operation: op}); v.Allowed() {
		t.Error("a path without its parameter is allowed")
	}
}

func TestNeedsBody(t *testing.T) {
	w := newWorld(t, shop)
	want := map[string]bool{"GET /orders/{id}": true, "POST /orders": true, "PATCH /orders": true, "PUT /photo": false, "PUT /upload": false, "GET /chat": false}
	for _, op := range w.api.Operations {
		if w.guard.NeedsBody(op) != want[op.Key] {
			t.Errorf("%s: %v", op.Key, !want[op.Key])
		}
	}
	if w.guard.NeedsBody(&gate.Operation{}) {
		t.Error("an operation without a contract needs its body")
	}
}

// TestReadme: the page says what a guard's page says, and names no key that does not exist.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, heading := range []string{"What it stops", "Configuration", "What it records", "What it does not do", "See also"} {
		if !strings.Contains(string(page), "\n## "+heading+"\n") {
			t.Errorf("no heading %q", heading)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	w := newWorld(b, shop)
	r := &canon.Request{Method: "GET", Path: "/orders/1", Segments: []string{"orders", "1"}, Query: []canon.Pair{{Name: "limit", Value: "10"}}, Fields: http.Header{}}
	op, params, _, _ := w.table.Match("GET", r.Segments)
	x := &gate.Exchange{Request: r, API: w.api, Operation: op, Params: params}
	b.ReportAllocs()
	for b.Loop() {
		if v := w.guard.Check(context.Background(), x); !v.Allowed() {
			b.Fatal(v)
		}
	}
}
