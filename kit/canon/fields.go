package canon

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// readFields goes over the fields once: it checks the form of each, removes what is not for the server, and reads the
// cookies, the declared length and the handshake.
func (c *Request) readFields(r *http.Request, opt *Options, limits Limits) *Refusal {
	if refusal := checkTrailer(r, opt.Trailers); refusal != nil {
		return refusal
	}
	if refusal := c.checkConnection(); refusal != nil {
		return refusal
	}
	upgrade := c.Fields["Upgrade"]
	trailers := wantsTrailers(c.Fields)
	if len(upgrade) > 0 {
		if refusal := c.readUpgrade(upgrade); refusal != nil {
			return refusal
		}
	}
	lines := 0
	for name, values := range c.Fields {
		if lines += len(values); lines > limits.Fields {
			return refuse(fieldTooMany, "more than %d field lines", limits.Fields)
		}
		if refusal := c.readField(name, values, r, opt, limits); refusal != nil {
			return refusal
		}
	}
	if trailers {
		c.Fields["Te"] = []string{"trailers"}
	}
	slices.Sort(c.Removed)
	return nil
}

// readField decides about one field.
func (c *Request) readField(name string, values []string, r *http.Request, opt *Options, limits Limits) *Refusal {
	kind := classOf(name)
	if kind == unknown {
		if refusal := checkName(name); refusal != nil {
			return refusal
		}
	}
	for _, v := range values {
		if !isFieldValue(v) || c.Major != 1 && isPadded(v) {
			return refuse(fieldBytes, "a byte that no value may hold in field %s", quote(name))
		}
	}
	for _, managed := range opt.Managed {
		if Alike(name, managed) {
			c.remove(name)
			return nil
		}
	}
	if len(values) > 1 && c.standsOnce(kind) {
		reason := fieldDuplicate
		if kind == length {
			reason = fieldLength
		}
		return refuse(reason, "%s, %d times", name, len(values))
	}
	switch kind {
	case unknown:
		if isOdd(name) && lookalike(name) {
			c.remove(name)
		}
	case singleton:
		if name == "Range" && strings.Count(values[0], ",") >= mostRanges {
			return refuse(fieldRange, "more than %d ranges", mostRanges)
		}
	case cookie:
		return c.readCookies(values, limits)
	case length:
		return c.checkLength(values)
	case bound, expect:
		delete(c.Fields, name)
	case handshake:
		if c.Upgrade == "" {
			delete(c.Fields, name)
		}
	case forwarding:
		if trustedPeer(r.RemoteAddr, opt.Trusted) {
			delete(c.Fields, name)
		} else {
			c.remove(name)
		}
	case overriding:
		c.remove(name)
	}
	return nil
}

// standsOnce: HTTP/2 may split cookies, HTTP/1 may not.
func (c *Request) standsOnce(kind class) bool {
	return kind == singleton || kind == length || kind == expect || kind == cookie && c.Major == 1
}

func (c *Request) remove(name string) {
	delete(c.Fields, name)
	c.Removed = append(c.Removed, name)
}

// checkName: a name is a token; '_' in it is read as '-' by servers that turn names into variables (B2).
func checkName(name string) *Refusal {
	underscore := false
	for i := range len(name) {
		if !isToken(name[i]) {
			return refuse(fieldName, "field name %s is no token", quote(name))
		}
		underscore = underscore || name[i] == '_'
	}
	if name == "" {
		return refuse(fieldName, "a field without a name")
	}
	if underscore {
		return refuse(fieldUnderscore, "field name %s has an underscore", quote(name))
	}
	return nil
}

// isOdd says whether a name has other signs than letters, digits and hyphens, or is not in canonical case.
func isOdd(name string) bool {
	upper := true
	for i := range len(name) {
		c := name[i]
		if !isAlnum(c) && c != '-' || upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return true
		}
		upper = c == '-'
	}
	return false
}

// isFieldValue: RFC 9110 section 5.5, no control characters but the tab. Eight bytes are looked at together.
func isFieldValue(v string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(v); i += 8 {
		x := eightBytes(v[i : i+8])
		low := (x - ones*0x20) & ^x & tops // a byte below 0x20, or borrowed from one
		del := x ^ ones*0x7f
		if low != 0 || (del-ones)&^del&tops != 0 {
			if !isShortFieldValue(v[i : i+8]) {
				return false
			}
		}
	}
	return isShortFieldValue(v[i:])
}

// eightBytes is one load from memory, once compiled.
func eightBytes(v string) uint64 {
	_ = v[7]
	return uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 |
		uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56
}

func isShortFieldValue(v string) bool {
	for i := range len(v) {
		if isControl(v[i]) && v[i] != '\t' {
			return false
		}
	}
	return true
}

// isPadded: RFC 9113 section 8.2.1 forbids white space around a value; HTTP/1 readers have taken it off already.
func isPadded(v string) bool {
	return v != "" && (v[0] == ' ' || v[0] == '\t' || v[len(v)-1] == ' ' || v[len(v)-1] == '\t')
}

// checkTrailer refuses to announce trailers that nobody allowed (B10). net/http moves the names into r.Trailer.
func checkTrailer(r *http.Request, allowed []string) *Refusal {
	for name := range r.Trailer {
		if !slices.Contains(allowed, name) {
			return refuse(fieldTrailer, "trailer field %s", quote(name))
		}
	}
	for _, line := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); !slices.Contains(allowed, name) {
				return refuse(fieldTrailer, "trailer field %s", quote(name))
			}
		}
	}
	return nil
}

// checkConnection lets the Connection field name nothing but what is bound to a connection anyway, since naming a field
// there removes it on the way (B3). HTTP/2 has no such fields at all (RFC 9113 section 8.2.2).
func (c *Request) checkConnection() *Refusal {
	if c.Major != 1 {
		for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Http2-Settings"} {
			if _, ok := c.Fields[name]; ok {
				return refuse(fieldConnection, "%s in HTTP/%d", name, c.Major)
			}
		}
		if te, ok := c.Fields["Te"]; ok && (len(te) != 1 || te[0] != "trailers") {
			return refuse(fieldConnection, "TE other than trailers in HTTP/%d", c.Major)
		}
		return nil
	}
	for _, line := range c.Fields["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			option = strings.Trim(option, " \t")
			if !isConnectionOption(option) {
				return refuse(fieldConnection, "Connection names %s", quote(option))
			}
		}
	}
	return nil
}

func isConnectionOption(option string) bool {
	if option == "" || option == "keep-alive" || option == "close" {
		return true
	}
	switch strings.ToLower(option) {
	case "close", "keep-alive", "upgrade", "te", "trailer", "http2-settings", "proxy-connection", "transfer-encoding":
		return true
	}
	return false
}

// wantsTrailers is true for a gRPC client, which needs its TE field to reach the server.
func wantsTrailers(fields http.Header) bool {
	te, ok := fields["Te"]
	return ok && len(te) == 1 && te[0] == "trailers" && strings.HasPrefix(fields.Get("Content-Type"), "application/grpc")
}

// checkLength compares the declared length with the one that net/http works with (D10), and drops the field: the
// length that is sent on follows from Request.Length.
func (c *Request) checkLength(values []string) *Refusal {
	for i := range len(values[0]) {
		if !isDigit(values[0][i]) {
			return refuse(fieldLength, "Content-Length is not a number")
		}
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || n != c.Length {
		return refuse(fieldLength, "Content-Length differs from the body's length")
	}
	delete(c.Fields, "Content-Length")
	return nil
}

func trustedPeer(remote string, trusted func(netip.Addr) bool) bool {
	if trusted == nil {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	return err == nil && trusted(peer.Addr().Unmap())
}
