package waf

import (
	"slices"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// scope is what exceptions leave out for one operation, as the prefilter asks for it. What is in detection is not left out:
// it is the engine that counts it.
type scope struct {
	off     []int
	applied seclang.Applied
	sinks   confined // what the contract says of where values go; nothing when it doesn't
}

func scopeOf(a seclang.Applied, c confined, in inside) prefilter.Scope {
	s := scope{off: slices.Clone(in.rules), applied: a.Off()}
	if c.sinks {
		s.sinks = c
	}
	for _, e := range s.applied {
		if e.Argument == "" {
			s.off = append(s.off, e.Rule)
		}
	}
	if len(s.applied) == 0 && !c.sinks && in.mask == nil {
		return nil
	}
	return s
}

// Off tells that a rule is not asked.
func (s scope) Off(rule int) bool { return slices.Contains(s.off, rule) }

// Except tells that a rule does not look at a value.
func (s scope) Except(rule int, variable variables.RuleVariable, key string) bool {
	return s.applied.Covers(rule, variable.Name(), key) || s.sinks.sinks && s.sinks.Except(rule, variable, key)
}

// settings are what levels without exceptions differ in.
type settings struct {
	paranoia, threshold int
	learn               bool
}

// scoped is what levels of one guard differ in.
type scoped struct {
	operation  string // "" where it is no matter
	exceptions int
	sinks      bool
	inside     *confine.Mask
}

// level gives the prefilter for a request, made when it is first asked for: it waits until the rules are derived. It is nil when
// nothing can be derived from them: then the engine judges all. Guards of the same rules and settings share one.
func (g *Guard) level(x *gate.Exchange, a seclang.Applied, in inside) *prefilter.Level {
	d := g.derived()
	if <-d.done; d.filter == nil {
		return nil
	}
	levels, key := &g.set.levels, any(settings{g.cfg.Paranoia, g.cfg.Threshold, g.learning != nil})
	c := g.sinks(x)
	switch {
	case len(a) > 0 || c.sinks: // those of an operation only ever become fewer, as they end
		levels, key = &g.levels, scoped{x.Operation.Key, len(a), c.sinks, in.mask}
	case in.mask != nil:
		levels, key = &g.levels, scoped{inside: in.mask}
	}
	if found, ok := levels.Load(key); ok {
		return found.(*prefilter.Level)
	}
	level, err := d.filter.NewLevel(scopeOf(a, c, in), g.neutral(x.Operation, a, in.rules))
	if err != nil {
		level = nil
	}
	found, _ := levels.LoadOrStore(key, level)
	return found.(*prefilter.Level)
}

// Warm begins to derive what the first request would wait for.
func (g *Guard) Warm() { g.derived() }

// derived is the prefilter of this guard's rules.
func (g *Guard) derived() *derived {
	if g.learning != nil {
		return g.set.derive(min(g.cfg.Paranoia+1, 4))
	}
	return g.set.derive(g.cfg.Paranoia)
}

// neutral is what the rules say of a request that nobody could mind.
func (g *Guard) neutral(op *gate.Operation, a seclang.Applied, off []int) prefilter.Outcome {
	x := &gate.Exchange{
		ID: "neutral",
		Request: &canon.Request{
			Method: "GET", Scheme: "https", Host: "api.example", Path: "/", Segments: []string{""}, Major: 1,
			Fields: map[string][]string{"Accept": {"*/*"}, "User-Agent": {"neutral"}},
		},
		Operation: op,
	}
	var v view.View
	v.Fill(x, nil)
	tx := g.open(x, off)
	if tx == nil {
		return prefilter.Outcome{Denied: true}
	}
	defer tx.Close()
	a.ApplyOff(tx)
	it, err := phases(tx, &v)
	o := outcomeOf(tx)
	o.Denied = it != nil || err != nil
	return o
}
