package literal

import (
	"strings"
	"unicode/utf8"
)

// The only runes beyond ASCII that fold to ASCII letters (unicode.SimpleFold; a test asks every rune).
const (
	longS  = "\u017f" // ſ, folds to s
	kelvin = "\u212a" // K, folds to k
)

// Fold writes ASCII letters small, the long s (U+017F) as s, the Kelvin sign (U+212A) as k, white space other than
// the space itself (tab to carriage return) as a line feed, and leaves every other byte as it is. Texts that differ only in a case that (?i)
// or an ASCII-insensitive word list ignores in ASCII letters fold to the same text; white space is folded because rules
// ask for any of it, and six spellings of each literal would make the automaton much larger. It works on bytes:
// text that is no UTF-8 is folded too.
func Fold(text string) string {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c, n := folded(text, i)
		out = append(out, c)
		i += n
	}
	return string(out)
}

// folded is the folded byte at i and how many bytes of the text it stands for.
func folded(text string, i int) (byte, int) {
	switch c := text[i]; {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A', 1
	case c >= '\t' && c <= '\r':
		return '\n', 1
	case c == longS[0] && strings.HasPrefix(text[i:], longS):
		return 's', len(longS)
	case c == kelvin[0] && strings.HasPrefix(text[i:], kelvin):
		return 'k', len(kelvin)
	default:
		return c, 1
	}
}

// settle cuts from a folded literal that may begin or end in the middle of a rune the bytes that folding of the text
// around it could swallow: the literal "\xbfx" stands in "ſx" but not in its folded form "sx".
func settle(word string) string {
	for _, tail := range []string{longS[1:], kelvin[1:], kelvin[2:]} {
		if rest, ok := strings.CutPrefix(word, tail); ok {
			word = rest
			break
		}
	}
	for _, head := range []string{longS[:1], kelvin[:1], kelvin[:2]} {
		if rest, ok := strings.CutSuffix(word, head); ok {
			return rest
		}
	}
	return word
}

// forms are the spellings under which an operator may look for a word: as written, and in Unicode's lower case, which
// Coraza's word lists use and which can change more than ASCII letters.
func forms(word string) []string {
	if lower := strings.ToLower(word); lower != word {
		return []string{word, lower}
	}
	return []string{word}
}

// bytesOf is the set of the words' bytes in both cases if each word is one ASCII byte, otherwise nil.
func bytesOf(words []string) *ByteSet {
	var s ByteSet
	for _, w := range words {
		if len(w) != 1 || w[0] >= utf8.RuneSelf {
			return nil
		}
		s.Add(strings.ToLower(w)[0])
		s.Add(strings.ToUpper(w)[0])
	}
	return &s
}
