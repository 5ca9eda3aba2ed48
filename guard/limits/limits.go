// Package limits bounds what one request may cost before anything of it is worked on: the length of its target, the number
// of its parameters and cookies, the size of its body. It stops requests that are large for the sake of being large, and
// the gap between a reader that gives up silently after so many parameters and a server that reads on (A26, E27). What a
// body may cost while it is read (depth, expansion) is decided here too and applied by the one reader of bodies. Bounds of
// a connection, which cannot differ from API to API, stand in listen.limits.
package limits

import (
	"context"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Why the guard denies.
const (
	URL     gate.Reason = "limits.url"     // the target is too long
	Query   gate.Reason = "limits.query"   // too many query parameters
	Cookies gate.Reason = "limits.cookies" // too many cookies, or too many bytes of them
	Body    gate.Reason = "limits.body"    // the declared body is too large
	Unread  gate.Reason = "limits.unread"  // a fault of ours: there is no canonical request
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason { return []gate.Reason{URL, Query, Cookies, Body, Unread} }

// Config is the section guards.limits. Zero means the default.
type Config struct {
	// Longest request target: path and query, as sent to the server. Default 8KiB.
	URL unit.Size `yaml:"url"`
	// Most query parameters. Default 256.
	Query int `yaml:"query"`
	// Most cookies. Default 64.
	Cookies int `yaml:"cookies"`
	// Most bytes of all cookies together. Default 8KiB.
	CookieBytes unit.Size `yaml:"cookie_bytes"`
	// Largest body, before and after its compression is taken off. Default 1MiB.
	Body unit.Size `yaml:"body"`
	// Most levels of objects and arrays in each other. Default 32.
	Depth int `yaml:"depth"`
	// Most bytes that one byte of a compressed body may become. Default 100.
	Ratio int `yaml:"ratio"`
	// Most properties of all objects of a JSON body together. Default 10000.
	Properties int `yaml:"properties"`
	// Most values of a JSON body, elements of arrays included. Default 100000.
	Values int `yaml:"values"`
	// Most fields of a form. Default 256.
	FormFields int `yaml:"form_fields"`
	// Most parts of a multipart body. Default 100.
	Parts int `yaml:"parts"`
}

// withDefaults fills in what is not written.
func (c Config) withDefaults() Config {
	c.URL = orDefault(c.URL, 8*unit.KiB)
	c.Query = orDefault(c.Query, 256)
	c.Cookies = orDefault(c.Cookies, 64)
	c.CookieBytes = orDefault(c.CookieBytes, 8*unit.KiB)
	c.Body = orDefault(c.Body, unit.MiB)
	c.Depth = orDefault(c.Depth, 32)
	c.Ratio = orDefault(c.Ratio, 100)
	c.Properties = orDefault(c.Properties, 10_000)
	c.Values = orDefault(c.Values, 100_000)
	c.FormFields = orDefault(c.FormFields, 256)
	c.Parts = orDefault(c.Parts, 100)
	return c
}

func orDefault[N ~int | ~int64](n, standard N) N {
	if n == 0 {
		return standard
	}
	return n
}

// check refuses what no limit can mean, and what would be none.
func (c Config) check() error {
	var list mistake.List
	within(&list, "url", c.URL, 64, unit.MiB)
	within(&list, "query", c.Query, 1, 10_000)
	within(&list, "cookies", c.Cookies, 1, 1000)
	within(&list, "cookie_bytes", c.CookieBytes, 64, unit.MiB)
	within(&list, "body", c.Body, 1, unit.GiB)
	within(&list, "depth", c.Depth, 1, 1000)
	within(&list, "ratio", c.Ratio, 1, 1000)
	within(&list, "properties", c.Properties, 1, 10_000_000)
	within(&list, "values", c.Values, 1, 10_000_000)
	within(&list, "form_fields", c.FormFields, 1, 10_000)
	within(&list, "parts", c.Parts, 1, 10_000)
	return list.Err()
}

func within[N interface{ ~int | ~int64 }](list *mistake.List, place string, n, least, most N) {
	if n < least || n > most {
		list.Add(place, "", "%v is not between %v and %v", n, least, most)
	}
}

// Guard holds the limits of one API.
type Guard struct{ cfg Config }

// New checks the limits; it returns every mistake of them.
func New(cfg Config) (*Guard, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Guard{cfg: cfg}, nil
}

// Off is what readers work with where the guard is switched off: far beyond any request that means well, and still an end,
// since no reader works without one.
func Off() *Guard {
	return &Guard{cfg: Config{
		URL: unit.MiB, Query: 10_000, Cookies: 1000, CookieBytes: unit.MiB, Body: 64 * unit.MiB, Depth: 1000, Ratio: 10_000,
		Properties: 1_000_000, Values: 1_000_000, FormFields: 10_000, Parts: 10_000,
	}}
}

// Body gives the limits for the reader of bodies.
func (g *Guard) Body() body.Limits {
	return body.Limits{
		Bytes: int64(g.cfg.Body), Ratio: int64(g.cfg.Ratio), Depth: g.cfg.Depth,
		Members: g.cfg.Properties, Values: g.cfg.Values, Params: g.cfg.FormFields, Parts: g.cfg.Parts,
	}
}

// Head gives the limits for the reader of heads. It works before the API is known, so it takes the largest of all APIs.
func (g *Guard) Head() canon.Limits {
	return canon.Limits{
		URL: int(g.cfg.URL), Query: g.cfg.Query, Cookies: g.cfg.Cookies, CookieBytes: int(g.cfg.CookieBytes),
	}
}

// Check measures the head. A body whose length is not declared is measured while it is read.
func (g *Guard) Check(_ context.Context, x *gate.Exchange) gate.Verdict {
	r := x.Request
	if r == nil {
		return gate.Deny(gate.Internal, Unread, "the exchange has no canonical request")
	}
	if n := targetLength(r); n > int(g.cfg.URL) {
		return deny(gate.TargetTooLong, URL, "url", "the target has %d bytes, more than %d", n, int(g.cfg.URL))
	}
	if n := len(r.Query); n > g.cfg.Query {
		return deny(gate.BadRequest, Query, "query", "%d query parameters are more than %d", n, g.cfg.Query)
	}
	if n := len(r.Cookies); n > g.cfg.Cookies {
		return deny(gate.HeadTooLarge, Cookies, "cookies", "%d cookies are more than %d", n, g.cfg.Cookies)
	}
	if n := cookieBytes(r); n > int(g.cfg.CookieBytes) {
		return deny(gate.HeadTooLarge, Cookies, "cookie_bytes", "%d bytes of cookies are more than %d", n, int(g.cfg.CookieBytes))
	}
	if r.Length > int64(g.cfg.Body) && r.Length > uploads(x.API) {
		return deny(gate.TooLarge, Body, "body", "a body of %d bytes is announced, more than %d", r.Length, int64(g.cfg.Body))
	}
	return gate.Allow()
}

// uploads is the largest body that some upload of the API may have. Which operation is meant is not known yet: the body of
// any other is measured when it is.
func uploads(api *gate.API) (most int64) {
	if api == nil {
		return 0
	}
	for _, op := range api.Operations {
		if op.Stream.Kind == "upload" {
			most = max(most, op.Stream.Message)
		}
	}
	return most
}

func deny(code gate.Code, reason gate.Reason, key, format string, sizes ...any) gate.Verdict {
	return gate.Deny(code, reason, format, sizes...).At("guards.limits." + key)
}

// targetLength is the length of path and query as they are written for the server.
func targetLength(r *canon.Request) int {
	n := len(r.Path)
	for _, p := range r.Query {
		n += 2 + escapedLength(p.Name) + escapedLength(p.Value) // "?" or "&", and "="
	}
	return n
}

// escapedLength counts three bytes for each byte that is not unreserved (RFC 3986, 2.3).
func escapedLength(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			n += 2
		}
	}
	return n
}

func cookieBytes(r *canon.Request) int {
	n := 0
	for _, c := range r.Cookies {
		n += len(c.Name) + 1 + len(c.Value)
	}
	return n
}
