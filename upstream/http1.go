package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// maxInformational is how many 1xx answers may come before the real one (C15).
const maxInformational = 5

// http1 speaks HTTP/1.1 to one server. Writing and reading are done by the goroutine that asks, so that an exchange
// without a streamed body costs no hand-over between goroutines, and so that it is known what was written.
type http1 struct {
	target  target
	cfg     Config
	tls     *tls.Config // nil for http://
	live    show        // whose changes end kept connections; nil when nothing is followed
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	wrap    func(net.Conn) net.Conn
	buffers *sync.Pool // *[copySize]byte for streamed bodies

	dials  atomic.Int64
	shown  atomic.Pointer[tls.Certificate] // what live gave last; written under mu, and every one of idle began with it
	mu     sync.Mutex
	idle   []*conn // the last used is last, and is taken first
	closed bool
}

func newHTTP1(t target, cfg Config, secure *tls.Config, live show, deps Deps) *http1 {
	return &http1{
		target: t, cfg: cfg, tls: secure, live: live, dial: deps.Dial, wrap: deps.WrapConn,
		buffers: &sync.Pool{New: func() any { return new([copySize]byte) }},
	}
}

// roundTrip sends the request over a kept or a new connection.
func (h *http1) roundTrip(a *attempt) (*http.Response, ender, error) {
	head, err := checkHead(a)
	if err != nil {
		return nil, nil, err
	}
	c, err := h.connection(a)
	if err != nil {
		return nil, nil, err
	}
	c.begin(a)
	resp, err := c.exchange(a, head)
	a.sent, a.heard = c.sent.Load(), c.headLeft != int64(h.cfg.MaxResponseHead)
	if err != nil {
		c.end(false)
		return nil, nil, err
	}
	return resp, c, nil
}

// connection takes the connection used last, if the server has neither ended it nor said anything on it, or opens one.
func (h *http1) connection(a *attempt) (*conn, error) {
	own, err := h.certificate()
	if err != nil {
		return nil, noCertificate(err)
	}
	for !a.fresh {
		c := h.take(time.Now())
		if c == nil {
			break
		}
		if c.quiet() {
			a.reused = true
			return c, nil
		}
		c.discard()
	}
	start := time.Now()
	c, err := h.open(a.ctx)
	a.connect = time.Since(start)
	if err != nil {
		return nil, err
	}
	c.shown = own
	return c, nil
}

// certificate gives what the gateway shows now, and ends the kept connections that began with anything else: a rotated pair
// is used from the next request on, and one that was withdrawn closes the way (row I6). What is in progress goes on.
func (h *http1) certificate() (*tls.Certificate, error) {
	if h.live == nil {
		return nil, nil
	}
	now, err := h.live()
	if err == nil && now == h.shown.Load() {
		return now, nil
	}
	var old []*conn
	h.mu.Lock()
	if now, err = h.live(); h.shown.Load() != now { // asked again, so that nobody brings back what another found changed
		old, h.idle = h.idle, nil
		h.shown.Store(now)
	}
	h.mu.Unlock()
	for _, c := range old {
		c.discard()
	}
	return now, err
}

// take removes the connection used last. All others are older: when it is too old, so are they.
func (h *http1) take(now time.Time) *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.idle) - 1
	if last < 0 || now.Sub(h.idle[last].since) > h.cfg.Timeouts.KeepAlive {
		return nil
	}
	c := h.idle[last]
	h.idle[last] = nil
	h.idle = h.idle[:last]
	return c
}

// keep puts a connection back. It refuses when the pool is closed, and when the gateway has come to show another certificate.
func (h *http1) keep(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || c.shown != h.shown.Load() {
		return false
	}
	h.idle = append(h.idle, c)
	return true
}

// open connects, within the time to connect, and shakes hands, within the same time again.
func (h *http1) open(ctx context.Context) (*conn, error) {
	h.dials.Add(1)
	dialing, cancel := context.WithTimeout(ctx, h.cfg.Timeouts.Connect)
	defer cancel()
	raw, err := h.dial(dialing, "tcp", h.target.host)
	if err != nil {
		return nil, h.connectFault(ctx, "connect", err)
	}
	top := raw
	if h.tls != nil {
		shaking, cancel := context.WithTimeout(ctx, h.cfg.Timeouts.Connect)
		defer cancel()
		client := tls.Client(raw, h.tls)
		if err := client.HandshakeContext(shaking); err != nil {
			_ = raw.Close()
			return nil, h.connectFault(ctx, "TLS handshake", err)
		}
		top = client
	}
	return newConn(h, raw, h.wrap(top)), nil
}

func (h *http1) connectFault(ctx context.Context, step string, err error) *Error {
	e := classify(ctx, fmt.Sprintf("%s to %s", step, h.target.host), err)
	if e.Reason == ReasonReset || e.Reason == ReasonRefusedResponse {
		e.Reason = ReasonConnect
	}
	return e
}

func (h *http1) counts() (idle int, dials int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.idle), h.dials.Load()
}

func (h *http1) reap(now time.Time) {
	_, _ = h.certificate() // the next request will say what is wrong with it
	h.mu.Lock()
	n := 0
	for n < len(h.idle) && now.Sub(h.idle[n].since) > h.cfg.Timeouts.KeepAlive {
		n++
	}
	old := append([]*conn(nil), h.idle[:n]...)
	rest := copy(h.idle, h.idle[n:])
	clear(h.idle[rest:])
	h.idle = h.idle[:rest]
	h.mu.Unlock()
	for _, c := range old {
		c.discard()
	}
}

func (h *http1) close() {
	h.mu.Lock()
	old := h.idle
	h.idle, h.closed = nil, true
	h.mu.Unlock()
	for _, c := range old {
		c.discard()
	}
}
