package fleet

import (
	"sync"
	"time"
)

// watches are streams that go on after their caller was let in: they end when he is called back.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{}
	set bool // a look is about to happen
}

// lookAfter gathers revocations that come in a crowd into one look.
const lookAfter = 100 * time.Millisecond

type watch struct {
	issuer, subject, id string
	issued              time.Time
	ended               func()
}

// Watch calls ended, once and from another goroutine, as soon as the token is called back, which may be at once. Stop ends
// the watch; ended may be running then. That it is not known any more which tokens were called back ends nothing: what
// was let in before stays.
func (r *Revocations) Watch(issuer, subject, id string, issued time.Time, ended func()) (stop func()) {
	w := &watch{issuer, subject, id, issued, ended}
	s := &r.watches
	s.mu.Lock()
	if s.all == nil {
		s.all = map[*watch]struct{}{}
	}
	s.all[w] = struct{}{}
	s.mu.Unlock()
	if r.near.revoked(issuer, subject, id, issued) && s.remove(w) {
		go ended()
	}
	return func() { s.remove(w) }
}

// remove tells whether the watch was still there, so that it ends once.
func (s *watches) remove(w *watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.all[w]
	delete(s.all, w)
	return there
}

// ring has everybody looked at in a moment.
func (s *watches) ring(n *near) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.set && len(s.all) > 0 {
		s.set = true
		time.AfterFunc(lookAfter, func() { s.look(n) })
	}
}

// look ends what was called back.
func (s *watches) look(n *near) {
	s.mu.Lock()
	s.set = false // what comes from here on rings again
	var over []*watch
	for w := range s.all {
		if n.revoked(w.issuer, w.subject, w.id, w.issued) {
			over = append(over, w)
			delete(s.all, w)
		}
	}
	s.mu.Unlock()
	for _, w := range over {
		go w.ended()
	}
}
