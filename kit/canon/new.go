package canon

import (
	"net/http"
	"strings"
)

// New gives the canonical form of r, or the refusal that says why it has none. The scheme is the listener's, "http" or
// "https". A nil opt means the defaults.
//
// r comes from net/http: over HTTP/1 its bytes have passed kit/wire, which has compared an absolute target with the Host
// field; over HTTP/2 nobody has looked at it before (A14, A19 to A21, D9, D10). New takes r.Header over: it removes fields
// from it and keeps the map as Request.Fields, so that the hot path copies nothing. Neither r.Header nor r.URL may be used
// after that; r.Body may.
func New(r *http.Request, scheme string, opt *Options) (*Request, *Refusal) {
	if opt == nil {
		opt = new(Options)
	}
	limits := opt.Limits.withDefaults()
	if refusal := checkMethod(r.Method); refusal != nil {
		return nil, refusal
	}
	c := &Request{Method: r.Method, Scheme: scheme, Major: r.ProtoMajor, Length: r.ContentLength, Fields: r.Header}
	if c.Fields == nil {
		c.Fields = http.Header{}
	}
	if refusal := c.readHost(r.Host); refusal != nil {
		return nil, refusal
	}
	if refusal := c.readTarget(r.RequestURI, limits); refusal != nil {
		return nil, refusal
	}
	if refusal := c.readFields(r, opt, limits); refusal != nil {
		return nil, refusal
	}
	return c, nil
}

// checkMethod lets the methods pass that OpenAPI can declare, in upper case (C19, C21, C22, D9).
func checkMethod(method string) *Refusal {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY":
		return nil
	}
	for i := range len(method) {
		if c := method[i]; !isToken(c) || 'a' <= c && c <= 'z' {
			return refuse(methodMalformed, "byte %d (0x%02x) in the method", i, c)
		}
	}
	if method == "" {
		return refuse(methodMalformed, "no method")
	}
	return refuse(methodRefused, "method %s", quote(method))
}

// readHost reads the authority and compares it with a Host field that may stand beside it (A21).
func (c *Request) readHost(authority string) (refusal *Refusal) {
	if c.Host, c.Port, refusal = Host(authority, c.Scheme); refusal != nil {
		return refusal
	}
	beside, ok := c.Fields["Host"]
	if !ok {
		return nil
	}
	for _, other := range beside {
		host, port, refusal := Host(other, c.Scheme)
		if refusal != nil || host != c.Host || port != c.Port {
			return refuse(hostMismatch, "the Host field differs from the authority")
		}
	}
	if len(beside) > 1 {
		return refuse(fieldDuplicate, "Host, %d times", len(beside))
	}
	delete(c.Fields, "Host")
	return nil
}

// readTarget splits and reads the request target: origin-form, and over HTTP/1 also absolute-form (RFC 9112 section 3.2).
func (c *Request) readTarget(target string, limits Limits) (refusal *Refusal) {
	if len(target) > limits.URL {
		return refuse(targetTooLong, "a target of %d bytes, at most %d are read", len(target), limits.URL)
	}
	if target == "" {
		return refuse(targetForm, "no target")
	}
	if target[0] != '/' {
		if target, refusal = c.fromAbsolute(target); refusal != nil {
			return refusal
		}
	}
	path, query, _ := strings.Cut(target, "?")
	if strings.IndexByte(query, '#') >= 0 {
		return refuse(pathFragment, "a fragment after the query")
	}
	if c.Path, c.Segments, refusal = Path(path); refusal != nil {
		return refusal
	}
	c.Query, refusal = Query(query, limits.Query)
	return refusal
}

// fromAbsolute takes scheme and authority off an absolute target, when they say nothing else than the connection does.
func (c *Request) fromAbsolute(target string) (string, *Refusal) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || c.Major != 1 {
		return "", refuse(targetForm, "the target does not begin with a slash")
	}
	if !strings.EqualFold(scheme, c.Scheme) {
		return "", refuse(targetScheme, "an absolute target with another scheme than the connection's")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, refusal := Host(rest[:end], c.Scheme)
	if refusal != nil {
		return "", refusal
	}
	if host != c.Host || port != c.Port {
		return "", refuse(hostMismatch, "the absolute target names another host than the Host field")
	}
	if rest = rest[end:]; rest == "" || rest[0] == '?' {
		return "/" + rest, nil // RFC 9110 section 4.2.3: an empty path is the same as "/"
	}
	return rest, nil
}
