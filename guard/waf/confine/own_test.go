package confine

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// near writes an expression of what transformations take out, replace or decode.
func (a author) near() string {
	var b strings.Builder
	for range 1 + a.IntN(6) {
		b.WriteString(a.pick(" ", "  ", `\t`, `[ \t]`, "[a-d]", "[A-D]", "/", `\*`, "-", "#", `"`, "'", "%", "[0-9a-f]", "[34][0-9]", `\.`, `\\`, "&", `\+`, "=", "[;,]", `\(`, "u", "[ -~]", "ab", "QU", "&lt;", "%2", "<", `\w`, "s", "k", "[^a]", "é", "0", "1", `\x00`, `\n`) +
			a.pick("", "", "*", "+", "?", "{2}", "{1,3}"))
	}
	return b.String()
}

// function is a transformation of the engine.
type function struct {
	name string
	call identity.Func
}

func functions(t testing.TB) (list []function) {
	t.Helper()
	for _, rule := range compiled(t, everyTransformation) {
		list = append(list, function{rule.Chain.Names[0], rule.Chain.Functions[0]})
	}
	return list
}

func compiled(t testing.TB, directives string) []*secrule.Rule {
	t.Helper()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(directives))
	if err != nil {
		t.Fatalf("%v in %s", err, directives)
	}
	list, err := secrule.Read(waf)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// rule writes one that matches a text behind some transformations, or nearly; "" where there is nothing to match.
func (a author) rule(id int, text string, all []function) string {
	chain := "t:none"
	for range a.IntN(4) {
		f := all[a.IntN(len(all))]
		chain += ",t:" + f.name
		if out, _, err := f.call(text); err == nil {
			text = out
		}
	}
	if text == "" || !utf8.ValidString(text) {
		return ""
	}
	runes := []rune(text)
	from := a.IntN(len(runes))
	to := from + 1 + a.IntN(len(runes)-from)
	var b strings.Builder
	b.WriteString(a.pick("", "", `\b`, `\B`, "(?i)"))
	if from == 0 && a.IntN(2) == 0 {
		b.WriteString("^")
	}
	for _, c := range runes[from:to] {
		switch {
		case a.IntN(6) == 0 || c >= 0x80 && unicode.IsSpace(c):
			b.WriteString(".")
		case c < 0x80 && !isWord(byte(c)):
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
		b.WriteString(a.pick("", "", "", "", "+", "*", "?"))
	}
	if to == len(runes) {
		b.WriteString(a.pick("", "$", `\z`, `\b`))
	}
	test := "@rx " + b.String()
	if word := string(runes[from:to]); a.IntN(4) == 0 && !strings.ContainsFunc(word, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"\\%`#", c) }) {
		test = a.pick("@pm ", "@contains ", "@streq ", "@beginsWith ", "@endsWith ", "@within ", "@strmatch ") + word
	}
	return fmt.Sprintf("SecRule ARGS \"%s\" \"id:%d,phase:2,pass,%s%s\"\n", test, id, chain, a.pick("", "", ",multiMatch"))
}

// TestOwnRulesNever: no rule of an operator's own that matches what an expression lets pass is said to match nothing of it,
// whatever transformations stand between. The rules are made of the texts.
func TestOwnRulesNever(t *testing.T) {
	all, matched := functions(t), 0
	for seed := range uint64(400) {
		matched += ownRulesNever(t, seed, all)
	}
	t.Logf("%d matches", matched)
	if matched < 2_000 {
		t.Errorf("%d matches only", matched)
	}
}

func ownRulesNever(t testing.TB, seed uint64, all []function) (matched int) {
	a := author{rand.New(rand.NewPCG(seed, 19))}
	expression := "^" + a.near() + "$"
	passes := regexp.MustCompile(expression)
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	samples := slices.DeleteFunc(a.samples(tree, 12), func(s string) bool { return !passes.MatchString(s) })
	if len(samples) == 0 {
		return 0
	}
	var b strings.Builder
	for id := range 12 {
		b.WriteString(a.rule(10_000+id, samples[a.IntN(len(samples))], all))
	}
	r, err := NewRules(compiled(t, b.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []texts{ofPattern(expression), listed(samples...)} {
		m := r.mask(set)
		for i, rule := range r.list {
			for _, s := range samples {
				if !match(r, i, s) {
					continue
				}
				if matched++; m.Has(i) {
					t.Fatalf("seed %d: rule %d matches %q, which %s lets pass, and is passed over: %s", seed, rule.ID, s, expression, b.String())
				}
			}
		}
	}
	return matched
}
