package upstream

import "time"

// set is a set of servers, by their index in the pool.
type set [maxTargets / 64]uint64

func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// choice is what decides on a server for one attempt.
type choice struct {
	key  string
	now  time.Time
	lax  bool // look past ejection and probes: better a server that may be down than none
	skip set  // tried already
}

// balancer picks one of the servers that may take a request, or -1. It takes no place: the pool does, and asks again with
// the server skipped when another request was faster.
type balancer func(servers []*server, c *choice) int

func (c *choice) may(servers []*server, i int) bool {
	return !c.skip.has(i) && servers[i].ready(c.now, c.lax)
}

// powerOfTwo takes the less busy of two servers picked at random: nearly as even as asking all, and a slow server, which
// has more in progress, gets less.
func powerOfTwo(random func() uint64) balancer {
	return func(servers []*server, c *choice) int {
		n := len(servers)
		if n == 1 {
			return first(servers, c, 0)
		}
		r := random()
		i := int(uint32(r) % uint32(n))
		j := int(uint32(r>>32) % uint32(n-1))
		if j >= i {
			j++
		}
		mayI, mayJ := c.may(servers, i), c.may(servers, j)
		switch {
		case mayI && mayJ && servers[j].busy.Load() < servers[i].busy.Load():
			return j
		case mayI:
			return i
		case mayJ:
			return j
		}
		return first(servers, c, i)
	}
}

// roundRobin takes the servers in turn.
func roundRobin(next func() uint64) balancer {
	return func(servers []*server, c *choice) int {
		return first(servers, c, int(next()%uint64(len(servers))))
	}
}

// first is the first server from start on, around the end, that may take a request.
func first(servers []*server, c *choice, start int) int {
	for k := range servers {
		if i := (start + k) % len(servers); c.may(servers, i) {
			return i
		}
	}
	return -1
}

// rendezvous takes the server that weighs most for the key, so that a key stays with its server, every gateway agrees on
// which that is, and a server that goes moves only its own keys. Without a key it falls back on other.
func rendezvous(other balancer) balancer {
	return func(servers []*server, c *choice) int {
		if c.key == "" {
			return other(servers, c)
		}
		best, most, key := -1, uint64(0), digest(c.key)
		for i, s := range servers {
			if weight := mix(key ^ s.hash); (best < 0 || weight > most) && c.may(servers, i) {
				best, most = i, weight
			}
		}
		return best
	}
}

// digest is FNV-1a over 64 bits: the same on every gateway and after every restart.
func digest(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit over all others (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
