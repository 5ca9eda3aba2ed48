package prefilter

import (
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// newNarrow derives which rules may be taken from the engine for one request: those whose first test reads values of the
// request alone, so that it can be shown not to match whatever other rules did before. Rules that a skip counts over stay:
// the engine doesn't count those that are removed.
func (l *Level) newNarrow(reached []bool) *plan {
	f := l.filter
	p := &plan{filter: f, scope: l.scope}
	counted := f.skipped(l.scope)
	if f.strange() {
		return p
	}
	s := newSweeper(f)
	for i, r := range f.rules {
		if !reached[i] || counted[i] || !f.isAlone(r) {
			continue
		}
		h := &head{rule: r, part: f.parts[r], number: p.heads, order: order(r, i), asked: true}
		p.heads++
		p.sifted = append(p.sifted, h)
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

// strange tells that some rule could notice that others are not asked, or that its operator writes what others read: then
// none is taken out.
func (f *Filter) strange() bool {
	for _, r := range f.rules {
		for _, x := range whole(r) {
			if x.Test != nil && !harmless[strings.ToLower(x.Test.Name)] || slices.ContainsFunc(x.Targets, func(t secrule.Target) bool { return t.Variable == variables.Rule }) {
				return true
			}
			said := ""
			for _, s := range x.Actions.Sets {
				said += s.Key + s.Value
			}
			if x.Test != nil {
				said += x.Test.Argument
			}
			if strings.Contains(strings.ToLower(said), "%{rule.") {
				return true
			}
		}
	}
	return false
}

// skipped tells which rules some skip may count over. The engine doesn't count those that are off, by an exception or by
// another rule, so that it then skips others behind them.
func (f *Filter) skipped(s Scope) []bool {
	counted := make([]bool, len(f.rules))
	for i, r := range f.rules {
		rest := r.Actions.Skip
		for n := i + 1; n < len(f.rules) && rest > 0; n++ {
			next := f.rules[n]
			if next.Phase != r.Phase && next.Phase != 0 {
				continue
			}
			counted[n] = true
			if next.ID == 0 || !s.Off(next.ID) && !f.mayBeOff(next, r) {
				rest--
			}
		}
	}
	return counted
}

// mayBeOff tells that some rule can take one rule out for a request and leave another in.
func (f *Filter) mayBeOff(r, other *secrule.Rule) bool {
	for _, by := range f.rules {
		for _, x := range whole(by) {
			for _, c := range x.Actions.Controls {
				if takesOut(c, r) && (c.Kind == removeByMsg || !takesOut(c, other)) {
					return true
				}
			}
		}
	}
	return false
}

// takesOut tells that a ctl takes a rule out. Where that is not known, it does.
func takesOut(c secrule.Control, r *secrule.Rule) bool {
	switch c.Kind {
	case removeByID:
		from, to, isRange := strings.Cut(c.Value, "-")
		low, err := strconv.Atoi(from)
		high := low
		if isRange && err == nil {
			high, err = strconv.Atoi(to)
		}
		return err == nil && low <= r.ID && r.ID <= high
	case removeByTag:
		return slices.Contains(r.Tags, c.Value)
	}
	return c.Kind == removeByMsg
}

// Narrow gives the rules that the engine need not ask of a request that Judge could not show to be harmless: they can't
// match it, whatever the others do.
func (l *Level) Narrow(v Values, w *Work) (remove []int) {
	p := l.narrow
	var hit func(h *head) bool
	if w.class != nil { // Judge has asked already
		hit = func(h *head) bool {
			judged := w.class.plan.byRule[h.rule]
			return judged == nil || w.heads[judged.number].hit
		}
	} else {
		w.begin(p)
		if !p.gather(v, w) {
			return nil
		}
		p.sift(w, func(*head) bool { return false })
		hit = func(h *head) bool { return w.heads[h.number].hit }
	}
	for _, h := range p.sifted {
		if !hit(h) {
			remove = append(remove, h.rule.ID)
		}
	}
	return remove
}
