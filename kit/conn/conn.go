// Package conn carries what the sockets know about a connection to whoever serves its requests, inside the request's
// context. It exists so that the pipeline can ask "who is at the other end, and how" without knowing the listener, and so
// that the answer is the same for HTTP/1.1 and HTTP/2: net/http itself does not know of the TLS below an HTTP/2 connection
// that Gatehouse hands it, and http.Request.RemoteAddr is only text.
package conn

import (
	"context"
	"crypto/tls"
	"net/netip"

	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// Conn is one accepted connection. It is made before the first request and never changes.
type Conn struct {
	ID      uint64                // unique in this process, from 1, in the order of acceptance
	Peer    netip.AddrPort        // the other end, or what a PROXY header from a trusted proxy said; IPv4 is never mapped into IPv6
	Socket  netip.AddrPort        // the other end of the TCP connection itself; differs from Peer only behind the PROXY protocol
	Local   netip.AddrPort        // our end
	Scheme  string                // "https" or "http"; the only source of a request's scheme
	TLS     *tls.ConnectionState  // after the handshake; nil without TLS. Read only
	Request *wire.RequestConn     // the strict reader of an HTTP/1 connection; nil for HTTP/2
	MinRate int                   // bytes per second below which a body is too slow, for wire's PacedBody
	Fields  int                   // most fields of a head; HTTP/2 heads are counted by whoever reads them
	Proxy   func(netip.Addr) bool // tells whether an address is a trusted proxy by the document now in force; nil: none is
}

// Trusted tells that the peer is a trusted proxy, so that what it says about the client (Forwarded, X-Forwarded-For,
// traceparent) may be believed. It is answered from the document in force, so that a proxy that is taken off the list
// loses its trust on the connections it already has.
func (c *Conn) Trusted() bool { return c.IsProxy(c.Peer.Addr()) }

// IsProxy tells whether an address is on the list of trusted proxies. IPv4 in IPv6 form counts as IPv4.
func (c *Conn) IsProxy(a netip.Addr) bool { return c.Proxy != nil && a.IsValid() && c.Proxy(a.Unmap()) }

type key struct{}

// With returns a context that carries c.
func With(ctx context.Context, c *Conn) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the connection that a request came in on. A request that did not come through a listener has none.
func From(ctx context.Context) (*Conn, bool) {
	c, ok := ctx.Value(key{}).(*Conn)
	return c, ok && c != nil
}
