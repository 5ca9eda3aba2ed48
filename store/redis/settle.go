package redis

import (
	"context"
	"sync"
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

// ledger is what must be settled.
type ledger struct {
	mu    sync.Mutex
	debts []debt
	due   chan struct{} // rings when there is a first one
}

// later notes that a counter must be settled.
func (c *Counters) later(l *limiter, key string) {
	c.ledger.mu.Lock()
	c.ledger.debts = append(c.ledger.debts, debt{l, key})
	first := len(c.ledger.debts) == 1
	c.ledger.mu.Unlock()
	if first {
		select {
		case c.ledger.due <- struct{}{}:
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
		case <-c.ledger.due:
		}
		for wait := true; wait; wait = c.circuit.open.Load() {
			select {
			case <-c.end.Done():
				return
			case <-time.After(settling):
			}
		}
		c.settle()
	}
}

// settle tells the server what was spent. What it doesn't hear is still owed.
func (c *Counters) settle() {
	c.ledger.mu.Lock()
	all := c.ledger.debts
	c.ledger.debts = nil
	c.ledger.mu.Unlock()
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
		now       = c.now().UnixNano()
	)
	for _, d := range debts {
		s, h := c.table.at(d.key)
		s.mu.Lock()
		e, there := s.keys[h]
		busy := there && s.flights[h] != nil
		if there && !busy {
			e.queued = false
			s.keys[h] = e
		}
		if there && !busy {
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
