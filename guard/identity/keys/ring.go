package keys

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What a caller may find wrong.
var (
	ErrUnavailable = errors.New("the issuer's keys could not be fetched")
	ErrUnknown     = errors.New("the issuer has no such key")
)

// Times of a ring.
const (
	fresh      = 5 * time.Minute  // keys younger than this are not fetched again
	stale      = 24 * time.Hour   // keys older than this are no keys: the issuer was unreachable for too long
	between    = 30 * time.Second // between two fetches that an unknown key id causes (row E5)
	patience   = 2 * time.Second  // how long a request waits for the very first fetch
	idle       = time.Hour        // a ring that nobody asked for is not fetched in the background
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Ring is one issuer's keys over time. It is safe for use by many goroutines.
type Ring struct {
	source *Source // nil when the set was given and never changes
	read   func(context.Context) ([]byte, error)
	name   string

	current atomic.Pointer[dated]
	wanted  atomic.Int64 // unix seconds when somebody last asked

	mu      sync.Mutex
	flight  chan struct{} // closed when the fetch in progress ends; nil when there is none
	ended   int           // fetches that have ended
	forced  time.Time     // last fetch caused by an unknown key id
	keeping bool          // a background refresh is under way
	failure error         // of the last fetch
}

type dated struct {
	set *Set
	at  time.Time
}

// Fixed is a ring whose keys are given and never change.
func Fixed(set *Set) *Ring {
	r := &Ring{}
	if set != nil {
		r.current.Store(&dated{set: set})
	}
	return r
}

// Current is the set that is valid at the time now, or nil. It never waits. A set that was fetched again unchanged is the
// same pointer: whoever remembers what it verified with may compare.
func (r *Ring) Current(now time.Time) *Set {
	d := r.current.Load()
	if d == nil {
		return nil
	}
	if r.source == nil {
		return d.set
	}
	age := now.Sub(d.at)
	if age > fresh {
		r.want(now)
		r.keep()
	}
	if age > stale {
		return nil
	}
	return d.set
}

// Find gives the issuer's keys with this id for this algorithm, at least one, and the set that they come from. An id that
// the set doesn't have makes it fetched once more, at most every 30 seconds whatever ids are asked for; then it is
// ErrUnknown. Without any valid set it is ErrUnavailable.
func (r *Ring) Find(ctx context.Context, now time.Time, id string, algorithm jose.SignatureAlgorithm) ([]Key, *Set, error) {
	set := r.Current(now)
	if set == nil && r.source != nil {
		r.want(now)
		r.await(ctx)
		set = r.Current(now)
	}
	if set == nil {
		return nil, nil, ErrUnavailable
	}
	if found := set.Find(id, algorithm); len(found) > 0 {
		return found, set, nil
	}
	if set.Has(id) || r.source == nil || !r.force(ctx, now) {
		return nil, nil, ErrUnknown
	}
	if set = r.Current(now); set == nil {
		return nil, nil, ErrUnavailable
	}
	if found := set.Find(id, algorithm); len(found) > 0 {
		return found, set, nil
	}
	return nil, nil, ErrUnknown
}

// Status is how an issuer's keys stand.
type Status struct {
	Issuer  string
	Keys    int       // usable keys; 0: tokens of this issuer are answered with 503
	Fetched time.Time // when they were last fetched
	Failure error     // of the last fetch, nil when it went well
}

func (r *Ring) status() Status {
	s := Status{Issuer: r.name}
	if d := r.current.Load(); d != nil {
		s.Keys, s.Fetched = d.set.Len(), d.at
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Failure = r.failure
	return s
}

func (r *Ring) want(now time.Time) { r.wanted.Store(now.Unix()) }

// await waits, not long, for a fetch when none has ever ended; else it makes sure that one is tried in the background.
func (r *Ring) await(ctx context.Context) {
	r.keep()
	r.mu.Lock()
	flight, ended := r.flight, r.ended
	r.mu.Unlock()
	if ended > 0 || flight == nil {
		return
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-flight:
	case <-wait.Done():
	}
}

// force fetches because of an unknown key id and waits for the end, or joins the fetch that others caused. It tells
// whether anything may have changed.
func (r *Ring) force(ctx context.Context, now time.Time) bool {
	r.mu.Lock()
	flight := r.flight
	if flight == nil {
		if since := now.Sub(r.forced); !r.forced.IsZero() && since >= 0 && since < between {
			r.mu.Unlock()
			return false
		}
		r.forced = now
		flight = r.start()
	}
	r.mu.Unlock()
	select {
	case <-flight:
		return true
	case <-ctx.Done():
		return false
	}
}

// start begins a fetch in its own goroutine; r.mu is held and no fetch is under way.
func (r *Ring) start() chan struct{} {
	flight := make(chan struct{})
	r.flight = flight
	if !r.source.run(func(ctx context.Context) {
		err := r.load(ctx)
		r.mu.Lock()
		r.flight, r.failure = nil, err
		r.ended++
		r.mu.Unlock()
		close(flight)
		r.source.report(r.status())
	}) {
		r.flight = nil
		close(flight)
	}
	return flight
}

// load fetches and, when the result is usable, replaces the keys. Otherwise the last good ones stay, until they are stale.
func (r *Ring) load(ctx context.Context) error {
	data, err := r.read(ctx)
	if err != nil {
		return err
	}
	set, err := Parse(data)
	if err != nil {
		return err
	}
	if old := r.current.Load(); old != nil && old.set.digest == set.digest {
		set = old.set
	}
	r.current.Store(&dated{set: set, at: r.source.now()})
	return nil
}

// keep makes sure that a background refresh is under way: it fetches until it has succeeded, with growing pauses.
func (r *Ring) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keeping {
		return
	}
	flight := r.flight
	if flight == nil {
		flight = r.start()
	}
	r.keeping = r.source.run(func(ctx context.Context) { r.keepOn(ctx, flight) })
}

func (r *Ring) keepOn(ctx context.Context, flight chan struct{}) {
	defer func() {
		r.mu.Lock()
		r.keeping = false
		r.mu.Unlock()
	}()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		select {
		case <-flight:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		done := r.failure == nil
		r.mu.Unlock()
		if done || r.source.now().Unix()-r.wanted.Load() > int64(idle/time.Second) {
			return
		}
		if !r.source.pause(ctx, pause) {
			return
		}
		r.mu.Lock()
		if flight = r.flight; flight == nil {
			flight = r.start()
		}
		r.mu.Unlock()
	}
}
