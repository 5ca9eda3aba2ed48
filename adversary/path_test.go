package adversary

import (
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Rows A: how path, host and query are read.
func pathRows() []attack {
	missing := want{status: 401, code: gate.NoIdentity, guard: "identity", reason: "identity.missing"}
	rows := []attack{
		{row: "A1", name: "lower", target: "/a%2f..%2fadmin/x", want: canon400("path.encoded_slash")},
		{row: "A1", name: "upper", target: "/public/a%2Fadmin", want: canon400("path.encoded_slash")},
		{row: "A2", name: "both", target: "/a/%2e%2e/admin/x", want: canon400("path.dot_segment")},
		{row: "A2", name: "half", target: "/public/.%2E/admin/x", want: canon400("path.dot_segment")},
		{row: "A2", name: "single", target: "/public/%2e/x", want: canon400("path.dot_segment")},
		{row: "A3", name: "plain", target: "/a/../admin/x", want: canon400("path.dot_segment")},
		{row: "A3", name: "last", target: "/public/x/..", want: canon400("path.dot_segment")},
		{row: "A4", name: "first", target: "//admin/x", want: canon400("path.empty_segment")},
		{row: "A4", name: "within", target: "/public//x", want: canon400("path.empty_segment")},
		{row: "A5", name: "unreserved", target: "/%61dmin/x", want: missing},
		{row: "A5", name: "upper", target: "/%61%64%6D%69%6E/x", want: missing},
		{row: "A5", name: "lower", target: "/%61%64%6d%69%6e/x", want: missing},
		{row: "A5", name: "sent once", target: "/public/%4a%c3%a9", want: passes("GET /public/J%C3%A9 HTTP/1.1")},
		{row: "A6", name: "admin", target: "/%2561dmin/x", want: refused("match", 404, gate.NotFound, "match.operation")},
		{row: "A6", name: "sent", target: "/public/%2561dmin", want: passes("GET /public/%2561dmin HTTP/1.1")},
		{row: "A7", name: "raw", target: `/a\..\admin`, want: canon400("path.backslash")},
		{row: "A7", name: "encoded", target: "/a%5c..%5cadmin", want: canon400("path.backslash")},
		{row: "A8", name: "dots", target: "/a/..;/admin/x", want: canon400("path.matrix_param")},
		{row: "A8", name: "param", target: "/admin;x=1/y", want: canon400("path.matrix_param")},
		{row: "A8", name: "encoded", target: "/public/a%3bx", want: canon400("path.matrix_param")},
		{row: "A9", name: "nul", target: "/admin%00.png", want: canon400("path.control")},
		{row: "A9", name: "crlf", target: "/public/a%0d%0aX-A:%201", want: canon400("path.control")},
		{row: "A9", name: "del", target: "/public/%7f", want: canon400("path.control")},
		{row: "A10", name: "overlong", target: "/%c0%ae%c0%ae/admin", want: canon400("path.utf8")},
		{row: "A10", name: "ff", target: "/public/%ff", want: canon400("path.utf8")},
		{row: "A10", name: "surrogate", target: "/public/%ed%a0%80", want: canon400("path.utf8")},
		{row: "A11", name: "fragment", target: "/public#/../admin", want: wire(400, gate.BadRequest, "path.fragment"), over: 1},
		{row: "A11", name: "fragment", target: "/public#/../admin", want: canon400("path.fragment"), over: 2},
		{row: "A12", name: "query", target: "/admin/x?x=/health", want: missing},
		{row: "A12", name: "question", target: "/admin/x?/health", want: missing},
		{row: "A12", name: "encoded", target: "/admin/x%3f/health", want: refused("match", 404, gate.NotFound, "match.operation")},
		{row: "A13", name: "encoded question mark", target: "/public/x%3Fa=1", want: passes("GET /public/x%3Fa=1 HTTP/1.1")},
		{row: "A14", name: "no slash", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "admin/x"}}, want: counted2()},
		{row: "A14", name: "absolute", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "http://b/x"}}, want: canon400("target.form")},
		{row: "A14", name: "empty", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", ""}}, want: counted2()},
		{row: "A14", name: "asterisk", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "*"}}, want: canon400("target.form")},
		{row: "A15", name: "base", host: "base.test", target: "/v1/things/a%20b", want: want{status: 200, sent: "GET /inner/base/things/a%20b HTTP/1.1", host: "base.test"}},
		{row: "A15", name: "base only", host: "base.test", target: "/v1", want: refused("match", 404, gate.NotFound, "match.operation")},
		{row: "A15", name: "escape", host: "base.test", target: "/v1/../../admin", want: canon400("path.dot_segment")},
		{row: "A15", name: "double slash", host: "base.test", target: "/v1//admin", want: canon400("path.empty_segment")},
		{row: "A15", name: "prefix of a word", host: "base.test", target: "/v1admin/things/x", want: refused("match", 404, gate.NotFound, "match.api")},
		{row: "A16", name: "case and dot", host: "API.Test.", want: passes("GET /public/x HTTP/1.1")},
		{row: "A16", name: "default port", host: "api.test:443", over: 2, want: passes("GET /public/x HTTP/1.1")},
		{row: "A16", name: "other port", host: "api.test:8443", want: want{status: 200, sent: "GET /public/x HTTP/1.1", host: "api.test:8443"}},
		{row: "A16", name: "unknown", host: "evil.test", want: refused("match", 404, gate.NotFound, "match.api")},
		{row: "A19", name: "slash", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test/x"}, {":path", "/public/x"}}, want: canon400("host.malformed")},
		{row: "A19", name: "space", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test x"}, {":path", "/public/x"}}, want: canon400("host.malformed")},
		{row: "A19", name: "userinfo", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "good@api.test"}, {":path", "/public/x"}}, want: counted2()},
		{row: "A20", name: "h2", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":path", "/public/x"}}, want: canon400("host.missing")},
		{row: "A20", name: "1.0", raw: "GET /public/x HTTP/1.0\r\n\r\n", want: wire(400, gate.BadRequest, "host.missing")},
		{row: "A20", name: "1.1", raw: "GET /public/x HTTP/1.1\r\n\r\n", want: wire(400, gate.BadRequest, "host.missing")},
		{row: "A20", name: "empty", raw: "GET /public/x HTTP/1.1\r\nHost:\r\n\r\n", want: wire(400, gate.BadRequest, "host.malformed")},
		{row: "A21", name: "h2 host", h2: get2(field{"host", "b.test"}), want: canon400("host.mismatch")},
		{row: "A21", name: "absolute", raw: "GET http://b/public/x HTTP/1.1\r\nHost: api.test\r\n\r\n", want: wire(400, gate.BadRequest, "host.mismatch")},
		{row: "A23", name: "lower", target: "/admin%2fx", want: canon400("path.encoded_slash")},
		{row: "A23", name: "upper", target: "/admin%2Fx", want: canon400("path.encoded_slash")},
		{row: "A25", name: "semicolon", target: "/search?q=1;n=2&q=3", want: canon400("query.malformed")},
		{row: "A25", name: "percent", target: "/search?q=%zz", want: canon400("query.malformed")},
		{row: "A25", name: "cut", target: "/search?q=%4", want: canon400("query.malformed")},
		{row: "A25", name: "nul", target: "/search?q=%00", want: canon400("query.control")},
		{row: "A25", name: "utf8", target: "/search?q=%ff", want: canon400("query.utf8")},
		{row: "A25", name: "serialised anew", target: "/search?q=a+b%2Fc&n=0&&tag=%78", want: passes("GET /search?q=a%20b/c&n=0&tag=x HTTP/1.1")},
		{row: "A26", name: "257", target: "/search?" + strings.Repeat("q=1&", 256) + "role=admin", want: canon400("query.too_many")},
		{row: "A26", name: "10001", target: "/search?" + strings.Repeat("q&", 4000) + "role=admin", want: canon400("query.too_many")},
		{row: "A27", name: "quotes", target: `/public/"]=%20or%20data.allow%5B"x`, want: canon400("path.character"), over: 2},
		{row: "A27", name: "encoded", target: "/admin/x%22%5D%20%7C%7C%20true", want: missing},
	}
	for name, host := range map[string]string{"userinfo": "good@evil", "slash": "a/evil", "two ports": "a:80:81", "space": "a b", "bracket": "[::1"} {
		w := wire(400, gate.BadRequest, "host.malformed")
		if name == "userinfo" {
			w.reason = "host.userinfo"
		}
		second := canon400("host.malformed")
		if name == "userinfo" {
			second = counted2()
		}
		rows = append(rows, attack{row: "A18", name: name, raw: "GET /public/x HTTP/1.1\r\nHost: " + host + "\r\n\r\n", want: w},
			attack{row: "A18", name: name, host: host, over: 2, want: second})
	}
	return rows
}

// counted2 is a refusal by net/http's HTTP/2: the stream is reset, and the event is net/http's counter, which knows no
// address.
func counted2() want {
	return want{counted: true, reason: "http2.protocol"}
}

// engine2 is the same for a form that net/http does not even count: no event is written.
func engine2() want { return want{unrecorded: true} }

func TestPaths(t *testing.T) { bring(t, shared, pathRows()) }
