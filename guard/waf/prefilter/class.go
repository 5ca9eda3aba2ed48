package prefilter

import (
	"crypto/sha256"
	"sync"
)

// class is a set of requests with one outcome.
type class struct{ plan *plan }

// hash is that of what the requests of a class have in common: what a client makes up is not kept.
type hash = [sha256.Size]byte

// maxClasses bounds how many are remembered.
const maxClasses = 8192

// classes remembers classes within bounds, in two generations: when the young one is full, it becomes the old one, and what
// stood there and was not used since is forgotten. So whoever invents classes washes out nobody's that is used at least once
// in the time in which maxClasses/2 others are.
type classes struct {
	mu         sync.RWMutex
	young, old map[hash]*class
	once       [1 << 12]byte // marks of those that were seen once, in the place of any other
}

// again tells that a class was seen before, and remembers it. What comes only once is not worth being learned, and whoever
// makes up classes without end has us do no more than the engine.
func (c *classes) again(key hash) bool {
	at, mark := int(key[0])<<4|int(key[1]>>4), key[2]|1
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.once[at] == mark
	c.once[at] = mark
	return seen
}

// get gives a class that is known, or nil.
func (c *classes) get(key hash) *class {
	c.mu.RLock()
	young, old := c.young[key], c.old[key]
	c.mu.RUnlock()
	if young != nil || old == nil {
		return young
	}
	c.put(key, old)
	return old
}

// put remembers a class, or that it was used.
func (c *classes) put(key hash, found *class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) == maxClasses/2 {
		c.young, c.old = map[hash]*class{}, c.young
	}
	c.young[key] = found
}
