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
	sieve  *literal.Work
	steps  identity.Work // of the value that is looked at
	links  identity.Work // of the values that links are asked about meanwhile
	key    []byte
	fields []string
	class  *class // of the request that was judged last
	first  int    // the rule that was not shown not to match
	value  value  // that is looked at
	met    []read // conditions that it meets, by the number of its form; 0 is as it is
	texts  []string
	asked  []bool // by head: its links were asked, or the engine must ask it
	fails  []bool // by head: its chain fails
	budget budget
}

// value is a value of a request, on its way past the tests.
type value struct {
	base   base
	key    string
	text   string
	traits identity.Traits
}

// read is what is known of one form of a value.
type read struct {
	done bool
	bits []uint64
}

// NewWork makes room.
func (f *Filter) NewWork() *Work { return &Work{sieve: f.sieve.NewWork()} }

// Forget drops what is left of the last request.
func (w *Work) Forget() {
	w.steps.Reset()
	w.links.Reset()
	clear(w.fields[:cap(w.fields)])
	clear(w.texts[:cap(w.texts)])
	clear(w.key[:cap(w.key)])
	w.class, w.value = nil, value{}
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
	w.fails = append(w.fails[:0], make([]bool, p.heads)...)
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
	return p.sweep(v, w, func(h *head) (more bool) { return p.test(h, v, w) })
}

// sweep goes over all values and visits the tests whose conditions one of them meets, until one makes it stop.
func (p *plan) sweep(v Values, w *Work, visit func(*head) (more bool)) bool {
	for i := range p.sweeps {
		s := &p.sweeps[i]
		for _, pair := range v.Of(s.base.variable) {
			c := s.of(pair.Key)
			if c == nil {
				continue
			}
			w.value = value{base: s.base, key: pair.Key, text: pair.Text}
			if s.base.names {
				w.value.text = pair.Key
			}
			if !p.look(c, w, visit) {
				return false
			}
		}
	}
	return true
}

// look visits the tests of a scope whose conditions the value meets.
func (p *plan) look(c *scope, w *Work, visit func(*head) (more bool)) bool {
	x := &w.value
	w.budget.engine += int64(c.size) * int64(len(x.text)+each64)
	if c.seen.has(x.text) {
		return true
	}
	before := w.budget.hits
	x.traits = identity.Of(x.text)
	for i := range w.met {
		w.met[i].done = false
	}
	for i := range c.groups {
		g := &c.groups[i]
		ch := &p.filter.chains[g.chain]
		switch {
		case ch.known && x.traits&ch.needs&^identity.Case == 0:
			if !g.each(p.filter.meets(0, x.text, w), visit) {
				return false
			}
		case ch.multi:
			w.texts = p.filter.tree.ApplyAll(x.text, x.traits, g.chain, &w.steps, w.texts[:0])
			for _, form := range w.texts {
				if !g.each(p.filter.sieve.Scan(form, w.sieve), visit) {
					return false
				}
			}
		default:
			n := p.filter.tree.Reach(x.text, x.traits, g.chain, &w.steps)
			if !g.each(p.filter.meets(n, w.steps.Text(n), w), visit) {
				return false
			}
		}
	}
	if w.budget.hits == before {
		c.seen.add(x.text)
	}
	return true
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

// each visits the tests of a group whose conditions are met, until one makes it stop.
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

// test asks the engine's operator about the value, and tells that the rule doesn't match by it.
func (p *plan) test(h *head, v Values, w *Work) bool {
	if p.spared(h, w) || w.asked[h.number] && w.fails[h.number] {
		w.budget.hits++
		return true
	}
	if !w.budget.spend(w.value.text) {
		w.first = h.rule.ID
		return false
	}
	if !p.hit(h.rule, h.part.chain, w.value.text, w.value.traits, &w.steps) {
		return true
	}
	w.budget.hits++
	if p.chainFails(h, v, w) {
		return true
	}
	w.first = h.rule.ID
	return false
}

// spared tells that an exception of the operator leaves the value out.
func (p *plan) spared(h *head, w *Work) bool {
	if p.scope == (nothing{}) {
		return false
	}
	for i := range h.rule.Targets {
		t := &h.rule.Targets[i]
		if slices.Contains(basesOf(t.Variable), w.value.base) && takes(t, w.value.key) && !p.scope.Except(h.rule.ID, t.Variable, w.value.key) {
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
	if !w.asked[h.number] {
		w.asked[h.number], w.fails[h.number] = true, p.linkFails(h, v, w)
	}
	return w.fails[h.number]
}

func (p *plan) linkFails(h *head, v Values, w *Work) bool {
	if p.filter.leaves(h.rule) && !h.common {
		return false
	}
	for _, link := range h.rule.Links {
		matches, known := p.ask(link, h.order, v, w)
		if known && !matches {
			return true
		}
		if p.filter.leaves(link) {
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
				matches = matches || p.hit(r, k.chain, text, identity.Of(text), &w.links)
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
	return p.hit(r, p.filter.parts[r].chain, text, identity.Of(text), &steps)
}

// First is the number of the rule that the last judgement could not show not to match.
func (w *Work) First() int { return w.first }
