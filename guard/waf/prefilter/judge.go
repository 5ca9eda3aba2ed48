package prefilter

import (
	"math/bits"
	"slices"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// judge tells whether no head of the plan can match. Whatever it tells, heads that are not hit don't match.
func (p *plan) judge(v Values, w *Work) bool {
	w.begin(p)
	w.first = 0
	if v.TooMany() || !p.gather(v, w) { // not all values are there, or were looked at
		w.giveUp()
		return false
	}
	for _, h := range p.whole {
		if p.matches(h, v, w) {
			w.miss(h)
		}
	}
	p.sift(w, func(h *head) bool { return !p.chainFails(h, v, w) })
	return w.first == 0
}

// gather goes over all values and notes which tests must be asked about them. It is false when the time was up before.
func (p *plan) gather(v Values, w *Work) bool {
	for i := range p.sweeps {
		s := &p.sweeps[i]
		for _, pair := range v.Of(s.base.variable) {
			c := s.of(pair.Key)
			if c == nil {
				continue
			}
			x := value{base: s.base, key: pair.Key, text: pair.Text, scope: c}
			if s.base.names {
				x.text = pair.Key
			}
			w.budget.engine += int64(c.size) * cost(x.text)
			if w.find != nil {
				if x.scope = w.confined(&x); x.scope == nil {
					continue
				}
			}
			if !x.scope.seen.has(x.text) && !p.look(x, w) {
				return false
			}
		}
	}
	return true
}

// confined is what is asked of a value, without the rules that can't match it; nil for nothing.
func (w *Work) confined(x *value) *scope {
	never, name := w.find(x.base.variable, x.key, x.text)
	if x.base.names {
		never = name
	}
	switch {
	case never == nil || never.Len() == 0:
		return x.scope
	case never.Covers(x.scope.places):
		return nil
	}
	return x.scope.without(never)
}

// look notes the tests whose conditions a value meets. It is false when the time was up before.
func (p *plan) look(x value, w *Work) bool {
	x.traits = identity.Of(x.text)
	w.values = append(w.values, x)
	for i := range w.met {
		w.met[i].done = false
	}
	before := len(w.pairs)
	for i := range x.scope.groups {
		if w.late != nil && w.late(x.text) {
			return false
		}
		g := &x.scope.groups[i]
		ch := &p.filter.chains[g.chain]
		switch {
		case ch.known && x.traits&ch.needs&^identity.Case == 0:
			p.note(g, p.filter.meets(0, x.text, w), w)
		case ch.multi:
			w.texts = p.filter.tree.ApplyAll(x.text, x.traits, g.chain, &w.steps, w.texts[:0])
			for _, form := range w.texts {
				p.note(g, p.filter.sieve.Scan(form, w.sieve), w)
			}
		default:
			n := p.filter.tree.Reach(x.text, x.traits, g.chain, &w.steps)
			p.note(g, p.filter.meets(n, w.steps.Text(n), w), w)
		}
	}
	if len(w.pairs) == before && !w.values[len(w.values)-1].dirty {
		w.values = w.values[:len(w.values)-1]
		x.scope.seen.add(x.text)
	}
	return true
}

// note notes the tests of a group whose conditions the last value meets.
func (p *plan) note(g *group, met []uint64, w *Work) {
	for _, h := range g.always {
		p.pair(h, w)
	}
	for i, mask := range g.mask {
		for rest := mask & met[i]; rest != 0; rest &= rest - 1 {
			for _, h := range g.tests[i*64+bits.TrailingZeros64(rest)] {
				p.pair(h, w)
			}
		}
	}
}

// pair notes that a test must be asked about the last value, unless an exception leaves that out.
func (p *plan) pair(h *head, w *Work) {
	at := len(w.values) - 1
	x, s := &w.values[at], &w.heads[h.number]
	if p.spared(h, x) {
		x.dirty = true
		return
	}
	if s.first > 0 && int(w.pairs[s.first].value) == at { // another form of it
		return
	}
	one := pair{value: int32(at), next: s.first}
	if chain := h.part.chain; !p.filter.chains[chain].multi {
		one.form = p.filter.tree.Apply(x.text, x.traits, chain, &w.steps)
	}
	w.pairs = append(w.pairs, one)
	s.first = int32(len(w.pairs) - 1)
}

// sift asks all that was noted, one test after the other about all its values. Survives says of a test that matched whether
// its rule may match. When too much was wasted on such, nothing more is asked.
func (p *plan) sift(w *Work, survives func(*head) bool) {
	for i := range p.sifted {
		h := p.sifted[i]
		s, spent := &w.heads[h.number], int64(0)
		for at := s.first; at > 0; at = w.pairs[at].next {
			x := &w.values[w.pairs[at].value]
			if s.hit = s.hit || w.budget.waste > w.budget.most() || w.late != nil && w.late(x.text); s.hit {
				x.dirty = true
				continue
			}
			spent += cost(x.text)
			if p.hits(h, &w.pairs[at], x, w) {
				x.dirty, s.hit = true, true
				w.budget.waste += spent
			}
		}
		if s.hit && survives(h) {
			w.miss(h)
		}
	}
	for i := range w.values {
		if x := &w.values[i]; !x.dirty {
			x.scope.seen.add(x.text)
		}
	}
}

// hits tells whether a test matches a value.
func (p *plan) hits(h *head, one *pair, x *value, w *Work) bool {
	if p.filter.chains[h.part.chain].multi {
		return p.hit(h.rule, h.part.chain, x.text, x.traits, &w.steps)
	}
	return h.rule.Test.Operator.Evaluate(p.tx, one.form) != h.rule.Test.Negated
}

// meets gives the conditions that the n-th form of a value meets. Many transformations end in the same one.
func (f *Filter) meets(n int, form string, w *Work) []uint64 {
	for len(w.met) <= n {
		w.met = append(w.met, read{})
	}
	if r := &w.met[n]; !r.done {
		r.done, r.bits = true, append(r.bits[:0], f.sieve.Scan(form, w.sieve)...)
	}
	return w.met[n].bits
}

// spared tells that an exception of the operator leaves the value out.
func (p *plan) spared(h *head, x *value) bool {
	if p.scope == (nothing{}) {
		return false
	}
	for i := range h.rule.Targets {
		t := &h.rule.Targets[i]
		if slices.Contains(basesOf(t.Variable), x.base) && takes(t, x.key) && !p.scope.Except(h.rule.ID, t.Variable, x.key) {
			return false
		}
	}
	return true
}

// hit tells whether the test of a rule or link matches a value.
func (p *plan) hit(r *secrule.Rule, chain int, text string, traits identity.Traits, steps *identity.Work) bool {
	if !p.filter.chains[chain].multi {
		return r.Test.Operator.Evaluate(p.tx, p.filter.tree.Apply(text, traits, chain, steps)) != r.Test.Negated
	}
	for _, form := range p.filter.tree.ApplyAll(text, traits, chain, steps, nil) {
		if r.Test.Operator.Evaluate(p.tx, form) != r.Test.Negated {
			return true
		}
	}
	return false
}

// seen is a value as the test of a rule sees it.
func (f *Filter) seen(r *secrule.Rule, text string, w *Work) string {
	return f.tree.Apply(text, identity.Of(text), f.parts[r].chain, &w.steps)
}
