// Package storetest holds every store to what package store promises: one suite for records, one for what is durable, one
// for feeds. An implementation runs them in its own tests; what it may do differently it says in an Env, and nowhere else.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Env says how a test steers what surrounds one store.
type Env struct {
	// Now is the time that the store goes by.
	Now func() time.Time
	// Forward lets d pass. A store whose server keeps the time really waits.
	Forward func(d time.Duration)
	// Back sets the clock back by d. Nil: nobody can, and what needs it is not asked.
	Back func(d time.Duration)
	// Step is a time that is comfortably longer than one operation, and of which the store tells multiples apart. Zero
	// means an hour, which fits every injected clock.
	Step time.Duration
	// Reopen gives another store over the same data, as after a restart. Nil for what forgets.
	Reopen func(t *testing.T) store.Durable
}

func (e Env) step() time.Duration {
	if e.Step == 0 {
		return time.Hour
	}
	return e.Step
}

// Clock is a clock for stores that are handed one. Its zero value stands at 0001; use NewClock.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock gives a clock that stands still at a time of no importance.
func NewClock() *Clock { return &Clock{now: time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC)} }

// Now is what to hand to the store.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Move moves the clock, backwards when d is negative.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Env is the surroundings of a store that goes by this clock.
func (c *Clock) Env() Env {
	return Env{Now: c.Now, Forward: c.Move, Back: func(d time.Duration) { c.Move(-d) }}
}

// background is the context of one test, which ends long after the test should have.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func write(t *testing.T, s store.Records, w store.Write) int64 {
	t.Helper()
	version, err := s.Write(background(t), w)
	if err != nil {
		t.Fatalf("write %s at version %d: %v", w.Key, w.Version, err)
	}
	return version
}

func get(t *testing.T, s store.Records, key string) store.Record {
	t.Helper()
	r, err := s.Get(background(t), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if r.Key != key {
		t.Fatalf("get %s gave %s", key, r.Key)
	}
	return r
}

func gone(t *testing.T, s store.Records, key string) {
	t.Helper()
	if r, err := s.Get(background(t), key); !errors.Is(err, store.ErrNone) {
		t.Fatalf("get %s: version %d, error %v; want ErrNone", key, r.Version, err)
	}
}

func refused(t *testing.T, s store.Records, w store.Write, want error) {
	t.Helper()
	if v, err := s.Write(background(t), w); !errors.Is(err, want) {
		t.Fatalf("write %q at version %d: new version %d, error %v; want %v", short(w.Key), w.Version, v, err, want)
	}
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s... (%d bytes)", s[:40], len(s))
	}
	return s
}
