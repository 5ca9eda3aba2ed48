package record

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	errMark = errors.New("not my mark")
	errDown = errors.New("down")
)

// changes is a store whose history is a list: a mark is how much of it was read.
type changes struct {
	history []Record
	down    bool
	moved   bool // marks given before are refused, once
	asked   []string
}

func (c *changes) Since(_ context.Context, prefix, mark string) ([]Record, string, error) {
	c.asked = append(c.asked, mark)
	switch {
	case c.down:
		return nil, "", errDown
	case c.moved && mark != "":
		c.moved = false
		return nil, "", errMark
	}
	n := len(mark)
	var list []Record
	for _, r := range c.history[min(n, len(c.history)):] {
		if strings.HasPrefix(r.Key, prefix) {
			list = append(list, r)
		}
	}
	return list, strings.Repeat("x", len(c.history)), nil
}

type scene struct {
	t     *testing.T
	in    *changes
	now   time.Time
	told  []string // what Changed was told last, in order
	times int
	*Follower[string]
}

func newScene(t *testing.T, drop bool) *scene {
	s := &scene{t: t, in: &changes{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s.Follower = Follow(s.in, Options[string]{
		Prefix: "p/", What: "things", Unread: "a thing is not understood", Invalid: errMark,
		Now: func() time.Time { return s.now }, Log: slog.New(slog.DiscardHandler), Drop: drop,
		Read: func(r Record, old string) (string, error) {
			if string(r.Value) == "bad" {
				return "", errors.New("bad")
			}
			return old + string(r.Value), nil
		},
		Changed: func(all []string) {
			slices.Sort(all)
			s.told = all
			s.times++
		},
	})
	return s
}

func (s *scene) write(key, value string, version int64, lives time.Duration) {
	r := Record{Key: key, Value: []byte(value), Version: version}
	if lives > 0 {
		r.Expires = s.now.Add(lives)
	}
	s.in.history = append(s.in.history, r)
}

func (s *scene) load() {
	s.t.Helper()
	if err := s.Load(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) want(all ...string) {
	s.t.Helper()
	known := s.All()
	slices.Sort(known)
	if !slices.Equal(known, all) || !slices.Equal(s.told, all) {
		s.t.Errorf("known are %q, told %q; want %q", known, s.told, all)
	}
}

func TestFollow(t *testing.T) {
	s := newScene(t, false)
	if s.Heard() {
		t.Error("heard before it asked")
	}
	s.write("p/a", "a", 1, 0)
	s.write("q/other", "z", 1, 0)
	s.write("p/b", "b", 1, time.Minute)
	s.load()
	s.want("a", "b")
	if !s.Heard() {
		t.Error("not heard")
	}

	times := s.times
	s.load()
	if s.times != times {
		t.Error("told although nothing has changed")
	}

	s.write("p/a", "2", 2, 0) // old is what was known
	s.load()
	s.want("a2", "b")
	s.Learn(Record{Key: "p/a", Value: []byte("late"), Version: 1})
	s.want("a2", "b")

	s.now = s.now.Add(time.Minute) // the store does not tell what it drops
	s.load()
	s.want("a2")
	if got, ok := s.Get("p/b"); ok || got != "" {
		t.Errorf("what has ended is still there: %q", got)
	}

	s.in.moved = true // into another kind of store, which knows no mark of this one
	s.load()
	s.want("a2")
	if asked := s.in.asked[len(s.in.asked)-2:]; asked[0] != "" {
		t.Errorf("asked with %q", asked)
	}

	s.in.down = true
	if err := s.Load(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	s.want("a2")
	if !s.Heard() {
		t.Error("not heard, and it is a moment ago")
	}
	s.now = s.now.Add(silence + time.Second)
	if s.Heard() {
		t.Error("heard, and it is long ago")
	}
}

// A record that has ended when it is read takes with it what stood there before, which lived longer.
func TestEndedMeanwhile(t *testing.T) {
	s := newScene(t, false)
	s.write("p/a", "a", 1, time.Hour)
	s.load()
	s.want("a")
	s.write("p/a", "b", 2, time.Millisecond)
	s.now = s.now.Add(10 * time.Millisecond)
	s.load()
	s.want()
}

// What isn't understood counts until it is gone or overwritten; what was known under its key stays, or goes where that is safer.
func TestNotUnderstood(t *testing.T) {
	for _, drop := range []bool{false, true} {
		s := newScene(t, drop)
		s.write("p/a", "a", 1, 0)
		s.write("p/a", "bad", 2, 0)
		s.write("p/c", "bad", 1, time.Minute)
		s.load()
		if drop {
			s.want()
		} else {
			s.want("a")
		}
		if n := s.Unread(); n != 2 {
			t.Errorf("%d are not understood, want 2", n)
		}
		s.now = s.now.Add(time.Minute)
		s.load()
		if n := s.Unread(); n != 1 {
			t.Errorf("%d are not understood once one has ended, want 1", n)
		}
		s.write("p/a", "b", 3, 0)
		s.load()
		if drop {
			s.want("b")
		} else {
			s.want("ab")
		}
		if n := s.Unread(); n != 0 {
			t.Errorf("%d are not understood, want 0", n)
		}
	}
}
