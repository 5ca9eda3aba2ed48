package wire

import (
	"errors"
	"net"
	"sync"
	"time"
)

// FrameConn is the server side of a client connection that speaks HTTP/2. It belongs in front of an http.Server that serves HTTP/2
// without TLS: TLS ends in what it wraps. All bytes pass unchanged; it counts frames in both directions, and when the budget is
// exceeded it writes GOAWAY with ENHANCE_YOUR_CALM at the next frame boundary and ends the connection.
type FrameConn struct {
	net.Conn
	report func(Refusal)

	mu      sync.Mutex   // guards the following; taken after writing
	client  frameScanner // where the client's bytes stand
	read    int64        // how many those are
	ledger  *ledger
	refusal *Refusal // the budget is exceeded: nothing more is handed on
	closed  bool

	writing sync.Mutex // guards the following
	server  frameScanner
	said    bool // GOAWAY was written or can't be: nothing more is sent

	parted chan struct{} // closed when said becomes true
}

// errCalm ends the engine's writes after GOAWAY.
var errCalm = errors.New("http2: connection ended for its overhead")

// NewFrameConn wraps c, on which nothing was read or written yet. report is called once when the budget is exceeded, from the
// goroutine of a Read or Write; it may be nil.
func NewFrameConn(c net.Conn, b FrameBudget, report func(Refusal)) *FrameConn {
	f := &FrameConn{Conn: c, report: report, ledger: newLedger(b.withDefaults()), parted: make(chan struct{})}
	f.client.skip = prefaceLength
	return f
}

// NetConn returns the wrapped connection, for its TLS state.
func (c *FrameConn) NetConn() net.Conn { return c.Conn }

// Read hands on what the client sent, until the budget is exceeded; then it fails with the *Refusal.
func (c *FrameConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	refusal, first := c.count(p[:n])
	if refusal == nil {
		return n, err
	}
	if first {
		c.part()
	}
	return 0, refusal
}

// count counts the frames that begin in b. first is true for the call that exceeded the budget.
func (c *FrameConn) count(b []byte) (refusal *Refusal, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return c.refusal, false
	}
	c.ledger.refill()
	for rest := b; ; {
		f, ok, after := c.client.next(rest)
		if !ok {
			c.read += int64(len(b))
			return nil, false
		}
		rest = after
		if refusal = c.ledger.fromClient(f); refusal != nil {
			refusal.Offset = c.read + int64(len(b)-len(rest))
			c.exceed(refusal)
			return refusal, true
		}
	}
}

// exceed records and reports the refusal; mu is held.
func (c *FrameConn) exceed(refusal *Refusal) {
	c.refusal = refusal
	if c.report != nil {
		c.report(*refusal)
	}
}

// part says GOAWAY. When the engine is in the middle of a frame it waits, at most lingerTime, for Write to reach its end.
func (c *FrameConn) part() {
	c.Conn.SetWriteDeadline(c.ledger.budget.Now().Add(lingerTime)) //nolint:errcheck // a Write that is stuck must not hold us
	c.writing.Lock()
	c.sayGoAway()
	c.writing.Unlock()
	wait := time.NewTimer(lingerTime)
	defer wait.Stop()
	select {
	case <-c.parted:
	case <-wait.C:
	}
}

// sayGoAway writes GOAWAY once, if a frame may begin here; writing is held.
func (c *FrameConn) sayGoAway() {
	if c.said || !c.server.boundary() {
		return
	}
	c.said = true
	c.mu.Lock()
	last := c.ledger.highest
	c.mu.Unlock()
	c.Conn.Write(goAway(last))              //nolint:errcheck // the connection ends either way
	c.Conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // wakes a Read that would wait for a silent client
	close(c.parted)
}

// Write sends what the engine writes, and counts the frames in it.
func (c *FrameConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.said {
		return 0, errCalm
	}
	if c.exceeded() {
		return c.finish(b)
	}
	refused := c.countOwn(b)
	n, err := c.Conn.Write(b)
	if refused {
		c.sayGoAway()
	}
	return n, err
}

func (c *FrameConn) exceeded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal != nil
}

// countOwn counts our frames that begin in b and reports whether the budget is exceeded now.
func (c *FrameConn) countOwn(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		f, ok, rest := c.server.next(b)
		if !ok {
			return c.refusal != nil
		}
		b = rest
		if refusal := c.ledger.fromServer(f); refusal != nil && c.refusal == nil {
			refusal.Offset = c.read
			c.exceed(refusal)
		}
	}
}

// finish sends the rest of the frame that was begun, then GOAWAY.
func (c *FrameConn) finish(b []byte) (int, error) {
	end := 0
	for end < len(b) && !c.server.boundary() {
		step := max(1, min(c.server.skip, len(b)-end)) // a frame's head goes byte by byte, its payload at once
		c.server.next(b[end : end+step])
		end += step
	}
	n, err := c.Conn.Write(b[:end])
	c.sayGoAway()
	if err == nil && c.said {
		err = errCalm
	}
	return n, err
}

// SetWriteDeadline sets the engine's deadline, unless the connection is ending.
func (c *FrameConn) SetWriteDeadline(t time.Time) error {
	if c.exceeded() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetReadDeadline sets the engine's deadline, unless the connection is ending.
func (c *FrameConn) SetReadDeadline(t time.Time) error {
	if c.exceeded() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline sets both.
func (c *FrameConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close closes the connection. After GOAWAY it first gives the client a second to read it, in the background: closing a connection
// with unread bytes resets it, and the reset overtakes the GOAWAY.
func (c *FrameConn) Close() error {
	c.mu.Lock()
	refused, again := c.refusal != nil, c.closed
	c.closed = true
	c.mu.Unlock()
	if !refused {
		return c.Conn.Close()
	}
	if again { // net/http closes twice
		return nil
	}
	return closeSlowly(c.Conn, c.ledger.budget.Now().Add(lingerTime))
}
