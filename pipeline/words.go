package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Words of the protection table. They tell what happens, not what was meant: a guard that is off or in dry run changes
// them.

func dryRun(st stage, now time.Time) string {
	if st.watches(now) {
		return " (dry run)"
	}
	return ""
}

// callers says in words who gets through to the operation.
func (s *site) callers(a gate.Access, now time.Time) string {
	access, who := s.stage("access"), s.stage("identity")
	open := access.rests(now) || access.watches(now)
	switch {
	case a.Public:
		return "public"
	case open && (who.rests(now) || who.watches(now)):
		return "public: identity and access are off"
	case access.rests(now):
		return "any caller: access is off"
	case access.watches(now):
		return needed(a) + " (dry run)"
	case who.rests(now):
		return "nobody: identity is off"
	}
	return needed(a)
}

// tokens says what becomes of a token that is stolen on its way to the operation.
func (s *site) tokens(a gate.Access, now time.Time) string {
	st := s.stage("identity")
	g, ok := st.check.(*identity.Guard)
	switch {
	case a.Public:
		return "none"
	case !ok || st.rests(now):
		return "unchecked"
	case g.Bound():
		return "bound" + dryRun(st, now)
	}
	return "stealable" + dryRun(st, now)
}

// needed says in words what the rules demand.
func needed(a gate.Access) string {
	if len(a.Rules) == 0 {
		return "nobody"
	}
	var words []string
	for _, rule := range a.Rules {
		switch w := needs(rule.AnyOf); {
		case w == "nobody":
			return w
		case strings.Contains(w, " or ") && len(a.Rules) > 1:
			words = append(words, "("+w+")")
		case w != "":
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "any caller"
	}
	return strings.Join(words, " and ")
}

// needs says what one rule demands; "" when every valid caller meets it.
func needs(any []gate.Need) string {
	var words []string
	for _, n := range any {
		if n.AnyCaller {
			return ""
		}
		if w := need(n); w != "" && !slices.Contains(words, w) { // schemes of a contract may ask for the same
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, " or ")
}

// need says what one alternative demands; "" when nobody meets it.
func need(n gate.Need) string {
	empty := n.Roles != nil && len(n.Roles) == 0 || n.Scopes != nil && len(n.Scopes) == 0
	var words []string
	if len(n.Scopes) > 0 {
		words = append(words, "scope "+strings.Join(n.Scopes, "+"))
	}
	if len(n.Roles) > 0 {
		words = append(words, "role "+strings.Join(n.Roles, "|"))
	}
	if empty {
		return ""
	}
	return strings.Join(words, " and ")
}

// enough gives roles and scopes with which a caller meets every rule, by the first alternative of each.
func enough(a gate.Access) (roles, scopes []string) {
	for _, rule := range a.Rules {
		if len(rule.AnyOf) == 0 || needs(rule.AnyOf) == "" {
			continue
		}
		if n := rule.AnyOf[0]; len(n.Roles) > 0 {
			roles = append(roles, n.Roles[0])
		}
		scopes = append(scopes, rule.AnyOf[0].Scopes...)
	}
	return roles, scopes
}

// inspected tells whether the WAF sees an operation's requests whole.
func (s *site) inspected(op *gate.Operation, now time.Time) string {
	st := s.stage("waf")
	switch {
	case st.rests(now) || st.body == nil:
		return "off"
	case !st.body.NeedsBody(op):
		return "head only" + dryRun(st, now)
	}
	return "on" + dryRun(st, now)
}

// input says in words what the contract checks: parameters always, of bodies their schema, their syntax, their size, or their
// type by content, which is the guard's for uploads.
func (s *site) input(op *gate.Operation, now time.Time) string {
	st := s.stage("contract")
	switch {
	case st.rests(now):
		return "off"
	case op.Contract == nil:
		return "none"
	}
	words := []string{"params"}
	for _, b := range op.Contract.Bodies {
		word := "body"
		switch {
		case op.Stream.Kind != "" && op.Stream.Kind != "sse":
			word = "open"
		case b.Kind == body.Opaque && (b.Unseen || s.stage("upload").rests(now)):
			word = "size"
		case b.Kind == body.Opaque:
			word = "type"
		case b.Kind == body.XML:
			word = "syntax"
		}
		if !contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, "+") + dryRun(st, now)
}
