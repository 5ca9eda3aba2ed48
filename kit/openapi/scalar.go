package openapi

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// scalar is the fast way to judge the common schema of a parameter: one type, bounds, lengths, an enum, a pattern, a
// format. It says the same as the general way, which TestScalarsAgree checks, without making values on the heap.
type scalar struct {
	kind      kind // text, number or boolean
	integer   bool
	low, high *int64 // inclusive, of an integer
	min, max  int    // characters of a text; max -1 when there is none
	enum      []string
	pattern   *regexp.Regexp
	format    func(any) error
	pointer   string
}

var scalarKeywords = []string{"type", "minimum", "maximum", "minLength", "maxLength", "enum", "pattern", "format"}

// scalar gives nil for a schema that needs the general way.
func (s *schemas) scalar(n *node) *scalar {
	for range maxReferences {
		if !s.isPlainReference(n) {
			break
		}
		if n = s.l.follow(n.get("$ref")); n == nil {
			return nil
		}
	}
	if known, ok := s.scalars[n]; ok {
		return known
	}
	made := s.makeScalar(n)
	s.scalars[n] = made
	return made
}

func (s *schemas) makeScalar(n *node) *scalar {
	if n.kind != object || n.get("type") == nil || n.get("type").kind != text || n.yes("nullable") {
		return nil
	}
	for _, m := range n.members {
		if k := keywords[m.name]; k != ignored && k != unknown && m.name != "x-gatehouse-secret" && m.name != sinkKeyword && !slices.Contains(scalarKeywords, m.name) {
			return nil
		}
	}
	c := &scalar{max: -1, pointer: n.pointer(), format: formats[n.str("format")]}
	switch n.str("type") {
	case "string":
		return c.ofText(s, n)
	case "integer":
		c.kind, c.integer = number, true
		var okLow, okHigh bool
		c.low, okLow = bound(n.get("minimum"))
		c.high, okHigh = bound(n.get("maximum"))
		if !okLow || !okHigh || n.get("enum") != nil || n.get("pattern") != nil || n.get("minLength") != nil || n.get("maxLength") != nil {
			return nil
		}
		return c
	case "boolean":
		c.kind = boolean
		if n.get("enum") == nil && n.get("format") == nil {
			return c
		}
	}
	return nil
}

func (c *scalar) ofText(s *schemas, n *node) *scalar {
	c.kind = text
	if n.get("minimum") != nil || n.get("maximum") != nil {
		return nil
	}
	for _, item := range n.get("enum").all() {
		if item.kind != text {
			return nil
		}
		c.enum = append(c.enum, item.text)
	}
	if m := n.get("minLength"); m != nil {
		c.min, _ = strconv.Atoi(m.text)
	}
	if m := n.get("maxLength"); m != nil {
		c.max, _ = strconv.Atoi(m.text)
	}
	if p := n.get("pattern"); p != nil {
		c.pattern = s.pattern(p.text).re
	}
	return c
}

// bound reads a limit that fits in 64 bits; ok is false for one that does not.
func bound(n *node) (*int64, bool) {
	if n == nil {
		return nil, true
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	return &i, err == nil && n.kind == number
}

// judge gives the keyword that raw fails and what is wrong, "" when nothing is.
func (c *scalar) judge(raw string) (keyword, what string) {
	switch {
	case c.kind == text:
		return c.judgeText(raw)
	case c.kind == boolean:
		if raw != "true" && raw != "false" {
			return "type", "is not true or false"
		}
		return "", ""
	}
	if !isInteger(raw) {
		return "type", "is not a whole number in its plain form"
	}
	i, err := strconv.ParseInt(raw, 10, 64)
	if err != nil { // beyond 64 bits: compared by its sign
		if raw[0] == '-' && c.low != nil {
			return "minimum", "is less than " + strconv.FormatInt(*c.low, 10)
		}
		if raw[0] != '-' && c.high != nil {
			return "maximum", "is greater than " + strconv.FormatInt(*c.high, 10)
		}
	} else if c.low != nil && i < *c.low {
		return "minimum", "is less than " + strconv.FormatInt(*c.low, 10)
	} else if c.high != nil && i > *c.high {
		return "maximum", "is greater than " + strconv.FormatInt(*c.high, 10)
	}
	if c.format != nil {
		if err := c.format(json.Number(raw)); err != nil {
			return "format", err.Error()
		}
	}
	return "", ""
}

func (c *scalar) judgeText(raw string) (keyword, what string) {
	if c.enum != nil && !slices.Contains(c.enum, raw) {
		return "enum", "is not one of the declared values"
	}
	if c.format != nil {
		if err := c.format(raw); err != nil {
			return "format", err.Error()
		}
	}
	if c.min > 0 || c.max >= 0 {
		length := utf8.RuneCountInString(raw)
		if length < c.min {
			return "minLength", "has fewer than " + strconv.Itoa(c.min) + " characters"
		}
		if c.max >= 0 && length > c.max {
			return "maxLength", "has more than " + strconv.Itoa(c.max) + " characters"
		}
	}
	if c.pattern != nil && !c.pattern.MatchString(raw) {
		return "pattern", "does not match the pattern"
	}
	return "", ""
}
