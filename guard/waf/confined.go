package waf

import (
	"slices"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
)

// confined is what the contract says of the values of an operation.
type confined struct {
	*confine.Scope      // nil without a contract, or before the rules are understood
	sinks          bool // it says of some value where that goes
}

// confined is made when it is first asked for.
func (g *Guard) confined(op *gate.Operation) confined {
	rules := g.derived().confine.Load()
	if op.Contract == nil || rules == nil {
		return confined{}
	}
	if found, ok := g.scopes.Load(op.Key); ok {
		return found.(confined)
	}
	var c confined
	if s, err := confine.New(op.Contract, rules); err == nil {
		c = confined{s, slices.ContainsFunc(s.Fields(), func(f confine.Field) bool { return f.Sink != "" })}
	}
	found, _ := g.scopes.LoadOrStore(op.Key, c)
	return found.(confined)
}

// finder tells the prefilter what is known of the values of a request that was found to be what its contract declares.
func (g *Guard) finder(x *gate.Exchange) prefilter.Find {
	if !x.Conforms() || g.cfg.Exact {
		return nil
	}
	c := g.confined(x.Operation)
	if c.Scope == nil {
		return nil
	}
	return func(variable variables.RuleVariable, key, text string) (value, name prefilter.Never) {
		return c.Find(variable, key, text)
	}
}
