package canon

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// verdictOverHTTP2 sends one HEADERS frame with these fields, as they are, to net/http's HTTP/2 server and gives what New
// said of the request, or what refused it before: "" with a refused stream or connection.
func verdictOverHTTP2(t *testing.T, address string, fields [][2]string) (answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range f.RegularFields() {
				if field.Name == "reason" {
					return field.Value
				}
			}
			return f.PseudoValue("status") // net/http answered by itself
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// TestOverRealHTTP2: what a client can really get past net/http's HTTP/2 server is refused here.
func TestOverRealHTTP2(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, DisableGeneralOptionsHandler: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, refusal := New(r, "https", &Options{Managed: []string{"X-Auth-User"}})
		if refusal != nil {
			w.Header().Set("Reason", refusal.Reason)
			return
		}
		w.Header().Set("Reason", "accepted "+c.Method+" "+c.Host+" "+c.Path+" cookies "+EncodeCookies(c.Cookies))
	})}
	go server.Serve(listener)
	defer server.Close()

	head := func(method, authority, path string, more ...[2]string) [][2]string {
		fields := [][2]string{{":method", method}, {":scheme", "https"}}
		if authority != "" {
			fields = append(fields, [2]string{":authority", authority})
		}
		return append(append(fields, [2]string{":path", path}), more...)
	}
	for _, c := range []struct {
		row    string
		fields [][2]string
		want   []string // any of these; "" is a refused stream, "400" is net/http's own answer
	}{
		{"", head("GET", "a.test", "/x?y=1"), []string{"accepted GET a.test /x cookies "}},
		{"", head("GET", "A.test.", "/%61", [2]string{"cookie", "a=1"}, [2]string{"cookie", "b=2"}), []string{"accepted GET a.test /a cookies a=1; b=2"}},
		{"A1", head("GET", "a.test", "/a%2f..%2fadmin/x"), []string{pathEncodedSlash}},
		{"A3", head("GET", "a.test", "/a/../admin"), []string{pathDotSegment}},
		{"A4", head("GET", "a.test", "//admin"), []string{pathEmptySegment}},
		{"A11", head("GET", "a.test", "/public#/../admin"), []string{pathFragment}},
		{"A14", head("GET", "a.test", "admin/x"), []string{targetForm, ""}},
		{"A14", head("GET", "a.test", "http://b/x"), []string{targetForm}},
		{"A14", head("OPTIONS", "a.test", "*"), []string{targetForm}},
		{"A19", head("GET", "a.test/x", "/"), []string{hostMalformed}},
		{"A19", head("GET", "a.test x", "/"), []string{hostMalformed, ""}},
		{"A18", head("GET", "u@a.test", "/"), []string{hostMalformed, ""}},
		{"A20", head("GET", "", "/"), []string{hostMissing}},
		{"A20", head("GET", "", "/", [2]string{"host", "b.test"}), []string{"accepted GET b.test / cookies "}},
		{"A21", head("GET", "a.test", "/", [2]string{"host", "b.test"}), []string{hostMismatch}},
		{"D9", head("GET /admin HTTP/1.1", "a.test", "/"), []string{methodMalformed, ""}},
		{"C22", head("get", "a.test", "/"), []string{methodMalformed}},
		{"C22", head("FOO", "a.test", "/"), []string{methodRefused}},
		{"C21", head("TRACE", "a.test", "/"), []string{methodRefused}},
		{"C19", [][2]string{{":method", "CONNECT"}, {":authority", "a.test:443"}}, []string{methodRefused}},
		{"D10", head("POST", "a.test", "/", [2]string{"content-length", "3"}, [2]string{"content-length", "4"}), []string{fieldLength, ""}},
		{"D10", head("POST", "a.test", "/", [2]string{"content-length", "0"}, [2]string{"content-length", "4"}), []string{fieldLength, ""}},
		{"D10", head("POST", "a.test", "/", [2]string{"content-length", "+0"}), []string{fieldLength, ""}},
		{"C17", head("GET", "a.test", "/", [2]string{"upgrade", "h2c"}), []string{fieldConnection, "400", ""}},
		{"B3", head("GET", "a.test", "/", [2]string{"connection", "x-user"}), []string{fieldConnection, "400", ""}},
		{"B3", head("GET", "a.test", "/", [2]string{"transfer-encoding", "chunked"}), []string{fieldConnection, "400", ""}},
		{"B2", head("GET", "a.test", "/", [2]string{"x_auth_user", "admin"}), []string{fieldUnderscore}},
		{"B7", head("GET", "a.test", "/", [2]string{"authorization", "a"}, [2]string{"authorization", "b"}), []string{fieldDuplicate}},
		{"B10", head("GET", "a.test", "/", [2]string{"trailer", "x-user"}), []string{fieldTrailer}},
		{"C11", head("GET", "a.test", "/", [2]string{"x", "a\r\nb"}), []string{fieldBytes, ""}},
		{"C11", head("GET", "a.test", "/", [2]string{"x", " a"}), []string{fieldBytes, ""}},
		{"E28", head("GET", "a.test", "/", [2]string{"cookie", "s=1"}, [2]string{"cookie", "s=2"}), []string{cookieDuplicate}},
	} {
		got := verdictOverHTTP2(t, listener.Addr().String(), c.fields)
		ok := false
		for _, w := range c.want {
			ok = ok || got == w
		}
		if !ok {
			t.Errorf("%s %q: %q, want one of %q", c.row, c.fields, got, c.want)
		}
	}
}
