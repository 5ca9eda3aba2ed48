package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// conn is one HTTP/1.1 connection to a server. It serves one exchange at a time: begin, exchange, end.
type conn struct {
	engine *http1
	raw    net.Conn // the socket
	top    net.Conn // what is spoken on: the socket, below TLS and the strict reader
	in     *bufio.Reader
	out    *bufio.Writer
	peek   peeker
	since  time.Time        // unused since
	shown  *tls.Certificate // what the gateway showed on it at the most recent; nil when that isn't followed

	broken   error         // what reading from the server ended in
	headLeft int64         // bytes that the answer's head may still have; negative in the body
	pause    time.Duration // longest pause in the body; 0 without a limit
	armed    time.Time     // when the read deadline was last set
	keep     bool          // nothing yet speaks against another exchange
	sent     atomic.Bool
	write    *writing    // the streamed body on its way; nil without
	stop     func() bool // ends the watch over the exchange's context; nil without
	abort    func()
}

// writing is a request body that is streamed while the answer is read.
type writing struct {
	done     chan struct{} // closed when the writer has returned
	mu       sync.Mutex
	err      error // why it ended early
	headCame bool  // the answer's head is read: its deadline is no longer the writer's to set
}

func newConn(h *http1, raw, top net.Conn) *conn {
	c := &conn{engine: h, raw: raw, top: top}
	c.in = bufio.NewReaderSize(reader{c}, 4096)
	c.out = bufio.NewWriterSize(writer{c}, 4096)
	c.abort = func() { _ = c.raw.Close() } // not top: closing TLS may wait for the other side
	c.peek.watch(raw)
	return c
}

// begin makes the connection ready for one exchange.
func (c *conn) begin(a *attempt) {
	c.headLeft = int64(c.engine.cfg.MaxResponseHead)
	c.keep, c.broken = true, nil
	c.sent.Store(false)
	c.write, c.stop = nil, nil
	if a.ctx.Done() != nil {
		c.stop = context.AfterFunc(a.ctx, c.abort)
	}
}

// exchange writes the request and reads the answer's head.
func (c *conn) exchange(a *attempt, head framing) (*http.Response, error) {
	writeErr := c.send(a, head)
	if writeErr != nil && (!c.sent.Load() || isBodyError(writeErr)) {
		e := c.fault(a, "send request", writeErr)
		if e.Reason == ReasonRefusedResponse { // no word of the network's: the strict reader refused the request
			e.Reason, e.Status = ReasonUnsendable, statusOf(ReasonUnsendable)
		}
		return nil, e
	}
	if writeErr != nil { // the server may have answered before it stopped reading
		_ = c.top.SetReadDeadline(time.Now().Add(time.Second))
		c.keep = false
	}
	resp, err := c.receive(a)
	switch {
	case err == nil:
		return resp, nil
	case writeErr != nil:
		err = writeErr
	case c.write.failed() != nil:
		err = c.write.failed()
	}
	return nil, c.fault(a, "await answer", err)
}

func (c *conn) fault(a *attempt, step string, err error) *Error {
	return classify(a.ctx, fmt.Sprintf("%s of %s", step, c.engine.target.host), err)
}

// send writes the request, all of it or its head only when the body is streamed.
func (c *conn) send(a *attempt, head framing) error {
	limits := c.engine.cfg.Timeouts
	if a.body == nil || a.inline {
		_ = c.top.SetDeadline(time.Now().Add(limits.FirstByte))
		writeHead(c.out, a, head, c.engine.target.host)
		if a.body != nil {
			if err := c.sendInline(a, head); err != nil {
				return err
			}
		}
		return c.out.Flush()
	}
	_ = c.top.SetReadDeadline(time.Time{})
	_ = c.top.SetWriteDeadline(time.Now().Add(limits.Idle))
	writeHead(c.out, a, head, c.engine.target.host)
	if err := c.out.Flush(); err != nil {
		return err
	}
	c.write = &writing{done: make(chan struct{})}
	go c.stream(c.write, a, head)
	return nil
}

func (c *conn) sendInline(a *attempt, head framing) error {
	defer func() { _ = a.body.Close() }()
	buffer := c.engine.buffers.Get().(*[copySize]byte)
	defer c.engine.buffers.Put(buffer)
	return writeBody(c.out, a, head, buffer[:], nil)
}

// stream writes the body while the answer may already be read.
func (c *conn) stream(w *writing, a *attempt, head framing) {
	defer close(w.done)
	defer func() { _ = a.body.Close() }()
	buffer := c.engine.buffers.Get().(*[copySize]byte)
	defer c.engine.buffers.Put(buffer)
	limits := c.engine.cfg.Timeouts
	var armed time.Time
	err := writeBody(c.out, a, head, buffer[:], func() {
		if now := time.Now(); now.Sub(armed) > limits.Idle/8 {
			_ = c.top.SetWriteDeadline(now.Add(limits.Idle))
			armed = now
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	wait := limits.FirstByte
	switch {
	case isBodyError(err):
		_ = c.raw.Close() // the request can never be completed
		return
	case err != nil:
		wait = time.Second // an answer may have come before the server stopped reading
	}
	if !w.headCame {
		_ = c.top.SetReadDeadline(time.Now().Add(wait))
	}
}

// failed is the writer's error, if there is one yet. It may be asked without a writer.
func (w *writing) failed() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// receive reads heads until the real answer's.
func (c *conn) receive(a *attempt) (*http.Response, error) {
	for informational := 0; ; informational++ {
		resp, err := http.ReadResponse(c.in, a.req)
		if err != nil && c.broken != nil {
			return nil, c.broken // the parser complains of half a line; the cause is that the rest never came
		}
		if err != nil {
			return nil, err
		}
		if resp.ProtoMajor != 1 {
			return nil, refused("an answer in version %q", resp.Proto)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, c.headRead(a, resp)
		}
		if resp.StatusCode < 100 || informational == maxInformational {
			return nil, refused("status %d, or more than %d informational answers", resp.StatusCode, maxInformational)
		}
	}
}

// headRead goes over from the head's limits to the body's.
func (c *conn) headRead(a *attempt, resp *http.Response) error {
	c.headLeft = -1
	c.pause, c.armed = c.engine.cfg.Timeouts.Idle, time.Time{}
	if a.call.Stream || a.call.Upgrade {
		c.pause = 0
	}
	if w := c.write; w != nil {
		w.mu.Lock()
		w.headCame = true
		w.mu.Unlock()
	}
	if c.pause == 0 {
		_ = c.top.SetReadDeadline(time.Time{})
	}
	if resp.Close || a.call.Upgrade { // a connection that should have been upgraded is not to be trusted either (C20)
		c.keep = false
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil
	}
	c.keep = false
	if !a.call.Upgrade || !strings.EqualFold(resp.Header.Get("Upgrade"), a.req.Header.Get("Upgrade")) {
		return refused("a switch to %q, which was not asked for", resp.Header.Get("Upgrade"))
	}
	_ = c.top.SetDeadline(time.Time{})
	resp.Body = tunnel{c}
	return nil
}

// end puts the connection back if nothing speaks against it, and closes it otherwise.
func (c *conn) end(clean bool) {
	watched := c.stop == nil || c.stop() // else abort has run or is running
	if clean && watched && c.keep && c.in.Buffered() == 0 && c.written() {
		c.since = time.Now()
		c.write, c.stop = nil, nil
		if c.engine.keep(c) {
			return
		}
	}
	c.discard()
}

// written tells whether the request is written to its end. An answer that came first leaves a moment for it.
func (c *conn) written() bool {
	if c.write == nil {
		return true
	}
	select {
	case <-c.write.done:
		return c.write.failed() == nil
	default:
	}
	moment := time.NewTimer(10 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-c.write.done:
		return c.write.failed() == nil
	case <-moment.C:
		return false
	}
}

func (c *conn) discard() {
	_ = c.raw.Close()
	if c.top != c.raw {
		_ = c.top.Close()
	}
}

// quiet tells that the server has neither ended the unused connection nor sent anything on it. What it says unasked would
// be read as the answer to the next request.
func (c *conn) quiet() bool {
	if strict, ok := c.top.(*wire.ResponseConn); ok && !strict.Quiet() {
		return false
	}
	return c.in.Buffered() == 0 && c.peek.quiet()
}

// reader is the connection as its buffer sees it: limits on the head, deadlines in the body.
type reader struct{ c *conn }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	if c.headLeft >= 0 {
		if c.headLeft == 0 {
			return 0, refused("a head of more than %s", c.engine.cfg.MaxResponseHead)
		}
		n, err := c.top.Read(p[:min(int64(len(p)), c.headLeft)])
		c.headLeft -= int64(n)
		c.broken = err
		return n, err
	}
	if c.pause > 0 {
		if now := time.Now(); now.Sub(c.armed) > c.pause/8 {
			_ = c.top.SetReadDeadline(now.Add(c.pause))
			c.armed = now
		}
	}
	n, err := c.top.Read(p)
	if own := c.write.failed(); err != nil && isBodyError(own) {
		err = own
	}
	return n, err
}

// writer is the connection as its buffer sees it: it remembers that something was sent.
type writer struct{ c *conn }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.c.top.Write(p)
	if n > 0 {
		w.c.sent.Store(true)
	}
	return n, err
}

// tunnel is an upgraded connection: what the server has sent already, then the connection itself.
type tunnel struct{ c *conn }

func (t tunnel) Read(p []byte) (int, error)  { return t.c.in.Read(p) }
func (t tunnel) Write(p []byte) (int, error) { return t.c.top.Write(p) }
func (t tunnel) Close() error                { return t.c.top.Close() }

// CloseWrite tells the server that nothing more comes, where the connection can say so.
func (t tunnel) CloseWrite() error {
	if half, ok := t.c.top.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// peeker looks at a socket without waiting and without taking anything from it.
type peeker struct {
	socket syscall.RawConn // nil when the connection is no socket
	look   func(fd uintptr)
	calm   bool
}

func (p *peeker) watch(raw net.Conn) {
	s, ok := raw.(syscall.Conn)
	if !ok {
		return
	}
	socket, err := s.SyscallConn()
	if err != nil {
		return
	}
	p.socket = socket
	p.look = func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.calm = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	}
}

func (p *peeker) quiet() bool {
	if p.socket == nil {
		return true
	}
	p.calm = false
	return p.socket.Control(p.look) == nil && p.calm // Control, since Read minds an old deadline
}

func refused(format string, args ...any) *Error {
	return fault(ReasonRefusedResponse, fmt.Sprintf(format, args...), nil)
}

func isBodyError(err error) bool {
	var body bodyError
	return errors.As(err, &body)
}

var _ io.ReadWriteCloser = tunnel{}
