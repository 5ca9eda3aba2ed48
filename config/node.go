package config

import (
	"strconv"
	"strings"
)

// kind is what a node is.
type kind int

const (
	kindNull kind = iota
	kindMapping
	kindList
	kindScalar
)

// node is one value of the document.
type node struct {
	kind   kind
	text   string // of a scalar, its meaning
	style  style  // of a scalar
	line   int    // 1-based: where a mistake points; of a mapping or list below its key, the key
	column int    // 1-based, in characters
	pairs  []pair // of a mapping, first of each key
	items  []*node
	index  map[string]int // key -> pair
}

// pair is one key of a mapping and its value.
type pair struct {
	key          string
	line, column int
	value        *node
}

// style is how a scalar is written, which decides what it can mean.
type style int

const (
	plain  style = iota // text without quotes
	quoted              // '...' or "..."
	block               // | or >
	whole               // a plain decimal whole number
	real                // a plain number with a point
	truth               // plain true or false
	odd                 // a number that YAML readers disagree about, such as 010, 0x1f, 1_000, .inf
)

// get finds the value of a key.
func (n *node) get(key string) (pair, bool) {
	if n == nil || n.kind != kindMapping {
		return pair{}, false
	}
	i, ok := n.index[key]
	if !ok {
		return pair{}, false
	}
	return n.pairs[i], true
}

// add appends a pair unless the key is there already, which it then tells.
func (n *node) add(p pair) (first pair, fresh bool) {
	if i, ok := n.index[p.key]; ok {
		return n.pairs[i], false
	}
	if n.index == nil {
		n.index = map[string]int{}
	}
	n.index[p.key] = len(n.pairs)
	n.pairs = append(n.pairs, p)
	return p, true
}

// styleOf says what a text without quotes is. Only true, false and decimal numbers are more than text; what other readers
// would take for a number is odd.
func styleOf(text string) style {
	switch text {
	case "true", "false":
		return truth
	}
	digits := strings.TrimPrefix(text, "-")
	switch {
	case digits == "":
		return plain
	case allDigits(digits) && (digits == "0" || digits[0] != '0'):
		return whole
	case isDecimal(digits):
		return real
	case looksNumeric(text):
		return odd
	}
	return plain
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func isDecimal(s string) bool {
	before, after, ok := strings.Cut(s, ".")
	return ok && allDigits(before) && allDigits(after) && (before == "0" || before[0] != '0')
}

// looksNumeric tells that some reader of YAML takes the text for a number.
func looksNumeric(s string) bool {
	s = strings.ToLower(strings.TrimLeft(s, "+-"))
	switch s {
	case ".inf", ".nan":
		return true
	case "", "inf", "nan", "infinity":
		return false
	}
	if first := s[0]; first != '.' && (first < '0' || first > '9') {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "0o"); ok {
		return allDigits(rest)
	}
	clean := strings.ReplaceAll(s, "_", "")
	if _, err := strconv.ParseFloat(clean, 64); err == nil {
		return true
	}
	_, err := strconv.ParseUint(clean, 0, 64)
	return err == nil
}

// describe names what stands there, for a message. It never repeats the text of a scalar.
func (n *node) describe() string {
	switch n.kind {
	case kindMapping:
		return "a mapping of keys"
	case kindList:
		return "a list"
	case kindNull:
		return "nothing"
	}
	switch n.style {
	case whole, real, odd:
		return "a number"
	case truth:
		return n.text
	}
	return "text"
}
