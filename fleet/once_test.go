package fleet

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		began := time.Now()
		a, b := NewOnce(shared, time.Now), NewOnce(shared, time.Now)
		if err := a.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := b.Begin(t.Context()); err != nil || !a.Since().Equal(began) || !b.Since().Equal(began) {
			t.Error("both remember since the first began:", err, a.Since(), b.Since())
		}
		until := time.Now().Add(time.Minute)
		for i, want := range []bool{true, false, false} {
			o := []*Once{a, b, a}[i]
			if first, err := o.First(t.Context(), "x", until); first != want || err != nil {
				t.Errorf("%d: %v %v", i, first, err)
			}
		}
		if first, err := a.First(t.Context(), "y", time.Now()); first || err == nil {
			t.Error("what is over was accepted", err)
		}
		shared.setGone(true)
		if first, err := a.First(t.Context(), "z", until); first || !errors.Is(err, store.ErrUnavailable) {
			t.Error(first, err)
		}
		shared.setGone(false)
		// The server loses everything: the next one to ask sees it, and so does everyone after.
		shared.records = map[string]store.Record{}
		lost := time.Now()
		for i, o := range []*Once{b, a} {
			if _, err := o.First(t.Context(), fmt.Sprint("x", i), until); err != nil || o.Since().Before(lost) {
				t.Error("a loss was not seen:", err, o.Since())
			}
		}
		// The epoch cannot be had, though the key was written: not known.
		shared.before = func(key string) {
			shared.records[epochKey] = store.Record{Key: epochKey, Value: []byte("x"), Version: 1}
		}
		if first, err := a.First(t.Context(), "w", until); first || err == nil {
			t.Error("an epoch that nobody can read")
		}
	})
}

func TestOnceAmongMany(t *testing.T) {
	shared := newShelf(time.Now)
	var all sync.WaitGroup
	var wins [20]atomic.Int64
	for range 20 {
		o := NewOnce(shared, time.Now)
		for k := range wins {
			all.Go(func() {
				if first, err := o.First(t.Context(), fmt.Sprint(k), time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				} else if first {
					wins[k].Add(1)
				}
			})
		}
	}
	all.Wait()
	for k := range wins {
		if n := wins[k].Load(); n != 1 {
			t.Errorf("%d were first with %d", n, k)
		}
	}
}
