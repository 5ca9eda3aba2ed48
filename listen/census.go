package listen

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// census counts the connections there are, in all and for each IPv4 address or IPv6 /64, and can end them all. An
// attacker with one IPv6 line owns a whole /64, so addresses below it mean nothing (H7).
type census struct {
	mu     sync.Mutex
	live   map[*socket]struct{}
	counts map[netip.Addr]int
}

func newCensus() *census {
	return &census{live: map[*socket]struct{}{}, counts: map[netip.Addr]int{}}
}

// enter counts a connection, unless there are enough.
func (c *census) enter(s *socket, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) >= most {
		return false
	}
	c.live[s] = struct{}{}
	return true
}

// charge counts an entered connection against the network it comes from, unless that has enough.
func (c *census) charge(s *socket, from netip.Addr, l Limits) bool {
	network, most := networkOf(from, l)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts[network] >= most {
		return false
	}
	c.counts[network]++
	s.charged = network
	return true
}

func networkOf(a netip.Addr, l Limits) (network netip.Addr, most int) {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a, l.PerIPv4
	}
	p, err := a.Prefix(64)
	if err != nil { // no address at all: all of those together count as one network
		return netip.Addr{}, l.PerIPv6
	}
	return p.Addr(), l.PerIPv6
}

func (c *census) leave(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.live[s]; !ok {
		return
	}
	delete(c.live, s)
	if s.charged.IsValid() {
		if c.counts[s.charged]--; c.counts[s.charged] == 0 {
			delete(c.counts, s.charged)
		}
	}
}

func (c *census) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.live)
}

// closeAll ends every connection, taken over by a handler or not.
func (c *census) closeAll() {
	c.mu.Lock()
	all := make([]*socket, 0, len(c.live))
	for s := range c.live {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		_ = s.Close()
	}
}

// socket is an accepted connection in the census; closing it ends its count.
type socket struct {
	net.Conn
	census  *census
	charged netip.Addr // network that it counts against; set under the census's lock

	mu     sync.Mutex
	closed bool
	engine *engine // that serves it; nil before
}

// serveBy notes the engine, which has counted the connection in. It says no when the connection was closed meanwhile.
func (s *socket) serveBy(e *engine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine = e
	return !s.closed
}

// Close ends the connection and its count.
func (s *socket) Close() error {
	s.mu.Lock()
	e, again := s.engine, s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return net.ErrClosed
	}
	err := s.Conn.Close()
	s.census.leave(s)
	if e != nil {
		e.leave()
	}
	return err
}

// CloseWrite ends the sending half, so that a client can still read a last answer.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Close()
}

// ceiling is the most connections that leave enough files for all else: a little less than half of what the process may
// open (H12).
func ceiling() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 400
	}
	return int(min(max(limit.Cur/2, 2), 1<<20)) - 1
}
