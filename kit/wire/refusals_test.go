package wire

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
)

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

const good = "GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n"

// refusedHead is a request that must be refused from its head. Rows of the adversary table in front.
type refusedHead struct {
	row, raw, reason string
	status           int
}

func head(line string, fields ...string) string {
	return line + "\r\n" + strings.Join(append(fields, "Host: a.test"), "\r\n") + "\r\n\r\n"
}

func refusedHeads() []refusedHead {
	const post = "POST /p HTTP/1.1"
	const get = "GET /p HTTP/1.1"
	return []refusedHead{
		// C: framing
		{"C1", head(post, "Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n", reasonLengthAndChunks, 400},
		{"C1", head(post, "Transfer-Encoding: chunked", "Content-Length: 0") + "0\r\n\r\n", reasonLengthAndChunks, 400},
		{"C2", head(post, "Content-Length: 3", "Content-Length: 3") + "abc", reasonLengthTwice, 400},
		{"C3", head(post, "Content-Length: 3", "Content-Length: 4") + "abcd", reasonLengthTwice, 400},
		{"C3", head(post, "Content-Length: +3") + "abc", reasonLength, 400},
		{"C3", head(post, "Content-Length: -1"), reasonLength, 400},
		{"C3", head(post, "Content-Length: 0x3") + "abc", reasonLength, 400},
		{"C3", head(post, "Content-Length: "), reasonLength, 400},
		{"C3", head(post, "Content-Length: 1 2"), reasonLength, 400},
		{"C3", head(post, "Content-Length:\t3") + "abc", reasonLength, 400},
		{"C3", head(post, "Content-Length: 9223372036854775808"), reasonLength, 400},
		{"C3", head(post, "Content-Length: 99999999999999999999999"), reasonLength, 400},
		{"C4", head(post, "Content-Length: 3, 3") + "abc", reasonLength, 400},
		{"C5", head(post, "Transfer-Encoding: chunked, identity") + "0\r\n\r\n", reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: xchunked") + "0\r\n\r\n", reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: identity"), reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: "), reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: chun\u212Aed") + "0\r\n\r\n", reasonEncodingUnknown, 501},
		{"C5", head(post, "Transfer-Encoding: \x0bchunked") + "0\r\n\r\n", reasonFieldValue, 400},
		{"C5", head(post, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n", reasonEncodingTwice, 400},
		{"C5", head(post, "Transfer-Encoding : chunked") + "0\r\n\r\n", reasonSpaceColon, 400},
		{"C6", head(post, "Transfer-Encoding:\tchunked") + "0\r\n\r\n", reasonEncoding, 400},
		{"C6", head(post, "Transfer-Encoding: chunked\t") + "0\r\n\r\n", reasonEncoding, 400},
		{"C7", head("POST /p HTTP/1.0", "Transfer-Encoding: chunked") + "0\r\n\r\n", reasonEncoding10, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "0x3\r\nabc\r\n0\r\n\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "\r\nabc\r\n0\r\n\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "+3\r\nabc\r\n0\r\n\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "-1\r\nabc\r\n0\r\n\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "10000000000000000\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "1000000000000000\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "ffffffffffffffff\r\n", reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + strings.Repeat("0", 40), reasonChunkSize, 400},
		{"C8", head(post, "Transfer-Encoding: chunked") + "3 \r\nabc\r\n0\r\n\r\n", reasonChunkExtension, 400},
		{"C9", head(post, "Transfer-Encoding: chunked") + "3;a\nabc\r\n0\r\n\r\n", reasonChunkExtension, 400},
		{"C9", head(post, "Transfer-Encoding: chunked") + "3;a=b\r\nabc\r\n0\r\n\r\n", reasonChunkExtension, 400},
		{"C10", head(post, "Transfer-Encoding: chunked") + "3\nabc\n0\n\n", reasonBareLF, 400},
		{"C10", head(post, "Transfer-Encoding: chunked") + "3\rXabc", reasonBareCR, 400},
		{"C10", "GET /p HTTP/1.1\nHost: a.test\n\n", reasonBareLF, 400},
		{"C10", "GET /p HTTP/1.1\r\nHost: a.test\nX: 1\r\n\r\n", reasonBareLF, 400},
		{"C10", "GET /p HTTP/1.1\r\nHost: a.test\r\n\n", reasonBareLF, 400},
		{"C10", "GET /p HTTP/1.1\r\nHost: a.test\n\r\n", reasonBareLF, 400},
		{"C11", head(get, "X: a\rb"), reasonBareCR, 400},
		{"C11", head(get, "X: a\r"), reasonBareCR, 400},
		{"C11", head(get, "X\r: a"), reasonBareCR, 400},
		{"C11", head("GET /\rp HTTP/1.1"), reasonBareCR, 400},
		{"C11", head("GET /p HTTP/1.1\r"), reasonBareCR, 400},
		{"C11", head("GET /p\x00 HTTP/1.1"), reasonNUL, 400},
		{"C11", head(get, "X: a\x00b"), reasonNUL, 400},
		{"C11", head(get, "X\x00: a"), reasonNUL, 400},
		{"C11", head(get, "X: a\x7fb"), reasonFieldValue, 400},
		{"C11", head(get, "X: \x1b[31m"), reasonFieldValue, 400},
		{"C12", "GET /p\r\n\r\n", reasonVersion09, 400},
		{"C12", "GET\r\n\r\n", reasonRequestLine, 400},
		{"C12", head("GET /p HTTP/1.2"), reasonVersion, 505},
		{"C12", head("GET /p HTTP/3.0"), reasonVersion, 505},
		{"C12", head("GET /p HTTP/0.9"), reasonVersion, 505},
		{"C12", head("GET /p HTTP/1.10"), reasonVersionSyntax, 400},
		{"C12", head("GET /p http/1.1"), reasonVersionSyntax, 400},
		{"C12", head("GET /p HTTP/1.1 "), reasonVersionSyntax, 400},
		{"C12", head("GET /p q HTTP/1.1"), reasonVersionSyntax, 400},
		{"C12", head("GET  /p HTTP/1.1"), reasonVersionSyntax, 400},
		{"C12", head("GET /p  HTTP/1.1"), reasonVersionSyntax, 400},
		{"C12", head("GET /p\tHTTP/1.1"), reasonVersion09, 400},
		{"C12", head(" GET /p HTTP/1.1"), reasonMethod, 400},
		{"C12", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", reasonVersionPreface, 505},
		{"C13", head(post, "Expect: 200-ok", "Content-Length: 3") + "abc", reasonExpect, 417},
		{"C13", head(post, "Expect: 100-continue", "Expect: 100-continue", "Content-Length: 3") + "abc", reasonExpect, 417},
		{"C13", head(post, "Expect: ", "Content-Length: 3") + "abc", reasonExpect, 417},
		{"C19", "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", reasonConnect, 405},
		{"C19", head("CONNECT /p HTTP/1.1"), reasonConnect, 405},
		{"C21", head("TRACE /p HTTP/1.1"), reasonTrace, 405},
		{"C22", head("get /p HTTP/1.1"), reasonMethod, 400},
		{"C22", head("GeT /p HTTP/1.1"), reasonMethod, 400},
		{"C22", head("G@T /p HTTP/1.1"), reasonMethod, 400},
		{"C22", head("\xc3\x84 /p HTTP/1.1"), reasonMethod, 400},
		{"C22", head(strings.Repeat("A", 33) + " /p HTTP/1.1"), reasonMethod, 400},
		{"C22", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", reasonMethod, 400}, // a TLS handshake on a plain port
		{"C24", "\r\n" + good, reasonEmptyLine, 400},
		{"C24", "\n" + good, reasonBareLF, 400},
		// A, B: target, host, fields
		{"A11", head("GET /public#/../admin HTTP/1.1"), reasonFragment, 400},
		{"A10", head("GET /\xff HTTP/1.1"), reasonTargetBytes, 400},
		{"A9", head("GET /a\x01 HTTP/1.1"), reasonTargetBytes, 400},
		{"A10", head("GET /%zz HTTP/1.1"), reasonEscape, 400},
		{"A10", head("GET /a%2 HTTP/1.1"), reasonEscape, 400},
		{"A10", head("GET /a% HTTP/1.1"), reasonEscape, 400},
		{"A14", head("GET p HTTP/1.1"), reasonTargetForm, 400},
		{"A14", head("GET ftp://a.test/p HTTP/1.1"), reasonTargetForm, 400},
		{"A14", head("GET http:/p HTTP/1.1"), reasonTargetForm, 400},
		{"A14", head("GET http:///p HTTP/1.1"), reasonHostSyntax, 400},
		{"A14", head("OPTIONS * HTTP/1.1"), reasonAsterisk, 400},
		{"A14", head("GET * HTTP/1.1"), reasonAsterisk, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: good@evil\r\n\r\n", reasonHostUserinfo, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a/evil\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a:80:81\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a b\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: [::1\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: [a.test]\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: [::1]x\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a.test:\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a.test:0\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: :80\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a,b\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: a%2e\r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: \r\n\r\n", reasonHostSyntax, 400},
		{"A18", "GET /p HTTP/1.1\r\nHost: " + strings.Repeat("a", 300) + "\r\n\r\n", reasonHostSyntax, 400},
		{"B11", "GET /p HTTP/1.1\r\nHost: a\"; for=1.2.3.4\r\n\r\n", reasonHostSyntax, 400},
		{"A20", "GET /p HTTP/1.1\r\nX: 1\r\n\r\n", reasonHostMissing, 400},
		{"A20", "GET /p HTTP/1.0\r\n\r\n", reasonHostMissing, 400},
		{"A20", "GET http://a.test/p HTTP/1.1\r\n\r\n", reasonHostMissing, 400},
		{"A21", "GET http://b.test/p HTTP/1.1\r\nHost: a.test\r\n\r\n", reasonHostMismatch, 400},
		{"A21", "GET http://a.test:81/p HTTP/1.1\r\nHost: a.test\r\n\r\n", reasonHostMismatch, 400},
		{"A21", "GET http://u@a.test/p HTTP/1.1\r\nHost: a.test\r\n\r\n", reasonHostUserinfo, 400},
		{"A21", "GET http://a.test\\@b.test/p HTTP/1.1\r\nHost: a.test\r\n\r\n", reasonHostUserinfo, 400},
		{"B7", "GET /p HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", reasonHostTwice, 400},
		{"B7", "GET /p HTTP/1.1\r\nHost: a.test\r\nhOST: b.test\r\n\r\n", reasonHostTwice, 400},
		{"B10", head(post, "Trailer: X-User", "Transfer-Encoding: chunked") + "0\r\n\r\n", reasonTrailer, 400},
		{"B10", head(post, "Trailer: Content-Length", "Transfer-Encoding: chunked") + "0\r\n\r\n", reasonTrailer, 400},
		{"B10", head(get, "Trailer: "), reasonTrailer, 400},
		{"B15", head(get, "X-A: 1", " 2"), reasonObsFold, 400},
		{"B15", head(get, "X-A: 1", "\t2"), reasonObsFold, 400},
		{"B15", head(get, " X-A: 1"), reasonObsFold, 400},
		{"B15", head(get, "X-A: 1", " "), reasonObsFold, 400},
		{"B1", head(get, "X-Auth-User : admin"), reasonSpaceColon, 400},
		{"B1", head(get, "X Auth: admin"), reasonSpaceColon, 400},
		{"B1", head(get, "X(Auth): admin"), reasonFieldName, 400},
		{"B1", head(get, "X-\xc3\x84: admin"), reasonFieldName, 400},
		{"B1", head(get, ": admin"), reasonFieldName, 400},
		{"B1", head(get, "no-colon"), reasonFieldName, 400},
		{"B16", head(get, strings.Split(strings.TrimSpace(strings.Repeat("a: b\n", 1000)), "\n")...), reasonFieldCount, 431},
		{"H5", head(get, strings.Split(strings.TrimSpace(strings.Repeat("a: b\n", 200000)), "\n")...), reasonFieldCount, 431},
		{"H6", head(get, "X: "+strings.Repeat("a", 900<<10)), reasonHeadSize, 431},
		{"H6", head(get, "X: "+strings.Repeat("a", 16<<10)), reasonHeadSize, 431},
		{"H6", head("GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1"), reasonTargetLength, 414},
		{"H6", head("GET /" + strings.Repeat("a", 80<<10) + " HTTP/1.1"), reasonTargetLength, 414},
	}
}

// Every refusal net/http knows, and all of ours: the handler answers, on its own and as the second of two pipelined requests; nothing
// behind it is served (C14, C24).
func TestRefusedHeads(t *testing.T) {
	g := startGate(t, Limits{})
	for i, tt := range refusedHeads() {
		t.Run(fmt.Sprintf("%s/%d/%s", tt.row, i, tt.reason), func(t *testing.T) {
			for _, pieces := range [][]string{{tt.raw + good}, {tt.raw}, {good + tt.raw + good}, {good, tt.raw}} {
				before := len(g.all())
				raw := g.send(t, pieces...)
				got := answers(t, raw)
				want := 1
				if strings.HasPrefix(pieces[0], good) {
					want = 2
				}
				if len(got) != want {
					t.Fatalf("%d answers, want %d: %q", len(got), want, raw)
				}
				if last := got[len(got)-1]; last.StatusCode != tt.status || !last.Close {
					t.Errorf("answer %d (close: %v), want %d with close", last.StatusCode, last.Close, tt.status)
				}
				record := g.all()[before:]
				if len(record) != want {
					t.Fatalf("handler saw %d requests, want %d", len(record), want)
				}
				if r := record[want-1].refusal; r == nil || r.Reason != tt.reason {
					t.Errorf("refusal %v, want %s", r, tt.reason)
				}
				if want == 2 && record[0].refusal != nil {
					t.Errorf("the good request was refused: %v", record[0].refusal)
				}
			}
		})
	}
}
