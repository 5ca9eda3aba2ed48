package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// engine is net/http, twice, with one set of limits: for HTTP/1 and for HTTP/2. A reload that changes limits makes a new
// engine for new connections; the old one serves its own until they end.
type engine struct {
	limits  Limits
	one     *http.Server
	two     *http.Server
	inOne   *queue
	inTwo   *queue
	running sync.WaitGroup

	mu      sync.Mutex
	live    int  // connections that have come here and are not closed
	retired bool // no more may come
}

// Times of an HTTP/2 connection that nobody needs to set: a peer that is silent this long is asked whether it lives, has
// this long to say so, and this long to take bytes that wait for it (H3).
const (
	pingAfter   = 15 * time.Second
	pingAnswer  = 10 * time.Second
	writePaused = 30 * time.Second
)

func newEngine(l Limits, h http.Handler, log *slog.Logger, report func(Incident)) *engine {
	quiet := slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	var first, second http.Protocols
	first.SetHTTP1(true)
	second.SetUnencryptedHTTP2(true)
	e := &engine{limits: l, inOne: newQueue(), inTwo: newQueue()}
	e.one = &http.Server{ // no timeouts: wire.RequestConn has them, and knows what it waits for
		Handler: h, ErrorLog: quiet, ConnContext: connContext, Protocols: &first,
		MaxHeaderBytes: int(l.Head), DisableGeneralOptionsHandler: true,
	}
	e.two = &http.Server{
		Handler: h, ErrorLog: quiet, ConnContext: connContext, Protocols: &second,
		MaxHeaderBytes: int(l.Head), DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: l.HeadTime, // for the preface; net/http takes it away afterwards
		IdleTimeout:       l.Idle,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          l.Streams,
			MaxDecoderHeaderTableSize:     4096,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: int(l.Window),
			MaxReceiveBufferPerStream:     int(l.Window),
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingAnswer,
			WriteByteTimeout:              writePaused,
			CountError:                    countError(report),
		},
	}
	return e
}

// countError reports what net/http finds wrong with the form of HTTP/2. Connections that just end are nobody's fault, and
// neither are frames of a body that was still on its way when its request was answered.
func countError(report func(Incident)) func(string) {
	return func(kind string) {
		if !strings.HasPrefix(kind, "read_frame_") && kind != "stream_STREAM_CLOSED_closed" {
			report(Incident{Reason: reasonHTTP2, Detail: kind})
		}
	}
}

// served is a connection that an engine serves.
type served interface{ about() *conn.Conn }

func connContext(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(served); ok {
		return conn.With(ctx, s.about())
	}
	return ctx
}

type requests struct {
	*wire.RequestConn
	info *conn.Conn
}

func (r requests) about() *conn.Conn { return r.info }

type frames struct {
	*wire.FrameConn
	info *conn.Conn
}

func (f frames) about() *conn.Conn { return f.info }

// start serves until stop or drain.
func (e *engine) start() {
	e.running.Go(func() { _ = e.one.Serve(e.inOne) })
	e.running.Go(func() { _ = e.two.Serve(e.inTwo) })
}

// drain lets what is being answered be answered, tells clients to go (Connection: close, GOAWAY) and returns when all
// have, or when ctx ends.
func (e *engine) drain(ctx context.Context) error {
	e.one.SetKeepAlivesEnabled(false)
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { errs[0] = e.one.Shutdown(ctx) })
	both.Go(func() { errs[1] = e.two.Shutdown(ctx) })
	both.Wait()
	return errors.Join(errs[0], errs[1])
}

// stop ends everything now.
func (e *engine) stop() {
	_, _ = e.one.Close(), e.two.Close()
	_, _ = e.inOne.Close(), e.inTwo.Close()
	e.running.Wait()
}

// enter counts a connection in; it says no once the engine has retired.
func (e *engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retired {
		return false
	}
	e.live++
	return true
}

// leave counts a connection out.
func (e *engine) leave() {
	e.mu.Lock()
	e.live--
	last := e.live == 0 && e.retired
	e.mu.Unlock()
	if last {
		go e.stop() // not here: the connection is being closed by the very server that is stopped
	}
}

// retire takes no more connections, and stops the engine once its last one is gone.
func (e *engine) retire() {
	e.mu.Lock()
	e.retired = true
	last := e.live == 0
	e.mu.Unlock()
	if last {
		e.stop()
	}
}

// gone tells that the engine has retired and has no connections left.
func (e *engine) gone() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retired && e.live == 0
}
