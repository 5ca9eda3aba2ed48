package bearer

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/introspect"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/go-jose/go-jose/v4"
)

// Clock skew in claims about time.
const (
	DefaultSkew = 30 * time.Second // where the document says nothing
	maxSkew     = 60 * time.Second
)

// absent is the word for a token without typ.
const absent = "absent"

// Issuer is one party whose tokens are believed, and what they must look like. It is part of the document.
type Issuer struct {
	// Who signs: the URL that stands in the tokens' iss, to the letter. Its keys are found at
	// /.well-known/openid-configuration below it, over https; http is accepted for a loopback host only.
	Issuer string `yaml:"issuer,public"`
	// Name of this API in the tokens' aud, or a list of names of which a token must carry one. Required, no default:
	// without it, a token that the same issuer made for any other service would be accepted here.
	Audience Names `yaml:"audience,public"`
	// Where the caller's roles lie in the token. Dots lead into objects, as in realm_access.roles; a name with "://" is
	// one name. Default roles.
	Roles string `yaml:"roles,public"`
	// Where the caller's scopes lie in the token: a string with spaces between or a list. Default scope, else scp.
	Scopes string `yaml:"scopes,public"`
	// Signature algorithms that are accepted, each only with keys that fit it. Default: RS256, RS384, RS512, PS256,
	// PS384, PS512, ES256, ES384, ES512, EdDSA. None and shared keys (HS256 and its kin) don't exist.
	Algorithms []string `yaml:"algorithms,nonempty"`
	// Kinds of token that are accepted, by typ in their header; "absent" accepts tokens without one.
	// Default at+jwt and JWT.
	Kinds []string `yaml:"typ,nonempty"`
	// Where the keys are, when not where the issuer says: an https URL or a file on this machine, holding a JWK Set.
	Keys string `yaml:"keys,public"`
	// File with the certificates (PEM) of the authorities that may vouch for the issuer's server. Default: the system's.
	CA string `yaml:"ca,public"`
	// How much the issuer's clock may differ from ours. Default 30s, at most 60s.
	ClockSkew time.Duration `yaml:"clock_skew"`
	// Asks the issuer about tokens that are no JWT (RFC 7662). One issuer of an API may have it: such a token doesn't say whose
	// it is, and is shown to nobody else. Default: tokens that are no JWT are refused.
	Introspection *introspect.Config `yaml:"introspection"`
	// Permits that the issuer's server has a private address, with the reason. Without it, keys are fetched from public
	// addresses only, or from a loopback host that is written as such.
	AllowPrivate gate.Risk `yaml:"allow_private"`

	ring *keys.Ring // given: nothing is fetched
}

// Names is a list of names; in a document, a single one may stand for itself.
type Names []string

// UnmarshalText reads the short form: one name.
func (n *Names) UnmarshalText(text []byte) error {
	*n = Names{string(text)}
	return nil
}

// Given is an issuer whose keys are at hand, such as the development issuer.
func Given(name, audience string, ring *keys.Ring) Issuer {
	return Issuer{Issuer: name, Audience: Names{audience}, Kinds: []string{"at+jwt"}, ring: ring}
}

// trusted is an Issuer after everything was checked.
type trusted struct {
	name       string
	place      string // in the document
	audience   []string
	algorithms []jose.SignatureAlgorithm
	kinds      []string
	roles      path
	scopes     []path
	skew       time.Duration
	ring       *keys.Ring
	asker      *introspect.Asker // nil: tokens that are no JWT are refused
}

// compile checks everything and opens the keys. All mistakes are told at once.
func (c Issuer) compile(place string, now time.Time, tools Tools) (*trusted, error) {
	var wrong mistake.List
	t := &trusted{name: c.Issuer, place: place, audience: c.Audience, skew: c.ClockSkew, ring: c.ring}
	c.checkNames(&wrong)
	t.algorithms = c.checkAlgorithms(&wrong)
	t.kinds = c.checkKinds(&wrong)
	t.roles = checkPath(&wrong, "roles", c.Roles, "roles")[0]
	t.scopes = checkPath(&wrong, "scopes", c.Scopes, "scope", "scp")
	switch {
	case c.ClockSkew < 0 || c.ClockSkew > maxSkew:
		wrong.Add("clock_skew", "clock_skew: 30s", "%s is not between 0s and %s", c.ClockSkew, maxSkew)
	case c.ClockSkew == 0:
		t.skew = DefaultSkew
	}
	switch r := c.AllowPrivate; {
	case r.AcceptRisk == "" && !r.Until.IsZero():
		wrong.Add("allow_private", `allow_private: {accept_risk: "why"}`, "the reason is missing")
	case r.AcceptRisk != "" && !r.Accepted(now):
		wrong.Add("allow_private.until", "", "the acceptance of this risk has ended")
	}
	origin := c.checkOrigin(&wrong, now)
	if len(wrong) > 0 || t.ring != nil {
		return t, wrong.Err()
	}
	source := tools.Keys
	if source == nil {
		wrong.Add("issuer", "", "no source of keys is given")
		return t, wrong.Err()
	}
	ring, err := source.Open(origin)
	if err != nil {
		at := "keys"
		if origin.File == "" {
			at = "ca"
		}
		wrong.Add(at, "", "%v", err)
	}
	t.ring = ring
	wrong.Under("introspection", c.introspect(t, origin, tools))
	return t, wrong.Err()
}

func (c Issuer) checkNames(wrong *mistake.List) {
	if c.Issuer == "" {
		wrong.Add("issuer", "issuer: https://idp.example.com", "the issuer has no name")
	} else if !printable(c.Issuer) || strings.ContainsRune(c.Issuer, ' ') {
		wrong.Add("issuer", "issuer: https://idp.example.com", "%q is not the URL of an issuer", c.Issuer)
	}
	if len(c.Audience) == 0 {
		wrong.Add("audience", "audience: [my-api]", "without an audience, a token made for any other service of this issuer opens this API")
	}
	for i, name := range c.Audience {
		if !printable(name) || name == "*" || strings.TrimSpace(name) != name {
			wrong.Add(fmt.Sprintf("audience[%d]", i), "audience: [my-api]", "%q is not the name of an audience; names are compared to the letter", name)
		}
	}
}

func (c Issuer) checkAlgorithms(wrong *mistake.List) []jose.SignatureAlgorithm {
	known := jws.Algorithms()
	if c.Algorithms == nil {
		return known
	}
	if len(c.Algorithms) == 0 {
		wrong.Add("algorithms", "algorithms: [RS256, ES256]", "an empty list accepts no token at all")
	}
	var list []jose.SignatureAlgorithm
	for i, name := range c.Algorithms {
		algorithm := jose.SignatureAlgorithm(name)
		if slices.Contains(known, algorithm) {
			list = append(list, algorithm)
			continue
		}
		at, names := fmt.Sprintf("algorithms[%d]", i), make([]string, len(known))
		for i, a := range known {
			names[i] = string(a)
		}
		switch {
		case strings.EqualFold(name, "none"):
			wrong.Add(at, "", "without a signature, anybody can write any token")
		case len(name) == 5 && strings.EqualFold(name[:2], "HS"):
			wrong.Add(at, "algorithms: [RS256, ES256]", "%s uses a shared key: whoever can check a token can also sign one", name)
		default:
			wrong.Add(at, mistake.Nearest(name, names), "%q is not an algorithm; known are %s", name, strings.Join(names, ", "))
		}
	}
	return list
}

func (c Issuer) checkKinds(wrong *mistake.List) []string {
	if c.Kinds == nil {
		return []string{"at+jwt", "jwt"}
	}
	if len(c.Kinds) == 0 {
		wrong.Add("typ", "typ: [at+jwt, JWT]", "an empty list accepts no token at all")
	}
	var list []string
	for i, kind := range c.Kinds {
		switch word := plain(kind); word {
		case "id_token", "logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-authz-req+jwt", "token-introspection+jwt", "client-authentication+jwt", "refresh+jwt":
			wrong.Add(fmt.Sprintf("typ[%d]", i), "typ: [at+jwt, JWT]", "%s is not a kind of access token", kind)
		case "":
			wrong.Add(fmt.Sprintf("typ[%d]", i), "absent", "a token without typ is written absent")
		default:
			list = append(list, word)
		}
	}
	return list
}

// checkPath reads where a claim lies; it always gives at least one path.
func checkPath(wrong *mistake.List, key, name string, defaults ...string) []path {
	if name != "" {
		defaults = []string{name}
	}
	list := make([]path, len(defaults))
	for i, d := range defaults {
		list[i] = parsePath(d)
		if slices.Contains(list[i], "") || !printable(d) {
			wrong.Add(key, key+": realm_access.roles", "%q is not the place of a claim", name)
		}
	}
	return list
}

// checkOrigin finds out where the keys come from.
func (c Issuer) checkOrigin(wrong *mistake.List, now time.Time) keys.Origin {
	o := keys.Origin{Issuer: c.Issuer, Private: c.AllowPrivate.Accepted(now)}
	if c.ring != nil {
		return o
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			wrong.Add("ca", "", "%v", err)
		} else if len(pem) == 0 {
			wrong.Add("ca", "", "%s is empty", c.CA)
		}
		o.CA = string(pem)
	}
	at, where := "issuer", c.Issuer
	switch {
	case strings.Contains(c.Keys, "://"):
		at, where, o.URL = "keys", c.Keys, c.Keys
	case c.Keys != "":
		o.File = c.Keys
		return o
	case c.Issuer == "":
		return o
	}
	u, err := keys.CheckURL(where, at == "keys")
	if err != nil {
		wrong.Add(at, at+": "+secure(where), "%v", err)
		return o
	}
	if err := keys.CheckHost(u.Hostname(), o.Private); err != nil {
		wrong.Add(at, `allow_private: {accept_risk: "why"}`, "%v", err)
	}
	return o
}

// secure is the same URL with https, as a suggestion.
func secure(where string) string {
	u, err := url.Parse(where)
	if err != nil || u.Host == "" {
		return "https://idp.example.com"
	}
	return (&url.URL{Scheme: "https", Host: u.Host, Path: u.Path}).String()
}
