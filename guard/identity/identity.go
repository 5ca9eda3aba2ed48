// Package identity finds out who is calling, or refuses. It promises that every exchange that goes on either carries one
// verified caller or, on an operation that is public by hand, no credential at all: a credential that doesn't hold is a
// refusal everywhere, never an anonymous caller (adversary row E32). Each kind of credential has a folder of its own below
// this one and is one Reader in the list that readers makes.
package identity

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Reader reads one kind of credential. Found says that the exchange carries one of this kind, whether it holds or not; then
// the verdict counts, and the principal when it allows. Read is called from many goroutines at once.
type Reader interface {
	Read(ctx context.Context, x *gate.Exchange) (p *gate.Principal, found bool, v gate.Verdict)
}

// Why the guard itself refuses. Reasons of the readers stand in their folders.
const (
	Missing            gate.Reason = "identity.missing"             // no credential, where one is needed
	Scheme             gate.Reason = "identity.scheme"              // an Authorization field of a kind that nobody reads
	StepUpNeeded       gate.Reason = "identity.step_up"             // a valid credential, and the caller must prove more, or anew
	Several            gate.Reason = "identity.several"             // two kinds of credential at once
	Unset              gate.Reason = "identity.unset"               // a fault of ours: a reader allowed without naming a caller
	Revoked            gate.Reason = "identity.revoked"             // called back before its end
	RevocationsUnknown gate.Reason = "identity.revocations_unknown" // the list of what was called back is too old: 503
	LongLived          gate.Reason = "identity.long_lived"          // lives longer than revocations are remembered, or nobody knows how long
	NoID               gate.Reason = "identity.no_id"               // single use, and nothing to remember it by
	Replayed           gate.Reason = "identity.replayed"            // single use, and shown before
	ReplayUnknown      gate.Reason = "identity.replay_unknown"      // single use, and the memory can't be asked: 503
	ReplayForgotten    gate.Reason = "identity.replay_forgotten"    // single use, and issued before the memory began
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason {
	return slices.Concat([]gate.Reason{Missing, StepUpNeeded, Scheme, Several, Unset, Revoked, RevocationsUnknown, LongLived,
		NoID, Replayed, ReplayUnknown, ReplayForgotten}, bearer.Reasons(), binding.Reasons(), apikey.Reasons(), session.Reasons())
}

// KeySource keeps issuers' keys over reloads; see keys.NewSource.
type KeySource = *keys.Source

// Cache keeps verified tokens over reloads; see bearer.NewCache.
type Cache = *bearer.Cache

// Tools is what the guard needs from outside.
type Tools struct {
	Now      func() time.Time
	Keys     KeySource   // made once, outlives reloads
	Verified Cache       // made once, outlives reloads; nil: every token is verified each time
	Policy   string      // version of the document; tokens verified under another are verified anew
	Dev      *dev.Issuer // nil: there is no development issuer
	APIKeys  apikey.Keys // nil: every API key is refused

	Sessions  session.Sessions           // nil: every session cookie is refused
	Providers map[string]session.Voucher // by name, those by which users can sign in

	Secret func(secret.Ref) (secret.Value, error) // what a reference refers to now; nil is Ref.Resolve

	Revocations Revocations   // nil: there is no way to call a token back
	Longest     time.Duration // tokens that live longer from iat on could not be called back and are refused; 0: any
	Once        Once          // nil: no API can ask for single use, and bound tokens can't be proven
	Nonces      *dpop.Nonces  // nil: clients whose clock is wrong can't prove their tokens
}

// Guard finds out who is calling one API.
type Guard struct {
	readers  []Reader
	issuers  []string
	headers  HeaderNames
	pass     bool
	api      *gate.API
	keyField string        // where API keys are taken; "" nowhere
	stepUp   []RoleStepUp  // by role
	sessions []string      // providers whose users' sessions are taken; none: no session is
	single   bool          // each token once
	skew     time.Duration // the largest of the issuers'
	tools    Tools
	realm    string // a quoted-string
	bound    bool   // tokens must be bound to their client
	nonced   bool   // every proof needs a nonce
}

// New checks everything, and tells all mistakes at once. It doesn't wait for an issuer to answer: until its keys are there,
// its tokens are answered with 503.
func New(cfg Config, api *gate.API, tools Tools) (*Guard, error) {
	if tools.Now == nil || api == nil {
		return nil, mistake.List{{What: "no clock or no API is given"}}
	}
	cfg = cfg.withDefaults()
	wrong := cfg.check(api, tools)
	readers, issuers, err := readers(cfg, api, tools)
	wrong.Under("", err)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return &Guard{api: api, keyField: cfg.APIKeys.Header, sessions: cfg.Sessions.Providers, stepUp: cfg.StepUp, readers: readers, issuers: issuers, headers: cfg.Headers, pass: cfg.PassCredential, single: cfg.SingleUse,
		skew: cfg.skew(), tools: tools, realm: quoted(api.Name), bound: cfg.Bound == binding.Required, nonced: cfg.ProofNonce}, nil
}

// readers is the list of what can prove who calls, in order, one line for each kind, and the names of who vouches.
func readers(cfg Config, api *gate.API, tools Tools) ([]Reader, []string, error) {
	var wrong mistake.List
	issuers := cfg.Issuers
	if tools.Dev != nil && cfg.Development.Accepted(tools.Now()) {
		issuers = append(issuers[:len(issuers):len(issuers)], bearer.Given(dev.Name, dev.Audience, tools.Dev.Ring()))
	}
	tokens, err := bearer.New(issuers, bearer.Tools{Now: tools.Now, Keys: tools.Keys, Verified: tools.Verified, API: api.Name, Policy: tools.Policy, Secret: tools.Secret,
		Binding: binding.Check{Now: tools.Now, Once: tools.Once, Nonces: tools.Nonces, Required: cfg.Bound == binding.Required, Nonced: cfg.ProofNonce}})
	wrong.Under("issuers", err)
	if err := wrong.Err(); err != nil {
		return nil, nil, err
	}
	list, names := []Reader{
		tokens, // Authorization: Bearer, Authorization: DPoP
	}, tokens.Issuers()
	if field := cfg.APIKeys.Header; field != "" {
		list = append(list, apikey.New(api.Name, field, tools.APIKeys, tools.Now)) // a field of its own
		names = append(names, apikey.Issuer)
	}
	if taken := cfg.Sessions.Providers; len(taken) > 0 {
		from := map[string]session.Voucher{}
		for _, p := range taken {
			from[p] = tools.Providers[p]
			names = append(names, from[p].Issuer)
		}
		list = append(list, session.New(from, tools.Sessions)) // a cookie
	}
	return list, names, nil
}

// Check identifies the caller. An operation that is public lets a caller without credential go on; nothing else does.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	var caller *gate.Principal
	for _, r := range g.readers {
		p, found, v := r.Read(ctx, x)
		switch {
		case !found:
			continue
		case !v.Allowed():
			return g.refuse(x, v)
		case p == nil:
			return gate.Deny(gate.Internal, Unset, "a credential was accepted without a caller")
		case caller != nil:
			return g.refuse(x, gate.Deny(gate.NoIdentity, Several, "two kinds of credential; which one counts is anybody's guess"))
		}
		caller = p
	}
	values := x.Request.Fields["Authorization"]
	if caller != nil && (caller.Issuer != apikey.Issuer || len(values) == 0) {
		return g.admit(ctx, x, caller)
	}
	if len(values) > 0 { // of a kind that nobody reads, perhaps beside an API key that holds
		scheme, _, _ := strings.Cut(values[0], " ")
		return g.refuse(x, gate.Deny(gate.NoIdentity, Scheme, "an Authorization field that is not read here (%d characters of scheme)", len(scheme)))
	}
	if x.Operation != nil && x.Operation.Access.Public {
		return gate.Allow()
	}
	return g.refuse(x, gate.Deny(gate.NoIdentity, Missing, "no credential"))
}

// admit lets a caller in whose credential holds, was not called back and, where each counts once, was not shown before.
// It looks at every credential of every kind, also at those that were verified before.
func (g *Guard) admit(ctx context.Context, x *gate.Exchange, caller *gate.Principal) gate.Verdict {
	if v := g.tools.recall(caller); !v.Allowed() {
		return g.refuse(x, v)
	}
	if g.single {
		if v := g.spend(ctx, caller); !v.Allowed() {
			return g.refuse(x, v)
		}
	}
	x.Identify(*caller)
	return g.prove(x, caller)
}

// refuse adds the challenges of RFC 6750 section 3 and RFC 9449 section 7.1: a client learns which credentials are taken and
// that its own doesn't hold, never why. The error stands with the scheme that was used.
func (g *Guard) refuse(x *gate.Exchange, v gate.Verdict) gate.Verdict {
	if v.Code != gate.NoIdentity {
		return v
	}
	if len(g.sessions) > 0 {
		v = signIn(x, v)
	}
	fault, plain := "", "Bearer realm="+g.realm
	if v.Reason != Missing {
		fault, plain = binding.Fault(v), plain+`, error="invalid_token"`
	}
	if g.bound || binding.Scheme(x.Request.Fields) {
		return v.With("WWW-Authenticate", binding.Challenge(g.realm, fault))
	}
	return v.With("WWW-Authenticate", plain).With("WWW-Authenticate", binding.Challenge(g.realm, ""))
}

// Bound tells that a token must be bound to its client, so that it is worth nothing to a thief.
func (g *Guard) Bound() bool { return g.bound }

// Review gives clients the nonce of their next proof, where every proof needs one (RFC 9449 section 8.2), so that only their
// first is refused for the lack of it.
func (g *Guard) Review(_ context.Context, x *gate.Exchange, a *gate.Answer) gate.Verdict {
	if p := x.Principal(); g.nonced && p != nil && binding.ToKey(p.Claims) {
		a.Fields.Set("DPoP-Nonce", g.tools.Nonces.New(g.tools.Now()))
	}
	return gate.Allow()
}

// Issuers names who may vouch for a caller, the development issuer included. None: nobody can prove who they are.
func (g *Guard) Issuers() []string { return slices.Clone(g.issuers) }

// Headers names the fields in which the server behind learns who is calling. What a client sends under these names is
// removed, whatever the operation.
func (g *Guard) Headers() HeaderNames { return g.headers }

// PassCredential tells that the client's own credential goes on to the server behind.
func (g *Guard) PassCredential() bool { return g.pass }

// quoted writes a quoted-string (RFC 9110 section 5.6.4); characters that can't stand in a field are left out.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
