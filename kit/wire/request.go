package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// substitute is what the engine reads in place of refused bytes. It means nothing; that it stands for a refusal is known only by
// [RequestConn.Next]. A client that sends the same bytes has sent an ordinary request.
const substitute = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"

const (
	readSize     = 4 << 10                // bytes read at once where a head may follow; also what net/http asks for
	bodyWindow   = 10 * time.Second       // how long a body may fall short of the minimum rate
	grace        = 100 * time.Millisecond // for bytes that may have arrived while nobody was reading
	lingerTime   = time.Second            // how long Close waits for the client to read a refusal before it resets the connection
	maxDiscarded = 4 << 20                // bytes thrown away behind a refusal for the same reason
)

// errNotUpgrade answers a Tunnel that no request asked for.
var errNotUpgrade = errors.New("tunnel: the request on this connection did not ask for an upgrade")

// mode is what Read does.
type mode uint8

const (
	modeHTTP       mode = iota // hand on what is understood
	modeSubstitute             // a head was refused: hand on the substitute, then nothing
	modeBroken                 // a body was refused: fail once, then end
	modeDiscard                // after the substitute: read and forget
	modeWait                   // after a request with Upgrade: hold everything until Tunnel
	modeTunnel                 // raw bytes
)

// RequestConn is the server side of a client connection that speaks HTTP/1.1. It belongs in front of an http.Server without
// read timeouts of its own, with the general OPTIONS handler off and MaxHeaderBytes not below [Limits].HeadBytes.
//
// Like every net.Conn it may be closed and given deadlines from any goroutine; Read is called by one at a time, as net/http does.
type RequestConn struct {
	net.Conn
	now      func() time.Time
	parser   requestParser
	inbox    inbox
	patience patience
	idle     time.Time     // since when nothing of the next head has come; zero: not waiting
	held     time.Time     // since when an incomplete head is held; zero: none
	credit   time.Duration // how long the current body may still dawdle
	rest     int           // bytes of the substitute, then bytes to discard, still to go

	mu       sync.Mutex // guards the following
	mode     mode
	verdicts verdicts
}

// verdicts is the part of the state that handlers ask for.
type verdicts struct {
	served int      // handler invocations
	head   *Refusal // refusal that request number at stands for
	body   *Refusal // refusal of the body of request number at
	at     int
	closed bool
}

// NewRequestConn wraps c. now must be the clock that the deadlines of c follow.
func NewRequestConn(c net.Conn, lim Limits, now func() time.Time) *RequestConn {
	lim = lim.withDefaults()
	c.SetReadDeadline(time.Time{}) //nolint:errcheck // of a handshake, perhaps; if c is closed, Read will tell
	return &RequestConn{Conn: c, now: now, parser: newRequestParser(lim), patience: patience{conn: c, now: now}, credit: bodyWindow}
}

// NetConn returns the wrapped connection, for its TLS state. Reading from it bypasses every check.
func (c *RequestConn) NetConn() net.Conn { return c.Conn }

// Next is called exactly once by the handler at the beginning of each request of this connection. When that request stands for
// refused bytes it returns the refusal, else nil. It counts invocations, because net/http asks for bytes of the next head while the
// handler of the request before still runs.
func (c *RequestConn) Next() *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdicts.served++
	if c.verdicts.head != nil && c.verdicts.served >= c.verdicts.at {
		return c.verdicts.head
	}
	return nil
}

// BodyRefusal returns why reading the body of the current request failed, or nil when that was not for a refusal. The request's
// context is cancelled by then; an answer can still be written and is the last on the connection.
func (c *RequestConn) BodyRefusal() *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdicts.served < c.verdicts.at {
		return nil
	}
	return c.verdicts.body
}

// Tunnel lets bytes pass unread from now on. The handler of a request with Upgrade calls it after the server has answered 101 and
// before it reads from the hijacked connection. Without it nothing behind such a request is ever handed on (C16, C18).
func (c *RequestConn) Tunnel() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mode != modeWait {
		return errNotUpgrade
	}
	c.mode = modeTunnel
	return nil
}

// SetReadDeadline sets the engine's deadline. Nothing that has arrived is lost by it.
func (c *RequestConn) SetReadDeadline(t time.Time) error { return c.patience.setUser(t) }

// SetDeadline sets the engine's deadlines for reading and writing.
func (c *RequestConn) SetDeadline(t time.Time) error {
	return errors.Join(c.patience.setUser(t), c.Conn.SetWriteDeadline(t))
}

// Read hands on bytes that are understood. It fails with a *Refusal when a body turned out to be wrong.
func (c *RequestConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.inbox.ready() > 0 {
			return c.inbox.take(p), nil
		}
		n, done, err := c.step(p)
		if done {
			return n, err
		}
	}
}

// step does one thing towards the next byte; done means Read returns.
func (c *RequestConn) step(p []byte) (n int, done bool, err error) {
	switch c.currentMode() {
	case modeHTTP:
		return c.receive(p)
	case modeSubstitute:
		n = copy(p, substitute[len(substitute)-c.rest:])
		if c.rest -= n; c.rest == 0 {
			c.rest = maxDiscarded
			c.setMode(modeDiscard)
		}
		return n, true, nil
	case modeBroken:
		return 0, true, c.breakOff()
	case modeDiscard:
		return c.discard(p)
	case modeWait:
		return c.wait(p)
	}
	if c.inbox.open() > 0 {
		c.inbox.clear(c.inbox.open())
		return 0, false, nil
	}
	n, _, err = c.patience.read(p, time.Time{})
	return n, n > 0 || err != nil, err
}

func (c *RequestConn) currentMode() mode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mode
}

func (c *RequestConn) setMode(m mode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = m
}

// breakOff gives the reason once; from then on the connection is at its end.
func (c *RequestConn) breakOff() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = modeDiscard
	return c.verdicts.body
}

// receive reads once from the client and understands what came. Bytes are read straight into p where nothing is held back: what is
// understood of them is already in its place.
func (c *RequestConn) receive(p []byte) (n int, done bool, err error) {
	if c.inbox.open() > 0 {
		if c.parser.more {
			c.understand(0)
			return 0, false, nil
		}
		n, err = c.await(c.inbox.room(readSize), len(p))
		if n == 0 {
			return 0, err != nil, err
		}
		c.understand(n)
		return 0, false, nil
	}
	p = p[:min(len(p), c.parser.appetite())]
	n, err = c.await(p, len(p))
	if n == 0 {
		return 0, err != nil, err
	}
	clear, refusal := c.parser.advance(p[:n])
	if refusal == nil && clear < n {
		c.inbox.keep(p[clear:n])
	}
	c.understood(clear, refusal)
	return clear, clear > 0, nil
}

// understand looks at the inbox, into which n bytes were read.
func (c *RequestConn) understand(n int) {
	clear, refusal := c.parser.advance(c.inbox.grow(n))
	c.inbox.clear(clear)
	c.understood(clear, refusal)
}

// understood updates what the outcome of a read changes.
func (c *RequestConn) understood(clear int, refusal *Refusal) {
	switch {
	case refusal != nil:
		c.refused(refusal)
	case c.parser.last:
		c.setMode(modeWait)
	}
	if clear > 0 {
		c.held = time.Time{}
	}
	if c.parser.stage != stageBody {
		c.credit = bodyWindow
	}
}

// refused turns the connection to its end.
func (c *RequestConn) refused(refusal *Refusal) {
	c.inbox.cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parser.stage == stageBody {
		c.mode, c.rest = modeBroken, 0
		c.verdicts.body, c.verdicts.at = refusal, c.parser.heads
		return
	}
	c.mode, c.verdicts.head, c.verdicts.at = modeSubstitute, refusal, c.parser.heads+1
	c.rest = len(substitute)
}

// await reads into b within the time that the state allows. asked is what the engine asked for: its background read, which runs
// while a handler does and is no sign of an idle client, asks for a single byte.
func (c *RequestConn) await(b []byte, asked int) (int, error) {
	switch {
	case c.parser.stage == stageBody:
		return c.awaitBody(b)
	case c.parser.stage == stageFirstChunk:
		return c.awaitHeld(b, bodyWindow, reasonSlowBody, "the first chunk line did not come")
	case c.inbox.open() > 0:
		return c.awaitHeld(b, c.parser.limits.HeadTime, reasonSlowHead, "the request head did not end")
	}
	var want time.Time
	if asked > 1 {
		now := c.now()
		if c.idle.IsZero() {
			c.idle = now
		}
		if want = c.idle.Add(c.parser.limits.IdleTime); !now.Before(want) {
			return 0, os.ErrDeadlineExceeded
		}
	}
	n, _, err := c.patience.read(b, want)
	if n > 0 {
		c.idle = time.Time{}
	}
	return n, err
}

// awaitHeld waits for more of a head that is held.
func (c *RequestConn) awaitHeld(b []byte, limit time.Duration, reason, detail string) (int, error) {
	now := c.now()
	if c.held.IsZero() {
		c.held = now
	}
	want := c.held.Add(limit)
	late := !now.Before(want)
	if late {
		c.patience.forget()
		want = now.Add(grace)
	}
	n, timedOut, err := c.patience.read(b, want)
	if timedOut && (late || !c.now().Before(want)) {
		c.refused(refuse(reason, c.parser.base+int64(c.inbox.open()), detail))
	}
	return n, err
}

// awaitBody waits for more of a body. Credit is lost while we wait and earned by bytes; time in which the engine does not ask costs
// nothing, so a slow server is never the client's fault.
func (c *RequestConn) awaitBody(b []byte) (int, error) {
	start := c.now()
	n, _, err := c.patience.read(b, start.Add(c.credit))
	c.credit -= c.now().Sub(start)
	earned := time.Duration(n) * time.Second / time.Duration(c.parser.limits.MinRate)
	c.credit = min(bodyWindow, c.credit+earned)
	if n == 0 && err == nil && c.credit <= 0 {
		c.refused(refuse(reasonSlowBody, c.parser.base+int64(c.inbox.open()), "the body comes more slowly than the minimum rate"))
	}
	return n, err
}

// discard reads and forgets, so that the client can finish sending and read its answer, and notices when it has gone.
func (c *RequestConn) discard(p []byte) (n int, done bool, err error) {
	if c.rest <= 0 {
		return 0, true, io.EOF
	}
	now := c.now()
	if c.idle.IsZero() {
		c.idle = now
	}
	want := c.idle.Add(c.parser.limits.HeadTime)
	if !now.Before(want) {
		return 0, true, io.EOF
	}
	n, _, err = c.patience.read(c.inbox.room(readSize), want)
	c.rest -= n
	return 0, err != nil, err
}

// wait holds what a client sends behind a request with Upgrade. Only the background read of the engine waits here; a read for another
// request finds the end of the connection.
func (c *RequestConn) wait(p []byte) (n int, done bool, err error) {
	if len(p) > 1 {
		return 0, true, io.EOF
	}
	if c.inbox.open() >= readSize {
		return 0, true, refuse(reasonEarlyData, c.parser.base+int64(c.inbox.open()), "too much data before the tunnel was open")
	}
	n, _, err = c.patience.read(c.inbox.room(readSize), time.Time{})
	c.inbox.grow(n)
	return 0, err != nil, err
}
