package prefilter

import "sync"

// class is a set of requests with one outcome.
type class struct {
	plan    *plan
	outcome Outcome
}

// classes remembers classes within bounds. What is new must be asked for again before it may displace what has been, so
// that nobody can wash out the classes of others by inventing more.
type classes struct {
	mu    sync.RWMutex
	old   map[string]*class // asked for at least once
	young map[string]*class
}

const (
	maxOld   = 4096
	maxYoung = 512
)

func (c *classes) get(key []byte) *class {
	c.mu.RLock()
	found, young := c.old[string(key)], c.young[string(key)]
	c.mu.RUnlock()
	if found != nil || young == nil {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, string(key))
	put(&c.old, string(key), young, maxOld)
	return young
}

func (c *classes) put(key string, found *class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.young, key, found, maxYoung)
}

// put adds to a map, in place of any other when it is full.
func put(m *map[string]*class, key string, found *class, most int) {
	if *m == nil {
		*m = map[string]*class{}
	}
	for k := range *m {
		if len(*m) < most {
			break
		}
		delete(*m, k)
	}
	(*m)[key] = found
}
