package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// talker answers each request on a connection with what answer gives; "" ends the connection.
func talker(answer func(r *http.Request, n int) string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for n := 0; ; n++ {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			text := answer(r, n)
			if _, err := io.WriteString(c, text); err != nil || text == "" {
				return
			}
		}
	}
}

// H13, C15: what a server can say that is never handed up.
func TestRefusedAnswers(t *testing.T) {
	for name, c := range map[string]struct{ answer, reason string }{
		"nothing":               {"", ReasonReset},
		"another protocol":      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", ReasonRefusedResponse},
		"no status":             {"HTTP/1.1 OK\r\n\r\n", ReasonRefusedResponse},
		"a version from afar":   {"HTTP/2.0 200 OK\r\n\r\n", ReasonRefusedResponse},
		"two lengths":           {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ReasonRefusedResponse},
		"a length with a sign":  {"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", ReasonRefusedResponse},
		"an unknown coding":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\na", ReasonRefusedResponse},
		"a field without colon": {"HTTP/1.1 200 OK\r\nX\r\n\r\n", ReasonRefusedResponse},
		"a head without end":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Fill: 0123456789\r\n", 10000), ReasonRefusedResponse},
		"a line without end":    {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 200<<10), ReasonRefusedResponse},
		"100 times 103":         {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100), ReasonRefusedResponse},
		"a switch unasked":      {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", ReasonRefusedResponse},
		"status 099":            {"HTTP/1.1 099 Odd\r\n\r\n", ReasonRefusedResponse},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, calm(), Deps{}, raw(t, talker(func(*http.Request, int) string { return c.answer })))
			_, _, report, err := send(p, get(t, "/"), idempotent)
			if reasonOf(err) != c.reason || report.Attempts != 1 {
				t.Fatalf("%v after %d attempts, want %s", err, report.Attempts, c.reason)
			}
			if s := p.State()[0]; s.Failures != 1 || s.Busy != 0 || s.Idle != 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// C15: a few informational answers are skipped.
func TestInformationalAnswersAreSkipped(t *testing.T) {
	p := pool(t, calm(), Deps{}, raw(t, talker(func(*http.Request, int) string {
		return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", maxInformational) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	})))
	for range 2 {
		if status, body, _, err := send(p, get(t, "/"), idempotent); status != 200 || body != "ok" || err != nil {
			t.Fatal(status, body, err)
		}
	}
}

// H13: servers that make one wait.
func TestTimeouts(t *testing.T) {
	drip := func(head string, every time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			_, _ = io.WriteString(c, head)
			for {
				time.Sleep(every)
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}
	}
	never := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	deaf := func(c net.Conn) { time.Sleep(4 * time.Second) }
	const body = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
	for name, c := range map[string]struct {
		talk func(net.Conn)
		send any
	}{
		"hangs":                    {never, nil},
		"hangs after a body":       {never, "in memory"},
		"hangs after a stream":     {never, strings.NewReader("streamed")},
		"never reads the body":     {deaf, io.LimitReader(zeros{}, 1<<30)},
		"head at a byte a moment":  {drip("HTTP/1.1 200 OK\r\nX: ", 20*time.Millisecond), nil},
		"body stops":               {drip(body, time.Hour), nil},
		"body at a byte a moment":  {drip(body, 20*time.Millisecond), nil},
		"stream at a byte a while": {drip("HTTP/1.1 200 OK\r\n\r\n", 20*time.Millisecond), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pool(t, hasty(), Deps{}, raw(t, c.talk))
			start := time.Now()
			_, _, _, err := send(p, request(t, "POST", "/", c.send), Call{})
			if took := time.Since(start); reasonOf(err) != ReasonTimeout || took > 3*time.Second {
				t.Fatalf("%v after %s", err, took)
			}
			if s := p.State()[0]; s.Failures != 1 || s.Busy != 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A declared stream may be silent for longer than the pauses allowed elsewhere.
func TestStreamMayPause(t *testing.T) {
	for _, proto := range []string{"http1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			cfg := calm()
			cfg.Protocol, cfg.Timeouts.Idle = proto, 50*time.Millisecond
			p := pool(t, cfg, Deps{}, serveProtocol(t, proto, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "a")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(200 * time.Millisecond)
				fmt.Fprint(w, "b")
			}))
			if _, body, _, err := send(p, get(t, "/"), Call{Stream: true}); body != "ab" || err != nil {
				t.Errorf("stream: %q, %v", body, err)
			}
			if _, _, _, err := send(p, get(t, "/"), Call{}); reasonOf(err) != ReasonTimeout {
				t.Errorf("no stream: %v", err)
			}
		})
	}
}

// H13: a body of any size passes through without being kept.
func TestLargeBodiesAreNotCollected(t *testing.T) {
	const size = 256 << 20
	p := pool(t, calm(), Deps{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Got", fmt.Sprint(n))
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	resp, _, err := p.Send(context.Background(), request(t, "PUT", "/", io.LimitReader(zeros{}, size)), idempotent)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	runtime.ReadMemStats(&after)
	if n != size || err != nil || resp.Header.Get("X-Got") != fmt.Sprint(size) {
		t.Errorf("%d bytes, %v, %v", n, err, resp.Header)
	}
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 8<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

// The client leaves: the server is told at once and is not blamed.
func TestClientLeaves(t *testing.T) {
	gone := make(chan struct{})
	var once atomic.Bool
	p := pool(t, calm(), Deps{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		if once.CompareAndSwap(false, true) {
			close(gone)
		}
	}))
	ctx, leave := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, leave)
	_, report, err := p.Send(ctx, get(t, "/"), idempotent)
	if reasonOf(err) != ReasonClientGone || report.Attempts != 1 {
		t.Fatal(err, report)
	}
	select {
	case <-gone:
	case <-time.After(time.Second):
		t.Error("the server was not told")
	}
	if s := p.State()[0]; s.Failures != 0 || s.Busy != 0 || s.Idle != 0 {
		t.Errorf("state %+v", s)
	}
}

// An error of the client's body is the client's, and the request is never completed.
func TestBrokenRequestBody(t *testing.T) {
	for _, proto := range []string{"http1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			var whole atomic.Int64
			cfg := calm()
			cfg.Protocol = proto
			p := pool(t, cfg, Deps{}, serveProtocol(t, proto, func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					whole.Add(1)
				}
			}))
			for name, r := range map[string]*http.Request{
				"error":     request(t, "PUT", "/", io.MultiReader(strings.NewReader("abc"), broken{})),
				"too short": short(request(t, "PUT", "/", strings.NewReader("abc")), 10),
				"too long":  short(request(t, "PUT", "/", strings.NewReader("abcdef")), 3),
			} {
				_, _, report, err := send(p, r, idempotent)
				if proto == "h2c" && name != "error" && err != nil {
					continue // net/http finds the mismatch itself
				}
				if reasonOf(err) != ReasonRequestBody || report.Attempts != 1 {
					t.Errorf("%s: %v after %d attempts", name, err, report.Attempts)
				}
			}
			time.Sleep(20 * time.Millisecond)
			if whole.Load() != 0 {
				t.Errorf("%d requests arrived as if they were whole", whole.Load())
			}
			if s := p.State()[0]; proto == "http1" && s.Failures != 0 || s.Busy != 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func short(r *http.Request, length int64) *http.Request {
	r.ContentLength = length
	return r
}

// What must never be written is refused before anything is.
func TestUnsendable(t *testing.T) {
	for name, spoil := range map[string]func(r *http.Request){
		"method":        func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"connect":       func(r *http.Request) { r.Method = "CONNECT" },
		"host":          func(r *http.Request) { r.Host = "a\r\nX: y" },
		"host with @":   func(r *http.Request) { r.Host = "a@b" },
		"path":          func(r *http.Request) { r.URL.RawPath = "/a b" },
		"path with LF":  func(r *http.Request) { r.URL.RawPath = "/a\nX: y" },
		"path with ?":   func(r *http.Request) { r.URL.RawPath = "/a?b" },
		"two slashes":   func(r *http.Request) { r.URL.RawPath = "//evil/" },
		"no slash":      func(r *http.Request) { r.URL.Opaque = "evil.example/" },
		"query":         func(r *http.Request) { r.URL.RawQuery = "a b" },
		"query with CR": func(r *http.Request) { r.URL.RawQuery = "a\r\nX: y" },
		"fragment":      func(r *http.Request) { r.URL.RawQuery = "a#b" },
		"field name":    func(r *http.Request) { r.Header["X y"] = []string{"z"} },
		"field value":   func(r *http.Request) { r.Header["X"] = []string{"z\r\nY: z"} },
		"length":        func(r *http.Request) { r.ContentLength = 5 },
	} {
		for _, proto := range []string{"http1", "h2c"} {
			t.Run(proto+"/"+name, func(t *testing.T) {
				cfg := calm()
				cfg.Protocol = proto
				p := pool(t, cfg, Deps{}, serveProtocol(t, proto, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
				r := get(t, "/")
				spoil(r)
				if _, _, _, err := send(p, r, idempotent); reasonOf(err) != ReasonUnsendable {
					t.Errorf("%v", err)
				}
				if s := p.State()[0]; s.Failures != 0 || s.Busy != 0 {
					t.Errorf("state %+v", s)
				}
			})
		}
	}
}
