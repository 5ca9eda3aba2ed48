package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// vault is a place from which secrets can be exchanged and withdrawn at any moment, as the keeper's are.
type vault struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (v *vault) put(c certificate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = map[string][]byte{"chain": c.chain, "key": c.key}
}

func (v *vault) withdraw(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.all, name)
}

func (v *vault) resolve(ref secret.Ref) (secret.Value, error) {
	name := ref.String()[len("file:/"):]
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all[name] == nil {
		return secret.Value{}, errors.New("secret " + name + " was withdrawn")
	}
	return secret.New(append([]byte(nil), v.all[name]...), name) // other memory each time
}

// witnessed is a pool whose pair lies in a vault, and a server that answers with the name it was shown. Requests for /slow are
// answered in two halves, the second when the test says so.
type witnessed struct {
	pool  *Pool
	vault *vault
	open  *atomic.Int64 // connections at the server
	half  chan struct{}
}

func witness(t *testing.T, protocol string) witnessed {
	t.Helper()
	w := witnessed{vault: &vault{}, open: new(atomic.Int64), half: make(chan struct{})}
	address, ca := secured(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				w.open.Add(1)
			case http.StateClosed:
				w.open.Add(-1)
			}
		}
		s.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			name := r.TLS.PeerCertificates[0].Subject.CommonName
			if r.URL.Path == "/slow" {
				_, _ = rw.Write([]byte("slow "))
				rw.(http.Flusher).Flush()
				<-w.half
			}
			_, _ = rw.Write([]byte(name))
		})
	})
	cfg := calm()
	cfg.Protocol, cfg.TLS = protocol, TLS{CA: ca}
	_ = cfg.TLS.ClientCert.UnmarshalText([]byte("file:/chain"))
	_ = cfg.TLS.ClientKey.UnmarshalText([]byte("file:/key"))
	w.vault.put(newCertificate(t, "first"))
	w.pool = pool(t, cfg, Deps{Resolve: w.vault.resolve}, address)
	return w
}

func (w witnessed) ask(t *testing.T) (name string, reused bool, err error) {
	status, body, report, err := send(w.pool, get(t, "/"), Call{})
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return body, report.Reused, err
}

// gone waits until the server has no more than most connections.
func (w witnessed) gone(t *testing.T, most int64) {
	t.Helper()
	for range 200 {
		if w.open.Load() <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d connections are still open, want %d", w.open.Load(), most)
}

// Row I6: kept connections don't outlive the pair that they began with. A rotated one is shown with the next request, a
// withdrawn one lets nothing through, and one that comes back opens the way again.
func TestKeptConnectionsFollowThePair(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			w := witness(t, protocol)
			expect := func(want string, kept bool) {
				t.Helper()
				if name, reused, err := w.ask(t); name != want || reused != kept || err != nil {
					t.Fatalf("shown %q, kept connection: %t, %v; want %q, %t", name, reused, err, want, kept)
				}
			}
			expect("first", false)
			expect("first", true) // the same bytes in other memory are no change
			second := newCertificate(t, "second")
			w.vault.put(second)
			expect("second", false)
			expect("second", true)
			w.gone(t, 1)
			for _, name := range []string{"key", "chain"} {
				w.vault.withdraw(name)
				for range 3 {
					_, _, err := w.ask(t)
					var e *Error
					if !errors.As(err, &e) || e.Reason != ReasonCertificate || e.Status != 503 {
						t.Fatalf("without %s: %v", name, err)
					}
				}
				w.gone(t, 0)
				if s := w.pool.State()[0]; s.Failures != 0 || !s.Healthy || s.Breaker != "closed" {
					t.Errorf("the server is blamed: %+v", s)
				}
				w.vault.put(second)
				expect("second", false)
			}
		})
	}
}

// What is in progress while the pair changes goes on to its end; its connection then serves nobody else.
func TestExchangeOutlivesThePair(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			w := witness(t, protocol)
			resp, _, err := w.pool.Send(context.Background(), get(t, "/slow"), Call{})
			if err != nil {
				t.Fatal(err)
			}
			w.vault.withdraw("key")
			if _, _, err := w.ask(t); reasonOf(err) != ReasonCertificate {
				t.Errorf("withdrawn: %v", err)
			}
			w.vault.put(newCertificate(t, "second"))
			if name, _, err := w.ask(t); name != "second" || err != nil {
				t.Errorf("shown %q, %v", name, err)
			}
			close(w.half)
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(body) != "slow first" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
			if name, reused, err := w.ask(t); name != "second" || !reused || err != nil {
				t.Errorf("afterwards shown %q, kept connection: %t, %v", name, reused, err)
			}
			w.gone(t, 1)
		})
	}
}

// Under traffic from many, no request fails when the pair is exchanged, and none that began afterwards shows the old one.
func TestRotationUnderTraffic(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			w := witness(t, protocol)
			var wait sync.WaitGroup
			var sent atomic.Int64
			var turn atomic.Int64 // how many certificates are certainly in place
			names := []string{"first", "second", "third", "fourth", "fifth"}
			done := make(chan struct{})
			for range 8 {
				wait.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						least := turn.Load()
						name, _, err := w.ask(t)
						sent.Add(1)
						if err != nil || slices.Index(names, name) < int(least) {
							t.Errorf("shown %q after %q was in place, %v", name, names[least], err)
							return
						}
					}
				})
			}
			for i, name := range names[1:] {
				before := sent.Load()
				for sent.Load() < before+50 && !t.Failed() {
					time.Sleep(time.Millisecond)
				}
				w.vault.put(newCertificate(t, name))
				turn.Store(int64(i + 1))
			}
			time.Sleep(50 * time.Millisecond)
			close(done)
			wait.Wait()
			if dials := w.pool.State()[0].Dials; dials > int64(8*len(names)*2) {
				t.Errorf("%d connections for %d requests", dials, sent.Load())
			}
		})
	}
}

// Nobody needs to ask for a withdrawn pair's connections to end.
func TestUnusedConnectionsFollowThePair(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		w := witness(t, protocol)
		if _, _, err := w.ask(t); err != nil {
			t.Fatal(err)
		}
		w.vault.withdraw("chain")
		w.pool.servers[0].engine.reap(time.Now())
		w.gone(t, 0)
	}
}
