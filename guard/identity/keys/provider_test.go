package keys

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// public is an address that may be reached.
const public = "93.184.215.14"

// provider is an issuer at https://example.com whose every answer a test can change. Connections to public addresses end
// at it; connections elsewhere fail and are remembered.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []byte
	answer  http.HandlerFunc // instead of the regular answers
	lookups map[string][]string
	dialled []string
	fetched int // times that the key set was asked for
	clock   time.Time
}

func newProvider(t *testing.T, keys []byte) *provider {
	t.Helper()
	p := &provider{keys: keys, lookups: map[string][]string{"example.com": {public}}, clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Server.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	answer, keys := p.answer, p.keys
	if r.URL.Path == "/keys" {
		p.fetched++
	}
	p.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, r)
	case r.URL.Path == "/realm/.well-known/openid-configuration":
		fmt.Fprint(w, `{"issuer":"https://example.com/realm","jwks_uri":"https://example.com/keys"}`)
	case r.URL.Path == "/keys":
		w.Write(keys)
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) set(change func(p *provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetched
}

func (p *provider) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock
}

func (p *provider) pass(d time.Duration) { p.set(func(p *provider) { p.clock = p.clock.Add(d) }) }

func (p *provider) network() Network {
	return Network{
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			list := make([]netip.Addr, len(p.lookups[host]))
			for i, a := range p.lookups[host] {
				list[i] = netip.MustParseAddr(a)
			}
			return list, nil
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			p.mu.Lock()
			p.dialled = append(p.dialled, to.String())
			p.mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, "tcp", p.Listener.Addr().String())
		},
	}
}

func (p *provider) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

func (p *provider) origin() Origin {
	return Origin{Issuer: "https://example.com/realm", CA: p.authority()}
}

// source is one whose pauses between failures are a millisecond.
func (p *provider) source(t *testing.T) (*Source, chan Status) {
	t.Helper()
	told := make(chan Status, 1000)
	s := NewSource(p.now, p.network(), func(st Status) {
		select {
		case told <- st:
		default:
		}
	})
	s.pause = func(ctx context.Context, _ time.Duration) bool { return sleep(ctx, time.Millisecond) }
	t.Cleanup(s.Close)
	return s, told
}

// until waits for a fetch that ended as wanted, while something asks for keys every few milliseconds.
func until(t *testing.T, told chan Status, good bool, ask ...func() error) Status {
	t.Helper()
	deadline, tick := time.After(5*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case s := <-told:
			if (s.Failure == nil) == good {
				return s
			}
		case <-tick.C:
			for _, f := range ask {
				_ = f()
			}
		case <-deadline:
			t.Fatal("no such fetch in five seconds")
		}
	}
}
