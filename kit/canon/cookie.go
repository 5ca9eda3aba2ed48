package canon

import "strings"

// readCookies reads the cookies strictly (RFC 6265 section 4.1.1) and writes the field anew from what was read. HTTP/2
// clients may spread cookies over several fields (RFC 9113 section 8.2.3). Too many are refused, not dropped: a request
// without its session is another request (E27). A name twice is refused, since readers disagree on which counts (E28).
func (c *Request) readCookies(lines []string, limits Limits) *Refusal {
	line := lines[0]
	if len(lines) > 1 {
		line = strings.Join(lines, "; ")
	}
	if len(line) > limits.CookieBytes {
		return refuse(cookieTooMany, "%d bytes of cookies, at most %d are read", len(line), limits.CookieBytes)
	}
	count := 1 + strings.Count(line, ";")
	if count > limits.Cookies {
		return refuse(cookieTooMany, "%d cookies, at most %d are read", count, limits.Cookies)
	}
	c.Cookies = make([]Pair, 0, count)
	canonical := len(lines) == 1
	for rest, more := line, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ";")
		if len(c.Cookies) > 0 {
			var spaced bool
			part, spaced = strings.CutPrefix(part, " ")
			canonical = canonical && spaced
		}
		trimmed := strings.Trim(part, " \t")
		canonical = canonical && len(trimmed) == len(part)
		if trimmed == "" {
			canonical = false
			if !more && len(c.Cookies) > 0 {
				break // a last semicolon says nothing
			}
			return refuse(cookieMalformed, "cookie %d is empty", len(c.Cookies)+1)
		}
		if refusal := c.addCookie(trimmed); refusal != nil {
			return refusal
		}
	}
	if !canonical {
		c.Fields["Cookie"] = []string{EncodeCookies(c.Cookies)}
	}
	return nil
}

func (c *Request) addCookie(part string) *Refusal {
	name, value, ok := strings.Cut(part, "=")
	number := len(c.Cookies) + 1
	if !ok || !isTokenString(name) || name[0] == '$' { // "$Version" turns other readings of the quotes on
		return refuse(cookieMalformed, "cookie %d has no valid name", number)
	}
	if pretendsPrefix(name) {
		return refuse(cookieMalformed, "cookie %d pretends to have the __Host- or __Secure- prefix", number)
	}
	if !isCookieValue(value) {
		return refuse(cookieMalformed, "cookie %d has a byte that no value may hold", number)
	}
	for i := range c.Cookies {
		if c.Cookies[i].Name == name {
			return refuse(cookieDuplicate, "cookie %d has the name of cookie %d", number, i+1)
		}
	}
	c.Cookies = append(c.Cookies, Pair{name, value})
	return nil
}

// isCookieValue allows cookie-octets, and one pair of quotes around them, which belongs to the value.
func isCookieValue(v string) bool {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == '\\' {
			return false
		}
	}
	return true
}

// pretendsPrefix finds names that some servers decode or fold into one that starts with __Host- or __Secure-, which only
// a secure origin can set.
func pretendsPrefix(name string) bool {
	if strings.HasPrefix(name, "__Host-") || strings.HasPrefix(name, "__Secure-") || isAlnum(name[0]) {
		return false
	}
	plain := name
	if strings.IndexByte(name, '%') >= 0 {
		if decoded, bad := decodeEscapes(name, false); bad < 0 {
			plain = decoded
		}
	}
	for _, prefix := range [...]string{"__Host-", "__Secure-"} {
		if len(plain) >= len(prefix) && Alike(plain[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// EncodeCookies writes the value of the Cookie field: what is sent upstream when a cookie was taken out.
func EncodeCookies(cookies []Pair) string {
	size := 0
	for _, p := range cookies {
		size += len(p.Name) + len(p.Value) + 3
	}
	out := make([]byte, 0, size)
	for i, p := range cookies {
		if i > 0 {
			out = append(out, "; "...)
		}
		out = append(append(append(out, p.Name...), '='), p.Value...)
	}
	return string(out)
}
