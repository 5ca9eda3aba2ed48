package literal

import (
	"math/rand/v2"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"

	binary "rsc.io/binaryregexp/syntax"
)

// tree parses an expression as Coraza does.
func tree(expr string) (re *syntax.Regexp, bytes bool, err error) {
	if wrapped := "(?sm)" + expr; !namesBytes(wrapped) {
		re, err = syntax.Parse(wrapped, syntax.Perl)
		return re, false, err
	}
	b, err := binary.Parse(expr, binary.Perl)
	if err != nil {
		return nil, true, err
	}
	return fromBinary(b), true, nil
}

// writer writes texts that a tree matches, but for what anchors and word boundaries ask.
type writer struct {
	*rand.Rand
	bytes bool
	out   []byte
}

func (w *writer) write(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			all := spellings(r, re.Flags)
			w.rune(all[w.IntN(len(all))])
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			i := w.IntN(len(re.Rune)/2) * 2
			lo, hi := re.Rune[i], re.Rune[i+1]
			if w.IntN(3) > 0 {
				hi = min(hi, lo+100)
			}
			r := lo + w.Int32N(hi-lo+1)
			if lo <= utf8.RuneError && re.Rune[i+1] >= utf8.RuneError && w.IntN(3) == 0 {
				r = utf8.RuneError
			}
			w.rune(r)
		}
	case syntax.OpAnyChar:
		w.any()
	case syntax.OpAnyCharNotNL:
		w.rune([]rune(" a'\"\\(x9ſ<$")[w.IntN(11)])
	case syntax.OpBeginLine, syntax.OpEndLine:
		if w.IntN(4) == 0 && len(w.out) > 0 {
			w.out = append(w.out, '\n')
		}
	case syntax.OpCapture:
		w.write(re.Sub[0])
	case syntax.OpStar:
		w.times(re.Sub[0], 0, 3)
	case syntax.OpPlus:
		w.times(re.Sub[0], 1, 3)
	case syntax.OpQuest:
		w.times(re.Sub[0], 0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 || most > re.Min+3 {
			most = re.Min + 3
		}
		w.times(re.Sub[0], re.Min, most)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			w.write(sub)
		}
	case syntax.OpAlternate:
		w.write(re.Sub[w.IntN(len(re.Sub))])
	}
}

func (w *writer) times(re *syntax.Regexp, least, most int) {
	for n := least + w.IntN(most-least+1); n > 0; n-- {
		w.write(re)
	}
}

func (w *writer) any() {
	switch w.IntN(8) {
	case 0:
		w.out = append(w.out, byte(0x80+w.IntN(128)))
	case 1:
		w.rune([]rune("ſ\u212aéİ\n\t\x00日")[w.IntN(8)])
	default:
		w.rune(rune(32 + w.IntN(95)))
	}
}

func (w *writer) rune(r rune) {
	switch {
	case w.bytes:
		w.out = append(w.out, byte(r))
	case r == utf8.RuneError && w.IntN(2) == 0:
		w.out = append(w.out, []byte{0x80, 0xbf, 0xc5, 0xe2, 0xff}[w.IntN(5)])
	case unicode.Is(unicode.Cs, r):
	default:
		w.out = utf8.AppendRune(w.out, r)
	}
}

// text is a text for the tree with something around it, sometimes changed in a place.
func text(re *syntax.Regexp, bytes bool, rnd *rand.Rand) string {
	w := &writer{Rand: rnd, bytes: bytes}
	around := func() {
		switch w.IntN(6) {
		case 0:
			w.out = append(w.out, ' ')
		case 1:
			w.any()
		case 2:
			w.out = append(w.out, []byte{0xc5, 0xe2, 0xe2, 0x84, 0xbf, 0xaa, 'k', 's'}[w.IntN(8)])
		}
	}
	around()
	w.write(re)
	around()
	if len(w.out) > 0 && w.IntN(4) == 0 {
		at := w.IntN(len(w.out))
		switch w.IntN(3) {
		case 0:
			w.out[at] ^= 0x20
		case 1:
			w.out = append(w.out[:at], w.out[at+1:]...)
		case 2:
			w.out[at] = byte(w.IntN(256))
		}
	}
	return string(w.out)
}
