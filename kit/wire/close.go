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
	linger := !c.verdicts.closed && (c.verdicts.head != nil || c.verdicts.body != nil)
	c.verdicts.closed = true
	c.mu.Unlock()
	if !linger || c.CloseWrite() != nil {
		return c.Conn.Close()
	}
	go drain(c.Conn, c.now().Add(lingerTime))
	return nil
}

// drain reads until the peer has closed, too much has come or the time is over, then closes.
func drain(conn net.Conn, until time.Time) {
	defer conn.Close() //nolint:errcheck // nobody is left to tell
	if conn.SetReadDeadline(until) != nil {
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
}
