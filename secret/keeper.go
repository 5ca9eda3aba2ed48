package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"time"
)

// Options are how a Keeper goes about its work. The zero Options are good for production.
type Options struct {
	Now      func() time.Time // nil is time.Now
	Jitter   func() float64   // in [0,1), so that nodes don't ask all at once; nil is math/rand/v2
	Log      *slog.Logger     // secrets that can't be read, and can again; nil is silence
	Poll     time.Duration    // how often sources without leases are asked; default 30s
	MaxStale time.Duration    // how long the last good value serves when its source can't be asked; default 24h
	Timeout  time.Duration    // bounds each question; default 10s
	Linger   time.Duration    // how long a secret that no document uses any more is followed, for what is in progress; default 1m
}

const (
	goneGrace = time.Minute // how long the last good value serves when its source says that it is gone: long enough for a rotation that removes first
	firstWait = time.Second
	longWait  = 30 * time.Second
	useEvery  = time.Minute
	freshness = time.Second // a near source that was looked at within this time is not looked at again at load
	atOnce    = 8           // questions to one source under way at once
	revokeFor = 5 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Poll, 30 * time.Second}, {&o.MaxStale, 24 * time.Hour}, {&o.Timeout, 10 * time.Second}, {&o.Linger, time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return o
}

// Keeper resolves references and follows what they refer to. A node makes one, which outlives every reload. It is safe for
// use by many goroutines; nothing that serves a request ever waits for it.
type Keeper struct {
	sources map[string]Source
	opt     Options
	wake    chan struct{}

	mu      sync.Mutex
	items   map[string]*item // by scheme and place
	places  map[string]chan struct{}
	usedDue time.Time
	used    map[string]map[string]time.Time // last uses, by scheme and place, that were not recorded yet
	closed  bool
}

// NewKeeper makes a keeper of the sources by scheme. A reference to a scheme that is not among them is a mistake at load.
func NewKeeper(sources map[string]Source, opt Options) *Keeper {
	k := &Keeper{sources: sources, opt: opt.withDefaults(), wake: make(chan struct{}, 1), items: map[string]*item{}, places: map[string]chan struct{}{}, used: map[string]map[string]time.Time{}}
	for scheme := range sources {
		k.places[scheme] = make(chan struct{}, atOnce)
	}
	return k
}

// Live resolves a reference that stands in the part of the document called reader ("listen", "apis.shop"), and follows it
// from then on. A secret that can't be resolved, or that the reader may not read, is an error without place; the caller
// knows the place. Live gives the same handle for the same reference as long as a document uses it.
func (k *Keeper) Live(ctx context.Context, ref Ref, reader string) (*Live, error) {
	if ref.IsZero() {
		return nil, errors.New("no reference to a secret is given")
	}
	source, ok := k.sources[ref.Scheme()]
	if !ok {
		return nil, fmt.Errorf("secret %s: the document doesn't say how %s is reached; write the section secret.%s, or refer to file:, env: or credential:", ref, ref.Scheme(), ref.Scheme())
	}
	if r, ok := source.(Restricted); ok {
		bounded, cancel := context.WithTimeout(ctx, k.opt.Timeout)
		defer cancel()
		if err := r.MayRead(bounded, ref.Place(), reader); err != nil {
			return nil, fmt.Errorf("secret %s: %w", ref, err)
		}
	}
	for {
		it, err := k.enter(ref, source)
		if err != nil {
			return nil, err
		}
		if it.wanting(k.opt.Now(), ref.Field()) {
			k.refresh(ctx, it)
		}
		live := it.live(ref)
		if err := it.loadable(ctx, live); err != nil {
			k.leave(it, ref)
			return nil, err
		}
		if k.stay(it) {
			k.poke()
			return live, nil
		}
	}
}

// enter finds or makes the item of a reference.
func (k *Keeper) enter(ref Ref, source Source) (*item, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, fmt.Errorf("secret %s: the gateway is shutting down", ref)
	}
	key := ref.Scheme() + ":" + ref.Place()
	it := k.items[key]
	if it == nil {
		it = newItem(k, ref, source)
		k.items[key] = it
	}
	it.leaving = time.Time{}
	return it, nil
}

// stay makes sure that an item that was resolved is followed: a failed load of the same place may have taken it out.
func (k *Keeper) stay(it *item) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.items[it.key()] == nil && !it.dead && !k.closed {
		k.items[it.key()] = it
	}
	return k.items[it.key()] == it || k.closed
}

// leave forgets a reference that was never resolved, so that a refused document leaves nothing to be followed.
func (k *Keeper) leave(it *item, ref Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if it.current.Load().serial == 0 {
		if k.items[it.key()] == it {
			delete(k.items, it.key())
		}
		return
	}
	if !it.followed(ref) {
		it.drop(ref)
	}
}

// Keep tells which references the document in force uses. Others are forgotten after a while, in which requests in
// progress end, and their leases are given back. Call it after each load, also after one that was refused.
func (k *Keeper) Keep(refs []Ref) {
	wanted := map[string]map[Ref]bool{}
	for _, r := range refs {
		key := r.Scheme() + ":" + r.Place()
		if wanted[key] == nil {
			wanted[key] = map[Ref]bool{}
		}
		wanted[key][r] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, it := range k.items {
		it.keep(wanted[key])
		switch {
		case len(wanted[key]) > 0:
			it.leaving = time.Time{}
		case it.leaving.IsZero():
			it.leaving = k.opt.Now().Add(k.opt.Linger)
		}
	}
	k.poke()
}

// Refresh has everything of one scheme looked at now: what a source's own doorbell calls.
func (k *Keeper) Refresh(scheme string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, it := range k.items {
		if it.ref.Scheme() == scheme {
			it.due = time.Time{}
		}
	}
	k.poke()
}

func (k *Keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run follows everything until ctx ends. The node calls it once.
func (k *Keeper) Run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		next := k.dispatch(ctx, &under)
		timer := time.NewTimer(min(max(next.Sub(k.opt.Now()), 10*time.Millisecond), time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Step does what is due now, waits for it, and gives the time when something is due again. Run is made of such steps; a
// test with its own clock calls them itself.
func (k *Keeper) Step(ctx context.Context) time.Time {
	var under sync.WaitGroup
	k.dispatch(ctx, &under)
	under.Wait()
	return k.next()
}

// dispatch starts what is due.
func (k *Keeper) dispatch(ctx context.Context, under *sync.WaitGroup) time.Time {
	now := k.opt.Now()
	for _, it := range k.take(now) {
		under.Go(func() {
			places := k.places[it.ref.Scheme()]
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				return
			}
			if it.gone() {
				revoke, cancel := context.WithTimeout(ctx, revokeFor)
				defer cancel()
				if err := it.end(revoke, true); err != nil {
					k.opt.Log.Warn("a lease that nobody needs could not be given back; it ends by itself", "ref", it.key(), "error", err.Error())
				}
			} else {
				k.refresh(ctx, it)
			}
			k.mu.Lock()
			it.busy = false
			k.mu.Unlock()
			k.poke()
		})
	}
	k.recordUse(ctx, now, under)
	return k.next()
}

// take gives what is due and marks it as under way. What nobody wants any more is taken out.
func (k *Keeper) take(now time.Time) []*item {
	k.mu.Lock()
	defer k.mu.Unlock()
	var due []*item
	for key, it := range k.items {
		left := !it.leaving.IsZero() && !now.Before(it.leaving)
		if it.busy || !left && now.Before(it.due) {
			continue
		}
		if left {
			it.dead = true
			delete(k.items, key)
		}
		it.busy = true
		due = append(due, it)
	}
	return due
}

// next is when something is due.
func (k *Keeper) next() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.opt.Now().Add(time.Minute)
	for _, it := range k.items {
		if it.busy {
			continue
		}
		if it.due.Before(next) {
			next = it.due
		}
		if !it.leaving.IsZero() && it.leaving.Before(next) {
			next = it.leaving
		}
	}
	return next
}

// recordUse tells sources about once a minute what was used. What can't be told is told the next time.
func (k *Keeper) recordUse(ctx context.Context, now time.Time, under *sync.WaitGroup) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.usedDue) {
		return
	}
	k.usedDue = now.Add(useEvery)
	for _, it := range k.items {
		if _, records := it.source.(Recorder); records && it.used.Swap(false) {
			scheme := it.ref.Scheme()
			if k.used[scheme] == nil {
				k.used[scheme] = map[string]time.Time{}
			}
			k.used[scheme][it.ref.Place()] = now
		}
	}
	for scheme, used := range k.used {
		delete(k.used, scheme)
		under.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, k.opt.Timeout)
			defer cancel()
			if err := k.sources[scheme].(Recorder).RecordUse(bounded, used); err != nil {
				k.putBack(scheme, used)
			}
		})
	}
}

func (k *Keeper) putBack(scheme string, used map[string]time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.used[scheme] == nil {
		k.used[scheme] = used
		return
	}
	for place, at := range used {
		if at.After(k.used[scheme][place]) {
			k.used[scheme][place] = at
		}
	}
}

// Close gives back every lease and each source's own login, within ctx and five seconds. Values end with it. Run must
// have ended.
func (k *Keeper) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokeFor)
	defer cancel()
	k.mu.Lock()
	k.closed = true
	all := make([]*item, 0, len(k.items))
	for _, it := range k.items {
		it.dead = true
		all = append(all, it)
	}
	clear(k.items)
	k.mu.Unlock()
	var errs []error
	ended := map[string]bool{}
	for scheme, s := range k.sources {
		if e, ok := s.(Ender); ok {
			all, err := e.End(ctx)
			ended[scheme] = all
			errs = append(errs, err)
		}
	}
	var under sync.WaitGroup
	lost := make([]error, len(all))
	for i, it := range all {
		under.Go(func() { lost[i] = it.end(ctx, !ended[it.ref.Scheme()]) })
	}
	under.Wait()
	return errors.Join(append(errs, lost...)...)
}

// Status is what is known of one reference, for the command status and for metrics.
type Status struct {
	Ref       string     `json:"ref"`
	Source    string     `json:"source"`
	Version   string     `json:"version,omitempty"`    // as the source counts
	Usable    bool       `json:"usable"`               // false: what needs it is closed
	Since     time.Time  `json:"since,omitzero"`       // when this value was first seen
	Asked     time.Time  `json:"asked,omitzero"`       // when the source answered last
	Ends      *time.Time `json:"ends,omitempty"`       // when the value ends unless the source answers or prolongs; null: never
	Leased    bool       `json:"leased,omitempty"`     // Ends is the end of a lease
	Failure   string     `json:"failure,omitempty"`    // why the last question failed; "" when it didn't
	FailedAt  *time.Time `json:"failed_at,omitempty"`  // the first of the failures in a row
	Unwanted  bool       `json:"unwanted,omitempty"`   // no document in force uses it; it is about to be forgotten
	AgeSecond int64      `json:"age_seconds,omitzero"` // of the value, since Since
}

// Statuses tells what is known of each reference that is followed, in the order of their text. No value is among it.
func (k *Keeper) Statuses() []Status {
	k.mu.Lock()
	items := make([]*item, 0, len(k.items))
	for _, it := range k.items {
		items = append(items, it)
	}
	k.mu.Unlock()
	now := k.opt.Now()
	var all []Status
	for _, it := range items {
		all = append(all, it.statuses(now)...)
	}
	sort.Slice(all, func(i, j int) bool { return strings.Compare(all[i].Ref, all[j].Ref) < 0 })
	return all
}
