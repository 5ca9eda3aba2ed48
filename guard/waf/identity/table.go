package identity

import "strings"

// An entry of the table holds, from the lowest bit: what the byte is by itself (32 bits), which pairs it may begin (16),
// which pairs it may end (16). The entry before, shifted so that its beginnings stand over the ends of this one, leaves in
// the upper 16 bits the pairs that these two bytes are.
const (
	first         = 32
	second        = 48
	firstToSecond = second - first
)

// table is a constant that Go cannot write as one.
var table = classify()

func classify() (t [256]uint64) {
	for i := range t {
		c := byte(i)
		t[i] = uint64(traits(c)) | begins(c)<<first | ends(c)<<second
	}
	return t
}

// traits are what a byte is by itself.
func traits(c byte) (t Traits) {
	for _, of := range [...]struct {
		bytes string
		trait Traits
	}{
		{`"'`, quote}, {`\`, backslash}, {`^`, caret}, {`,;`, comma}, {` `, space}, {"\t\n\r", line}, {"\v\f", feed},
		{"\x00", nul}, {`+`, plus}, {`#`, hash}, {`:`, colon},
	} {
		if strings.IndexByte(of.bytes, c) >= 0 {
			t |= of.trait
		}
	}
	switch {
	case c >= 'A' && c <= 'Z':
		t |= Upper
	case c >= 'a' && c <= 'z':
		t |= Lower
	case c >= '0' && c <= '9', c == '*':
	default:
		t |= unplain
	}
	if c >= 0x80 {
		t |= nonASCII
	}
	if !isHex(c) {
		t |= unhex
	}
	return t
}

// begins are the pairs that a byte may begin, the first pair in the lowest bit.
func begins(c byte) uint64 {
	switch c {
	case ' ':
		return pair(twoSpaces | spaceBefore | segmentTail)
	case '.':
		return pair(segmentTail)
	case '/':
		return pair(openComment | twoSlashes | slashDot)
	case '*':
		return pair(shutComment)
	case '-':
		return pair(twoDashes)
	case '%':
		return pair(percent)
	case '&':
		return pair(ampersand)
	}
	return 0
}

// ends are the pairs that a byte may end.
func ends(c byte) (p uint64) {
	switch {
	case c == ' ':
		p = pair(twoSpaces)
	case c == '/':
		p = pair(spaceBefore | shutComment | twoSlashes | segmentTail)
	case c == '(':
		p = pair(spaceBefore)
	case c == '*':
		p = pair(openComment)
	case c == '-':
		p = pair(twoDashes)
	case c == '.':
		p = pair(slashDot)
	case c == '#', isLetter(c):
		p = pair(ampersand)
	}
	if isHex(c) || c|0x20 == 'u' {
		p |= pair(percent)
	}
	return p
}

func pair(t Traits) uint64 { return uint64(t >> pairs) }

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isAlphanumeric(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' }
