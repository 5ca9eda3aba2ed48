package identity

import (
	"fmt"
	"net/textproto"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Config is the section guards.identity. Without an issuer nobody can prove who they are.
type Config struct {
	// Who may vouch for callers of this API. Default none.
	Issuers []bearer.Issuer `yaml:"issuers"`
	// Sends the caller's own token on to the server behind. Default false: the server learns the caller from headers, and
	// a server that is taken over holds no tokens.
	PassCredential bool `yaml:"pass_credential"`
	// Names of the headers from which the server behind learns who is calling. Only Gatehouse can set them: what a client
	// sends under these names is removed.
	Headers HeaderNames `yaml:"headers"`
	// Accepts each token once, by its jti, on all nodes together; a token without jti is refused. For APIs whose callers get
	// a token for each request. Default false.
	SingleUse bool `yaml:"single_use"`
	// Whether a token must be bound to its client, so that it is worth nothing to whoever steals it: required refuses tokens
	// without cnf.jkt (DPoP, RFC 9449) or cnf.x5t#S256 (client certificate, RFC 8705). Default optional: bound tokens must be
	// proven, others work for whoever holds them.
	Bound binding.Demand `yaml:"bound"`
	// Demands in every proof a nonce that Gatehouse made (RFC 9449 section 9), so that proofs can't be made in advance, and
	// clocks of clients don't matter. Default false: a nonce is demanded where a client's clock is wrong.
	ProofNonce bool `yaml:"proof_nonce"`
	// Accepts API keys that gatehouse apikey has made for this API. Default: none are.
	APIKeys APIKeys `yaml:"api_keys"`
	// Accepts the sessions of users who have signed in with a browser. Default: none are.
	Sessions Sessions `yaml:"sessions"`
	// How callers with certain roles must have proved who they are, at every operation. Default: a valid credential is enough.
	StepUp []RoleStepUp `yaml:"step_up"`
	// Accepts tokens of the development issuer, which whoever can read this installation's state directory can make, with
	// the reason why that is acceptable here. Default: it is off.
	Development gate.Risk `yaml:"development"`
}

// DefaultHeaders are the names of the headers where the document gives none.
func DefaultHeaders() HeaderNames { return Config{}.withDefaults().Headers }

func (c Config) withDefaults() Config {
	for _, h := range []struct {
		name  *string
		value string
	}{
		{&c.Headers.Subject, "Gatehouse-Subject"}, {&c.Headers.Issuer, "Gatehouse-Issuer"}, {&c.Headers.Roles, "Gatehouse-Roles"},
		{&c.Headers.Scopes, "Gatehouse-Scopes"}, {&c.Headers.Event, "Gatehouse-Event"},
	} {
		if *h.name == "" {
			*h.name = h.value
		}
		*h.name = textproto.CanonicalMIMEHeaderKey(*h.name)
	}
	c.APIKeys.Header = textproto.CanonicalMIMEHeaderKey(c.APIKeys.Header)
	return c
}

// skew is how far the clocks of issuers may differ from ours; the development issuer's never does.
func (c Config) skew() (most time.Duration) {
	for _, issuer := range c.Issuers {
		if issuer.ClockSkew == 0 {
			issuer.ClockSkew = bearer.DefaultSkew
		}
		most = max(most, issuer.ClockSkew)
	}
	return most
}

// check finds what is wrong with everything but the issuers, which are checked by their reader.
func (c Config) check(api *gate.API, tools Tools) mistake.List {
	var wrong mistake.List
	c.Headers.check(&wrong)
	c.APIKeys.check(c, api, &wrong)
	c.Sessions.check(c, api, tools, &wrong)
	for i, s := range c.StepUp {
		at := fmt.Sprintf("step_up[%d]", i)
		wrong.Under(at, s.StepUp.Check())
		if len(s.Roles) == 0 {
			wrong.Add(at+".roles", "roles: [support]", "it is not said of whom it is demanded")
		}
		if !s.StepUp.Demand("").Demands() {
			wrong.Add(at+".factor", "factor: true", "nothing is demanded")
		}
	}
	development := c.Development.Accepted(tools.Now())
	switch {
	case c.Development.AcceptRisk == "" && !c.Development.Until.IsZero():
		wrong.Add("development", `development: {accept_risk: "why"}`, "the reason is missing")
	case c.Development.AcceptRisk != "" && !development:
		wrong.Add("development.until", "", "the acceptance of this risk has ended")
	}
	if c.SingleUse && tools.Once == nil {
		wrong.Add("single_use", "", "this command has no memory of the tokens that were shown")
	}
	if c.ProofNonce && tools.Nonces == nil {
		wrong.Add("proof_nonce", "", "this command makes no nonces")
	}
	if c.Bound == binding.Required && development && len(c.Issuers) == 0 {
		wrong.Add("bound", "bound: optional", "tokens of the development issuer are bound to nothing: nobody could call")
	}
	if development && tools.Dev == nil {
		wrong.Add("development", "", "this command has no development issuer")
	}
	if len(c.Issuers) == 0 && !development && c.APIKeys.Header == "" && len(c.Sessions.Providers) == 0 {
		for _, op := range api.Operations {
			if !op.Access.Public {
				wrong.Add("issuers", "issuers: [{issuer: https://idp.example.com, audience: [my-api]}]",
					"nobody can vouch for a caller, and %s needs one", op.Key)
				break
			}
		}
	}
	return wrong
}

// check refuses names that would not arrive, or that mean something else to the server.
func (n HeaderNames) check(wrong *mistake.List) {
	taken := map[string]string{}
	for _, h := range []struct{ key, name string }{
		{"subject", n.Subject}, {"issuer", n.Issuer}, {"roles", n.Roles}, {"scopes", n.Scopes}, {"event", n.Event},
	} {
		path := "headers." + h.key
		switch other, twice := taken[h.name]; {
		case twice:
			wrong.Add(path, "", "%s is already the name for %s", h.name, other)
		case !plainName(h.name):
			wrong.Add(path, "", "%q is not a header name of letters, digits and hyphens", h.name)
		case reserved(h.name):
			wrong.Add(path, path+": Gatehouse-"+strings.ToUpper(h.key[:1])+h.key[1:], "%s means something else to a server", h.name)
		}
		taken[h.name] = h.key
	}
}

// plainName admits no underscore: many servers read it as a hyphen, and two names become one (row B1).
func plainName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	}) < 0
}

// reserved tells that a field has a meaning of its own in HTTP or in how proxies speak.
func reserved(name string) bool {
	for _, prefix := range []string{"Accept", "Access-Control-", "Content-", "Forwarded", "If-", "Proxy-", "Sec-", "X-Forwarded-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Authorization", "Connection", "Cookie", "Date", "Dpop", "Expect", "Host", "Keep-Alive", "Max-Forwards", "Origin", "Range",
		"Referer", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Real-Ip", "Traceparent", "Tracestate":
		return true
	}
	return false
}

// HeaderNames is how the fields are called in which the server behind learns who is calling.
type HeaderNames struct {
	// Who calls. Default Gatehouse-Subject.
	Subject string `yaml:"subject"`
	// Who vouches for the caller; subject and issuer together name the caller. Default Gatehouse-Issuer.
	Issuer string `yaml:"issuer"`
	// The caller's roles, with commas between. Default Gatehouse-Roles.
	Roles string `yaml:"roles"`
	// The caller's scopes, with spaces between. Default Gatehouse-Scopes.
	Scopes string `yaml:"scopes"`
	// Id of the event that records this request. Default Gatehouse-Event.
	Event string `yaml:"event"`
}
