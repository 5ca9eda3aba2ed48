package openapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

func (e *sureEnum) has(n *body.Node) bool {
	switch n.Kind {
	case body.String:
		for _, t := range e.texts {
			if t == n.Text {
				return true
			}
		}
	case body.Number:
		d, ok := toDecimal(n.Text)
		for i := range e.numbers {
			if ok && d.compare(&e.numbers[i]) == 0 {
				return true
			}
		}
	case body.Null, body.False, body.True:
		return e.kinds&(1<<n.Kind) != 0
	}
	return false
}

func (t *sureText) holds(s string) bool {
	if t.min > 0 || len(s) > t.max { // a text has at most as many characters as bytes
		if length := utf8.RuneCountInString(s); length < t.min || length > t.max {
			return false
		}
	}
	return t.pattern == nil || t.pattern.MatchString(s)
}

func (s *sure) holdsNumber(written string) bool {
	if s.whole || s.number != nil {
		d, ok := toDecimal(written)
		if !ok || s.whole && d.fraction != "" || s.number != nil && !s.number.holds(&d) {
			return false
		}
	}
	return s.format == nil || s.format(json.Number(written)) == nil
}

func (b *sureNumber) holds(d *decimal) bool {
	switch {
	case b.low != nil && d.compare(b.low) < 0,
		b.high != nil && d.compare(b.high) > 0,
		b.above != nil && d.compare(b.above) <= 0,
		b.below != nil && d.compare(b.below) >= 0:
		return false
	}
	if b.multiple == 0 {
		return true
	}
	scaled, ok := d.scaled(b.digits)
	return ok && scaled%b.multiple == 0
}

// decimal is a number that is written without an exponent, as its digits; it is exact. Zeros that say nothing are left out.
type decimal struct {
	negative        bool
	whole, fraction string // digits; whole is "" for a number between -1 and 1
}

// toDecimal reads a JSON number. Ok is false when it has an exponent.
func toDecimal(s string) (d decimal, ok bool) {
	s, d.negative = strings.CutPrefix(s, "-")
	end := digits(s, 0)
	d.whole = s[:end]
	if end < len(s) {
		if s[end] != '.' || digits(s, end+1) != len(s) {
			return decimal{}, false
		}
		d.fraction = strings.TrimRight(s[end+1:], "0")
	}
	if d.whole == "0" {
		d.whole = ""
	}
	if d.whole == "" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

// compare gives -1, 0 or 1, as d is less than, equal to or greater than other.
func (d *decimal) compare(other *decimal) int {
	switch {
	case d.negative && !other.negative:
		return -1
	case !d.negative && other.negative:
		return 1
	case d.negative:
		return other.size(d)
	}
	return d.size(other)
}

// size compares without the signs.
func (d *decimal) size(other *decimal) int {
	if len(d.whole) != len(other.whole) {
		if len(d.whole) < len(other.whole) {
			return -1
		}
		return 1
	}
	if c := strings.Compare(d.whole, other.whole); c != 0 {
		return c
	}
	return strings.Compare(d.fraction, other.fraction)
}

// scaled gives the number times 10^places. Ok is false when that is no integer, or a large one.
func (d *decimal) scaled(places int) (n int64, ok bool) {
	if len(d.fraction) > places || len(d.whole)+places > 18 {
		return 0, false
	}
	n, err := strconv.ParseInt("0"+d.whole+d.fraction+strings.Repeat("0", places-len(d.fraction)), 10, 64)
	return n, err == nil
}
