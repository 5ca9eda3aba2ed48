package kept

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// ErrGone says that a session is not there, or has ended: whoever ends one wins over whoever changes it (row E16).
var ErrGone = errors.New("there is no such session, or it has ended; gatehouse session list shows those that live")

// errBusy says that others changed the same record again and again.
var errBusy = errors.New("the session is being changed by others; try again")

// Grant is what a provider gave for asking it again. It is kept apart from the session, and never in memory.
type Grant struct {
	Refresh   string    `json:"refresh,omitempty"`
	Confirmed time.Time `json:"confirmed"`      // when the provider last said that the user may come in
	Busy      time.Time `json:"busy,omitempty"` // until then some node is asking
}

// Format hides it from every format.
func (Grant) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// Create opens a session, with the cookie that opens it at a host. The session's id, beginning and end are set here. Where a
// user has as many as may be, the one that was used least lately ends.
func (s *Sessions) Create(ctx context.Context, q session.Session, host string, g Grant) (session.Session, string, error) {
	limits := s.limits.Load()
	if limits.Absolute <= 0 {
		return q, "", errors.New("no document in force says how long sessions live")
	}
	if _, err := s.MakeRoom(ctx, q); err != nil {
		return q, "", err
	}
	id, err := s.newID()
	if err != nil {
		return q, "", err
	}
	q.ID, q.Created = id, s.options.Now().UTC().Truncate(time.Second)
	q.Ends = q.Created.Add(limits.Absolute)
	cookie, d, err := s.newDoor(id, host)
	if err != nil {
		return q, "", err
	}
	writes, err := writesOf(stored{Session: q, Doors: []door{d}, Grant: g.Refresh != ""}, 0)
	if err != nil {
		return q, "", err
	}
	if g.Refresh != "" {
		g.Confirmed = q.Created
		w, err := grantOf(q, g, 0)
		if err != nil {
			return q, "", err
		}
		writes = append(writes, w)
	}
	if err := s.in.WriteAll(ctx, writes...); err != nil {
		return q, "", err
	}
	s.learn(writes[0])
	return q, cookie, nil
}

// MakeRoom ends the sessions of a user that are too many by one more, and tells which. Create does it too, and tells nobody.
func (s *Sessions) MakeRoom(ctx context.Context, q session.Session) (ended []session.Session, err error) {
	most := s.limits.Load().Most
	if most <= 0 {
		return nil, nil
	}
	mine := slices.DeleteFunc(s.List(false), func(l Listed) bool { return l.Issuer != q.Issuer || l.Subject != q.Subject })
	if len(mine) < most {
		return nil, nil
	}
	slices.SortFunc(mine, func(a, b Listed) int { return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.ID, b.ID)) })
	for _, old := range mine[:len(mine)-most+1] {
		over, err := s.End(ctx, old.ID, "gatehouse", fmt.Sprintf("the user has opened another, and may have %d at once", most))
		switch {
		case err == nil:
			ended = append(ended, over)
		case !errors.Is(err, ErrGone):
			return ended, err
		}
	}
	return ended, nil
}

// Open makes a cookie that opens a session at a host. The one that did so before is good for nothing from then on.
func (s *Sessions) Open(ctx context.Context, id, host string) (q session.Session, cookie string, err error) {
	cookie, d, err := s.newDoor(id, host)
	if err != nil {
		return q, "", err
	}
	q, err = s.change(ctx, id, func(q *stored) ([]record.Write, error) {
		q.Doors = put(q.Doors, d)
		return nil, nil
	})
	return q, cookie, err
}

// Renew is a user who proved anew who they are, in a browser that has a session of theirs: it goes on with what the provider
// says now, and with another cookie at this host (row E15).
func (s *Sessions) Renew(ctx context.Context, id, host string, now session.Session, g Grant) (q session.Session, cookie string, err error) {
	cookie, d, err := s.newDoor(id, host)
	if err != nil {
		return q, "", err
	}
	g.Confirmed = s.options.Now().UTC()
	q, err = s.change(ctx, id, func(q *stored) ([]record.Write, error) {
		if q.Issuer != now.Issuer || q.Subject != now.Subject || q.Provider != now.Provider {
			return nil, ErrGone
		}
		q.Roles, q.Scopes, q.SignedIn, q.Class, q.Methods, q.Far, q.Name = now.Roles, now.Scopes, now.SignedIn, now.Class, now.Methods, now.Far, now.Name
		q.Factor, q.Stepped = "", time.Time{} // what was shown beside the sign-in before is not shown beside this one (row E21)
		q.Doors, q.Grant = put(q.Doors, d), g.Refresh != ""
		if !q.Grant { // what was given before is of no use any more
			return []record.Write{{Key: grants + id, Version: -1}}, nil
		}
		w, err := grantOf(q.Session, g, -1)
		return []record.Write{w}, err
	})
	if err != nil {
		return q, "", err
	}
	if e := s.ByID(id); e != nil {
		e.Confirm(g.Confirmed)
	}
	return q, cookie, nil
}

// Step notes that a session's user has shown a second factor, and gives another cookie at a host. All cookies of before are good for
// nothing from then on: one that was stolen must not open more than it did (row E15). Other hosts get theirs by the usual way.
func (s *Sessions) Step(ctx context.Context, id, host, factor string) (q session.Session, cookie string, err error) {
	cookie, d, err := s.newDoor(id, host)
	if err != nil {
		return q, "", err
	}
	q, err = s.change(ctx, id, func(q *stored) ([]record.Write, error) {
		q.Factor, q.Stepped = factor, s.options.Now().UTC().Truncate(time.Second)
		q.Doors = []door{d}
		return nil, nil
	})
	return q, cookie, err
}

// Mapped sets what a session may do, as its provider has said anew.
func (s *Sessions) Mapped(ctx context.Context, id string, roles, scopes []string) error {
	_, err := s.change(ctx, id, func(q *stored) ([]record.Write, error) {
		q.Roles, q.Scopes = roles, scopes
		return nil, nil
	})
	return err
}

// End ends a session, now and for good.
func (s *Sessions) End(ctx context.Context, id, by, why string) (session.Session, error) {
	return s.change(ctx, id, func(q *stored) ([]record.Write, error) {
		q.Ended = &Ending{By: by, Why: why, At: s.options.Now().UTC().Truncate(time.Second)}
		return nil, nil
	})
}

// EndAll ends the sessions that match, and tells which did. When the error is not nil some that match may live. One that is
// idle as far as this node knows ends as well: another node may have seen it used.
func (s *Sessions) EndAll(ctx context.Context, matches func(session.Session) bool, by, why string) (ended []session.Session, err error) {
	err = s.Load(ctx) // with those that other nodes have opened a moment ago
	var ids []string
	s.follower.Each(func(l *live) bool {
		if l.ended == nil && s.options.Now().Before(l.Ends) && matches(l.Session) {
			ids = append(ids, l.ID)
		}
		return true
	})
	for _, id := range ids {
		q, failed := s.End(ctx, id, by, why)
		switch {
		case failed == nil:
			ended = append(ended, q)
		case !errors.Is(failed, ErrGone):
			err = errors.Join(err, fmt.Errorf("session %s: %w", id, failed))
		}
	}
	if s.follower.Unread() > 0 {
		err = errors.Join(err, errors.New("a session is kept in a form that this program cannot read; is another version running?"))
	}
	return ended, err
}

// change changes a session that lives: against what the store has, as often as others come before. Do also gives what is written
// together with it.
func (s *Sessions) change(ctx context.Context, id string, do func(*stored) ([]record.Write, error)) (session.Session, error) {
	for range tries {
		r, err := s.in.Get(ctx, prefix+id)
		if errors.Is(err, s.errors.None) {
			return session.Session{}, ErrGone
		}
		if err != nil {
			return session.Session{}, err
		}
		q, err := parse(r)
		if err != nil {
			return session.Session{}, err
		}
		if q.Ended != nil {
			s.follower.Learn(r)
			return q.Session, ErrGone
		}
		beside, err := do(&q)
		if err != nil {
			return q.Session, err
		}
		writes, err := writesOf(q, r.Version)
		if err != nil {
			return q.Session, err
		}
		err = s.in.WriteAll(ctx, append(writes, beside...)...)
		if errors.Is(err, s.errors.Conflict) {
			continue
		}
		if err == nil {
			s.learn(writes[0])
		}
		return q.Session, err
	}
	return session.Session{}, errBusy
}

// writesOf is the record of a session in the place of a version; with its end what the provider gave is forgotten.
func writesOf(q stored, version int64) ([]record.Write, error) {
	expires := q.Ends
	if q.Ended != nil {
		q.Grant = false
		expires = q.Ended.At.Add(shownFor)
		if q.Ends.After(expires) {
			expires = q.Ends // until no node can hold it for alive
		}
	}
	value, err := json.Marshal(q)
	writes := []record.Write{{Key: prefix + q.ID, Value: value, Version: version, Expires: expires}}
	if q.Ended != nil {
		writes = append(writes, record.Write{Key: grants + q.ID, Version: -1}, record.Write{Key: uses + q.ID, Version: -1})
	}
	return writes, err
}

func (s *Sessions) learn(w record.Write) {
	s.follower.Learn(record.Record{Key: w.Key, Value: w.Value, Version: w.Version + 1, Expires: w.Expires})
}

// GrantOf reads what the provider gave, and its version.
func (s *Sessions) GrantOf(ctx context.Context, id string) (g Grant, version int64, err error) {
	r, err := s.in.Get(ctx, grants+id)
	if errors.Is(err, s.errors.None) {
		return g, 0, ErrGone
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &g)
	}
	return g, r.Version, err
}

// ErrTaken says that another node came before.
var ErrTaken = errors.New("another node has changed it")

// SetGrant writes what the provider gave in the place of a version; ErrTaken when that is not there any more.
func (s *Sessions) SetGrant(ctx context.Context, q session.Session, g Grant, version int64) error {
	w, err := grantOf(q, g, version)
	if err != nil {
		return err
	}
	err = s.in.WriteAll(ctx, w)
	if errors.Is(err, s.errors.Conflict) {
		return ErrTaken
	}
	return err
}

// grantOf is the record of what the provider of a session gave.
func grantOf(q session.Session, g Grant, version int64) (record.Write, error) {
	value, err := json.Marshal(g)
	return record.Write{Key: grants + q.ID, Value: value, Version: version, Expires: q.Ends}, err
}
