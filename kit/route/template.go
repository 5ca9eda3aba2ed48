package route

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Segment is one part of a template between two slashes: Prefix, then a value, then Suffix. A segment without a Name is
// all literal and stands in Prefix. Literals are decoded, as the segments of a canonical request are.
type Segment struct {
	Prefix string
	Name   string // of the template variable, "" for a literal segment
	Suffix string
}

// Parse reads a path template such as /orders/{id} or /reports/{name}.json. It refuses, with words for whoever wrote it,
// a template that no canonical request can match, and one whose values could be taken apart in two ways: at most one
// variable in each segment.
func Parse(template string) ([]Segment, error) {
	if !strings.HasPrefix(template, "/") {
		return nil, fmt.Errorf("path template %q does not begin with a slash", template)
	}
	parts, err := split(template[1:])
	if err != nil {
		return nil, err
	}
	segments := make([]Segment, len(parts))
	names := map[string]bool{}
	for i, part := range parts {
		s, err := parseSegment(part)
		if err != nil {
			return nil, fmt.Errorf("path template %q: %w", template, err)
		}
		if s.Name == "" && s.Prefix == "" && i != len(parts)-1 {
			return nil, fmt.Errorf("path template %q has an empty segment, which no request can have", template)
		}
		if s.Name != "" && names[s.Name] {
			return nil, fmt.Errorf("path template %q names {%s} twice", template, s.Name)
		}
		names[s.Name] = true
		segments[i] = s
	}
	return segments, nil
}

// split parts a template at its slashes. A slash inside braces is refused: a value never spans segments.
func split(rest string) ([]string, error) {
	depth := 0
	for i := range len(rest) {
		switch rest[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth > 0 {
				return nil, fmt.Errorf("path template %q has a slash inside braces; a value is one segment", "/"+rest)
			}
		}
		if depth < 0 || depth > 1 {
			return nil, fmt.Errorf("path template %q has unbalanced braces", "/"+rest)
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("path template %q has unbalanced braces", "/"+rest)
	}
	return strings.Split(rest, "/"), nil
}

func parseSegment(part string) (Segment, error) {
	open := strings.IndexByte(part, '{')
	if open < 0 {
		literal, err := decode(part)
		return Segment{Prefix: literal}, err
	}
	closing := strings.IndexByte(part, '}')
	name, rest := part[open+1:closing], part[closing+1:]
	switch {
	case name == "":
		return Segment{}, fmt.Errorf("a variable without a name in %q", part)
	case strings.ContainsAny(name, "*?#:"):
		return Segment{}, fmt.Errorf("{%s} is more than a name; a value is one segment", name)
	case strings.ContainsAny(rest, "{}"):
		return Segment{}, fmt.Errorf("segment %q has more than one variable, so that its values could be taken apart in two ways", part)
	}
	prefix, err := decode(part[:open])
	if err != nil {
		return Segment{}, err
	}
	suffix, err := decode(rest)
	return Segment{Prefix: prefix, Name: name, Suffix: suffix}, err
}

// decode takes percent-encoding off a literal, and refuses what a canonical request never contains.
func decode(literal string) (string, error) {
	s, err := url.PathUnescape(literal)
	if err != nil {
		return "", fmt.Errorf("%q is not percent-encoding", literal)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not UTF-8", literal)
	}
	if s == "." || s == ".." {
		return "", fmt.Errorf("%q is a dot segment, which no request can have", literal)
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`/\;`, r) {
			return "", fmt.Errorf("%q contains %q, which no request's segment can have", literal, r)
		}
	}
	if strings.ContainsAny(literal, "?#") {
		return "", fmt.Errorf("%q contains a question mark or a number sign, which end a path", literal)
	}
	return s, nil
}
