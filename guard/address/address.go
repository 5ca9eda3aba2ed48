// Package address turns away networks that may not call: whoever is on the deny list, and, where there is an allow list,
// whoever is not on that. It stops what needs no look at the request at all: known attackers, countries of addresses, an
// internal API that is reached from outside. It promises that a longer list never admits by accident: deny wins, an empty
// allow list allows nobody, and an entry that is not exactly a network is a mistake at load and never a shorter list.
package address

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Why the guard denies.
const (
	Denied     gate.Reason = "address.denied"      // the address is on the deny list
	NotAllowed gate.Reason = "address.not_allowed" // there is an allow list and the address is not on it
	Doubtful   gate.Reason = "address.doubtful"    // a trusted proxy's words about its client could not be believed
	Unknown    gate.Reason = "address.unknown"     // a fault of ours: nobody knows the address
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason { return []gate.Reason{Denied, NotAllowed, Doubtful, Unknown} }

// Config is the section guards.address.
type Config struct {
	// Networks that may call, such as 10.0.0.0/8. Default: every network. An empty list allows nobody.
	Allow []netip.Prefix `yaml:"allow"`
	// Networks that may not call, whatever allow says. Default: none.
	Deny []netip.Prefix `yaml:"deny"`
}

// Guard holds the lists, compiled.
type Guard struct {
	deny       *bart.Table[int] // the place in the list
	allow      *bart.Lite
	restricted bool // there is an allow list
	lists      bool // there is any list that says something
}

// New compiles the lists; it returns every mistake of them.
func New(cfg Config) (*Guard, error) {
	g := &Guard{deny: new(bart.Table[int]), allow: new(bart.Lite), restricted: cfg.Allow != nil, lists: cfg.Allow != nil || len(cfg.Deny) > 0}
	var list mistake.List
	for i, p := range cfg.Allow {
		if p, ok := network(&list, fmt.Sprintf("allow[%d]", i), p); ok {
			g.allow.Insert(p)
		}
	}
	for i, p := range cfg.Deny {
		if p, ok := network(&list, fmt.Sprintf("deny[%d]", i), p); ok {
			if _, twice := g.deny.Get(p); !twice { // the first of equal entries is the one that events name
				g.deny.Insert(p, i)
			}
		}
	}
	return g, list.Err()
}

// network checks one entry. IPv4 in IPv6 form becomes IPv4, as addresses do before they are looked up (B4).
func network(list *mistake.List, place string, p netip.Prefix) (netip.Prefix, bool) {
	switch {
	case !p.IsValid():
		list.Add(place, "", "is not a network; write it as 192.0.2.0/24 or 2001:db8::/32")
		return p, false
	case p != p.Masked():
		list.Add(place, p.Masked().String(), "%s has bits set behind its length: the network would be larger than it looks", p)
		return p, false
	case p.Addr().Is4In6() && p.Bits() >= 96:
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), true
	case p.Addr().Is4In6():
		list.Add(place, "", "%s reaches from IPv4 in IPv6 form into IPv6; write it as IPv4", p)
		return p, false
	}
	return p, true
}

// Check denies an address by the lists. The address is the client's, as trusted proxies tell it, else the peer's.
func (g *Guard) Check(_ context.Context, x *gate.Exchange) gate.Verdict {
	a := x.Source.Client.Unmap().WithZone("")
	if !a.IsValid() {
		return gate.Deny(gate.BadAddress, Unknown, "the exchange has no client address")
	}
	if x.Source.Doubt != "" && g.lists { // a client could walk round the lists by spoiling what the proxy says of it
		return gate.Deny(gate.BadAddress, Doubtful, "nobody knows whom the proxy speaks for: %s", x.Source.Doubt).At("guards.address")
	}
	if _, place, found := g.deny.LookupPrefixLPM(netip.PrefixFrom(a, a.BitLen())); found {
		return gate.Deny(gate.BadAddress, Denied, "%s is on the deny list", a).
			At(fmt.Sprintf("guards.address.deny[%d]", place)).Showing(a.String())
	}
	if g.restricted && !g.allow.Contains(a) {
		return gate.Deny(gate.BadAddress, NotAllowed, "%s is not on the allow list", a).
			At("guards.address.allow").Showing(a.String()).
			Fixed(fmt.Sprintf("guards: {address: {allow: [%s]}}", netip.PrefixFrom(a, a.BitLen())))
	}
	return gate.Allow()
}
