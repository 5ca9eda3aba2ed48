package prefilter

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// Narrowing is what the engine need not do for one request, and what is left to it.
type Narrowing struct {
	Remove []int // rules that can't match this request, whatever the others do
	Work   int64 // what the rest costs, in bytes times tests
}

// newNarrow derives which rules may be taken from the engine for one request: those whose first test reads values of the
// request alone, so that it can be shown not to match whatever other rules did before. Rules that a skip counts over stay:
// the engine doesn't count those that are removed.
func (l *Level) newNarrow(reached []bool) *plan {
	f := l.filter
	p := &plan{filter: f, scope: l.scope}
	counted := f.skipped()
	s := newSweeper(f)
	for i, r := range f.rules {
		if !reached[i] || counted[i] || !f.isAlone(r) {
			continue
		}
		h := &head{rule: r, part: f.parts[r], number: p.heads, order: order(r, i), asked: true}
		p.heads++
		p.whole = append(p.whole, h)
		for _, t := range r.Targets {
			s.add(h, t)
		}
	}
	p.sweeps = s.done()
	return p
}

// isAlone tells that the first test of a rule reads nothing that another rule can change.
func (f *Filter) isAlone(r *secrule.Rule) bool {
	k, ok := f.parts[r]
	if !ok || !k.safe || len(k.uses) > 0 || r.Test.Negated {
		return false
	}
	for _, t := range r.Targets {
		if t.Count || isInternal(t.Variable) || !isSteady(t.Variable, r.Phase) || view.Phase(t.Variable) == 0 || strings.HasPrefix(t.Variable.Name(), "REQBODY") {
			return false
		}
	}
	return true
}

// skipped tells which rules some skip may count over.
func (f *Filter) skipped() []bool {
	counted := make([]bool, len(f.rules))
	for i, r := range f.rules {
		rest := r.Actions.Skip
		for n := i + 1; n < len(f.rules) && rest > 0; n++ {
			counted[n] = true // those of other phases are not counted, so the window may end later than this
			if f.rules[n].Phase == r.Phase || f.rules[n].Phase == 0 {
				rest--
			}
		}
	}
	return counted
}

// Narrow tells what the engine need not ask of a request that Judge could not show to be harmless.
func (l *Level) Narrow(v Values, w *Work) Narrowing {
	p := l.narrow
	w.begin(p)
	p.sweep(v, w, func(h *head) bool {
		if !w.asked[h.number] && !p.spared(h, w) {
			w.asked[h.number] = !w.budget.spend(w.value.text) || p.hit(h.rule, h.part.chain, w.value.text, w.value.traits, w)
			if !w.asked[h.number] {
				return true
			}
		}
		w.budget.hits++
		return true
	})
	var n Narrowing
	for _, h := range p.whole {
		if !w.asked[h.number] {
			n.Remove = append(n.Remove, h.rule.ID)
			continue
		}
		for i := range h.rule.Targets {
			each(v, h.rule.Phase, &h.rule.Targets[i], h.rule.ID, l.scope, func(text string) bool {
				n.Work += int64(len(text) + each64)
				return true
			})
		}
	}
	return n
}
