// Package bearer reads the credential "Authorization: Bearer" (RFC 6750) or "Authorization: DPoP" (RFC 9449) as a signed
// JSON Web Token (RFC 7519, RFC 9068).
// It promises that a token is believed only when one of the configured issuers signed it, with a key and an algorithm that
// this issuer published for that, as an access token, for this API, for now; that a token has one spelling; that nothing is
// said of claims before the signature holds; and that a client learns nothing of why it was refused. What it stops stands
// in the adversary rows E1 to E9, E23 to E27, E29 to E32 and E36.
package bearer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/go-jose/go-jose/v4"
)

// Tools is what a reader needs from outside.
type Tools struct {
	Now      func() time.Time
	Keys     *keys.Source // outlives reloads
	Verified *Cache       // outlives reloads; nil: every token is verified each time
	API      string       // name of the API that the tokens open
	Policy   string       // version of the document: another version verifies anew

	Secret func(secret.Ref) (secret.Value, error) // what a reference refers to now; nil is Ref.Resolve

	Binding binding.Check // what bound tokens must prove with each request
}

// Reader reads bearer tokens of the configured issuers. Without issuers it refuses every token.
type Reader struct {
	now     func() time.Time
	issuers []*trusted
	opaque  *trusted // who is asked about tokens that are no JWT; nil: nobody
	cache   *Cache
	scope   [sha256.Size]byte
	binding binding.Check
}

// New checks the issuers and opens their keys. Paths of mistakes begin with the issuer's place in the list, as in
// "[0].audience".
func New(list []Issuer, tools Tools) (*Reader, error) {
	if tools.Now == nil {
		return nil, mistake.List{{What: "no clock is given"}}
	}
	var wrong mistake.List
	r := &Reader{now: tools.Now, cache: tools.Verified, binding: tools.Binding}
	parts := []string{tools.API, tools.Policy}
	for i, c := range list {
		place := fmt.Sprintf("[%d]", i)
		if slices.ContainsFunc(list[:i], func(o Issuer) bool { return o.Issuer == c.Issuer }) {
			wrong.Add(place+".issuer", "", "issuer %q stands twice; give one entry both audiences", c.Issuer)
			continue
		}
		t, err := c.compile("issuers"+place, tools.Now(), tools)
		wrong.Under(place, err)
		r.issuers = append(r.issuers, t)
		parts = append(parts, fmt.Sprintf("%q %q %q %q %q %q %s", t.name, t.audience, t.algorithms, t.kinds, t.roles, t.scopes, t.skew))
		if c.Introspection == nil {
			continue
		}
		if r.opaque != nil {
			wrong.Add(place+".introspection", "", "%s has one too; a token that is no JWT doesn't say whose it is, and would be shown to both", r.opaque.name)
		}
		r.opaque = t
		parts = append(parts, fmt.Sprintf("%q %q", c.Introspection.URL, c.Introspection.Client))
	}
	r.scope = scopeOf(parts...)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// Issuers names those that are trusted, in the order of the document.
func (r *Reader) Issuers() []string {
	names := make([]string, len(r.issuers))
	for i, t := range r.issuers {
		names[i] = t.name
	}
	return names
}

// Read looks for the credential and judges it. Found says that there is one, good or bad: a bad one is never the same as
// none (row E32). A token in a query or a form is no credential.
func (r *Reader) Read(ctx context.Context, x *gate.Exchange) (*gate.Principal, bool, gate.Verdict) {
	token, proven, found, v := credential(x.Request.Fields)
	if !found || !v.Allowed() {
		return nil, found, v
	}
	p, v := r.known(ctx, token)
	if !v.Allowed() {
		return nil, true, v
	}
	if v := r.binding.Verify(ctx, x, binding.Shown{Token: token, Proven: proven, Claims: p.Claims}); !v.Allowed() {
		return nil, true, v
	}
	return p, true, gate.Allow()
}

// known gives who the token stands for, from the cache where it was verified before.
func (r *Reader) known(ctx context.Context, token string) (*gate.Principal, gate.Verdict) {
	now, key := r.now(), keyOf(r.scope, token)
	if p := r.cache.get(key, now); p != nil {
		return p, gate.Allow()
	}
	e, v := r.verify(ctx, token, now)
	if !v.Allowed() {
		return nil, v
	}
	r.cache.put(key, e, now)
	return e.principal, v
}

// credential takes the token out of the only place where it may stand: one Authorization field, the scheme Bearer or DPoP in
// any case, one space, the token. Proven says that the scheme is DPoP.
func credential(fields http.Header) (token string, proven, found bool, v gate.Verdict) {
	values := fields["Authorization"]
	if len(values) == 0 {
		return "", false, false, gate.Allow()
	}
	rest, found := "", false
	for _, value := range values {
		if after, ok := cutScheme(value, "Bearer"); ok {
			rest, found = after, true
		} else if after, ok := cutScheme(value, "DPoP"); ok {
			rest, found, proven = after, true, true
		}
	}
	switch {
	case !found:
		return "", false, false, gate.Allow()
	case len(values) > 1:
		return "", proven, true, bad(Malformed, "%d Authorization fields", len(values))
	case len(rest) > MaxToken+1:
		return "", proven, true, bad(TooLong, "the token has %d bytes; %d are accepted", len(rest)-1, MaxToken)
	case len(rest) < 2 || rest[0] != ' ':
		return "", proven, true, bad(Malformed, "Authorization is not Bearer or DPoP, one space and a token")
	}
	return rest[1:], proven, true, gate.Allow()
}

// cutScheme takes the name of a scheme off a field of that scheme, whether a token follows or not.
func cutScheme(value, name string) (rest string, ok bool) {
	if len(value) < len(name) || !strings.EqualFold(value[:len(name)], name) || len(value) > len(name) && letter(value[len(name)]) {
		return "", false
	}
	return value[len(name):], true
}

// letter tells that a scheme's name goes on (RFC 9110 section 5.6.2).
func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// verify does the whole work for a token that isn't known: form, header, issuer, key, signature, and only then the claims.
func (r *Reader) verify(ctx context.Context, token string, now time.Time) (*entry, gate.Verdict) {
	if r.opaque != nil && isOpaque(token) {
		return r.opaque.ask(ctx, token, now)
	}
	parts, v := split(token)
	if !v.Allowed() {
		return nil, v
	}
	head, v := readHeader(parts.Header)
	if !v.Allowed() {
		return nil, v
	}
	if !slices.Contains(jws.Algorithms(), head.algorithm) {
		return nil, bad(Algorithm, "the token asks for algorithm %q", cut(string(head.algorithm)))
	}
	claims, err := jws.Object(parts.Payload)
	if err != nil {
		return nil, bad(Malformed, "the token's payload: %v", err)
	}
	t, v := r.issuerOf(claims)
	if !v.Allowed() {
		return nil, v
	}
	set, v := t.verify(ctx, parts, head, now)
	if !v.Allowed() {
		return nil, v
	}
	a, v := t.judge(head.kind, claims, now)
	if !v.Allowed() {
		return nil, v
	}
	return &entry{principal: &a.principal, ring: t.ring, set: set, from: a.from, until: a.until}, v
}

// issuerOf chooses whose keys are to be tried. The claim isn't believed yet: it is only compared (row E9).
func (r *Reader) issuerOf(claims map[string]any) (*trusted, gate.Verdict) {
	name, ok := claims["iss"].(string)
	if !ok {
		return nil, bad(UnknownIssuer, "the token names no issuer")
	}
	for _, t := range r.issuers {
		if t.name == name {
			return t, gate.Allow()
		}
	}
	for _, t := range r.issuers {
		if strings.TrimSuffix(t.name, "/") == strings.TrimSuffix(name, "/") {
			return nil, bad(UnknownIssuer, "the token names an issuer that differs from %s in its last slash only", t.name)
		}
	}
	return nil, bad(UnknownIssuer, "the token names the issuer %q, which is not configured", cut(name))
}

// verify checks the signature with the issuer's keys and gives the set that they come from.
func (t *trusted) verify(ctx context.Context, parts jws.Compact, head header, now time.Time) (*keys.Set, gate.Verdict) {
	if !slices.Contains(t.algorithms, head.algorithm) {
		return nil, bad(Algorithm, "the token asks for %s, which is not accepted of %s", head.algorithm, t.name).At(t.place + ".algorithms")
	}
	found, set, err := t.ring.Find(ctx, now, head.key, head.algorithm)
	switch {
	case errors.Is(err, keys.ErrUnavailable):
		return nil, gate.Deny(gate.Unavailable, KeysUnavailable, "no keys of %s: %v", t.name, err).At(t.place).With("Retry-After", "5")
	case err != nil:
		return nil, bad(KeyUnknown, "%s has no key %q for %s", t.name, cut(head.key), head.algorithm).At(t.place)
	}
	signed, err := jose.ParseSignedCompact(parts.Text, []jose.SignatureAlgorithm{head.algorithm})
	if err != nil {
		return nil, bad(Malformed, "the token is not a signed message")
	}
	for _, key := range found {
		if _, err := signed.Verify(key.Public); err == nil {
			return set, gate.Allow()
		}
	}
	return nil, bad(Signature, "the token is not signed by key %q of %s", cut(head.key), t.name).At(t.place)
}
