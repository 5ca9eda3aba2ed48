package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The pause before a server that failed is asked again, which doubles; and how long it must have been well before a new
// failure begins at the first pause again, so that a server that comes and goes is asked seldom.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
	wellFor    = 5 * time.Second
)

// circuit keeps callers from waiting for a server that doesn't answer: once a call has failed nobody asks but the circuit
// itself, in the background.
type circuit struct {
	open  atomic.Bool
	what  string
	now   func() time.Time
	made  time.Time
	log   *slog.Logger
	probe func(context.Context) error
	end   context.Context // no probes after it

	late   atomic.Int32 // calls in a row without an answer in time
	mu     sync.Mutex
	since  time.Time // of the failure that opened it
	why    error
	pause  time.Duration
	closed time.Time
}

func newCircuit(end context.Context, what string, now func() time.Time, log *slog.Logger, probe func(context.Context) error) *circuit {
	return &circuit{what: what, now: now, made: now(), log: log, probe: probe, end: end}
}

// often is how many calls in a row must have no answer in time to open the circuit: one alone may be a busy machine.
const often = 3

// told takes note of how a call ended. A broken connection opens the circuit at once.
func (c *circuit) told(err error) {
	switch {
	case err == nil:
		if c.late.Load() != 0 {
			c.late.Store(0)
		}
	case !errors.Is(err, context.DeadlineExceeded) || c.late.Add(1) >= often:
		c.failed(err)
	}
}

// failed opens the circuit.
func (c *circuit) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = err
	if c.open.Load() || c.end.Err() != nil {
		return
	}
	now := time.Now()
	c.since = c.now()
	if c.pause == 0 || now.Sub(c.closed) > wellFor {
		c.pause = firstPause
	} else {
		c.pause = min(2*c.pause, lastPause)
	}
	c.open.Store(true)
	c.log.Warn("redis: going on without it", "use", c.what, "cause", words(err))
	go c.recover(c.pause)
}

// recover asks until the server answers.
func (c *circuit) recover(pause time.Duration) {
	for {
		select {
		case <-c.end.Done():
			return
		case <-time.After(pause):
		}
		ctx, cancel := context.WithTimeout(c.end, lastPause)
		err := c.probe(ctx)
		cancel()
		c.mu.Lock()
		if err == nil {
			c.log.Info("redis: using it again", "use", c.what, "after", c.now().Sub(c.since).Round(time.Millisecond))
			c.since, c.why, c.closed = time.Time{}, nil, time.Now()
			c.late.Store(0)
			c.open.Store(false)
			c.mu.Unlock()
			return
		}
		pause = min(2*pause, lastPause)
		c.why, c.pause = err, pause
		c.mu.Unlock()
	}
}

// state is since when the circuit has been open, and why; the zero time when it is closed.
func (c *circuit) state() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.why
}
