// Package sourcetest holds every source of secrets to what secret.Source promises: it reads what was written, sees a
// rotation, tells "gone" from "not reachable", ends with its context, and never says a value in an error.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// World is one source with the means to change what lies behind it.
type World struct {
	Source  secret.Source
	Place   string // what Set writes
	Missing string // a place where nothing ever lies
	Field   string
	Set     func(value string)
	Remove  func()            // nil where nothing can be removed
	Break   func(broken bool) // makes the source unreachable; nil where that can't be
	Fixed   bool              // never changes after it was set once
}

const canary = "canary-4f0c9b"

// Run opens a fresh world for each promise.
func Run(t *testing.T, open func(t *testing.T) World) {
	for name, check := range map[string]func(*testing.T, World){
		"reads": reads, "follows": follows, "gone": gone, "broken": broken, "many at once": many, "ends with its context": ends, "says no value": quiet,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func fetch(t *testing.T, w World, place, known string) (secret.Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	a, err := w.Source.Fetch(ctx, place, known)
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("an error says a value (K2): %v", err)
	}
	return a, err
}

func holds(t *testing.T, w World, want string) secret.Answer {
	t.Helper()
	a, err := fetch(t, w, w.Place, "")
	if err != nil {
		t.Fatal(err)
	}
	if v := a.Fields[w.Field]; v.IsZero() || string(v.Reveal()) != want {
		t.Fatalf("reads something else (%t)", v.IsZero())
	}
	return a
}

func reads(t *testing.T, w World) {
	value := canary + " with ünïcode, \"quotes\" and \\ = : # signs"
	w.Set(value)
	a := holds(t, w, value)
	if known, err := fetch(t, w, w.Place, a.Version); err != nil || known.Version != a.Version || known.Fields != nil && !known.Fields[w.Field].Equal(a.Fields[w.Field]) {
		t.Errorf("asked again: %v, version %q after %q", err, known.Version, a.Version)
	}
	if a.Lease != nil && a.Lease.TTL <= 0 {
		t.Error("a lease without time")
	}
}

func follows(t *testing.T, w World) {
	if w.Fixed {
		return
	}
	known := ""
	for i := range 5 {
		want := fmt.Sprint(canary, i)
		w.Set(want)
		seen := false
		for range 3 { // a file that is written in place is looked at twice
			a, err := fetch(t, w, w.Place, known)
			if err != nil {
				t.Fatal(err)
			}
			known = a.Version
			if v := a.Fields[w.Field]; !v.IsZero() && string(v.Reveal()) == want {
				seen = true
			}
		}
		if !seen {
			t.Fatalf("value %d was not seen in three looks", i)
		}
	}
}

func gone(t *testing.T, w World) {
	w.Set(canary)
	if a, err := fetch(t, w, w.Missing, ""); !errors.Is(err, secret.ErrGone) || a.Fields != nil {
		t.Errorf("what is not there: %v", err)
	}
	if w.Remove == nil {
		return
	}
	a := holds(t, w, canary)
	w.Remove()
	if _, err := fetch(t, w, w.Place, a.Version); !errors.Is(err, secret.ErrGone) {
		t.Errorf("what was removed: %v", err)
	}
	w.Set(canary + "2")
	holds(t, w, canary+"2")
}

func broken(t *testing.T, w World) {
	if w.Break == nil {
		return
	}
	w.Set(canary)
	a := holds(t, w, canary)
	w.Break(true)
	for range 3 {
		if _, err := fetch(t, w, w.Place, a.Version); err == nil || errors.Is(err, secret.ErrGone) {
			t.Errorf("a source that can't be reached: %v", err)
		}
	}
	w.Break(false)
	holds(t, w, canary)
}

func many(t *testing.T, w World) {
	w.Set(canary)
	var under sync.WaitGroup
	for range 20 {
		under.Go(func() {
			for range 5 {
				if a, err := fetch(t, w, w.Place, ""); err != nil || a.Fields[w.Field].IsZero() {
					t.Errorf("%v", err)
				}
			}
		})
	}
	under.Wait()
}

func ends(t *testing.T, w World) {
	w.Set(canary)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.Source.Fetch(ctx, w.Place, "")
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("goes on after its context has ended")
	}
}

func quiet(t *testing.T, w World) {
	w.Set(canary)
	a := holds(t, w, canary)
	if text := fmt.Sprintf("%v %+v %#v %s", a, a, a, a.Version); strings.Contains(text, canary) {
		t.Errorf("an answer prints its value: %s", text)
	}
}
