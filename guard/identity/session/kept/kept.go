// Package kept is the sessions of an installation: one record each in the durable store, which every node follows, so that a
// session opens, and is shut out, on all of them in under a second. A record holds digests of cookies and never a cookie. A
// request waits for the store only for a session that this node has not heard of yet, or may have heard too little of. When a
// session was used last is noted roughly, and what its provider gave for asking again lies apart; both in records of their
// own, so that they stand in the way of no change and are not in memory.
package kept

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// Records is the part of the durable store that is needed.
type Records interface {
	Get(ctx context.Context, key string) (record.Record, error)
	WriteAll(ctx context.Context, all ...record.Write) error
	record.Changes
}

const (
	prefix    = "session/"
	uses      = "session-use/"
	grants    = "session-grant/"
	noteEvery = 15 * time.Second
	patience  = 5 * time.Second
	asking    = time.Second // that a request waits for the store
	lookAgain = time.Second // between two looks into the store for one session
	shownFor  = time.Hour   // how long it is listed that a session was ended
	notes     = 500         // uses that are written at once
	tries     = 8           // of a change that another one came before
	gone      = 1 << 14     // ids that are remembered as unknown
)

// Limits are how long sessions live.
type Limits struct {
	Idle     time.Duration // without a request
	Absolute time.Duration // whatever happens
	Confirm  time.Duration // between two questions to the provider; after twice this without an answer nothing opens
	Most     int           // sessions of one user; the one that was used least lately makes room
}

// Options is what Sessions need from outside.
type Options struct {
	Key  []byte // that marks ids as made here, the same on all nodes
	Rand io.Reader
	Now  func() time.Time
	Log  *slog.Logger
}

// Sessions are the sessions. Make one for each process, Load it before the first request, and let it Run.
type Sessions struct {
	in       Records
	errors   record.Errors
	options  Options
	limits   atomic.Pointer[Limits]
	confirm  atomic.Pointer[func(context.Context, *session.Entry) error]
	follower *record.Follower[*live]

	mu      sync.Mutex                  // guards the rest
	watched map[string]map[*func()]bool // by id: what ends with the session
	noted   map[string]time.Time        // by id: the use that was written last
	unknown map[string]time.Time        // ids that the store did not have, and when
}

// live is a session as it is looked up.
type live struct {
	*session.Entry
	doors  []door
	ended  *Ending
	grant  bool
	looked atomic.Int64 // when the store was last asked for it by itself, in nanoseconds
	heard  atomic.Int64 // when the store last said when it was used, in nanoseconds
}

// door is where a cookie opens a session.
type door struct {
	Host   string `json:"host"`
	Digest []byte `json:"digest"`
}

// Ending is why a session ended before its time.
type Ending struct {
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

// stored is the form of a record.
type stored struct {
	session.Session
	Doors []door  `json:"doors"`
	Grant bool    `json:"grant,omitempty"` // there is a Grant
	Ended *Ending `json:"ended,omitempty"`
}

// use is the form of a record of use.
type use struct {
	At time.Time `json:"at"`
}

// New makes one that knows nothing yet.
func New(in Records, e record.Errors, o Options) *Sessions {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sessions{in: in, errors: e, options: o, noted: map[string]time.Time{}, watched: map[string]map[*func()]bool{}, unknown: map[string]time.Time{}}
	s.limits.Store(&Limits{})
	s.follower = record.Follow(in, record.Options[*live]{
		Prefix: prefix, What: "sessions", Unread: "a session is not understood, and opens nothing", Invalid: e.Invalid, Now: o.Now, Log: o.Log,
		Read: s.read, Drop: true,
	})
	return s
}

// read makes what is looked up of a record. What is known of its use stays.
func (s *Sessions) read(r record.Record, old *live) (*live, error) {
	l, err := read(r, old)
	if err == nil && l.ended != nil {
		s.endWatched(l.ID)
	}
	return l, err
}

func read(r record.Record, old *live) (*live, error) {
	s, err := parse(r)
	if err != nil {
		return nil, err
	}
	for i := range s.Doors {
		s.Doors[i].Host = unique.Make(s.Doors[i].Host).Value()
	}
	l := &live{Entry: session.NewEntry(s.Session), doors: s.Doors, ended: s.Ended, grant: s.Grant}
	if old != nil {
		l.Note(old.Used())
		l.Confirm(old.Confirmed())
		l.looked.Store(old.looked.Load())
		l.heard.Store(old.heard.Load())
	}
	return l, nil
}

func parse(r record.Record) (s stored, err error) {
	if err = json.Unmarshal(r.Value, &s); err == nil && (s.ID == "" || prefix+s.ID != r.Key || s.Issuer == "" || s.Subject == "") {
		err = errors.New("no session stands under this name")
	}
	return s, err
}

// Set says how long sessions live from now on, and who asks their providers whether they still hold.
func (s *Sessions) Set(l Limits, confirm func(context.Context, *session.Entry) error) {
	s.limits.Store(&l)
	s.confirm.Store(&confirm)
}

// Load learns what has changed in the store since it was asked last.
func (s *Sessions) Load(ctx context.Context) error { return s.follower.Load(ctx) }

// Watch calls ended, from another goroutine, when a session has ended for whatever reason; see session.Watcher.
func (s *Sessions) Watch(id string, ended func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched[id] == nil {
		s.watched[id] = map[*func()]bool{}
	}
	s.watched[id][&ended] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watched[id], &ended)
		if len(s.watched[id]) == 0 {
			delete(s.watched, id)
		}
	}
}

func (s *Sessions) endWatched(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ended := range s.watched[id] {
		go (*ended)()
	}
	delete(s.watched, id)
}

// LookAfter ends what goes on of sessions that are over, idle, or that their provider has ended: a stream asks for nothing more, so
// nobody else would notice. That a store or a provider can't be asked ends nothing that goes on.
func (s *Sessions) LookAfter(ctx context.Context) {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.watched))
	s.mu.Unlock()
	for _, id := range ids {
		l, known := s.follower.Get(prefix + id)
		if !known || errors.Is(s.judge(ctx, l), session.ErrEnded) {
			s.endWatched(id)
		}
	}
}

// Run follows the store until ctx ends, looks after what goes on, and writes down now and then which sessions were used.
func (s *Sessions) Run(ctx context.Context) {
	var following sync.WaitGroup
	following.Go(func() { s.follower.Run(ctx) })
	defer following.Wait()
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.LookAfter(ctx)
		attempt, cancel := context.WithTimeout(ctx, patience)
		if err := s.NoteUses(attempt); err != nil && ctx.Err() == nil {
			s.options.Log.Warn("when sessions were used can't be written down", "error", err)
		}
		cancel()
	}
}

// Find gives the session that a cookie opens at a host; see session.Sessions.
func (s *Sessions) Find(ctx context.Context, host, cookie string) (*session.Entry, error) {
	id, digest, ok := s.split(cookie)
	if !ok {
		return nil, session.ErrMalformed
	}
	l, err := s.open(ctx, id, host, digest)
	if err != nil {
		return nil, err
	}
	if err := s.judge(ctx, l); err != nil {
		return nil, err
	}
	if now, ok := s.follower.Get(prefix + id); ok {
		l = now // what its provider has said of it a moment ago
	}
	l.Note(s.options.Now())
	return l.Entry, nil
}

// Whose gives the session of which a cookie is, whether it may be used at this moment or not: who signs out while a provider is
// away is signed out.
func (s *Sessions) Whose(ctx context.Context, host, cookie string) (q session.Session, err error) {
	id, digest, ok := s.split(cookie)
	if !ok {
		return q, session.ErrMalformed
	}
	l, err := s.open(ctx, id, host, digest)
	if err != nil {
		return q, err
	}
	return l.Session, nil
}

// open finds a session whose door fits. One that this node doesn't know, or not with this door, may have been opened on
// another node a moment ago: then the store itself is asked.
func (s *Sessions) open(ctx context.Context, id, host string, digest []byte) (*live, error) {
	if !s.follower.Heard() {
		return nil, fmt.Errorf("%w: the store was not heard of lately, and a session may have been ended meanwhile", session.ErrUnavailable)
	}
	l, known := s.follower.Get(prefix + id)
	if known && l.fits(host, digest) {
		return l, nil
	}
	if known && !l.look(s.options.Now()) || !known && s.isGone(id) {
		return nil, session.ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	r, err := s.in.Get(ctx, prefix+id)
	switch {
	case errors.Is(err, s.errors.None):
		s.noteGone(id)
		return nil, session.ErrUnknown
	case err != nil:
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	s.follower.Learn(r)
	if l, known = s.follower.Get(prefix + id); known && l.fits(host, digest) {
		return l, nil
	}
	return nil, session.ErrUnknown
}

// fits compares all of a digest, and every door, whichever fits (row E25).
func (l *live) fits(host string, digest []byte) (fits bool) {
	for _, d := range l.doors {
		same := subtle.ConstantTimeCompare(d.Digest, digest) == 1
		fits = fits || same && d.Host == host
	}
	return fits
}

// look tells that it is time to look into the store for this one.
func (l *live) look(now time.Time) bool {
	last := l.looked.Load()
	return now.UnixNano()-last >= int64(lookAgain) && l.looked.CompareAndSwap(last, now.UnixNano())
}

func (s *Sessions) isGone(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.unknown[id]
	return known && s.options.Now().Sub(at) < lookAgain
}

func (s *Sessions) noteGone(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unknown) >= gone {
		clear(s.unknown)
	}
	s.unknown[id] = s.options.Now()
}

// judge tells whether a session still holds.
func (s *Sessions) judge(ctx context.Context, l *live) error {
	now, limits := s.options.Now(), s.limits.Load()
	switch {
	case l.ended != nil:
		return fmt.Errorf("%w: by %s%s", session.ErrEnded, l.ended.By, because(l.ended.Why))
	case !now.Before(s.end(l.Session, limits)):
		return fmt.Errorf("%w: it was opened %s ago", session.ErrEnded, now.Sub(l.Created).Truncate(time.Second))
	}
	if limits.Idle > 0 && now.Sub(l.Used()) >= limits.Idle {
		if err := s.elsewhere(ctx, l); err != nil {
			return err
		}
		if idle := now.Sub(l.Used()); idle >= limits.Idle {
			return fmt.Errorf("%w: nobody used it for %s", session.ErrEnded, idle.Truncate(time.Second))
		}
	}
	return s.confirmed(ctx, l, limits)
}

// end is when a session ends whatever happens. A document that makes sessions shorter counts for those that live.
func (s *Sessions) end(q session.Session, limits *Limits) time.Time {
	if by := q.Created.Add(limits.Absolute); limits.Absolute > 0 && by.Before(q.Ends) {
		return by
	}
	return q.Ends
}

// elsewhere learns when a session that is idle here was used on other nodes. Requests that come at once all ask: one that took
// the silence before an answer for idleness would take the cookie out of its browser.
func (s *Sessions) elsewhere(ctx context.Context, l *live) error {
	if s.options.Now().UnixNano()-l.heard.Load() < int64(lookAgain) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	r, err := s.in.Get(ctx, uses+l.ID)
	if errors.Is(err, s.errors.None) {
		l.heard.Store(s.options.Now().UnixNano())
		return nil
	}
	var u use
	if err == nil {
		err = json.Unmarshal(r.Value, &u)
	}
	if err != nil {
		return fmt.Errorf("%w: when it was last used is not known: %w", session.ErrUnavailable, err)
	}
	l.Note(u.At)
	l.heard.Store(s.options.Now().UnixNano())
	return nil
}

// confirmed has the provider asked again: beside the request while there is time, before it when there is none.
func (s *Sessions) confirmed(ctx context.Context, l *live, limits *Limits) error {
	confirm := s.confirm.Load()
	if limits.Confirm <= 0 || !l.grant || confirm == nil {
		return nil
	}
	age := s.options.Now().Sub(l.Confirmed())
	switch {
	case age < limits.Confirm:
		return nil
	case age < 2*limits.Confirm:
		if l.look(s.options.Now()) {
			go func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
				defer cancel()
				defer func() {
					if problem := recover(); problem != nil { // nobody else catches it here
						s.options.Log.Error("asking a provider again failed by a fault of the gateway's own", "session", l.ID, "panic", problem)
					}
				}()
				if err := (*confirm)(ctx, l.Entry); err != nil {
					s.options.Log.Warn("a session could not be confirmed", "session", l.ID, "error", err)
				}
			}()
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := (*confirm)(ctx, l.Entry)
	now, known := s.follower.Get(prefix + l.ID)
	switch {
	case known && now.ended != nil:
		return fmt.Errorf("%w: by %s%s", session.ErrEnded, now.ended.By, because(now.ended.Why))
	case s.options.Now().Sub(l.Confirmed()) >= 2*limits.Confirm:
		return fmt.Errorf("%w: %w", session.ErrUnconfirmed, cmp.Or(err, errors.New("another node is asking")))
	}
	return nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// NoteUses writes down when sessions were used, so that other nodes and the next start know it.
func (s *Sessions) NoteUses(ctx context.Context) error {
	for {
		n, err := s.noteSome(ctx)
		if err != nil {
			return err
		}
		if n < notes {
			s.dropNoted()
			return nil
		}
	}
}

// noteSome writes as many uses as are written at once, and tells how many.
func (s *Sessions) noteSome(ctx context.Context) (int, error) {
	coarse := s.limits.Load().Idle / 10
	var all []record.Write
	written := map[string]time.Time{}
	s.follower.Each(func(l *live) bool {
		at := l.Used()
		s.mu.Lock()
		since := at.Sub(s.noted[l.ID])
		s.mu.Unlock()
		if l.ended != nil || since <= 0 || since < coarse || !at.After(l.Created) {
			return true
		}
		value, err := json.Marshal(use{at.UTC()})
		if err == nil {
			all = append(all, record.Write{Key: uses + l.ID, Value: value, Version: -1, Expires: l.Ends})
			written[l.ID] = at
		}
		return len(all) < notes
	})
	if len(all) == 0 {
		return 0, nil
	}
	if err := s.in.WriteAll(ctx, all...); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.noted, written)
	return len(all), nil
}

// dropNoted forgets what was written of sessions that are gone, and only that: what is written again may be older than what
// another node has written meanwhile.
func (s *Sessions) dropNoted() {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.noted))
	s.mu.Unlock()
	ids = slices.DeleteFunc(ids, func(id string) bool { _, known := s.follower.Get(prefix + id); return known })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.noted, id)
	}
}

// LoadUses learns when sessions were used on other nodes, and before this one started: for those who want to see them all. A
// request asks for its own.
func (s *Sessions) LoadUses(ctx context.Context) error {
	mark := ""
	for {
		changed, next, err := s.in.Since(ctx, uses, mark)
		if err != nil {
			return err
		}
		for _, r := range changed {
			var u use
			if l, known := s.follower.Get(prefix + strings.TrimPrefix(r.Key, uses)); known && json.Unmarshal(r.Value, &u) == nil {
				l.Note(u.At)
			}
		}
		if len(changed) == 0 || next == mark {
			return nil
		}
		mark = next
	}
}

// The parts of a cookie: an id, which says that it was made here, a dot, and a secret of 256 bits.
const (
	idBytes     = 12
	markBytes   = 6
	secretBytes = 32
)

// split takes a cookie apart, in the one spelling that it has: the decoder passes over line ends (row E26). An id that was not made
// here costs no look into the store.
func (s *Sessions) split(cookie string) (id string, digest []byte, ok bool) {
	id, secret, dot := strings.Cut(cookie, ".")
	if strings.ContainsAny(cookie, "\r\n") { // which decoding skips: one value has one spelling
		return "", nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if !dot || err != nil || len(id) != base64.RawURLEncoding.EncodedLen(len(raw)) || len(raw) != idBytes+markBytes || !hmac.Equal(raw[idBytes:], s.mark(raw[:idBytes])) {
		return "", nil, false
	}
	value, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	if err != nil || len(value) != secretBytes || len(secret) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return "", nil, false
	}
	d := sha256.Sum256(value)
	return id, d[:], true
}

func (s *Sessions) mark(random []byte) []byte {
	h := hmac.New(sha256.New, s.options.Key)
	h.Write(random)
	return h.Sum(nil)[:markBytes]
}

func (s *Sessions) newID() (string, error) {
	raw := make([]byte, idBytes)
	if _, err := io.ReadFull(s.options.Rand, raw); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(raw, s.mark(raw)...)), nil
}

// newDoor makes a cookie that opens a session at a host.
func (s *Sessions) newDoor(id, host string) (cookie string, d door, err error) {
	raw := make([]byte, secretBytes)
	if _, err := io.ReadFull(s.options.Rand, raw); err != nil {
		return "", door{}, err
	}
	digest := sha256.Sum256(raw)
	return id + "." + base64.RawURLEncoding.EncodeToString(raw), door{host, digest[:]}, nil
}

// put sets the door at a host: the cookie that opened there before is good for nothing from then on.
func put(doors []door, d door) []door {
	doors = slices.DeleteFunc(slices.Clone(doors), func(old door) bool { return old.Host == d.Host })
	return append(doors, d)
}

// Listed is a session as people see it.
type Listed struct {
	session.Session
	Used  time.Time `json:"used"`
	Hosts []string  `json:"hosts"` // that its cookies open, the portal's first
	Ended *Ending   `json:"ended,omitempty"`
}

// List gives the sessions of which this node knows, the newest first; with all also those that were ended lately.
func (s *Sessions) List(all bool) []Listed {
	now, limits := s.options.Now(), s.limits.Load()
	list := []Listed{}
	s.follower.Each(func(l *live) bool {
		over := !now.Before(s.end(l.Session, limits)) || limits.Idle > 0 && now.Sub(l.Used()) >= limits.Idle
		if !all && (l.ended != nil || over) {
			return true
		}
		one := Listed{Session: l.Session, Used: l.Used(), Ended: l.ended}
		for _, d := range l.doors {
			one.Hosts = append(one.Hosts, d.Host)
		}
		list = append(list, one)
		return true
	})
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return list
}

// ByID gives a session as this node knows it, or nil.
func (s *Sessions) ByID(id string) *session.Entry {
	if l, ok := s.follower.Get(prefix + id); ok && l.ended == nil {
		return l.Entry
	}
	return nil
}
