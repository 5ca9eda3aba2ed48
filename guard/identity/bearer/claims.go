package bearer

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
)

// maxSubject is the longest subject in bytes (OpenID Connect Core 1.0 section 2).
const maxSubject = 255

// accepted is what a verified token says: who calls, and from when until when that holds with the clocks' difference.
type accepted struct {
	principal   gate.Principal
	from, until time.Time
}

// judge decides whether verified claims are meant for this API, now. The signature has been verified before: nothing is
// said of claims that somebody else wrote (row E36).
func (t *trusted) judge(kind string, claims map[string]any, now time.Time) (accepted, gate.Verdict) {
	if v := t.judgeKind(kind, claims); !v.Allowed() {
		return accepted{}, v
	}
	if v := t.judgeAudience(claims); !v.Allowed() {
		return accepted{}, v
	}
	a, v := t.judgeTime(claims, now)
	if !v.Allowed() {
		return accepted{}, v
	}
	return t.identify(claims, a)
}

// judgeKind refuses tokens that the same issuer signed with the same key for another purpose (row E4).
func (t *trusted) judgeKind(kind string, claims map[string]any) gate.Verdict {
	word := kind
	if word == "" {
		word = absent
	}
	if !slices.Contains(t.kinds, word) {
		return bad(Type, "the token's typ is %q; %s accepts %s", cut(word), t.name, strings.Join(t.kinds, ", ")).
			At(t.place + ".typ").Fixed("typ: [" + strings.Join(append(slices.Clone(t.kinds), quote(word)), ", ") + "]  # " + t.place)
	}
	if kind == "at+jwt" {
		return gate.Allow()
	}
	return judgePurpose(claims)
}

// judgePurpose refuses what says by its claims that it is no access token.
func judgePurpose(claims map[string]any) gate.Verdict {
	for _, name := range []string{"at_hash", "c_hash", "s_hash", "events"} {
		if _, has := claims[name]; has {
			return bad(Type, "the token has %s: it is an ID token or an event, not an access token", name)
		}
	}
	use, _ := claims["token_use"].(string)
	inner, _ := claims["typ"].(string)
	for _, word := range []string{use, inner} {
		switch strings.ToLower(word) {
		case "id", "refresh", "offline", "logout":
			return bad(Type, "the token says that it is a token of kind %q, not an access token", word)
		}
	}
	return gate.Allow()
}

// judgeAudience demands that this API is among those the token is meant for (row E7).
func (t *trusted) judgeAudience(claims map[string]any) gate.Verdict {
	value, has := claims["aud"]
	if !has {
		return bad(WrongAudience, "the token has no aud: it isn't meant for this API").At(t.place + ".audience")
	}
	meant, ok := words(value)
	if !ok {
		return bad(Claims, "aud is not a string or a list of strings")
	}
	for _, name := range meant {
		if slices.Contains(t.audience, name) {
			return gate.Allow()
		}
	}
	v := bad(WrongAudience, "the token is meant for %s; this API is %s", cut(strings.Join(meant, ", ")), strings.Join(t.audience, ", ")).
		At(t.place + ".audience")
	if len(meant) == 1 {
		v = v.Fixed("audience: [" + strings.Join(append(slices.Clone(t.audience), quote(meant[0])), ", ") + "]  # " + t.place)
	}
	return v
}

// judgeTime demands a whole exp in the future, and nbf and iat, where present, not in the future (row E8).
func (t *trusted) judgeTime(claims map[string]any, now time.Time) (accepted, gate.Verdict) {
	expires, ok := jws.Seconds(claims["exp"])
	if !ok {
		return accepted{}, bad(Claims, "exp is missing or not a whole number of seconds")
	}
	a := accepted{until: expires.Add(t.skew)}
	a.principal.Expires = expires
	if !now.Before(a.until) {
		return accepted{}, bad(Expired, "the token expired %s ago", now.Sub(expires).Truncate(time.Second))
	}
	for _, name := range []string{"nbf", "iat"} {
		value, has := claims[name]
		if !has {
			continue
		}
		begins, ok := jws.Seconds(value)
		if !ok {
			return accepted{}, bad(Claims, "%s is not a whole number of seconds", name)
		}
		begins = begins.Add(-t.skew)
		if now.Before(begins) {
			return accepted{}, bad(NotYet, "%s lies %s in the future, more than the clock skew of %s; is a clock wrong?", name,
				begins.Add(t.skew).Sub(now).Truncate(time.Second), t.skew)
		}
		if begins.After(a.from) {
			a.from = begins
		}
	}
	return a, gate.Allow()
}

// identify fills in who is calling.
func (t *trusted) identify(claims map[string]any, a accepted) (accepted, gate.Verdict) {
	p := &a.principal
	p.Issuer, p.Claims = t.name, claims
	var ok bool
	if p.Subject, ok = claims["sub"].(string); !ok || !printable(p.Subject) || len(p.Subject) > maxSubject {
		return accepted{}, bad(Claims, "sub is missing, empty, longer than %d bytes or not printable", maxSubject)
	}
	if p.Token, ok = text(claims, "jti"); !ok {
		return accepted{}, bad(Claims, "jti is not a string")
	}
	for _, name := range []string{"client_id", "azp"} {
		client, ok := text(claims, name)
		if !ok || client != "" && !printable(client) {
			return accepted{}, bad(Claims, "%s is not a printable string", name)
		}
		if p.Client == "" {
			p.Client = client
		}
	}
	if value, has := t.roles.find(claims); has {
		if p.Roles, ok = words(value); !ok || !all(p.Roles, printable) {
			return accepted{}, bad(Claims, "roles at %s are not a list of printable names", t.roles).At(t.place + ".roles")
		}
	}
	for _, where := range t.scopes {
		value, has := where.find(claims)
		if !has {
			continue
		}
		if p.Scopes, ok = scopes(value); !ok {
			return accepted{}, bad(Claims, "scopes at %s are not scope names (RFC 6749 section 3.3)", where).At(t.place + ".scopes")
		}
		break
	}
	return a, gate.Allow()
}

// words reads a string or a list of strings.
func words(value any) ([]string, bool) {
	switch v := value.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, len(v))
		for i, item := range v {
			var ok bool
			if list[i], ok = item.(string); !ok {
				return nil, false
			}
		}
		return list, true
	}
	return nil, false
}

// scopes reads a string of names with one space between, or a list of names.
func scopes(value any) ([]string, bool) {
	var list []string
	if s, ok := value.(string); ok {
		list = strings.Fields(s)
	} else if list, ok = words(value); !ok {
		return nil, false
	}
	return list, all(list, func(name string) bool {
		return name != "" && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) < 0
	})
}

func all(list []string, good func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !good(s) })
}

// printable refuses the empty string and every control, format and line character: names end up in logs and headers.
func printable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// quote writes a word for a YAML list.
func quote(word string) string {
	if strings.IndexFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./+", r))
	}) < 0 {
		return word
	}
	return strconv.Quote(cut(word))
}

// path is where a claim lies.
type path []string

// parsePath reads a claim's name. Dots lead into objects, as in realm_access.roles; a name that is a URL is one name.
func parsePath(name string) path {
	if strings.Contains(name, "://") {
		return path{name}
	}
	return strings.Split(name, ".")
}

func (p path) String() string { return strings.Join(p, ".") }

// find walks the claims; a missing step means that there is no such claim.
func (p path) find(claims map[string]any) (any, bool) {
	var value any = claims
	for _, step := range p {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[step]; !ok {
			return nil, false
		}
	}
	return value, len(p) > 0
}
