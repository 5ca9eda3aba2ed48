package keys

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// Source makes rings and keeps them over reloads: the same origin gives the same ring, keys and all. It is made once.
type Source struct {
	now     func() time.Time
	network Network
	report  func(Status)
	pause   func(ctx context.Context, d time.Duration) bool

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	rings map[[sha256.Size]byte]*Ring

	life   sync.Mutex
	closed bool
}

// NewSource makes a source. Report is told, from another goroutine, how each fetch ended; nil tells nobody.
func NewSource(now func() time.Time, network Network, report func(Status)) *Source {
	if report == nil {
		report = func(Status) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Source{now: now, network: network, report: report, pause: sleep, ctx: ctx, cancel: cancel,
		rings: map[[sha256.Size]byte]*Ring{}}
}

// Open gives the ring of an origin. Keys in a file are read now, and a file that is missing or holds no usable key is an
// error (row I5). Keys elsewhere are fetched in the background: Open doesn't wait for them, and until they are there Find
// says ErrUnavailable.
func (s *Source) Open(o Origin) (*Ring, error) {
	fetcher, err := newFetcher(o, s.network)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %t", o.Issuer, o.File, o.URL, o.CA, o.Private))
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.rings[id]
	if !known {
		r = &Ring{source: s, name: o.Issuer, read: fetcher.fetch}
		if o.File != "" {
			r.read = func(context.Context) ([]byte, error) { return readFile(o.File) }
		}
	}
	r.want(s.now())
	if o.File != "" {
		if err := r.load(s.ctx); err != nil {
			return nil, err
		}
	} else if r.Current(s.now()) == nil {
		r.keep()
	}
	s.forget(s.now())
	s.rings[id] = r
	return r, nil
}

// Client gives what speaks to an issuer's server at a URL that CheckURL has found good, under the same bounds as a fetch of
// its keys: addresses are judged when they are resolved, redirects are not followed. It has no time limit of its own.
func (s *Source) Client(o Origin, u *url.URL) (*http.Client, error) {
	f, err := newFetcher(o, s.network)
	if err != nil {
		return nil, err
	}
	return f.client(u, Loopback(u.Hostname())), nil
}

// Statuses tells how every issuer's keys stand, in no order.
func (s *Source) Statuses() []Status {
	s.mu.Lock()
	rings := make([]*Ring, 0, len(s.rings))
	for _, r := range s.rings {
		rings = append(rings, r)
	}
	s.mu.Unlock()
	list := make([]Status, len(rings))
	for i, r := range rings {
		list[i] = r.status()
	}
	return list
}

// Close ends all fetches and waits for them. Rings keep the keys they have.
func (s *Source) Close() {
	s.life.Lock()
	s.closed = true
	s.life.Unlock()
	s.cancel()
	s.work.Wait()
}

// run does f in its own goroutine until Close; it tells whether it could.
func (s *Source) run(f func(context.Context)) bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(func() { f(s.ctx) })
	return true
}

// forget drops rings that no document has asked for in a long time; s.mu is held. Guards that still hold one keep it.
func (s *Source) forget(now time.Time) {
	for id, r := range s.rings {
		d := r.current.Load()
		if now.Unix()-r.wanted.Load() > int64(stale/time.Second) && (d == nil || now.Sub(d.at) > stale) {
			delete(s.rings, id)
		}
	}
}

// sleep waits and tells whether nobody ended it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// readFile reads a key set, within the bound.
func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxSet+1))
}
