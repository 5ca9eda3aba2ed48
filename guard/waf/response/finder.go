package response

import (
	"math"
	"slices"
	"strings"
)

// word is one literal that the finder looks for, in either ASCII case.
type word struct {
	text  string // folded
	token int    // what it stands for; many words may stand for one thing
}

// finder finds thousands of words in one pass over a text, and where each begins. Of each word it knows its rarest three
// bytes; at each place of the text it asks a table of 64 Kibit whether three such bytes begin there, and only then compares.
// It never misses a word; ASCII letters count the same in both cases.
type finder struct {
	table   [1 << 16 / 64]uint64
	buckets map[uint32][]entry
	tokens  int
}

type entry struct {
	word   word
	before int // of the word, before its rarest three bytes
}

// gram is the least length of a word.
const gram = 3

// newFinder takes words of at least three bytes.
func newFinder(words []word) *finder {
	f := &finder{buckets: map[uint32][]entry{}}
	for _, w := range words {
		f.tokens = max(f.tokens, w.token+1)
		at := rarest(w.text)
		key := loose(w.text[at], w.text[at+1], w.text[at+2])
		f.buckets[key] = append(f.buckets[key], entry{w, at})
		slot := slotOf(key)
		f.table[slot>>6] |= 1 << (slot & 63)
	}
	return f
}

// loose writes three bytes as one number that ignores the case of letters, and more than that; what it lets through is
// compared.
func loose(a, b, c byte) uint32 { return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) | 0x202020 }

func slotOf(key uint32) uint32 { return key * 0x9E3779B1 >> 16 }

// find calls hit for each word that begins in text, with its place. It goes on while hit gives true.
func (f *finder) find(text string, hit func(token, at int) bool) {
	if len(text) < gram {
		return
	}
	window := uint32(text[0])<<8 | uint32(text[1])<<16
	for i := 2; i < len(text); i++ {
		window = window>>8 | uint32(text[i])<<16
		key := window | 0x202020
		slot := slotOf(key)
		if f.table[slot>>6]&(1<<(slot&63)) == 0 {
			continue
		}
		for _, e := range f.buckets[key] {
			at := i - 2 - e.before
			if at < 0 || at+len(e.word.text) > len(text) || !equalFold(text[at:at+len(e.word.text)], e.word.text) {
				continue
			}
			if !hit(e.word.token, at) {
				return
			}
		}
	}
}

// equalFold compares a text with a folded word of the same length.
func equalFold(text, folded string) bool {
	for i := range len(text) {
		if c := text[i]; c != folded[i] && (c < 'A' || c > 'Z' || c+'a'-'A' != folded[i]) {
			return false
		}
	}
	return true
}

// fold writes ASCII letters small.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// rarest is where the three bytes begin that ordinary answers hold least often.
func rarest(folded string) (at int) {
	best := math.Inf(1)
	for i := 0; i+gram <= len(folded); i++ {
		if odds := usual(folded[i]) * usual(folded[i+1]) * usual(folded[i+2]); odds < best {
			at, best = i, odds
		}
	}
	return at
}

// usual is how usual a byte is in JSON and prose, roughly.
func usual(b byte) float64 {
	const order = ` e"taoinsrhl:,dcum0123456789pfgw.y/-_b<>={}v()k'[]\x;jqz`
	if i := slices.Index([]byte(order), b); i >= 0 {
		return float64(len(order) - i)
	}
	return 1
}
