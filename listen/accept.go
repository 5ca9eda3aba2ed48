package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// role is what the connections of a socket are for. A reload may change it.
type role struct {
	secure   bool // TLS first
	redirect bool // served by the redirect's engine
}

// Pauses of the accept loop while the system gives no connection, such as when files run out (H12).
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// accept takes connections from one socket until it is closed.
func (s *Server) accept(d *door) {
	defer s.accepting.Done()
	pause := firstPause
	for {
		c, err := d.listener.Accept()
		if err == nil {
			pause = firstPause
			s.admit(c, *d.role.Load())
			continue
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || s.ctx.Err() != nil {
			return
		}
		s.report(Incident{Reason: reasonAccept, Detail: err.Error()})
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// admit counts a connection and, if there is room, goes on with it elsewhere, so that nobody waits for a slow handshake.
func (s *Server) admit(c net.Conn, r role) {
	set := s.settings.Load()
	sock := &socket{Conn: c, census: s.census}
	peer := addrPort(c.RemoteAddr())
	if !s.census.enter(sock, set.total) {
		_ = c.Close()
		s.report(Incident{Reason: reasonTotal, Peer: peer, Detail: fmt.Sprintf("%d connections are all there may be", set.total)})
		return
	}
	proxy := set.isProxy(peer.Addr())
	if !proxy && !s.charge(sock, peer, set) {
		return
	}
	s.admitting.Go(func() {
		begin := &beginning{server: s, set: set, role: r, socket: sock, info: &conn.Conn{
			ID: s.ids.Add(1), Peer: peer, Socket: peer, Local: addrPort(c.LocalAddr()), Scheme: "http", Proxy: s.isProxy,
			MinRate: int(set.config.Limits.MinRate), Fields: set.config.Limits.Fields,
		}}
		if err := begin.run(proxy && set.config.ProxyProtocol.On()); err != nil {
			_ = sock.Close()
		}
	})
}

// charge counts the connection against its network; a network that has enough loses the connection.
func (s *Server) charge(sock *socket, peer netip.AddrPort, set *settings) bool {
	if s.census.charge(sock, peer.Addr(), set.config.Limits) {
		return true
	}
	_ = sock.Close()
	network, most := networkOf(peer.Addr(), set.config.Limits)
	s.report(Incident{Reason: reasonPerAddress, Peer: peer, Detail: fmt.Sprintf("%s has its %d connections", network, most)})
	return false
}

// addrPort reads an address of package net, with IPv4 never in IPv6 form.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// beginning is a connection between its acceptance and its first request.
type beginning struct {
	server *Server
	set    *settings
	role   role
	socket *socket
	info   *conn.Conn
}

var errDone = errors.New("the connection has served its purpose")

// run takes the PROXY header and the handshake within their time and hands the connection to an engine.
func (b *beginning) run(header bool) error {
	l := b.set.config.Limits
	_ = b.socket.SetDeadline(time.Now().Add(l.Handshake))
	first := newOpening(b.socket)
	if header {
		if err := b.readHeader(first); err != nil {
			return err
		}
	}
	var c net.Conn = first
	protocol := protocolHTTP1
	if b.role.secure {
		secured, err := b.handshake(first)
		if err != nil {
			return err
		}
		state := secured.ConnectionState()
		b.info.TLS, b.info.Scheme = &state, "https"
		c = secured
		if state.NegotiatedProtocol != "" {
			protocol = state.NegotiatedProtocol
		}
	}
	_ = b.socket.SetDeadline(time.Time{})
	return b.deliver(c, protocol)
}

func (b *beginning) readHeader(first *opening) error {
	h, err := first.header(b.set.config.ProxyProtocol)
	if err != nil {
		b.report(reasonProxyHeader, err)
		return err
	}
	if !h.Source.IsValid() { // the proxy speaks for itself, such as to see whether we live
		return nil
	}
	b.info.Peer = h.Source
	if b.set.isProxy(h.Source.Addr()) {
		return nil
	}
	if !b.server.charge(b.socket, h.Source, b.set) {
		return errDone
	}
	return nil
}

func (b *beginning) handshake(first *opening) (*tls.Conn, error) {
	c := tls.Server(first, b.set.tls)
	err := c.HandshakeContext(b.server.ctx)
	if err == nil {
		return c, nil
	}
	reason := reasonHandshake
	switch {
	case isTimeout(err):
		reason = reasonHandshakeSlow
	case errors.Is(err, errServerName):
		reason = reasonServerName
	case errors.Is(err, errUnexpectedHeader):
		reason = reasonProxyStranger
	}
	b.report(reason, err)
	return nil, err
}

func (b *beginning) report(reason string, err error) {
	b.server.report(Incident{Reason: reason, Peer: b.info.Peer, Conn: b.info.ID, Detail: err.Error()})
}

// spareResets is how many streams a client may cancel beyond those that it may have open, before it counts as a flood (D1).
const spareResets = 80

// deliver hands the connection to the engine in force, behind the reader that its protocol demands.
func (b *beginning) deliver(c net.Conn, protocol string) error {
	e := b.engine()
	if !b.socket.serveBy(e) {
		e.leave()
		return errDone
	}
	ok := false
	switch protocol {
	case protocolHTTP2:
		budget := wire.FrameBudget{Now: b.server.deps.Now, Resets: e.limits.Streams + spareResets}
		f := wire.NewFrameConn(c, budget, func(r wire.Refusal) {
			b.server.report(Incident{Reason: r.Reason, Peer: b.info.Peer, Conn: b.info.ID, Detail: r.Detail, Offset: r.Offset})
		})
		ok = e.inTwo.put(frames{f, b.info})
	case protocolHTTP1:
		r := wire.NewRequestConn(watched{c, b}, e.limits.wire(), b.server.deps.Now)
		b.info.Request = r
		ok = e.inOne.put(requests{r, b.info})
	}
	if !ok {
		return errDone
	}
	return nil
}

// engine gives an engine that has counted the connection in. A reload may retire the one that was in force a moment ago,
// but never before its successor is.
func (b *beginning) engine() *engine {
	for {
		set := b.server.settings.Load()
		e := set.engine
		if b.role.redirect {
			e = set.redirect
		}
		if e.enter() {
			return e
		}
	}
}

// watched ends a plain connection that starts with a PROXY header where none may be; behind TLS the handshake has done
// so. To the engine it looks like a client that left, since only then does net/http answer nothing.
type watched struct {
	net.Conn
	begin *beginning
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, errUnexpectedHeader) {
		w.begin.report(reasonProxyStranger, err)
		err = io.EOF
	}
	return n, err
}

// CloseWrite ends the sending half, so that a client can still read a last answer.
func (w watched) CloseWrite() error {
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// wire gives the limits of the reader of HTTP/1. The target is bounded by the head only: its own bound is per API.
func (l Limits) wire() wire.Limits {
	return wire.Limits{
		HeadBytes: int(l.Head), Fields: l.Fields, HeadTime: l.HeadTime, IdleTime: l.Idle,
		MinRate: int(l.MinRate), TargetBytes: int(l.Head),
	}
}
