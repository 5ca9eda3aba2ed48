package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// ejector takes a server out of the choice after failures in a row. When its time is over the server is on probation: one
// request at a time until one succeeds, and a single failure ejects it again for twice as long.
type ejector struct {
	cfg     Health
	clean   atomic.Bool // no failure since the last success: the hot path looks no further
	probing atomic.Bool // the one request of the probation is in progress
	down    atomic.Bool // the active probe says so

	mu    sync.Mutex
	row   int       // failures in a row
	times int       // ejections without a success in between
	since time.Time // the last ejection
	until time.Time
}

// ready tells whether the server may be chosen.
func (e *ejector) ready(now time.Time) bool {
	if e.down.Load() {
		return false
	}
	if e.clean.Load() {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times == 0 {
		return true
	}
	return !now.Before(e.until) && !e.probing.Load()
}

// admit takes the place of the probation where there is one. Probe is to be released by settle.
func (e *ejector) admit(now time.Time) (probe, ok bool) {
	if e.down.Load() {
		return false, false
	}
	if e.clean.Load() {
		return false, true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times == 0 {
		return false, true
	}
	if now.Before(e.until) || !e.probing.CompareAndSwap(false, true) {
		return false, false
	}
	return true, true
}

// release gives the place of the probation back.
func (e *ejector) release(probe bool) {
	if probe {
		e.probing.Store(false)
	}
}

// record counts what became of a request that began at the time began. What began before an ejection and ends well is old
// news: it does not bring the server back.
func (e *ejector) record(o outcome, began, now time.Time) {
	if o == unknown || o == good && e.clean.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if o == good {
		if e.times > 0 && began.Before(e.since) {
			return
		}
		e.row, e.times, e.until = 0, 0, time.Time{}
		e.clean.Store(true)
		return
	}
	e.clean.Store(false)
	e.row++
	if now.Before(e.until) || e.times == 0 && e.row < e.cfg.EjectAfter {
		return // already out, or not yet
	}
	length := e.cfg.EjectMax
	if e.times < 30 {
		length = min(length, e.cfg.EjectFor<<e.times)
	}
	e.times++
	e.since = now
	e.until = now.Add(length)
}

// out tells whether the server is ejected at the time now.
func (e *ejector) out(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.times > 0 && now.Before(e.until)
}
