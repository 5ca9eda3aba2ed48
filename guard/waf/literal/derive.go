package literal

import (
	"regexp/syntax"
	"slices"
)

// Bounds of what is derived. Beyond them a condition becomes weaker, never wrong.
const (
	maxExact   = 4096 // texts of an exact set
	maxCross   = 320  // texts of a product of two sets
	maxClass   = 20   // texts that a character class is expanded to
	maxWindow  = 16   // shortest text of a product at which it is long enough
	maxClauses = 3    // clauses of a condition
)

// A way is how much of an expression's freedom is traded for literals that may stand elsewhere in the text; each gives
// sound clauses, and the rarest of all ways are kept.
type way struct {
	// escapes: where x* or x? stands, assume that x is absent, or else that the text holds what x needs. It turns c'*a'*t
	// into "the text holds cat, or a quote".
	escapes bool
	// single: also for x? where x is a short list of texts, which otherwise is spelled out.
	single bool
	// bare: literals stand in the text without its bytes of Filler.
	bare bool
}

// A deriver derives the facts of an expression's nodes in one way.
type deriver struct {
	way
	bytes bool // the expression is one over bytes, not runes
}

// fact is what is known of every text that a node matches. All words are folded.
type fact struct {
	// exact: the text is one of these; nil when that isn't known. No words at all: the node matches nothing.
	exact []string
	// head and tail: the text begins, ends with one of these. Only where exact is nil.
	head, tail []string
	// escape: or else, in place of what exact, head and tail say, the text holds one of these.
	escape []string
	// clauses: the text meets each of these.
	clauses []*clause
}

// derive makes the condition of a simplified tree.
func derive(re *syntax.Regexp, bytes bool) Condition {
	var c Condition
	var clauses, bare []*clause
	for _, w := range []way{{}, {escapes: true}, {escapes: true, single: true}} {
		clauses = append(clauses, deriver{w, bytes}.fact(re).clauses...)
	}
	for _, clause := range choose(clauses, maxClauses) {
		c.Clauses = append(c.Clauses, clause.words)
	}
	_ = bare
	c.Bytes = deriver{bytes: bytes}.needed(re)
	c.Min = deriver{bytes: bytes}.least(re)
	return c
}

// fact derives what is known of a node.
func (d deriver) fact(re *syntax.Regexp) fact {
	switch re.Op {
	case syntax.OpNoMatch:
		return fact{exact: []string{}}
	case syntax.OpLiteral:
		return d.literal(re)
	case syntax.OpCharClass:
		return exactly(d.class(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return anything()
	case syntax.OpCapture:
		return d.fact(re.Sub[0])
	case syntax.OpConcat:
		facts := make([]fact, 0, len(re.Sub))
		for _, sub := range re.Sub {
			facts = append(facts, d.fact(sub))
		}
		return concat(facts)
	case syntax.OpAlternate:
		out := d.fact(re.Sub[0])
		if len(re.Sub) > 1 {
			facts := []fact{out}
			for _, sub := range re.Sub[1:] {
				facts = append(facts, d.fact(sub))
			}
			out = either(facts)
		}
		return out
	case syntax.OpQuest:
		return d.optional(d.fact(re.Sub[0]), true)
	case syntax.OpStar:
		return d.optional(d.fact(re.Sub[0]), false)
	case syntax.OpPlus:
		return repeated(d.fact(re.Sub[0]))
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactly([]string{""})
	default: // OpRepeat, which a simplified tree doesn't have, and what later versions may add
		return anything()
	}
}

// anything is the fact of a node of which nothing is known.
func anything() fact { return fact{head: []string{""}, tail: []string{""}} }

// exactly is the fact of a node that matches just these texts; of any text if the list is nil.
func exactly(words []string) fact {
	if words == nil {
		return anything()
	}
	f := fact{exact: words}
	return f.stated()
}

// stated adds the clauses that follow from the sets themselves.
func (f fact) stated() fact {
	for _, words := range [][]string{f.exact, f.head, f.tail} {
		if words == nil {
			continue
		}
		if c := f.clause(words); c != nil {
			f.clauses = append(f.clauses, c)
		}
	}
	f.clauses = choose(f.clauses, kept)
	return f
}

// clause says that one of the words stands in the text, or one of the escapes.
func (f fact) clause(words []string) *clause {
	return newClause(settled(append(slices.Clone(words), f.escape...)))
}

// settled settles each word.
func settled(words []string) []string {
	for i, w := range words {
		words[i] = settle(w)
	}
	return words
}

// begin is what a text of the node begins with.
func (f fact) begin() []string {
	if f.exact != nil {
		return f.exact
	}
	return f.head
}

// end is what a text of the node ends with.
func (f fact) end() []string {
	if f.exact != nil {
		return f.exact
	}
	return f.tail
}

// optional is the fact of x? (once) or x*.
func (d deriver) optional(x fact, once bool) fact {
	if once && x.exact != nil && !(d.single && d.escapes && len(x.exact) > 0) {
		x.exact = unique(append(slices.Clone(x.exact), ""))
		x.clauses = nil
		return x
	}
	if x.exact != nil && len(x.exact) == 1 && x.exact[0] == "" && len(x.escape) == 0 {
		return exactly([]string{""}) // what matches only the empty text does so as often as one likes
	}
	if d.escapes && len(x.clauses) > 0 && x.clauses[0].odds < 0.02 {
		return fact{exact: []string{""}, escape: x.clauses[0].words}
	}
	return anything()
}

// repeated is the fact of x+: a text of x, then perhaps more.
func repeated(x fact) fact {
	if x.exact != nil && len(x.exact) == 1 && x.exact[0] == "" {
		return x
	}
	return fact{head: x.begin(), tail: x.end(), escape: x.escape, clauses: x.clauses}
}

// either is the fact of an alternation.
func either(facts []fact) fact {
	var out fact
	all, total := true, 0
	for _, f := range facts {
		all = all && f.exact != nil
		total += len(f.exact)
		out.escape = append(out.escape, f.escape...)
	}
	out.escape = unique(out.escape)
	if all && total <= maxExact {
		out.exact = []string{}
		for _, f := range facts {
			out.exact = append(out.exact, f.exact...)
		}
		out.exact = unique(out.exact)
	} else {
		for _, f := range facts {
			out.head = append(out.head, f.begin()...)
			out.tail = append(out.tail, f.end()...)
		}
		out.head, out.tail = shorten(out.head, true, maxExact), shorten(out.tail, false, maxExact)
	}
	out.clauses = anyOf(facts)
	return out.stated()
}

// anyOf joins the clauses of branches: the rarest of each, then the second of each, and so on.
func anyOf(facts []fact) []*clause {
	var out []*clause
	for k := range kept {
		var words []string
		more := false
		for _, f := range facts {
			if f.exact != nil && len(f.exact) == 0 {
				continue // a branch that matches nothing needs nothing
			}
			if len(f.clauses) == 0 {
				return nil
			}
			more = more || k < len(f.clauses)
			words = append(words, f.clauses[min(k, len(f.clauses)-1)].words...)
		}
		if !more {
			break
		}
		if c := newClause(words); c != nil {
			out = append(out, c)
		}
	}
	return out
}

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
	for _, next := range facts[1:] {
		longer := cross(words, next.begin())
		last := next.exact == nil || longer == nil
		if longer == nil {
			longer = crossHead(words, next.begin())
		}
		if words = longer; words == nil {
			break
		}
		escape = append(slices.Clone(escape), next.escape...)
		c := fact{escape: escape}.clause(words)
		if c != nil && (best == nil || c.odds < best.odds) {
			best = c
		}
		if last || shortestOf(words) >= maxWindow {
			break
		}
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
