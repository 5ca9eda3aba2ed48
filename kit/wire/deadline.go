package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// patience joins two read deadlines of one connection: the engine's, set with SetReadDeadline at any time from any goroutine
// (net/http aborts its background read with one in the past), and ours. The earlier one is applied.
type patience struct {
	conn net.Conn
	now  func() time.Time

	mu      sync.Mutex // guards the following
	user    time.Time  // asked for by the engine
	own     time.Time  // ours; may be earlier than needed, then the reader wakes, looks and waits on
	applied time.Time  // what conn was told last
	waiting bool       // a Read of conn may be under way
}

// setUser records the engine's deadline and, when a read is under way, applies it.
func (d *patience) setUser(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = t
	if d.waiting {
		return d.apply()
	}
	return nil
}

// forget drops our deadline, which may have passed while nobody was reading.
func (d *patience) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own = time.Time{}
}

// apply tells conn the earlier of the two deadlines; mu is held.
func (d *patience) apply() error {
	t := d.user
	if t.IsZero() || (!d.own.IsZero() && d.own.Before(t)) {
		t = d.own
	}
	if t.Equal(d.applied) {
		return nil
	}
	d.applied = t
	return d.conn.SetReadDeadline(t)
}

// read reads once. want is our deadline, zero for none. Timed out means that one of ours has passed, maybe an earlier one that was left
// in place because setting timers costs more than waking once too often: the caller looks again. A timeout of the engine is the error.
func (d *patience) read(b []byte, want time.Time) (n int, timedOut bool, err error) {
	d.mu.Lock()
	if !want.IsZero() && (d.own.IsZero() || want.Before(d.own)) {
		d.own = want
	}
	if !d.user.IsZero() && !d.user.After(d.now()) { // most background reads are aborted before they begin
		d.mu.Unlock()
		return 0, false, os.ErrDeadlineExceeded
	}
	d.waiting = true
	err = d.apply()
	d.mu.Unlock()
	if err == nil {
		n, err = d.conn.Read(b)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = false
	if n > 0 || !isTimeout(err) {
		return n, false, err
	}
	if !d.user.IsZero() && d.applied.Equal(d.user) {
		return 0, false, err
	}
	d.own = time.Time{} // it passed; the next read computes it anew
	return 0, true, nil
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
