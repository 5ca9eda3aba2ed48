package literal

import (
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// literal is the fact of a node that spells runes.
func (d deriver) literal(re *syntax.Regexp) fact {
	var facts []fact
	for _, r := range re.Rune {
		word := d.texts(spellings(r, re.Flags))
		if n := len(facts) - 1; n >= 0 && len(word) == 1 && len(facts[n].exact) == 1 {
			facts[n].exact = []string{facts[n].exact[0] + word[0]}
			continue
		}
		f := anything()
		if word != nil {
			f = fact{exact: word}
		}
		facts = append(facts, f)
	}
	for i := range facts {
		facts[i] = facts[i].stated()
	}
	if len(facts) == 1 {
		return facts[0]
	}
	return concat(facts)
}

// spellings are the runes by which a rune of a literal is matched.
func spellings(r rune, flags syntax.Flags) []rune {
	out := []rune{r}
	if flags&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			out = append(out, f)
		}
	}
	return out
}

// class is the texts of a character class, given as pairs of bounds; nil if they are too many or not known.
func (d deriver) class(pairs []rune) []string {
	var runes []rune
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1]-pairs[i] > 4*maxClass {
			return nil
		}
		for r := pairs[i]; r <= pairs[i+1]; r++ {
			runes = append(runes, r)
		}
		if len(runes) > 4*maxClass {
			return nil
		}
	}
	words := d.texts(runes)
	if len(words) > maxClass {
		return nil
	}
	return words
}

// texts are the folded texts by which one of the runes is matched, nil if not known.
func (d deriver) texts(runes []rune) []string {
	out := make([]string, 0, len(runes))
	for _, r := range runes {
		switch {
		case d.bytes && r > 0xff:
			continue // no byte is that rune
		case d.bytes && (r == rune(longS[0]) || r == rune(kelvin[0])):
			return nil // folding could join it to what follows
		case d.bytes:
			out = append(out, Fold(string([]byte{byte(r)})))
		case r == utf8.RuneError:
			return nil // stands for any byte that is no UTF-8, too
		case !utf8.ValidRune(r):
			continue // a surrogate is never read from a text
		default:
			out = append(out, Fold(string(r)))
		}
		if n := len(out) - 1; d.bare && len(out[n]) == 1 && isFiller(out[n][0]) {
			out[n] = ""
		}
	}
	return unique(out)
}

// least is the length in bytes of the shortest text that the node matches, or less.
func (d deriver) least(re *syntax.Regexp) int {
	const enough = 1 << 20 // keeps the sums from overflowing
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			n += d.leastRune(spellings(r, re.Flags))
		}
	case syntax.OpCharClass:
		n = d.leastClass(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 1
	case syntax.OpCapture, syntax.OpPlus:
		n = d.least(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			n = min(n+d.least(sub), enough)
		}
	case syntax.OpAlternate:
		n = enough
		for _, sub := range re.Sub {
			n = min(n, d.least(sub))
		}
	}
	return n
}

// leastRune is the length of the shortest of the runes in bytes.
func (d deriver) leastRune(runes []rune) int {
	n := utf8.UTFMax
	for _, r := range runes {
		if d.bytes || r == utf8.RuneError {
			return 1
		}
		switch { // utf8.RuneLen has no length for surrogates, which may begin a range
		case r < 0x80:
			n = min(n, 1)
		case r < 0x800:
			n = min(n, 2)
		case r < 0x10000:
			n = min(n, 3)
		}
	}
	return n
}

// leastClass is leastRune of a class, whose shortest runes are the first of each pair.
func (d deriver) leastClass(pairs []rune) int {
	n := utf8.UTFMax
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] <= utf8.RuneError && utf8.RuneError <= pairs[i+1] {
			return 1
		}
		n = min(n, d.leastRune(pairs[i:i+1]))
	}
	return n
}

// needed are byte sets of each of which a text that the node matches holds a byte, the rarest first.
func (d deriver) needed(re *syntax.Regexp) []ByteSet {
	var out []ByteSet
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			var s ByteSet
			for _, f := range spellings(r, re.Flags) {
				d.addBytes(&s, f, f)
			}
			out = append(out, s)
		}
	case syntax.OpCharClass:
		var s ByteSet
		for i := 0; i+1 < len(re.Rune); i += 2 {
			d.addBytes(&s, re.Rune[i], re.Rune[i+1])
		}
		out = append(out, s)
	case syntax.OpCapture, syntax.OpPlus:
		return d.needed(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			out = append(out, d.needed(sub)...)
		}
	case syntax.OpAlternate:
		out = d.neededByAny(re.Sub)
	}
	return chooseBytes(out)
}

// neededByAny joins what the branches need: the rarest set of each, then the second of each, and so on.
func (d deriver) neededByAny(subs []*syntax.Regexp) []ByteSet {
	var out []ByteSet
	var lists [][]ByteSet
	for _, sub := range subs {
		list := d.needed(sub)
		if len(list) == 0 {
			return nil
		}
		lists = append(lists, list)
	}
	for k := range maxClauses {
		var s ByteSet
		for _, list := range lists {
			s = s.union(list[min(k, len(list)-1)])
		}
		out = append(out, s)
	}
	return out
}

// chooseBytes keeps the rarest sets and leaves out those that a rarer one implies.
func chooseBytes(list []ByteSet) []ByteSet {
	slices.SortStableFunc(list, func(a, b ByteSet) int {
		switch x, y := oddsOf(a), oddsOf(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var out []ByteSet
	for _, s := range list {
		if len(out) == maxClauses {
			break
		}
		if !slices.ContainsFunc(out, func(o ByteSet) bool { return o.within(s) }) {
			out = append(out, s)
		}
	}
	return out
}

// addBytes adds the first bytes of the runes from lo to hi as they stand in a text.
func (d deriver) addBytes(s *ByteSet, lo, hi rune) {
	if d.bytes {
		if lo <= 0xff {
			s.addRange(byte(lo), byte(min(hi, 0xff)))
		}
		return
	}
	if lo <= utf8.RuneError && utf8.RuneError <= hi {
		s.addRange(utf8.RuneSelf, 0xff) // stands for any byte that is no UTF-8
	}
	for _, length := range []struct{ lo, hi rune }{{0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xffff}, {0x10000, unicode.MaxRune}} {
		if from, to := max(lo, length.lo), min(hi, length.hi); from <= to {
			s.addRange(firstByte(from), firstByte(to))
		}
	}
}

// firstByte is the first byte of the rune in UTF-8, computed so that surrogates keep their place in the order.
func firstByte(r rune) byte {
	switch {
	case r < 0x80:
		return byte(r)
	case r < 0x800:
		return 0xc0 | byte(r>>6)
	case r < 0x10000:
		return 0xe0 | byte(r>>12)
	default:
		return 0xf0 | byte(r>>18)
	}
}
