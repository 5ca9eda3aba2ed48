package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// ErrStale: this node has heard from nobody for so long that it cannot tell which tokens were called back.
var ErrStale = errors.New("fleet: it is not known which tokens were called back: neither the store nor another node was heard of for too long")

const (
	feedTopic   = "revocations"
	pollEvery   = 250 * time.Millisecond
	pruneEvery  = time.Minute
	publishTime = 500 * time.Millisecond // a feed that is slower is not waited for
	sealPurpose = "revocation"
	maxPending  = 10_000
	feedMemory  = 45 * time.Second // less than what a feed keeps
)

// RevocationTools is what Revocations need from outside.
type RevocationTools struct {
	Durable store.Durable // where revocations are kept; its values are encrypted by whoever made it (store.Sealed)
	Feed    store.Feed    // nil: nodes learn from the store alone
	Sealer  store.Sealer  // of messages on the feed; nil: they travel as they are
	Digest  []byte        // secret of the digests in keys; nil: they can be guessed by trying names
	Now     func() time.Time
	Steady  func() time.Time // a clock that nobody sets, for how long nothing was heard; nil: Now
	Log     *slog.Logger     // nil: nothing is said
}

// Revocations are the tokens that were called back: kept durably, told to every node, and looked up by every request
// without waiting. Make one for each process, Load it before the first request, and let it Run.
type Revocations struct {
	cfg     RevocationConfig
	tools   RevocationTools
	near    *near
	contact atomic.Int64 // when this node last heard, by the steady clock, in nanoseconds; 0: never
	unread  atomic.Int64 // records that this program could not read
	mark    string       // of Durable.Since; Load and follow are the only ones to use it
	watches watches
	pending pending
}

// pending is what the store has not got yet.
type pending struct {
	sync.Mutex
	all map[string]Revocation
}

// NewRevocations makes one that knows nothing yet, and therefore errs for every token.
func NewRevocations(cfg RevocationConfig, tools RevocationTools) *Revocations {
	if tools.Log == nil {
		tools.Log = slog.New(slog.DiscardHandler)
	}
	if tools.Steady == nil {
		tools.Steady = tools.Now
	}
	return &Revocations{cfg: cfg.withDefaults(), tools: tools, near: newNear(), pending: pending{all: map[string]Revocation{}}}
}

// Revoked tells that a token was called back: by its id, by its subject or by when it was issued. It is asked for every
// request: it waits for nothing and allocates nothing. An error says that it is not known.
func (r *Revocations) Revoked(issuer, subject, id string, issued time.Time) (bool, error) {
	if r.near.revoked(issuer, subject, id, issued) {
		return true, nil
	}
	if r.stale() {
		return false, ErrStale
	}
	if r.near.held.Load() > int64(r.bound()) {
		return false, ErrFull
	}
	return false, nil
}

// bound is how many are held; writers stop at most, a fifth less, so that all nodes agree.
func (r *Revocations) bound() int { return r.cfg.Most + r.cfg.Most/4 }

// stale judges by the time since the last contact. A contact in the future means that the clock was set back: then the
// next poll, a moment later, decides.
func (r *Revocations) stale() bool {
	age := r.tools.Steady().UnixNano() - r.contact.Load()
	return age > int64(r.cfg.MaxLag) || age < -int64(time.Second)
}

// Longest is the longest life of a token that can be called back; see RevocationConfig.LongestToken.
func (r *Revocations) Longest() time.Duration { return r.cfg.LongestToken }

// Revoked tells what became of a revocation.
type Revoked struct {
	Revocation
	Kept bool `json:"kept"`               // durably
	Told bool `json:"told"`               // to the other nodes, over the feed; without one they learn it from the store
	Keys int  `json:"api_keys,omitempty"` // API keys that were revoked with them, for good; whoever keeps those counts them

	Sessions int `json:"sessions,omitempty"` // sessions that were ended with them; whoever keeps those counts them
}

// Revoke calls tokens back. It holds on this node at once and, when this returns without an error, is kept durably and
// reaches every other node within a second. With ErrNotKept it is in force wherever it was told, and Run goes on trying.
func (r *Revocations) Revoke(ctx context.Context, v Revocation) (Revoked, error) {
	v, err := v.complete(r.tools.Now(), r.cfg.LongestToken)
	if err != nil {
		return Revoked{}, err
	}
	if r.near.held.Load() >= int64(r.cfg.Most) && v.Kind == ByToken {
		return Revoked{}, ErrFull
	}
	r.learn([]Revocation{v})
	told := make(chan bool, 1)
	go func() { told <- r.tell(ctx, v) }() // beside the store: it may be the one that is gone
	kept, err := r.keep(ctx, v)
	result := Revoked{Revocation: kept, Kept: err == nil, Told: <-told}
	if err != nil {
		r.later(v)
		result.Revocation = v
		return result, fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	r.learn([]Revocation{kept})
	return result, nil
}

// Restored calls back every token of every issuer that was issued before a time: after the restore of an older backup,
// what was called back since it was made is not known any more.
func (r *Revocations) Restored(ctx context.Context, at time.Time) (Revoked, error) {
	return r.Revoke(ctx, Revocation{Kind: ByTime, Before: at, By: "restore", Why: "an older backup was restored; revocations made after it are not known"})
}

// keep writes a revocation durably, joined with what is kept under its key already.
func (r *Revocations) keep(ctx context.Context, v Revocation) (Revocation, error) {
	key := v.key(r.tools.Digest)
	for try := 0; ; try++ {
		joined, version := v, int64(0)
		old, err := r.tools.Durable.Get(ctx, key)
		switch {
		case err == nil:
			version = old.Version
			was, err := readRevocation(old.Value)
			if err != nil {
				return v, err
			}
			if joined = v.merge(was); joined.Before.Equal(was.Before) && joined.Until.Equal(was.Until) {
				return was, nil
			}
		case !errors.Is(err, store.ErrNone):
			return v, err
		}
		record, err := joined.record(r.tools.Digest)
		if err != nil {
			return v, err
		}
		_, err = r.tools.Durable.Write(ctx, store.Write{Key: key, Value: record.Value, Version: version, Expires: record.Expires})
		if err == nil {
			return joined, nil
		}
		if !errors.Is(err, store.ErrConflict) || try == 20 || ctx.Err() != nil {
			return v, err
		}
	}
}

// later remembers what the store has not got.
func (r *Revocations) later(v Revocation) {
	r.pending.Lock()
	defer r.pending.Unlock()
	key := v.key(nil)
	if was, ok := r.pending.all[key]; ok {
		v = v.merge(was)
	} else if len(r.pending.all) >= maxPending {
		return
	}
	r.pending.all[key] = v
}

// catchUp gives the store what it has not got.
func (r *Revocations) catchUp(ctx context.Context) {
	r.pending.Lock()
	all := make(map[string]Revocation, len(r.pending.all))
	for k, v := range r.pending.all {
		all[k] = v
	}
	r.pending.Unlock()
	for k, v := range all {
		if _, err := r.keep(ctx, v); err != nil {
			return
		}
		r.pending.Lock()
		if r.pending.all[k] == v {
			delete(r.pending.all, k)
		}
		r.pending.Unlock()
	}
	if len(all) > 0 {
		r.tools.Log.Info("revocations that the store had not got are kept now", "count", len(all))
	}
}

// message is what travels on the feed: a revocation, encrypted where there is a sealer, or nothing but a sign of life.
type message struct {
	Key    string `json:"key,omitempty"`
	Value  []byte `json:"value,omitempty"`
	Sealed bool   `json:"sealed,omitempty"`
}

func feedContext(key string) []byte { return []byte("feed\x00" + feedTopic + "\x00" + key) }

// tell publishes a revocation; nothing depends on its success.
func (r *Revocations) tell(ctx context.Context, v Revocation) bool {
	if r.tools.Feed == nil {
		return false
	}
	record, err := v.record(r.tools.Digest)
	m := message{Key: record.Key, Value: record.Value}
	if err == nil && r.tools.Sealer != nil {
		m.Sealed = true
		m.Value, err = r.tools.Sealer.Seal(sealPurpose, record.Value, feedContext(record.Key))
	}
	if err == nil {
		err = r.publish(ctx, m)
	}
	if err != nil {
		r.tools.Log.Warn("a revocation was not told over the feed; nodes learn it from the store", "error", err)
	}
	return err == nil
}

func (r *Revocations) publish(ctx context.Context, m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	return r.tools.Feed.Publish(ctx, feedTopic, data)
}

// hear reads a message of the feed. Only what was sealed counts where there is a sealer: who can write to the feed must
// not be able to lock callers out.
func (r *Revocations) hear(data []byte) (v Revocation, any bool, err error) {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return v, false, errors.New("fleet: a message of the feed is not ours")
	}
	if m.Key == "" {
		return v, false, nil
	}
	if m.Sealed != (r.tools.Sealer != nil) {
		return v, false, errors.New("fleet: a message of the feed is not sealed as it should be")
	}
	if m.Sealed {
		if m.Value, err = r.tools.Sealer.Open(sealPurpose, m.Value, feedContext(m.Key)); err != nil {
			return v, false, err
		}
	}
	v, err = readRevocation(m.Value)
	return v, err == nil, err
}

// learn makes revocations known here, unless they have ended, and ends what goes on under them.
func (r *Revocations) learn(all []Revocation) (news int) {
	now, kept := r.tools.Now(), all[:0:0]
	for _, v := range all {
		if v.Until.After(now) {
			kept = append(kept, v)
		}
	}
	if len(kept) == 0 {
		return 0
	}
	if news = r.near.add(kept); news > 0 {
		r.watches.ring(r.near)
	}
	return news
}
