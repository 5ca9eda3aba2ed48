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
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, width := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && width == 1:
			t |= invalid
			if text[i] == 0xA0 {
				t |= latinSpace
			}
		case r < near:
			t |= nearby[r]
		case !isDull(r):
			t |= traitsOf(r)
		}
		i += width
	}
	return t
}

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
