package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// http2 speaks HTTP/2 to one server, over TLS or without, by net/http. That repeats a request of itself only when the
// server has said that it never looked at it (GOAWAY below its number, REFUSED_STREAM: RFC 9113 section 8.7), so that what
// is not idempotent is still done once at most.
type http2 struct {
	target target
	cfg    Config
	live   show // whose changes end kept connections; nil when nothing is followed
	make   func() *http.Transport
	dials  atomic.Int64
	mu     sync.Mutex // held while current changes
	// current is what new streams go over.
	current atomic.Pointer[line]
}

// line is the connections that began with one certificate of the gateway's.
type line struct {
	transport *http.Transport
	shown     *tls.Certificate // nil when none is followed, or there is none to show
}

func newHTTP2(t target, cfg Config, secure *tls.Config, live show, deps Deps) *http2 {
	h := &http2{target: t, cfg: cfg, live: live}
	h.make = func() *http.Transport { return h.connections(secure, deps) }
	h.current.Store(&line{transport: h.make()})
	return h
}

func (h *http2) connections(secure *tls.Config, deps Deps) *http.Transport {
	cfg := h.cfg
	var protocols http.Protocols
	protocols.SetHTTP2(secure != nil)
	protocols.SetUnencryptedHTTP2(secure == nil)
	return &http.Transport{
		Proxy:              nil,            // never from the environment
		TLSClientConfig:    secure.Clone(), // net/http adds its protocols to it
		DisableCompression: true,
		Protocols:          &protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			h.dials.Add(1)
			ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.Connect)
			defer cancel()
			return deps.Dial(ctx, network, address)
		},
		TLSHandshakeTimeout:    cfg.Timeouts.Connect,
		ResponseHeaderTimeout:  cfg.Timeouts.FirstByte,
		IdleConnTimeout:        cfg.Timeouts.KeepAlive,
		MaxResponseHeaderBytes: int64(cfg.MaxResponseHead),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  max(cfg.Timeouts.Idle/4, time.Second), // a connection that says nothing is asked
			PingTimeout:      max(cfg.Timeouts.Idle/4, time.Second), // and given up without an answer
			WriteByteTimeout: cfg.Timeouts.Idle,
		},
	}
}

// line gives the connections for a new stream. When the gateway's certificate has changed they are new ones, and when it
// cannot be had there are none (row I6). Those from before bring their streams to an end, and end with the last of them.
func (h *http2) line() (*line, error) {
	current := h.current.Load()
	if h.live == nil {
		return current, nil
	}
	now, err := h.live()
	if err == nil && now == current.shown {
		return current, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	current = h.current.Load()
	if now, err = h.live(); now != current.shown { // asked again, so that nobody brings back what another found changed
		next := &line{transport: h.make(), shown: now}
		h.current.Store(next)
		current.retire()
		current = next
	}
	return current, err
}

// done tells that a stream has ended, which may have been the last of a line that is no longer the current one.
func (h *http2) done(l *line) {
	if h.current.Load() != l {
		l.retire()
	}
}

// retire ends the connections without a stream, and does so again a moment later: net/http counts a stream for a little
// longer than whoever read its answer.
func (l *line) retire() {
	l.transport.CloseIdleConnections()
	time.AfterFunc(100*time.Millisecond, l.transport.CloseIdleConnections)
}

// roundTrip sends the request as a stream of its own.
func (h *http2) roundTrip(a *attempt) (*http.Response, ender, error) {
	if a.call.Upgrade {
		return nil, nil, fault(ReasonUnsendable, "HTTP/2 has no Upgrade; the API needs protocol: http1", nil)
	}
	if _, err := checkHead(a); err != nil {
		return nil, nil, err
	}
	line, err := h.line()
	if err != nil {
		return nil, nil, noCertificate(err)
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	s := &stream{cancel: cancel, done: func() { h.done(line) }, fault: func(err error) error { return h.fault(ctx, a, err) }}
	start := time.Now()
	informational := 0
	out := a.req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			if a.reused = got.Reused; !got.Reused {
				a.connect = time.Since(start)
			}
			a.sent = true
		},
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			if informational++; informational > maxInformational {
				return refused("more than %d informational answers", maxInformational)
			}
			return nil
		},
	}))
	h.prepare(out, a)
	if !a.call.Stream {
		s.pause = h.cfg.Timeouts.Idle
		if a.body != nil {
			s.timer = time.AfterFunc(s.pause, s.late)
			out.Body = stirring{a.body, s, false}
		}
	}
	resp, err := line.transport.RoundTrip(out)
	if err != nil {
		err = s.fault(err)
		s.end(false)
		return nil, nil, err
	}
	a.heard = true
	if s.pause > 0 && s.timer == nil {
		s.timer = time.AfterFunc(s.pause, s.late)
	}
	if resp.Body != http.NoBody {
		resp.Body = stirring{resp.Body, s, true}
	}
	return resp, s, nil
}

// prepare makes the copy of the request that net/http is given.
func (h *http2) prepare(out *http.Request, a *attempt) {
	out.URL = &url.URL{Scheme: h.target.scheme, Host: h.target.host, Opaque: a.path, RawQuery: a.req.URL.RawQuery, ForceQuery: a.req.URL.ForceQuery}
	out.GetBody, out.Close, out.RequestURI, out.TransferEncoding = nil, false, "", nil
	out.Body = nil
	if a.body != nil {
		out.Body = a.body
		if out.ContentLength == 0 {
			out.ContentLength = -1
		}
	}
	out.Header = make(http.Header, len(a.req.Header)+1)
	for name, values := range a.req.Header {
		if !ours(name) {
			out.Header[name] = values
		}
	}
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = nil // net/http's way of sending none
	}
}

func (h *http2) fault(ctx context.Context, a *attempt, err error) error {
	if cause := context.Cause(ctx); cause != nil && a.ctx.Err() == nil {
		err = cause // our own limit
	}
	e := classify(a.ctx, "exchange with "+h.target.host, err)
	switch {
	case !a.sent && e.failure() && e.Reason != ReasonTimeout:
		e.Reason = ReasonConnect
	case e.Reason == ReasonRefusedResponse && e.Err != nil:
		e.Reason = ReasonReset // net/http's word for a stream or connection that the server ended
	}
	return e
}

func (h *http2) counts() (idle int, dials int64) { return 0, h.dials.Load() }
func (h *http2) reap(time.Time)                  { _, _ = h.line() } // the next request will say what is wrong with it
func (h *http2) close()                          { h.current.Load().transport.CloseIdleConnections() }

// stream is one HTTP/2 exchange in progress and the clock over its pauses.
type stream struct {
	cancel context.CancelCauseFunc
	pause  time.Duration
	timer  *time.Timer
	fault  func(error) error // finds the cause of what net/http said
	done   func()            // tells that there is one stream less
}

func (s *stream) late() {
	s.cancel(fault(ReasonTimeout, "a pause of "+s.pause.String()+" in a body", nil))
}

func (s *stream) end(bool) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel(nil)
	s.done()
}

// stirring is a body whose every read starts the clock anew.
type stirring struct {
	io.ReadCloser
	stream *stream
	answer bool // the server's and not the client's
}

func (b stirring) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.stream.timer != nil {
		b.stream.timer.Reset(b.stream.pause)
	}
	if b.answer && err != nil && !errors.Is(err, io.EOF) {
		err = b.stream.fault(err)
	}
	return n, err
}
