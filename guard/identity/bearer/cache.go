package bearer

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// shards is how many locks share the cache, a power of two.
const shards = 16

// Cache remembers tokens that were verified, so that the next request with the same one costs a hash instead of a
// signature. It is bounded, keeps no token, remembers no refusal, and an entry counts only for the policy and the keys it
// was verified with and only while the token is valid. The nil Cache remembers nothing.
type Cache struct {
	shard [shards]shard
	limit int // bytes per shard
}

type shard struct {
	mu      sync.Mutex
	entries map[cacheKey]*entry
	used    int
}

// cacheKey has two digests of fixed size, so that no two pairs of policy and token can be confused by where one ends and
// the other begins (row E23), and the whole credential counts, not a part of it (row E24, E25).
type cacheKey struct{ scope, token [sha256.Size]byte }

type entry struct {
	principal   *gate.Principal
	ring        *keys.Ring // nil: its issuer was asked
	set         *keys.Set  // the keys it was verified with
	from, until time.Time
	cost        int
}

// NewCache makes a cache that holds about so many bytes; 0 means 16 MiB, some ten thousand tokens.
func NewCache(size unit.Size) *Cache {
	if size <= 0 {
		size = 16 * unit.MiB
	}
	c := &Cache{limit: int(size) / shards}
	for i := range c.shard {
		c.shard[i].entries = map[cacheKey]*entry{}
	}
	return c
}

// scopeOf digests what a verdict depends on besides the token; each part stands with its length.
func scopeOf(parts ...string) [sha256.Size]byte {
	h := sha256.New()
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write([]byte(p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// keyOf hashes the token on the stack where it fits, which most do.
func keyOf(scope [sha256.Size]byte, token string) cacheKey {
	var buffer [2 << 10]byte
	if len(token) > len(buffer) {
		return cacheKey{scope: scope, token: sha256.Sum256([]byte(token))}
	}
	return cacheKey{scope: scope, token: sha256.Sum256(buffer[:copy(buffer[:], token)])}
}

// get gives who the token stands for, if it was verified and nothing has changed since.
func (c *Cache) get(k cacheKey, now time.Time) *gate.Principal {
	if c == nil {
		return nil
	}
	s := &c.shard[k.token[0]%shards]
	s.mu.Lock()
	e := s.entries[k]
	s.mu.Unlock()
	if e == nil || now.Before(e.from) || !now.Before(e.until) || e.ring != nil && e.ring.Current(now) != e.set {
		return nil
	}
	return e.principal
}

// put remembers an entry and makes room by forgetting what ends first among a few others.
func (c *Cache) put(k cacheKey, e *entry, now time.Time) {
	if c == nil || e.principal == nil || e.ring != nil && e.set == nil {
		return
	}
	e.cost = costOf(e.principal.Claims) + 512
	if e.cost > c.limit/4 {
		return
	}
	s := &c.shard[k.token[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(k)
	for s.used+e.cost > c.limit {
		s.evict(now)
	}
	s.entries[k] = e
	s.used += e.cost
}

func (s *shard) drop(k cacheKey) {
	if e := s.entries[k]; e != nil {
		s.used -= e.cost
		delete(s.entries, k)
	}
}

// evict looks at a few entries, which a map gives in random order, and forgets the dead ones, else the one that ends first.
func (s *shard) evict(now time.Time) {
	const look = 8
	var first cacheKey
	var until time.Time
	seen, dropped := 0, false
	for k, e := range s.entries {
		if !now.Before(e.until) {
			s.drop(k)
			dropped = true
		} else if until.IsZero() || e.until.Before(until) {
			first, until = k, e.until
		}
		if seen++; seen == look {
			break
		}
	}
	if !dropped {
		s.drop(first)
	}
}

// costOf estimates the bytes that a claim occupies.
func costOf(value any) int {
	switch v := value.(type) {
	case map[string]any:
		cost := 64
		for name, member := range v {
			cost += 64 + len(name) + costOf(member)
		}
		return cost
	case []any:
		cost := 24
		for _, item := range v {
			cost += 16 + costOf(item)
		}
		return cost
	case string:
		return 16 + len(v)
	}
	return 32
}
