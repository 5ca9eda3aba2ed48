package literal

import (
	"fmt"
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"testing"
)

// reports says whether a scan reports the id.
func reports(result []uint64, id int) bool { return result[id/64]>>(id%64)&1 == 1 }

// Rows: the prefilter must never hide a rule that matches. Texts are written from each rule's own tree and all rules
// are asked about each.
func TestWhatTheRuleSetMatchesIsReported(t *testing.T) {
	s, rules := crsSieve(t)
	w := s.NewWork()
	rnd := rand.New(rand.NewPCG(1, 2))
	unmatched, matches := []string{}, 0
	for i, r := range rules {
		if r.words != nil {
			continue
		}
		re, bytes, err := tree(r.argument)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for range 40 {
			v := text(re, bytes, rnd)
			got := s.Scan(v, w)
			if len(v) > 2000 {
				continue
			}
			if r.matches(v) {
				found = true
				matches++
				if !reports(got, i) {
					t.Fatalf("%s matches %q and is not reported: %s", r.name, v, r.argument)
				}
			}
			other := rnd.IntN(len(rules))
			if !reports(got, other) && rules[other].matches(v) {
				t.Fatalf("%s matches %q and is not reported: %s", rules[other].name, v, rules[other].argument)
			}
		}
		if !found {
			unmatched = append(unmatched, r.name)
		}
	}
	t.Logf("%d matches; no match was written for %v", matches, unmatched)
	if len(unmatched) > 15 || matches < 4000 {
		t.Errorf("too few matches to prove anything")
	}
}

// checkExpression asks the expression about the text and complains if a match is hidden.
func checkExpression(t *testing.T, expr string, texts []string) (matched int) {
	t.Helper()
	c, err := Expression(expr)
	matches := matcher(expr)
	if (err != nil) != (matches == nil) {
		t.Fatalf("%q: Expression says %v, compiling it %v", expr, err, matches != nil)
	}
	if matches == nil {
		return 0
	}
	var b Builder
	id := b.Add(c)
	s := b.Build()
	w := s.NewWork()
	for _, v := range texts {
		if matches(v) {
			matched++
			if !reports(s.Scan(v, w), id) {
				t.Fatalf("%q matches %q and is not reported: %s", expr, v, show(c))
			}
		}
	}
	return matched
}

// randomTree writes a random expression.
func randomTree(rnd *rand.Rand, depth int) string {
	atoms := []string{"a", "b", "k", "s", "S", "K", "ab", "sk", "é", "ſ", "\u212a", "ß", "\ufffd", "İ", ".", "[ab]", "[^a]", "[a-d]", "[sk]",
		"[^\\x00-\\x7f]", "\\x{fffd}", "\\s", "\\d", "\\w", "\\W", "^", "$", "\\b", "\\B", "'", "\"", "\\\\", "['\"]", "[a'\\\\]", " ",
		"\\pL", "\\x{1f600}", "(?:)", "\\A", "\\z", "[é-ü]", "\\xc5", "\\xbf", "\\xe2\\x84\\xaa", "[[:^alpha:]]", "(", ")", "$x", "[\\x{d800}-\\x{e010}]", "\\x{212a}", "\\x{17f}"}
	if depth == 0 || rnd.IntN(4) == 0 {
		return atoms[rnd.IntN(len(atoms))]
	}
	sub := func() string { return randomTree(rnd, depth-1) }
	switch rnd.IntN(9) {
	case 0:
		return "(?:" + sub() + "|" + sub() + ")"
	case 1:
		return "(?:" + sub() + ")*"
	case 2:
		return "(?:" + sub() + ")?"
	case 3:
		return "(?:" + sub() + ")+"
	case 4:
		return fmt.Sprintf("(?:%s){%d,%d}", sub(), rnd.IntN(3), 2+rnd.IntN(2))
	case 5:
		return "(?i:" + sub() + ")"
	case 6:
		return "(" + sub() + "|" + sub() + "|" + sub() + ")"
	default:
		return sub() + sub() + sub()
	}
}

func TestRandomExpressionsAreSound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	tried, matched, byBytes := 0, 0, 0
	for range 12000 {
		expr := randomTree(rnd, 1+rnd.IntN(4))
		re, bytes, err := tree(expr)
		if err != nil {
			continue
		}
		tried++
		if bytes {
			byBytes++
		}
		var texts []string
		for range 25 {
			if v := text(re, bytes, rnd); len(v) < 300 {
				texts = append(texts, v)
			}
		}
		matched += checkExpression(t, expr, texts)
	}
	t.Logf("%d expressions, %d over bytes, %d matches", tried, byBytes, matched)
	if matched < 50000 || byBytes < 500 {
		t.Errorf("too few matches to prove anything")
	}
}

// Every text over a small alphabet, for expressions written to be awkward.
func TestSmallAlphabet(t *testing.T) {
	var texts []string
	alphabet := []string{"a", "b", "B", "s", "ſ", "\u212a", "'", "\xc5", "\xbf", "\n"}
	level := []string{""}
	for range 5 {
		texts = append(texts, level...)
		var next []string
		for _, v := range level {
			for _, c := range alphabet {
				next = append(next, v+c)
			}
		}
		level = next
	}
	for _, expr := range []string{
		`^a$`, `a*`, `a+b`, `(?i)ask`, `(?i)[sk]+b`, `a|b|s`, `(?:a|as|ass)b`, `a'*b'*a`, `(?i)a['\\]*s['\\]*k`, `\ba\b`, `a.b`, `a[^a]b`,
		`(?i)ſ`, `[^ab]`, `\xbfa`, `\xc5\xbf`, `a\xc5`, `\x{17f}`, `(?:^|a)s'?k`, `a$b`, `(?m:^)b`, `\Aa\z`, `(?:ab){2}`, `(?:ab?){1,3}s`,
		`(?s).\n.`, `(?-s:.)b`, `a??b`, `(a(b(s)))`, `'a'|'s'`, `(?i:k)a`, `k`, `s`, `S`, `(?i)S`, `\x{fffd}a`, `[\x{fffd}a]b`, `\W{2}`, `[aſ]B`,
		`(?:)`, `a{0}b`, `(?:a|)(?:b|)s`, `(?:'+a)+`, `(?:a'|'b)+`, `[^\x00-\x{10FFFF}]`, `a(?:[^\x00-\x{10FFFF}]|b)`, `(?i)\x{212a}`, "\u212a", "\ufffda", "[\ufffda]b", `'`,
	} {
		if checkExpression(t, expr, texts) == 0 && !strings.Contains(expr, "FFFF}]") && expr != "k" && expr != `S` && expr != `(?i:k)a` {
			t.Logf("%q matches none of the texts", expr)
		}
	}
}

func FuzzExpression(f *testing.F) {
	f.Add(`(?i)union\s+select`, "UNION SELECT", uint64(1))
	f.Add(`a["'\\]*b`, `a'b`, uint64(2))
	f.Add(`\xc5\xbf`, "\xc5\xbf", uint64(3))
	f.Fuzz(func(t *testing.T, expr, v string, seed uint64) {
		if len(expr) > 200 || len(v) > 300 {
			return
		}
		texts := []string{v}
		if re, bytes, err := tree(expr); err == nil && re.MaxCap() < 50 {
			if heavy(re, 1) > 2000 {
				return
			}
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range 10 {
				texts = append(texts, text(re, bytes, rnd))
			}
		}
		checkExpression(t, expr, texts)
	})
}

// heavy is how large a tree's texts may get.
func heavy(re *syntax.Regexp, times int) int {
	if re.Op == syntax.OpRepeat {
		times *= max(re.Max, re.Min, 1)
	}
	n := times
	for _, sub := range re.Sub {
		n += heavy(sub, times)
	}
	return n
}

func FuzzRuleSet(f *testing.F) {
	f.Add("' or 1=1 --")
	f.Add("<script>alert(1)</script>")
	f.Add("c\\a't /etc/passwd; ſleep(5)")
	s, rules := crsSieve(f)
	f.Fuzz(func(t *testing.T, v string) {
		if len(v) > 500 {
			return
		}
		got := s.Scan(v, s.NewWork())
		for i, r := range rules {
			if !reports(got, i) && r.matches(v) {
				t.Fatalf("%s matches %q and is not reported: %s", r.name, v, r.argument)
			}
		}
	})
}
