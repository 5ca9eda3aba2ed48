package literal

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// G1: (?i) folds by Unicode. Whatever rune folds to an ASCII one must be folded alike by us.
func TestFoldKnowsEveryRuneThatFoldsToASCII(t *testing.T) {
	found := map[rune]bool{}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f < utf8.RuneSelf {
				if Fold(string(r)) != Fold(string(f)) {
					t.Errorf("%q folds to %q in an expression, but Fold gives %q and %q", r, f, Fold(string(r)), Fold(string(f)))
				}
				if r >= utf8.RuneSelf {
					found[r] = true
				}
			}
		}
		if r >= utf8.RuneSelf && !found[r] && Fold(string(r)) != string(r) {
			t.Errorf("Fold changes %q", r)
		}
	}
	if len(found) != 2 || !found['ſ'] || !found['\u212a'] {
		t.Errorf("runes beyond ASCII that fold to ASCII: %v", found)
	}
}

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"AbC\r\t\v x":           "abc\n\n\n x",
		"ſleep lin\u212a":       "sleep link",
		"\xc5\xbe\xe2\x84\xab":  "\xc5\xbe\xe2\x84\xab",
		"\xc5\xc5\xbf\xe2\x84":  "\xc5s\xe2\x84",
		"\xe2\xe2\x84\xaa\xbf":  "\xe2k\xbf",
		"ÀÉ":                    "ÀÉ",
		"\xe2\x84\xaa\xc5\xbf1": "ks1",
	} {
		if got := Fold(text); got != want {
			t.Errorf("Fold(%q) = %q, want %q", text, got, want)
		}
		if again := Fold(want); again != want {
			t.Errorf("Fold(%q) = %q: not folded", want, again)
		}
	}
}

// A part of a text, folded and settled, stands in the folded text, wherever it was cut out.
func TestSettledPartsStandInTheFoldedText(t *testing.T) {
	text := "aſſ\u212a\u212ab\xc5\xe2\x84\xe2\x84\xaa\xaa\xbf\xc5\xbf\xbfŞ\xe2\x84\xaba"
	for i := range len(text) {
		for j := i; j <= len(text); j++ {
			if part := settle(Fold(text[i:j])); !strings.Contains(Fold(text), part) {
				t.Errorf("%q of %q settles to %q, which is not in %q", text[i:j], text, part, Fold(text))
			}
		}
	}
}
