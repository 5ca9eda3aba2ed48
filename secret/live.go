package secret

import (
	"errors"
	"fmt"
	"time"
)

// Live is a secret that is followed: a handle to whatever its value is now. Nobody keeps the value itself.
type Live struct {
	item  *item
	ref   Ref
	field string
}

// snapshot is what is known of a place at one moment. It never changes; another takes its place.
type snapshot struct {
	fields map[string]Value
	serial int64 // one more with each change of a value; 0 before the first
	until  time.Time
	leased bool
	why    error         // why there is no value
	next   chan struct{} // closed when the values are others
}

// Ref is what the secret was asked by.
func (l *Live) Ref() Ref { return l.ref }

// Value gives the current value, or says why there is none: it was withdrawn, its lease has ended, or its source has not
// answered for too long. It never waits.
func (l *Live) Value() (Value, error) {
	s := l.item.current.Load()
	if l.item.records && !l.item.used.Load() {
		l.item.used.Store(true)
	}
	return l.from(s, l.item.keeper.opt.Now())
}

func (l *Live) from(s *snapshot, now time.Time) (Value, error) {
	if s.why != nil {
		return Value{}, fmt.Errorf("secret %s: %w", l.ref, s.why)
	}
	if !s.until.IsZero() && !now.Before(s.until) {
		return Value{}, fmt.Errorf("secret %s: %w", l.ref, ended(s.leased))
	}
	v, ok := s.fields[l.field]
	if !ok || v.IsZero() {
		return Value{}, fmt.Errorf("secret %s: %w: what lies there has no field of this name", l.ref, ErrGone)
	}
	return v, nil
}

func ended(leased bool) error {
	if leased {
		return errors.New("its lease has ended and no other could be had")
	}
	return errors.New("its source has not confirmed it for longer than secret.max_stale allows")
}

// Changes gives a channel that is closed when the value has become another, or has ended. Ask again for the next change.
func (l *Live) Changes() <-chan struct{} { return l.item.current.Load().next }

// Version counts the values that there were since the reference was first resolved; it grows with each change and never
// repeats while the secret is followed. It is the keeper's own count, not the source's.
func (l *Live) Version() int64 { return l.item.current.Load().serial }
