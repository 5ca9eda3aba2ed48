package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// maxDocument is the most bytes a document may have; maxDepth how deep it may nest. A document made by machine for ten
// thousand operations stays below both.
const (
	maxDocument = 1 * unit.MiB
	maxDepth    = 32
	maxKey      = 512 // characters of a key; YAML itself ends at 1,024
)

// readText checks the bytes before anything is parsed: every character must be one that all readers see alike. It gives
// the text with line ends of one kind. At most one mistake of each kind is told.
func readText(data []byte) (string, mistake.List) {
	var found mistake.List
	if len(data) > int(maxDocument) {
		found = append(found, placed("", 1, 1, "", fmt.Sprintf("the document has %d bytes; at most %s are read", len(data), maxDocument)))
		return "", found
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	told := map[string]bool{}
	line, column := 1, 0
	for i, r := range text {
		if r == '\n' {
			line, column = line+1, 0
			continue
		}
		column++
		what, write := badCharacter(r, text[i:])
		if what != "" && !told[what] {
			told[what] = true
			found = append(found, placed("", line, column, write, what))
		}
	}
	return string([]rune(text)), found // a character for every byte that is none
}

func badCharacter(r rune, rest string) (what, write string) {
	switch {
	case r == '\t':
		return "a tab; readers of YAML disagree about its width", "spaces"
	case r == utf8.RuneError && !strings.HasPrefix(rest, "\ufffd"):
		return "a byte that is no UTF-8", ""
	case r == '\r':
		return "a carriage return without a line feed", ""
	case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r&0xfffe == 0xfffe:
		return fmt.Sprintf("the control character %U", r), ""
	case unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d':
		// Text that reads otherwise than it is written hides a change from whoever reviews it.
		return fmt.Sprintf("the invisible character %U", r), ""
	}
	return "", ""
}
