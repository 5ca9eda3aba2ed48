package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/throttled/throttled/v2"
)

// What leases are: at most so long, and together at most one part in fifty of a burst for three nodes or more. In any time
// all nodes admit at most that much more than one node would, and at most that much less.
const (
	leaseFor   = 100 * time.Millisecond
	leasePart  = 50
	leaseNodes = 3
)

// patient is how long a request waits for the server before this node decides alone.
const patient = 50 * time.Millisecond

// emptyFor is how long a counter that had nothing is not asked again, at most.
const emptyFor = 2 * time.Millisecond

// limiter is one limit that all nodes share: a throttled.RateLimiterCtx.
type limiter struct {
	counters  *Counters
	interval  time.Duration
	tolerance time.Duration
	burst     int
	rate      throttled.Rate
	local     *throttled.GCRARateLimiterCtx // over the same numbers, for when there is no server
}

// Limiter gives the limit of count requests in a time, with so many at once, shared with all nodes.
func (c *Counters) Limiter(count int, per time.Duration, burst int) (throttled.RateLimiterCtx, error) {
	if count < 1 || burst < 1 || per/time.Duration(count) < 1 {
		return nil, fmt.Errorf("redis: %d in %v with a burst of %d is no limit", count, per, burst)
	}
	l := &limiter{counters: c, interval: per / time.Duration(count), burst: burst, rate: throttled.PerDuration(count, per)}
	l.tolerance = l.interval * time.Duration(burst)
	var err error
	l.local, err = l.engine(burst)
	return l, err
}

func (l *limiter) engine(burst int) (*throttled.GCRARateLimiterCtx, error) {
	e, err := throttled.NewGCRARateLimiterCtx(l.counters.table, throttled.RateQuota{MaxRate: l.rate, MaxBurst: burst - 1})
	if err == nil {
		e.SetMaxCASAttemptsLimit(1000)
	}
	return e, err
}

// RateLimitCtx counts cost requests against the key, or looks when cost is 0. It answers from the lease that this node
// holds; else it asks the server, together with all who wait for the same; else, when the server is away or slow, it counts
// this node's share of the limit.
func (l *limiter) RateLimitCtx(ctx context.Context, key string, cost int) (bool, throttled.RateLimitResult, error) {
	c := l.counters
	s, h := c.table.at(key)
	var waited *flight
	var late <-chan time.Time
	for {
		now := c.now().UnixNano()
		s.mu.Lock()
		if waited != nil {
			waited.queued -= cost
		}
		e, f := s.keys[h], s.flights[h]
		if limited, known := l.known(&e, f, now, cost); known {
			if cost > 0 && !limited {
				s.keys[h] = e
			}
			s.mu.Unlock()
			return limited, l.result(e, now, cost, limited), nil
		}
		if c.circuit.open.Load() {
			s.mu.Unlock()
			return l.alone(ctx, key, cost)
		}
		if f == nil {
			f = l.start(s, h, key, e, now, cost, waited)
		}
		f.queued += cost
		waited = f
		s.mu.Unlock()
		if late == nil {
			late = time.After(patient)
		}
		select {
		case <-f.done:
		case <-late:
			return l.alone(ctx, key, cost)
		}
	}
}

// known decides from what this node knows, if that is enough: a lease pays, or the counter was so full when the server last
// told that there is nothing before a certain time.
func (l *limiter) known(e *entry, f *flight, now int64, cost int) (limited, known bool) {
	fresh := e.told != 0 && now-e.told < int64(leaseFor)
	switch {
	case cost == 0:
		return false, fresh
	case cost > l.burst:
		return true, true
	case fresh && int(e.left) >= cost:
		e.left -= int32(cost)
		return false, true
	}
	return true, f == nil && e.told != 0 && now < l.allowed(*e, cost)
}

// allowed is when the counter has room for cost more.
func (l *limiter) allowed(e entry, cost int) int64 {
	return e.at + int64(l.interval)*int64(cost-int(e.left)) - int64(l.tolerance)
}

// start sends a question for everybody who waits, and for a lease as large as the last one proved useful. The shard is
// locked.
func (l *limiter) start(s *shard, h uint64, key string, e entry, now int64, cost int, waited *flight) *flight {
	q := question{interval: l.interval, tolerance: l.tolerance, need: cost, want: cost, give: int(e.left)}
	if e.alone {
		q.floor = time.Duration(max(0, e.at-now))
	}
	e.size = l.lease(e, now)
	if cost > 0 {
		q.want += int(e.size)
	}
	if waited != nil {
		q.want += waited.queued
	}
	e.left = 0
	l.counters.table.put(s, h, e)
	f := &flight{done: make(chan struct{})}
	s.flights[h] = f
	go l.fly(s, h, f, key, q)
	return f
}

// lease is how much to take beyond what is needed: twice as much as last time when that was used up while it held, and what
// was used when it wasn't.
func (l *limiter) lease(e entry, now int64) int32 {
	most := l.burst / (leasePart * max(leaseNodes, l.counters.nodes()))
	switch {
	case e.left > 0:
		return max(0, e.size-e.left)
	case e.told == 0 || now-e.told > int64(leaseFor):
		return 0
	}
	return int32(min(max(1, 2*int(e.size)), most))
}

// fly asks, and keeps the answer for those who wait.
func (l *limiter) fly(s *shard, h uint64, f *flight, key string, q question) {
	c := l.counters
	ctx, cancel := context.WithTimeout(c.end, patient)
	a, err := c.ask(ctx, key, q)
	cancel()
	if err != nil {
		c.circuit.failed(err)
	}
	now := c.now().UnixNano()
	s.mu.Lock()
	delete(s.flights, h)
	if err == nil {
		e := s.keys[h]
		e.at, e.told, e.left, e.alone = now+int64(a.ahead), now, int32(a.granted), false
		if a.granted < q.need {
			pause := min(emptyFor, l.tolerance/10)
			e.at = max(e.at, now+int64(pause+l.tolerance)-int64(l.interval)*int64(q.need))
		}
		c.table.put(s, h, e)
	}
	s.mu.Unlock()
	close(f.done)
}

// result is what clients are told.
func (l *limiter) result(e entry, now int64, cost int, limited bool) throttled.RateLimitResult {
	ahead := max(0, time.Duration(e.at-now)-time.Duration(e.left)*l.interval)
	r := throttled.RateLimitResult{Limit: l.burst, Remaining: int(max(0, l.tolerance-ahead) / l.interval), ResetAfter: ahead, RetryAfter: -1}
	if cost <= l.burst && (limited || cost == 0) {
		if wait := time.Duration(l.allowed(e, max(1, cost)) - now); wait > 0 {
			r.RetryAfter = wait
		}
	}
	return r
}

// alone counts this node's share of the limit: each request costs what all nodes would take in the same time, so that the
// nodes together keep the limit. It goes on from the last number that the server told. A limit smaller than the number of
// nodes admits one request for each node at first.
func (l *limiter) alone(ctx context.Context, key string, cost int) (bool, throttled.RateLimitResult, error) {
	nodes := l.counters.nodes()
	engine := l.local
	if cost*nodes > l.burst && cost <= l.burst {
		wide, err := l.engine(cost * nodes)
		if err != nil {
			return true, throttled.RateLimitResult{}, err
		}
		engine = wide
	}
	limited, r, err := engine.RateLimitCtx(ctx, key, cost*nodes)
	r.Limit, r.Remaining = l.burst, min(l.burst, r.Remaining)/nodes
	return limited, r, err
}
