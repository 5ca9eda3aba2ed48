package canon

import (
	"net/http"
	"net/netip"
	"strings"
)

// Bounds on what our own proxies may say about the way of a request.
const (
	longestForwarding = 8 << 10
	mostHops          = 32
)

// Client is whom a request is counted against: the peer, or, when the peer is one of our proxies, the right-most address
// in Forwarded (RFC 7239) or X-Forwarded-For that is not ours (B4). Whatever stands left of it was written by strangers.
// When every hop is ours, it is the left-most. An IPv4 address in IPv6 clothes is taken out of them before it is judged.
// When the fields are malformed, name no address where one is needed, or disagree with each other, it is the peer, and
// the note says why; else the note is "". Call it before New, which removes the fields.
func Client(peer netip.Addr, fields http.Header, trusted func(netip.Addr) bool) (client netip.Addr, note string) {
	peer = peer.Unmap().WithZone("")
	if trusted == nil || !trusted(peer) {
		return peer, ""
	}
	listed, hasList := fields["X-Forwarded-For"]
	forwarded, hasForwarded := fields["Forwarded"]
	if !hasList && !hasForwarded {
		return peer, ""
	}
	var found [2]netip.Addr
	if hasList {
		addr, why := lastStranger(listHops(listed), trusted)
		if why != "" {
			return peer, "X-Forwarded-For: " + why
		}
		found[0], found[1] = addr, addr
	}
	if hasForwarded {
		hops, why := forwardedHops(forwarded)
		if why != "" {
			return peer, "Forwarded: " + why
		}
		if found[1], why = lastStranger(hops, trusted); why != "" {
			return peer, "Forwarded: " + why
		}
		if !hasList {
			found[0] = found[1]
		}
	}
	if found[0] != found[1] {
		return peer, "Forwarded and X-Forwarded-For disagree"
	}
	return found[0], ""
}

// lastStranger walks the hops from the right and stops at the first that is not ours.
func lastStranger(hops []string, trusted func(netip.Addr) bool) (addr netip.Addr, why string) {
	if len(hops) == 0 {
		return addr, "empty or too long"
	}
	for i := range len(hops) {
		if i == mostHops {
			return netip.Addr{}, "too many hops"
		}
		var ok bool
		if addr, ok = parseHop(hops[len(hops)-1-i]); !ok {
			return netip.Addr{}, "a hop that is no address"
		}
		if !trusted(addr) {
			return addr, ""
		}
	}
	return addr, ""
}

// parseHop reads an address, or an address with a port; an IPv6 address may stand in brackets and has no zone.
func parseHop(text string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		addr, err := netip.ParseAddr(inner[:len(inner)-1])
		return addr.Unmap(), err == nil && addr.Is6() && addr.Zone() == ""
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		pair, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = pair.Addr()
	}
	return addr.Unmap(), addr.Zone() == ""
}

// listHops splits X-Forwarded-For; several lines are one list.
func listHops(lines []string) []string {
	all := strings.Join(lines, ",")
	if len(all) > longestForwarding {
		return nil
	}
	hops := strings.Split(all, ",")
	for i := range hops {
		hops[i] = strings.Trim(hops[i], " \t")
	}
	return hops
}

// forwardedHops reads Forwarded strictly and gives the node of each element's "for"; an element without one gives "".
func forwardedHops(lines []string) (hops []string, why string) {
	rest := strings.Join(lines, ",")
	if len(rest) > longestForwarding {
		return nil, "empty or too long"
	}
	node, seen := "", ""
	for {
		rest = strings.TrimLeft(rest, " \t")
		name, value, after, ok := forwardedPair(rest)
		if !ok {
			return nil, "malformed"
		}
		name = strings.ToLower(name)
		if strings.Contains(seen, ";"+name+";") {
			return nil, "a parameter twice in one element"
		}
		seen += ";" + name + ";"
		if name == "for" {
			node = value
		}
		rest = strings.TrimLeft(after, " \t")
		if rest == "" || rest[0] == ',' {
			hops = append(hops, node)
			node, seen = "", ""
		}
		if rest == "" {
			return hops, ""
		}
		if rest[0] != ',' && rest[0] != ';' {
			return nil, "malformed"
		}
		rest = rest[1:]
	}
}

// forwardedPair reads token "=" ( token / quoted-string ) from the front of s. A backslash is refused: no address has one.
func forwardedPair(s string) (name, value, rest string, ok bool) {
	name, after, found := strings.Cut(s, "=")
	if !found || !isTokenString(name) || after == "" {
		return "", "", "", false
	}
	if after[0] == '"' {
		value, rest, found = strings.Cut(after[1:], `"`)
		if !found || strings.IndexByte(value, '\\') >= 0 {
			return "", "", "", false
		}
		return name, value, rest, true
	}
	end := 0
	for end < len(after) && (isToken(after[end]) || after[end] == ':') { // many proxies forget the quotes around "host:port"
		end++
	}
	return name, after[:end], after[end:], end > 0
}
