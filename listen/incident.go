package listen

import (
	"net/netip"
	"time"
)

// Incident is something refused before there was a request that could be answered. Whoever receives incidents counts
// each and may keep only a sample of the rest.
type Incident struct {
	Time   time.Time
	Reason string         // stable dotted id: one of Reasons, or of wire.Reasons for HTTP/2
	Peer   netip.AddrPort // not valid when nobody in particular caused it
	Conn   uint64         // id of the connection, 0 when it had none yet
	Detail string         // for the operator
	Offset int64          // byte of the connection, for reasons of wire
}

// The reasons of incidents.
const (
	reasonAccept        = "connection.accept"      // the system gives no connection
	reasonPerAddress    = "connection.per_address" // too many from one address or network (H7)
	reasonTotal         = "connection.total"       // too many in all (H7, H12)
	reasonProxyHeader   = "proxy.header"           // a trusted proxy sent none, or a wrong one (B18)
	reasonProxyStranger = "proxy.unexpected"       // a header from a stranger, or a second one (B18)
	reasonHandshake     = "tls.handshake"          // TLS was not agreed upon
	reasonHandshakeSlow = "tls.timeout"            // the handshake took too long (H4)
	reasonServerName    = "tls.server_name"        // no certificate covers the name asked for
	reasonCertificate   = "certificate.refused"    // changed files that cannot be used; the old certificate serves on
	reasonHTTP2         = "http2.protocol"         // net/http ended an HTTP/2 connection or stream for its form
	reasonRedirect      = "redirect.refused"       // a request to the redirect address that is not redirected
)

// Reasons lists every reason that an Incident made here can have.
func Reasons() []string {
	return []string{reasonAccept, reasonPerAddress, reasonTotal, reasonProxyHeader, reasonProxyStranger, reasonHandshake,
		reasonHandshakeSlow, reasonServerName, reasonCertificate, reasonHTTP2, reasonRedirect}
}
