package memory

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/storetest"
)

func TestRecords(t *testing.T) {
	storetest.Records(t, func(*testing.T) (store.Records, storetest.Env) {
		clock := storetest.NewClock()
		return NewRecords(100_000, clock.Now), clock.Env()
	})
}

// Whoever fills the store with records pushes none out: a used token stays used.
func TestFullIsRefusedAndForgetsNothing(t *testing.T) {
	clock := storetest.NewClock()
	r := NewRecords(shards*4, clock.Now)
	end := clock.Now().Add(time.Minute)
	kept, refused := []string{}, 0
	for i := range shards * 40 {
		key := fmt.Sprintf("once/%d", i)
		switch _, err := r.Write(t.Context(), store.Write{Key: key, Value: []byte("x"), Expires: end}); {
		case err == nil:
			kept = append(kept, key)
		case errors.Is(err, store.ErrUnavailable):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 || r.Len() != len(kept) || r.Len() > shards*4 {
		t.Fatalf("%d kept, %d refused, %d there", len(kept), refused, r.Len())
	}
	for _, key := range kept {
		if _, err := r.Get(t.Context(), key); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if _, err := r.Write(t.Context(), store.Write{Key: key, Value: []byte("y"), Version: 1, Expires: end}); err != nil {
			t.Fatalf("a record that is there cannot be changed: %v", err)
		}
	}
	clock.Move(time.Hour)
	for i := range 3 * shards {
		if _, err := r.Write(t.Context(), store.Write{Key: fmt.Sprintf("new/%d", i), Value: []byte("x"), Expires: clock.Now().Add(time.Minute)}); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if n := r.Len(); n == 0 || n > 4*shards {
		t.Fatalf("%d records after all had expired", n)
	}
}

// Renewing one record for ever takes no more memory.
func TestRenewalIsBounded(t *testing.T) {
	clock := storetest.NewClock()
	r := NewRecords(1000, clock.Now)
	for i := range 10_000 {
		if _, err := r.Write(t.Context(), store.Write{Key: "session", Value: []byte("x"), Version: store.Any, Expires: clock.Now().Add(time.Hour + time.Duration(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range r.shard {
		if n := len(r.shard[i].ends); n > 16 {
			t.Fatalf("%d endings of one record", n)
		}
	}
}
