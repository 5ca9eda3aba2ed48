package waf

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/contract"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

const shopContract = `openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /orders:
    post:
      operationId: placeOrder
      security: []
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              additionalProperties: false
              properties:
                quantity: {type: integer, minimum: 1, maximum: 99}
                size: {enum: [small, large, "select one from the menu"]}
                code: {type: string, pattern: "^[A-Z]{3}$"}
                open: {type: string, maxLength: 200}
                page: {type: string, x-gatehouse-sink: html}
                kept: {type: string, x-gatehouse-sink: none}
                subject: {type: string, x-gatehouse-sink: header}
`

// conforming gives a request that the contract has judged, if it is enforced.
func conforming(t testing.TB, text string, enforced bool) *gate.Exchange {
	t.Helper()
	c, err := openapi.Load("shop.yaml", func(string) ([]byte, error) { return []byte(shopContract), nil })
	if err != nil {
		t.Fatal(err)
	}
	op := &gate.Operation{API: "shop", Key: "placeOrder", Method: "POST", Template: "/orders", Contract: c.Operations[0]}
	s := sample{method: "POST", path: "/orders", media: "application/json", kind: body.JSON, body: text}
	x := s.exchange()
	x.Operation = op
	if enforced {
		g, err := contract.New(contract.Config{}, &gate.API{Name: "shop", Operations: []*gate.Operation{op}})
		if err != nil {
			t.Fatal(err)
		}
		if v := g.Check(t.Context(), x); !v.Allowed() {
			t.Fatal(v)
		}
	}
	return x
}

// settled waits until what the contract says is known.
func settled(t testing.TB, g *Guard) {
	t.Helper()
	op := conforming(t, `{}`, false).Operation
	for g.confined(op).Scope == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

// A value that its contract confines is passed over by the rules that can't match it; one that is free is not; and nothing is
// passed over unless the contract has judged the request.
func TestConfinedValuesArePassedOver(t *testing.T) {
	g := guard(t, Config{})
	settled(t, g)
	const text = `{"quantity":7,"size":"large","code":"ABC","open":"a plain word"}`
	asked := func(g *Guard, x *gate.Exchange) string {
		find := g.finder(x)
		if find == nil {
			return "all"
		}
		r := g.rules.room()
		tree, _ := x.Body(t.Context())
		r.view.Fill(x, tree)
		var said []string
		for _, p := range r.view.Of(variables.ArgsPost) {
			value, _ := find(variables.ArgsPost, p.Key, p.Text)
			said = append(said, fmt.Sprintf("%s %v", p.Key, value.Len() > 100))
		}
		return strings.Join(said, ", ")
	}
	if got := asked(g, conforming(t, text, true)); !strings.Contains(got, "json.quantity true") || !strings.Contains(got, "json.open false") {
		t.Error(got)
	}
	if got := asked(g, conforming(t, text, false)); got != "all" {
		t.Error("without a judgement of the contract:", got)
	}
	if got := asked(guard(t, Config{Exact: true}), conforming(t, text, true)); got != "all" {
		t.Error("exact:", got)
	}
	for range 3 {
		if v := g.Check(t.Context(), conforming(t, text, true)); !v.Allowed() {
			t.Error(v)
		}
		if v := g.Check(t.Context(), conforming(t, `{"quantity":7,"open":"1' OR '1'='1' UNION SELECT password FROM users--"}`, true)); v.Code != gate.Attack {
			t.Error("an attack in the free text:", v)
		}
	}
}

// What the contract says goes into a page only is not asked about SQL, by the prefilter and by the engine alike, and is asked
// about scripts; the same text elsewhere is asked about all. Exact asks about all everywhere.
func TestSinks(t *testing.T) {
	const sql, script = `x' UNION SELECT password FROM users--`, `<script>alert(1)</script>`
	g := guard(t, Config{})
	for range 3 {
		for text, allowed := range map[string]bool{`{"page":"` + sql + `"}`: true, `{"page":"` + script + `"}`: false, `{"open":"` + sql + `"}`: false} {
			if v := g.Check(t.Context(), conforming(t, text, true)); v.Allowed() != allowed {
				t.Errorf("%s: %+v", text, v)
			}
		}
		if v := guard(t, Config{Exact: true}).Check(t.Context(), conforming(t, `{"page":"`+sql+`"}`, true)); v.Allowed() {
			t.Error("exact: allowed")
		}
		if v := g.Check(t.Context(), conforming(t, `{"page":"`+sql+`"}`, false)); v.Allowed() {
			t.Error("allowed without a judgement of the contract")
		}
	}
}

// What goes elsewhere is one value and never all of them, also where its name is empty, which the engine takes for any name.
func TestSinkOfTheEmptyName(t *testing.T) {
	c, err := openapi.Load("shop.yaml", func(string) ([]byte, error) {
		return []byte(`{"openapi":"3.1.0","info":{"title":"shop","version":"1"},"paths":{"/pages":{"post":{"security":[],"responses":{},
			"requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{"note":{"type":"string"}},
			"additionalProperties":{"type":"string","x-gatehouse-sink":"html"}}}}}}}}}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	op := &gate.Operation{API: "shop", Key: "addPage", Method: "POST", Template: "/pages", Contract: c.Operations[0]}
	enforced, err := contract.New(contract.Config{}, &gate.API{Name: "shop", Operations: []*gate.Operation{op}})
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, Config{})
	for text, allowed := range map[string]bool{
		"=x&note=x%27+UNION+SELECT+password+FROM+users--":  false,
		"=x&title=x%27+UNION+SELECT+password+FROM+users--": true,
		"=x%27+UNION+SELECT+password+FROM+users--":         true,
		"=%3Cscript%3Ealert(1)%3C/script%3E":               false,
	} {
		x := sample{method: "POST", path: "/pages", media: "application/x-www-form-urlencoded", kind: body.Form, body: text}.exchange()
		x.Operation = op
		if v := enforced.Check(t.Context(), x); !v.Allowed() {
			t.Fatal(v)
		}
		if v := g.Check(t.Context(), x); v.Allowed() != allowed {
			t.Errorf("%s: %+v", text, v)
		}
	}
}

// A contract that declares no body here says nothing of one that comes all the same, because nobody enforces it: it is
// inspected, whatever it is called.
func TestUndeclaredBodiesAreInspected(t *testing.T) {
	c, err := openapi.Load("shop.yaml", func(string) ([]byte, error) {
		return []byte("openapi: 3.1.0\ninfo: {title: shop, version: \"1\"}\npaths: {/orders: {delete: {security: [], responses: {}}}}"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, Config{})
	for media, kind := range map[string]body.Kind{"application/json": body.JSON, "application/octet-stream": body.Opaque, "text/plain": body.Text} {
		x := sample{method: "DELETE", path: "/orders", media: media, kind: kind, body: `{"note":"x' UNION SELECT password FROM users--"}`}.exchange()
		x.Operation = &gate.Operation{API: "shop", Key: "dropOrders", Method: "DELETE", Template: "/orders", Contract: c.Operations[0]}
		if v := g.Check(t.Context(), x); v.Code != gate.Attack {
			t.Errorf("%s: %+v", media, v)
		}
	}
}

// What lies under codings of a value goes where the value goes: it is asked about what can hurt there, and about nothing else. The
// same is said by a trial. Of a value beside it nothing is said, and codings there hide nothing.
func TestSinksReachUnderCodings(t *testing.T) {
	const sql, script, head = `x' UNION SELECT password FROM users--`, `<script>alert(1)</script>`, "a\r\nSet-Cookie: b=c"
	g := guard(t, Config{})
	exact := guard(t, Config{Exact: true})
	for _, c := range []struct {
		name, text string
		allowed    bool
	}{
		{"page", sql, true}, {"page", script, false}, {"page", head, true}, {"page", `<meta http-equiv="refresh" content="0; url=//a.example">`, false},
		{"kept", sql, true}, {"kept", script, true}, {"kept", head, true}, {"subject", head, false}, {"subject", sql, true},
		{"open", sql, false}, {"open", script, false}, {"open", head, false},
	} {
		inJSON, err := json.Marshal(map[string]string{"a": c.text})
		if err != nil {
			t.Fatal(err)
		}
		for way, text := range map[string]string{"Base64": coded(c.text), "JSON in Base64": coded(string(inJSON)), "JSON": string(inJSON)} {
			sent, err := json.Marshal(map[string]string{c.name: text})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if v := g.Check(t.Context(), conforming(t, string(sent), true)); v.Allowed() != c.allowed {
					t.Errorf("%s of %q in %s: %+v", way, c.text, c.name, v)
				}
			}
			if o, err := g.Try(t.Context(), conforming(t, string(sent), true)); err != nil || o.Denied == c.allowed {
				t.Errorf("%s of %q in %s, on trial: %+v %v", way, c.text, c.name, o, err)
			}
			if v := exact.Check(t.Context(), conforming(t, string(sent), true)); v.Allowed() {
				t.Errorf("%s of %q in %s, exact: allowed", way, c.text, c.name)
			}
			beside, err := json.Marshal(map[string]string{c.name: text, "open": coded(sql)})
			if err != nil {
				t.Fatal(err)
			}
			if v := g.Check(t.Context(), conforming(t, string(beside), true)); v.Allowed() {
				t.Errorf("%s of %q in %s: what stands beside it passes", way, c.text, c.name)
			}
		}
	}
}

// A contract that does not judge the request says nothing of where its values go.
func TestSinksNeedAContractThatJudges(t *testing.T) {
	const sql = `x' UNION SELECT password FROM users--`
	g := guard(t, Config{})
	for _, text := range []string{`{"page":"` + sql + `"}`, `{"kept":"` + coded(sql) + `"}`} {
		for _, enforced := range []bool{true, false, true} {
			if v := g.Check(t.Context(), conforming(t, text, enforced)); v.Allowed() != enforced {
				t.Errorf("%s, enforced %v: %+v", text, enforced, v)
			}
		}
	}
}
