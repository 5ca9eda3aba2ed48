package portal

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section portal. The zero Config is none: nobody signs in here.
type Config struct {
	// Where users sign in: an https origin of its own, such as https://login.example.com. No API may be reached at its host: what
	// is served there could act for whoever signs in.
	Origin string `yaml:"origin,public"`
	// Who vouches for users.
	Providers []Provider `yaml:"providers"`
	// Users of this installation's own, whom nobody else vouches for: gatehouse user invites them. Their provider's name in
	// guards.identity.sessions is local. Default: there are none.
	Local *Local `yaml:"local"`
	// How long sessions live.
	Sessions SessionConfig `yaml:"sessions"`
}

// LocalName is the name of the local users' provider.
const LocalName = "local"

// Local says that there are local users.
type Local struct {
	// What users read where they choose among several providers. Default "Local account".
	Title string `yaml:"title,public"`
}

// Provider is one OpenID provider at which users sign in.
type Provider struct {
	// Name in addresses and in guards.identity.sessions: letters, digits and hyphens. The provider must know
	// <origin>/callback/<name> as the address to which it leads users back.
	Name string `yaml:"name,required,public"`
	// What users read where they choose among several. Default: the name.
	Title string `yaml:"title,public"`
	// The provider's issuer, to the letter: its description is found at /.well-known/openid-configuration below it.
	Issuer string `yaml:"issuer,required,public"`
	// The client id that the provider gave to this gateway.
	Client string `yaml:"client,required,public"`
	// That client's secret (client_secret_basic).
	Secret secret.Ref `yaml:"secret"`
	// A private key in PEM with which the gateway signs instead (private_key_jwt). Without secret and key it is a public client,
	// which PKCE alone protects.
	Key secret.Ref `yaml:"key"`
	// What is asked for beside openid, such as profile, or offline_access, without which some providers give nothing to ask
	// them again with. What the provider grants of it, a session's caller has as scopes. Default none.
	Scopes []string `yaml:"scopes"`
	// An expression (CEL) over claims, those of the ID token, that gives the user's roles, such as
	// claims.groups.filter(g, g.startsWith("shop-")). Default none.
	Roles string `yaml:"roles"`
	// The only roles that this provider can give. One that is not named here is left out, whatever the provider says.
	Grants []string `yaml:"grants"`
	// File with the certificates (PEM) of the authorities that may vouch for the provider's server. Default: the system's.
	CA string `yaml:"ca,public"`
	// Permits that the provider's server has a private address, with the reason.
	AllowPrivate gate.Risk `yaml:"allow_private"`
}

// SessionConfig says how long sessions live.
type SessionConfig struct {
	// Without a request for this long, a session ends. Default 15m.
	Idle time.Duration `yaml:"idle"`
	// A session ends after this, whatever happens. Default 12h.
	Absolute time.Duration `yaml:"absolute"`
	// How often the provider is asked whether a user may still come in, where it gave a refresh token. After twice this without an
	// answer the session opens nothing until there is one. Default 5m.
	Confirm time.Duration `yaml:"confirm"`
	// How many sessions a user may have at once; the one that was used least lately makes room. Default 20.
	Most int `yaml:"most"`
}

// On tells that users sign in here, or that somebody means them to.
func (c Config) On() bool {
	return c.Origin != "" || len(c.Providers) > 0 || c.Local != nil || c.Sessions != SessionConfig{}
}

// WithDefaults fills in what the document leaves out.
func (c Config) WithDefaults() Config {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{{&c.Sessions.Idle, 15 * time.Minute}, {&c.Sessions.Absolute, 12 * time.Hour}, {&c.Sessions.Confirm, 5 * time.Minute}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	if c.Sessions.Most == 0 {
		c.Sessions.Most = 20
	}
	c.Origin = strings.TrimSuffix(c.Origin, "/")
	c.Providers = slices.Clone(c.Providers)
	for i := range c.Providers {
		if p := &c.Providers[i]; p.Title == "" {
			p.Title = p.Name
		}
	}
	if c.Local != nil && c.Local.Title == "" {
		c.Local = &Local{Title: "Local account"}
	}
	return c
}

// Vouchers gives what counts of each provider for the sessions that it vouches for, by its name.
func (c Config) Vouchers() map[string]session.Voucher {
	all := map[string]session.Voucher{}
	for _, p := range c.Providers {
		all[p.Name] = p.voucher()
	}
	if c.Local != nil {
		all[LocalName] = session.Voucher{Issuer: strings.TrimSuffix(c.Origin, "/"), Any: true}
	}
	return all
}

func (p Provider) voucher() session.Voucher {
	return session.Voucher{Issuer: p.Issuer, Roles: p.Grants, Scopes: append([]string{"openid"}, p.Scopes...)}
}

// Host is the host of the origin in its canonical spelling, "" when there is none.
func (c Config) Host() string {
	u, err := url.Parse(c.Origin)
	if err != nil {
		return ""
	}
	host, _, refusal := canon.Host(u.Host, u.Scheme)
	if refusal != nil {
		return ""
	}
	return host
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Check finds what is wrong with the section. Longest is how long a credential may live so that it can still be called back; 0:
// any time.
func (c Config) Check(now time.Time, longest time.Duration) error {
	if !c.On() {
		return nil
	}
	c = c.WithDefaults()
	var wrong mistake.List
	c.checkOrigin(&wrong)
	if len(c.Providers) == 0 && c.Local == nil {
		wrong.Add("providers", "providers: [{name: corp, issuer: https://idp.example.com, client: gatehouse, secret: env:OIDC_SECRET}]", "nobody vouches for users: no provider is named")
	}
	for i, p := range c.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		wrong.Under(at, p.check(now))
		if p.Name == LocalName {
			wrong.Add(at+".name", "name: corp", "local is the name of the local users")
		}
		for _, other := range c.Providers[:i] {
			if other.Name == p.Name {
				wrong.Add(at+".name", "", "two providers are named %q", p.Name)
			}
		}
	}
	s := c.Sessions
	for _, d := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
		write       string
	}{
		{"idle", s.Idle, time.Minute, 30 * 24 * time.Hour, "idle: 15m"}, {"absolute", s.Absolute, time.Minute, 30 * 24 * time.Hour, "absolute: 12h"},
		{"confirm", s.Confirm, 10 * time.Second, 24 * time.Hour, "confirm: 5m"},
	} {
		if d.value < d.least || d.value > d.most {
			wrong.Add("sessions."+d.key, d.write, "%s is not between %s and %s", d.value, d.least, d.most)
		}
	}
	if s.Idle > s.Absolute {
		wrong.Add("sessions.idle", "", "%s is longer than a session lives at all, which is %s", s.Idle, s.Absolute)
	}
	if longest > 0 && s.Absolute > longest {
		wrong.Add("sessions.absolute", "", "a session that lives for %s could not be called back: fleet.revocations.longest_token is %s", s.Absolute, longest)
	}
	if s.Most < 1 || s.Most > 1000 {
		wrong.Add("sessions.most", "most: 20", "%d is not between 1 and 1000", s.Most)
	}
	return wrong.Err()
}

func (c Config) checkOrigin(wrong *mistake.List) {
	u, err := url.Parse(c.Origin)
	const write = "origin: https://login.example.com"
	switch {
	case c.Origin == "":
		wrong.Add("origin", write, "the portal has no origin")
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || c.Host() == "":
		wrong.Add("origin", write, "%q is not an origin: https, a host and perhaps a port", c.Origin)
	case u.Scheme != "https":
		wrong.Add("origin", "origin: https://"+u.Host, "who signs in over http gives the session to whoever listens, and browsers keep no cookie of a host for it")
	}
}

func (p Provider) check(now time.Time) error {
	var wrong mistake.List
	if !providerName.MatchString(p.Name) {
		wrong.Add("name", "name: corp", "%q is not a name of lower-case letters, digits and hyphens", p.Name)
	}
	if p.Client == "" {
		wrong.Add("client", "client: gatehouse", "the client id is missing, which the provider gave to this gateway")
	}
	if !p.Secret.IsZero() && !p.Key.IsZero() {
		wrong.Add("key", "", "a client proves itself by a secret or by a key: remove one")
	}
	if r := p.AllowPrivate; r.AcceptRisk == "" && !r.Until.IsZero() {
		wrong.Add("allow_private", `allow_private: {accept_risk: "why"}`, "the reason is missing")
	} else if r.AcceptRisk != "" && !r.Accepted(now) {
		wrong.Add("allow_private.until", "", "the acceptance of this risk has ended")
	}
	if _, err := p.Server(now); err != nil {
		wrong.Add("ca", "", "%v", err)
	}
	if u, err := keys.CheckURL(p.Issuer, false); err != nil {
		wrong.Add("issuer", "issuer: https://idp.example.com", "%v", err)
	} else if err := keys.CheckHost(u.Hostname(), p.AllowPrivate.Accepted(now)); err != nil {
		wrong.Add("issuer", `allow_private: {accept_risk: "why"}`, "%v", err)
	}
	if _, err := rolesOf(p.Roles); err != nil {
		wrong.Add("roles", "", "%v", err)
	}
	switch {
	case p.Roles != "" && len(p.Grants) == 0:
		wrong.Add("grants", "grants: [customer]", "roles are read from what the provider says, and it is not said which of them it may give: none would be")
	case p.Roles == "" && len(p.Grants) > 0:
		wrong.Add("roles", "roles: claims.groups", "it is not said where in the claims the roles lie")
	}
	for i, s := range p.Scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			wrong.Add(fmt.Sprintf("scopes[%d]", i), "scopes: [profile, offline_access]", "%q is not the name of a scope", s)
		}
	}
	return wrong.Err()
}

// Server says how the provider's server is reached.
func (p Provider) Server(now time.Time) (keys.Origin, error) {
	o := keys.Origin{Issuer: p.Issuer, Private: p.AllowPrivate.Accepted(now)}
	if p.CA == "" {
		return o, nil
	}
	pem, err := os.ReadFile(p.CA)
	if err == nil && len(pem) == 0 {
		err = fmt.Errorf("%s is empty", p.CA)
	}
	o.CA = string(pem)
	return o, err
}
