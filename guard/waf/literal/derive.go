package literal

import (
	"regexp/syntax"
	"slices"
)

// Bounds of what is derived. Beyond them a condition becomes weaker, never wrong.
const (
	maxExact   = 4096 // texts of an exact set
	maxCross   = 800  // texts of a product of two sets
	maxClass   = 20   // texts that a character class is expanded to
	maxWindow  = 16   // shortest text of a product at which it is long enough
	maxClauses = 3    // clauses of a condition
)

// good is the odds at which a clause needs no better one.
const good = 1e-6

// A way is how much of an expression's freedom is traded for literals that may stand elsewhere in the text; each gives
// sound clauses, and the rarest of all ways are kept.
type way struct {
	// escapes: where x* or x? stands, assume that x is absent, or else that the text holds what x needs. It turns c'*a'*t
	// into "the text holds cat, or a quote".
	escapes bool
	// all: also for x? where x is a short list of very rare texts, which otherwise is spelled out, and for branches of an
	// alternation: j|&#0*106; is "j, or else the text holds &#".
	all bool
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
	var plain, bare []*clause
	for _, w := range []way{{}, {escapes: true}, {escapes: true, all: true}} {
		plain = choose(append(plain, deriver{w, bytes}.fact(re, edge{true, true}).clauses...), maxClauses)
		if len(plain) > 0 && plain[0].odds <= good {
			break
		}
		if w.bare = true; allowsFiller(re) {
			bare = choose(append(bare, deriver{w, bytes}.fact(re, edge{true, true}).clauses...), maxClauses)
		}
	}
	c := pick(plain, bare)
	c.Bytes = deriver{bytes: bytes}.needed(re)
	c.Min = deriver{bytes: bytes}.least(re)
	return c
}

// pick takes the rarest clauses of both kinds, one over the bare text only if it is clearly better, since it may cost a
// second reading. A clause that nearly every text meets is left out, and so is one that is met much more often than the
// rarest: to note it costs more than it tells.
func pick(plain, bare []*clause) Condition {
	const better, useless, alike = 3, 0.06, 30
	var c Condition
	limit := useless
	for range maxClauses {
		switch {
		case len(bare) > 0 && (len(plain) == 0 || bare[0].odds*better < plain[0].odds):
			if bare[0].odds < limit {
				c.Bare = append(c.Bare, bare[0].words)
				limit = min(limit, alike*bare[0].odds)
			}
			bare = bare[1:]
		case len(plain) > 0:
			if plain[0].odds < limit {
				c.Clauses = append(c.Clauses, plain[0].words)
				limit = min(limit, alike*plain[0].odds)
			}
			bare = slices.DeleteFunc(bare, func(b *clause) bool { return plain[0].implies(b) || b.like(plain[0]) })
			plain = plain[1:]
		}
	}
	return c
}

// edge says at which edges of the whole expression a node stands: nothing of it is read before, or after, the node.
// There a text anchor stands for the brink of the text, and a line anchor for that or a line feed.
type edge struct{ first, last bool }

// brink is a byte that a scan reads before and after the text. Any byte would do, since one more byte of that kind can
// only report more; this one is in no UTF-8.
const brink = "\xff"

// fact derives what is known of a node.
func (d deriver) fact(re *syntax.Regexp, at edge) fact {
	switch re.Op {
	case syntax.OpNoMatch:
		return fact{exact: []string{}}
	case syntax.OpLiteral:
		return d.literal(re)
	case syntax.OpCharClass:
		return exactly(d.class(re.Rune))
	case syntax.OpCapture:
		return d.fact(re.Sub[0], at)
	case syntax.OpConcat:
		return concat(d.parts(re.Sub, at))
	case syntax.OpAlternate:
		facts := make([]fact, 0, len(re.Sub))
		for _, sub := range re.Sub {
			facts = append(facts, d.fact(sub, at))
		}
		return d.either(facts)
	case syntax.OpQuest:
		return d.optional(d.fact(re.Sub[0], at), true)
	case syntax.OpStar:
		return d.optional(d.fact(re.Sub[0], edge{}), false)
	case syntax.OpPlus:
		return d.repeated(d.fact(re.Sub[0], edge{}))
	case syntax.OpBeginLine, syntax.OpBeginText:
		return anchor(at.first, re.Op == syntax.OpBeginLine)
	case syntax.OpEndLine, syntax.OpEndText:
		return anchor(at.last, re.Op == syntax.OpEndLine)
	case syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactly([]string{""})
	default: // any character; OpRepeat, which a simplified tree doesn't have; what later versions may add
		return anything()
	}
}

// anchor is the fact of an anchor of lines or of the text.
func anchor(atEdge, lines bool) fact {
	switch {
	case !atEdge:
		return exactly([]string{""})
	case lines:
		return exactly([]string{"\n", brink})
	default:
		return exactly([]string{brink})
	}
}

// parts are the facts of a sequence. Only what stands first, or behind what reads nothing and is no anchor, is at the
// edge, so that no line feed is taken for two.
func (d deriver) parts(subs []*syntax.Regexp, at edge) []fact {
	facts := make([]fact, 0, len(subs))
	first, last := 0, len(subs)-1
	for first < last && readsNothing(subs[first]) {
		first++
	}
	for last > first && readsNothing(subs[last]) {
		last--
	}
	for i, sub := range subs {
		facts = append(facts, d.fact(sub, edge{at.first && i == first, at.last && i == last}))
	}
	return facts
}

// readsNothing says whether the node is empty in every text, and no anchor.
func readsNothing(re *syntax.Regexp) bool {
	return re.Op == syntax.OpEmptyMatch || re.Op == syntax.OpWordBoundary || re.Op == syntax.OpNoWordBoundary
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
	const veryRare = 0.0003
	if once && x.exact != nil && !(d.all && len(x.clauses) > 0 && x.clauses[0].odds < veryRare) {
		x.exact = unique(append(slices.Clone(x.exact), ""))
		x.clauses = nil
		return x
	}
	if slices.Contains(x.exact, "") { // the empty text adds nothing to x*
		x = fact{exact: slices.DeleteFunc(slices.Clone(x.exact), empty), escape: x.escape}.stated()
		if len(x.exact) == 0 && len(x.escape) == 0 {
			return exactly([]string{""})
		}
	}
	if d.escapes && len(x.clauses) > 0 && x.clauses[0].odds < 0.02 {
		return fact{exact: []string{""}, escape: x.clauses[0].words}
	}
	return anything()
}

// empty says whether the word is.
func empty(word string) bool { return word == "" }

// repeated is the fact of x+: a text of x, then perhaps more.
func (d deriver) repeated(x fact) fact {
	if slices.Contains(x.exact, "") {
		return d.optional(x, false)
	}
	return fact{head: x.begin(), tail: x.end(), escape: x.escape, clauses: x.clauses}
}

// either is the fact of an alternation.
func (d deriver) either(facts []fact) fact {
	if d.all {
		for i, f := range facts {
			facts[i] = f.elsewhere()
		}
	}
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

// elsewhere trades what a branch is for what the text must hold somewhere, if that is rarer than the escapes.
func (f fact) elsewhere() fact {
	if len(f.clauses) == 0 || f.clauses[0].odds > 0.005 || f.exact != nil && len(f.escape) == 0 {
		return f
	}
	if c := newClause(slices.Clone(f.escape)); f.exact != nil && c != nil && c.odds <= f.clauses[0].odds {
		return f
	}
	return fact{exact: []string{}, escape: f.clauses[0].words, clauses: f.clauses}
}

// anyOf joins the clauses of branches: the rarest of each, then the second of each, and so on.
func anyOf(facts []fact) []*clause {
	var out []*clause
	for k := range kept {
		var words []string
		more := false
		for _, f := range facts {
			if f.exact != nil && len(f.exact) == 0 && len(f.escape) == 0 {
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
