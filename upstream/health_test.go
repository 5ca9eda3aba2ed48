package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func TestActiveHealth(t *testing.T) {
	for _, active := range []string{"tcp", "http"} {
		t.Run(active, func(t *testing.T) {
			a, b := newFaulty(t), newFaulty(t)
			cfg := calm()
			cfg.Health = Health{Active: active, Path: "/health", Interval: 10 * time.Millisecond, Timeout: 100 * time.Millisecond}
			p := pool(t, cfg, Deps{}, a.url(), b.url())
			if active == "http" {
				a.mode.Store("503")
			} else {
				a.kill()
			}
			until(t, "down", func() bool { return p.State()[0].Down })
			for range 20 {
				if status, _, report, err := send(p, get(t, "/"), Call{}); status != 200 || report.Server != b.url() {
					t.Fatal(status, report, err)
				}
			}
			if active == "http" {
				a.mode.Store("good")
			} else {
				a.restart(t)
			}
			until(t, "up again", func() bool { s := p.State(); return s[0].Healthy && s[1].Healthy })
		})
	}
}

// When every server is believed down all are tried: belief may be wrong.
func TestAllDownIsNotNone(t *testing.T) {
	f := newFaulty(t)
	p := pool(t, calm(), Deps{}, f.url())
	p.servers[0].ejector.down.Store(true)
	if status, _, _, err := send(p, get(t, "/"), Call{}); status != 200 || err != nil {
		t.Fatal(status, err)
	}
}

func TestMaxConnections(t *testing.T) {
	release := make(chan struct{})
	var inside, most atomic.Int64
	h := func(w http.ResponseWriter, r *http.Request) {
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		inside.Add(-1)
	}
	cfg := calm()
	cfg.MaxConnections = 2
	p := pool(t, cfg, Deps{}, serve(t, h), serve(t, h))
	out := make(chan string, 9)
	for range 9 {
		go func() {
			_, _, _, err := send(p, get(t, "/"), idempotent)
			out <- reasonOf(err)
		}()
	}
	for range 5 {
		if reason := <-out; reason != ReasonNoServer {
			t.Errorf("%q", reason)
		}
	}
	close(release)
	for range 4 {
		if reason := <-out; reason != "" {
			t.Errorf("%q", reason)
		}
	}
	if most.Load() > 4 {
		t.Errorf("%d at once", most.Load())
	}
}

// A closed pool keeps no connection, finishes what it has and still serves who comes late from before a reload.
func TestClose(t *testing.T) {
	for _, proto := range []string{"http1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			cfg := calm()
			cfg.Protocol = proto
			cfg.Health = Health{Interval: time.Millisecond}
			next := make(chan struct{})
			p := pool(t, cfg, Deps{}, serveProtocol(t, proto, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					return
				}
				fmt.Fprint(w, "a")
				_ = http.NewResponseController(w).Flush()
				<-next
				fmt.Fprint(w, "b")
			}))
			resp, _, err := p.Send(context.Background(), get(t, "/"), idempotent)
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			close(next)
			if body, err := io.ReadAll(resp.Body); string(body) != "ab" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
			if status, _, _, err := send(p, get(t, "/late"), idempotent); status != 200 || err != nil {
				t.Error(status, err)
			}
			if s := p.State()[0]; s.Idle != 0 || s.Busy != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestUnusedConnectionsAreClosed(t *testing.T) {
	cfg := calm()
	cfg.Timeouts.KeepAlive = 100 * time.Millisecond
	p := pool(t, cfg, Deps{}, serve(t, func(http.ResponseWriter, *http.Request) {}))
	if _, _, _, err := send(p, get(t, "/"), idempotent); err != nil {
		t.Fatal(err)
	}
	if s := p.State()[0]; s.Idle != 1 {
		t.Fatalf("%+v", s)
	}
	until(t, "swept", func() bool { return p.State()[0].Idle == 0 })
}
