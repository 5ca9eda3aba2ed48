package prefilter

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// Work is the room that judging one request needs. It is used again for the next, by one goroutine at a time.
type Work struct {
	filter *Filter // that it was made for
	sieve  *literal.Work
	steps  identity.Work // of the value that is looked at
	links  identity.Work // of the values that links are asked about meanwhile
	key    []byte
	fields []string
	class  *class // of the request that was judged last
	first  int    // the rule that was not shown not to match
	met    []read // conditions that a value meets, by the number of its form; 0 is as it is
	texts  []string
	values []value // that meet the condition of some test
	pairs  []pair  // of a test and a value that meets its condition
	heads  []state // of each head
	budget budget
	find   Find                   // what is known of values; nil for nothing
	late   func(text string) bool // the time is up; nil for no end
}

// Watch says when to give up: late is told each value that is looked at, until Forget. Nothing is shown of a request for
// which the time was up.
func (w *Work) Watch(late func(text string) bool) { w.late = late }

// Know says what is known of the values of the next requests, until Forget.
func (w *Work) Know(find Find) { w.find = find }

// value is a value of a request, on its way past the tests.
type value struct {
	base   base
	key    string
	text   string
	traits identity.Traits
	scope  *scope
	dirty  bool // some test matched it, or was not asked about it
}

// pair is a test that must be asked about a value.
type pair struct {
	value int32
	next  int32  // of the same test, 0 for none; pairs count from 1
	form  string // the value as the test sees it
}

// state is what is known of a head in this request.
type state struct {
	first int32 // of its pairs
	hit   bool  // it matched a value, or was not asked about one
	asked bool  // about its links
	fails bool  // its chain fails
}

// read is what is known of one form of a value.
type read struct {
	done bool
	bits []uint64
}

// NewWork makes room.
func (f *Filter) NewWork() *Work { return &Work{filter: f, sieve: f.sieve.NewWork()} }

// Fits tells that the room was made for this level's filter.
func (l *Level) Fits(w *Work) bool { return w != nil && w.filter == l.filter }

// Forget drops what is left of the last request.
func (w *Work) Forget() {
	w.steps.Reset()
	w.links.Reset()
	clear(w.fields[:cap(w.fields)])
	clear(w.texts[:cap(w.texts)])
	clear(w.key[:cap(w.key)])
	w.values, w.pairs = emptied(w.values), emptied(w.pairs)
	w.class, w.find, w.late = nil, nil, nil
}

// emptied is room for the next, without what was in it; more than most requests need is given back.
func emptied[T any](list []T) []T {
	if cap(list) > 1<<12 {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

// budget weighs what the engine would do against what is done here, in bytes times tests. A test that is asked here and
// does not match need not be asked by the engine; one that matches is asked twice. So what may be spent on tests that match
// is a small part of what the engine would ask, and a request that can't be shown harmless costs little more than the engine
// alone, whoever made it up.
type budget struct{ engine, links, waste int64 }

const (
	each64 = 64 // what a test costs beside the bytes of its value
	part16 = 16 // of the engine's work may be wasted, and as much be done for links
	free   = 1 << 12
)

func cost(text string) int64 { return int64(len(text) + each64) }

// spend pays for asking a link.
func (b *budget) spend(text string) bool {
	b.links += cost(text)
	return b.links <= free+b.engine/part16
}

// begin makes the work ready for a request.
func (w *Work) begin(p *plan) {
	w.budget = budget{}
	w.heads = append(w.heads[:0], make([]state, p.heads)...)
	w.values, w.pairs = w.values[:0], append(w.pairs[:0], pair{})
}

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

// miss notes a head that can't be shown not to match.
func (w *Work) miss(h *head) {
	w.heads[h.number].hit = true
	if w.first == 0 {
		w.first = h.rule.ID
	}
}

// giveUp notes that nothing was shown.
func (w *Work) giveUp() {
	for i := range w.heads {
		w.heads[i].hit = true
	}
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
			if s.hit = s.hit || w.budget.waste > free+w.budget.engine/part16 || w.late != nil && w.late(x.text); s.hit {
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
