package wire

import (
	"bytes"
	"net"
	"sync"
)

// ResponseConn is the client side of a connection to a server that speaks HTTP/1.1. It belongs under an http.Transport. It follows
// the requests that are written, to know which answers have no body and which may be 101, and hands on only responses that are
// understood; any other is a *Refusal from Read, with status 502, and the connection is useless from then on.
type ResponseConn struct {
	net.Conn
	parser responseParser
	inbox  inbox

	mu     sync.Mutex // guards the following
	failed *Refusal   // a response was refused
	sent   requestParser
	unsent []byte // the beginning of a request head whose end is not written yet
	asked  []question
	tunnel bool
}

// Quiet tells that the connection may carry the next request: nothing of the server's lies here that was not handed on, and
// nothing was refused. What came behind the end of an answer would join the next one.
func (c *ResponseConn) Quiet() bool { return len(c.inbox.b) == c.inbox.begin && c.Refusal() == nil }

// Our own requests are bounded elsewhere; here only their framing counts.
const (
	maxSentHead   = 1 << 20
	maxSentFields = 10000
)

// NewResponseConn wraps c, on which nothing was sent yet.
func NewResponseConn(c net.Conn, lim ResponseLimits) *ResponseConn {
	r := &ResponseConn{Conn: c, parser: newResponseParser(lim.withDefaults())}
	r.sent = newRequestParser(Limits{
		HeadBytes:   maxSentHead,
		TargetBytes: maxSentHead,
		Fields:      maxSentFields,
		Trailers:    func(string) bool { return true },
	})
	r.sent.observer = r
	return r
}

// NetConn returns the wrapped connection, for its TLS state.
func (c *ResponseConn) NetConn() net.Conn { return c.Conn }

// Refusal returns why a response on this connection was refused, or nil. Read fails with the same value, but net/http reports a
// trailer that can't be read with an error of its own.
func (c *ResponseConn) Refusal() *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Write sends requests. One that we would refuse ourselves is not sent: its end could be read in two ways.
func (c *ResponseConn) Write(b []byte) (int, error) {
	if refusal := c.follow(b); refusal != nil {
		return 0, refusal
	}
	return c.Conn.Write(b)
}

// follow notes what requests b holds.
func (c *ResponseConn) follow(b []byte) *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel {
		return nil
	}
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, b...)
		b = c.unsent
	}
	clear, refusal := c.sent.advance(b)
	for c.sent.more {
		var n int
		n, refusal = c.sent.advance(b[clear:])
		clear += n
	}
	c.unsent = append(c.unsent[:0], b[clear:]...)
	if refusal == nil {
		return nil
	}
	return &Refusal{Reason: reasonResponseRequest, Status: 502, Detail: refusal.Reason + ": " + refusal.Detail, Offset: refusal.Offset}
}

// requestBegun implements observer; mu is held.
func (c *ResponseConn) requestBegun(method []byte) {
	c.asked = append(c.asked, question{head: bytes.Equal(method, []byte("HEAD"))})
}

// upgradeAsked implements observer; mu is held.
func (c *ResponseConn) upgradeAsked() { c.asked[len(c.asked)-1].upgrade = true }

// Read hands on what is understood of the responses.
func (c *ResponseConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.inbox.ready() > 0 {
			return c.inbox.take(p), nil
		}
		if refusal := c.Refusal(); refusal != nil {
			c.inbox.drop()
			return 0, refusal
		}
		if c.parser.tunnel && c.inbox.open() == 0 {
			return c.Conn.Read(p)
		}
		if n, err := c.receive(p); n > 0 || err != nil {
			return n, err
		}
	}
}

// receive reads once and understands what came, in p itself where nothing is held back.
func (c *ResponseConn) receive(p []byte) (int, error) {
	if c.inbox.open() > 0 {
		n, err := c.Conn.Read(c.inbox.room(readSize))
		if n == 0 {
			return 0, err
		}
		clear, _ := c.understand(c.inbox.grow(n))
		c.inbox.clear(clear)
		return 0, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.parser.appetite())])
	if n == 0 {
		return 0, err
	}
	clear, refused := c.understand(p[:n])
	if !refused && clear < n {
		c.inbox.keep(p[clear:n])
	}
	return clear, nil
}

// understand returns how many bytes may be handed on, and whether nothing behind them ever may.
func (c *ResponseConn) understand(b []byte) (clear int, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear, answered, refusal := c.parser.advance(b, c.asked)
	c.asked = append(c.asked[:0], c.asked[answered:]...)
	c.tunnel = c.parser.tunnel
	c.failed = refusal
	return clear, refusal != nil
}

// CloseWrite ends the sending side, for tunnels.
func (c *ResponseConn) CloseWrite() error {
	if half, ok := c.Conn.(closeWriter); ok {
		return half.CloseWrite()
	}
	return nil
}
