package adversary

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scriptedAnswers are what the server behind API answers says, by path.
func scriptedAnswers() map[string]string {
	return map[string]string{
		"/injected":    "HTTP/1.1 200 OK\r\nX-A: 1\n 2\r\nContent-Length: 2\r\n\r\n{}",
		"/barelf":      "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
		"/both":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"/early":       strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"/upgraded":    "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n{}",
		"/redirect":    "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
		"/busy":        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
		"/fail":        "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\nServer: shop/1.0\r\n\r\n{}",
		"/unasked":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"/manyfields":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 200_000) + "Content-Length: 2\r\n\r\n{}",
		"/switch":      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"/cut":         "HTTP/1.1 200 OK\r\nContent-Length: 200\r\nConnection: close\r\n\r\nhalf",
		"/product":     "HTTP/1.1 200 OK\r\nServer: shop/1.0\r\nX-Powered-By: PHP/5\r\nContent-Length: 2\r\n\r\n{}",
		"/nothing":     "\r\n",
		"/trailer":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n",
		"/corsopen":    "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\n{}",
		"/negative":    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
		"/twolengths":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"/notmodified": "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
	}
}

// specialAnswers are those that take time or come early.
func specialAnswers() map[string]func(net.Conn) {
	return map[string]func(net.Conn){
		"/early4xx": func(c net.Conn) { // without waiting for the body
			_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
		},
		"/hang": func(c net.Conn) { time.Sleep(5 * time.Second) },
		"/endless": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
			piece := bytes.Repeat([]byte("a"), 64<<10)
			for {
				if _, err := c.Write(piece); err != nil {
					return
				}
			}
		},
	}
}

func ask(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: answers.test\r\n\r\n" }

// C15, C16, H13: an answer that two readers could understand differently is not passed on.
func TestAnswersOfServers(t *testing.T) {
	for _, path := range []string{"/injected", "/barelf", "/both", "/early", "/switch", "/manyfields", "/nothing", "/negative", "/twolengths"} {
		from := source()
		r := shared.sendRaw(t, from, ask(path), true, false)
		e := shared.events.from(t, from, 1)[0]
		if r.status != http.StatusBadGateway || e.Decision.Verdict != "deny" || e.Decision.Guard != "upstream" || r.problem.Event != e.ID {
			t.Errorf("%s: status %d, %+v", path, r.status, e.Decision)
		}
		if strings.Contains(r.fields.Get("X-A"), "2") {
			t.Errorf("%s: passed on %v", path, r.fields)
		}
	}
	for path, not := range map[string][]string{
		"/upgraded": {"Upgrade"}, "/product": {"Server", "X-Powered-By"}, "/trailer": {"Trailer", "X-A"}, "/corsopen": {"Access-Control-Allow-Origin"},
	} {
		r := shared.sendRaw(t, source(), ask(path), true, false)
		if r.status != 200 || r.body != "{}" {
			t.Errorf("%s: status %d, %q", path, r.status, r.body)
		}
		for _, name := range not {
			if r.fields.Get(name) != "" {
				t.Errorf("%s: %s is passed on: %v", path, name, r.fields)
			}
		}
	}
	r := shared.sendRaw(t, source(), ask("/cut"), true, false)
	if r.end == "" {
		t.Errorf("half an answer is passed on as a whole one: %+v", r)
	}
	from := source()
	r = shared.sendRaw(t, from, ask("/hang"), true, false)
	if e := shared.events.from(t, from, 1)[0]; r.status != http.StatusGatewayTimeout || e.Decision.Guard != "upstream" {
		t.Errorf("/hang: status %d, %+v", r.status, e.Decision)
	}
}

// B14: a redirect of a server is the client's to follow. B12: the fields of an error of a server go nowhere else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	before := shared.answers.mark()
	r := shared.sendRaw(t, source(), ask("/redirect"), true, false)
	_, requests, _ := shared.answers.since(before)
	if r.status != http.StatusFound || r.fields.Get("Location") != "http://evil.test/" || len(requests) != 1 {
		t.Errorf("status %d, %v, %d requests at the server", r.status, r.fields, len(requests))
	}
}

// C16: a 200 with Upgrade is no tunnel: what the client sends then is a request of its own.
func TestNoTunnelWithoutSwitching(t *testing.T) {
	before := shared.answers.mark()
	c, err := shared.dial(source())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw := strings.Replace(ask("/upgraded"), "\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n", 1)
	exchange(t, c, raw+"GET /admin/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n", false)
	if _, requests, broken := shared.answers.since(before); len(requests) != 1 || len(broken) != 0 || strings.Contains(requests[0], "admin") {
		t.Errorf("at the server: %q %q", requests, broken)
	}
}

// C13: a server that answers before the body has come: the body is never read as a request, by anybody.
func TestEarlyAnswerAndALateBody(t *testing.T) {
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		from, before := source(), shared.answers.mark()
		inner := "GET /echo-smuggled HTTP/1.1\r\nHost: answers.test\r\n\r\n"
		c, err := shared.dial(from)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		head := fmt.Sprintf("POST /early4xx HTTP/1.1\r\nHost: answers.test\r\nContent-Type: application/octet-stream\r\n%sContent-Length: %d\r\n\r\n", expect, len(inner))
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(c, inner+ask("/echo-own"))
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		all, _ := io.ReadAll(c)
		c.Close()
		shared.sendRaw(t, source(), ask("/echo-next"), true, false) // would meet what is left in a pooled connection
		_, requests, _ := shared.answers.since(before)
		for _, r := range requests {
			if strings.HasPrefix(r, "GET /echo-smuggled") {
				t.Errorf("%q: the body was read as a request: %q", expect, requests)
			}
		}
		if strings.Contains(string(all), "/echo-smuggled") {
			t.Errorf("%q: the client got %q", expect, all)
		}
	}
}

// C20: two users at the same time, among answers that end connections oddly: nobody gets what is another's.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	var both sync.WaitGroup
	var lost atomic.Int64
	for user := range 4 {
		both.Go(func() {
			for i := range 250 {
				path := fmt.Sprintf("/echo-%d-%d", user, i)
				if user == 3 { // makes trouble
					path = []string{"/unasked", "/upgraded", "/cut", "/both", "/early"}[i%5]
				}
				if i%50 == 0 && user == 3 {
					time.Sleep(10 * time.Millisecond)
				}
				r := shared.sendRaw(t, fmt.Sprintf("127.60.%d.%d", user, i/20), ask(path), false, false)
				// A connection that turns out to be poisoned may cost whoever comes next an answer; it never gives them another's.
				if user < 3 && r.status == http.StatusBadGateway && shared.events.id(t, r.problem.Event).Decision.Reason == "upstream.refused_response" {
					lost.Add(1)
				} else if user < 3 && (r.status != 200 || r.body != path) {
					t.Errorf("%s: %d %q", path, r.status, r.body)
				}
			}
		})
	}
	both.Wait()
	t.Logf("%d of 750 requests got no answer since the connection held somebody else's", lost.Load())
	// What is left is bytes that arrive after the connection was taken again: a race that nobody can close from this side.
	if lost.Load() > 10 {
		t.Errorf("%d of 750 requests got no answer", lost.Load())
	}
}

// H13: an endless answer streams and is not collected.
func TestEndlessAnswer(t *testing.T) {
	before := shared.memory(t)
	c, err := shared.dial(source())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, ask("/endless")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, c, 64<<20); err != nil {
		t.Errorf("%d bytes: %v", n, err)
	}
	if grown := shared.memory(t) - before; grown > 30<<20 {
		t.Errorf("%d MB more memory for an answer of 64 MB", grown>>20)
	}
}

// H15: a server that is busy is asked a tenth more at most, and never twice to do something.
func TestRetriesStayWithinTheirBudget(t *testing.T) {
	before := shared.answers.mark()
	const n = 100
	for i := range n {
		shared.sendRaw(t, fmt.Sprintf("127.61.0.%d", 1+i/20), ask("/busy"), false, false)
	}
	gets := shared.answers.asked("GET /busy ", before)
	before = shared.answers.mark()
	for i := range n {
		shared.sendRaw(t, fmt.Sprintf("127.62.0.%d", 1+i/20), "POST /busy HTTP/1.1\r\nHost: answers.test\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\nx", false, false)
	}
	posts := shared.answers.asked("POST /busy ", before)
	t.Logf("%d GETs became %d, %d POSTs became %d", n, gets, n, posts)
	if gets < n || gets > n+n/10+15 || posts != n {
		t.Errorf("%d GETs became %d, %d POSTs became %d", n, gets, n, posts)
	}
}
