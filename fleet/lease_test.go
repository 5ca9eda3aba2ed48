package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

const life = 10 * time.Second

// line is one node's way to the shelf: it can be slow, and what was asked arrives late, also when nobody waits any more.
type line struct {
	*shelf
	delay func() time.Duration
	dead  atomic.Bool
}

func (l *line) pass() error {
	if l.delay != nil {
		time.Sleep(l.delay())
	}
	if l.dead.Load() {
		return store.ErrUnavailable
	}
	return nil
}

func (l *line) Get(_ context.Context, key string) (store.Record, error) {
	if err := l.pass(); err != nil {
		return store.Record{}, err
	}
	return l.shelf.Get(context.Background(), key)
}

func (l *line) Write(_ context.Context, w store.Write) (int64, error) {
	if err := l.pass(); err != nil {
		return 0, err
	}
	return l.shelf.Write(context.Background(), w)
}

func (l *line) WriteAll(_ context.Context, all ...store.Write) error {
	if err := l.pass(); err != nil {
		return err
	}
	return l.shelf.WriteAll(context.Background(), all...)
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		a, b := NewLeases(shared, "a", life, time.Now), NewLeases(shared, "b", life, time.Now)
		one, err := a.Acquire(t.Context(), "x")
		if err != nil || one.Token() != 1 {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := b.Acquire(t.Context(), "x"); !errors.Is(err, ErrHeld) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if _, err := a.Acquire(t.Context(), "x"); !errors.Is(err, ErrHeld) {
			t.Error("held by the same node twice:", err)
		}
		if err := one.Release(t.Context()); err != nil || one.Context().Err() == nil || errors.Is(context.Cause(one.Context()), ErrLost) {
			t.Error(err, context.Cause(one.Context()))
		}
		two, err := b.Acquire(t.Context(), "x")
		if err != nil || two.Token() != 2 {
			t.Fatal(err)
		}
		if err := one.WriteAll(t.Context(), store.Write{Key: "k", Value: []byte("late"), Version: store.Any}); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		shared.setGone(true)
		began := time.Now()
		<-two.Context().Done()
		if d := time.Since(began); !errors.Is(context.Cause(two.Context()), ErrLost) || d >= life || d < life/2 {
			t.Error("without its store the lease was lost after", d, context.Cause(two.Context()))
		}
		shared.setGone(false)
		if err := two.WriteAll(t.Context()); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		var three *Lease
		for began = time.Now(); three == nil; time.Sleep(100 * time.Millisecond) {
			three, _ = a.Acquire(t.Context(), "x")
		}
		if d := time.Since(began); d < life-time.Second || three.Token() != 3 {
			t.Error("taken over after", d)
		}
		if err := two.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		if err := three.WriteAll(t.Context(), store.Write{Key: "k", Value: []byte("v"), Version: 7}); !errors.Is(err, store.ErrConflict) || three.Context().Err() != nil {
			t.Error("a conflict of another record is none of the lease:", err)
		}
		_ = three.Release(t.Context())
	})
}

// contend lets 20 nodes take turns and write under the lease for a while. It gives how often two believed at once that
// they hold it, and fails when a write of somebody else than the holder changes anything.
func contend(t *testing.T, seed uint64, delay func(*rand.Rand) time.Duration, jump func(*rand.Rand) time.Duration) (both, turns int64) {
	synctest.Test(t, func(t *testing.T) {
		shared := newShelf(time.Now)
		var holding, overlaps, held atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for n := range 20 {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			var offset atomic.Int64
			way := &line{shelf: shared, delay: func() time.Duration { return delay(r) }}
			leases := NewLeases(way, fmt.Sprint(n), life, func() time.Time { return time.Now().Add(time.Duration(offset.Load())) })
			go func() {
				own := rand.New(rand.NewPCG(seed, uint64(n)+1000))
				for ctx.Err() == nil {
					offset.Add(int64(jump(own)))
					time.Sleep(time.Duration(own.Int64N(int64(life / 4))))
					lease, err := leases.Acquire(ctx, "x")
					if err != nil {
						continue
					}
					held.Add(1)
					if holding.Add(1) > 1 {
						overlaps.Add(1)
					}
					gone := context.AfterFunc(lease.Context(), func() { holding.Add(-1) })
					for range own.IntN(5) {
						time.Sleep(time.Duration(own.Int64N(int64(life / 3))))
						_ = lease.WriteAll(ctx, store.Write{Key: "work", Value: strconv.AppendInt(nil, lease.Token(), 10), Version: store.Any})
					}
					if own.IntN(3) > 0 { // else the node just forgets it, as if it had died
						_ = lease.Release(ctx)
					} else {
						lease.stop(errors.New("killed"))
					}
					_ = gone
				}
			}()
		}
		// What stands there was written by the holder of then: tokens never go back.
		last := int64(0)
		for ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			if r, err := shared.Get(t.Context(), "work"); err == nil {
				token, _ := strconv.ParseInt(string(r.Value), 10, 64)
				if token < last {
					t.Fatalf("a write with token %d after one with %d", token, last)
				}
				last = token
			}
		}
		time.Sleep(time.Minute)
		both, turns = overlaps.Load(), held.Load()
	})
	return both, turns
}

func none(*rand.Rand) time.Duration { return 0 }

// Slow and late stores: never two at once.
func TestTwentyContenders(t *testing.T) {
	for seed := range uint64(3) {
		slow := func(r *rand.Rand) time.Duration {
			if r.IntN(10) == 0 {
				return time.Duration(r.Int64N(int64(life)))
			}
			return time.Duration(r.Int64N(int64(50 * time.Millisecond)))
		}
		if both, turns := contend(t, seed, slow, none); both > 0 || turns < 20 {
			t.Errorf("seed %d: two held the lease at once %d times in %d turns", seed, both, turns)
		}
	}
}

// Clocks that jump, and holders paused for longer than the lease: two may believe, one can write.
func TestFencing(t *testing.T) {
	var all int64
	for seed := range uint64(3) {
		paused := func(r *rand.Rand) time.Duration {
			if r.IntN(20) == 0 {
				return 3 * life
			}
			return time.Millisecond
		}
		jumping := func(r *rand.Rand) time.Duration {
			if r.IntN(5) == 0 {
				return time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour
			}
			return 0
		}
		both, turns := contend(t, seed, paused, jumping)
		all += both
		t.Logf("seed %d: %d turns, two at once in %d", seed, turns, both)
	}
	if all == 0 {
		t.Error("two never held the lease at once, so that fencing was not tried")
	}
}
