package prefilter

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// Narrowing is what the engine need not do for one request, and what is left to it.
type Narrowing struct {
	Remove []int // rules that can't match this request, whatever the others do
	Work   int64 // what the rest costs, in bytes times tests
}

// newNarrow derives which rules may be taken from the engine for one request: those whose first test reads values of the
// request alone, so that it can be shown not to match whatever other rules did before. Rules that a skip counts over stay:
// the engine doesn't count those that are removed.
func (l *Level) newNarrow(reached []bool) *plan {
	f := l.filter
	p := &plan{filter: f, scope: l.scope}
	counted := f.skipped()
	s := newSweeper(f)
	for i, r := range f.rules {
		if !reached[i] || counted[i] || !f.isAlone(r) {
			continue
		}
		h := &head{rule: r, part: f.parts[r], number: p.heads, order: order(r, i), asked: true}
		p.heads++
		p.whole = append(p.whole, h)
		for _, t := range r.Targets {
			s.add(h, t)
		}
	}
	p.sweeps = s.done()
	return p
}

// isAlone tells that the first test of a rule reads nothing that another rule can change.
func (f *Filter) isAlone(r *secrule.Rule) bool {
	k, ok := f.parts[r]
	if !ok || !k.safe || len(k.uses) > 0 || r.Test.Negated {
		return false
	}
	for _, t := range r.Targets {
		if t.Count || isInternal(t.Variable) || !isSteady(t.Variable, r.Phase) || view.Phase(t.Variable) == 0 || strings.HasPrefix(t.Variable.Name(), "REQBODY") {
			return false
		}
	}
	return true
}

// skipped tells which rules some skip may count over.
func (f *Filter) skipped() []bool {
	counted := make([]bool, len(f.rules))
	for i, r := range f.rules {
		rest := r.Actions.Skip
		for n := i + 1; n < len(f.rules) && rest > 0; n++ {
			counted[n] = true // those of other phases are not counted, so the window may end later than this
			if f.rules[n].Phase == r.Phase || f.rules[n].Phase == 0 {
				rest--
			}
		}
	}
	return counted
}

// Narrow tells what the engine need not ask of a request that Judge could not show to be harmless.
func (l *Level) Narrow(v Values, w *Work) Narrowing {
	p := l.narrow
	w.begin(p)
	for i := range p.sweeps {
		s := &p.sweeps[i]
		for _, pair := range v.Of(s.base.variable) {
			c := s.of(pair.Key)
			if c == nil {
				continue
			}
			text := pair.Text
			if s.base.names {
				text = pair.Key
			}
			p.survivors(c, s.base, pair.Key, text, w)
		}
	}
	var n Narrowing
	for _, h := range p.whole {
		if !w.asked[h.number] {
			n.Remove = append(n.Remove, h.rule.ID)
			continue
		}
		for i := range h.rule.Targets {
			each(v, h.rule.Phase, &h.rule.Targets[i], h.rule.ID, l.scope, func(text string) bool {
				n.Work += int64(len(text) + each64)
				return true
			})
		}
	}
	return n
}

// survivors marks the tests of a scope that match a value, or may.
func (p *plan) survivors(c *scope, b base, key, text string, w *Work) {
	w.budget.engine += int64(c.size) * int64(len(text)+each64)
	if c.seen.has(text) {
		return
	}
	before := w.budget.hits
	traits := identity.Of(text)
	copy(w.raw, p.filter.sieve.Scan(text, w.sieve))
	w.others = w.others[:0]
	for i := range c.groups {
		g := &c.groups[i]
		ch := &p.filter.chains[g.chain]
		if ch.known && traits&ch.needs&^identity.Case == 0 {
			p.survive(g, w.raw, text, traits, b, key, w)
			continue
		}
		for _, form := range p.filter.forms(g.chain, text, traits, w) {
			p.survive(g, p.filter.meets(form, text, w), text, traits, b, key, w)
		}
	}
	if w.budget.hits == before {
		c.seen.add(text)
	}
}

func (p *plan) survive(g *group, met []uint64, text string, traits identity.Traits, b base, key string, w *Work) {
	g.each(met, func(h *head) bool {
		if w.asked[h.number] || p.spared(h, b, key) {
			w.budget.hits++
			return true
		}
		if !w.budget.spend(text) || p.hit(h.rule, h.part.chain, p.tx, text, traits, w) {
			w.budget.hits++
			w.asked[h.number] = true
		}
		return true
	})
}
