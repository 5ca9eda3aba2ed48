package oidc

import (
	"context"
	"crypto"
	_ "crypto/sha256" // at_hash
	_ "crypto/sha512" // at_hash
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
)

// Bounds of when a token was made.
const (
	idAge     = 10 * time.Minute // an ID token comes in answer to a question
	logoutAge = 2 * time.Minute  // OpenID Connect Back-Channel Logout 1.0 section 2.6
)

// signed is a token whose signature holds.
type signed struct {
	claims    map[string]any
	algorithm jose.SignatureAlgorithm
}

// open verifies a token's signature. Kinds are the values of typ that it may have, in lower case, without "application/"; "" is
// none. They are named rather than those that must not be: the provider signs access tokens, logout tokens and whatever comes
// next with the same keys (RFC 8725 section 3.11).
func (p *Provider) open(ctx context.Context, token string, kinds ...string) (signed, error) {
	parts, err := jws.Split(token)
	if err != nil {
		return signed{}, invalid("it is no signed message: %w", err)
	}
	head, err := jws.Object(parts.Header)
	if err != nil {
		return signed{}, invalid("its header: %w", err)
	}
	for _, member := range []string{"crit", "b64", "zip", "enc", "cty"} {
		if _, has := head[member]; has {
			return signed{}, invalid("its header has %s, which asks for what is not done", member)
		}
	}
	kind, ok := text(head, "typ")
	if kind = strings.TrimPrefix(strings.ToLower(kind), "application/"); !ok || !slices.Contains(kinds, kind) {
		return signed{}, invalid("its typ is %q: it was made for another purpose", cut(kind))
	}
	name, _ := head["alg"].(string)
	algorithm := jose.SignatureAlgorithm(name)
	if !slices.Contains(p.cfg.Algorithms, algorithm) {
		return signed{}, invalid("its algorithm is %q, which is not accepted", cut(name))
	}
	id, ok := text(head, "kid")
	if !ok {
		return signed{}, invalid("its kid is not a string")
	}
	claims, err := jws.Object(parts.Payload)
	if err != nil {
		return signed{}, invalid("its payload: %w", err)
	}
	found, err := p.cfg.Keys.Find(ctx, p.cfg.Now(), id, algorithm)
	switch {
	case errors.Is(err, ErrUnavailable) || err != nil && ctx.Err() != nil:
		return signed{}, unavailable("the keys of %s could not be had: %w", p.cfg.Issuer, err)
	case err != nil:
		return signed{}, invalid("%s has no key %q for %s", p.cfg.Issuer, cut(id), name)
	}
	for _, key := range found {
		if key.Verify(parts, algorithm) == nil {
			return signed{claims, algorithm}, nil
		}
	}
	return signed{}, invalid("it is not signed by the key %q of %s", cut(id), p.cfg.Issuer)
}

// meant demands that a token is of this provider, for this client, and of now: made no longer than age ago; with expires, exp
// must stand there. It gives when the token was made, and from when it counts no more.
func (p *Provider) meant(claims map[string]any, age time.Duration, expires bool) (made, ends time.Time, err error) {
	if issuer, _ := claims["iss"].(string); issuer != p.cfg.Issuer {
		return made, ends, invalid("its issuer is %q, not %q", cut(issuer), p.cfg.Issuer)
	}
	audience, ok := words(claims["aud"])
	if !ok || !slices.Contains(audience, p.cfg.ClientID) {
		return made, ends, invalid("it is not meant for the client %.60q (aud)", p.cfg.ClientID)
	}
	now, skew := p.cfg.Now(), p.cfg.ClockSkew
	if made, ok = jws.Seconds(claims["iat"]); !ok {
		return made, ends, invalid("iat is missing or not a whole number of seconds")
	}
	if made.After(now.Add(skew)) {
		return made, ends, invalid("it was made %s ahead of our clock; is a clock wrong?", made.Sub(now).Truncate(time.Second))
	}
	if ends = made.Add(age + skew); !now.Before(ends) {
		return made, ends, invalid("it was made %s ago; %s is taken, and %s for the clocks", now.Sub(made).Truncate(time.Second), age, skew)
	}
	if value, has := claims["exp"]; has || expires {
		until, ok := jws.Seconds(value)
		if !ok {
			return made, ends, invalid("exp is missing or not a whole number of seconds")
		}
		if until = until.Add(skew); !now.Before(until) {
			return made, ends, invalid("it has expired")
		}
		if until.Before(ends) {
			ends = until
		}
	}
	if value, has := claims["nbf"]; has {
		if from, ok := jws.Seconds(value); !ok || from.After(now.Add(skew)) {
			return made, ends, invalid("it does not count yet, or nbf is not a whole number of seconds")
		}
	}
	return made, ends, nil
}

// demand is what an ID token must hold beside what each must.
type demand struct {
	Want
	nonce   string // of a login
	subject string // of a renewal
}

// identify verifies the ID token among the tokens, and says of them what it says.
func (p *Provider) identify(ctx context.Context, t *Tokens, want demand) error {
	s, err := p.open(ctx, t.ID, "", "jwt")
	if err == nil {
		err = p.judge(t, s, want)
	}
	if errors.Is(err, ErrInvalid) {
		return invalid("the ID token: %w", err)
	}
	return err
}

// judge decides by the claims (OpenID Connect Core 1.0 sections 3.1.3.7, 3.1.3.8 and 12.2).
func (p *Provider) judge(t *Tokens, s signed, want demand) error {
	if _, _, err := p.meant(s.claims, idAge, true); err != nil {
		return err
	}
	audience, _ := words(s.claims["aud"])
	if azp, has := s.claims["azp"]; has && azp != p.cfg.ClientID || !has && len(audience) > 1 {
		return invalid("it was given to another than the client %.60q, or it is meant for several and does not say to whom (azp)", p.cfg.ClientID)
	}
	if nonce, _ := s.claims["nonce"].(string); want.subject == "" && (want.nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(want.nonce)) != 1) {
		return invalid("its nonce is not that of the login which this browser began")
	}
	if _, is := s.claims["events"]; is {
		return invalid("it is an event, such as a logout token")
	}
	if hash, has := s.claims["at_hash"]; has && hash != halfOf(s.algorithm, t.Access) {
		return invalid("its at_hash is of another access token")
	}
	if err := fill(t, s.claims); err != nil {
		return err
	}
	if want.subject != "" && t.Subject != want.subject {
		return invalid("it is of another user than the one who is logged in")
	}
	return p.authenticated(t, want.Want)
}

// fill says of the tokens what the claims say.
func fill(t *Tokens, claims map[string]any) error {
	var ok bool
	if t.Subject, ok = claims["sub"].(string); !ok || !name(t.Subject) {
		return invalid("sub is missing, empty, longer than %d bytes or not printable", maxText)
	}
	for member, to := range map[string]*string{"sid": &t.SessionID, "acr": &t.ACR} {
		if *to, ok = text(claims, member); !ok || *to != "" && !name(*to) {
			return invalid("%s is not a printable string", member)
		}
	}
	if value, has := claims["amr"]; has {
		if t.AMR, ok = words(value); !ok || slices.ContainsFunc(t.AMR, func(s string) bool { return !name(s) }) {
			return invalid("amr is not a list of printable names")
		}
	}
	if value, has := claims["auth_time"]; has {
		if t.AuthTime, ok = jws.Seconds(value); !ok {
			return invalid("auth_time is not a whole number of seconds")
		}
	}
	t.Claims = claims
	return nil
}

// authenticated demands what was asked for of how, and how long ago, the user was authenticated.
func (p *Provider) authenticated(t *Tokens, want Want) error {
	now, skew := p.cfg.Now(), p.cfg.ClockSkew
	switch {
	case t.AuthTime.After(now.Add(skew)):
		return invalid("the user was authenticated in the future; is a clock wrong?")
	case want.MaxAge != nil && t.AuthTime.IsZero():
		return invalid("it does not say when the user was authenticated (auth_time), which was asked for")
	case want.MaxAge != nil && now.Sub(t.AuthTime) > *want.MaxAge+skew:
		return invalid("the user was authenticated %s ago; %s was asked for", now.Sub(t.AuthTime).Truncate(time.Second), *want.MaxAge)
	case len(want.ACR) > 0 && !slices.Contains(want.ACR, t.ACR):
		return invalid("the user was authenticated by %q; one of %s was asked for", cut(t.ACR), strings.Join(want.ACR, ", "))
	}
	return nil
}

// halfOf is the left half of a token's digest, by the hash of the algorithm (OpenID Connect Core 1.0 section 3.1.3.6).
func halfOf(algorithm jose.SignatureAlgorithm, token string) string {
	hash := crypto.SHA256
	switch {
	case algorithm == jose.EdDSA || strings.HasSuffix(string(algorithm), "512"):
		hash = crypto.SHA512 // that of Ed25519 itself
	case strings.HasSuffix(string(algorithm), "384"):
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write([]byte(token))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// text reads a member that is a string or not there.
func text(object map[string]any, member string) (string, bool) {
	value, has := object[member]
	s, ok := value.(string)
	return s, ok || !has
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
