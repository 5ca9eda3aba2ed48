package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
)

// How long things live.
const (
	Life       = 365 * 24 * time.Hour // of an authority
	Succession = 120 * 24 * time.Hour // before its end, its successor is published
	Overlap    = 30 * 24 * time.Hour  // for so long a successor is published before it signs
	ClientLife = 24 * time.Hour       // of a client's certificate, which is made anew after two thirds of it
)

// What a Place answers; compare with errors.Is.
var (
	// ErrNone tells that there is no record.
	ErrNone = errors.New("authority: there is no record")
	// ErrConflict tells that the record has another version by now.
	ErrConflict = errors.New("authority: the record has another version by now")
)

// Place keeps the one record: sealed, and shared by all nodes.
type Place interface {
	// Get gives the record and its version, or ErrNone.
	Get(ctx context.Context) (value []byte, version int64, err error)
	// Put replaces the record of that version (0: there must be none), or gives ErrConflict.
	Put(ctx context.Context, value []byte, version int64) error
}

// Deps is what an Authority needs from outside; all of it.
type Deps struct {
	Place  Place
	Domain string // what a new authority is confined to, such as "3f2a.gatehouse.internal"
	Now    func() time.Time
	Rand   io.Reader
}

// Authority is the authorities of an installation: one that signs, perhaps a successor, perhaps a predecessor. It is safe
// for use by many goroutines.
type Authority struct {
	deps    Deps
	known   atomic.Pointer[line]
	mu      sync.Mutex // over changes
	clients sync.Map   // name -> *Client
}

// Open reads the authorities, or makes the first. Nodes that start at the same moment end up with the same one.
func Open(ctx context.Context, deps Deps) (*Authority, error) {
	a := &Authority{deps: deps}
	return a, a.Refresh(ctx)
}

// Refresh reads what other nodes have changed, and makes a successor when it is time. Call it about hourly; in between
// nothing is asked of the store. With an error, what was known stays in use.
func (a *Authority) Refresh(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.change(ctx, func(l *line, now time.Time) (*member, error) {
		if !l.due(now) {
			return nil, nil
		}
		return a.successor(l, now, now.Add(Overlap))
	})
}

// Rotate publishes a successor now, that signs after a time for which servers trust both; 0 for a key that leaked: then it
// signs at once, servers refuse the gateway until they trust it, and the predecessors are forgotten.
func (a *Authority) Rotate(ctx context.Context, overlap time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.change(ctx, func(l *line, now time.Time) (*member, error) {
		if overlap <= 0 {
			l.members = nil
		}
		return a.successor(l, now, now.Add(overlap))
	})
}

// change reads the line, lets a successor be added, and writes it, until no other node was faster.
func (a *Authority) change(ctx context.Context, next func(*line, time.Time) (*member, error)) error {
	for range 10 {
		value, version, err := a.deps.Place.Get(ctx)
		switch {
		case errors.Is(err, ErrNone) && a.known.Load() != nil:
			return errors.New("the internal authority's record is gone from the store; restore the store from a backup: a new authority would be trusted by no server")
		case errors.Is(err, ErrNone):
			value, version = nil, 0
		case err != nil:
			return fmt.Errorf("read the internal authority: %w", err)
		}
		l, err := parse(value)
		if err != nil {
			return fmt.Errorf("internal authority: %w; restore its record from a backup: a new authority would be trusted by no server", err)
		}
		now := a.deps.Now()
		added, err := next(l, now)
		if err != nil {
			return fmt.Errorf("make an internal authority: %w", err)
		}
		if added == nil {
			a.known.Store(l)
			return nil
		}
		l.members = append(l.unended(now), *added)
		if value, err = l.marshal(); err != nil {
			return err
		}
		err = a.deps.Place.Put(ctx, value, version)
		if err == nil {
			a.known.Store(l)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("keep the internal authority: %w", err)
		}
	}
	return errors.New("the internal authority's record changes too often to be changed; try again")
}

// successor makes the next authority; the first one signs at once.
func (a *Authority) successor(l *line, now, signs time.Time) (*member, error) {
	domain := a.deps.Domain
	if len(l.members) > 0 {
		domain = l.members[0].authority.Domain() // the name by which servers know the gateway stays
	}
	if known := a.known.Load(); known != nil && len(known.members) > 0 {
		domain = known.members[0].authority.Domain()
	}
	made, err := ca.New(a.deps.Rand, domain, now, Life)
	if err != nil {
		return nil, err
	}
	if l.signing(now) == nil {
		signs = now
	}
	return &member{authority: made, signs: signs.UTC().Truncate(time.Second)}, nil
}

// Bundle is every authority's certificate that servers should trust now, in PEM form: also the one that does not sign yet.
func (a *Authority) Bundle() []byte {
	var all []byte
	for _, m := range a.known.Load().unended(a.deps.Now()) {
		all = append(all, m.authority.PEM()...)
	}
	return all
}

// Domain is what the authority is confined to; a client's name is put before it.
func (a *Authority) Domain() string { return a.known.Load().members[0].authority.Domain() }

// State is what is known of one authority, for commands and status.
type State struct {
	Certificate ca.Certificate `json:"certificate"`
	Signs       time.Time      `json:"signs"`   // from then on
	Signing     bool           `json:"signing"` // now
}

// State tells of each authority, the eldest first.
func (a *Authority) State() []State {
	l, now := a.known.Load(), a.deps.Now()
	var all []State
	for i := range l.members {
		m := &l.members[i]
		looked := ca.Look("authority: internal", []*x509.Certificate{m.authority.Certificate}, nil, now)
		all = append(all, State{Certificate: looked[0], Signs: m.signs, Signing: m == l.signing(now)})
	}
	return all
}
