package identity

import (
	"unicode"
	"unicode/utf8"
)

// near is where most letters of the West have their place; for these the answer is kept.
const near = 0x600

// nearby is a constant that Go cannot write as one: the traits of each code point below near.
var nearby = func() (t [near]Traits) {
	for r := rune(utf8.RuneSelf); r < near; r++ {
		t[r] = traitsOf(r)
	}
	return t
}()

// beyond learns what a text holds beyond ASCII. It steps through the bytes as the engine's functions do: a valid sequence
// at a time, and a single byte where there is none.
func beyond(text string) (t Traits) {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= 0xC2 && c <= 0xD7 && i+1 < len(text) && isTail(text[i+1]) { // below near, decoded here for speed
			t |= nearby[rune(c&0x1F)<<6|rune(text[i+1]&0x3F)]
			i += 2
			continue
		}
		if c >= 0xE4 && c <= 0xE9 && i+2 < len(text) && isTail(text[i+1]) && isTail(text[i+2]) { // U+4000 to U+9FFF: Chinese
			i += 3
			continue
		}
		r, width := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && width == 1:
			t |= invalid
			if c == 0xA0 {
				t |= latinSpace
			}
		case !isDull(r):
			t |= traitsOf(r)
		}
		i += width
	}
	return t
}

// isTail tells whether a byte goes on with a sequence of UTF-8.
func isTail(c byte) bool { return c&0xC0 == 0x80 }

// isDull tells of whole scripts that have neither case nor spaces. It may miss some.
func isDull(r rune) bool {
	switch {
	case r < 0x10A0: // Arabic, Devanagari, Thai ...
		return true
	case r < 0x2028: // dashes, quotation marks, dots
		return r >= 0x200B
	case r < 0xA640: // Chinese, Japanese, and their signs but the wide blank
		return r >= 0x2E80 && r != 0x3000
	case r < 0xD800: // Korean
		return r >= 0xAC00
	}
	return r >= 0x1F000 // emoji
}

func traitsOf(r rune) (t Traits) {
	if unicode.ToLower(r) != r {
		t |= lowers
	}
	if unicode.ToUpper(r) != r {
		t |= raises
	}
	if r == 0x85 || r == 0xA0 {
		t |= latinSpace
	} else if unicode.IsSpace(r) {
		t |= wideSpace
	}
	return t
}
