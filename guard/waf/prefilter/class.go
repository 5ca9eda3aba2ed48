package prefilter

import (
	"crypto/sha256"
	"sync"
)

// class is a set of requests with one outcome.
type class struct{ plan *plan }

// hash is that of what the requests of a class have in common: what a client makes up is not kept.
type hash = [sha256.Size]byte

// classes remembers classes within bounds. What is new must be asked for again before it may displace what has been, so
// that nobody can wash out the classes of others by inventing more.
type classes struct {
	mu    sync.RWMutex
	old   map[hash]*class // asked for at least once
	young map[hash]*class
	once  [1 << 12]byte // marks of those that were seen once, in the place of any other
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

const (
	maxOld   = 4096
	maxYoung = 512
)

func (c *classes) get(key hash) *class {
	c.mu.RLock()
	found, young := c.old[key], c.young[key]
	c.mu.RUnlock()
	if found != nil || young == nil {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, key)
	put(&c.old, key, young, maxOld)
	return young
}

func (c *classes) put(key hash, found *class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.young, key, found, maxYoung)
}

// put adds to a map, in place of any other when it is full.
func put(m *map[hash]*class, key hash, found *class, most int) {
	if *m == nil {
		*m = map[hash]*class{}
	}
	for k := range *m {
		if len(*m) < most {
			break
		}
		delete(*m, k)
	}
	(*m)[key] = found
}
