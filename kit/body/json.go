package body

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// longestNumber and largestExponent bound a JSON number. What lies beyond becomes infinity, or hours of arithmetic, in
// some server (G8).
const (
	longestNumber   = 400
	largestExponent = 308
)

// jsonReader reads RFC 8259 in one pass and refuses what readers disagree on: a name twice in an object (G6), text after
// the value (G10), bytes that are not UTF-8, halves of surrogate pairs, U+0000 and a byte order mark (G9), unbounded
// depth, counts (G11) and numbers (G8). Strings and numbers share the memory of the one text.
type jsonReader struct {
	text    string
	at      int
	depth   int
	members int
	values  int
	lim     Limits
}

func parseJSON(raw []byte, lim Limits) (any, *Refusal) {
	r := jsonReader{text: string(raw), lim: lim}
	if strings.HasPrefix(r.text, "\xef\xbb\xbf") || strings.HasPrefix(r.text, "\xfe\xff") || strings.HasPrefix(r.text, "\xff\xfe") {
		return nil, refuse(bodyBOM, "a byte order mark")
	}
	if !utf8.ValidString(r.text) {
		return nil, refuse(bodyUTF8, "the body is not UTF-8")
	}
	r.space()
	value, refusal := r.value()
	if refusal != nil {
		return nil, refusal
	}
	if r.space(); r.at < len(r.text) {
		return nil, refuse(bodyTrailing, "text after the value, at byte %d", r.at)
	}
	return value, nil
}

func (r *jsonReader) syntax() *Refusal {
	if r.at >= len(r.text) {
		return refuse(bodyJSON, "the value is not complete")
	}
	return refuse(bodyJSON, "no JSON at byte %d", r.at)
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// take steps over c when it stands next.
func (r *jsonReader) take(c byte) bool {
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) value() (any, *Refusal) {
	if r.values++; r.values > r.lim.Values {
		return nil, refuse(bodyValues, "more than %d values", r.lim.Values)
	}
	if r.at >= len(r.text) {
		return nil, r.syntax()
	}
	switch c := r.text[r.at]; c {
	case '{', '[':
		if r.depth++; r.depth > r.lim.Depth {
			return nil, refuse(bodyDepth, "deeper than %d at byte %d", r.lim.Depth, r.at)
		}
		r.at++
		var value any
		var refusal *Refusal
		if c == '{' {
			value, refusal = r.object()
		} else {
			value, refusal = r.array()
		}
		r.depth--
		return value, refusal
	case '"':
		s, refusal := r.str()
		if refusal != nil {
			return nil, refusal
		}
		return s, nil
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	}
	n, refusal := r.number()
	if refusal != nil {
		return nil, refusal
	}
	return n, nil
}

func (r *jsonReader) word(w string) *Refusal {
	if !strings.HasPrefix(r.text[r.at:], w) {
		return r.syntax()
	}
	r.at += len(w)
	return nil
}

func (r *jsonReader) array() (any, *Refusal) {
	if r.space(); r.take(']') {
		return []any{}, nil
	}
	list := make([]any, 0, 4)
	for {
		value, refusal := r.value()
		if refusal != nil {
			return nil, refusal
		}
		list = append(list, value)
		if r.space(); r.take(']') {
			return list, nil
		}
		if !r.take(',') {
			return nil, r.syntax()
		}
		r.space()
	}
}

func (r *jsonReader) object() (any, *Refusal) {
	object := map[string]any{}
	if r.space(); r.take('}') {
		return object, nil
	}
	for {
		begin := r.at
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return nil, r.syntax()
		}
		name, refusal := r.str()
		if refusal != nil {
			return nil, refusal
		}
		if _, twice := object[name]; twice {
			return nil, refuse(bodyDuplicate, "the name at byte %d stands twice in its object", begin)
		}
		if r.members++; r.members > r.lim.Members {
			return nil, refuse(bodyMembers, "more than %d members", r.lim.Members)
		}
		if r.space(); !r.take(':') {
			return nil, r.syntax()
		}
		r.space()
		value, refusal := r.value()
		if refusal != nil {
			return nil, refusal
		}
		object[name] = value
		if r.space(); r.take('}') {
			return object, nil
		}
		if !r.take(',') {
			return nil, r.syntax()
		}
		r.space()
	}
}

// str reads a string whose opening quote stands next. Without escapes it is a part of the text.
func (r *jsonReader) str() (string, *Refusal) {
	r.at++
	begin := r.at
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[begin : r.at-1], nil
		case c == '\\':
			return r.escaped(begin)
		case c < 0x20:
			return "", r.syntax()
		}
	}
	return "", r.syntax()
}

// escaped reads on in a string that has an escape at r.at.
func (r *jsonReader) escaped(begin int) (string, *Refusal) {
	out := append(make([]byte, 0, r.at-begin+32), r.text[begin:r.at]...)
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '"':
			r.at++
			return string(out), nil
		case c < 0x20:
			return "", r.syntax()
		case c != '\\':
			out = append(out, c)
			r.at++
			continue
		}
		char, refusal := r.escape()
		if refusal != nil {
			return "", refusal
		}
		out = utf8.AppendRune(out, char)
	}
	return "", r.syntax()
}

// escape reads one escape, or the two that make a surrogate pair.
func (r *jsonReader) escape() (rune, *Refusal) {
	if r.at++; r.at >= len(r.text) {
		return 0, r.syntax()
	}
	c := r.text[r.at]
	if c != 'u' {
		plain := strings.IndexByte(`"\/bfnrt`, c)
		if plain < 0 {
			return 0, r.syntax()
		}
		r.at++
		return rune("\"\\/\b\f\n\r\t"[plain]), nil
	}
	begin := r.at - 1
	r.at++
	char, ok := r.hex4()
	if !ok {
		return 0, r.syntax()
	}
	if char == 0 && !r.lim.AllowNUL {
		return 0, refuse(bodyNUL, "U+0000 at byte %d", begin)
	}
	if !utf16.IsSurrogate(char) {
		return char, nil
	}
	if strings.HasPrefix(r.text[r.at:], `\u`) {
		r.at += 2
		low, ok := r.hex4()
		if !ok {
			return 0, r.syntax()
		}
		if pair := utf16.DecodeRune(char, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, refuse(bodySurrogate, "half a surrogate pair at byte %d", begin)
}

// hex4 reads four hexadecimal digits.
func (r *jsonReader) hex4() (rune, bool) {
	if r.at+4 > len(r.text) {
		return 0, false
	}
	var char rune
	for _, c := range []byte(r.text[r.at : r.at+4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		char = char<<4 | rune(c)
	}
	r.at += 4
	return char, true
}

// digits steps over decimal digits and says how many there were.
func (r *jsonReader) digits() int {
	begin := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at - begin
}

// number keeps the digits as they were written.
func (r *jsonReader) number() (json.Number, *Refusal) {
	begin := r.at
	r.take('-')
	whole := 1
	if !r.take('0') {
		if whole = r.digits(); whole == 0 {
			return "", r.syntax()
		}
	}
	if r.take('.') && r.digits() == 0 {
		return "", r.syntax()
	}
	exponent, refusal := r.exponent()
	if refusal != nil {
		return "", refusal
	}
	text := r.text[begin:r.at]
	if len(text) > longestNumber {
		return "", refuse(bodyNumber, "the number at byte %d has more than %d characters", begin, longestNumber)
	}
	if exponent < -largestExponent || exponent > largestExponent {
		return "", refuse(bodyNumber, "the exponent of the number at byte %d is beyond %d", begin, largestExponent)
	}
	if whole+exponent > largestExponent {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return "", refuse(bodyNumber, "the number at byte %d is larger than any double", begin)
		}
	}
	return json.Number(text), nil
}

// exponent reads the part after 'e', 0 when there is none; beyond four digits it stops counting.
func (r *jsonReader) exponent() (int, *Refusal) {
	if !r.take('e') && !r.take('E') {
		return 0, nil
	}
	sign := 1
	if r.take('-') {
		sign = -1
	} else {
		r.take('+')
	}
	begin := r.at
	if r.digits() == 0 {
		return 0, r.syntax()
	}
	n := 0
	for _, c := range []byte(r.text[begin:r.at]) {
		if n = min(n*10+int(c-'0'), 9999); n == 9999 {
			break
		}
	}
	return sign * n, nil
}
