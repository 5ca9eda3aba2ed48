package prefilter

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// overBytes tells of expressions that the engine reads over bytes instead of runes.
var overBytes = regexp.MustCompile(`(?i)\\x(?:[89a-f][0-9a-f]|\{)`)

// mostVisits bounds the search for one witness.
const mostVisits = 400_000

// witness looks for a text that an expression matches though it holds none of the words, as the sieve reads texts: folded, with
// 0xff around it and, when bare, without filler. It goes the ways through the expression's program beside the automaton of
// the words, the shortest first, so that what it does not find is not there: known is false when it gave up. Runes tells which
// the text may hold.
func witness(expression string, words []string, bare bool, runes func(rune) bool) (text string, found, known bool) {
	tree, err := syntax.Parse("(?sm)"+expression, syntax.Perl)
	if err != nil || overBytes.MatchString(expression) {
		return "", false, false
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return "", false, false
	}
	s := search{prog: prog, words: newTrie(words), bare: bare, seen: map[visit]bool{}}
	for r := range rune(0x80) {
		s.runes = append(s.runes, r)
	}
	// beyond ASCII, one for all that neither the words nor the expression tell apart
	s.runes = append(s.runes, []rune("ſ\u212aé\u2003"+strings.ToValidUTF8(strings.Join(words, ""), ""))...)
	for i := range prog.Inst {
		s.runes = append(s.runes, prog.Inst[i].Rune...)
	}
	slices.Sort(s.runes)
	s.runes = slices.DeleteFunc(slices.Compact(s.runes), func(r rune) bool { return !utf8.ValidRune(r) || !runes(r) })
	s.neutral = slices.IndexFunc(s.runes, func(r rune) bool { at, ok := s.read(0, r); return at == 0 && ok })
	framed, ok := s.words.step(0, "\xff")
	if !ok {
		return "", false, true
	}
	s.come(visit{pc: prog.Start, at: framed, before: -1}, -1, "")
	for _, r := range s.runes { // a match may begin anywhere
		if at, ok := s.read(framed, r); ok {
			s.come(visit{pc: prog.Start, at: at, before: kindOf(r)}, -1, string(r))
		}
		if at, ok := s.read(0, r); ok && s.neutral >= 0 {
			s.come(visit{pc: prog.Start, at: at, before: kindOf(r)}, -1, string(s.runes[s.neutral])+string(r))
		}
	}
	return s.run()
}

// visit is where a search is.
type visit struct {
	pc     int
	at     int            // in the trie
	before rune           // one of those that conditions tell apart
	need   syntax.EmptyOp // of what comes next
}

// search looks for a way.
type search struct {
	prog    *syntax.Prog
	words   *trie
	bare    bool
	runes   []rune
	neutral int // in runes: one that no word begins with; -1 for none
	seen    map[visit]bool
	queue   []visit
	from    []int    // for each of the queue, the one before
	took    []string // and what was read between
}

// come notes a place that was reached.
func (s *search) come(v visit, from int, took string) {
	if !s.seen[v] {
		s.seen[v] = true
		s.queue, s.from, s.took = append(s.queue, v), append(s.from, from), append(s.took, took)
	}
}

// read goes on in the trie by a rune; it is false at the end of a word.
func (s *search) read(at int, r rune) (int, bool) {
	folded := literal.Fold(string(r))
	if s.bare && len(folded) == 1 && literal.Filler().Has(folded[0]) {
		return at, true
	}
	return s.words.step(at, folded)
}

func (s *search) run() (text string, found, known bool) {
	for n := 0; n < len(s.queue); n++ {
		if n > mostVisits {
			return "", false, false
		}
		v := s.queue[n]
		in := &s.prog.Inst[v.pc]
		next := v
		next.pc = int(in.Out)
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			s.come(next, n, "")
			next.pc = int(in.Arg)
			s.come(next, n, "")
		case syntax.InstCapture, syntax.InstNop:
			s.come(next, n, "")
		case syntax.InstEmptyWidth:
			next.need |= syntax.EmptyOp(in.Arg)
			s.come(next, n, "")
		case syntax.InstMatch:
			if end, ok := s.end(v); ok {
				return s.text(n) + end, true, true
			}
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			for _, r := range s.runes {
				if !in.MatchRune(r) || v.need&^syntax.EmptyOpContext(v.before, r) != 0 {
					continue
				}
				at, ok := s.read(v.at, r)
				if !ok {
					continue
				}
				s.come(visit{pc: int(in.Out), at: at, before: kindOf(r)}, n, string(r))
			}
		}
	}
	return "", false, true
}

// end gives what may follow a match, so that no word ends there.
func (s *search) end(v visit) (text string, ok bool) {
	if v.need&^syntax.EmptyOpContext(v.before, -1) == 0 {
		if _, ok := s.words.step(v.at, "\xff"); ok {
			return "", true
		}
	}
	for _, r := range s.runes {
		at, ok := s.read(v.at, r)
		if !ok || v.need&^syntax.EmptyOpContext(v.before, r) != 0 {
			continue
		}
		if _, ok := s.words.step(at, "\xff"); ok {
			return string(r), true
		}
		if s.neutral >= 0 {
			if _, ok := s.words.step(0, string(s.runes[s.neutral])+"\xff"); ok {
				return string(r) + string(s.runes[s.neutral]), true
			}
		}
	}
	return "", false
}

// kindOf is a rune that conditions take for the same.
func kindOf(r rune) rune {
	switch {
	case r == '\n':
		return r
	case syntax.IsWordChar(r):
		return 'a'
	}
	return ' '
}

// text is what was read on the way to a place.
func (s *search) text(n int) (text string) {
	for ; n >= 0; n = s.from[n] {
		text = s.took[n] + text
	}
	return text
}

// trie is the automaton of words: it knows where one ends.
type trie struct {
	next []map[byte]int
	back []int
	ends []bool
}

func newTrie(words []string) *trie {
	t := &trie{next: []map[byte]int{{}}, back: []int{0}, ends: []bool{false}}
	for _, w := range words {
		at := 0
		for i := range len(w) {
			n, ok := t.next[at][w[i]]
			if !ok {
				n = len(t.next)
				t.next, t.back, t.ends = append(t.next, map[byte]int{}), append(t.back, 0), append(t.ends, false)
				t.next[at][w[i]] = n
			}
			at = n
		}
		t.ends[at] = true
	}
	for list := []int{0}; len(list) > 0; list = list[1:] {
		for c, n := range t.next[list[0]] {
			if list[0] != 0 {
				t.back[n] = t.follow(t.back[list[0]], c)
			}
			t.ends[n] = t.ends[n] || t.ends[t.back[n]]
			list = append(list, n)
		}
	}
	return t
}

func (t *trie) follow(at int, c byte) int {
	for {
		if n, ok := t.next[at][c]; ok {
			return n
		}
		if at == 0 {
			return 0
		}
		at = t.back[at]
	}
}

// step reads bytes; it is false when a word ends there.
func (t *trie) step(at int, text string) (int, bool) {
	for i := range len(text) {
		if at = t.follow(at, text[i]); t.ends[at] {
			return at, false
		}
	}
	return at, true
}

// written gives texts of which the transformations of a chain make a form: it itself, or with escapes for it.
func (f *Filter) written(chain int, form string) (list []string) {
	var escaped, unicode strings.Builder
	for i := range len(form) {
		fmt.Fprintf(&escaped, "%%%02x", form[i])
		fmt.Fprintf(&unicode, `\x%02x`, form[i])
	}
	for _, text := range []string{form, escaped.String(), unicode.String()} {
		var w identity.Work
		if literal.Fold(f.tree.Apply(text, identity.Of(text), chain, &w)) == literal.Fold(form) {
			list = append(list, text)
		}
	}
	return list
}

// makes tells which runes the transformations of a chain can leave in a text: any, when it is not known what they do.
func (f *Filter) makes(chain int) func(rune) bool {
	if !f.chains[chain].known {
		return func(rune) bool { return true }
	}
	known := map[rune]bool{}
	return func(r rune) bool {
		can, ok := known[r]
		if !ok {
			can = len(f.written(chain, "a"+string(r)+"a")) > 0
			known[r] = can
		}
		return can
	}
}

// TestWitness: what is found is a text that the expression matches, without the words; what is not found is not there.
func TestWitness(t *testing.T) {
	all := func(rune) bool { return true }
	for _, x := range []struct {
		expression string
		words      []string
		bare       bool
		text       string
		found      bool
	}{
		{`(?i)\b(?:find|fdfind)[\s;]`, []string{"find\n"}, false, "find;", true},
		{`(?i)\b(?:find|fdfind)\s`, []string{"find\n", "find "}, false, "", false},
		{`fdfind\s`, []string{"\nfind\n", "d "}, false, "fdfind\t", true},
		{`^get$`, []string{"\xffget\xff"}, false, "get\n", true},
		{`\Aget\z`, []string{"\xffget\xff"}, false, "", false},
		{`c'?a'?t\b`, []string{"cat"}, false, "c'at", true},
		{`c'?a'?t\b`, []string{"cat"}, true, "", false},
		{`\Bcat`, []string{"acat"}, false, "bcat", true},
		{`\bcat\b`, []string{"\xffcat", " cat"}, false, "\tcat", true},
	} {
		text, found, known := witness(x.expression, x.words, x.bare, all)
		if !known || found != x.found || found && len(text) != len(x.text) {
			t.Errorf("%s without %q: %q, %v, %v", x.expression, x.words, text, found, known)
		}
	}
}
