package gate

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Source is where a request came from, as the sockets know it.
type Source struct {
	Peer    netip.AddrPort       // the other end of the socket, or what a PROXY header from a trusted peer said
	Client  netip.Addr           // whom the request is counted against: the peer, or what trusted proxies said of it
	Trusted bool                 // the peer is a trusted proxy
	Fronted bool                 // a trusted proxy stands between: the peer, or who named the peer by a PROXY header
	Doubt   string               // why what a trusted proxy says of its client was not believed, so that the proxy counts as the client; "" when it was
	TLS     *tls.ConnectionState // nil without TLS
}

// Exchange is one request on its way, and the facts learned about it. Each fact is typed and set once. It belongs to one
// goroutine.
type Exchange struct {
	ID        string         // of the event, in the answer to a denied client and in the log: 26 characters, sortable by time
	Began     time.Time      // when the head was complete
	Source    Source         //
	Request   *canon.Request // nil when the wire refused it: then no guard sees the exchange
	API       *API           // nil until matched
	Operation *Operation     // nil until matched
	Params    []canon.Pair   // values of the path's templates, decoded, in the order of the path

	conforms  bool
	principal *Principal
	body      bodySource
	slots     []slotValue
}

// BodyLoader reads and parses the body within the API's limits; it is called at most once. It is set by the pipeline.
type BodyLoader func(ctx context.Context) (*body.Tree, Verdict)

type bodySource struct {
	load    BodyLoader
	tree    *body.Tree
	verdict Verdict
}

// SetBody says how the body is read. It panics when called twice.
func (x *Exchange) SetBody(load BodyLoader) {
	if x.body.load != nil || x.body.tree != nil {
		panic("gate: body of an exchange set twice")
	}
	x.body.load = load
}

// Body reads the body on the first call and gives the same tree to every guard after that. The verdict denies when the
// body is too large, malformed or of a kind nobody can read; the guard returns it as its own.
func (x *Exchange) Body(ctx context.Context) (*body.Tree, Verdict) {
	if x.body.load != nil {
		load := x.body.load
		x.body.load = nil
		x.body.tree, x.body.verdict = load(ctx)
	}
	if x.body.tree == nil && (x.body.verdict.Allowed() || x.body.verdict.Code == "") {
		return nil, Deny(Internal, "body.unread", "no body was given to the exchange")
	}
	return x.body.tree, x.body.verdict
}

// ReadBody is the tree if some guard has read the body, else nil.
func (x *Exchange) ReadBody() *body.Tree { return x.body.tree }

// Conform notes that the request, with all of its body that guards are given, was judged by its contract and found to be
// what that declares. Only the guard that judged it says so.
func (x *Exchange) Conform() { x.conforms = true }

// Conforms tells whether that is so. It is not where the contract is off, nor for what one in dry run would have denied.
func (x *Exchange) Conforms() bool { return x.conforms }

// Identify sets who is calling. It panics when called twice: two identities for one request is a fault, not a choice.
func (x *Exchange) Identify(p Principal) {
	if x.principal != nil {
		panic("gate: exchange identified twice")
	}
	x.principal = &p
}

// Principal is who is calling, or nil for a caller without a credential.
func (x *Exchange) Principal() *Principal { return x.principal }

// Principal is a caller whose credential was found valid for this API.
type Principal struct {
	Issuer  string         // who vouches; with Subject it names the caller
	Subject string         //
	Client  string         // the OAuth client that acts for the caller, "" when unknown
	Roles   []string       //
	Scopes  []string       //
	Token   string         // the credential's own id (jti), "" when it has none; never the credential
	Expires time.Time      // when the credential ends; streams end with it
	Claims  map[string]any // verified claims, read-only
}

// Key names the caller uniquely over all issuers, for counters and logs.
func (p *Principal) Key() string { return p.Issuer + "\x00" + p.Subject }

// Slot is a place in every exchange where one guard remembers a T between its calls; no other guard can read it. Make it
// once, in the guard's New.
type Slot[T any] struct{ _ byte }

// NewSlot makes a slot.
func NewSlot[T any]() *Slot[T] { return new(Slot[T]) }

// Set remembers v for this exchange.
func (s *Slot[T]) Set(x *Exchange, v T) {
	for i := range x.slots {
		if x.slots[i].owner == s {
			x.slots[i].value = v
			return
		}
	}
	x.slots = append(x.slots, slotValue{s, v})
}

// Get gives what was remembered, and whether anything was.
func (s *Slot[T]) Get(x *Exchange) (v T, ok bool) {
	for i := range x.slots {
		if x.slots[i].owner == s {
			v, ok = x.slots[i].value.(T)
			return v, ok
		}
	}
	return v, false
}

type slotValue struct{ owner, value any }

// Answer is what is about to be sent to the client.
type Answer struct {
	Status int
	Fields http.Header // a guard may change them
	Denied bool        // the answer is the gateway's own denial
}

// Outcome is how an exchange ended.
type Outcome struct {
	Verdict Verdict // of the guard that denied, else allowed
	Status  int     // sent to the client; 0 when the client was gone before any
}
