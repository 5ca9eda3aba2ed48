package openapi

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// pattern is a compiled ECMA-262 pattern.
type pattern struct {
	re       *regexp.Regexp
	err      error
	anchored bool // begins with ^ and ends with $
}

// pattern compiles, once for each text.
func (s *schemas) pattern(written string) *pattern {
	if p, ok := s.parsing[written]; ok {
		return p
	}
	p := &pattern{anchored: strings.HasPrefix(written, "^") && strings.HasSuffix(written, "$") && !strings.HasSuffix(written, `\$`)}
	if strings.Contains(written, "|") && !strings.HasPrefix(written, "^(") {
		p.anchored = false // ^a|b$ is anchored on neither side of both
	}
	var translated string
	if translated, p.err = fromECMA(written); p.err == nil {
		if p.re, p.err = regexp.Compile(translated); p.err != nil {
			p.err = errors.New(strings.TrimPrefix(p.err.Error(), "error parsing regexp: "))
			if strings.Contains(p.err.Error(), "repeat count") {
				p.err = fmt.Errorf("%w; a repetition has at most 1000 times: write the length as maxLength", p.err)
			}
		}
	}
	s.parsing[written] = p
	return p
}

// judged is a pattern with the text it was written as, for the schema library.
type judged struct {
	*regexp.Regexp
	written string
}

func (j judged) String() string { return j.written }

func (s *schemas) regexp(written string) (jsonschema.Regexp, error) {
	p := s.pattern(written)
	if p.err != nil {
		return nil, p.err
	}
	return judged{p.re, written}, nil
}

const (
	lineEnds   = `\n\r\x{2028}\x{2029}`
	whitespace = `\t\n\v\f\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`
)

// fromECMA writes an ECMA-262 pattern (with its u flag, as JSON Schema 2020-12 section 6.4 recommends) in the syntax of RE2,
// so that it means the same, or refuses it. RE2 runs in time linear in the text, so that no pattern is a weapon (G19).
func fromECMA(p string) (string, error) {
	e := ecma{in: p}
	for e.at < len(p) {
		if err := e.next(); err != nil {
			return "", err
		}
	}
	return e.out.String(), nil
}

type ecma struct {
	in    string
	at    int
	out   strings.Builder
	class bool // inside [...]
}

func (e *ecma) take(n int, write string) {
	e.at += n
	e.out.WriteString(write)
}

func (e *ecma) next() error {
	rest := e.in[e.at:]
	c := rest[0]
	switch {
	case c == '\\':
		return e.escape(rest)
	case e.class:
		e.classCharacter(c)
	case c == '.':
		e.take(1, "[^"+lineEnds+"]")
	case c == '[':
		switch {
		case strings.HasPrefix(rest, "[^]"):
			e.take(3, `(?s:.)`)
		case strings.HasPrefix(rest, "[]"):
			return errors.New("the empty class [] matches nothing")
		case strings.HasPrefix(rest, "[^"):
			e.class = true
			e.take(2, "[^")
		default:
			e.class = true
			e.take(1, "[")
		}
	case strings.HasPrefix(rest, "(?"):
		return e.group(rest)
	default:
		e.take(1, rest[:1])
	}
	return nil
}

func (e *ecma) classCharacter(c byte) {
	switch c {
	case ']':
		e.class = false
		e.take(1, "]")
	case '[':
		e.take(1, `\[`) // RE2 would read [:alpha:] inside a class
	default:
		e.take(1, e.in[e.at:e.at+1])
	}
}

func (e *ecma) group(rest string) error {
	switch {
	case strings.HasPrefix(rest, "(?:"):
		e.take(3, "(?:")
	case strings.HasPrefix(rest, "(?<") && !strings.HasPrefix(rest, "(?<=") && !strings.HasPrefix(rest, "(?<!"):
		e.take(3, "(?P<")
	default:
		return fmt.Errorf("%s...) looks ahead or behind, or sets a flag, which can't be judged in linear time", rest[:min(3, len(rest))])
	}
	return nil
}

func (e *ecma) escape(rest string) error {
	if len(rest) == 1 {
		return errors.New("it ends in a backslash")
	}
	c := rest[1]
	switch {
	case c == 's' && e.class:
		e.take(2, whitespace)
	case c == 's':
		e.take(2, "["+whitespace+"]")
	case c == 'S' && !e.class:
		e.take(2, "[^"+whitespace+"]")
	case c == 'S':
		return errors.New(`\S inside a class can't be written exactly`)
	case strings.IndexByte("dDwWtnvfr", c) >= 0:
		e.take(2, rest[:2])
	case c == 'b' && !e.class || c == 'B' && !e.class:
		e.take(2, rest[:2])
	case c == 'b':
		e.take(2, `\x08`)
	case c == '0' && (len(rest) == 2 || rest[2] < '0' || rest[2] > '9'):
		e.take(2, `\x00`)
	case c == 'c' && len(rest) > 2 && isLetter(rest[2]):
		e.take(3, fmt.Sprintf(`\x%02x`, rest[2]&31))
	case c == 'x' || c == 'u':
		return e.hex(rest)
	case c == 'p' || c == 'P':
		return e.property(rest)
	case strings.IndexByte(`^$\.*+?()[]{}|/-`, c) >= 0:
		e.take(2, `\`+string(c))
	case c >= '1' && c <= '9' || c == 'k':
		return fmt.Errorf(`\%c refers back to a group, which can't be judged in linear time`, c)
	case c < 0x80 && !isLetter(c) && c > ' ' && (c < '0' || c > '9'):
		e.take(2, regexp.QuoteMeta(string(c)))
	default:
		return fmt.Errorf(`\%c is no escape of ECMA-262`, c)
	}
	return nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// hex reads \xHH, \uHHHH and \u{H...}.
func (e *ecma) hex(rest string) error {
	from, size := 2, 2
	if rest[1] == 'u' {
		size = 4
		if closing := strings.IndexByte(rest, '}'); strings.HasPrefix(rest, `\u{`) && closing > 3 {
			from, size = 3, closing-3
		}
	}
	if len(rest) < from+size {
		return errors.New("it ends inside an escape")
	}
	code, err := strconv.ParseUint(rest[from:from+size], 16, 32)
	if err != nil || code > 0x10ffff {
		return fmt.Errorf("%s is no escape of ECMA-262", rest[:from+size])
	}
	if code >= 0xd800 && code <= 0xdfff {
		return errors.New("half of a surrogate pair; write the character itself")
	}
	end := from + size
	if from == 3 {
		end++
	}
	e.take(end, fmt.Sprintf(`\x{%x}`, code))
	return nil
}

// property reads \p{L}, \p{Script=Greek} and \p{sc=Greek}; RE2 knows general categories and scripts by these names.
func (e *ecma) property(rest string) error {
	closing := strings.IndexByte(rest, '}')
	if !strings.HasPrefix(rest[2:], "{") || closing < 0 {
		return fmt.Errorf(`\%c without braces`, rest[1])
	}
	name := rest[3:closing]
	for _, prefix := range []string{"Script=", "sc=", "General_Category=", "gc="} {
		name = strings.TrimPrefix(name, prefix)
	}
	e.take(closing+1, fmt.Sprintf(`\%c{%s}`, rest[1], name))
	return nil
}
