package seclang

import (
	"regexp"
	"strings"
	"testing"
)

// Every expression that the engine can't compile is told by its construct, and what is proposed instead does compile.
func TestExpressionsAreExplained(t *testing.T) {
	for _, c := range [][3]string{
		{`a(?=b)`, "lookahead", `a(?:b)"`},
		{`a(?=b)c`, "lookahead", "chain"},
		{`^(?!admin)`, "negative lookahead", `!@rx ^(?:admin)`},
		{`^(?!a|b).*$`, "negative lookahead", `!@rx ^(?:a|b)`},
		{`x(?!y)z`, "negative lookahead", "chain"},
		{`(?<=a)b`, "lookbehind", `(?:a)b"`},
		{`x(?<=a)b`, "lookbehind", "chain"},
		{`(?<!a)b`, "negative lookbehind", "chain"},
		{`(a|b)x\1`, `reference back \1`, "TX:2"},
		{`(?P<q>['"])x(?P=q)`, "reference back", ""},
		{`(?<q>a)\k<q>`, "reference back", "chain"},
		{`a++b`, "possessive", "a+b"},
		{`a*+`, "possessive", "a*"},
		{`(?>ab|a)c`, "atomic", "(?:ab|a)c"},
		{`(?#note)a`, "comment", `@rx a"`},
		{`(?|(a)|(b))`, "branch reset", ""},
		{`(a)?(?(1)b|c)`, "condition", ""},
		{`a(?R)?b`, "recursion", ""},
		{`a\h+b`, `\h`, `[ \t]+b`},
		{`a\Rb`, `\R`, `(?:\r\n|\n|\r)b`},
		{`end\Z`, `\Z`, `\n?\z`},
		{`\ea`, `\e`, `\x1ba`},
		{`a{2000}`, "more than 1000", "1000"},
		{`[(?=]a\1`, `reference back`, "TX:2"},
		{`\(?=(?!x)`, "negative lookahead", ""},
	} {
		if _, err := regexp.Compile("(?sm)" + c[0]); err == nil {
			t.Errorf("%s compiles", c[0])
		}
		construct, write := explain(Operator{Name: "rx", Args: c[0]})
		if !strings.Contains(construct, c[1]) || !strings.Contains(write, c[2]) {
			t.Errorf("%s: %q, %q", c[0], construct, write)
		}
		for _, m := range regexp.MustCompile(`@rx (.*?)"(?:\s|$)`).FindAllStringSubmatch(write, -1) {
			if _, err := regexp.Compile(m[1]); err != nil && !strings.Contains(m[1], "...") {
				t.Errorf("%s: proposed %s: %v", c[0], m[1], err)
			}
		}
		f, _ := read(t, `SecRule ARGS "@rx `+strings.ReplaceAll(c[0], `"`, `\"`)+`" "id:1,phase:2,deny"`)
		if r := Check(Set{After: f}); len(r.Refused) == 0 {
			t.Errorf("%s is not refused", c[0])
		}
	}
}

// What the engine can compile is never called a construct that it has not, and no expression breaks the explanation.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{`a(?=b)`, `[\]]++`, `[[:alpha:]](?!`, `\1`, `(?<!`, `[^]](?>`, `a{1001}`, "\\", "(", "["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		_, _ = explain(Operator{Name: "rx", Args: pattern})
		_, _ = explain(Operator{Name: "rx", Args: pattern, Not: true})
		c := &check{}
		c.expression(Directive{}, Operator{Name: "rx", Args: pattern})
		if _, err := regexp.Compile("(?sm)" + pattern); err == nil && len(c.Refused) > 0 {
			t.Errorf("%q compiles and is refused: %v", pattern, c.Refused)
		}
	})
}
