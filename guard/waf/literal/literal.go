// Package literal says what a text must hold before a pattern can match it, and asks that of thousands of patterns in
// one pass over the text.
//
// A rule set has hundreds of expressions and word lists, and an ordinary value matches none of them. To run them all is
// nearly the whole cost of a web application firewall. Here each pattern is first reduced to a [Condition]: literals of
// which at least one must stand in the text, bytes that it must hold, a least length. One automaton, the [Sieve], reads
// the text once and names the patterns whose condition is met. Only those need to be run.
//
// The promise is one-sided, and the safety of the gateway rests on it: if a pattern matches a text, Scan reports it.
// A condition that is too weak costs time; one that is too strong would be a bypass, the thing an attacker looks for. So
// whatever is not understood (an expression that can't be parsed, a set that grows too large) makes the condition weaker,
// and the empty condition promises nothing: its pattern is always reported.
//
// Three traps are met here on purpose. Case folding in Go's expressions is Unicode's: (?i)s also matches the long s
// (U+017F) and (?i)k the Kelvin sign (U+212A), so both the text and the literals are folded with those two runes included
// (see Fold). A byte that is no UTF-8 is seen by an expression as U+FFFD, so that rune is never part of a literal. And
// shell expressions allow quotes and backslashes between any two letters (c'a't): for those the text is also read as if
// such bytes were not there (see Filler).
package literal

// Condition is what a text must hold for a pattern to match it: every clause, every byte set and the length. The zero
// Condition promises nothing: its pattern is reported for each text.
type Condition struct {
	// Clauses: of each, at least one literal stands in the folded text (see Fold) with a byte 0xff put before and after it,
	// so that "\xffget\xff" asks for a text that is just that. Literals are folded, and mostly of two bytes or more; a
	// literal of one byte stands beside longer ones where a branch of the pattern offers nothing better.
	Clauses [][]string
	// Bare is like Clauses, but its literals stand in what is left of the folded text without the bytes of Filler.
	Bare [][]string
	// Bytes: of each set, the text as it is holds at least one byte.
	Bytes []ByteSet
	// Min is the least length of the text in bytes.
	Min int
}

// IsZero tells that the condition promises nothing.
func (c Condition) IsZero() bool {
	return len(c.Clauses)+len(c.Bare)+len(c.Bytes) == 0 && c.Min <= 0
}

// Words is the condition that at least one of the words stands in the text, in either ASCII case: @pm, @pmFromFile,
// @contains, @streq, @beginsWith, @endsWith. An empty list or an empty word promises nothing.
func Words(list []string) Condition {
	if len(list) == 0 {
		return Condition{}
	}
	least := len(list[0])
	var words []string
	for _, word := range list {
		for _, form := range forms(word) {
			least = min(least, len(form))
			words = append(words, settle(Fold(form)))
		}
	}
	clause := newClause(words)
	if clause == nil {
		return Condition{Min: least}
	}
	c := Condition{Min: least}
	if single := bytesOf(list); single != nil {
		c.Bytes = []ByteSet{*single}
		return c
	}
	c.Clauses = [][]string{clause.words}
	return c
}
