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
	"sync/atomic"
	"time"
)

// http2 speaks HTTP/2 to one server, over TLS or without, by net/http. That repeats a request of itself only when the
// server has said that it never looked at it (GOAWAY below its number, REFUSED_STREAM: RFC 9113 section 8.7), so that what
// is not idempotent is still done once at most.
type http2 struct {
	target    target
	cfg       Config
	transport *http.Transport
	dials     atomic.Int64
}

func newHTTP2(t target, cfg Config, secure *tls.Config, deps Deps) *http2 {
	h := &http2{target: t, cfg: cfg}
	var protocols http.Protocols
	protocols.SetHTTP2(secure != nil)
	protocols.SetUnencryptedHTTP2(secure == nil)
	h.transport = &http.Transport{
		Proxy:              nil, // never from the environment
		TLSClientConfig:    secure,
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
	return h
}

// roundTrip sends the request as a stream of its own.
func (h *http2) roundTrip(a *attempt) (*http.Response, ender, error) {
	if a.call.Upgrade {
		return nil, nil, fault(ReasonUnsendable, "HTTP/2 has no Upgrade; the API needs protocol: http1", nil)
	}
	if _, err := checkHead(a); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	s := &stream{cancel: cancel, fault: func(err error) error { return h.fault(ctx, a, err) }}
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
	resp, err := h.transport.RoundTrip(out)
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
func (h *http2) reap(time.Time)                  {}
func (h *http2) close()                          { h.transport.CloseIdleConnections() }

// stream is one HTTP/2 exchange in progress and the clock over its pauses.
type stream struct {
	cancel context.CancelCauseFunc
	pause  time.Duration
	timer  *time.Timer
	fault  func(error) error // finds the cause of what net/http said
}

func (s *stream) late() {
	s.cancel(fault(ReasonTimeout, "a pause of "+s.pause.String()+" in a body", nil))
}

func (s *stream) end(bool) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel(nil)
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
