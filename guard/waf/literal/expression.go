package literal

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	binary "rsc.io/binaryregexp/syntax"
)

// Expression is the condition of an argument of @rx. It is read the way Coraza 3.8.1 compiles it: with (?sm) before it,
// or, where it names bytes that are no UTF-8, as an expression over bytes, without. What can't be parsed gives an error
// and the empty Condition.
func Expression(expr string) (Condition, error) {
	wrapped := "(?sm)" + expr
	if namesBytes(wrapped) {
		tree, err := binary.Parse(expr, binary.Perl)
		if err != nil {
			return Condition{}, err
		}
		return derive(fromBinary(tree.Simplify()), true), nil
	}
	tree, err := syntax.Parse(wrapped, syntax.Perl)
	if err != nil {
		return Condition{}, err
	}
	return derive(tree.Simplify(), false), nil
}

// fromBinary copies a tree of an expression over bytes into the standard form; the two differ in nothing but the package.
func fromBinary(re *binary.Regexp) *syntax.Regexp {
	out := &syntax.Regexp{
		Op: syntax.Op(re.Op), Flags: syntax.Flags(re.Flags), Rune: re.Rune, Min: re.Min, Max: re.Max, Cap: re.Cap,
	}
	for _, sub := range re.Sub {
		out.Sub = append(out.Sub, fromBinary(sub))
	}
	return out
}

// namesBytes says whether Coraza takes the expression for one over bytes: when the text that remains after its \xNN and
// \x{N} escapes are replaced by the bytes they name is no UTF-8 (internal/operators/rx.go).
func namesBytes(expr string) bool {
	var named []byte
	for expr != "" {
		if expr[0] != '\\' {
			named, expr = append(named, expr[0]), expr[1:]
			continue
		}
		if len(expr) < 4 { // too short for an escape: the rest is taken as it is
			named = append(named, expr...)
			break
		}
		b, n, ok := escape(expr)
		if !ok {
			b, n = '\\', 1
		}
		named, expr = append(named, b), expr[n:]
	}
	return !utf8.Valid(named)
}

// escape reads the escape of a byte at the start of the expression, and says how long it is. A braced one counts by its
// first two digits only, as in Coraza.
func escape(expr string) (b byte, n int, ok bool) {
	if expr[1] != 'x' {
		return 0, 0, false
	}
	digits, n := expr[2:], 4
	if len(expr) >= 6 && expr[2] == '{' {
		if end := strings.IndexByte(expr, '}'); end >= 0 {
			digits, n = expr[3:end], end+1
		}
	}
	if len(digits) < 2 {
		return 0, 0, false
	}
	high, ok1 := hex(digits[0])
	low, ok2 := hex(digits[1])
	return high<<4 | low, n, ok1 && ok2
}

// hex is the value of a hexadecimal digit.
func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
