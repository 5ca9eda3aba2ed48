package wire

import (
	"bytes"
	"encoding/binary"
)

// The character classes of RFC 9110 section 5.6.2 and RFC 3986 that the readers need, as one table so that a byte is looked up once.
const (
	isToken  = 1 << iota // tchar: may stand in a field name
	isValue              // may stand in a field value: visible, obs-text, space, tab
	isTarget             // may stand in a request target: visible ASCII; what it means is kit/canon's business
	isMethod             // upper-case letter or "-"
	isHost               // may stand in a host name
	isHex
)

var classes = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		upper, lower, digit := 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9'
		if upper || lower || digit || (c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0) {
			table[i] |= isToken
		}
		if c == '\t' || (c >= 0x20 && c != 0x7f) {
			table[i] |= isValue
		}
		if c > 0x20 && c < 0x7f && c != '#' {
			table[i] |= isTarget
		}
		if upper || c == '-' {
			table[i] |= isMethod
		}
		if upper || lower || digit || c == '-' || c == '.' || c == '_' {
			table[i] |= isHost
		}
		if digit || ('a' <= c && c <= 'f') || ('A' <= c && c <= 'F') {
			table[i] |= isHex
		}
	}
	return table
}()

// firstNot returns the index of the first byte of b outside the class, or -1.
func firstNot(b []byte, class byte) int {
	for i, c := range b {
		if classes[c]&class == 0 {
			return i
		}
	}
	return -1
}

// firstNotValue is firstNot for isValue, eight bytes at a time: field values are most of a head. A word with a byte below 0x20 or equal to
// 0x7f (Hacker's Delight, section 6-1) goes the slow way, which knows that a tab is allowed.
func firstNotValue(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	rest := b
	for len(rest) >= 8 {
		x := binary.LittleEndian.Uint64(rest)
		del := x ^ ones*0x7f
		if ((x-ones*0x20)&^x|(del-ones)&^del)&tops != 0 {
			break
		}
		rest = rest[8:]
	}
	if i := firstNot(rest, isValue); i >= 0 {
		return len(b) - len(rest) + i
	}
	return -1
}

// nameThe picks the reason for a byte that may not be where it is: carriage return and NUL have names of their own.
func nameThe(c byte, otherwise string) string {
	switch c {
	case '\r':
		return reasonBareCR
	case 0:
		return reasonNUL
	}
	return otherwise
}

// equalFold compares b with a lower-case ASCII word, ignoring ASCII case only: no Unicode folding (the Kelvin sign is not a k).
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// fault is a reason and its place in the bytes at hand, before the position on the connection is added.
type fault struct {
	reason string
	at     int
	detail string
}

// cursor walks over the bytes that have arrived but are not handed on. All positions are relative to the first such byte.
type cursor struct {
	base int64 // position on the connection of that first byte
	at   int   // everything before is understood
	look int   // no line feed between at and here, so a line that trickles in is searched once
	done int   // everything before may be handed on
}

// rebase makes b[done:] the new beginning and returns how many bytes may be handed on.
func (c *cursor) rebase() int {
	n := c.done
	c.base += int64(n)
	c.at -= n
	c.look -= n
	c.done = 0
	return n
}

// line returns the next line without its CRLF and steps over it. Without a complete line it returns ok == false. A line that ends
// in a bare LF is a fault (C10).
func (c *cursor) line(b []byte) (line []byte, ok bool, f *fault) {
	from := max(c.at, c.look)
	i := bytes.IndexByte(b[from:], '\n')
	if i < 0 {
		c.look = len(b)
		return nil, false, nil
	}
	end := from + i
	if end == c.at || b[end-1] != '\r' {
		return nil, false, &fault{reasonBareLF, end, "a line ends in LF without CR"}
	}
	line = b[c.at : end-1]
	c.at, c.look = end+1, end+1
	return line, true, nil
}

// field is one field line, split. Name and value alias the line.
type field struct {
	name, value []byte
}

// parseField splits a field line (RFC 9112 section 5) and refuses everything that some parser reads differently: folded lines,
// space before the colon, an empty or odd name, control bytes. at is where the line begins.
func parseField(line []byte, at int) (field, *fault) {
	n := firstNot(line, isToken)
	if n != 0 && n > 0 && line[n] == ':' {
		value := trim(line[n+1:])
		if i := firstNotValue(value); i >= 0 {
			where := bytes.IndexByte(line, value[i])
			return field{}, &fault{nameThe(value[i], reasonFieldValue), at + where, "a control byte in a field value"}
		}
		return field{name: line[:n], value: value}, nil
	}
	switch {
	case n < 0:
		return field{}, &fault{reasonFieldName, at + len(line), "a field line without colon"}
	case n == 0 && (line[0] == ' ' || line[0] == '\t'):
		return field{}, &fault{reasonObsFold, at, "a field line begins with white space"}
	case line[n] == ' ' || line[n] == '\t':
		return field{}, &fault{reasonSpaceColon, at + n, "white space in or after a field name"}
	case n == 0 && line[0] == ':':
		return field{}, &fault{reasonFieldName, at, "an empty field name"}
	}
	return field{}, &fault{nameThe(line[n], reasonFieldName), at + n, "a byte that may not stand in a field name"}
}

// trim removes the optional white space around a value.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseLength reads a Content-Length value: digits only, at most 18 of them, so that no parser overflows.
func parseLength(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
