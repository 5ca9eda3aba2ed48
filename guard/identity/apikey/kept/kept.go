// Package kept is the API keys of an installation: one record each in the durable store, which every node follows, so that a
// key opens, and is shut out, on all of them in under a second. A record holds the digest of a key and never the key. A
// request never waits for the store: it is asked what is known. When a key was used last is noted roughly, in records of its
// own and at most once an hour for each key, so that it stands in the way of no change.
package kept

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// What is needed of a durable store.
type (
	Record = record.Record
	Write  = record.Write
	Errors = record.Errors
)

// Records is the part of the durable store that is needed. Its errors are told apart by Errors.
type Records interface {
	Get(ctx context.Context, key string) (Record, error)
	WriteAll(ctx context.Context, all ...Write) error
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)
	record.Changes
}

// What is answered to changes.
var (
	ErrNone    = errors.New("there is no such API key, or it was revoked; gatehouse apikey list shows those that are")
	ErrFull    = errors.New("as many API keys are in force as may be; revoke those that nobody uses, which gatehouse apikey list shows")
	errUnknown = errors.New("an API key is kept in a form that this program cannot read; is another version running?")
)

const (
	prefix    = "apikey/"
	uses      = "apikey-use/"
	noteEvery = time.Minute
	patience  = 5 * time.Second
	shownFor  = 30 * 24 * time.Hour // how long a key is listed after it has ended
	most      = 10_000              // in force at once
	soon      = 14 * 24 * time.Hour // before its end a key is told of
	coarse    = time.Hour           // how exactly it is known when a key was used
	notes     = 500                 // uses that are written at once
	page      = 200
	tries     = 5 // of a change that another one came before
)

// Options is what Keys need from outside.
type Options struct {
	Digest []byte // secret of the digests in names of records
	Rand   io.Reader
	Now    func() time.Time
	Log    *slog.Logger // nil: nothing is said
}

// Keys are the API keys. Make one for each process, Load it before the first request, and let it Run.
type Keys struct {
	in       Records
	errors   Errors
	options  Options
	follower *record.Follower[*apikey.Entry]
	table    atomic.Pointer[map[apikey.Digest]*apikey.Entry]

	mu    sync.Mutex           // guards the rest
	noted map[string]time.Time // by id: the use that was written last
}

// stored is the form of a record.
type stored struct {
	apikey.Key
	Digest []byte `json:"digest"`
}

// use is the form of a record of use.
type use struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// New makes one that knows nothing yet.
func New(in Records, e Errors, o Options) *Keys {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keys{in: in, errors: e, options: o, noted: map[string]time.Time{}}
	k.table.Store(&map[apikey.Digest]*apikey.Entry{})
	k.follower = record.Follow(in, record.Options[*apikey.Entry]{
		Prefix: prefix, What: "API keys", Unread: "an API key is not understood, and opens nothing", Invalid: e.Invalid, Now: o.Now, Log: o.Log,
		Read: entryOf, Drop: true, Changed: k.changed,
	})
	return k
}

// Find gives the key of a digest, also one that has ended, or nil. It waits for nothing.
func (k *Keys) Find(d apikey.Digest) *apikey.Entry { return (*k.table.Load())[d] }

// ByID gives the key of an id as it is known here, or nil.
func (k *Keys) ByID(id string) *apikey.Entry {
	e, _ := k.follower.Get(k.name(prefix, id))
	return e
}

// Heard tells that the store was heard of lately.
func (k *Keys) Heard() bool { return k.follower.Heard() }

// name is where something about a key is kept. Names of records are not encrypted, so a digest stands there.
func (k *Keys) name(prefix, id string) string {
	h := hmac.New(sha256.New, k.options.Digest)
	h.Write([]byte(id))
	return prefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Create makes a key for an owner and gives it, this once. When it returns without an error, the key opens this node now and
// every other within a second.
func (k *Keys) Create(ctx context.Context, q apikey.Key) (made apikey.Key, key string, err error) {
	made, key, w, err := k.make(q)
	if err == nil {
		err = k.write(ctx, w)
	}
	if err != nil {
		return apikey.Key{}, "", err
	}
	return made, key, nil
}

// make checks what is asked for, and makes a key and its record.
func (k *Keys) make(q apikey.Key) (apikey.Key, string, Write, error) {
	q.Created = k.now()
	q.Expires = q.Expires.UTC().Truncate(time.Second)
	q.Next, q.Revoked = "", nil
	if err := Check(q); err != nil {
		return q, "", Write{}, err
	}
	if k.inForce() >= most {
		return q, "", Write{}, ErrFull
	}
	id, key, err := apikey.Make(k.options.Rand)
	if err != nil {
		return q, "", Write{}, err
	}
	q.ID = id
	digest := apikey.DigestOf(key)
	w, err := k.record(q, digest[:], 0)
	return q, key, w, err
}

// Rotate makes a key in the place of another, with the same owner, scopes, roles and APIs, and gives it, this once. The old
// one is good for the overlap, or for nothing any more when that is none. Both happen or neither.
func (k *Keys) Rotate(ctx context.Context, id string, overlap time.Duration, expires time.Time, by, why string) (made, old apikey.Key, key string, err error) {
	for range tries {
		var was stored
		var version int64
		if was, version, err = k.get(ctx, id); err != nil {
			return made, old, "", err
		}
		now := k.now()
		if was.Next != "" {
			return made, old, "", fmt.Errorf("API key %s was rotated already, and %s stands in its place: rotate that one", id, was.Next)
		}
		if expires.IsZero() {
			expires = now.Add(was.Expires.Sub(was.Created))
		}
		next := was.Key
		next.Replaces, next.Expires, next.By = id, expires, by
		next.Why = cmp.Or(why, was.Why)
		var created, changed Write
		if made, key, created, err = k.make(next); err != nil {
			return made, old, "", err
		}
		old = was.Key
		old.Next = made.ID
		if overlap <= 0 {
			old.Revoked = &apikey.Revoking{By: by, Why: "replaced by " + made.ID, At: now}
		} else if end := now.Add(overlap); end.Before(old.Expires) {
			old.Expires = end.UTC()
		}
		if changed, err = k.record(old, was.Digest, version); err != nil {
			return made, old, "", err
		}
		if err = k.write(ctx, created, changed); !errors.Is(err, k.errors.Conflict) {
			break
		}
	}
	if err != nil {
		return apikey.Key{}, apikey.Key{}, "", err
	}
	return made, old, key, nil
}

// Revoke ends a key before its day. The record stays a while, so that every node learns of it.
func (k *Keys) Revoke(ctx context.Context, id, by, why string) (done apikey.Key, err error) {
	for range tries {
		was, version, err := k.get(ctx, id)
		if err != nil {
			return apikey.Key{}, err
		}
		was.Revoked = &apikey.Revoking{By: by, Why: why, At: k.now()}
		w, err := k.record(was.Key, was.Digest, version)
		if err == nil {
			err = k.write(ctx, w)
		}
		if !errors.Is(err, k.errors.Conflict) {
			return was.Key, err
		}
	}
	return apikey.Key{}, fmt.Errorf("somebody else changes this API key all the time (%w); try again", k.errors.Conflict)
}

// RevokeAll revokes every key in force for which matches, and gives how many. Without an error there is no other: a store that is
// away, or a record that can't be read, may hold one that is not known here.
func (k *Keys) RevokeAll(ctx context.Context, matches func(apikey.Key) bool, by, why string) (n int, err error) {
	if err := k.Load(ctx); err != nil {
		return 0, err
	}
	for _, one := range k.all() {
		if one.Revoked != nil || !k.now().Before(one.Expires) || !matches(one) {
			continue
		}
		if _, err := k.Revoke(ctx, one.ID, by, why); err != nil && !errors.Is(err, ErrNone) {
			return n, err
		}
		n++
	}
	if k.follower.Unread() > 0 {
		return n, errUnknown
	}
	return n, nil
}

// get reads a key from the store that was not revoked. One that has ended can be rotated, and put away.
func (k *Keys) get(ctx context.Context, id string) (stored, int64, error) {
	r, err := k.in.Get(ctx, k.name(prefix, id))
	if errors.Is(err, k.errors.None) {
		return stored{}, 0, fmt.Errorf("API key %q: %w", id, ErrNone)
	}
	if err != nil {
		return stored{}, 0, err
	}
	s, err := read(r.Value)
	if err == nil && s.Revoked != nil {
		err = fmt.Errorf("API key %s: %w", id, ErrNone)
	}
	return s, r.Version, err
}

func (k *Keys) now() time.Time { return k.options.Now().UTC().Truncate(time.Second) }

// record writes a key in the form in which it is kept.
func (k *Keys) record(q apikey.Key, digest []byte, version int64) (Write, error) {
	value, err := json.Marshal(stored{q, digest})
	return Write{Key: k.name(prefix, q.ID), Value: value, Version: version, Expires: end(q)}, err
}

// end is when the record of a key goes.
func end(q apikey.Key) time.Time {
	if q.Revoked != nil {
		return q.Revoked.At.Add(shownFor)
	}
	return q.Expires.Add(shownFor)
}

// write makes changes, and learns them here at once.
func (k *Keys) write(ctx context.Context, all ...Write) error {
	if err := k.in.WriteAll(ctx, all...); err != nil {
		return err
	}
	learned := make([]Record, len(all))
	for i, w := range all {
		learned[i] = Record{Key: w.Key, Value: w.Value, Version: w.Version + 1, Expires: w.Expires}
	}
	k.follower.Learn(learned...)
	return nil
}

// read reads what record wrote. What this program does not understand is an error and never no key.
func read(value []byte) (stored, error) {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil || !apikey.IsID(s.ID) || len(s.Digest) != sha256.Size || s.Owner == "" || s.Expires.IsZero() || len(s.APIs) == 0 {
		return stored{}, errUnknown
	}
	return s, nil
}

// Load learns what has changed in the store since it was asked last.
func (k *Keys) Load(ctx context.Context) error { return k.follower.Load(ctx) }

// entryOf makes what is looked up of a record. Uses that were not written yet stay with it.
func entryOf(r Record, old *apikey.Entry) (*apikey.Entry, error) {
	s, err := read(r.Value)
	if err != nil {
		return nil, err
	}
	e := apikey.NewEntry(s.Key, apikey.Digest(s.Digest))
	if old != nil && !old.Used().IsZero() {
		e.Note(old.Used())
	}
	return e, nil
}

// changed makes the table anew.
func (k *Keys) changed(all []*apikey.Entry) {
	table, ids := make(map[apikey.Digest]*apikey.Entry, len(all)), map[string]bool{}
	for _, e := range all {
		table[e.Digest()], ids[e.ID] = e, true
	}
	k.table.Store(&table)
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.noted, func(id string, _ time.Time) bool { return !ids[id] })
}

// Run follows the store until ctx ends, and writes down now and then which keys were used.
func (k *Keys) Run(ctx context.Context) {
	var following sync.WaitGroup
	following.Go(func() { k.follower.Run(ctx) })
	defer following.Wait()
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		attempt, cancel := context.WithTimeout(ctx, patience)
		if err := k.NoteUses(attempt); err != nil && ctx.Err() == nil {
			k.options.Log.Warn("when API keys were used can't be written down", "error", err)
		}
		cancel()
	}
}

// NoteUses writes down which keys were used since, each at most once an hour.
func (k *Keys) NoteUses(ctx context.Context) error {
	var all []Write
	written := map[string]time.Time{}
	for _, e := range k.follower.All() {
		at := e.Used()
		k.mu.Lock()
		lately := at.Sub(k.noted[e.ID]) < coarse
		k.mu.Unlock()
		if at.IsZero() || lately || len(all) == notes {
			continue
		}
		value, err := json.Marshal(use{e.ID, at.UTC()})
		if err != nil {
			return err
		}
		all = append(all, Write{Key: k.name(uses, e.ID), Value: value, Version: -1, Expires: end(e.Key)})
		written[e.ID] = at
	}
	if len(all) == 0 {
		return nil
	}
	if err := k.in.WriteAll(ctx, all...); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(k.noted, written)
	return nil
}

// all are the keys that are known here, by owner, then by when they were made.
func (k *Keys) all() []apikey.Key {
	entries := k.follower.All()
	list := make([]apikey.Key, len(entries))
	for i, e := range entries {
		list[i] = e.Key
	}
	slices.SortFunc(list, func(a, b apikey.Key) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (k *Keys) inForce() (n int) {
	now := k.options.Now()
	for _, one := range k.all() {
		if one.Revoked == nil && now.Before(one.Expires) {
			n++
		}
	}
	return n
}

// Listed is a key and when it was used last, on any node, to about an hour.
type Listed struct {
	apikey.Key
	LastUse time.Time `json:"last_use,omitzero"`
}

// List gives the keys, also those that have ended or were revoked in the last month.
func (k *Keys) List(ctx context.Context) ([]Listed, error) {
	if err := k.Load(ctx); err != nil {
		return nil, err
	}
	last := map[string]time.Time{}
	for after := ""; ; {
		records, err := k.in.List(ctx, uses, after, page)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			var u use
			if err := json.Unmarshal(r.Value, &u); err == nil {
				last[u.ID] = u.At
			}
			after = r.Key
		}
		if len(records) < page {
			break
		}
	}
	var list []Listed
	for _, one := range k.all() {
		l := Listed{Key: one, LastUse: last[one.ID]}
		if e := k.ByID(one.ID); e != nil && e.Used().After(l.LastUse) {
			l.LastUse = e.Used().UTC()
		}
		list = append(list, l)
	}
	return list, nil
}

// Findings tells what isn't as it should be: keys that end soon or ended while somebody may need them, records that can't be
// read, a store of which nothing was heard.
func (k *Keys) Findings() (list []string) {
	now := k.options.Now()
	for _, one := range k.all() {
		name := fmt.Sprintf("API key %s of %s", one.ID, one.Owner)
		switch left := one.Expires.Sub(now); {
		case one.Revoked != nil, one.Next != "": // its owner has another
		case left <= 0:
			list = append(list, fmt.Sprintf("%s has ended on %s; nobody needs it? then: gatehouse apikey revoke %s; else make another", name, day(one.Expires), one.ID))
		case left <= min(soon, one.Expires.Sub(one.Created)/4):
			list = append(list, fmt.Sprintf("%s ends on %s; to replace it: gatehouse apikey rotate %s --overlap 24h", name, day(one.Expires), one.ID))
		}
	}
	if n := k.follower.Unread(); n > 0 {
		list = append(list, fmt.Sprintf("%d API keys can't be read by this version and open nothing here", n))
	}
	if !k.follower.Heard() {
		list = append(list, "API keys that were made elsewhere lately are not known here: the store was not heard of")
	}
	return list
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
