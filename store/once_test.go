package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

func TestOnceInMemory(t *testing.T) {
	once(t, memory.NewRecords(100_000, time.Now), memory.NewRecords(100_000, time.Now))
}

func TestOnceInRedis(t *testing.T) {
	address := redistest.Start(t, redistest.Options{}).Address
	nodes := make([]store.Records, 2)
	for i, prefix := range []string{"a", "b"} {
		c, err := redis.Open(t.Context(), redis.Options{Config: store.SharedConfig{URL: "redis://" + address, Prefix: prefix, Insecure: gate.Risk{AcceptRisk: "a test"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		nodes[i] = c.Records()
	}
	once(t, nodes[0], nodes[1])
}

// once holds Once to exactly one of a hundred, whatever the key looks like.
func once(t *testing.T, r, other store.Records) {
	until := time.Now().Add(time.Minute)
	for _, key := range []string{"", "jti", "a b\x00/", strings.Repeat("x", 4000), "https://issuer/ 7"} {
		var first atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				switch ok, err := store.Once(context.Background(), r, key, until); {
				case err != nil:
					t.Error(err)
				case ok:
					first.Add(1)
				}
			})
		}
		all.Wait()
		if first.Load() != 1 {
			t.Errorf("%.20q: %d of 100 were first", key, first.Load())
		}
		if ok, err := store.Once(t.Context(), other, key, until); !ok || err != nil {
			t.Errorf("%.20q elsewhere: %v, %v", key, ok, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := store.Once(ended, r, "new", until); ok || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("nobody could know, but it was said: %v, %v", ok, err)
	}
	if ok, err := store.Once(t.Context(), r, "for ever", time.Time{}); ok || !errors.Is(err, store.ErrInvalid) {
		t.Errorf("without an end: %v, %v", ok, err)
	}
	for i := range 3 { // a time that is over: nothing need be remembered
		if _, err := store.Once(t.Context(), r, fmt.Sprint("late", i), time.Now().Add(-time.Minute)); err != nil {
			t.Error(err)
		}
	}
}
