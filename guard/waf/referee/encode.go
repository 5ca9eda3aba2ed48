package referee

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// encoding writes a text so that the engine's transformation of that name turns it back, or nearly: some ways are only tried
// because a filter might take them for what they are not.
type encoding struct {
	name  string // of the transformation
	write func(r *rand.Rand, text string) string
}

// encodings are ways to write a text, by the transformation that undoes them: one for everything that it reacts to.
func encodings() []encoding {
	return []encoding{
		{"urlDecodeUni", anyOf(
			each(func(_ *rand.Rand, c byte) string { return fmt.Sprintf("%%%02X", c) }),
			each(func(_ *rand.Rand, c byte) string { return fmt.Sprintf("%%%02x", c) }),
			each(func(_ *rand.Rand, c byte) string { return fmt.Sprintf("%%u%04x", c) }), // and nothing that is written otherwise
			instead(" ", "+"),
		)},
		{"urlDecode", func(_ *rand.Rand, s string) string { return url.QueryEscape(s) }},
		{"htmlEntityDecode", each(func(r *rand.Rand, c byte) string {
			named := map[byte]string{'<': "&lt;", '>': "&gt", '"': "&quot;", '&': "&amp;", ' ': "&nbsp;"}
			if name, ok := named[c]; ok && r.IntN(2) == 0 {
				return name
			}
			return fmt.Sprintf([]string{"&#%d;", "&#x%x;", "&#X%X", "&#0%d;"}[r.IntN(4)], c)
		})},
		{"jsDecode", each(func(r *rand.Rand, c byte) string {
			return fmt.Sprintf([]string{`\x%02x`, `\u%04x`, `\%03o`}[r.IntN(3)], c)
		})},
		{"escapeSeqDecode", each(func(r *rand.Rand, c byte) string { return fmt.Sprintf([]string{`\x%02x`, `\%03o`}[r.IntN(2)], c) })},
		{"cssDecode", each(func(r *rand.Rand, c byte) string { return fmt.Sprintf([]string{`\%x `, `\%06x`}[r.IntN(2)], c) })},
		{"base64Decode", func(r *rand.Rand, s string) string {
			return []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding}[r.IntN(2)].EncodeToString([]byte(s))
		}},
		{"hexDecode", func(_ *rand.Rand, s string) string { return hex.EncodeToString([]byte(s)) }},
		{"utf8toUnicode", each(wide)},
		{"lowercase", anyOf(func(_ *rand.Rand, s string) string { return strings.ToUpper(s) }, instead("i", "İ"), instead("k", "\u212a"))},
		{"removeNulls", inside("\x00")},
		{"removeWhitespace", inside(" ", "\t", "\n", "\v", "\u00a0", "\u0085", "\u2003", "\u3000")},
		{"compressWhitespace", instead(" ", "\t \u00a0", "  ", "\t", "\n", "\v", "\f", "\u00a0", "\u0085")},
		{"replaceComments", instead(" ", "/*x*/", "/**/", "/*")},
		{"removeComments", inside("/*x*/", "<!--x-->", "/**/")},
		{"removeCommentsChar", inside("/*", "*/", "--", "#", "<!--", "-->")},
		{"cmdLine", anyOf(
			inside("^", `"`, "'", `\`),
			instead(" ", ",", ";", "\t", "\n", "\r", "  "), instead("/", " /"), instead("(", " ("),
			func(_ *rand.Rand, s string) string { return strings.ToUpper(s) },
		)},
		{"normalizePath", instead("/", "/./x/..//", "//", "/./", "/x/../")},
		{"normalizePathWin", instead("/", `\`, "//", "/./", `\x\..\`, " /", "./")},
		{"trim", func(r *rand.Rand, s string) string {
			return []string{" ", "", "\t"}[r.IntN(3)] + s + []string{" ", "", "\n"}[r.IntN(3)]
		}},
	}
}

// anyOf takes one of several ways.
func anyOf(ways ...func(*rand.Rand, string) string) func(*rand.Rand, string) string {
	return func(r *rand.Rand, s string) string { return ways[r.IntN(len(ways))](r, s) }
}

// instead puts one of several texts in the place of another.
func instead(what string, by ...string) func(*rand.Rand, string) string {
	return func(r *rand.Rand, s string) string { return strings.ReplaceAll(s, what, by[r.IntN(len(by))]) }
}

// each writes one byte of a text, or all of them.
func each(write func(*rand.Rand, byte) string) func(*rand.Rand, string) string {
	return func(r *rand.Rand, s string) string {
		if s == "" {
			return s
		}
		if r.IntN(2) == 0 {
			i := r.IntN(len(s))
			return s[:i] + write(r, s[i]) + s[i+1:]
		}
		var b strings.Builder
		for i := range len(s) {
			b.WriteString(write(r, s[i]))
		}
		return b.String()
	}
}

// inside puts one of several texts between two bytes.
func inside(whats ...string) func(*rand.Rand, string) string {
	return func(r *rand.Rand, s string) string {
		if len(s) < 2 {
			return s
		}
		i := 1 + r.IntN(len(s)-1)
		return s[:i] + whats[r.IntN(len(whats))] + s[i:]
	}
}

// wide writes a byte as its full width form, which some readers fold back.
func wide(_ *rand.Rand, c byte) string {
	if c > ' ' && c < 0x7f {
		return string(rune(c) + 0xfee0)
	}
	return string(rune(c))
}

// undone writes a text so that a rule's chain of transformations turns it back, where it can: one of them or most.
func undone(r *rand.Rand, text string, chain []string) string {
	only := r.IntN(2 * len(chain))
	for i := len(chain) - 1; i >= 0; i-- {
		if only < len(chain) && i != only {
			continue
		}
		name := strings.Replace(chain[i], "normalise", "normalize", 1) // two names for one
		for _, e := range encodings() {
			if e.name == name && (e.name == "base64Decode" || i == only || r.IntN(3) > 0) {
				text = e.write(r, text)
			}
		}
	}
	return text
}
