package secret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// item follows one place of one source.
type item struct {
	keeper  *Keeper
	source  Source
	ref     Ref // the first reference to it; scheme and place count
	records bool
	current atomic.Pointer[snapshot]
	used    atomic.Bool

	// Under keeper.mu:
	due     time.Time
	leaving time.Time
	busy    bool
	dead    bool

	rounds atomic.Int64 // questions that came to an end

	turn  sync.Mutex // one question at a time; who comes second finds the answer
	state state      // under turn
	shown sync.Mutex // guards handles and notes
	lives map[Ref]*Live
	kept  map[Ref]bool
	notes notes
	stuck atomic.Bool // a question that outlived its time is still under way
}

// state is what is needed to ask again.
type state struct {
	version  string
	lease    *Lease
	leaseEnd time.Time
	failures int
}

// notes are for people.
type notes struct {
	version         string
	since, answered time.Time
	failure         error
	failedAt        time.Time
}

var errUnasked = errors.New("was not resolved yet")

func newItem(k *Keeper, ref Ref, source Source) *item {
	it := &item{keeper: k, source: source, ref: ref, lives: map[Ref]*Live{}, kept: map[Ref]bool{}}
	_, it.records = source.(Recorder)
	it.current.Store(&snapshot{why: errUnasked, next: make(chan struct{})})
	return it
}

func (it *item) key() string { return it.ref.Scheme() + ":" + it.ref.Place() }

func (it *item) live(ref Ref) *Live {
	it.shown.Lock()
	defer it.shown.Unlock()
	l := it.lives[ref]
	if l == nil {
		l = &Live{item: it, ref: ref, field: ref.Field()}
		it.lives[ref] = l
	}
	return l
}

func (it *item) followed(ref Ref) bool {
	it.shown.Lock()
	defer it.shown.Unlock()
	return it.kept[ref]
}

func (it *item) drop(ref Ref) {
	it.shown.Lock()
	defer it.shown.Unlock()
	delete(it.lives, ref)
}

// keep notes which references are in use. When none is, the handles stay until the item itself goes.
func (it *item) keep(wanted map[Ref]bool) {
	it.shown.Lock()
	defer it.shown.Unlock()
	it.kept = wanted
	for ref := range it.lives {
		if len(wanted) > 0 && !wanted[ref] {
			delete(it.lives, ref)
		}
	}
}

// gone tells that the item was taken out.
func (it *item) gone() bool {
	it.keeper.mu.Lock()
	defer it.keeper.mu.Unlock()
	return it.dead
}

// wanting tells that there is no good value for a field, or that a look at a near source is worth it.
func (it *item) wanting(now time.Time, field string) bool {
	s := it.current.Load()
	if _, ok := s.fields[field]; s.why != nil || !ok || !s.until.IsZero() && !now.Before(s.until) {
		return true
	}
	p, near := it.source.(Paced)
	if !near || p.Pace() == 0 {
		return false
	}
	it.shown.Lock()
	defer it.shown.Unlock()
	return now.Sub(it.notes.answered) >= freshness
}

// loadable says why a handle can't be used by a document that is loaded now. What its source says is gone is a mistake even
// while the last value still serves the document before.
func (it *item) loadable(ctx context.Context, l *Live) error {
	if _, err := l.Value(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	it.shown.Lock()
	defer it.shown.Unlock()
	if err := it.notes.failure; errors.Is(err, ErrGone) {
		return fmt.Errorf("secret %s: %w", l.ref, err)
	}
	return nil
}

// refresh asks the source once and takes over what it says. Who waits while another asks takes that answer.
func (k *Keeper) refresh(ctx context.Context, it *item) {
	round := it.rounds.Load()
	it.turn.Lock()
	defer it.turn.Unlock()
	if it.rounds.Load() != round || it.gone() {
		return
	}
	started := k.opt.Now()
	answer, lease, err := k.ask(ctx, it)
	if err != nil && ctx.Err() != nil {
		return // who asked has gone; that says nothing about the source
	}
	it.rounds.Add(1)
	now := k.opt.Now()
	if err != nil {
		it.failed(now, err)
	} else {
		it.answered(started, now, answer, lease)
	}
	k.mu.Lock()
	it.due = it.when(now)
	k.mu.Unlock()
}

// outcome is what a question gave.
type outcome struct {
	answer Answer
	lease  *Lease // a lease that was prolonged: answer says nothing
	err    error
}

// ask puts one bounded question. A source that doesn't end in time is left behind; it is not asked again before it has
// ended, and a lease that it brings too late is given back.
func (k *Keeper) ask(ctx context.Context, it *item) (Answer, *Lease, error) {
	if !it.stuck.CompareAndSwap(false, true) {
		return Answer{}, nil, errors.New("the last question to its source has no answer yet")
	}
	ctx, cancel := context.WithTimeout(ctx, k.opt.Timeout)
	done := make(chan outcome, 1)
	var left atomic.Bool
	version, lease := it.state.version, it.state.lease
	go func() {
		defer cancel()
		o := it.question(ctx, version, lease)
		it.stuck.Store(false)
		done <- o
		if left.Load() {
			select {
			case late := <-done:
				it.giveBack(late.answer.Lease)
			default:
			}
		}
	}()
	select {
	case o := <-done:
		return o.answer, o.lease, o.err
	case <-ctx.Done():
		left.Store(true)
		select {
		case o := <-done:
			return o.answer, o.lease, o.err
		default:
		}
		return Answer{}, nil, fmt.Errorf("its source has not answered in time: %w", context.Cause(ctx))
	}
}

// question prolongs the lease, or reads anew.
func (it *item) question(ctx context.Context, version string, lease *Lease) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: fmt.Errorf("its source panicked (%T)", p)}
		}
	}()
	if leaser, ok := it.source.(Leaser); ok && lease != nil && lease.Renewable {
		renewed, err := leaser.Renew(ctx, *lease)
		// A lease that shrinks has come near to its greatest age.
		if err == nil && renewed.full() >= lease.full()/2 {
			return outcome{lease: &renewed}
		}
		if err != nil && !errors.Is(err, ErrLost) {
			return outcome{err: err}
		}
	}
	answer, err := it.source.Fetch(ctx, it.ref.Place(), version)
	return outcome{answer: answer, err: err}
}

// answered takes over an answer that was asked for at started.
func (it *item) answered(started, now time.Time, answer Answer, renewed *Lease) {
	old := it.current.Load()
	next := *old
	switch {
	case renewed != nil:
		it.state.leaseEnd = started.Add(renewed.TTL)
	default:
		it.state.lease, it.state.leaseEnd = answer.Lease, time.Time{}
		if answer.Lease != nil {
			it.state.leaseEnd = started.Add(answer.Lease.TTL)
		}
		if answer.Fields != nil {
			next.fields = answer.Fields
		}
	}
	next.why, next.leased = nil, it.state.lease != nil
	next.until = it.lasting(started)
	it.state.failures = 0
	changed := old.why != nil || !sameFields(old.fields, next.fields)
	if renewed == nil {
		it.state.version = answer.Version
	}
	it.shown.Lock()
	recovered := it.notes.failure != nil
	it.notes.failure, it.notes.failedAt, it.notes.answered, it.notes.version = nil, time.Time{}, now, it.state.version
	if changed {
		it.notes.since = now
	}
	it.shown.Unlock()
	it.publish(old, next, changed)
	if recovered {
		it.keeper.opt.Log.Info("secret can be read again", "ref", it.key())
	}
}

// lasting is how long an answer serves without another.
func (it *item) lasting(asked time.Time) time.Time {
	if it.state.lease != nil {
		return it.state.leaseEnd
	}
	if p, ok := it.source.(Paced); ok && p.Pace() == 0 {
		return time.Time{}
	}
	return asked.Add(it.keeper.opt.MaxStale)
}

// failed notes a failure and ends the value when its time is over.
func (it *item) failed(now time.Time, err error) {
	it.state.failures++
	old := it.current.Load()
	next := *old
	gone := errors.Is(err, ErrGone)
	if gone && old.why == nil && !old.leased {
		// A second failure of this kind must not move the end again.
		if end := now.Add(goneGrace); next.until.IsZero() || end.Before(next.until) {
			next.until = end
		}
	}
	it.shown.Lock()
	first := it.notes.failure == nil
	it.notes.failure = err
	if first {
		it.notes.failedAt = now
	}
	it.shown.Unlock()
	over := old.why != nil || !next.until.IsZero() && !now.Before(next.until)
	if over {
		next.fields, next.why = nil, err
		it.state.version, it.state.lease = "", nil
	}
	it.publish(old, next, over && old.why == nil)
	log := it.keeper.opt.Log
	switch {
	case old.serial == 0: // the load says it
	case over && old.why == nil:
		log.Error("secret has ended; what needs it is closed", "ref", it.key(), "error", err.Error())
	case first:
		log.Warn("secret can't be read; the last value serves on", "ref", it.key(), "until", next.until, "error", err.Error())
	}
}

// publish puts next in the place of old.
func (it *item) publish(old *snapshot, next snapshot, changed bool) {
	if changed {
		next.serial++
		next.next = make(chan struct{})
	}
	it.current.Store(&next)
	if changed {
		close(old.next)
	}
}

// when tells when the item is due again.
func (it *item) when(now time.Time) time.Time {
	k, s := it.keeper, it.current.Load()
	jitter := k.opt.Jitter()
	var wait time.Duration
	switch {
	case it.state.failures > 0:
		wait = min(firstWait<<min(it.state.failures-1, 10), longWait)
		wait = wait/2 + time.Duration(jitter*float64(wait/2))
		// Near to the end of a lease, more haste.
		if left := it.state.leaseEnd.Sub(now); it.state.lease != nil && left > 0 {
			wait = min(wait, max(left/3, firstWait/4))
		}
	case it.state.lease != nil:
		left := it.state.leaseEnd.Sub(now)
		wait = left*2/3 - time.Duration(jitter*float64(left/10))
	default:
		wait = k.opt.Poll
		if p, ok := it.source.(Paced); ok {
			wait = p.Pace()
		}
		if wait == 0 {
			return now.Add(100 * 365 * 24 * time.Hour)
		}
		wait += time.Duration((jitter - 0.5) / 5 * float64(wait))
	}
	due := now.Add(max(wait, firstWait/10))
	if !s.until.IsZero() && s.until.After(now) && s.until.Before(due) {
		due = s.until
	}
	return due
}

// end closes the item's handles and, with revoke, gives its lease back.
func (it *item) end(ctx context.Context, revoke bool) error {
	it.turn.Lock()
	defer it.turn.Unlock()
	old := it.current.Load()
	next := *old
	next.fields, next.why = nil, errors.New("no document in force uses it any more")
	it.publish(old, next, old.why == nil)
	lease := it.state.lease
	it.state.lease = nil
	leaser, ok := it.source.(Leaser)
	if !ok || lease == nil || !revoke {
		return nil
	}
	if err := leaser.Revoke(ctx, *lease); err != nil {
		return fmt.Errorf("give back the lease of %s: %w", it.key(), err)
	}
	return nil
}

// giveBack returns a lease that came too late to be used.
func (it *item) giveBack(lease *Lease) {
	leaser, ok := it.source.(Leaser)
	if !ok || lease == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeFor)
	defer cancel()
	if err := leaser.Revoke(ctx, *lease); err != nil {
		it.keeper.opt.Log.Warn("a lease that came too late could not be given back", "ref", it.key(), "error", err.Error())
	}
}

func sameFields(a, b map[string]Value) bool {
	if len(a) != len(b) {
		return false
	}
	for name, v := range a {
		if !v.Equal(b[name]) {
			return false
		}
	}
	return true
}

func (it *item) statuses(now time.Time) []Status {
	s := it.current.Load()
	it.keeper.mu.Lock()
	unwanted := !it.leaving.IsZero()
	it.keeper.mu.Unlock()
	it.shown.Lock()
	defer it.shown.Unlock()
	one := Status{Source: it.ref.Scheme(), Version: it.notes.version, Since: it.notes.since, Asked: it.notes.answered, Leased: s.leased, Unwanted: unwanted}
	if !s.until.IsZero() {
		one.Ends = &s.until
	}
	if !one.Since.IsZero() {
		one.AgeSecond = int64(now.Sub(one.Since) / time.Second)
	}
	if it.notes.failure != nil {
		at := it.notes.failedAt
		one.Failure, one.FailedAt = it.notes.failure.Error(), &at
	}
	var all []Status
	for ref, l := range it.lives {
		_, err := l.from(s, now)
		one.Ref, one.Usable = ref.String(), err == nil
		all = append(all, one)
	}
	return all
}
