package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

type connKey struct{}

// wrapped is a listener whose connections are read strictly.
type wrapped struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(c), nil
}

// seen is what a handler saw of one request.
type seen struct {
	target  string
	body    string
	refusal *Refusal
}

// gate is a real http.Server behind RequestConn on loopback. Its handler answers every request itself and marks its answers; an answer
// without the mark came from net/http.
type gate struct {
	addr    string
	mu      sync.Mutex
	seen    []seen
	handler func(w http.ResponseWriter, r *http.Request, c *RequestConn)
}

const mark = "X-Handler"

func startGate(t testing.TB, lim Limits) *gate {
	t.Helper()
	g := &gate{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	server := &http.Server{
		Handler:                      http.HandlerFunc(g.serve),
		ErrorLog:                     log.New(io.Discard, "", 0),
		DisableGeneralOptionsHandler: true,
		ConnContext:                  connContext,
	}
	go server.Serve(wrapped{l, func(c net.Conn) net.Conn { return NewRequestConn(c, lim, time.Now) }})
	t.Cleanup(func() { server.Close() })
	return g
}

func (g *gate) serve(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*RequestConn)
	w.Header().Set(mark, "yes")
	if refusal := c.Next(); refusal != nil {
		g.record(seen{refusal: refusal})
		http.Error(w, refusal.Reason, refusal.Status)
		return
	}
	if g.handler != nil {
		g.handler(w, r, c)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refusal := c.BodyRefusal()
		g.record(seen{target: r.RequestURI, refusal: refusal})
		var cause *Refusal
		if refusal != nil && !errors.As(err, &cause) && !strings.Contains(err.Error(), "reading trailer") { // net/http masks those
			err = fmt.Errorf("body error is not the refusal: %w", err)
			refusal = &Refusal{Reason: err.Error(), Status: 500}
		}
		if refusal != nil {
			http.Error(w, refusal.Reason, refusal.Status)
		}
		return
	}
	g.record(seen{target: r.RequestURI, body: string(body)})
	io.WriteString(w, "ok "+r.RequestURI)
}

func (g *gate) record(s seen) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, s)
}

func (g *gate) all() []seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]seen(nil), g.seen...)
}

// send writes raw bytes in the given pieces and returns all that comes back until the server closes.
func (g *gate) send(t testing.TB, pieces ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(5 * time.Millisecond)
		}
		if _, err := io.WriteString(c, piece); err != nil {
			break // refused already; the answer is what counts
		}
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("no clean end after %q: %v", all, err)
	}
	return string(all)
}

// answers splits the bytes of a connection into responses and fails when one did not come from the handler.
func answers(t testing.TB, raw string) []*http.Response {
	t.Helper()
	var all []*http.Response
	r := bufio.NewReader(strings.NewReader(raw))
	for {
		if _, err := r.Peek(1); err != nil {
			return all
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("bad answer in %q: %v", raw, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("broken answer in %q: %v", raw, err)
		}
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		if resp.Header.Get(mark) == "" {
			t.Errorf("net/http answered for itself: %q", raw)
		}
		all = append(all, resp)
	}
}
