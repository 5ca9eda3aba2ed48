package literal

import "slices"

// concat is the fact of a sequence.
func concat(facts []fact) fact {
	var out fact
	for i, f := range facts {
		out.clauses = append(out.clauses, f.clauses...)
		if c := window(facts[i:]); c != nil {
			out.clauses = append(out.clauses, c)
		}
	}
	if whole, n, escape := run(facts); n == len(facts) {
		out.exact, out.escape = whole, escape
	} else {
		out.head, out.escape = shorten(whole, true, maxExact), escape
		var back []string
		back, escape = runBack(facts)
		out.tail = shorten(back, false, maxExact)
		out.escape = unique(append(slices.Clone(out.escape), escape...))
	}
	return out.stated()
}

// window is the rarest clause that begins in the first fact and reaches over its neighbours.
func window(facts []fact) *clause {
	words, escape := facts[0].end(), facts[0].escape
	var best *clause
	keep := func() { // reaching further is rarer, unless there is more to escape to
		if c := (fact{escape: escape}).clause(words); c != nil && (best == nil || c.odds < best.odds) {
			best = c
		}
	}
	for i, next := range facts[1:] {
		if i > 0 && len(next.escape) > 0 {
			keep()
		}
		longer := cross(words, next.begin())
		last := next.exact == nil || longer == nil
		if longer == nil {
			longer = crossHead(words, next.begin())
		}
		if longer == nil {
			break
		}
		words = longer
		escape = append(slices.Clone(escape), next.escape...)
		if last || shortestOf(words) >= maxWindow {
			break
		}
	}
	if len(facts) > 1 {
		keep()
	}
	return best
}

// run is the product of the sets from the first fact on, with what is known of the fact at which it ends, and how many
// facts it spells out.
func run(facts []fact) (words []string, n int, escape []string) {
	words = []string{""}
	for i, f := range facts {
		longer := cross(words, f.begin())
		if longer == nil {
			return words, i, escape
		}
		words, escape = longer, unique(append(slices.Clone(escape), f.escape...))
		if f.exact == nil {
			return words, i, escape
		}
	}
	return words, len(facts), escape
}

// runBack is run from the last fact backwards.
func runBack(facts []fact) (words, escape []string) {
	words = []string{""}
	for i := len(facts) - 1; i >= 0; i-- {
		f := facts[i]
		longer := cross(f.end(), words)
		if longer == nil {
			return words, escape
		}
		words, escape = longer, unique(append(slices.Clone(escape), f.escape...))
		if f.exact == nil {
			return words, escape
		}
	}
	return words, escape
}
