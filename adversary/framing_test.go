package adversary

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// post is the head of a request with a JSON body, up to its own fields.
func post(fields ...string) string {
	return "POST /items HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n" + strings.Join(append(fields, "", ""), "\r\n")
}

const item = `{"name":"a"}` // 12 bytes

// Rows C: where a request ends.
func framingRows() []attack {
	chunked := "Transfer-Encoding: chunked"
	bad := func(row, name, raw string, reason gate.Reason) attack {
		return attack{row: row, name: name, raw: raw, want: wire(400, gate.BadRequest, reason)}
	}
	late := func(row, name, raw string, reason gate.Reason) attack { // found by whoever reads the body first
		return attack{row: row, name: name, raw: raw, want: want{status: 400, code: gate.BadRequest, guard: "wire", reason: reason, close: true}}
	}
	unknown := func(name, value string) attack {
		return attack{row: "C5", name: name, raw: post("Transfer-Encoding: "+value) + "0\r\n\r\n", want: wire(501, gate.Unsupported, "framing.transfer_encoding_unknown")}
	}
	get := func(fields ...string) string {
		return "GET /public/x HTTP/1.1\r\n" + strings.Join(append(append([]string{"Host: api.test"}, fields...), "", ""), "\r\n")
	}
	line, sent := "GET /public/x HTTP/1.1", "POST /items HTTP/1.1"
	stored := want{status: 200, sent: sent, adds: []string{"Content-Type: application/json", "Content-Length: 12"}, body: item}
	json := []field{{"Content-Type", "application/json"}}
	key := "dGhlIHNhbXBsZSBub25jZQ=="
	return []attack{
		bad("C1", "length first", post("Content-Length: 12", chunked)+"0\r\n\r\n", "framing.content_length_and_chunked"),
		bad("C1", "length last", post(chunked, "Content-Length: 0")+"0\r\n\r\n", "framing.content_length_and_chunked"),
		bad("C2", "equal", post("Content-Length: 12", "Content-Length: 12")+item, "framing.content_length_twice"),
		bad("C3", "different", post("Content-Length: 12", "Content-Length: 13")+item, "framing.content_length_twice"),
		bad("C3", "plus", post("Content-Length: +12")+item, "framing.content_length"),
		bad("C3", "minus", post("Content-Length: -1"), "framing.content_length"),
		bad("C3", "huge", post("Content-Length: 99999999999999999999"), "framing.content_length"),
		bad("C4", "list", post("Content-Length: 12, 12")+item, "framing.content_length"),
		unknown("identity", "chunked, identity"), unknown("xchunked", "xchunked"), unknown("gzip", "gzip, chunked"),
		bad("C5", "twice", post(chunked, chunked)+"0\r\n\r\n", "framing.transfer_encoding_twice"),
		bad("C5", "vertical tab", post("Transfer-Encoding: \x0bchunked")+"0\r\n\r\n", "framing.field_value"),
		bad("C5", "space", post("Transfer-Encoding : chunked")+"0\r\n\r\n", "framing.space_before_colon"),
		bad("C6", "tab", post("Transfer-Encoding:\tchunked")+"0\r\n\r\n", "framing.transfer_encoding"),
		bad("C7", "1.0", "POST /items HTTP/1.0\r\nHost: api.test\r\nContent-Type: application/json\r\n"+chunked+"\r\n\r\nc\r\n"+item+"\r\n0\r\n\r\n", "framing.transfer_encoding_http10"),
		bad("C8", "0x", post(chunked)+"0xc\r\n"+item+"\r\n0\r\n\r\n", "framing.chunk_size"),
		bad("C8", "empty", post(chunked)+"\r\n"+item+"\r\n0\r\n\r\n", "framing.chunk_size"),
		bad("C8", "plus", post(chunked)+"+c\r\n"+item+"\r\n0\r\n\r\n", "framing.chunk_size"),
		bad("C8", "huge", post(chunked)+"fffffffffffffffff\r\n"+item+"\r\n0\r\n\r\n", "framing.chunk_size"),
		late("C8", "second chunk", post(chunked)+"6\r\n"+item[:6]+"\r\n0x6\r\n"+item[6:]+"\r\n0\r\n\r\n", "framing.chunk_size"),
		bad("C8", "streamed", "PUT /blob/x HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/octet-stream\r\n"+chunked+"\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "framing.chunk_size"),
		bad("C9", "bare lf", post(chunked)+"c;a\n"+item+"\r\n0\r\n\r\n", "framing.chunk_extension"),
		bad("C9", "extension", post(chunked)+"c;a=1\r\n"+item+"\r\n0\r\n\r\n", "framing.chunk_extension"),
		bad("C10", "request", "GET /public/x HTTP/1.1\nHost: api.test\n\n", "framing.bare_lf"),
		bad("C10", "one field", "GET /public/x HTTP/1.1\r\nHost: api.test\nX-A: 1\r\n\r\n", "framing.bare_lf"),
		bad("C10", "chunk", post(chunked)+"c\n"+item+"\n0\n\n", "framing.bare_lf"),
		late("C10", "chunk end", post(chunked)+"c\r\n"+item+"\n0\r\n\r\n", "framing.bare_lf"),
		bad("C11", "cr", get("X-A: 1\r2"), "framing.bare_cr"),
		bad("C11", "nul", get("X-A: 1\x002"), "framing.nul"),
		bad("C12", "0.9", "GET /public/x\r\n", "version.http09"),
		{row: "C12", name: "1.2", raw: "GET /public/x HTTP/1.2\r\nHost: api.test\r\n\r\n", want: wire(505, gate.BadVersion, "version.unsupported")},
		{row: "C12", name: "2.0", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: wire(505, gate.BadVersion, "version.http2_preface")},
		{row: "C13", name: "junk", raw: get("Expect: 200-ok"), want: wire(417, gate.BadExpectation, "expect.unknown")},
		{row: "C16", name: "switch to nothing", raw: get("Connection: Upgrade", "Upgrade: foo"), want: passes(line)},
		{row: "C17", name: "h2c", raw: get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), want: passes(line)},
		{row: "C17", name: "tls", raw: get("Connection: Upgrade", "Upgrade: TLS/1.0"), want: passes(line)},
		{row: "C18", name: "version", target: "/socket", over: 1, fields: []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "777"}, {"Sec-WebSocket-Key", key}}, want: want{status: 426, code: gate.UpgradeRequired, guard: "canon", reason: "upgrade.version", close: true}},
		{row: "C18", name: "no key", target: "/socket", over: 1, fields: []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}, want: canon400("upgrade.malformed")},
		{row: "C18", name: "two protocols", target: "/socket", over: 1, fields: []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket, h2c"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", key}}, want: canon400("upgrade.malformed")},
		{row: "C18", name: "undeclared", over: 1, fields: []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", key}}, want: want{status: 400, code: gate.BadRequest, guard: "match", reason: "stream.undeclared", close: true}},
		{row: "C18", name: "no handshake", target: "/socket", want: refused("match", 426, gate.UpgradeRequired, "stream.no_handshake")},
		{row: "C19", name: "authority", raw: "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n", want: wire(405, gate.MethodNotAllowed, "method.connect")},
		{row: "C19", name: "http2", h2: []field{{":method", "CONNECT"}, {":authority", "api.test:443"}}, want: want{status: 405, code: gate.MethodNotAllowed, guard: "canon", reason: "method.refused"}},
		{row: "C21", name: "trace", method: "TRACE", over: 1, want: wire(405, gate.MethodNotAllowed, "method.trace")},
		{row: "C21", name: "trace", method: "TRACE", over: 2, want: want{status: 405, code: gate.MethodNotAllowed, guard: "canon", reason: "method.refused"}},
		{row: "C22", name: "lower", method: "get", over: 1, want: wire(400, gate.BadRequest, "method.malformed")},
		{row: "C22", name: "lower", method: "get", over: 2, want: canon400("method.malformed")},
		{row: "C22", name: "unknown", method: "FOO", want: want{status: 405, code: gate.MethodNotAllowed, guard: "canon", reason: "method.refused", close: true}},
		{row: "C22", name: "not declared", method: "DELETE", want: refused("match", 405, gate.MethodNotAllowed, "match.method")},
		{row: "C24", name: "empty line", raw: "\r\n\r\n\r\n\r\n\r\nGET /public/x HTTP/1.1\r\nHost: api.test\r\n\r\n", want: wire(400, gate.BadRequest, "framing.empty_line")},
		{row: "C24", name: "target", raw: "GET /public/x y HTTP/1.1\r\nHost: api.test\r\n\r\n", want: wire(400, gate.BadRequest, "version.syntax")},
		{row: "C25", name: "length", method: "POST", target: "/items", fields: json, body: item, want: stored},
		{row: "C25", name: "no length", method: "POST", target: "/items", fields: json, body: item, chunked: true, want: stored},
		{row: "C25", name: "inspected", method: "POST", target: "/items", fields: json, body: `{"name":"a","role":"admin"}`, chunked: true, want: refused("contract", 400, gate.InvalidInput, "contract.unknown_property")},
		{row: "C25", name: "over the limit", method: "POST", target: "/items", fields: json, body: `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, want: want{status: 413, code: gate.TooLarge, guard: "limits", reason: "limits.body", close: true}},
		{row: "C25", name: "over the limit unsaid", method: "POST", target: "/items", fields: json, body: `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, chunked: true, want: want{status: 413, code: gate.TooLarge, guard: "contract", reason: "body.too_large", close: true}},
	}
}

func TestFraming(t *testing.T) { bring(t, shared, framingRows()) }

// C14: a GET with a body, and a second request behind it: each is decided about on its own.
func TestASecondRequestIsDecidedOnItsOwn(t *testing.T) {
	from, before := source(), shared.server.mark()
	c, err := shared.dial(from)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	inner := "GET /admin/smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n"
	raw := fmt.Sprintf("GET /public/x HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner) +
		"GET /admin/x HTTP/1.1\r\nHost: api.test\r\n\r\n" + "GET /public/y HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	events := shared.events.from(t, from, 1)
	_, requests, _ := shared.server.since(before)
	for _, r := range requests {
		if strings.Contains(r, "smuggled") {
			t.Errorf("at the server: %q", r)
		}
	}
	for _, e := range events {
		for _, p := range e.Request.Params {
			if p.Value == "smuggled" {
				t.Errorf("the body of one request was read as the next: %+v", e)
			}
		}
	}
}
