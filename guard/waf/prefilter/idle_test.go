package prefilter

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// change is what a transformation does to a text that has nothing for it but what is in the sample.
type change struct {
	name, sample string
	bytes        string // what it changes begins or ends at one of these, or becomes one; 0xff is an end of the text
	joins        bool   // or it takes bytes away from between any others
}

// beyond are the bytes beyond ASCII.
var beyond = func() (s string) {
	for c := 0x80; c <= 0xff; c++ {
		s += string([]byte{byte(c)})
	}
	return s
}()

// changes are those of which it matters that they don't concern all that is looked for. What becomes a blank may stand before
// a slash or parenthesis, where cmdLine leaves out blanks.
var changes = []change{
	{"cmdLine", ",", " /(", false}, {"cmdLine", "\n", " /(", false}, {"cmdLine", "a  b", " ", false}, {"cmdLine", "a /", "/(", false},
	{"cmdLine", "'", "", true}, {"cmdLine", `\`, "", true}, {"cmdLine", "^", "", true},
	{"normalisePath", "//a", "/\xff", false}, {"normalisePath", "/", "/\xff", false}, {"normalisePath", "/./a", "/\xff", false},
	{"lowerCase", "İ", "i" + beyond, false}, {"lowerCase", "\xff", beyond, false},
	{"compressWhitespace", "a  b", " ", false}, {"compressWhitespace", "\f", " ", false}, {"compressWhitespace", "\u00a0", " " + beyond, false},
}

// idle tells that a chain, on texts that have no other trait than these, changes nothing that the rules behind it look for:
// then to forget the traits is no mistake.
func (g *garden) idle(chain int, names []string, forgotten identity.Traits) bool {
	if forgotten == 0 {
		return false
	}
	for i, name := range names {
		needs, _ := identity.Needs(name)
		left := needs & forgotten
		for _, x := range changes {
			own, _ := identity.Needs(x.name)
			further := slices.ContainsFunc(names[i+1:], func(next string) bool { // what it makes may be changed once more
				return x.joins || next != "lowerCase" && (name != "lowerCase" || next != "removeWhitespace" && next != "removeNulls")
			})
			if bits := identity.Of(x.sample) & own; strings.EqualFold(x.name, name) && !further && g.unconcerned(chain, x) {
				left &^= bits
			}
		}
		if left != 0 {
			return false
		}
	}
	return true
}

// unconcerned tells that no condition behind a chain asks for what a change makes.
func (g *garden) unconcerned(chain int, x change) bool {
	for _, r := range g.base.rules {
		k, ok := g.base.parts[r]
		if !ok || k.chain != chain || k.sieve < 0 {
			continue
		}
		c, shortest := g.conds[k.sieve], 0
		for _, words := range slices.Concat(c.Clauses, c.Bare) {
			least := 1 << 20
			for _, w := range words {
				least = min(least, len(strings.ReplaceAll(w, "\xff", "")))
				if slices.ContainsFunc([]byte(w), func(b byte) bool { return strings.IndexByte(x.bytes, b) >= 0 }) || x.joins && len(w) > 1 {
					return false
				}
			}
			shortest = max(shortest, least)
		}
		for _, set := range c.Bytes {
			if slices.ContainsFunc([]byte(x.bytes), set.Has) {
				return false
			}
		}
		if strings.EqualFold(x.name, "lowercase") && c.Min > max(shortest, leastRunes(r.Test)) { // it makes a text longer, but of no more runes
			return false
		}
	}
	return true
}

// leastRunes is how many runes a text has at least that an expression matches.
func leastRunes(t *secrule.Test) int {
	var least func(re *syntax.Regexp) int
	least = func(re *syntax.Regexp) (n int) {
		switch re.Op {
		case syntax.OpLiteral:
			return len(re.Rune)
		case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			return 1
		case syntax.OpRepeat:
			return re.Min * least(re.Sub[0])
		case syntax.OpStar, syntax.OpQuest:
			return 0
		case syntax.OpAlternate:
			n = least(re.Sub[0])
			for _, sub := range re.Sub[1:] {
				n = min(n, least(sub))
			}
			return n
		}
		for _, sub := range re.Sub { // of a list, a group, what stands once or more
			n += least(sub)
		}
		return n
	}
	re, err := syntax.Parse(t.Argument, syntax.Perl)
	if err != nil || !strings.EqualFold(t.Name, "rx") {
		return 0
	}
	return least(re)
}
