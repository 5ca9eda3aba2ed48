// Package kept is the patches that were added by command: one record each in the durable store, which every node follows, so
// that a hole is closed on all of them in under a second and stays so over restarts. A request never waits for the store: it
// is asked what is known. A record that this version doesn't understand is never taken for no patch.
package kept

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/patch"
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
	Write(ctx context.Context, w Write) (int64, error)
	record.Changes
}

// Entry is one patch as it is kept.
type Entry struct {
	API string `json:"api"`
	patch.Patch
	Added   time.Time `json:"added"`
	Trial   Trial     `json:"trial"`
	Removed *Removal  `json:"removed,omitempty"`
}

// Trial is how a patch was tried before it was added.
type Trial struct {
	Exploits int    `json:"exploits"`           // requests that it must deny, and does
	Good     int    `json:"good"`               // requests that it must let pass, and does
	Untested string `json:"untested,omitempty"` // why it was not tried
}

// Removal is why a patch was removed before its end.
type Removal struct {
	By  string    `json:"by"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// What is answered to changes.
var (
	ErrTwice   = errors.New("there is a patch of this name for this API already; remove it first, or take another name")
	ErrNone    = errors.New("there is no such patch in force; gatehouse patch list shows those that are")
	ErrFull    = errors.New("as many patches are in force as may be; remove those whose servers are mended")
	errUnknown = errors.New("a patch is kept in a form that this program cannot read; is another version running?")
)

const (
	prefix   = "patch/"
	shownFor = 30 * 24 * time.Hour // how long a patch is listed after it has ended
	most     = 500                 // in force at once, of all APIs
)

// Options is what Patches need from outside.
type Options struct {
	Digest []byte // secret of the digests in keys; nil: names can be guessed
	Now    func() time.Time
	Log    *slog.Logger // nil: nothing is said
}

// Patches are those that were added by command. Make one for each process, Load it before the first request, and let it Run.
type Patches struct {
	in       Records
	errors   Errors
	options  Options
	loader   *patch.Loader
	follower *record.Follower[known]
	list     atomic.Pointer[patch.List]
}

type known struct {
	Entry
	ready *patch.Compiled
}

// New makes one that knows nothing yet.
func New(in Records, e Errors, o Options) (*Patches, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	loader, err := patch.NewLoader(0)
	p := &Patches{in: in, errors: e, options: o, loader: loader}
	p.list.Store(&patch.List{})
	p.follower = record.Follow(in, record.Options[known]{
		Prefix: prefix, What: "patches", Unread: "a patch is not understood, and not applied", Invalid: e.Invalid, Now: o.Now, Log: o.Log,
		Read: p.understand, Changed: p.changed,
	})
	return p, err
}

// Patches is what is in force, for the guard. It waits for nothing.
func (p *Patches) Patches() *patch.List { return p.list.Load() }

// Loader compiles what is to be added as it will be compiled.
func (p *Patches) Loader() *patch.Loader { return p.loader }

// key is where a patch is kept. Keys are not encrypted, so a digest stands there: what is patched is not to be read from them.
func (p *Patches) key(api, id string) string {
	h := hmac.New(sha256.New, p.options.Digest)
	var length [8]byte
	for _, part := range []string{api, id} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return prefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Add keeps a patch, which the caller has checked and tried. When it returns without an error, it is in force on this node and
// will be on every other within a second; with an error it is nowhere, as far as is known.
func (p *Patches) Add(ctx context.Context, e Entry) (Entry, error) {
	now := p.options.Now().UTC().Truncate(time.Second)
	e.Added, e.Removed, e.Until = now, nil, e.Until.UTC()
	if len(p.InForce()) >= most {
		return e, ErrFull
	}
	key, version := p.key(e.API, e.ID), int64(0)
	old, err := p.in.Get(ctx, key)
	switch {
	case errors.Is(err, p.errors.None):
	case err != nil:
		return e, err
	default:
		was, err := read(old.Value)
		if err != nil {
			return e, err // it may be in force on nodes that understand it
		}
		if was.Removed == nil && !was.Expired(now) {
			return e, ErrTwice
		}
		version = old.Version
	}
	return e, p.write(ctx, key, version, e, e.Until.Add(shownFor))
}

// Remove ends a patch before its day. The record stays a while, so that every node learns of it.
func (p *Patches) Remove(ctx context.Context, api, id, by, why string) (Entry, error) {
	key := p.key(api, id)
	old, err := p.in.Get(ctx, key)
	if errors.Is(err, p.errors.None) {
		return Entry{}, ErrNone
	}
	if err != nil {
		return Entry{}, err
	}
	e, err := read(old.Value)
	if err == nil && e.Removed != nil {
		err = ErrNone
	}
	if err != nil {
		return Entry{}, err
	}
	now := p.options.Now().UTC().Truncate(time.Second)
	e.Removed = &Removal{By: by, Why: why, At: now}
	return e, p.write(ctx, key, old.Version, e, now.Add(shownFor))
}

func (p *Patches) write(ctx context.Context, key string, version int64, e Entry, expires time.Time) error {
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	next, err := p.in.Write(ctx, Write{Key: key, Value: value, Version: version, Expires: expires})
	if errors.Is(err, p.errors.Conflict) {
		return fmt.Errorf("somebody else has changed this patch just now; look at gatehouse patch list (%w)", err)
	}
	if err != nil {
		return err
	}
	p.follower.Learn(Record{Key: key, Value: value, Version: next, Expires: expires})
	return nil
}

// read gives what a record says, as far as this version knows it.
func read(value []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(value, &e); err != nil || e.API == "" || e.ID == "" || e.Until.IsZero() {
		return Entry{}, errUnknown
	}
	return e, nil
}

// compile makes a patch ready. One that says more than this version knows, since a newer one wrote it, is not taken for one that
// says less.
func (p *Patches) compile(e Entry, value []byte) *patch.Compiled {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(new(Entry)); err != nil {
		return patch.Unloaded(e.API, e.Patch, err)
	}
	return p.loader.Added(e.API, e.Patch)
}

// Load learns what has changed in the store since it was asked last.
func (p *Patches) Load(ctx context.Context) error { return p.follower.Load(ctx) }

// Run follows the store until ctx ends.
func (p *Patches) Run(ctx context.Context) { p.follower.Run(ctx) }

// understand makes a patch ready that a record tells of.
func (p *Patches) understand(r Record, _ known) (known, error) {
	e, err := read(r.Value)
	if err != nil {
		return known{}, err
	}
	k := known{Entry: e}
	if e.Removed == nil {
		k.ready = p.compile(e, r.Value)
		if why := k.ready.Broken(); why != nil {
			p.options.Log.Error("a patch can't be loaded, so it denies every request that it could be about", "api", e.API, "patch", e.ID, "error", why)
		}
	}
	return k, nil
}

// changed makes the list anew.
func (p *Patches) changed(all []known) {
	list := &patch.List{By: map[string][]*patch.Compiled{}}
	for _, k := range sorted(all) {
		if k.ready != nil {
			list.By[k.API] = append(list.By[k.API], k.ready)
		}
	}
	p.list.Store(list)
}

// sorted is by API and name.
func sorted(list []known) []known {
	slices.SortFunc(list, func(a, b known) int { return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.ID, b.ID)) })
	return list
}

// All are the patches that are known here, also those that have ended or were removed in the last month, by API and name.
func (p *Patches) All() []Entry {
	var list []Entry
	for _, k := range sorted(p.follower.All()) {
		list = append(list, k.Entry)
	}
	return list
}

// InForce are the patches that requests are judged by.
func (p *Patches) InForce() []Entry {
	now := p.options.Now()
	return slices.DeleteFunc(p.All(), func(e Entry) bool { return e.Removed != nil || e.Expired(now) })
}

// Findings tells what isn't as it should be: patches that have ended or will soon, records that can't be read, a store of which
// nothing was heard.
func (p *Patches) Findings() (list []string) {
	now := p.options.Now()
	for _, e := range p.All() {
		name := fmt.Sprintf("patch %s of %s", e.ID, e.API)
		switch {
		case e.Removed != nil:
		case e.Expired(now):
			list = append(list, fmt.Sprintf("%s has ended on %s and denies nothing any more (%s); is the server mended? then: gatehouse patch remove %s --api %s; else add it again", name, day(e.Until), e.Reason, e.ID, e.API))
		case e.EndsSoon(now):
			list = append(list, fmt.Sprintf("%s ends on %s (%s)", name, day(e.Until), e.Reason))
		}
	}
	for _, k := range sorted(p.follower.All()) {
		if k.ready != nil && k.ready.Broken() != nil && !k.Expired(now) {
			list = append(list, fmt.Sprintf("patch %s of %s denies every request that it could be about: %v", k.ID, k.API, k.ready.Broken()))
		}
	}
	if n := p.follower.Unread(); n > 0 {
		list = append(list, fmt.Sprintf("%d patches can't be read by this version and are not applied here", n))
	}
	if !p.follower.Heard() {
		list = append(list, "patches that were added elsewhere lately are not known here: the store was not heard of")
	}
	return list
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
