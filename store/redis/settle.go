package redis

import (
	"context"
	"time"
)

// together is how many counters are settled in one flow.
const together = 128

// unhurried is how long that may take: no request waits for it.
const unhurried = 500 * time.Millisecond

// debt is a counter that will be settled.
type debt struct {
	limit *limiter
	key   string
}

// later notes that a counter must be settled.
func (c *Counters) later(l *limiter, key string) {
	c.mu.Lock()
	c.debts = append(c.debts, debt{l, key})
	first := len(c.debts) == 1
	c.mu.Unlock()
	if first {
		select {
		case c.due <- struct{}{}:
		default:
		}
	}
}

// keepSettling settles a moment after something was spent.
func (c *Counters) keepSettling() {
	for {
		select {
		case <-c.end.Done():
			return
		case <-c.due:
		}
		select {
		case <-c.end.Done():
			return
		case <-time.After(settling):
		}
		c.settle()
	}
}

// settle tells the server what was spent. What it doesn't hear is still owed.
func (c *Counters) settle() {
	c.mu.Lock()
	all := c.debts
	c.debts = nil
	c.mu.Unlock()
	for len(all) > 0 {
		n := min(together, len(all))
		c.settleSome(all[:n])
		all = all[n:]
	}
}

func (c *Counters) settleSome(debts []debt) {
	type journey struct {
		debt
		s *shard
		h uint64
		f *flight
	}
	var (
		asked     []journey
		keys      []string
		questions []question
		away      = c.circuit.open.Load()
		now       = c.now().UnixNano()
	)
	for _, d := range debts {
		s, h := c.table.at(d.key)
		s.mu.Lock()
		e, there := s.keys[h]
		busy := there && !away && s.flights[h] != nil
		if there && !busy {
			e.queued = false
			s.keys[h] = e
		}
		if there && !busy && !away {
			q, f := d.limit.question(s, h, now)
			asked, keys, questions = append(asked, journey{d, s, h, f}), append(keys, d.key), append(questions, q)
		}
		s.mu.Unlock()
		if busy { // a question is on its way, which may not tell all
			c.later(d.limit, d.key)
		}
	}
	if len(asked) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.end, unhurried)
	answers := c.ask(ctx, keys, questions)
	cancel()
	for i, j := range asked {
		j.limit.land(j.s, j.h, j.f, questions[i], answers[i])
	}
}
