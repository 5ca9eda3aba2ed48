package prefilter

import (
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// matches asks a rule as a whole.
func (p *plan) matches(h *head, v Values, w *Work) bool {
	if h.asked {
		matches, known := p.ask(h.rule, h.order, v, w)
		if known && !matches {
			return false
		}
	}
	return !p.chainFails(h, v, w)
}

// chainFails tells that the chain of a rule fails at a link, before anything was remembered, though its first test matches.
func (p *plan) chainFails(h *head, v Values, w *Work) bool {
	s := &w.heads[h.number]
	if !s.asked {
		s.asked, s.fails = true, p.linkFails(h, v, w)
	}
	return s.fails
}

func (p *plan) linkFails(h *head, v Values, w *Work) bool {
	if p.filter.leaves(h.rule) && !h.common {
		return false
	}
	for i, link := range h.rule.Links {
		matches, known := p.ask(link, h.order, v, w)
		if i == 0 && readsMatches(link) && p.byRule[h.rule] == h {
			matches, known = p.askMatches(h, link, w)
		}
		if known && !matches {
			return true
		}
		if p.filter.leaves(link) {
			return false
		}
	}
	return false
}

// readsMatches tells that a link reads all that the tests before it have matched, and nothing else.
func readsMatches(link *secrule.Rule) bool {
	if len(link.Targets) != 1 || link.Test == nil {
		return false
	}
	t := &link.Targets[0]
	return t.Variable == variables.MatchedVars && !t.Count && t.Key == "" && t.KeyPattern == nil && len(t.Except) == 0
}

// askMatches asks the first link of a chain about all values that the rule's own test matches, as that test saw them.
func (p *plan) askMatches(h *head, link *secrule.Rule, w *Work) (matches, known bool) {
	k := p.filter.parts[link]
	if !k.safe || len(k.uses) > 0 || p.filter.chains[h.part.chain].multi {
		return false, false
	}
	for at := w.heads[h.number].first; at > 0; at = w.pairs[at].next {
		one := &w.pairs[at]
		if !w.budget.spend(one.form) {
			return false, false
		}
		if p.hits(h, one, &w.values[one.value], w) && p.hit(link, k.chain, one.form, identity.Of(one.form), &w.links) {
			return true, true
		}
	}
	return false, true
}

// ask gives the answer of one test, a rule's first or a link's, to all values that it reads. Without a view it is known
// only if no value of the request is read.
func (p *plan) ask(r *secrule.Rule, order int, v Values, w *Work) (matches, known bool) {
	k := p.filter.parts[r]
	if r.Test == nil {
		return true, true
	}
	if !k.safe || !p.allSettled(k.uses, order) {
		return false, false
	}
	known = true
	id, phase := max(r.ID, r.Parent), order>>20
	for i := range r.Targets {
		t := &r.Targets[i]
		switch {
		case t.Variable.Name() == "TX" && t.Key != "" && t.KeyPattern == nil && len(t.Except) == 0 && p.settled(t.Key, order):
			matches = matches || p.constant(r, t, w)
		case isInternal(t.Variable) || v == nil || view.Phase(t.Variable) == 0:
			known = false
		case t.Count:
			matches = matches || p.alone(r, count(v, phase, t, id, p.scope), w)
		default:
			each(v, phase, t, id, p.scope, func(text string) bool {
				if !w.budget.spend(text) {
					known = false
					return false
				}
				matches = matches || p.hit(r, k.chain, text, identity.Of(text), &w.links)
				return !matches
			})
		}
	}
	return matches, matches || known
}

// constant asks a test about a settled variable of TX.
func (p *plan) constant(r *secrule.Rule, t *secrule.Target, w *Work) bool {
	value, ok := p.tx.TX[strings.ToLower(t.Key)]
	switch {
	case t.Count && ok:
		return p.alone(r, "1", w)
	case t.Count:
		return p.alone(r, "0", w)
	}
	return ok && p.alone(r, value, w)
}

// alone asks a test about a value that is not the request's.
func (p *plan) alone(r *secrule.Rule, text string, w *Work) bool {
	return p.hit(r, p.filter.parts[r].chain, text, identity.Of(text), &w.links)
}
