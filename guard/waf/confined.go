package waf

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// confined is what the contract says of the values of an operation.
type confined struct {
	*confine.Scope      // nil without a contract, or before it is made
	sinks          bool // it says of some value where that goes
}

// known is how an operation's values become confined.
type known struct {
	once  sync.Once
	sinks bool
	scope atomic.Pointer[confine.Scope]
}

// confined gives what is known so far: the first request begins to work it out, and no request waits for it. But where the
// contract says of a value where it goes, it is worked out first, so that nobody is denied by rules that do not apply.
func (g *Guard) confined(op *gate.Operation) confined {
	if op.Contract == nil {
		return confined{}
	}
	found, ok := g.scopes.Load(op.Key)
	if !ok {
		found, _ = g.scopes.LoadOrStore(op.Key, new(known))
	}
	k := found.(*known)
	k.once.Do(func() {
		k.sinks = slices.ContainsFunc(op.Contract.Places(), func(p openapi.Place) bool { return p.Sink != "" || p.Value.HasSink() })
		if k.sinks {
			k.make(op, g.derived())
		} else {
			go k.make(op, g.derived())
		}
	})
	return confined{k.scope.Load(), k.sinks && k.scope.Load() != nil}
}

func (k *known) make(op *gate.Operation, d *derived) {
	<-d.said
	if d.confine == nil {
		return
	}
	if s, err := confine.New(op.Contract, d.confine); err == nil {
		k.scope.Store(s)
	}
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

// sinks is what the contract says of where the values of a request go, if the document wants to know and the request was found to
// be what its contract declares: of any other it says nothing.
func (g *Guard) sinks(x *gate.Exchange) confined {
	if g.cfg.Exact || !x.Conforms() {
		return confined{}
	}
	return g.confined(x.Operation)
}

// inside is the part of a request that lies under codings of values of which the contract says the same: the rules that leave it
// out, and their numbers. The zero inside is what is not said anything of.
type inside struct {
	mask  *confine.Mask
	rules []int
}

// Field is one place of values in an operation, and how the rules look at it.
type Field struct {
	In         string `json:"in"`             // path, query, header, cookie, json, form, text or xml
	Name       string `json:"name"`           // of the parameter or field, or the way to it in JSON: items.*.sku
	Inspection string `json:"inspection"`     // in words: inspected by 12 of 98 rules
	Why        string `json:"why"`            // what its values look like
	Sink       string `json:"sink,omitempty"` // what the contract says of where it goes
	Pointer    string `json:"pointer"`        // of the schema or parameter in the contract
}

// Fields tells how each place of values that the contract of an operation knows is inspected, while the contract is enforced.
// What the contract leaves open is always inspected, and not listed. It takes as long as deriving the rules.
func (g *Guard) Fields(op *gate.Operation) (list []Field) {
	d := g.derived()
	if <-d.said; d.confine == nil || op.Contract == nil {
		return nil
	}
	s, err := confine.New(op.Contract, d.confine)
	if err != nil {
		return nil
	}
	for _, f := range s.Fields() {
		one := Field{In: f.In, Name: f.Name, Why: f.Why, Sink: f.Sink, Pointer: f.Pointer, Inspection: "inspected by all rules"}
		if !g.cfg.Exact {
			one.Inspection = s.Inspection(f, g.cfg.Paranoia).String()
		}
		list = append(list, one)
	}
	return list
}
