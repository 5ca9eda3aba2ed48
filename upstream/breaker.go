package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// The states of a circuit.
const (
	closed   int32 = iota // requests pass
	open                  // nothing passes
	halfOpen              // a few requests test the server
)

// breaker cuts off one server when too large a share of its requests fail. It is our own and not failsafe-go's because
// that one reads the clock itself and allocates per request.
type breaker struct {
	cfg   Breaker
	state atomic.Int32

	mu       sync.Mutex
	halves   [2]tally // the current and the previous half of the window
	turned   time.Time
	opened   time.Time
	probes   int // in progress while half open
	passed   int // successful while half open
	openings int64
}

type tally struct{ requests, failures int }

// outcome is what a request has shown about its server.
type outcome int

const (
	unknown outcome = iota // nothing: the client left, or the fault is not the server's
	good
	bad
)

// ready tells, without taking a place, whether admit would succeed.
func (b *breaker) ready(now time.Time) bool {
	if b.state.Load() == closed {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readyLocked(now)
}

func (b *breaker) readyLocked(now time.Time) bool {
	switch b.state.Load() {
	case closed:
		return true
	case open:
		return now.Sub(b.opened) >= b.cfg.OpenFor
	}
	return b.probes < b.cfg.Probes
}

// admit lets a request through. Each admitted request reports back once, by record. Probe is to be handed to record.
func (b *breaker) admit(now time.Time) (probe, ok bool) {
	if b.state.Load() == closed {
		return false, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.readyLocked(now) {
		return false, false
	}
	switch b.state.Load() {
	case closed:
		return false, true
	case open:
		b.state.Store(halfOpen)
		b.probes, b.passed = 0, 0
	}
	b.probes++
	return true, true
}

// record counts what became of an admitted request.
func (b *breaker) record(o outcome, probe bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() == closed {
		b.count(o, now)
		return
	}
	if !probe || b.state.Load() != halfOpen {
		return // began before the circuit opened: old news
	}
	b.probes--
	switch o {
	case good:
		b.passed++
		if b.passed >= b.cfg.Probes {
			b.halves = [2]tally{}
			b.turned = now
			b.state.Store(closed)
		}
	case bad:
		b.trip(now)
	}
}

func (b *breaker) count(o outcome, now time.Time) {
	if age := now.Sub(b.turned); age >= b.cfg.Window {
		b.halves, b.turned = [2]tally{}, now
	} else if age >= b.cfg.Window/2 {
		b.halves, b.turned = [2]tally{{}, b.halves[0]}, now
	}
	if o == unknown {
		return
	}
	b.halves[0].requests++
	if o == good {
		return
	}
	b.halves[0].failures++
	requests, failures := b.halves[0].requests+b.halves[1].requests, b.halves[0].failures+b.halves[1].failures
	if requests >= b.cfg.MinRequests && failures*100 >= requests*int(b.cfg.FailureRate) {
		b.trip(now)
	}
}

func (b *breaker) trip(now time.Time) {
	b.state.Store(open)
	b.opened = now
	b.openings++
}

// word names the state for ServerState.
func (b *breaker) word() string {
	return [...]string{"closed", "open", "half_open"}[b.state.Load()]
}
