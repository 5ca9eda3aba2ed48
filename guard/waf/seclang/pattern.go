package seclang

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

var errOutside = errors.New("it must be the name of a file below the folder of the document, relative to the file of the rule")

// expression judges an expression of @rx. The engine runs RE2: linear time, no looking around, no references back.
func (c *check) expression(d Directive, o Operator) {
	if rest := strings.TrimLeft(o.Args, " !"); o.bare && strings.HasPrefix(rest, "@") {
		name, _, _ := strings.Cut(rest[1:], " ")
		if slices.Contains(tests(), name) || refusedTests()[name][0] != "" {
			c.refuse(d, `"@`+name+` ..."`, "a sign stands before @%s, so the engine takes the whole for an expression", name)
			return
		}
	}
	if _, err := syntax.Parse("(?sm)"+o.Args, syntax.Perl); err == nil {
		return
	}
	construct, write := explain(o)
	if construct == "" {
		return // the engine's own words, at compile
	}
	c.refuse(d, write, "@rx: the engine has no %s", construct)
}

// explain names the construct that RE2 does not have, and an equivalent where there is a simple one.
func explain(o Operator) (construct, write string) {
	p := o.Args
	not := map[bool]string{true: "!"}[!o.Not]
	if inner, ok := whole(p, `^(?!`); ok {
		return "negative lookahead (?!...)", fmt.Sprintf(`"%s@rx ^(?:%s)"`, not, inner)
	}
	for i := 0; i < len(p); i++ {
		rest := p[i:]
		if p[i] == '[' {
			i += classEnd(rest)
			continue
		}
		if p[i] == '\\' && i+1 < len(p) {
			if construct, write = escaped(p, i); construct != "" {
				return construct, write
			}
			i++
			continue
		}
		if construct, write = group(p, i); construct != "" {
			return construct, write
		}
		if i > 0 && p[i] == '+' && strings.IndexByte("*+?}", p[i-1]) >= 0 && p[max(i-2, 0)] != '\\' {
			return "possessive quantifier " + p[i-1:i+1], fmt.Sprintf(`"@rx %s"  # finds at least as much; there is no backtracking to save`, p[:i]+p[i+1:])
		}
	}
	if m := regexp.MustCompile(`\{(\d{4,}),?\d*\}|\{\d*,(\d{4,})\}`).FindString(p); m != "" {
		return "repetition of more than 1000 times, as in " + m, `"@rx ..." with {1000}, or t:length and "@gt 1000"`
	}
	return "", ""
}

// group recognises what begins with (? and RE2 does not know.
func group(p string, i int) (construct, write string) {
	inner, end := content(p[i:])
	for _, g := range []struct{ sign, name string }{
		{"(?=", "lookahead (?=...)"}, {"(?!", "negative lookahead (?!...)"}, {"(?<=", "lookbehind (?<=...)"}, {"(?<!", "negative lookbehind (?<!...)"},
		{"(?>", "atomic group (?>...)"}, {"(?#", "comment (?#...)"}, {"(?|", "branch reset (?|...)"}, {"(?(", "condition (?(...)"}, {"(?R)", "recursion (?R)"},
		{"(?P=", "reference back (?P=...)"}, {"(?P>", "recursion (?P>...)"}, {"(?&", "recursion (?&...)"},
	} {
		if !strings.HasPrefix(p[i:], g.sign) {
			continue
		}
		inner = strings.TrimPrefix(inner, g.sign)
		switch last := i+end == len(p); {
		case end == 0:
			return g.name, ""
		case g.sign == "(?=" && last:
			return g.name, fmt.Sprintf(`"@rx %s(?:%s)"`, p[:i], inner)
		case g.sign == "(?<=" && i == 0:
			return g.name, fmt.Sprintf(`"@rx (?:%s)%s"`, inner, p[end:])
		case g.sign == "(?!" || g.sign == "(?<!":
			return g.name, fmt.Sprintf(`a chain: "@rx %s" "...,chain", then SecRule MATCHED_VAR "!@rx %s"`, p[:i]+p[i+end:], inner)
		case g.sign == "(?=" || g.sign == "(?<=":
			return g.name, fmt.Sprintf(`a chain: "@rx %s" "...,chain", then SecRule MATCHED_VAR "@rx %s"`, p[:i]+p[i+end:], inner)
		case g.sign == "(?>":
			return g.name, fmt.Sprintf(`"@rx %s(?:%s)%s"  # finds at least as much; there is no backtracking to save`, p[:i], inner, p[i+end:])
		case g.sign == "(?#":
			return g.name, fmt.Sprintf(`"@rx %s"`, p[:i]+p[i+end:])
		}
		return g.name, ""
	}
	return "", ""
}

// escaped recognises what a backslash begins and RE2 does not know.
func escaped(p string, i int) (construct, write string) {
	next := p[i+1]
	switch {
	case next >= '1' && next <= '9':
		return fmt.Sprintf("reference back \\%c", next), fmt.Sprintf(`"capture,chain" with a second group for \%c, then SecRule TX:2 "@streq %%{TX.%c}"`, next, next)
	case next == 'k' || next == 'g':
		return fmt.Sprintf("reference back \\%c", next), `"capture,chain" with a second group, then SecRule TX:2 "@streq %{TX.1}"`
	}
	instead := map[byte]string{'h': `[ \t]`, 'H': `[^ \t]`, 'R': `(?:\r\n|\n|\r)`, 'Z': `\n?\z`, 'e': `\x1b`, 'G': `\A`, 'K': "", 'X': ".", 'N': `[^\n]`, 'V': `[^\n\v\f\r]`}
	if s, ok := instead[next]; ok {
		return fmt.Sprintf("\\%c", next), fmt.Sprintf(`"@rx %s"`, p[:i]+s+p[i+2:])
	}
	return "", ""
}

// content is the group that s begins with, without its last parenthesis, and where it ends; 0 when it never does.
func content(s string) (inner string, end int) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[':
			i += classEnd(s[i:])
		case '(':
			depth++
		case ')':
			if depth--; depth <= 0 {
				return s[:i], i + 1
			}
		}
	}
	return "", 0
}

// classEnd is the place of the ] that ends the class which begins with [; 0 when there is none.
func classEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == ']' && i > 1 && (i > 2 || s[1] != '^'):
			return i
		case strings.HasPrefix(s[i:], "[:"):
			if j := strings.Index(s[i:], ":]"); j > 0 {
				i += j + 1
			}
		}
	}
	return 0
}

// whole tells whether an expression is a negative lookahead at the start and nothing that could add to it.
func whole(p, sign string) (inner string, ok bool) {
	if !strings.HasPrefix(p, sign) {
		return "", false
	}
	inner, end := content(p[1:])
	rest := strings.TrimSuffix(p[min(end+1, len(p)):], "$")
	return strings.TrimPrefix(inner, sign[1:]), end > 0 && (rest == "" || rest == ".*" || rest == ".+")
}
