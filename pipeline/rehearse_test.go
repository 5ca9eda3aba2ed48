package pipeline

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// A rehearsed request is read by everything that reads a real one, up to the question; nothing is sent, counted or written.
func TestRehearsals(t *testing.T) {
	r := serving(t, `guards: {identity: {off: {accept_risk: a test}}}
apis:
  - {name: t, base: /v1, contract: c.yaml, to: ["http://127.0.0.1:1"]}
  - {name: u, base: /v2, hosts: [u.test], contract: c.yaml, to: ["http://127.0.0.1:1"]}
`, map[string]string{"c.yaml": plain})
	post := func(path, body string, fields ...string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x.test\r\nContent-Type: application/json\r\n" + strings.Join(fields, "") + "\r\n" + body
	}
	const good = `{"name": "a"}`
	for name, c := range map[string]struct {
		raw, api string
		by       string // who refuses it, with the reason; "" when it is asked about
		asked    string // the operation that it is asked about
	}{
		"good":                {post("/v1/things", good, "Content-Length: 13\r\n"), "t", "", "t make"},
		"any API":             {post("/v1/things", good, "Content-Length: 13\r\n"), "", "", "t make"},
		"under another host":  {post("/v2/things", good, "Content-Length: 13\r\n"), "u", "", "u make"},
		"of another API":      {post("/v1/things", good, "Content-Length: 13\r\n"), "u", "match match.api", ""},
		"in chunks":           {post("/v1/things", "d\r\n"+good+"\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"), "t", "", "t make"},
		"wire":                {post("/v1/things", good, "Content-Length: 13\r\nContent-Length: 14\r\n"), "t", "wire framing.", ""},
		"canon":               {"GET /v1/a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n", "t", "canon path.encoded_slash", ""},
		"no operation":        {"GET /v1/others HTTP/1.1\r\nHost: x\r\n\r\n", "t", "match match.operation", ""},
		"method":              {"PUT /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "t", "match match.method", ""},
		"contract, parameter": {"GET /v1/things?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", "t", "contract contract.unknown_parameter", ""},
		"contract, body":      {post("/v1/things", `{"name": 5678}`, "Content-Length: 14\r\n"), "t", "contract contract.body", ""},
		"half a body":         {post("/v1/things", `{"name"`, "Content-Length: 13\r\n"), "t", "contract ", ""},
	} {
		asked := ""
		got, err := r.Rehearse(t.Context(), Rehearsal{Raw: []byte(c.raw), API: c.api, Caller: &gate.Principal{Subject: "ann"}}, func(ctx context.Context, x *gate.Exchange) gate.Verdict {
			tree, v := x.Body(ctx)
			if !v.Allowed() || string(tree.Raw) != "" && string(tree.Raw) != good || x.Principal().Subject != "ann" {
				t.Errorf("%s: %+v %s", name, v, tree.Raw)
			}
			asked = x.API.Name + " " + x.Operation.Key
			return gate.Deny(gate.Attack, "test.asked", "")
		})
		by := ""
		if got.By != "" {
			by = got.By + " " + string(got.Verdict.Reason)
		}
		if err != nil || asked != c.asked || !strings.HasPrefix(by, c.by) || c.by == "" && (by != "" || got.Verdict.Reason != "test.asked") || got.Verdict.Allowed() {
			t.Errorf("%s: asked about %q, by %q, %v", name, asked, by, err)
		}
	}
	for _, wrong := range []string{"", "hello", "GET / HTTP/1.1"} {
		if got, err := r.Rehearse(t.Context(), Rehearsal{Raw: []byte(wrong)}, nil); err == nil && got.Verdict.Allowed() {
			t.Errorf("%q is a request", wrong)
		}
	}
	if r.got != nil || len(r.events) != 0 {
		t.Error("a rehearsal is not for real")
	}
	if list := r.Resting("identity"); len(list) != 2 || len(r.Resting("patch")) != 0 || len(r.APIs()) != 2 {
		t.Error(list)
	}
}

func FuzzRehearse(f *testing.F) {
	f.Add([]byte("GET /things HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
	r := serving(f, served, map[string]string{"c.yaml": plain})
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = r.Rehearse(t.Context(), Rehearsal{Raw: raw, API: "t"}, func(ctx context.Context, x *gate.Exchange) gate.Verdict {
			_, v := x.Body(ctx)
			return v
		})
	})
}
