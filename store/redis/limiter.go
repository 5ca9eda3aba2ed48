package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/throttled/throttled/v2"
)

// Each node has a standing allowance of each counter: so many requests it may spend before it asks, and it settles soon after.
// All allowances together are one part in fifty of a burst, for three nodes or more; a burst of a hundred has one request each.
// In any time, all nodes admit at most that much more than one node would; what they admitted is always counted.
const (
	allowancePart  = 50
	allowanceNodes = 3
	allowanceFrom  = 100
)

// settling is how soon a node settles what it spent, with all its counters together.
const settling = 20 * time.Millisecond

// freshFor is how old an answer may be for a look that finds much left.
const freshFor = 100 * time.Millisecond

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
	e, err := throttled.NewGCRARateLimiterCtx(single{l.counters.table, l.interval}, throttled.RateQuota{MaxRate: l.rate, MaxBurst: burst - 1})
	if err == nil {
		e.SetMaxCASAttemptsLimit(1000)
	}
	return e, err
}

// RateLimitCtx counts cost requests against the key, or looks when cost is 0. It spends of the allowance that this node holds;
// beyond it asks the server, together with all who wait for the same; and it counts this node's share of the limit when the
// server is away or slow.
func (l *limiter) RateLimitCtx(ctx context.Context, key string, cost int) (bool, throttled.RateLimitResult, error) {
	c := l.counters
	s, h := c.table.at(key)
	var waited *flight
	var late <-chan time.Time
	for {
		now := c.now().UnixNano()
		s.mu.Lock()
		if waited != nil {
			waited.wanted -= cost
		}
		e := s.keys[h]
		if c.circuit.open.Load() {
			s.mu.Unlock()
			return l.alone(ctx, key, cost)
		}
		limited, known := l.decide(&e, now, cost, waited != nil)
		if known {
			settle := l.keep(s, h, &e, now, cost, limited)
			s.mu.Unlock()
			if settle {
				c.later(l, key)
			}
			return limited, l.result(e, now, cost, limited), nil
		}
		f := s.flights[h]
		if f == nil {
			f = l.ask(s, h, key, now, cost, waited)
		}
		f.wanted += cost
		waited = f
		s.mu.Unlock()
		if late == nil {
			late = time.After(c.patient)
		}
		select {
		case <-f.done:
		case <-late:
			c.circuit.told(context.DeadlineExceeded)
			return l.alone(ctx, key, cost)
		}
	}
}

// allowance is how many requests this node may spend before it asks.
func (l *limiter) allowance() int {
	if l.burst < allowanceFrom {
		return 0
	}
	return max(1, l.burst/(allowancePart*max(allowanceNodes, l.counters.nodes())))
}

// decide does without the server where that is possible. What the counter has no room for is denied: others can only have
// taken more. What the allowance or an earlier grant covers is spent. A look finds what is known; where less than half is left it
// wants to know exactly, since it may be about somebody who guesses.
func (l *limiter) decide(e *entry, now int64, cost int, asked bool) (limited, known bool) {
	switch {
	case cost > l.burst:
		return true, true
	case l.allowed(*e, max(1, cost)) > now:
		return cost > 0, true
	case cost == 0:
		return false, asked || e.full(l.interval)-now < int64(l.tolerance/2)
	case int(e.owed)+cost > l.allowance():
		return false, false
	}
	if e.owed <= 0 && e.lone == 0 {
		e.since = now
	}
	e.owed += int32(cost)
	return false, true
}

// keep stores what was decided and tells that it must be settled.
func (l *limiter) keep(s *shard, h uint64, e *entry, now int64, cost int, limited bool) (settle bool) {
	if limited {
		return false
	}
	settle = !e.queued && (e.owed > 0 || cost == 0 && (e.told == 0 || now-e.told > int64(freshFor)))
	e.queued = e.queued || settle
	if settle || cost > 0 {
		l.counters.table.put(s, h, *e)
	}
	return settle
}

// allowed is when the counter has room for cost more.
func (l *limiter) allowed(e entry, cost int) int64 {
	return e.full(l.interval) + int64(l.interval)*int64(cost) - int64(l.tolerance)
}

// ask sends a question for everybody who waits. The shard is locked.
func (l *limiter) ask(s *shard, h uint64, key string, now int64, cost int, waited *flight) *flight {
	q, f := l.question(s, h, now)
	q.need, q.want = cost, cost
	if waited != nil {
		q.want += waited.wanted
	}
	go func() {
		ctx, cancel := context.WithTimeout(l.counters.end, l.counters.patient)
		a := l.counters.ask(ctx, []string{key}, []question{q})[0]
		cancel()
		l.land(s, h, f, q, a)
	}()
	return f
}

// question begins a flight that settles what is owed. The shard is locked.
func (l *limiter) question(s *shard, h uint64, now int64) (question, *flight) {
	e := s.keys[h]
	q := question{interval: l.interval, tolerance: l.tolerance, spent: int(e.owed + e.lone)}
	if e.owed > 0 || e.lone > 0 {
		q.age = time.Duration(max(0, now-e.since))
	}
	if e.alone {
		q.floor = time.Duration(max(0, e.at-now))
	}
	f := &flight{done: make(chan struct{}), owed: e.owed, lone: e.lone, alone: e.alone}
	s.flights[h] = f
	return q, f
}

// land keeps an answer for those who wait. What was granted is owed less. An answer that comes after this node has begun to
// count alone is too old.
func (l *limiter) land(s *shard, h uint64, f *flight, q question, a answer) {
	c := l.counters
	c.circuit.told(a.err)
	now := c.now().UnixNano()
	s.mu.Lock()
	delete(s.flights, h)
	e, there := s.keys[h]
	if !there {
		e.owed, e.lone = f.owed, f.lone
	}
	if a.err == nil && (!e.alone || f.alone) {
		e.at, e.told, e.alone = now+int64(a.ahead), now, false
		e.owed -= f.owed + int32(a.granted)
		e.lone -= f.lone
		e.since = now
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
	ahead := max(0, time.Duration(e.full(l.interval)-now))
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
	if !limited && err == nil && cost > 0 {
		l.remember(key, cost)
	}
	r.Limit, r.Remaining = l.burst, min(l.burst, r.Remaining)/nodes
	return limited, r, err
}

// remember keeps what was admitted alone, for the server to be told.
func (l *limiter) remember(key string, cost int) {
	c := l.counters
	s, h := c.table.at(key)
	s.mu.Lock()
	e := s.keys[h]
	if e.lone == 0 && e.owed <= 0 {
		e.since = c.now().UnixNano()
	}
	e.lone += int32(cost)
	queued := e.queued
	e.queued = true
	c.table.put(s, h, e)
	s.mu.Unlock()
	if !queued {
		c.later(l, key)
	}
}
