package wire

import (
	"net"
	"time"
)

// closeWriter is what a TCP, TLS or Unix connection can do.
type closeWriter interface{ CloseWrite() error }

// CloseWrite ends the sending side, as net/http does before it gives a client time to read its last answer.
func (c *RequestConn) CloseWrite() error {
	if half, ok := c.Conn.(closeWriter); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection. After a refusal it first lets the client read the answer: closing at once would reset a connection
// that still has unread bytes, and the reset overtakes the answer. That takes at most a second and happens in the background.
func (c *RequestConn) Close() error {
	c.mu.Lock()
	refused, again := c.verdicts.head != nil || c.verdicts.body != nil, c.verdicts.closed
	c.verdicts.closed = true
	c.mu.Unlock()
	if !refused {
		return c.Conn.Close()
	}
	if again {
		return nil
	}
	return closeSlowly(c.Conn, c.now().Add(lingerTime))
}

// closeSlowly ends the sending side, reads until the peer has closed, too much has come or the time is over, and then closes. It does
// not wait for that: ending a TLS connection may block, and http.Server.Close closes all under one lock.
func closeSlowly(conn net.Conn, until time.Time) error {
	half, ok := conn.(closeWriter)
	if !ok {
		return conn.Close()
	}
	go func() {
		defer conn.Close() //nolint:errcheck // nobody is left to tell
		if half.CloseWrite() != nil || conn.SetReadDeadline(until) != nil {
			return
		}
		waste := make([]byte, readSize)
		for total := 0; total < maxDiscarded; {
			n, err := conn.Read(waste)
			if err != nil {
				return
			}
			total += n
		}
	}()
	return nil
}
