package body

import (
	"bytes"
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
	nodes   []Node
	lim     Limits
}

// firstNodes bounds the nodes that are made room for before any is read.
const firstNodes = 2048

func parseJSON(raw []byte, lim Limits) ([]Node, *Refusal) {
	r := jsonReader{text: string(raw), lim: lim}
	if strings.HasPrefix(r.text, "\xef\xbb\xbf") || strings.HasPrefix(r.text, "\xfe\xff") || strings.HasPrefix(r.text, "\xff\xfe") {
		return nil, refuse(bodyBOM, "a byte order mark")
	}
	if !utf8.ValidString(r.text) {
		return nil, refuse(bodyUTF8, "the body is not UTF-8")
	}
	r.nodes = make([]Node, 0, min(1+bytes.Count(raw, []byte(","))+bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("[")), firstNodes))
	r.space()
	if refusal := r.value(""); refusal != nil {
		return nil, refusal
	}
	if r.space(); r.at < len(r.text) {
		return nil, refuse(bodyTrailing, "text after the value, at byte %d", r.at)
	}
	return r.nodes, nil
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

// value reads the value that stands next; name is its name, when it is a member.
func (r *jsonReader) value(name string) *Refusal {
	if len(r.nodes) >= r.lim.Values {
		return refuse(bodyValues, "more than %d values", r.lim.Values)
	}
	if r.at >= len(r.text) {
		return r.syntax()
	}
	node := Node{Name: name, Next: int32(len(r.nodes) + 1)}
	var refusal *Refusal
	switch c := r.text[r.at]; c {
	case '{':
		return r.container(node, Object)
	case '[':
		return r.container(node, Array)
	case '"':
		node.Kind = String
		node.Text, refusal = r.str()
	case 't':
		node.Kind, refusal = True, r.word("true")
	case 'f':
		node.Kind, refusal = False, r.word("false")
	case 'n':
		node.Kind, refusal = Null, r.word("null")
	default:
		node.Kind = Number
		node.Text, refusal = r.number()
	}
	r.nodes = append(r.nodes, node)
	return refusal
}

func (r *jsonReader) container(node Node, kind NodeKind) *Refusal {
	if r.depth++; r.depth > r.lim.Depth {
		return refuse(bodyDepth, "deeper than %d at byte %d", r.lim.Depth, r.at)
	}
	r.at++
	node.Kind = kind
	at := len(r.nodes)
	r.nodes = append(r.nodes, node)
	var size int
	var refusal *Refusal
	if kind == Object {
		size, refusal = r.object(at)
	} else {
		size, refusal = r.array()
	}
	r.depth--
	r.nodes[at].Size, r.nodes[at].Next = int32(size), int32(len(r.nodes))
	return refusal
}

func (r *jsonReader) word(w string) *Refusal {
	if !strings.HasPrefix(r.text[r.at:], w) {
		return r.syntax()
	}
	r.at += len(w)
	return nil
}

func (r *jsonReader) array() (size int, refusal *Refusal) {
	if r.space(); r.take(']') {
		return 0, nil
	}
	for {
		if refusal := r.value(""); refusal != nil {
			return 0, refusal
		}
		size++
		if r.space(); r.take(']') {
			return size, nil
		}
		if !r.take(',') {
			return 0, r.syntax()
		}
		r.space()
	}
}

func (r *jsonReader) object(at int) (size int, refusal *Refusal) {
	if r.space(); r.take('}') {
		return 0, nil
	}
	var many map[string]struct{} // the names, once there are many
	for {
		begin := r.at
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return 0, r.syntax()
		}
		name, refusal := r.str()
		if refusal != nil {
			return 0, refusal
		}
		if size == fewMembers {
			many = r.names(at)
		}
		if many == nil && r.has(at, name) || many != nil && !added(many, name) {
			return 0, refuse(bodyDuplicate, "the name at byte %d stands twice in its object", begin)
		}
		if r.members++; r.members > r.lim.Members {
			return 0, refuse(bodyMembers, "more than %d members", r.lim.Members)
		}
		if r.space(); !r.take(':') {
			return 0, r.syntax()
		}
		r.space()
		if refusal := r.value(name); refusal != nil {
			return 0, refusal
		}
		size++
		if r.space(); r.take('}') {
			return size, nil
		}
		if !r.take(',') {
			return 0, r.syntax()
		}
		r.space()
	}
}

// fewMembers is up to how many members a name is compared with each before it.
const fewMembers = 12

// has tells that the object at a node has a member of this name so far.
func (r *jsonReader) has(at int, name string) bool {
	for i := at + 1; i < len(r.nodes); i = int(r.nodes[i].Next) {
		if r.nodes[i].Name == name {
			return true
		}
	}
	return false
}

// names are those of the members so far.
func (r *jsonReader) names(at int) map[string]struct{} {
	set := make(map[string]struct{}, 2*fewMembers)
	for i := at + 1; i < len(r.nodes); i = int(r.nodes[i].Next) {
		set[r.nodes[i].Name] = struct{}{}
	}
	return set
}

// added puts a name into a set, and tells whether it is new there.
func added(set map[string]struct{}, name string) bool {
	before := len(set)
	set[name] = struct{}{}
	return len(set) > before
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
func (r *jsonReader) number() (string, *Refusal) {
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
	return text, nil
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
