package wire

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// PacedBody holds one request body to a minimum rate, whatever the HTTP version: a client that opens a hundred HTTP/2 streams and
// feeds each a byte now and then must not keep a hundred handlers (D7, H2). Only time spent inside Read counts, so a slow server
// behind us is not the client's fault. [RequestConn] does the same by itself; this is for HTTP/2, where connections can't know.
//
// A body of a stream that may rest (gRPC, WebSocket over HTTP/2) must not be wrapped.
type PacedBody struct {
	body  io.ReadCloser
	rate  int
	now   func() time.Time
	alarm *time.Timer
	rung  atomic.Bool // interrupt was called
	read  int64
	left  time.Duration // credit: lost by waiting, earned by bytes

	mu      sync.Mutex // guards the following
	refusal *Refusal
}

// NewPacedBody wraps body. interrupt is called from another goroutine when the client is too slow and must make a blocked Read of
// body return an error; for a request of net/http that is ResponseController.SetReadDeadline with a time in the past.
// rate is in bytes per second; 0 means 256.
func NewPacedBody(body io.ReadCloser, interrupt func(), rate int, now func() time.Time) *PacedBody {
	p := &PacedBody{body: body, rate: orDefault(rate, 256), now: now, left: bodyWindow}
	p.alarm = time.AfterFunc(time.Hour, func() {
		p.rung.Store(true)
		interrupt()
	})
	p.alarm.Stop()
	return p
}

// Read reads from the body. It fails with a *Refusal, reason framing.slow_body and status 408, when the client is too slow.
func (p *PacedBody) Read(b []byte) (int, error) {
	start := p.now()
	p.alarm.Reset(p.left)
	n, err := p.body.Read(b)
	p.alarm.Stop()
	p.read += int64(n)
	p.left -= p.now().Sub(start)
	if p.rung.Load() && err != nil && !errors.Is(err, io.EOF) {
		return n, p.refuse()
	}
	p.left = min(bodyWindow, p.left+time.Duration(n)*time.Second/time.Duration(p.rate))
	return n, err
}

func (p *PacedBody) refuse() *Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = refuse(reasonSlowBody, p.read, "the body comes more slowly than the minimum rate")
	return p.refusal
}

// Refusal returns why Read failed, or nil when that was for another reason. The offset counts bytes of the body.
func (p *PacedBody) Refusal() *Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// Close closes the body.
func (p *PacedBody) Close() error {
	p.alarm.Stop()
	return p.body.Close()
}
