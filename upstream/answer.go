package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// answer is the body of an answer on its way through. Nothing of it is kept. When it ends it says what it has shown of the
// server, gives the connection back if it ended cleanly, and frees the place.
type answer struct {
	exchange context.Context
	source   io.ReadCloser
	end      ender
	place    *place
	body     *upload // the request's
	outcome  outcome // what a clean end shows
	now      func() time.Time

	rate  int64         // least bytes a second; 0 for streams
	grace time.Duration // the rate counts once this was spent waiting

	waited time.Duration // for the server; a slow client costs nothing here
	read   int64
	ended  atomic.Bool
	failed error // what every read after the end says
}

// Read hands on what the server has sent. An early end is an *Error, never io.EOF: a broken body must not look whole.
func (b *answer) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if b.ended.Load() {
		return 0, io.ErrClosedPipe
	}
	start := time.Now()
	n, err := b.source.Read(p)
	b.read += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		b.failed = io.EOF
		b.finish(true, b.outcome)
		return n, io.EOF
	case err == nil && b.rate > 0:
		b.waited += time.Since(start)
		if b.waited > b.grace && float64(b.read) < float64(b.rate)*b.waited.Seconds() {
			err = fault(ReasonTimeout, fmt.Sprintf("a body of less than %d bytes a second", b.rate), nil)
		}
	}
	if err == nil {
		return n, nil
	}
	e := classify(b.exchange, "body from "+b.place.server.host, err)
	b.failed = e
	o := unknown
	if e.failure() {
		o = bad
	}
	b.finish(false, o)
	return n, e
}

// Close gives the rest up. What has not been read is never read: the connection ends.
func (b *answer) Close() error {
	b.finish(false, unknown)
	return nil
}

func (b *answer) finish(clean bool, o outcome) {
	if b.ended.CompareAndSwap(false, true) {
		b.end.end(clean)
		b.body.drop()
		b.place.settle(o, b.now())
	}
}

// upgraded is the body of a 101: both directions of the connection, which never serves anybody else (C20).
type upgraded struct {
	*answer
	tunnel io.ReadWriteCloser
}

func (u upgraded) Read(p []byte) (int, error)  { return u.tunnel.Read(p) }
func (u upgraded) Write(p []byte) (int, error) { return u.tunnel.Write(p) }

// CloseWrite tells the server that nothing more comes.
func (u upgraded) CloseWrite() error { return u.tunnel.(interface{ CloseWrite() error }).CloseWrite() }
