package prefilter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// plan is what must be shown of a request so that the engine would match just the rules that it matched before, and what
// is needed to show it.
type plan struct {
	filter  *Filter
	scope   Scope
	err     error                  // why nothing can be shown
	matched map[int]int            // by the rules that do
	varied  func(name string) bool // variables that differ between requests all the same
	tx      secrule.Idle           // variables as they are whenever a test here reads them
	runs    []setter
	sweeps  []sweep                 // values to look at
	whole   []*head                 // rules that are asked as a whole: they count, or their first test says nothing of the request
	sifted  []*head                 // rules that are asked about single values
	byRule  map[*secrule.Rule]*head // of those that are only sifted
	heads   int
}

// head is a rule that must not match.
type head struct {
	rule   *secrule.Rule
	part   part
	number int  // among the heads of the plan
	order  int  // when it is asked
	asked  bool // false: its first test is not looked at; only its links can show that it doesn't match
	common bool // all requests of the class have in common whether its first test matches, and what is done then
}

// setter is a variable of TX that is written whenever the plan holds.
type setter struct {
	key   string // up to the first macro
	open  bool   // a macro follows
	order int
}

// reach tells which rules the engine comes to when these match.
func (f *Filter) reach(matched map[int]int, s Scope) ([]bool, error) {
	reached := make([]bool, len(f.rules))
	var after string
	for phase := 1; phase <= 2; phase++ {
		skip := 0
		for i, r := range f.rules {
			switch {
			case r.Phase != 0 && r.Phase != phase, r.ID != 0 && s.Off(r.ID):
			case after != "":
				if r.Mark == after {
					after = ""
				}
			case skip > 0:
				skip--
			case r.Mark != "":
			default:
				reached[i] = true
				if matched[r.ID] == 0 {
					continue
				}
				if err := flows(r); err != nil {
					return nil, err
				}
				after, skip = r.Actions.SkipAfter, r.Actions.Skip
			}
		}
	}
	return reached, nil
}

// newPlan derives what is to be shown.
func (l *Level) newPlan(matched map[int]int, tx map[string]string) *plan {
	f := l.filter
	p := &plan{filter: f, scope: l.scope, matched: matched, varied: l.isVaried, tx: secrule.Idle{TX: tx}, byRule: map[*secrule.Rule]*head{}}
	reached, err := f.reach(matched, l.scope)
	if err != nil {
		p.err = err
		return p
	}
	for i, r := range f.rules {
		if reached[i] && (matched[r.ID] > 0 || l.common[r] || onlyInternal(r)) {
			p.sets(r, order(r, i))
		}
	}
	p.err = p.odd(l, reached, matched)
	s := newSweeper(f)
	for i, r := range f.rules {
		switch {
		case !reached[i] || p.err != nil:
		case matched[r.ID] > 0:
			p.err = l.same(r)
		default:
			p.add(l, s, r, order(r, i))
		}
	}
	p.sweeps = s.done()
	return p
}

// onlyInternal tells that the first test of a rule reads nothing of the request, so that it does the same each time.
func onlyInternal(r *secrule.Rule) bool {
	return !slices.ContainsFunc(r.Targets, func(t secrule.Target) bool { return !isInternal(t.Variable) })
}

// place is that of the rule in the filter's list.
func (h *head) place() int { return h.order & (1<<20 - 1) }

// order is when the engine comes to a rule.
func order(r *secrule.Rule, i int) int { return r.Phase<<20 + i }

// sets notes the variables that a rule writes, if it and its links match.
func (p *plan) sets(r *secrule.Rule, order int) {
	for _, x := range whole(r) {
		for _, s := range x.Actions.Sets {
			key, _, open := strings.Cut(strings.ToLower(s.Key), "%{")
			p.runs = append(p.runs, setter{key, open, order})
		}
		if x.Actions.Capture {
			for n := range 10 {
				p.runs = append(p.runs, setter{string(rune('0' + n)), false, order})
			}
		}
	}
}

// settled tells that a variable has its last value when a rule reads it.
func (p *plan) settled(key string, order int) bool {
	key = strings.ToLower(key)
	if len(key) == 1 && key[0] >= '0' && key[0] <= '9' {
		return false // a captured group, which any match may write
	}
	if p.varied != nil && p.varied(key) {
		return false
	}
	return !slices.ContainsFunc(p.runs, func(s setter) bool {
		return s.order >= order && (s.key == key || s.open && strings.HasPrefix(key, s.key))
	})
}

// add takes in a rule that must not match.
func (p *plan) add(l *Level, s *sweeper, r *secrule.Rule, order int) {
	if r.Test == nil {
		p.err = fmt.Errorf("rule %d matches always and did not", r.ID)
		return
	}
	h := &head{rule: r, part: p.filter.parts[r], number: p.heads, order: order, asked: true}
	mixed, internal := false, onlyInternal(r)
	for _, t := range r.Targets {
		mixed = mixed || isInternal(t.Variable)
		if view.Phase(t.Variable) == 0 && !isInternal(t.Variable) {
			p.err = fmt.Errorf("rule %d reads %s, which is not the request's", r.ID, t.Variable.Name())
			return
		}
	}
	reads := slices.ContainsFunc(r.Links, func(x *secrule.Rule) bool {
		return slices.ContainsFunc(x.Targets, func(t secrule.Target) bool { return !isInternal(t.Variable) })
	})
	switch {
	case internal || l.common[r]:
		if matches, known := p.ask(r, order, nil, new(Work)); internal && known && !matches {
			return
		}
		tests := whole(r)
		if reads {
			tests = tests[:1]
		}
		if p.err = p.filter.varies(r, tests); !reads || p.err != nil {
			return // it sees what it saw before
		}
		h.asked, h.common = false, true
	case !h.part.safe || !p.allSettled(h.part.uses, order) || mixed && len(r.Links) > 0:
		h.asked = false
	}
	p.heads++
	if !h.asked {
		p.whole = append(p.whole, h)
		return
	}
	counts := false
	for _, t := range r.Targets {
		switch {
		case isInternal(t.Variable): // without links, it would have matched before
		case t.Count || !isSteady(t.Variable, r.Phase):
			counts = true
		default:
			s.add(h, t)
		}
	}
	p.sifted = append(p.sifted, h)
	if counts {
		p.whole = append(p.whole, h)
	} else {
		p.byRule[r] = h
	}
}

func (p *plan) allSettled(keys []string, order int) bool {
	for _, k := range keys {
		if !p.settled(k, order) {
			return false
		}
	}
	return true
}

// isSteady tells that a rule of the phase reads of the variable, or of what it is joined of, what the view has at the end.
func isSteady(v variables.RuleVariable, phase int) bool {
	if phase != 1 {
		return true
	}
	switch v {
	case variables.Args, variables.ArgsNames:
		return true // the sweeps leave the body's out
	case variables.ArgsCombinedSize, variables.ArgumentsLimitReached:
		return false
	}
	return view.Phase(v) == 1
}

// sweeper sorts the tests of all heads by what they look at.
type sweeper struct {
	filter *Filter
	order  []base
	found  map[base]*lens
}

func newSweeper(f *Filter) *sweeper { return &sweeper{filter: f, found: map[base]*lens{}} }

// lens is what looks at one variable, before it is known which of its keys a target takes.
type lens struct {
	all  []looker
	room int // how many texts are remembered that met no test
}

type looker struct {
	head   *head
	target secrule.Target
}

func (s *sweeper) add(h *head, t secrule.Target) {
	for _, b := range basesOf(t.Variable) {
		if h.rule.Phase == 1 && view.Phase(b.variable) > 1 {
			continue
		}
		n := s.found[b]
		if n == nil {
			n = &lens{room: fewPassed}
			if b.variable == variables.ArgsGet || b.variable == variables.ArgsPost {
				n.room = manyPassed
			}
			s.found[b] = n
			s.order = append(s.order, b)
		}
		n.all = append(n.all, looker{h, t})
	}
}

// sweep is a variable to go over, and what is asked of each of its values.
type sweep struct {
	base     base
	plain    *scope   // what is asked of a key that no target chooses
	names    []string // keys that targets name, in lower case
	patterns []*regexp.Regexp
	lens     *lens
	known    *sync.Map // which of those fit (bits) -> *scope
	filter   *Filter
}

// maxChoices is how many names and patterns a sweep can tell apart; no rule set comes near it.
const maxChoices = 64

func (s *sweeper) done() (sweeps []sweep) {
	for _, b := range s.order {
		n := s.found[b]
		w := sweep{base: b, lens: n, known: new(sync.Map), filter: s.filter}
		w.plain = s.filter.scope(n, takesOthers)
		for _, k := range n.all {
			w.choose(k.target.Key, k.target.KeyPattern)
			for _, e := range k.target.Except {
				w.choose(e.Key, e.KeyPattern)
			}
		}
		sweeps = append(sweeps, w)
	}
	return sweeps
}

// choose notes a way in which targets choose keys.
func (w *sweep) choose(name string, pattern *regexp.Regexp) {
	switch name = strings.ToLower(name); {
	case pattern != nil:
		if !slices.ContainsFunc(w.patterns, func(p *regexp.Regexp) bool { return p.String() == pattern.String() }) {
			w.patterns = append(w.patterns, pattern)
		}
	case name != "" && !slices.Contains(w.names, name):
		w.names = append(w.names, name)
	}
}

// of gives what is asked of a key's value. Keys that fit the same names and patterns are asked the same.
func (w *sweep) of(key string) *scope {
	if len(w.names)+len(w.patterns) == 0 {
		return w.plain
	}
	if len(w.names)+2*len(w.patterns) > maxChoices {
		return w.filter.scope(w.lens, func(t *secrule.Target) bool { return takes(t, key) })
	}
	low, fits := strings.ToLower(key), uint64(0)
	for i, name := range w.names {
		if name == low {
			fits |= 1 << i
		}
	}
	for i, p := range w.patterns {
		if p.MatchString(key) {
			fits |= 1 << (len(w.names) + 2*i)
		}
		if p.MatchString(low) {
			fits |= 1 << (len(w.names) + 2*i + 1)
		}
	}
	if fits == 0 {
		return w.plain
	}
	if found, ok := w.known.Load(fits); ok {
		return found.(*scope)
	}
	found := w.filter.scope(w.lens, func(t *secrule.Target) bool { return takes(t, key) })
	w.known.Store(fits, found)
	return found
}

// scope is what is asked of one value.
type scope struct {
	size   int // how many tests
	groups []group
	seen   *passed
	places []uint64 // of the rules
	fewer  sync.Map // Never -> *scope
	kept   atomic.Int32
}

// maxFewer bounds how many smaller scopes one keeps; contracts bring a few, and those that come after are made each time.
const maxFewer = 256

// without is the scope without the rules that never match.
func (c *scope) without(never Never) *scope {
	if found, ok := c.fewer.Load(never); ok {
		return found.(*scope)
	}
	fewer := new(scope)
	for i := range c.groups {
		if g := c.groups[i].without(never); len(g.always)+len(g.tests) > 0 {
			fewer.groups = append(fewer.groups, g)
			fewer.size += len(g.always)
			for _, list := range g.tests {
				fewer.size += len(list)
			}
		}
	}
	if fewer.size == 0 {
		fewer = nil
	} else {
		fewer.seen = newPassed(len(c.seen.marks))
	}
	if c.kept.Add(1) <= maxFewer {
		c.fewer.Store(never, fewer)
	}
	return fewer
}

func (g *group) without(never Never) group {
	fewer := group{chain: g.chain, mask: make([]uint64, len(g.mask)), tests: map[int][]*head{}}
	matters := func(list []*head) (left []*head) {
		for _, h := range list {
			if !never.Has(h.place()) {
				left = append(left, h)
			}
		}
		return left
	}
	fewer.always = matters(g.always)
	for id, list := range g.tests {
		if left := matters(list); len(left) > 0 {
			fewer.tests[id] = left
			fewer.mask[id/64] |= 1 << (id % 64)
		}
	}
	return fewer
}

// group are the tests behind the same transformations.
type group struct {
	chain  int
	mask   []uint64 // conditions of its tests
	tests  map[int][]*head
	always []*head // tests that have no condition
}

// scope gathers the tests of the targets that take a key; nil when none does.
func (f *Filter) scope(n *lens, takes func(*secrule.Target) bool) *scope {
	c, at := &scope{places: make([]uint64, (len(f.rules)+63)/64)}, map[int]int{}
	for _, k := range n.all {
		if !takes(&k.target) {
			continue
		}
		i, ok := at[k.head.part.chain]
		if !ok {
			i = len(c.groups)
			at[k.head.part.chain] = i
			c.groups = append(c.groups, group{chain: k.head.part.chain, mask: make([]uint64, (f.sieve.Size()+63)/64), tests: map[int][]*head{}})
		}
		g := &c.groups[i]
		c.size++
		place := k.head.place()
		c.places[place/64] |= 1 << (place % 64)
		if id := k.head.part.sieve; id >= 0 {
			g.mask[id/64] |= 1 << (id % 64)
			g.tests[id] = append(g.tests[id], k.head)
		} else {
			g.always = append(g.always, k.head)
		}
	}
	if c.size == 0 {
		return nil
	}
	c.seen = newPassed(n.room)
	return c
}
