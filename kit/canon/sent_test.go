package canon

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestManagedFold is B1 and B17 as a property: whatever sign stands between the words, and whatever their case, a server
// that turns names into variables finds no second X-Auth-User.
func TestManagedFold(t *testing.T) {
	const seed, signs = 1, "-.-.!#$%&'*+^`|~"
	random := rand.New(rand.NewPCG(seed, 1))
	opt := &Options{Managed: []string{"X-Auth-User"}}
	for range 5000 {
		name := []byte("x-auth-user")
		for i := range name {
			switch {
			case name[i] == '-':
				name[i] = signs[random.IntN(len(signs))]
			case random.IntN(2) == 0:
				name[i] -= 'a' - 'A'
			}
		}
		c, refusal := New(overHTTP2("GET", "a.test", "/", http.Header{string(name): {"admin"}, "X-Auth-Users": {"kept"}}), "https", opt)
		if refusal != nil || len(c.Fields) != 1 || len(c.Removed) != 1 {
			t.Fatalf("seed %d, %s: %v %+v", seed, name, refusal, c)
		}
	}
}

// upstreamHead writes the head that stands for a canonical request, as simply as it can be done.
func upstreamHead(c *Request) string {
	var out strings.Builder
	out.WriteString(c.Method + " " + c.Path)
	if len(c.Query) > 0 {
		out.WriteString("?" + EncodeQuery(c.Query))
	}
	host := c.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if c.Port != "" {
		host += ":" + c.Port
	}
	out.WriteString(" HTTP/1.1\r\nHost: " + host + "\r\n")
	for name, values := range c.Fields {
		for _, v := range values {
			out.WriteString(name + ": " + v + "\r\n")
		}
	}
	return out.String() + "\r\n"
}

// FuzzNew is the invariant of the product: the request that a server reads from what is sent is the request that was
// judged. The reader behind is net/http, not ours.
func FuzzNew(f *testing.F) {
	for _, s := range []string{
		"GET /a/%62?c=d+e HTTP/1.1\r\nHost: A.test:81\r\nCookie: a=b;c=d\r\nAccept: x/y\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
		"GET https://a.test?x HTTP/1.1\r\nHost: a.test\r\nConnection: close, te\r\nTE: trailers\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add(s)
	}
	opt := &Options{Managed: []string{"X-Gatehouse-Subject"}}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		c, refusal := New(r, "https", opt)
		if refusal != nil {
			return
		}
		head := upstreamHead(c)
		seen, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			t.Fatalf("%q: a server cannot read %q: %v", in, head, err)
		}
		if seen.URL.Path != "/"+strings.Join(c.Segments, "/") || seen.Method != c.Method {
			t.Fatalf("%q: a server reads %s %q, judged was %s %q", in, seen.Method, seen.URL.Path, c.Method, c.Segments)
		}
		again, refusal := New(seen, "https", opt)
		if refusal != nil {
			t.Fatalf("%q: sent %q, which is refused: %v", in, head, refusal)
		}
		// What belongs to the connection is made anew by the one who sends.
		again.Major, again.Length, again.Removed, again.Upgrade = c.Major, c.Length, c.Removed, c.Upgrade
		if c.Upgrade != "" {
			for _, name := range []string{"Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Accept"} {
				delete(c.Fields, name)
			}
		}
		delete(c.Fields, "Te")
		if !reflect.DeepEqual(normal(c), normal(again)) {
			t.Fatalf("%q: judged %+v, a server reads %+v", in, c, again)
		}
	})
}

// normal makes nil and empty lists the same.
func normal(c *Request) Request {
	n := *c
	if len(n.Query) == 0 {
		n.Query = nil
	}
	if len(n.Cookies) == 0 {
		n.Cookies = nil
	}
	return n
}
