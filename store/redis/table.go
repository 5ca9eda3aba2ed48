package redis

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// shards spread the keys so that cores do not wait for each other.
const shards = 64

// table is what this node knows of counters: a bounded number, about 60 bytes each. When it is full, of a few keys the one
// that is forgiven first makes room (row H8). As a throttled.GCRAStoreCtx it lets the same engine count alone on it.
type table struct {
	seed  maphash.Seed
	limit int // keys in each shard
	now   func() time.Time
	shard [shards]shard
}

type shard struct {
	mu      sync.Mutex
	keys    map[uint64]entry
	flights map[uint64]*flight
}

// entry is one counter as this node sees it. Times are nanoseconds of this node's clock.
type entry struct {
	at    int64 // when the counter will be empty again, the lease included
	told  int64 // when the server last answered; 0: never
	left  int32 // leased and not spent
	size  int32 // of the last lease, beyond what was needed at once
	alone bool  // counted without the server since
}

// flight is one question on its way. Whoever needs the same counter waits for it.
type flight struct {
	done   chan struct{}
	queued int // requests of those who wait, until they have woken; guarded by the shard
}

func newTable(limit int, now func() time.Time) *table {
	t := &table{seed: maphash.MakeSeed(), limit: max(1, limit/shards), now: now}
	for i := range t.shard {
		t.shard[i].keys, t.shard[i].flights = map[uint64]entry{}, map[uint64]*flight{}
	}
	return t
}

func (t *table) at(key string) (*shard, uint64) {
	h := maphash.String(t.seed, key)
	return &t.shard[h%shards], h
}

// put keeps an entry. The shard is locked.
func (t *table) put(s *shard, h uint64, e entry) {
	if _, ok := s.keys[h]; !ok && len(s.keys) >= t.limit {
		s.makeRoom()
	}
	s.keys[h] = e
}

// sampled is how many keys are looked at to find one that may go.
const sampled = 16

func (s *shard) makeRoom() {
	var victim uint64
	earliest, n := int64(0), 0
	for h, e := range s.keys {
		if n == 0 || e.at < earliest {
			victim, earliest = h, e.at
		}
		if n++; n == sampled {
			break
		}
	}
	delete(s.keys, victim)
}

// GetWithTime gives the key's number, or -1, and the time now.
func (t *table) GetWithTime(_ context.Context, key string) (int64, time.Time, error) {
	s, h := t.at(key)
	now := t.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.keys[h]; ok && e.at >= now.UnixNano() {
		return e.at, now, nil
	}
	return -1, now, nil
}

// SetIfNotExistsWithTTL sets the key's number if it has none that counts.
func (t *table) SetIfNotExistsWithTTL(_ context.Context, key string, value int64, _ time.Duration) (bool, error) {
	s, h := t.at(key)
	now := t.now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.keys[h]
	if ok && e.at >= now {
		return false, nil
	}
	e.at, e.alone = value, true
	t.put(s, h, e)
	return true, nil
}

// CompareAndSwapWithTTL changes the key's number if it still is the old one.
func (t *table) CompareAndSwapWithTTL(_ context.Context, key string, old, value int64, _ time.Duration) (bool, error) {
	s, h := t.at(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[h]
	if e.at != old {
		return false, nil
	}
	e.at, e.alone = value, e.alone || value != old
	t.put(s, h, e)
	return true, nil
}
