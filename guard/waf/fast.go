package waf

import (
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// arguments are the variables in which an exception for an argument holds.
var arguments = []variables.RuleVariable{variables.Args, variables.ArgsGet, variables.ArgsPost}

// holds tells whether an exception is one for the operation.
func (e Exception) holds(op *gate.Operation) bool { return e.Operation == "" || e.Operation == op.Key }

// scope is what the exceptions leave out for one operation; it is the prefilter's view of them.
type scope []Exception

// Off tells that a rule is not asked.
func (s scope) Off(rule int) bool {
	return slices.ContainsFunc(s, func(e Exception) bool { return e.Rule == rule && e.Argument == "" })
}

// Except tells that a rule does not look at a value.
func (s scope) Except(rule int, variable variables.RuleVariable, key string) bool {
	return slices.ContainsFunc(s, func(e Exception) bool {
		return e.Rule == rule && e.Argument != "" && slices.Contains(arguments, variable) && strings.EqualFold(e.Argument, key)
	})
}

// level gives the prefilter for an operation, made when it is first asked for. It is nil when nothing can be derived from
// the rules: then the engine judges all. Guards of the same settings share one.
func (g *Guard) level(s *ruleSet, op *gate.Operation) *prefilter.Level {
	filter := s.filter.Load()
	if filter == nil {
		return nil
	}
	var sc scope
	for _, e := range g.cfg.Except {
		if e.holds(op) {
			sc = append(sc, e)
		}
	}
	levels, key := &g.levels, any(op.Key)
	if len(sc) == 0 {
		levels, key = &s.levels, [2]int{g.cfg.Paranoia, g.cfg.Threshold}
	}
	if found, ok := levels.Load(key); ok {
		return found.(*prefilter.Level)
	}
	level, err := filter.NewLevel(sc, g.neutral(s, op))
	if err != nil {
		level = nil
	}
	found, _ := levels.LoadOrStore(key, level)
	return found.(*prefilter.Level)
}

// neutral is what the rules say of a request that nobody could mind, under the exceptions of an operation.
func (g *Guard) neutral(s *ruleSet, op *gate.Operation) prefilter.Outcome {
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
	tx := g.open(s, x, nil)
	if tx == nil {
		return prefilter.Outcome{Denied: true}
	}
	defer tx.Close()
	it, err := judge(tx, &v)
	o := outcomeOf(tx)
	o.Denied = it != nil || err != nil
	return o
}
