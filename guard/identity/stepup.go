package identity

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// StepUp says how callers must have proved who they are.
type StepUp struct {
	// By a second factor: amr must hold mfa. Users who have signed in are asked for theirs. Default false.
	Factor bool `yaml:"factor"`
	// So long ago at most, such as 15m: the second factor where one is demanded, else the sign-in (auth_time). Default: at any
	// time.
	MaxAge time.Duration `yaml:"max_age"`
	// In one of these ways: acr must be one of them. Default: any.
	Classes []string `yaml:"acr,nonempty"`
}

// RoleStepUp says it of callers with certain roles.
type RoleStepUp struct {
	// Callers with one of these roles are meant.
	Roles []string `yaml:"roles,nonempty"`
	// What they must have shown.
	StepUp `yaml:",inline"`
}

// Check finds what is wrong with it.
func (s StepUp) Check() error {
	var wrong mistake.List
	if s.MaxAge != 0 && (s.MaxAge < time.Minute || s.MaxAge > 30*24*time.Hour) {
		wrong.Add("max_age", "max_age: 15m", "%s is not between 1m and 720h", s.MaxAge)
	}
	for i, c := range s.Classes {
		if !printable(c) {
			wrong.Add(fmt.Sprintf("acr[%d]", i), "acr: [urn:example:high]", "%q is not the name of a class", c)
		}
	}
	return wrong.Err()
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// Demand is what it demands, and where it is written.
func (s StepUp) Demand(place string) gate.StepUp {
	return gate.StepUp{Factor: s.Factor, MaxAge: s.MaxAge, Classes: s.Classes, Place: place}
}

// prove refuses a caller whose credential holds, and who must prove more than it says, or anew (row E21, RFC 9470).
func (g *Guard) prove(x *gate.Exchange, p *gate.Principal) gate.Verdict {
	if x.Operation == nil || x.Operation.Access.Public {
		return gate.Allow()
	}
	if v := g.proveOne(x, p, x.Operation.Access.StepUp); !v.Allowed() {
		return v
	}
	for i, s := range g.stepUp {
		if slices.ContainsFunc(s.Roles, func(role string) bool { return slices.Contains(p.Roles, role) }) {
			if v := g.proveOne(x, p, s.Demand(fmt.Sprintf("step_up[%d]", i))); !v.Allowed() {
				return v
			}
		}
	}
	return gate.Allow()
}

func (g *Guard) proveOne(x *gate.Exchange, p *gate.Principal, s gate.StepUp) gate.Verdict {
	var lacking string
	switch {
	case s.Factor && !slices.Contains(words(p.Claims["amr"]), factorMethod):
		lacking = "no second factor was shown"
	case len(s.Classes) > 0 && !slices.Contains(s.Classes, text(p.Claims["acr"])):
		lacking = "they proved who they are in another way than " + strings.Join(s.Classes, " or ")
	case s.MaxAge > 0 && !g.lately(p, s):
		lacking = fmt.Sprintf("that was more than %s ago, or it is not said when", s.MaxAge)
	default:
		return gate.Allow()
	}
	v := gate.Deny(gate.NoIdentity, StepUpNeeded, "the credential of %s holds, but %s", p.Subject, lacking).At(s.Place)
	challenge := "Bearer realm=" + g.realm + `, error="insufficient_user_authentication"`
	if len(s.Classes) > 0 {
		challenge += `, acr_values="` + strings.Join(s.Classes, " ") + `"`
	}
	if s.MaxAge > 0 {
		challenge += fmt.Sprintf(", max_age=%d", int(s.MaxAge/time.Second))
	}
	v = v.With("WWW-Authenticate", challenge)
	if _, ok := session.Of(p); ok && len(s.Classes) == 0 && navigates(x) {
		v = v.Sending(stepUpAt(x, s))
	}
	return v
}

// factorMethod is the word of RFC 8176 for several factors.
const factorMethod = "mfa"

// lately tells that what is demanded was shown not too long ago.
func (g *Guard) lately(p *gate.Principal, s gate.StepUp) bool {
	claim := p.Claims["auth_time"]
	if own, ok := p.Claims[session.FactorTime]; ok && s.Factor {
		claim = own
	}
	at, ok := jws.Seconds(claim)
	return ok && g.tools.Now().Before(at.Add(s.MaxAge+g.skew))
}

// stepUpAt is where a browser is sent to prove more, and led back.
func stepUpAt(x *gate.Exchange, s gate.StepUp) string {
	q := url.Values{"to": {wayBack(x)}}
	if s.Factor {
		q.Set("factor", "true")
	}
	if s.MaxAge > 0 {
		q.Set("max_age", fmt.Sprint(int(s.MaxAge/time.Second)))
	}
	return SignInPath + "?" + q.Encode()
}

// wayBack is the path and query to which a browser is led back; the beginning, for what is too long to be carried along.
func wayBack(x *gate.Exchange) string {
	to := x.Request.Path
	if len(x.Request.Query) > 0 {
		to += "?" + canon.EncodeQuery(x.Request.Query)
	}
	if len(to) > longestWay {
		to = "/"
	}
	return to
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func words(v any) (list []string) {
	all, _ := v.([]any)
	for _, one := range all {
		list = append(list, text(one))
	}
	return list
}
