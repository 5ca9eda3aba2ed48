package adversary

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Rows B: what a client may say in fields.
func fieldRows(g *gateway, t *testing.T) []attack {
	ann := field{"Authorization", "Bearer " + g.token(t, "ann", "--role", "customer", "--scope", "orders:read")}
	caller := []string{"Gatehouse-Subject: ann", "Gatehouse-Issuer: https://gatehouse.invalid/dev", "Gatehouse-Roles: customer", "Gatehouse-Scopes: orders:read"}
	missing := refused("identity", 401, gate.NoIdentity, "identity.missing")
	line := "GET /public/x HTTP/1.1"
	noTrailer := canon400("field.trailer")
	rows := []attack{
		{row: "B1", name: "subject", fields: []field{{"Gatehouse-Subject", "admin"}}, want: passes(line)},
		{row: "B1", name: "lower", fields: []field{{"gatehouse-roles", "admin"}, {"GATEHOUSE-ROLES", "root"}}, want: passes(line)},
		{row: "B1", name: "dot", fields: []field{{"Gatehouse.Subject", "admin"}}, want: passes(line)},
		{row: "B1", name: "underscore", fields: []field{{"Gatehouse_Subject", "admin"}}, want: canon400("field.underscore")},
		{row: "B1", name: "space", raw: "GET /public/x HTTP/1.1\r\nHost: api.test\r\nGatehouse-Subject : admin\r\n\r\n", want: wire(400, gate.BadRequest, "framing.space_before_colon")},
		{row: "B1", name: "event", fields: []field{{"Gatehouse-Event", "01K5V8Q2ZJX3M9T7WBQ4RNE0AF"}}, want: passes(line)},
		{row: "B1", name: "with a caller", target: "/any", fields: []field{ann, {"Gatehouse-Roles", "admin"}, {"gatehouse.scopes", "all"}}, want: passes("GET /any HTTP/1.1", caller...)},
		{row: "B2", name: "any", fields: []field{{"X_A", "1"}}, want: canon400("field.underscore")},
		{row: "B2", name: "forwarded", fields: []field{{"X_Forwarded_For", "10.0.0.1"}}, want: canon400("field.underscore")},
		{row: "B3", name: "managed", fields: []field{{"Connection", "close, Gatehouse-Subject"}}, over: 1, want: canon400("field.connection")},
		{row: "B3", name: "forwarded", fields: []field{{"Connection", "close, X-User, x-real-ip, X-Forwarded-For, Authorization"}}, over: 1, want: canon400("field.connection")},
		{row: "B3", name: "authorization", target: "/any", fields: []field{ann, {"Connection", "Authorization"}}, over: 1, want: canon400("field.connection")},
		{row: "B3", name: "http2", fields: []field{{"connection", "x-user"}}, over: 2, want: want{status: 400, unrecorded: true}},
		{row: "B4", name: "stranger", fields: []field{{"X-Forwarded-For", "127.0.0.1"}}, want: passes(line)},
		{row: "B4", name: "stranger twice", fields: []field{{"X-Forwarded-For", "127.0.0.1"}, {"X-Real-IP", "10.0.0.1"}, {"Forwarded", "for=10.0.0.1"}, {"True-Client-IP", "10.0.0.1"}}, want: passes(line)},
		{row: "B4", name: "stranger host", fields: []field{{"X-Forwarded-Host", "evil.test"}, {"X-Forwarded-Proto", "gopher"}, {"X-Forwarded-Port", "1"}}, want: passes(line)},
		{row: "B4", name: "rightmost", proxied: true, fields: []field{{"X-Forwarded-For", "127.0.0.1, 198.51.100.7"}}, want: want{status: 200, sent: line, client: "198.51.100.7"}},
		{row: "B4", name: "behind ours", proxied: true, fields: []field{{"X-Forwarded-For", "10.9.9.9, 198.51.100.8, 127.77.0.9"}}, want: want{status: 200, sent: line, client: "198.51.100.8"}},
		{row: "B4", name: "mapped", proxied: true, fields: []field{{"X-Forwarded-For", "::ffff:198.51.100.9"}}, want: want{status: 200, sent: line, client: "198.51.100.9"}},
		{row: "B4", name: "forwarded", proxied: true, fields: []field{{"Forwarded", `for="[2001:db8::7]:4711";proto=https`}}, want: want{status: 200, sent: line, client: "2001:db8::7"}},
		{row: "B4", name: "quoted trick", proxied: true, fields: []field{{"Forwarded", `for="1.2.3.4;by=x, for=evil"`}}, want: passes(line)},
		{row: "B4", name: "unknown", proxied: true, fields: []field{{"Forwarded", "for=unknown"}}, want: passes(line)},
		{row: "B4", name: "obfuscated", proxied: true, fields: []field{{"Forwarded", "for=_obf"}}, want: passes(line)},
		{row: "B4", name: "zone", proxied: true, fields: []field{{"X-Forwarded-For", "fe80::1%eth0"}}, want: passes(line)},
		{row: "B4", name: "10 kB", proxied: true, fields: []field{{"X-Forwarded-For", strings.Repeat("198.51.100.1, ", 700) + "198.51.100.2"}}, want: passes(line)},
		{row: "B4", name: "disagree", proxied: true, fields: []field{{"X-Forwarded-For", "198.51.100.1"}, {"Forwarded", "for=198.51.100.2"}}, want: passes(line)},
		{row: "B5", name: "uri", target: "/admin/x", fields: []field{{"X-Forwarded-Uri", "/public/x"}, {"X-Forwarded-Method", "GET"}, {"X-Original-Uri", "/public/x"}}, want: missing},
		{row: "B5", name: "trusted", target: "/admin/x", proxied: true, fields: []field{{"X-Forwarded-Uri", "/public/x"}}, want: missing},
		{row: "B6", name: "google", target: "/admin/x", fields: []field{{"User-Agent", "GoogleHC/1.0"}}, want: missing},
		{row: "B6", name: "kube", target: "/any", fields: []field{{"User-Agent", "kube-probe/1.30"}}, want: missing},
		{row: "B7", name: "Host", raw: "GET /public/x HTTP/1.1\r\nHost: api.test\r\nHost: api.test\r\n\r\n", want: wire(400, gate.BadRequest, "host.duplicate")},
		{row: "B7", name: "Cookie", fields: []field{{"Cookie", "a=1"}, {"Cookie", "b=2"}}, over: 1, want: canon400("field.duplicate")},
		{row: "B7", name: "Cookie", fields: []field{{"Cookie", "a=1"}, {"Cookie", "a=2"}}, over: 2, want: canon400("cookie.duplicate")},
		{row: "B8", name: "inner address", fields: []field{{"X-Real-IP", "127.0.0.1"}}, want: passes(line)},
		{row: "B9", name: "method", fields: []field{{"X-HTTP-Method-Override", "DELETE"}, {"X-Method-Override", "PUT"}}, want: passes(line)},
		{row: "B9", name: "target", fields: []field{{"X-Original-URL", "/admin/x"}, {"X-Rewrite-URL", "/admin/x"}}, want: passes(line)},
		{row: "B10", name: "announced", method: "POST", target: "/items", fields: []field{{"Content-Type", "application/json"}, {"Trailer", "X-User"}}, body: item, chunked: true, want: wire(400, gate.BadRequest, "framing.trailer"), want2: &noTrailer},
		{row: "B10", name: "section", raw: "POST /items HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"name\":\"a\"}\r\n0\r\nX-User: admin\r\n\r\n", want: want{status: 400, code: gate.BadRequest, guard: "wire", reason: "framing.trailer", close: true}},
		{row: "B11", name: "quote", raw: "GET /public/x HTTP/1.1\r\nHost: a\"; for=1.2.3.4\r\n\r\n", want: wire(400, gate.BadRequest, "host.malformed")},
		{row: "B11", name: "quote", host: `a"; for=1.2.3.4`, over: 2, want: canon400("host.malformed")},
		{row: "B13", name: "token", target: "/any", fields: []field{ann}, want: passes("GET /any HTTP/1.1", caller...)},
		{row: "B13", name: "proxy credential", target: "/any", fields: []field{ann, {"Proxy-Authorization", "Basic eDp5"}}, want: passes("GET /any HTTP/1.1", caller...)},
		{row: "B15", name: "fold", raw: "GET /public/x HTTP/1.1\r\nHost: api.test\r\nX-A: 1\r\n 2\r\n\r\n", want: wire(400, gate.BadRequest, "framing.obs_fold")},
		{row: "B15", name: "tab", raw: "GET /public/x HTTP/1.1\r\nHost: api.test\r\nX-A: 1\r\n\t2\r\n\r\n", want: wire(400, gate.BadRequest, "framing.obs_fold")},
		{row: "B15", name: "first", raw: "GET /public/x HTTP/1.1\r\n Host: api.test\r\n\r\n", want: wire(400, gate.BadRequest, "framing.obs_fold")},
		{row: "B16", name: "1000", raw: "GET /public/x HTTP/1.1\r\nHost: api.test\r\n" + strings.Repeat("a: b\r\n", 1000) + "\r\n", want: wire(431, gate.HeadTooLarge, "field.too_many")},
		{row: "B17", name: "forwarded", fields: []field{{"X.Forwarded.For", "10.0.0.1"}}, want: passes(line)},
		{row: "B17", name: "override", fields: []field{{"X~HTTP~Method~Override", "DELETE"}}, want: passes(line)},
		{row: "B17", name: "length", fields: []field{{"Content^Length", "100"}}, want: passes(line)},
	}
	many := get2()
	for i := range 130 {
		many = append(many, field{"x-a" + fmt.Sprint(i), "b"})
	}
	rows = append(rows, attack{row: "B16", name: "130", h2: many, want: want{status: 431, code: gate.HeadTooLarge, guard: "canon", reason: "field.too_many"}})
	for _, name := range singletons {
		rows = append(rows, attack{row: "B7", name: name, fields: []field{{name, "a"}, {name, "b"}}, want: canon400("field.duplicate")})
	}
	return rows
}

// singletons are fields of which two readers of two take different ones.
var singletons = []string{
	"Authorization", "Content-Type", "Content-Encoding", "X-Api-Key", "X-Auth-Token", "X-Csrf-Token", "Origin", "Referer", "User-Agent", "Range",
	"If-Match", "If-None-Match", "If-Modified-Since", "Idempotency-Key", "Traceparent", "X-Request-Id", "Soapaction", "Dpop", "Date", "Max-Forwards",
}

func TestFields(t *testing.T) { bring(t, shared, fieldRows(shared, t)) }

// B1, B17: whatever stands between the words of a field that only Gatehouse may set, and in whatever case they are, nothing
// that any server could fold into its name arrives, except the gateway's own.
func TestNothingFoldsIntoAManagedField(t *testing.T) {
	fold := func(name string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, strings.ToLower(name))
	}
	for _, managed := range []string{"Gatehouse-Subject", "Gatehouse-Roles", "Gatehouse-Event", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		for _, sign := range "!#$%&'*+-.^_`|~" {
			for _, name := range []string{managed, strings.ToLower(managed), strings.ToUpper(managed)} {
				from, before := source(), shared.server.mark()
				name = strings.ReplaceAll(name, "-", string(sign))
				r := shared.sendRaw(t, from, "GET /public/x HTTP/1.1\r\nHost: api.test\r\n"+name+": forged\r\n\r\n", false, false)
				_, requests, _ := shared.server.since(before)
				if r.status != http.StatusOK && len(requests) == 0 {
					continue // refused is safe too
				}
				if len(requests) != 1 {
					t.Fatalf("%s: status %d and %d requests", name, r.status, len(requests))
				}
				for _, line := range strings.Split(requests[0], "\r\n")[1:] {
					got, value, _ := strings.Cut(line, ": ")
					if fold(got) == fold(managed) && strings.Contains(value, "forged") {
						t.Errorf("%s arrived as %q", name, line)
					}
				}
			}
		}
	}
}
