package openapi

import "strconv"

// Bounds of a number's literal. A longer one, or a larger exponent, stands for a number that takes long to calculate and
// is meant by nobody: 1e999999 has a million digits (G8).
const (
	maxDigits   = 100
	maxExponent = 400
)

// isJSONNumber tells that s is a number as RFC 8259 section 6 writes it, within the bounds.
func isJSONNumber(s string) bool {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	i = digits(s, i)
	if i == start || s[start] == '0' && i > start+1 {
		return false
	}
	if i < len(s) && s[i] == '.' {
		fraction := i + 1
		if i = digits(s, fraction); i == fraction {
			return false
		}
	}
	if i-start > maxDigits {
		return false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		return isExponent(s[i+1:])
	}
	return i == len(s)
}

func isExponent(s string) bool {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	if s == "" || digits(s, 0) != len(s) {
		return false
	}
	e, err := strconv.Atoi(s)
	return err == nil && e <= maxExponent
}

// isInteger tells that s is an integer in its one canonical form: no plus, no leading zero, no -0, no exponent (G8).
func isInteger(s string) bool {
	i := 0
	if s != "" && s[0] == '-' {
		i = 1
	}
	if i == len(s) || len(s)-i > maxDigits || digits(s, i) != len(s) {
		return false
	}
	return s[i] != '0' || s == "0"
}

// digits gives the offset after the digits that begin at i.
func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
