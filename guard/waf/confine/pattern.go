package confine

import (
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// mostSteps bounds the work on one pattern.
const mostSteps = 2_000_000

// ofPattern gives the texts in which an expression finds a match. It walks the program into which the regexp package compiles
// the expression, the one that is run on requests: a text is confined only if each way through it begins at the beginning of
// the text and ends at its end.
func ofPattern(expression string) texts {
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return anyText()
	}
	tree = tree.Simplify()
	prog, err := syntax.Compile(tree)
	if err != nil {
		return anyText()
	}
	w := &walk{prog: prog, runes: map[int]*runeSet{}, linked: map[[2]*runeSet]bool{}, known: map[string]*runeSet{}, next: map[int]reach{}}
	made := w.run()
	if made == nil {
		return anyText()
	}
	made.most = longest(tree)
	if made.ascii() {
		made.way = w.way()
	}
	return texts{parts: made}
}

// walk goes through a program.
type walk struct {
	prog   *syntax.Prog
	runes  map[int]*runeSet // of instructions that read a rune
	known  map[string]*runeSet
	linked map[[2]*runeSet]bool
	out    parts
	steps  int
	starts []int
	next   map[int]reach
}

// runeSet is the bytes that one rune may be written as.
type runeSet struct {
	bytes, first, last literal.ByteSet
	pairs              map[byte]literal.ByteSet
}

// reach is what comes next: instructions that read a rune, and whether the end may be.
type reach struct {
	reads []int
	ends  bool // at the end of the text
	open  bool // before the end of the text: anything may follow
}

// run gives nil when the texts are not confined.
func (w *walk) run() *parts {
	if r := w.from(w.prog.Start, false); len(r.reads) > 0 || r.ends || r.open {
		return nil // a match may begin anywhere
	}
	start := w.from(w.prog.Start, true)
	if start.open {
		return nil
	}
	seen := map[int]bool{}
	waiting := slices.Clone(start.reads)
	w.starts = start.reads
	for _, at := range start.reads {
		w.out.first = either(w.out.first, w.set(at).first)
	}
	for len(waiting) > 0 {
		at := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		next := w.from(int(w.prog.Inst[at].Out), false)
		if next.open || w.steps > mostSteps {
			return nil
		}
		w.take(w.set(at), next)
		w.next[at] = next
		waiting = append(waiting, next.reads...)
	}
	return &w.out
}

// take notes what one rune may be, and what may come next.
func (w *walk) take(s *runeSet, next reach) {
	w.out.bytes = either(w.out.bytes, s.bytes)
	for c, after := range s.pairs {
		w.out.pairs[c] = either(w.out.pairs[c], after)
	}
	if next.ends {
		w.out.last = either(w.out.last, s.last)
	}
	for _, at := range next.reads {
		n := w.set(at)
		if w.linked[[2]*runeSet{s, n}] {
			continue
		}
		w.linked[[2]*runeSet{s, n}] = true
		for _, c := range members(s.last) {
			w.out.pairs[c] = either(w.out.pairs[c], n.first)
		}
	}
}

// from follows the instructions that read nothing. Begin tells that nothing was read so far. Conditions on lines and words
// are taken to hold.
func (w *walk) from(pc int, begin bool) (r reach) {
	type place struct {
		pc    int
		ended bool
	}
	seen, waiting := map[place]bool{}, []place{{pc, false}}
	for len(waiting) > 0 {
		at := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		w.steps++
		if seen[at] || w.steps > mostSteps {
			continue
		}
		seen[at] = true
		in := &w.prog.Inst[at.pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			waiting = append(waiting, place{int(in.Out), at.ended}, place{int(in.Arg), at.ended})
		case syntax.InstCapture, syntax.InstNop:
			waiting = append(waiting, place{int(in.Out), at.ended})
		case syntax.InstEmptyWidth:
			if is := syntax.EmptyOp(in.Arg); is&syntax.EmptyBeginText == 0 || begin {
				waiting = append(waiting, place{int(in.Out), at.ended || is&syntax.EmptyEndText != 0})
			}
		case syntax.InstMatch:
			r.ends, r.open = true, r.open || !at.ended
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if !at.ended {
				r.reads = append(r.reads, at.pc)
			}
		}
	}
	r.open = r.open || w.steps > mostSteps
	return r
}

// set gives the bytes of the rune that an instruction reads.
func (w *walk) set(at int) *runeSet {
	if s := w.runes[at]; s != nil {
		return s
	}
	ranges := rangesOf(&w.prog.Inst[at])
	key := string(ranges)
	s := w.known[key]
	if s == nil {
		s = written(ranges)
		w.known[key] = s
	}
	w.runes[at] = s
	return s
}

// rangesOf gives the runes that an instruction reads, as pairs of bounds.
func rangesOf(in *syntax.Inst) []rune {
	switch {
	case in.Op == syntax.InstRuneAny || in.Op == syntax.InstRuneAnyNotNL:
		return []rune{0, unicode.MaxRune}
	case len(in.Rune) > 1:
		return in.Rune
	case len(in.Rune) == 0:
		return nil
	}
	first := in.Rune[0]
	ranges := []rune{first, first}
	if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		for r := unicode.SimpleFold(first); r != first; r = unicode.SimpleFold(r) {
			ranges = append(ranges, r, r)
		}
	}
	return ranges
}

// written gives the bytes of runes in UTF-8. Who reads U+FFFD also reads any byte that is no UTF-8.
func written(ranges []rune) *runeSet {
	s := &runeSet{pairs: map[byte]literal.ByteSet{}}
	tails := span(0x80, 0xbf)
	for i := 0; i+1 < len(ranges); i += 2 {
		low, high := ranges[i], ranges[i+1]
		if low <= utf8.RuneError && utf8.RuneError <= high {
			s.addSingle(span(0x80, 0xff))
		}
		for _, width := range []struct {
			low, high rune
			lead      byte
			shift     uint
		}{{0x80, 0x7ff, 0xc0, 6}, {0x800, 0xffff, 0xe0, 12}, {0x10000, unicode.MaxRune, 0xf0, 18}} {
			from, to := max(low, width.low), min(high, width.high)
			if from > to {
				continue
			}
			leads := span(width.lead|byte(from>>width.shift), width.lead|byte(to>>width.shift))
			s.bytes, s.first, s.last = either(s.bytes, either(leads, tails)), either(s.first, leads), either(s.last, tails)
			for _, c := range members(leads) {
				s.pairs[c] = either(s.pairs[c], tails)
			}
			if width.shift > 6 {
				for _, c := range members(tails) {
					s.pairs[c] = either(s.pairs[c], tails)
				}
			}
		}
		if low < utf8.RuneSelf {
			s.addSingle(span(byte(low), byte(min(high, utf8.RuneSelf-1))))
		}
	}
	return s
}

func (s *runeSet) addSingle(set literal.ByteSet) {
	s.bytes, s.first, s.last = either(s.bytes, set), either(s.first, set), either(s.last, set)
}

// longest is the greatest length in bytes of what an expression reads.
func longest(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		n := 0
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				n += utf8.UTFMax
			} else {
				n += max(utf8.RuneLen(r), 1)
			}
		}
		return min(n, unbounded)
	case syntax.OpCharClass:
		if n := len(re.Rune); n > 0 && re.Rune[n-1] < utf8.RuneSelf {
			return 1
		}
		return utf8.UTFMax
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpStar, syntax.OpPlus:
		if longest(re.Sub[0]) == 0 {
			return 0
		}
		return unbounded
	case syntax.OpRepeat:
		n := longest(re.Sub[0])
		if n > 0 && (re.Max < 0 || re.Max > unbounded/n) {
			return unbounded
		}
		return n * max(re.Max, 0)
	case syntax.OpAlternate:
		n := 0
		for _, sub := range re.Sub {
			n = max(n, longest(sub))
		}
		return n
	}
	n := 0
	for _, sub := range re.Sub { // of a list, a group, what may be left out
		n = min(n+longest(sub), unbounded)
	}
	return n
}
