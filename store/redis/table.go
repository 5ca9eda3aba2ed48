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
// that is forgiven first makes room (row H8).
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
	at     int64 // when the counter will be empty again, as the server said, or as this node counted alone
	told   int64 // when the server last answered; 0: never
	since  int64 // when the first of owed and lone was spent
	owed   int32 // spent and not settled; less than 0: granted and not spent
	lone   int32 // admitted without the server, which has not been told; at has it already
	queued bool  // it will be settled
	alone  bool  // at was counted on without the server
}

// full is when the counter will be empty again, what is owed included.
func (e entry) full(interval time.Duration) int64 {
	at := e.at
	if e.owed > 0 {
		at = max(at, e.since)
	}
	return at + int64(interval)*int64(e.owed)
}

// flight is one question on its way. Whoever needs its answer waits for it.
type flight struct {
	done   chan struct{}
	wanted int   // by those who wait, until they have woken; guarded by the shard
	owed   int32 // of the entry, and told with the question
	lone   int32
	alone  bool // and so was the entry when it started
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

// single is the table as a throttled.GCRAStoreCtx for one limit, so that the same engine counts alone on the same numbers.
type single struct {
	*table
	interval time.Duration
}

// GetWithTime gives the key's number, or -1, and the time now.
func (t single) GetWithTime(_ context.Context, key string) (int64, time.Time, error) {
	s, h := t.at(key)
	now := t.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.keys[h].full(t.interval); at >= now.UnixNano() {
		return at, now, nil
	}
	return -1, now, nil
}

// SetIfNotExistsWithTTL sets the key's number if it has none that counts.
func (t single) SetIfNotExistsWithTTL(_ context.Context, key string, value int64, _ time.Duration) (bool, error) {
	s, h := t.at(key)
	now := t.now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[h]
	if e.full(t.interval) >= now {
		return false, nil
	}
	t.put(s, h, e.counted(value))
	return true, nil
}

// counted is the entry once this node has counted on it alone. What it owed is in the number.
func (e entry) counted(value int64) entry {
	e.at, e.lone, e.owed, e.alone = value, e.lone+max(0, e.owed), 0, true
	return e
}

// CompareAndSwapWithTTL changes the key's number if it still is the old one.
func (t single) CompareAndSwapWithTTL(_ context.Context, key string, old, value int64, _ time.Duration) (bool, error) {
	s, h := t.at(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[h]
	if e.full(t.interval) != old {
		return false, nil
	}
	if value != old {
		t.put(s, h, e.counted(value))
	}
	return true, nil
}
