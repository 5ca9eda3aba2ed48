package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Load reads every revocation from the store. Until it has succeeded once, Revoked errs.
func (r *Revocations) Load(ctx context.Context) error {
	for {
		asked := r.tools.Steady()
		changed, next, err := r.tools.Durable.Since(ctx, revocationPrefix, r.mark)
		if errors.Is(err, store.ErrInvalid) && r.mark != "" {
			r.mark = "" // the store was moved to another kind; everything is read again
			continue
		}
		if err != nil {
			return err
		}
		r.learn(r.read(changed))
		done := len(changed) == 0 || next == r.mark
		r.mark = next
		if done {
			r.contact.Store(asked.UnixNano())
			return nil
		}
	}
}

func (r *Revocations) read(records []store.Record) []Revocation {
	all := make([]Revocation, 0, len(records))
	for _, record := range records {
		v, err := readRevocation(record.Value)
		if err != nil {
			r.unread.Add(1)
			r.tools.Log.Error("a revocation is not understood", "record", record.Key, "error", err)
			continue
		}
		all = append(all, v)
	}
	return all
}

// Run follows the store and the feed until ctx ends: either alone is enough to learn of a revocation within a second.
func (r *Revocations) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { r.followStore(ctx) })
	if r.tools.Feed != nil {
		all.Go(func() { r.followFeed(ctx) })
		all.Go(func() { r.beat(ctx) })
	}
	all.Wait()
	r.leave(ctx)
}

// leave tries once more to keep what is in force without being kept: else it ends with this process.
func (r *Revocations) leave(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	r.catchUp(last)
	if n := r.Status().Pending; n > 0 {
		r.tools.Log.Error("revocations that the store has not got end with this process; call these tokens back again", "count", n)
	}
}

// patience is how long a store or feed is waited for: several attempts fit into the time after which nothing is known.
func (r *Revocations) patience() time.Duration { return r.cfg.MaxLag / 3 }

func (r *Revocations) followStore(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing, pruned := false, r.tools.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, r.patience())
		err := r.Load(attempt)
		if err == nil {
			r.catchUp(attempt)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing {
			failing = failed
			r.say(err)
		}
		if now := r.tools.Now(); now.Sub(pruned) >= pruneEvery || now.Before(pruned) {
			r.near.prune(now)
			pruned = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Revocations) say(err error) {
	if err == nil {
		r.tools.Log.Info("revocations are followed in the store again")
	} else {
		r.tools.Log.Warn("revocations cannot be followed in the store", "error", err)
	}
}

// followFeed learns from messages. That nothing was missed is certain only while messages come: after a silence longer
// than the feed's memory the feed alone proves nothing until the store was read again.
func (r *Revocations) followFeed(ctx context.Context) {
	after := ""
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, r.patience())
		messages, next, err := r.tools.Feed.Read(attempt, feedTopic, after)
		cancel()
		if err != nil {
			select {
			case <-time.After(pollEvery / 2):
			case <-ctx.Done():
			}
			continue
		}
		after = next
		r.heard(messages)
	}
}

func (r *Revocations) heard(messages [][]byte) {
	var all []Revocation
	for _, data := range messages {
		v, any, err := r.hear(data)
		if err != nil {
			r.tools.Log.Warn("a message of the feed is refused", "error", err)
		}
		if any {
			all = append(all, v)
		}
	}
	r.learn(all)
	now := r.tools.Steady().UnixNano()
	if last := r.contact.Load(); now > last && now-last <= int64(min(r.cfg.MaxLag, feedMemory)) {
		r.contact.CompareAndSwap(last, now)
	}
}

// beat shows the others that the feed works.
func (r *Revocations) beat(ctx context.Context) {
	tick := time.NewTicker(r.cfg.MaxLag / 10)
	defer tick.Stop()
	for {
		_ = r.publish(ctx, message{}) // whoever hears none draws the conclusion
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// RevocationStatus is what a node knows of revocations.
type RevocationStatus struct {
	Held    int64   `json:"held"`              // how many
	Lag     float64 `json:"lag"`               // seconds since the store or another node was heard of; -1: never
	Stale   bool    `json:"stale,omitempty"`   // too long ago: every token is refused
	Pending int     `json:"pending,omitempty"` // in force, not kept yet
	Unread  int64   `json:"unread,omitempty"`  // kept in a form that this program does not understand
}

// Status tells what is known, and how fresh it is.
func (r *Revocations) Status() RevocationStatus {
	r.pending.Lock()
	pending := len(r.pending.all)
	r.pending.Unlock()
	s := RevocationStatus{Held: r.near.held.Load(), Lag: -1, Stale: r.stale(), Pending: pending, Unread: r.unread.Load()}
	if c := r.contact.Load(); c != 0 {
		s.Lag = max(0, time.Duration(r.tools.Steady().UnixNano()-c).Seconds())
	}
	return s
}

// List gives revocations that are kept, at most limit of them, in no order that means anything, and where to go on; an
// empty next says that there are no more.
func (r *Revocations) List(ctx context.Context, after string, limit int) (all []Revocation, next string, err error) {
	records, err := r.tools.Durable.List(ctx, revocationPrefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	if len(records) == limit && limit > 0 {
		next = records[len(records)-1].Key
	}
	return r.read(records), next, nil
}
