// Package canon makes the one canonical form of a request, or refuses it. Everything that Gatehouse decides, records and
// sends to a server is read from this form, never from the bytes beside it: a matcher that sees another request than the
// server behind it is the oldest way round a gateway (adversary rows A1 to A28, B1 to B18).
package canon

import "net/http"

// Pair is a name and its value, both decoded, in the order in which the client sent them.
type Pair struct{ Name, Value string }

// Request is what a client asked, in the only form in which it is matched, checked, recorded and sent on.
type Request struct {
	Method   string      // upper case, as sent
	Scheme   string      // "http" or "https", from the listener, never from the client
	Host     string      // lower case, A-label form, no trailing dot, no port; an IPv6 address stands without brackets
	Port     string      // digits, or "" when the client named none or the scheme's own
	Path     string      // escaped: unreserved characters decoded, hex upper case, no dot segments, no empty segments
	Segments []string    // decoded parts of Path after its first "/"; a trailing slash gives a last part ""
	Query    []Pair      // decoded, in order
	Fields   http.Header // as sent, without connection-bound, managed and overriding fields
	Cookies  []Pair      // in order; names are unique where the strict reading demands it
	Major    int         // 1 or 2: the version of HTTP the client spoke
	Length   int64       // of the body in bytes; -1 when it is not declared
	Upgrade  string      // "websocket" for a well-formed RFC 6455 handshake, else ""
	Removed  []string    // sorted names of fields the client had no business to send: managed, overriding, pretending to a proxy
}

// Refusal is why a request has no canonical form.
type Refusal struct {
	Reason string // stable dotted id, such as "path.encoded_slash"
	Status int    // the HTTP status that fits
	Detail string // for the operator, with the offending part masked or quoted and cut
}

// Error makes a refusal an error.
func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }
