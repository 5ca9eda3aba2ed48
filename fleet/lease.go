package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// What leases answer.
var (
	// ErrHeld: somebody else holds the lease, or may.
	ErrHeld = errors.New("fleet: the lease is held by another")
	// ErrLost: the lease was held and is not any more.
	ErrLost = errors.New("fleet: the lease was lost")
)

const leasePrefix = "lease/"

// Leases let one node at a time do something. They ask no two clocks to agree: whoever wants a lease that is held waits
// until its record hasn't changed for a whole Life by his own clock; the holder, who changes it three times in that time,
// stops a tenth of it earlier than anybody may begin. Should both go on nevertheless, since one was paused, fencing
// decides: Lease.WriteAll changes nothing once the lease is another's.
type Leases struct {
	records store.Durable
	holder  string
	life    time.Duration
	now     func() time.Time
	mu      sync.Mutex
	seen    map[string]sighting
}

// sighting is how a lease that is held looked, and since when.
type sighting struct {
	version int64
	since   time.Time
}

// NewLeases makes the leases of one node. Life is how long others wait for a holder who is silent, at least 1 s; only
// differences of now count, so that setting a clock changes nothing where now gives monotonic readings, as time.Now does.
func NewLeases(records store.Durable, holder string, life time.Duration, now func() time.Time) *Leases {
	return &Leases{records: records, holder: holder, life: max(life, time.Second), now: now, seen: map[string]sighting{}}
}

// title is what stands in a lease's record. The record stays when nobody holds the lease, so that tokens only grow.
type title struct {
	Holder string    `json:"holder,omitempty"` // "": free
	Token  int64     `json:"token"`            // grows with every holder
	Since  time.Time `json:"since"`            // by the holder's clock; for people
}

// Lease is held until it is released or lost.
type Lease struct {
	from  *Leases
	key   string
	title title
	ctx   context.Context
	stop  context.CancelCauseFunc

	turn    chan struct{} // holds one token: who has it may talk to the store and use what follows
	version int64
	end     *time.Timer // loses the lease when it isn't renewed
}

// Acquire takes a lease if it is free, or its holder was silent for a whole Life as far as this node has seen: a node
// that has just begun to look waits that long. ErrHeld: not now. The lease ends with ctx, and is renewed until then; the
// store is waited for a third of Life.
func (l *Leases) Acquire(ctx context.Context, name string) (*Lease, error) {
	key := leasePrefix + name
	patience, cancel := context.WithTimeout(ctx, l.life/3)
	defer cancel()
	r, err := l.records.Get(patience, key)
	var was title
	switch {
	case errors.Is(err, store.ErrNone):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(r.Value, &was); err != nil {
			return nil, fmt.Errorf("fleet: the record %s cannot be read", key)
		}
	}
	if was.Holder != "" && !l.silent(key, r.Version) {
		return nil, fmt.Errorf("%w: %s", ErrHeld, was.Holder)
	}
	lease := &Lease{from: l, key: key, turn: make(chan struct{}, 1),
		title: title{Holder: l.holder, Token: was.Token + 1, Since: l.now().UTC()}}
	asked := time.Now()
	lease.version, err = l.records.Write(patience, store.Write{Key: key, Value: lease.title.bytes(), Version: r.Version})
	if errors.Is(err, store.ErrConflict) {
		return nil, fmt.Errorf("%w: another was faster", ErrHeld)
	}
	if err != nil {
		return nil, err
	}
	l.forget(key)
	lease.ctx, lease.stop = context.WithCancelCause(ctx)
	lease.end = time.AfterFunc(time.Until(asked.Add(l.life*9/10)), func() { lease.stop(ErrLost) })
	go lease.keep()
	return lease, nil
}

// silent tells that a record has looked the same for a whole Life.
func (l *Leases) silent(key string, version int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	s, ok := l.seen[key]
	if !ok || s.version != version || now.Before(s.since) {
		l.seen[key] = sighting{version, now}
		return false
	}
	return now.Sub(s.since) > l.life
}

func (l *Leases) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, key)
}

func (t title) bytes() []byte {
	b, _ := json.Marshal(t) // strings, numbers and a time of our own
	return b
}

// Context ends when the lease does: what is done under it stops. Its cause is ErrLost when the lease was lost.
func (l *Lease) Context() context.Context { return l.ctx }

// Token is the fencing token: it is greater than that of every earlier holder. What is written elsewhere than in the store
// carries it, and who keeps that refuses smaller ones.
func (l *Lease) Token() int64 { return l.title.Token }

// keep renews three times in a Life until the lease ends.
func (l *Lease) keep() {
	tick := time.NewTicker(l.from.life / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			attempt, cancel := context.WithTimeout(l.ctx, l.from.life/3)
			_ = l.Renew(attempt) // another attempt follows; end decides
			cancel()
		case <-l.ctx.Done():
			return
		}
	}
}

// Renew shows that the holder is alive. The lease does it by itself.
func (l *Lease) Renew(ctx context.Context) error { return l.WriteAll(ctx) }

// WriteAll makes changes if and only if the lease is still held: they stand in one transaction with its record. A holder
// who was paused for so long that another has taken over changes nothing and gets ErrLost. After another error it is not
// known whether the changes were made; then the lease is lost too unless its record shows that they were not.
func (l *Lease) WriteAll(ctx context.Context, all ...store.Write) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.ctx.Err() != nil {
		return l.lost()
	}
	asked := time.Now()
	own := store.Write{Key: l.key, Value: l.title.bytes(), Version: l.version}
	err := l.from.records.WriteAll(ctx, append(all[:len(all):len(all)], own)...)
	if err == nil {
		l.version++
		return l.renewed(asked)
	}
	r, readErr := l.from.records.Get(ctx, l.key)
	if readErr != nil {
		return err // ours or not: end decides
	}
	var now title
	if json.Unmarshal(r.Value, &now) != nil || now.Holder != l.title.Holder || now.Token != l.title.Token {
		l.stop(ErrLost)
		return l.lost()
	}
	switch {
	case r.Version == l.version:
		return err // nothing was written
	case errors.Is(err, store.ErrUnavailable) && r.Version == l.version+1:
		l.version = r.Version // it was written, and only the answer was lost
		return l.renewed(asked)
	}
	l.version = r.Version
	return err
}

func (l *Lease) renewed(asked time.Time) error {
	if !l.end.Stop() {
		return l.lost() // too late: the holder has been told to stop
	}
	l.end.Reset(time.Until(asked.Add(l.from.life * 9 / 10)))
	return nil
}

func (l *Lease) lost() error {
	if cause := context.Cause(l.ctx); cause != nil && !errors.Is(cause, ErrLost) {
		return fmt.Errorf("%w: %w", ErrLost, cause)
	}
	return ErrLost
}

// Release lets others take the lease at once. Without it they wait for a Life. Its context ends.
func (l *Lease) Release(ctx context.Context) error {
	l.stop(context.Canceled)
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	l.end.Stop()
	free := title{Token: l.title.Token, Since: l.from.now().UTC()}
	_, err := l.from.records.Write(ctx, store.Write{Key: l.key, Value: free.bytes(), Version: l.version})
	if errors.Is(err, store.ErrConflict) {
		return ErrLost
	}
	return err
}
