package bearer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/introspect"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// isOpaque tells that a token is no JWT, and can be one that only its issuer understands: the characters of RFC 6750 section
// 2.1. What looks like a JWT, or like a part of one, is none of these: it says who signed it, and is shown to nobody. Neither is
// an API key of the gateway's own, sent in the wrong field.
func isOpaque(token string) bool {
	switch dots := strings.Count(token, "."); {
	case dots == 2, dots == 4, dots > 0 && strings.HasPrefix(token, "eyJ"):
		return false
	}
	if _, _, key := apikey.In(token); key {
		return false
	}
	text := strings.TrimRight(token, "=")
	return text != "" && len(token) <= MaxToken && strings.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~+/", r))
	}) < 0
}

// introspect checks the section and makes ready to ask.
func (c Issuer) introspect(t *trusted, origin keys.Origin, tools Tools) error {
	if c.Introspection == nil {
		return nil
	}
	var wrong mistake.List
	wrong.Under("", c.Introspection.Check())
	u, err := keys.CheckURL(c.Introspection.URL, true)
	if err != nil {
		wrong.Add("url", "url: "+secure(c.Introspection.URL), "%v", err)
		return wrong
	}
	if err := keys.CheckHost(u.Hostname(), origin.Private); err != nil {
		wrong.Add("url", "", "%v; allow_private of the issuer with its accept_risk permits that", err)
	}
	resolve := tools.Secret
	if resolve == nil {
		resolve = secret.Ref.Resolve
	}
	password := func() (secret.Value, error) { return resolve(c.Introspection.Secret) }
	if _, err := password(); err != nil && !errors.Is(err, secret.ErrElsewhere) {
		wrong.Add("secret", "", "%v", err)
	}
	client, err := tools.Keys.Client(origin, u)
	if err != nil {
		wrong.Add("url", "", "%v", err)
	}
	t.asker = introspect.New(*c.Introspection, client, password)
	return wrong.Err()
}

// ask has the issuer say what an opaque token is, and judges that as it judges what a JWT says of itself.
func (t *trusted) ask(ctx context.Context, token string, now time.Time) (*entry, gate.Verdict) {
	claims, err := t.asker.Ask(ctx, token)
	switch {
	case errors.Is(err, introspect.ErrInactive):
		return nil, bad(Inactive, "%s says that the token is not active", t.name).At(t.place + ".introspection")
	case err != nil:
		return nil, gate.Deny(gate.Unavailable, IssuerSilent, "%s can't be asked about the token: %v", t.name, err).At(t.place+".introspection").With("Retry-After", "5")
	}
	if name, has := claims["iss"]; has && name != t.name {
		return nil, bad(UnknownIssuer, "%s says that the token is of another issuer", t.name).At(t.place + ".introspection")
	}
	if v := t.judgeUse(claims); !v.Allowed() {
		return nil, v
	}
	if v := t.judgeAudience(claims); !v.Allowed() {
		return nil, v
	}
	a, v := t.judgeTime(claims, now)
	if !v.Allowed() {
		return nil, v
	}
	if a, v = t.identify(named(claims, token), a); !v.Allowed() {
		return nil, v
	}
	if soon := now.Add(t.asker.Cache()); soon.Before(a.until) {
		a.until = soon
	}
	return &entry{principal: &a.principal, from: a.from, until: a.until}, v
}

// judgeUse refuses what the issuer doesn't say is an access token, shown in a way that is checked here: issuers answer for
// refresh tokens too.
func (t *trusted) judgeUse(claims map[string]any) gate.Verdict {
	for name, known := range map[string][]string{"token_use": {"access", "access_token"}, "token_type": {"bearer", "dpop"}} {
		value, has := claims[name]
		word, _ := value.(string)
		if has && !slices.Contains(known, strings.ToLower(word)) {
			return bad(Type, "%s says that the token's %s is %q", t.name, name, cut(word)).At(t.place + ".introspection")
		}
	}
	if kind, _ := claims["token_type"].(string); strings.EqualFold(kind, "DPoP") {
		if _, bound := claims["cnf"]; !bound {
			return bad(Type, "%s says that the token is bound to a key, and not to which", t.name).At(t.place + ".introspection")
		}
	}
	return judgePurpose(claims)
}

// named adds what an issuer may leave out of its answer: a client that acts for itself is its own subject (RFC 9068 section
// 2.2 says so of JWTs), and the digest of a token stands for its id, so that it can be called back and counts once.
func named(claims map[string]any, token string) map[string]any {
	claims = maps.Clone(claims) // others were given the same answer
	if _, has := claims["sub"]; !has {
		claims["sub"] = claims["client_id"]
	}
	if _, has := claims["jti"]; !has {
		sum := sha256.Sum256([]byte(token))
		claims["jti"] = "sha256-" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return claims
}
