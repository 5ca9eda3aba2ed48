// Package memory keeps in this process what nodes would otherwise share: fast, expiring state that may be forgotten.
package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// shards spread the counters so that cores do not wait for each other.
const shards = 64

// Counters holds one number for each of a bounded set of keys. It serves as the store of a GCRA limiter, where the number
// is the theoretical arrival time of the next request. When it is full, the key that is closest to being forgiven makes
// room (row H8): an attacker with a million addresses can push out only those who have hardly called. About 40 bytes a key.
type Counters struct {
	seed  maphash.Seed
	limit int // keys in each shard
	now   func() time.Time
	shard [shards]shard
}

type shard struct {
	mu   sync.Mutex
	keys map[uint64]int64
}

// NewCounters makes room for about limit keys. Keys are kept as 64-bit hashes with a random seed; two callers share a
// counter with a chance of one in 2^64.
func NewCounters(limit int, now func() time.Time) *Counters {
	c := &Counters{seed: maphash.MakeSeed(), limit: max(1, limit/shards), now: now}
	for i := range c.shard {
		c.shard[i].keys = map[uint64]int64{}
	}
	return c
}

func (c *Counters) at(key string) (*shard, uint64) {
	h := maphash.String(c.seed, key)
	return &c.shard[h%shards], h
}

// GetWithTime gives the key's number, or -1, and the time now.
func (c *Counters) GetWithTime(_ context.Context, key string) (int64, time.Time, error) {
	s, h := c.at(key)
	now := c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.keys[h]
	if !ok || value < now.UnixNano() { // a time in the past says no more than none
		return -1, now, nil
	}
	return value, now, nil
}

// SetIfNotExistsWithTTL sets the key's number if it has none that counts.
func (c *Counters) SetIfNotExistsWithTTL(_ context.Context, key string, value int64, _ time.Duration) (bool, error) {
	s, h := c.at(key)
	now := c.now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.keys[h]; ok && old >= now {
		return false, nil
	} else if !ok && len(s.keys) >= c.limit {
		s.makeRoom(now)
	}
	s.keys[h] = value
	return true, nil
}

// CompareAndSwapWithTTL changes the key's number if it still is the old one.
func (c *Counters) CompareAndSwapWithTTL(_ context.Context, key string, old, value int64, _ time.Duration) (bool, error) {
	s, h := c.at(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[h] != old {
		return false, nil
	}
	s.keys[h] = value
	return true, nil
}

// sampled is how many keys are looked at to find one that may go.
const sampled = 16

// makeRoom forgets one key: the earliest of a few, since the earlier its time the less it says. Go's map iteration starts
// at a random place, which is what makes the few a sample.
func (s *shard) makeRoom(now int64) {
	var victim uint64
	earliest, n := int64(0), 0
	for h, value := range s.keys {
		if n == 0 || value < earliest {
			victim, earliest = h, value
		}
		if n++; n == sampled || value < now {
			break
		}
	}
	delete(s.keys, victim)
}

// Len is the number of keys held.
func (c *Counters) Len() int {
	n := 0
	for i := range c.shard {
		c.shard[i].mu.Lock()
		n += len(c.shard[i].keys)
		c.shard[i].mu.Unlock()
	}
	return n
}
