package canon

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	longestHost  = 253 // RFC 1035 section 2.3.4, without the root's dot
	longestLabel = 63
)

// Host reads an authority (RFC 3986 section 3.2, without user information) and gives the host in its one spelling: lower
// case, A-labels (UTS 46), no trailing dot; an IP address in its shortest form and without brackets, an IPv4 address in
// IPv6 clothes as IPv4. The port is "" when it is absent or the scheme's own. Anything else is refused with
// host.missing or host.malformed, also numbers that only some resolvers take for an address, such as 127.1 or 0x7f.1
// (A16 to A21).
func Host(authority, scheme string) (host, port string, refusal *Refusal) {
	if authority == "" {
		return "", "", refuse(hostMissing, "the request names no host")
	}
	if authority[0] == '[' {
		return literalHost(authority, scheme)
	}
	name := authority
	if colon := strings.IndexByte(authority, ':'); colon >= 0 {
		if port, refusal = readPort(authority[colon+1:], scheme); refusal != nil {
			return "", "", refusal
		}
		name = authority[:colon]
	}
	if host, refusal = hostName(name); refusal != nil {
		return "", "", refusal
	}
	return host, port, nil
}

func malformedHost(why string) *Refusal { return refuse(hostMalformed, "%s", why) }

// literalHost reads "[address]" and "[address]:port".
func literalHost(authority, scheme string) (host, port string, refusal *Refusal) {
	text, after, closed := strings.Cut(authority[1:], "]")
	if !closed {
		return "", "", malformedHost("an IPv6 address without its closing bracket")
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", "", malformedHost("no IPv6 address between the brackets")
	}
	if after != "" {
		if after[0] != ':' {
			return "", "", malformedHost("text after the closing bracket")
		}
		if port, refusal = readPort(after[1:], scheme); refusal != nil {
			return "", "", refusal
		}
	}
	return addr.Unmap().String(), port, nil
}

// readPort gives the digits without leading zeros, or "" for the port that the scheme has anyway.
func readPort(text, scheme string) (string, *Refusal) {
	if text == "" || len(text) > 5 {
		return "", malformedHost("a port is one to five digits")
	}
	for i := range len(text) {
		if !isDigit(text[i]) {
			return "", malformedHost("a port is one to five digits")
		}
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", malformedHost("a port lies between 1 and 65535")
	}
	if n == 443 && scheme == "https" || n == 80 && scheme == "http" {
		return "", nil
	}
	if text[0] == '0' {
		text = strings.TrimLeft(text, "0")
	}
	return text, nil
}

func hostName(name string) (string, *Refusal) {
	name = strings.TrimSuffix(name, ".")
	special := false
	for i := range len(name) {
		c := name[i]
		if c >= utf8.RuneSelf {
			special = true
		} else if !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return "", refuse(hostMalformed, "byte 0x%02x in a host name", c)
		}
	}
	name = strings.ToLower(name)
	if special || strings.HasPrefix(name, "xn--") || strings.Contains(name, ".xn--") {
		profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(true), idna.VerifyDNSLength(true))
		ascii, err := profile.ToASCII(name)
		if err != nil {
			return "", malformedHost("no valid internationalised name")
		}
		name = ascii
	}
	if !areLabels(name) {
		return "", malformedHost("empty, overlong or ill-formed label, or an overlong name")
	}
	if endsInNumber(name) {
		addr, err := netip.ParseAddr(name)
		if err != nil {
			return "", malformedHost("a number that is no dotted IPv4 address")
		}
		return addr.String(), nil
	}
	return name, nil
}

// areLabels checks the form of RFC 1123 names; '_' is tolerated, since container networks use it.
func areLabels(name string) bool {
	if name == "" || len(name) > longestHost {
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			continue
		}
		if size := i - start; size == 0 || size > longestLabel || name[start] == '-' || name[i-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

// endsInNumber says whether some resolver would take the name for an IPv4 address: its last label is decimal, or
// hexadecimal with 0x.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if !isDigit(last[0]) {
		return false
	}
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		for i := range len(hex) {
			if _, ok := unhex(hex[i]); !ok {
				return false
			}
		}
		return true
	}
	for i := range len(last) {
		if !isDigit(last[i]) {
			return false
		}
	}
	return true
}

// Misdirected refuses, with 421, a request whose authority is another host than the one that the client asked for in its
// TLS handshake, when the two do not have the same TLS policy: else a connection opened without a client certificate
// reaches a host that demands one (D14, RFC 9110 section 15.5.20). Both names are compared in canonical form. An sni of
// "" is a handshake without a name; same is asked about it too.
func Misdirected(sni, host string, same func(sni, host string) bool) *Refusal {
	if sni != "" {
		canonical, _, refusal := Host(sni, "https")
		if refusal != nil {
			return refuse(hostMisdirected, "the TLS handshake named no valid host")
		}
		sni = canonical
	}
	if sni == host || same(sni, host) {
		return nil
	}
	return refuse(hostMisdirected, "the TLS handshake was for another host with another TLS policy")
}
