package literal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		words []string
		text  string
		want  bool
	}{
		{nil, "", true},
		{[]string{}, "x", true},
		{[]string{"a", ""}, "x", true},
		{[]string{"cat"}, "a CaT", true},
		{[]string{"cat"}, "a dog", false},
		{[]string{"(", ")"}, "f(x", true},
		{[]string{"(", ")"}, "fx", false},
		{[]string{"k"}, "K", true},
		{[]string{"k"}, "\u212a", false}, // the word list folds ASCII only
		{[]string{"a", "bcd"}, "xBCD", true},
		{[]string{"a", "bcd"}, "xBC", false},
		{[]string{"\u212aey"}, "KEY", true}, // Coraza's lower case of the word
		{[]string{"É"}, "é", true},
		{[]string{"é"}, "É", false},
		{[]string{"\xbfx"}, "ſx", true},
		{[]string{"\xff"}, "abc", true}, // the brink of each text: weaker than needed
		{[]string{"c'at"}, "c'at", true},
		{[]string{strings.Repeat("long word ", 30)}, strings.Repeat("LONG word ", 31), true},
		{[]string{strings.Repeat("long word ", 30)}, "long word", false},
	} {
		var b Builder
		id := b.Add(Words(c.words))
		s := b.Build()
		if got := reports(s.Scan(c.text, s.NewWork()), id); got != c.want {
			t.Errorf("words %q, text %q: reported %v", c.words, c.text, got)
		}
	}
}

// coraza says whether a rule with this operator matches the text, by Coraza itself.
func corazaMatches(t testing.TB, operator string, texts []string) []bool {
	t.Helper()
	quoted := strings.ReplaceAll(operator, `"`, `\"`)
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(
		"SecRuleEngine On\nSecRule ARGS_GET \"" + quoted + "\" \"id:1,phase:1,pass,t:none\"\n"))
	if err != nil {
		return nil
	}
	out := make([]bool, len(texts))
	for i, v := range texts {
		tx := waf.NewTransaction()
		tx.AddGetRequestArgument("a", v)
		tx.ProcessRequestHeaders()
		out[i] = slices.ContainsFunc(tx.MatchedRules(), func(m types.MatchedRule) bool { return m.Rule().ID() == 1 })
		tx.Close()
	}
	return out
}

// What Coraza's own operators match is reported: expressions full of escapes, which it reads over runes or over bytes,
// and words with awkward cases.
func TestAgainstCoraza(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	parts := []string{`\x80`, `\xc5`, `\xbf`, `\xc5\xbf`, `\xe2\x84\xaa`, `\x{e2}`, `\x{212a}`, `\x{17f}`, `\x{a}`, `\x41`, `\\x41`, `\\xff`, `[\xc2-\xf4]`,
		`[^\x00-\x7f]`, `é`, `ſ`, `a`, `S`, `.`, `^`, `$`, `(?i)`, `k`, `'*`, `\x2`, `\xg1`, `\x{ff`, `|`, `\x{d7}`, `\n`, `(?:`, `)`}
	texts := []string{"", "a", "S", "s", "ſ", "\u212a", "k", "é", "É", "a\nS", "\x80", "\xc5", "\xbf", "\xc5\xbf", "\xe2\x84\xaa", "â", "Å¿", "×", "\\xff", "A", "'a'", "kk'", "âª",
		"\xff", "\xc2\x80", "aé", "ſ\u212a", "\n", "\x02", "as", "ak", "kſ"}
	compiled, matched := 0, 0
	for range 400 {
		expr := ""
		for range 1 + rnd.IntN(4) {
			expr += parts[rnd.IntN(len(parts))]
		}
		truth := corazaMatches(t, "@rx "+expr, texts)
		c, err := Expression(strings.TrimSpace(expr))
		if truth == nil {
			continue
		}
		if err != nil {
			t.Errorf("Coraza compiles %q, Expression says %v", expr, err)
		}
		compiled++
		matched += compare(t, expr, c, texts, truth)
	}
	for _, words := range []string{"a s", "ſ", "KEY", "É", "'a", "S a\nS"} {
		truth := corazaMatches(t, "@pm "+words, texts)
		matched += compare(t, "@pm "+words, Words(strings.Split(words, " ")), texts, truth)
	}
	t.Logf("%d expressions, %d matches", compiled, matched)
	if compiled < 150 || matched < 1000 {
		t.Error("too few matches to prove anything")
	}
}

func compare(t *testing.T, what string, c Condition, texts []string, truth []bool) (matched int) {
	t.Helper()
	var b Builder
	id := b.Add(c)
	s := b.Build()
	w := s.NewWork()
	for i, v := range texts {
		if i < len(truth) && truth[i] {
			matched++
			if !reports(s.Scan(v, w), id) {
				t.Errorf("Coraza's %s matches %q and is not reported: %s", what, v, show(c))
			}
		}
	}
	return matched
}

func TestWrongUse(t *testing.T) {
	if c, err := Expression(`a(?=b)`); err == nil || fmt.Sprint(c) != fmt.Sprint(Condition{}) {
		t.Errorf("an expression that can't be parsed gives %v, %v", c, err)
	}
	var b Builder
	s := b.Build()
	if got := s.Scan("any text", s.NewWork()); s.Size() != 0 || len(got) != 0 {
		t.Errorf("the empty sieve reports %v", got)
	}
	// Conditions written by hand, wrongly: none may hide its pattern.
	for _, c := range []Condition{
		{}, {Clauses: [][]string{{}}}, {Clauses: [][]string{{""}}}, {Clauses: [][]string{{"CAT"}}}, {Clauses: [][]string{{"\xffx"}, {"cat"}}},
		{Bare: [][]string{{"cat"}, {}}}, {Min: -1}, {Min: 4}, {Clauses: [][]string{{"x", "a very long literal that is cut nowhere: cat"}}},
	} {
		var b Builder
		id := b.Add(c)
		s := b.Build()
		if !reports(s.Scan(`x CAT, a very long literal that is cut nowhere: Cat`, s.NewWork()), id) {
			t.Errorf("%s is not reported", show(c))
		}
	}
}
