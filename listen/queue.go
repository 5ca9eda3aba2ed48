package listen

import (
	"net"
	"sync"
)

// queue is a net.Listener whose connections are put in by hand: it is how an http.Server gets connections whose TLS was
// accepted before.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), closed: make(chan struct{})} }

// put hands a connection over; it says no once the queue is closed.
func (q *queue) put(c net.Conn) bool {
	select {
	case <-q.closed:
		return false
	case q.conns <- c:
		return true
	}
}

// Accept gives the next connection.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case <-q.closed:
		return nil, net.ErrClosed
	case c := <-q.conns:
		return c, nil
	}
}

// Close makes Accept and put say no.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr names no address: the engines behind never show it.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
