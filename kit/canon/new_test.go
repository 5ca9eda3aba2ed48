package canon

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// overHTTP1 is what net/http's server makes of a head.
func overHTTP1(t testing.TB, lines ...string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.Join(lines, "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:4711"
	return r
}

func get(t testing.TB, lines ...string) *http.Request {
	return overHTTP1(t, append([]string{"GET /x HTTP/1.1", "Host: a.test"}, lines...)...)
}

// overHTTP2 is what net/http's HTTP/2 server hands on, which has checked next to nothing.
func overHTTP2(method, authority, path string, fields http.Header) *http.Request {
	if fields == nil {
		fields = http.Header{}
	}
	return &http.Request{Method: method, Host: authority, RequestURI: path, ProtoMajor: 2, Proto: "HTTP/2.0", Header: fields, RemoteAddr: "192.0.2.1:4711"}
}

func TestNew(t *testing.T) {
	r := overHTTP1(t, "POST /%6frders/7?q=a+b HTTP/1.1", "Host: A.Test.:8443", "Content-Length: 2", "Cookie: s=1; t=\"2\"", "Accept: a/b", "Accept: c/d",
		"Connection: keep-alive, TE", "Keep-Alive: 5", "TE: trailers", "Expect: 100-continue")
	c, refusal := New(r, "https", nil)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if c.Method != "POST" || c.Scheme != "https" || c.Host != "a.test" || c.Port != "8443" || c.Path != "/orders/7" || c.Major != 1 || c.Length != 2 || c.Upgrade != "" {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Segments, []string{"orders", "7"}) || !slices.Equal(c.Query, []Pair{{"q", "a b"}}) || !slices.Equal(c.Cookies, []Pair{{"s", "1"}, {"t", `"2"`}}) {
		t.Errorf("%+v", c)
	}
	if len(c.Fields) != 2 || len(c.Fields["Accept"]) != 2 || c.Fields.Get("Cookie") != `s=1; t="2"` || len(c.Removed) != 0 {
		t.Errorf("fields %q, removed %q", c.Fields, c.Removed)
	}
}

func TestRefused(t *testing.T) {
	many := func(n int, line func(i int) string) (lines []string) {
		for i := range n {
			lines = append(lines, line(i))
		}
		return lines
	}
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, c := range []struct {
		row     string
		request *http.Request
		reason  string
		status  int
	}{
		{"A11", overHTTP1(t, "GET /public#/../admin HTTP/1.1", "Host: a"), pathFragment, 400},
		{"A11", overHTTP1(t, "GET /public?a=1#x HTTP/1.1", "Host: a"), pathFragment, 400},
		{"A20", overHTTP1(t, "GET /x HTTP/1.0"), hostMissing, 400},
		{"A21", get(t, "Connection: close", "X-Y: z").WithContext(t.Context()), "", 0},
		{"", overHTTP1(t, "OPTIONS * HTTP/1.1", "Host: a"), targetForm, 400},
		{"", overHTTP1(t, "GET /"+strings.Repeat("a", 9000)+" HTTP/1.1", "Host: a"), targetTooLong, 414},
		{"A21", overHTTP1(t, "GET https://a.test/x HTTP/1.1", "Host: a.test"), "", 0},
		{"A21", overHTTP1(t, "GET https://a.test HTTP/1.1", "Host: a.test"), "", 0},
		{"A21", overHTTP1(t, "GET http://a.test/x HTTP/1.1", "Host: a.test"), targetScheme, 421},
		{"A18", overHTTP1(t, "GET https://u@a.test/x HTTP/1.1", "Host: u@a.test"), hostMalformed, 400},
		{"A26", overHTTP1(t, "GET /x?"+strings.Repeat("a&", 300)+"role=admin HTTP/1.1", "Host: a"), queryTooMany, 400},
		{"B2", get(t, "X_Auth_User: admin"), fieldUnderscore, 400},
		{"B3", get(t, "Connection: close, X-User"), fieldConnection, 400},
		{"B3", get(t, "Connection: Authorization"), fieldConnection, 400},
		{"B3", get(t, "Connection: keep-alive", "Connection: x-forwarded-for"), fieldConnection, 400},
		{"B7", get(t, "Authorization: Bearer a", "Authorization: Bearer b"), fieldDuplicate, 400},
		{"B7", get(t, "X-Api-Key: a", "x-api-key: a"), fieldDuplicate, 400},
		{"B7", get(t, "Content-Type: a/b", "Content-Type: c/d"), fieldDuplicate, 400},
		{"B7", get(t, "Cookie: a=1", "Cookie: b=1"), fieldDuplicate, 400},
		{"B10", get(t, "Trailer: X-User"), fieldTrailer, 400},
		{"B10", overHTTP1(t, "POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-User"), fieldTrailer, 400},
		{"B16", get(t, many(129, func(i int) string { return "A" + strconv.Itoa(i) + ": 1" })...), fieldTooMany, 431},
		{"B16", get(t, many(126, func(i int) string { return "A" + strconv.Itoa(i) + ": 1" })...), "", 0},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket", key, "Sec-WebSocket-Version: 777"), upgradeVersion, 426},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket", key), upgradeVersion, 426},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=*", "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C18", get(t, "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket, h2c", key, "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C18", get(t, "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3", key, "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C18", overHTTP1(t, "POST /x HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: WebSocket", key, "Sec-WebSocket-Version: 13"), upgradeMalformed, 400},
		{"C19", overHTTP1(t, "CONNECT a:443 HTTP/1.1", "Host: a:443"), methodRefused, 405},
		{"C21", overHTTP1(t, "TRACE /x HTTP/1.1", "Host: a"), methodRefused, 405},
		{"C22", overHTTP1(t, "get /x HTTP/1.1", "Host: a"), methodMalformed, 400},
		{"C22", overHTTP1(t, "FOO /x HTTP/1.1", "Host: a"), methodRefused, 405},
		{"E27", get(t, "Cookie: "+strings.Repeat("a=1; ", 65)+"z=1"), cookieTooMany, 431},
		{"E27", get(t, "Cookie: a="+strings.Repeat("x", 8200)), cookieTooMany, 431},
		{"E27", get(t, "Cookie: a="+strings.Repeat("x", 8<<10-2)), "", 0},
		{"E27", get(t, "Cookie: a="+strings.Repeat("x", 8<<10-1)), cookieTooMany, 431},
		{"E28", get(t, "Cookie: s=1; s=2"), cookieDuplicate, 400},
		{"E28", get(t, `Cookie: "s"=3`), cookieMalformed, 400},
		{"E28", get(t, "Cookie: $Version=1; a=b"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: __Host-s=1; __Secure-t=2; __x=3; %41=4"), "", 0},
		{"E28", get(t, "Cookie: __host-s=1"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: ..Host-s=1"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: %5f%5fHost-s=1"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: s"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: =s"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: a=1;;b=2"), cookieMalformed, 400},
		{"E28", get(t, "Cookie: "), cookieMalformed, 400},
		{"E28", get(t, `Cookie: a="b; c=d"`), cookieMalformed, 400},
		{"E28", get(t, "Cookie: a=b,c=d"), cookieMalformed, 400},
		{"", get(t, "Range: bytes=0-1,2-3,4-5,6-7,8-9,10-11"), fieldRange, 400},
		{"", get(t, "Range: bytes=0-1,2-3,4-5,6-7,8-9"), "", 0},

		{"A14", overHTTP2("GET", "a.test", "admin/x", nil), targetForm, 400},
		{"A14", overHTTP2("GET", "a.test", "http://b/x", nil), targetForm, 400},
		{"A14", overHTTP2("GET", "a.test", "", nil), targetForm, 400},
		{"A19", overHTTP2("GET", "a.test/x", "/", nil), hostMalformed, 400},
		{"A19", overHTTP2("GET", "a.test x", "/", nil), hostMalformed, 400},
		{"A20", overHTTP2("GET", "", "/", nil), hostMissing, 400},
		{"A21", overHTTP2("GET", "a.test", "/", http.Header{"Host": {"b.test"}}), hostMismatch, 400},
		{"A21", overHTTP2("GET", "a.test", "/", http.Header{"Host": {"A.test."}}), "", 0},
		{"A21", overHTTP2("GET", "a.test", "/", http.Header{"Host": {"a.test", "a.test"}}), fieldDuplicate, 400},
		{"D9", overHTTP2("GET /admin HTTP/1.1", "a.test", "/", nil), methodMalformed, 400},
		{"D9", overHTTP2("", "a.test", "/", nil), methodMalformed, 400},
		{"D10", overHTTP2("POST", "a.test", "/", http.Header{"Content-Length": {"3", "4"}}), fieldLength, 400},
		{"D10", overHTTP2("POST", "a.test", "/", http.Header{"Content-Length": {"3"}}), fieldLength, 400},
		{"D10", overHTTP2("POST", "a.test", "/", http.Header{"Content-Length": {"+0"}}), fieldLength, 400},
		{"C19", overHTTP2("CONNECT", "a.test:443", "", nil), methodRefused, 405},
		{"C17", overHTTP2("GET", "a.test", "/", http.Header{"Upgrade": {"h2c"}}), fieldConnection, 400},
		{"B3", overHTTP2("GET", "a.test", "/", http.Header{"Connection": {"close"}}), fieldConnection, 400},
		{"B3", overHTTP2("GET", "a.test", "/", http.Header{"Te": {"gzip"}}), fieldConnection, 400},
		{"", overHTTP2("GET", "a.test", "/", http.Header{"Bad Name": {"1"}}), fieldName, 400},
		{"", overHTTP2("GET", "a.test", "/", http.Header{"": {"1"}}), fieldName, 400},
		{"", overHTTP2("GET", "a.test", "/", http.Header{":path": {"1"}}), fieldName, 400},
		{"C11", overHTTP2("GET", "a.test", "/", http.Header{"X": {"long enough\x00 value"}}), fieldBytes, 400},
		{"C11", overHTTP2("GET", "a.test", "/", http.Header{"X": {"a\r\nb"}}), fieldBytes, 400},
		{"C11", overHTTP2("GET", "a.test", "/", http.Header{"X": {"1234567\x7f"}}), fieldBytes, 400},
		{"", overHTTP2("GET", "a.test", "/", http.Header{"X": {" a"}}), fieldBytes, 400},
		{"", overHTTP2("GET", "a.test", "/", http.Header{"X": {"tab\tand \xc3\xa9 and more"}}), "", 0},
		{"B7", overHTTP2("GET", "a.test", "/", http.Header{"Cookie": {"a=1", "b=2"}}), "", 0},
	} {
		_, refusal := New(c.request, "https", nil)
		switch {
		case c.reason == "" && refusal != nil:
			t.Errorf("%s %s %.60s %.200q: refused, %v", c.row, c.request.Method, c.request.RequestURI, c.request.Header, refusal)
		case c.reason != "" && refusal == nil:
			t.Errorf("%s %s %.60s %.200q: accepted, want %s", c.row, c.request.Method, c.request.RequestURI, c.request.Header, c.reason)
		case c.reason != "" && (refusal.Reason != c.reason || refusal.Status != c.status):
			t.Errorf("%s %s %.60s: %v with %d, want %s with %d", c.row, c.request.Method, c.request.RequestURI, refusal, refusal.Status, c.reason, c.status)
		}
	}
}

// A server that reads names of fields loosely (B1, B17) must find nothing that we did not put there.
func TestManagedFields(t *testing.T) {
	opt := &Options{Managed: []string{"X-Auth-User", "Gatehouse-Subject"}}
	fold := strings.NewReplacer("_", "-", ".", "-", "^", "-", " ", "-")
	for _, name := range []string{"X-Auth-User", "x-auth-user", "X-AUTH-USER", "X.Auth.User", "X-Auth.User", "X^Auth-User", "x.auth-USER", "gatehouse.subject"} {
		for _, r := range []*http.Request{get(t, name+": admin"), overHTTP2("GET", "a.test", "/", http.Header{name: {"admin", "root"}})} {
			c, refusal := New(r, "https", opt)
			if refusal != nil {
				t.Errorf("%s: %v", name, refusal)
				continue
			}
			for left := range c.Fields {
				if f := http.CanonicalHeaderKey(fold.Replace(left)); f == "X-Auth-User" || f == "Gatehouse-Subject" {
					t.Errorf("%s reached the server as %s", name, left)
				}
			}
			if len(c.Removed) != 1 {
				t.Errorf("%s: removed %q", name, c.Removed)
			}
		}
	}
}

func TestRemovedFields(t *testing.T) { // B4, B5, B9, C17, E27
	lines := []string{
		"X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
		"X-Original-Host: b", "Forwarded: for=1.1.1.1", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Uri: /public", "X-Forwarded-Client-Cert: x",
		"X-Real-IP: 1.1.1.1", "True-Client-IP: 1.1.1.1", "CF-Connecting-IP: 1.1.1.1", "Proxy: evil:80", "Accept-Charset: utf-7",
		"X.Forwarded.For: 1.1.1.1", "Content.Length: 5", "Content^Type: a/b", "X-Middleware-Subrequest: 1", "Client-Cert: x", "X-Auth-Request-User: root",
	}
	silent := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Keep-Alive: 1", "Proxy-Connection: close",
		"Proxy-Authorization: Basic eA==", "TE: trailers", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 1"}
	c, refusal := New(get(t, append(append([]string{"X-Kept: 1", "X.Also.Kept: 1"}, lines...), silent...)...), "https", nil)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if len(c.Fields) != 2 || c.Fields.Get("X-Kept") != "1" || c.Fields.Get("X.also.kept") != "1" || c.Upgrade != "" {
		t.Errorf("left: %q", c.Fields)
	}
	if len(c.Removed) != len(lines)+1 || !slices.IsSorted(c.Removed) || !slices.Contains(c.Removed, "Upgrade") {
		t.Errorf("%d removed: %q", len(c.Removed), c.Removed)
	}
	opt := &Options{Trusted: func(a netip.Addr) bool { return a.String() == "192.0.2.1" }}
	c, refusal = New(get(t, "X-Forwarded-For: 1.1.1.1", "X-Original-URL: /admin"), "https", opt)
	if refusal != nil || len(c.Fields) != 0 || !slices.Equal(c.Removed, []string{"X-Original-Url"}) {
		t.Errorf("behind our own proxy: %q %q %v", c.Fields, c.Removed, refusal)
	}
}

func TestUpgradeAndTrailers(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	c, refusal := New(get(t, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: "+key, "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"), "https", nil)
	if refusal != nil || c.Upgrade != "websocket" || c.Fields.Get("Sec-Websocket-Key") != key || c.Fields.Get("Upgrade") != "" || c.Fields.Get("Connection") != "" {
		t.Errorf("%+v %v", c, refusal)
	}
	grpc := http.Header{"Te": {"trailers"}, "Content-Type": {"application/grpc+proto"}}
	if c, refusal = New(overHTTP2("POST", "a.test", "/pkg.Svc/Method", grpc), "https", nil); refusal != nil || c.Fields.Get("Te") != "trailers" {
		t.Errorf("gRPC: %+v %v", c, refusal)
	}
	r := overHTTP2("POST", "a.test", "/x", nil)
	r.Trailer = http.Header{"Digest": nil}
	if _, refusal = New(r, "https", &Options{Trailers: []string{"Digest"}}); refusal != nil {
		t.Errorf("an allowed trailer: %v", refusal)
	}
	if c, refusal = New(overHTTP2("GET", "a.test", "/", http.Header{"Cookie": {"a=1", "b=2"}}), "https", nil); refusal != nil || c.Fields.Get("Cookie") != "a=1; b=2" {
		t.Errorf("cookies of HTTP/2: %+v %v", c, refusal)
	}
	if c, refusal = New(get(t, "Cookie: a=1;b=2;"), "https", nil); refusal != nil || c.Fields.Get("Cookie") != "a=1; b=2" {
		t.Errorf("loose cookies: %+v %v", c, refusal)
	}
}

// TestCookieField: the field that is sent is always what was read.
func TestCookieField(t *testing.T) {
	for _, line := range []string{"a=1", "a=1; b=2", "a=1;b=2", "a=1;  b=2", "a=1 ; b=2", "a=1;\tb=2", "a=1;", "a=1; ", " a=1;b=2 ;"} {
		r := overHTTP2("GET", "a.test", "/", nil)
		r.ProtoMajor, r.Header = 1, http.Header{"Cookie": {line}}
		c, refusal := New(r, "https", nil)
		if refusal != nil {
			t.Errorf("%q: %v", line, refusal)
		} else if got := c.Fields["Cookie"]; len(got) != 1 || got[0] != EncodeCookies(c.Cookies) {
			t.Errorf("%q: sent %q, read %q", line, got, c.Cookies)
		}
	}
}

// TestSent: what is sent from the canonical request has it as its canonical request (A22).
func TestSent(t *testing.T) {
	r := overHTTP1(t, "GET /%61/%e2%82%ac?x=%20&y HTTP/1.1", "Host: A.test:81", "Cookie: a=b;c=d")
	c, refusal := New(r, "https", nil)
	if refusal != nil {
		t.Fatal(refusal)
	}
	again, refusal := New(overHTTP1(t, c.Method+" "+c.Path+"?"+EncodeQuery(c.Query)+" HTTP/1.1", "Host: "+c.Host+":"+c.Port, "Cookie: "+c.Fields.Get("Cookie")), "https", nil)
	if refusal != nil || again.Path != c.Path || !slices.Equal(again.Query, c.Query) || again.Host != c.Host || again.Port != c.Port || !slices.Equal(again.Cookies, c.Cookies) {
		t.Errorf("%+v\n%+v\n%v", c, again, refusal)
	}
}

// TestRefusalsKeepSecrets: K2, details name places, not values.
func TestRefusalsKeepSecrets(t *testing.T) {
	const canary = "hunter2canary"
	for _, r := range []*http.Request{
		get(t, "Cookie: s="+canary+",x"), get(t, "Cookie: "+canary), get(t, "Authorization: "+canary, "Authorization: "+canary),
		overHTTP2("GET", "a.test", "/"+canary+"/../x", nil), overHTTP2("GET", "a.test", "/x?"+canary+"=%zz"+canary, nil),
		overHTTP2("GET", canary+"@x", "/", nil), overHTTP2("GET", "a.test", "/", http.Header{"X": {canary + "\x00"}}),
		overHTTP2("GET", "a.test", "/", http.Header{"Content-Length": {canary}}),
	} {
		if _, refusal := New(r, "https", nil); refusal == nil || strings.Contains(refusal.Error(), canary) {
			t.Errorf("%v", refusal)
		}
	}
}

func TestFieldValueBytes(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for b := range 256 {
				v := []byte(strings.Repeat("~", length))
				v[at] = byte(b)
				if want := b == '\t' || b >= 0x20 && b != 0x7f; isFieldValue(string(v)) != want {
					t.Fatalf("byte %#x at %d of %d: want %v", b, at, length, want)
				}
			}
		}
	}
}

func browser() *http.Request {
	r := httptest.NewRequest("GET", "/orders/1234?expand=items&page=2", nil)
	r.RemoteAddr, r.Host, r.Header = "192.0.2.1:4711", "shop.example:8443", http.Header{}
	return r
}

func fillBrowser(h http.Header) {
	h["User-Agent"] = []string{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"}
	h["Accept"] = []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}
	h["Accept-Language"] = []string{"en-GB,en;q=0.9"}
	h["Accept-Encoding"] = []string{"gzip, deflate, br, zstd"}
	h["Connection"] = []string{"keep-alive"}
	h["Cookie"] = []string{"__Host-session=Zm9vYmFyYmF6cXV4; theme=dark"}
	h["Authorization"] = []string{"Bearer " + strings.Repeat("abcdefgh", 80)}
	h["Referer"] = []string{"https://shop.example:8443/orders"}
	h["Sec-Fetch-Dest"] = []string{"empty"}
	h["Sec-Fetch-Mode"] = []string{"cors"}
	h["Sec-Fetch-Site"] = []string{"same-origin"}
	h["Sec-Ch-Ua-Platform"] = []string{`"Linux"`}
}

func BenchmarkNew(b *testing.B) {
	opt := &Options{Managed: []string{"X-Gatehouse-Subject", "X-Gatehouse-Issuer", "X-Gatehouse-Roles", "X-Gatehouse-Scopes", "X-Gatehouse-Event"}}
	r := browser()
	fillBrowser(r.Header)
	connection := []string{"keep-alive"}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Connection"] = connection // what New takes away
		if _, refusal := New(r, "https", opt); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
