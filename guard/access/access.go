// Package access decides whether a caller may ask for an operation: by roles and scopes, from the contract and the
// document. It promises that what nobody was given is nobody's: an operation without rules, a rule without needs, a need
// that is empty and a role list that is empty admit no one, and only an operation that is public by hand admits a caller
// without credential. What it stops is broken function level authorisation (OWASP API5): a valid caller who asks for what
// is not theirs.
package access

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Why the guard denies.
const (
	NoCaller gate.Reason = "access.no_caller" // nobody is known to be calling
	Nobody   gate.Reason = "access.nobody"    // the operation admits no caller at all
	Role     gate.Reason = "access.role"      // the caller has none of the roles
	Scope    gate.Reason = "access.scope"     // the caller lacks a scope
	Unknown  gate.Reason = "access.unknown"   // a fault of ours: the operation is not one of this API
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason { return []gate.Reason{NoCaller, Nobody, Role, Scope, Unknown} }

// Config is the section guards.access. Who may do what stands at the operations, not here.
type Config struct {
	// Roles that include other roles: {admin: [support], support: [customer]} lets an admin do what a customer may.
	// Default none.
	Hierarchy map[string][]string `yaml:"hierarchy"`
}

// Guard holds who may call each operation of one API.
type Guard struct {
	api        string
	operations map[*gate.Operation]plan
}

// New reads the rules of every operation, so that nothing is worked out per request.
func New(cfg Config, api *gate.API) (*Guard, error) {
	if api == nil {
		return nil, mistake.List{{What: "no API is given"}}
	}
	above, err := cfg.above()
	if err != nil {
		return nil, err
	}
	g := &Guard{api: api.Name, operations: make(map[*gate.Operation]plan, len(api.Operations))}
	for _, op := range api.Operations {
		if op != nil {
			g.operations[op] = compile(op.Access, above)
		}
	}
	return g, nil
}

// Check admits a caller who meets every rule of the operation.
func (g *Guard) Check(_ context.Context, x *gate.Exchange) gate.Verdict {
	p, known := g.operations[x.Operation]
	if !known {
		return gate.Deny(gate.Internal, Unknown, "the operation is not one of this API")
	}
	if p.public {
		return gate.Allow()
	}
	caller := x.Principal()
	if caller == nil {
		return gate.Deny(gate.NoIdentity, NoCaller, "nobody is known to be calling").
			With("WWW-Authenticate", "Bearer")
	}
	if len(p.rules) == 0 {
		return gate.Deny(gate.NotAllowed, Nobody, "%s has no rule that admits anybody", x.Operation.Key).
			Fixed("callers: any  # " + g.place(x.Operation))
	}
	for i := range p.rules {
		if !p.rules[i].admits(caller) {
			return g.explain(&p.rules[i], caller, x.Operation)
		}
	}
	return gate.Allow()
}

// plan is one operation's access, ready to be asked.
type plan struct {
	public bool
	rules  []rule
}

type rule struct {
	needs []need
	place string
}

// need is a gate.Need whose roles include every role that stands above them.
type need struct {
	anyCaller   bool
	never       bool // an empty need, or an empty list: met by nobody
	roles       []string
	scopes      []string
	writtenRole []string // as written, for the explanation
}

func compile(a gate.Access, above map[string][]string) plan {
	p := plan{public: a.Public}
	for _, r := range a.Rules {
		compiled := rule{place: r.Place}
		for _, n := range r.AnyOf {
			compiled.needs = append(compiled.needs, compileNeed(n, above))
		}
		p.rules = append(p.rules, compiled)
	}
	return p
}

// compileNeed takes nil for "not asked for" and a list that is written but empty for "nobody".
func compileNeed(n gate.Need, above map[string][]string) need {
	c := need{anyCaller: n.AnyCaller, scopes: n.Scopes, writtenRole: n.Roles}
	c.never = len(n.Roles) == 0 && len(n.Scopes) == 0 ||
		n.Roles != nil && len(n.Roles) == 0 || n.Scopes != nil && len(n.Scopes) == 0
	for _, name := range n.Roles {
		if name == "" {
			continue // no caller has the role without a name
		}
		for _, one := range append([]string{name}, above[name]...) {
			if !slices.Contains(c.roles, one) {
				c.roles = append(c.roles, one)
			}
		}
	}
	return c
}

func (r *rule) admits(p *gate.Principal) bool {
	for i := range r.needs {
		if r.needs[i].met(p) {
			return true
		}
	}
	return false
}

func (n *need) met(p *gate.Principal) bool {
	return n.anyCaller || !n.never && n.roleMet(p) && n.scopesMet(p)
}

func (n *need) roleMet(p *gate.Principal) bool {
	return n.writtenRole == nil || slices.ContainsFunc(p.Roles, func(have string) bool { return slices.Contains(n.roles, have) })
}

func (n *need) scopesMet(p *gate.Principal) bool {
	for _, wanted := range n.scopes {
		if wanted == "" || !slices.Contains(p.Scopes, wanted) {
			return false
		}
	}
	return true
}

// explain says what the caller lacks for a rule, and the narrowest line that would have admitted exactly this caller.
func (g *Guard) explain(r *rule, p *gate.Principal, op *gate.Operation) gate.Verdict {
	place := r.place
	if place == "" {
		place = g.place(op)
	}
	closest := (*need)(nil)
	for i := range r.needs {
		n := &r.needs[i]
		if n.never {
			continue
		}
		if closest == nil || n.roleMet(p) && !closest.roleMet(p) {
			closest = n
		}
	}
	if closest == nil {
		return fixRole(gate.Deny(gate.NotAllowed, Nobody, "the rule admits nobody").At(place), p, place)
	}
	if !closest.roleMet(p) {
		return fixRole(gate.Deny(gate.NotAllowed, Role, "the caller has the roles %s; one of %s is needed", list(p.Roles),
			list(closest.writtenRole)).At(place), p, place)
	}
	v := gate.Deny(gate.NotAllowed, Scope, "the caller has the scopes %s; all of %s are needed", list(p.Scopes), list(closest.scopes)).At(place)
	kept := slices.DeleteFunc(slices.Clone(closest.scopes), func(s string) bool { return !slices.Contains(p.Scopes, s) })
	if len(kept) > 0 {
		v = v.Fixed("scopes: " + list(kept) + "  # " + place)
	}
	return v
}

// fixRole adds the line that lets callers of this caller's first role in, under the key that stands at the place.
func fixRole(v gate.Verdict, p *gate.Principal, place string) gate.Verdict {
	if len(p.Roles) == 0 {
		return v
	}
	key := "roles"
	if strings.HasSuffix(place, "/x-gatehouse-roles") {
		key = "x-gatehouse-roles"
	}
	return v.Fixed(key + ": " + list(p.Roles[:1]) + "  # " + place)
}

// place is where the document says who may call an operation.
func (g *Guard) place(op *gate.Operation) string {
	return "apis[" + g.api + "].operations." + op.Key
}

// list writes names as a YAML list, cut when there are many.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return "[" + strings.Join(names[:most], ", ") + ", …]"
	}
	return "[" + strings.Join(names, ", ") + "]"
}
