package prefilter

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// Work is the room that judging one request needs. It is used again for the next, by one goroutine at a time.
type Work struct {
	filter *Filter
	sieve  *literal.Work
	steps  identity.Work
	key    []byte
	fields []string
	class  *class // of the request that was judged last
	first  int    // the rule that was not shown not to match

	raw    []uint64 // conditions that the value meets
	others []read   // and what its transformed forms meet
	texts  []string

	chains []bool // by head: the links were asked, and its chain fails
	asked  []bool
	budget budget
}

// read is a text and the conditions that it meets.
type read struct {
	text string
	bits []uint64
}

// NewWork makes room.
func (f *Filter) NewWork() *Work {
	n := (f.sieve.Size() + 63) / 64
	return &Work{filter: f, sieve: f.sieve.NewWork(), raw: make([]uint64, n)}
}

// budget weighs what the engine would do against what is done here, in bytes times tests. What is asked of operators may be
// a small part of what the engine would ask, so that a request that can't be shown harmless costs little more than the
// engine alone.
type budget struct {
	engine, here int64
	hits         int // tests that matched, or were not asked because of an exception
}

const (
	each64 = 64 // what a test costs beside the bytes of its value
	part16 = 16 // of the engine's work may be done here
	free   = 1 << 15
)

func (b *budget) spend(text string) bool {
	b.here += int64(len(text) + each64)
	return b.here <= free+b.engine/part16
}

// begin makes the work ready for a request.
func (w *Work) begin(p *plan) {
	w.budget = budget{}
	w.asked = append(w.asked[:0], make([]bool, p.heads)...)
	w.chains = append(w.chains[:0], make([]bool, p.heads)...)
}

// judge tells whether no head of the plan can match.
func (p *plan) judge(v Values, w *Work) bool {
	if v.TooMany() {
		return false
	}
	w.begin(p)
	for _, h := range p.whole {
		if p.matches(h, v, w) {
			w.first = h.rule.ID
			return false
		}
	}
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
			if !p.passes(c, s.base, pair.Key, text, v, w) {
				return false
			}
		}
	}
	return true
}

// passes tells that no test of a scope makes its rule match on this value.
func (p *plan) passes(c *scope, b base, key, text string, v Values, w *Work) bool {
	w.budget.engine += int64(c.size) * int64(len(text)+each64)
	if c.seen.has(text) {
		return true
	}
	before := w.budget.hits
	traits := identity.Of(text)
	copy(w.raw, p.filter.sieve.Scan(text, w.sieve))
	w.others = w.others[:0]
	for i := range c.groups {
		g := &c.groups[i]
		ch := &p.filter.chains[g.chain]
		if ch.known && traits&ch.needs&^identity.Case == 0 {
			if !p.group(g, w.raw, text, traits, b, key, v, w) {
				return false
			}
			continue
		}
		for _, form := range p.filter.forms(g.chain, text, traits, w) {
			if !p.group(g, p.filter.meets(form, text, w), text, traits, b, key, v, w) {
				return false
			}
		}
	}
	if w.budget.hits == before {
		c.seen.add(text)
	}
	return true
}

// forms are what the tests behind transformations see, up to ASCII case.
func (f *Filter) forms(chain int, text string, traits identity.Traits, w *Work) []string {
	if f.chains[chain].multi {
		w.texts = f.tree.ApplyAll(text, traits, chain, &w.steps, w.texts[:0])
	} else {
		w.texts = append(w.texts[:0], f.tree.ApplyFolded(text, traits, chain, &w.steps))
	}
	return w.texts
}

// meets gives the conditions that a form of a value meets. Many transformations end in the same text.
func (f *Filter) meets(form, text string, w *Work) []uint64 {
	if form == text {
		return w.raw
	}
	for i := range w.others {
		if w.others[i].text == form {
			return w.others[i].bits
		}
	}
	if len(w.others) < cap(w.others) {
		w.others = w.others[:len(w.others)+1]
	} else {
		w.others = append(w.others, read{})
	}
	r := &w.others[len(w.others)-1]
	r.text, r.bits = form, append(r.bits[:0], f.sieve.Scan(form, w.sieve)...)
	return r.bits
}

// group asks the tests of a group whose conditions are met.
func (p *plan) group(g *group, met []uint64, text string, traits identity.Traits, b base, key string, v Values, w *Work) bool {
	return g.each(met, func(h *head) bool { return p.test(h, text, traits, b, key, v, w) })
}

// each visits the tests whose conditions are met, until one makes it stop.
func (g *group) each(met []uint64, visit func(*head) (more bool)) bool {
	for _, h := range g.always {
		if !visit(h) {
			return false
		}
	}
	for i, mask := range g.mask {
		for rest := mask & met[i]; rest != 0; rest &= rest - 1 {
			for _, h := range g.tests[i*64+bits.TrailingZeros64(rest)] {
				if !visit(h) {
					return false
				}
			}
		}
	}
	return true
}

// test asks the engine's operator about a value, and tells that the rule doesn't match by it.
func (p *plan) test(h *head, text string, traits identity.Traits, b base, key string, v Values, w *Work) bool {
	if p.spared(h, b, key) || w.asked[h.number] && w.chains[h.number] {
		w.budget.hits++
		return true
	}
	if !w.budget.spend(text) {
		w.first = h.rule.ID
		return false
	}
	if !p.hit(h.rule, h.part.chain, p.tx, text, traits, w) {
		return true
	}
	w.budget.hits++
	if p.fails(h, v, w) {
		return true
	}
	w.first = h.rule.ID
	return false
}

// spared tells that an exception of the operator leaves the value out.
func (p *plan) spared(h *head, b base, key string) bool {
	for i := range h.rule.Targets {
		t := &h.rule.Targets[i]
		if slices.Contains(basesOf(t.Variable), b) && takes(t, key) && !p.scope.Except(h.rule.ID, t.Variable, key) {
			return false
		}
	}
	return true
}

// hit tells whether the test of a rule or link matches a value.
func (p *plan) hit(r *secrule.Rule, chain int, state idle, text string, traits identity.Traits, w *Work) bool {
	if !p.filter.chains[chain].multi {
		return r.Test.Operator.Evaluate(state, p.filter.tree.Apply(text, traits, chain, &w.steps)) != r.Test.Negated
	}
	for _, form := range p.filter.tree.ApplyAll(text, traits, chain, &w.steps, nil) {
		if r.Test.Operator.Evaluate(state, form) != r.Test.Negated {
			return true
		}
	}
	return false
}

// seen is a value as the test of a rule sees it.
func (f *Filter) seen(r *secrule.Rule, text string, w *Work) string {
	return f.tree.Apply(text, identity.Of(text), f.parts[r].chain, &w.steps)
}

// matches asks a rule as a whole.
func (p *plan) matches(h *head, v Values, w *Work) bool {
	if h.asked {
		matches, known := p.ask(h.rule, h.order, v, w)
		if known && !matches {
			return false
		}
	}
	return !p.fails(h, v, w)
}

// fails tells that the chain of a rule fails at a link, before anything was remembered, though its first test matches.
func (p *plan) fails(h *head, v Values, w *Work) bool {
	if w.asked[h.number] {
		return w.chains[h.number]
	}
	w.asked[h.number] = true
	w.chains[h.number] = p.chainFails(h, v, w)
	return w.chains[h.number]
}

func (p *plan) chainFails(h *head, v Values, w *Work) bool {
	if h.rule.SideEffects() && h.asked { // of a rule that is not asked, all requests of the class have them in common
		return false
	}
	for _, link := range h.rule.Links {
		matches, known := p.ask(link, h.order, v, w)
		if known && !matches {
			return true
		}
		if link.SideEffects() {
			return false
		}
	}
	return false
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
			matches = matches || p.constant(r, t)
		case isInternal(t.Variable) || v == nil || view.Phase(t.Variable) == 0:
			known = false
		case t.Count:
			matches = matches || p.alone(r, count(v, phase, t, id, p.scope))
		default:
			each(v, phase, t, id, p.scope, func(text string) bool {
				if !w.budget.spend(text) {
					known = false
					return false
				}
				matches = matches || p.hit(r, k.chain, p.tx, text, identity.Of(text), w)
				return !matches
			})
		}
	}
	return matches, matches || known
}

// constant asks a test about a settled variable of TX.
func (p *plan) constant(r *secrule.Rule, t *secrule.Target) bool {
	value, ok := p.tx.tx[strings.ToLower(t.Key)]
	switch {
	case t.Count && ok:
		return p.alone(r, "1")
	case t.Count:
		return p.alone(r, "0")
	}
	return ok && p.alone(r, value)
}

// alone asks a test about a value that is not the request's.
func (p *plan) alone(r *secrule.Rule, text string) bool {
	var steps identity.Work
	w := Work{steps: steps}
	return p.hit(r, p.filter.parts[r].chain, p.tx, text, identity.Of(text), &w)
}

// First is the number of the rule that the last judgement could not show not to match.
func (w *Work) First() int { return w.first }
