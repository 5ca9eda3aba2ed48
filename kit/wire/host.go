package wire

import (
	"bytes"
	"net/netip"
)

// maxHost is the longest authority: a DNS name has at most 253 bytes, a port five more.
const maxHost = 260

// checkAuthority accepts host or host:port as they may stand in a Host field or an absolute-form target: a name of letters, digits,
// "-", "." and "_", or an IPv6 literal in brackets without zone (A18). Everything else is read differently by different servers.
func checkAuthority(b []byte, at int) *fault {
	if len(b) == 0 || len(b) > maxHost {
		return &fault{reasonHostSyntax, at, "an empty or overlong host"}
	}
	if i := bytes.IndexByte(b, '@'); i >= 0 {
		return &fault{reasonHostUserinfo, at + i, "user information in front of a host"}
	}
	var host, port []byte
	hasPort := false
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isIPv6(b[1:end]) {
			return &fault{reasonHostSyntax, at, "brackets without an IPv6 address"}
		}
		if rest := b[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return &fault{reasonHostSyntax, at + end + 1, "something behind the bracket of an IPv6 address"}
			}
			port, hasPort = rest[1:], true
		}
	} else {
		host, port, hasPort = bytes.Cut(b, []byte{':'})
		if len(host) == 0 {
			return &fault{reasonHostSyntax, at, "a port without a host"}
		}
	}
	if i := firstNot(host, isHost); i >= 0 {
		return &fault{nameThe(host[i], reasonHostSyntax), at + i, "a byte that may not stand in a host name"}
	}
	if hasPort && !isPort(port) {
		return &fault{reasonHostSyntax, at + len(b) - len(port), "a port that is not a number up to 65535"}
	}
	return nil
}

// isIPv6 reports whether b is an IPv6 address without zone.
func isIPv6(b []byte) bool {
	if firstNot(b, isHex|isHost) >= 0 && bytes.IndexByte(b, ':') < 0 {
		return false
	}
	address, err := netip.ParseAddr(string(b))
	return err == nil && address.Is6() && address.Zone() == ""
}

// isPort reports whether b is 1 to 65535 in at most five digits.
func isPort(b []byte) bool {
	n, ok := parseLength(b)
	return ok && len(b) <= 5 && n >= 1 && n <= 65535
}

// equalHosts compares two authorities, ignoring ASCII case.
func equalHosts(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if 'A' <= y && y <= 'Z' {
			y += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}
