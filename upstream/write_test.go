package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzWrite: what is written is read by net/http as exactly one request, the one that was meant, or is refused.
func FuzzWrite(f *testing.F) {
	f.Add("GET", "/a%2fb", "x=1", "api.example", "X-A", "1", "", int64(0))
	f.Add("POST", "/", "", "a", "Transfer-Encoding", "chunked", "hello", int64(5))
	f.Add("PUT", "/", "", "a", "content-length", "3", "hello", int64(-1))
	f.Add("POST", "/", "", "a\r\nX: y", "X\r\n", "1\r\n\r\nGET / HTTP/1.1", "GET / HTTP/1.1\r\n\r\n", int64(3))
	f.Add("G T", "//evil", "a b", "", "", "", "x", int64(0))
	f.Fuzz(func(t *testing.T, method, path, query, host, name, value, body string, length int64) {
		r := &http.Request{
			Method: method, URL: &url.URL{RawPath: path, RawQuery: query}, Host: host,
			Header: http.Header{name: {value}}, ContentLength: max(length, -1),
		}
		var source *upload
		if body != "" {
			source = newUpload(io.NopCloser(strings.NewReader(body)), r.ContentLength)
		}
		if !validPath(path) || !visible(query, 0) {
			return
		}
		a := &attempt{ctx: context.Background(), req: r, path: path, body: source}
		head, err := checkHead(a)
		if err != nil {
			return
		}
		var wire bytes.Buffer
		w := bufio.NewWriter(&wire)
		writeHead(w, a, head, "default")
		if source != nil {
			if err := writeBody(w, a, head, make([]byte, 7), func() {}); err != nil {
				return
			}
		}
		_ = w.Flush()
		in := bufio.NewReader(bytes.NewReader(wire.Bytes()))
		got, err := http.ReadRequest(in)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse") {
				return // escapes are the canonical form's business
			}
			t.Fatalf("%q: %v", wire.String(), err)
		}
		all, err := io.ReadAll(got.Body)
		if err != nil || string(all) != body || in.Buffered() > 0 {
			t.Fatalf("%q is read as body %q, %d bytes left, %v", wire.String(), all, in.Buffered(), err)
		}
		want := path
		if query != "" {
			want += "?" + query
		}
		if got.Method != method || got.RequestURI != want || host != "" && got.Host != host {
			t.Fatalf("%q is read as %s %s at %s", wire.String(), got.Method, got.RequestURI, got.Host)
		}
	})
}
