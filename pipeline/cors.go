package pipeline

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// CORS says which web origins may call an API from a browser. None by default. Gatehouse answers preflights itself, from
// the contract's methods, and removes what servers say of CORS: one voice, never a reflected origin.
type CORS struct {
	// Origins such as https://shop.example. "*" admits every origin, without credentials.
	Origins []string `yaml:"origins"`
	// Whether a browser may send cookies along. Default false; cannot go with "*".
	Credentials bool `yaml:"credentials"`
	// Request fields that a script may set, besides the ones every script may. Default: Authorization, Content-Type.
	Fields []string `yaml:"fields"`
	// Answer fields that a script may read.
	Expose []string `yaml:"expose"`
}

// check lists the mistakes of the section.
func (c CORS) check() error {
	var m mistake.List
	for i, o := range c.Origins {
		place := fmt.Sprintf("origins[%d]", i)
		if o == "*" {
			if c.Credentials {
				m.Add(place, "", "every origin with credentials would let any web page act for your users: list the origins")
			}
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != o || strings.ToLower(o) != o || strings.Contains(o, "*") {
			m.Add(place, "https://shop.example", "%q is no web origin: scheme and host in lower case, a port if needed, nothing after it", o)
		}
	}
	checkNames(&m, "fields", c.Fields)
	checkNames(&m, "expose", c.Expose)
	return m.Err()
}

// checkNames refuses what is no name of a field, "*" too: with credentials it means nothing, without them it means all.
func checkNames(m *mistake.List, key string, names []string) {
	for i, name := range names {
		place := fmt.Sprintf("%s[%d]", key, i)
		switch {
		case name == "*":
			m.Add(place, "X-Request-Id", "every field cannot be allowed: list them")
		case name == "" || strings.ContainsFunc(name, notInName):
			m.Add(place, "X-Request-Id", "%q is no name of a field", name)
		}
	}
}

// notInName: letters, digits and hyphens are all that a field needs in its name (RFC 9110 section 5.1 admits more).
func notInName(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// admits tells whether scripts of the origin may read answers.
func (c CORS) admits(origin string) bool {
	return origin != "" && (slices.Contains(c.Origins, origin) || slices.Contains(c.Origins, "*"))
}

// preflight tells whether the request is a browser's question before the real one.
func preflight(method string, fields http.Header) bool {
	return method == http.MethodOptions && fields.Get("Origin") != "" && fields.Get("Access-Control-Request-Method") != ""
}

// answerPreflight makes the fields of the answer, or denies. allow are the methods declared for the path.
func (c CORS) answerPreflight(fields http.Header, allow []string) (http.Header, gate.Verdict) {
	origin, method := fields.Get("Origin"), fields.Get("Access-Control-Request-Method")
	if !c.admits(origin) {
		return nil, gate.Deny(gate.BadOrigin, "cors.origin", "web origin %s is not listed", gate.Mask(origin)).At("cors.origins")
	}
	if !slices.Contains(allow, method) {
		return nil, gate.Deny(gate.MethodNotAllowed, "cors.method", "the contract declares no %.20q here", method).With("Allow", join(allow))
	}
	answer := http.Header{"Access-Control-Allow-Methods": {method}, "Access-Control-Max-Age": {"600"}}
	c.mark(answer, origin)
	if asked := fields.Get("Access-Control-Request-Headers"); asked != "" {
		known := c.Fields
		if known == nil {
			known = []string{"Authorization", "Content-Type"}
		}
		for _, f := range strings.Split(asked, ",") {
			f = strings.TrimSpace(f)
			if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, f) }) {
				return nil, gate.Deny(gate.BadOrigin, "cors.field", "field %.40q is not listed", f).At("cors.fields").Fixed("fields: [" + strings.Join(known, ", ") + ", ...]")
			}
		}
		answer.Set("Access-Control-Allow-Headers", strings.Join(known, ", "))
	}
	return answer, gate.Allow()
}

// mark puts the fields of a plain answer: only a listed origin is named.
func (c CORS) mark(answer http.Header, origin string) {
	if len(c.Origins) == 0 {
		return
	}
	answer.Add("Vary", "Origin")
	if !c.admits(origin) {
		return
	}
	if slices.Contains(c.Origins, "*") {
		origin = "*"
	}
	answer.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		answer.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.Expose) > 0 {
		answer.Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
	}
}
