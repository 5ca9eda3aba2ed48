package portal

import "sync"

// tried remembers the logins whose answers came to this node lately, in a bounded memory: an answer that comes once more, because a
// page was loaded again, must not be shown to the provider, which would take that for theft. Whoever floods it makes it forget,
// and gains nothing: the provider takes each code once.
type tried struct {
	mu       sync.Mutex
	now, old map[string]bool
}

const mostTried = 1 << 15

func (t *tried) first(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now[id] || t.old[id] {
		return false
	}
	if len(t.now) >= mostTried {
		t.now, t.old = nil, t.now
	}
	if t.now == nil {
		t.now = map[string]bool{}
	}
	t.now[id] = true
	return true
}
