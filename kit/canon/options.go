package canon

import "net/netip"

// Limits bound what a request's head may hold. A zero field means its default.
type Limits struct {
	URL         int // bytes of the request target; default 8192
	Query       int // query parameters; default 256
	Cookies     int // cookies; default 64
	CookieBytes int // bytes of all cookies together; default 8192
	Fields      int // field lines; default 128
}

// The defaults, and the bound on ranges, above which a server may be asked to send the same bytes many times over.
const (
	defaultURL         = 8 << 10
	defaultQuery       = 256
	defaultCookies     = 64
	defaultCookieBytes = 8 << 10
	defaultFields      = 128
	mostRanges         = 5
)

func (l Limits) withDefaults() Limits {
	l.URL = orDefault(l.URL, defaultURL)
	l.Query = orDefault(l.Query, defaultQuery)
	l.Cookies = orDefault(l.Cookies, defaultCookies)
	l.CookieBytes = orDefault(l.CookieBytes, defaultCookieBytes)
	l.Fields = orDefault(l.Fields, defaultFields)
	return l
}

func orDefault(n, standard int) int {
	if n <= 0 {
		return standard
	}
	return n
}

// Options are decided at load and only read afterwards. The zero Options is the strictest: it trusts nobody.
type Options struct {
	Limits Limits
	// Managed are the fields that only Gatehouse may set upstream, such as those that carry the caller's identity. A
	// client's field that a server could take for one of them (case, hyphen, dot, underscore and the like read as the
	// same) is removed and noted.
	Managed []string
	// Trusted says which peers are our own proxies, whose forwarding fields are no pretence and therefore are removed
	// without a note. Nil trusts nobody.
	Trusted func(netip.Addr) bool
	// Trailers are the names that a Trailer field may announce, in canonical form. Empty allows none.
	Trailers []string
}
