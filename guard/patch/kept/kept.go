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
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/patch"
)

// Record is a value under a key, as the durable store has it.
type Record struct {
	Key     string
	Value   []byte
	Version int64
	Expires time.Time
}

// Write is one change of one record; see the durable store.
type Write struct {
	Key     string
	Value   []byte
	Version int64
	Expires time.Time
}

// Records is the part of the durable store that is needed. Its errors are told apart by Errors.
type Records interface {
	Get(ctx context.Context, key string) (Record, error)
	Write(ctx context.Context, w Write) (int64, error)
	Since(ctx context.Context, prefix, mark string) (changed []Record, next string, err error)
}

// Errors are what Records answers with, compared by errors.Is.
type Errors struct {
	None     error // there is no such record
	Conflict error // the record has another version by now
	Invalid  error // the mark is not one of this store's
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
	prefix    = "patch/"
	pollEvery = 250 * time.Millisecond
	patience  = 5 * time.Second
	shownFor  = 30 * 24 * time.Hour // how long a patch is listed after it has ended
	most      = 500                 // in force at once, of all APIs
	silence   = 10 * time.Second    // after which it is told that nothing is heard
)

// Options is what Patches need from outside.
type Options struct {
	Digest []byte // secret of the digests in keys; nil: names can be guessed
	Now    func() time.Time
	Log    *slog.Logger // nil: nothing is said
}

// Patches are those that were added by command. Make one for each process, Load it before the first request, and let it Run.
type Patches struct {
	in      Records
	errors  Errors
	options Options
	loader  *patch.Loader
	list    atomic.Pointer[patch.List]
	contact atomic.Int64 // when the store was heard of last, in nanoseconds; 0: never

	loading sync.Mutex // of Load, which one does at a time
	mark    string     // of Since

	mu     sync.Mutex // guards known and unread
	known  map[string]known
	unread map[string]time.Time // records that can't be read, and until when they are there
}

type known struct {
	Entry
	version int64
	until   time.Time // from then on the record is not there
	ready   *patch.Compiled
}

// New makes one that knows nothing yet.
func New(in Records, e Errors, o Options) (*Patches, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	loader, err := patch.NewLoader(0)
	p := &Patches{in: in, errors: e, options: o, loader: loader, known: map[string]known{}, unread: map[string]time.Time{}}
	p.list.Store(&patch.List{})
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
	p.learn([]Record{{Key: key, Value: value, Version: next, Expires: expires}})
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

// Load reads every patch from the store.
func (p *Patches) Load(ctx context.Context) error {
	p.loading.Lock() // it is followed, and an operator may ask
	defer p.loading.Unlock()
	for {
		asked := p.options.Now()
		changed, next, err := p.in.Since(ctx, prefix, p.mark)
		if errors.Is(err, p.errors.Invalid) && p.mark != "" {
			p.mark = "" // the store was moved to another kind; everything is read again
			continue
		}
		if err != nil {
			return err
		}
		p.learn(changed)
		done := len(changed) == 0 || next == p.mark
		p.mark = next
		if done {
			p.contact.Store(asked.UnixNano())
			return nil
		}
	}
}

// Run follows the store until ctx ends.
func (p *Patches) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := p.Load(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				p.options.Log.Warn("patches can't be followed in the store; those that are known stay in force", "error", err)
			} else {
				p.options.Log.Info("patches are followed in the store again")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// learn takes records in, and makes the list anew when something has changed.
func (p *Patches) learn(records []Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.forget()
	for _, r := range records {
		if old, ok := p.known[r.Key]; ok && r.Version <= old.version {
			continue // told twice, or our own change came after what was read meanwhile
		}
		e, err := read(r.Value)
		if err != nil {
			p.unread[r.Key] = r.Expires
			p.options.Log.Error("a patch is not understood, and not applied", "record", r.Key, "error", err)
			continue
		}
		delete(p.unread, r.Key)
		k := known{Entry: e, version: r.Version, until: r.Expires}
		if e.Removed == nil {
			k.ready = p.compile(e, r.Value)
			if why := k.ready.Broken(); why != nil {
				p.options.Log.Error("a patch can't be loaded, so it denies every request that it could be about", "api", e.API, "patch", e.ID, "error", why)
			}
		}
		p.known[r.Key] = k
		changed = true
	}
	if !changed {
		return
	}
	list := &patch.List{By: map[string][]*patch.Compiled{}}
	for _, k := range p.sorted() {
		if k.ready != nil {
			list.By[k.API] = append(list.By[k.API], k.ready)
		}
	}
	p.list.Store(list)
}

// forget drops what the store has dropped, which it doesn't tell.
func (p *Patches) forget() (changed bool) {
	now := p.options.Now()
	for key, k := range p.known {
		if !k.until.IsZero() && !now.Before(k.until) {
			delete(p.known, key)
			changed = true
		}
	}
	for key, until := range p.unread {
		if !until.IsZero() && !now.Before(until) {
			delete(p.unread, key)
		}
	}
	return changed
}

func (p *Patches) sorted() []known {
	list := make([]known, 0, len(p.known))
	for _, k := range p.known {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b known) int { return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.ID, b.ID)) })
	return list
}

// All are the patches that are known here, also those that have ended or were removed in the last month, by API and name.
func (p *Patches) All() []Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Entry
	for _, k := range p.sorted() {
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
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.sorted() {
		if k.ready != nil && k.ready.Broken() != nil && !k.Expired(now) {
			list = append(list, fmt.Sprintf("patch %s of %s denies every request that it could be about: %v", k.ID, k.API, k.ready.Broken()))
		}
	}
	if n := len(p.unread); n > 0 {
		list = append(list, fmt.Sprintf("%d patches can't be read by this version and are not applied here", n))
	}
	if heard := p.contact.Load(); heard == 0 || now.Sub(time.Unix(0, heard)) > silence {
		list = append(list, "patches that were added elsewhere lately are not known here: the store was not heard of")
	}
	return list
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
