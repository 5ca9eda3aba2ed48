package waf

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Try tells what the rules say of a request, with all that matched, by the engine alone: for comparing rule sets. It counts
// nothing and learns nothing.
func (g *Guard) Try(ctx context.Context, x *gate.Exchange) (seclang.Outcome, error) {
	if err := g.set.compile(); err != nil {
		return seclang.Outcome{}, err
	}
	tooLarge := seclang.Outcome{Denied: true, Status: gate.TooLarge.Status()}
	tree := &body.Tree{}
	if inspects(x.Operation) && x.Request.Length != 0 {
		var v gate.Verdict
		if tree, v = x.Body(ctx); !v.Allowed() {
			return seclang.Outcome{Denied: true, Status: v.Code.Status()}, nil
		}
	}
	r := g.rules.room()
	defer g.rules.giveBack(r)
	r.view.Fill(x, tree)
	if r.view.TooMany() {
		return tooLarge, nil
	}
	o, err := g.try(x, &r.view, inside{})
	for l, more := (&layers{sinks: g.sinks(x)}), true; more && err == nil && !o.Denied; more = l.next() {
		inner, whole := g.deeper(x, r, l)
		switch {
		case !whole:
			return tooLarge, nil
		case inner == nil:
			continue
		}
		before := o.Rules
		o, err = g.try(inner, &r.nested, l.inside())
		o.Rules = append(before, o.Rules...)
		slices.Sort(o.Rules)
		o.Rules = slices.Compact(o.Rules)
	}
	return o, err
}

// try asks the engine about one view.
func (g *Guard) try(x *gate.Exchange, v *view.View, in inside) (o seclang.Outcome, err error) {
	tx := g.open(x, in.rules)
	if tx == nil {
		return o, errors.New("this version of the engine is not the one that is known")
	}
	defer tx.Close()
	tx.Variables().TX().Set("detection_paranoia_level", []string{strconv.Itoa(g.cfg.Paranoia)}) // without what is learned
	g.except.For(x.Operation.Key, g.now()).Apply(tx)
	g.leaveOut(tx, x, v)
	var m meter
	m.start(g.cfg.Budget)
	defer m.end()
	defer g.set.clock.of(tx, &m)()
	it, err := phases(tx, v)
	if m.over {
		return seclang.Outcome{Denied: true, Status: gate.TooLarge.Status()}, nil
	}
	return seclang.Judged(tx, it), err
}
