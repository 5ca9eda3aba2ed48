package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve starts a loopback server and gives its URL.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// raw starts a loopback server that hands each connection to talk.
func raw(t testing.TB, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				talk(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// calm is a configuration without probes, whose limits a busy machine doesn't reach.
func calm() Config {
	return Config{
		Health:   Health{Active: "off", EjectFor: 100 * time.Millisecond, EjectMax: 400 * time.Millisecond},
		Timeouts: Timeouts{Connect: 2 * time.Second, FirstByte: 5 * time.Second, Idle: 5 * time.Second, KeepAlive: 10 * time.Second},
	}
}

// hasty is one whose limits are short enough to be waited for.
func hasty() Config {
	cfg := calm()
	cfg.Timeouts.FirstByte, cfg.Timeouts.Idle = 300*time.Millisecond, 300*time.Millisecond
	return cfg
}

func pool(t testing.TB, cfg Config, deps Deps, targets ...string) *Pool {
	t.Helper()
	p, err := New(cfg, targets, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// request makes what the pipeline would hand over. A body of type string is in memory, any other streams.
func request(t testing.TB, method, path string, body any) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://x"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "api.example"
	switch b := body.(type) {
	case nil:
	case string:
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(b)), int64(len(b))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(b)), nil }
	case io.Reader:
		r.Body, r.ContentLength = io.NopCloser(b), -1
	}
	return r
}

func get(t testing.TB, path string) *http.Request { return request(t, "GET", path, nil) }

var idempotent = Call{Idempotent: true}

// send sends and reads the whole answer.
func send(p *Pool, r *http.Request, call Call) (int, string, Report, error) {
	resp, report, err := p.Send(context.Background(), r, call)
	if err != nil {
		return 0, "", report, err
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String(), report, err
}

// reasonOf is the reason in err, or "" without one.
func reasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
