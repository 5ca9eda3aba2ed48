package confine

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"testing"
)

// TestProduct: when the search says that an expression finds nothing in the texts of another, it finds nothing in those that
// were made for both, word boundaries and ends of lines included.
func TestProduct(t *testing.T) {
	denied, found := 0, 0
	for seed := range uint64(2_000) {
		d, f := product(t, seed, "")
		denied, found = denied+d, found+f
	}
	t.Logf("%d pairs of expressions can't meet, %d do", denied, found)
	if denied < 100 || found < 100 {
		t.Errorf("too few to say anything: %d can't meet, %d do", denied, found)
	}
}

func product(t testing.TB, seed uint64, more string) (denied, found int) {
	a := author{rand.New(rand.NewPCG(seed, 13))}
	written := "^" + a.sequence(2) + "$"
	rule := a.pick("", `\b`, "^", `\B`) + a.sequence(1) + a.pick("", `\b`, "$", `\B`, `\z`)
	texts, err := regexp.Compile(written)
	if err != nil {
		return 0, 0
	}
	asked, err := regexp.Compile("(?sm)" + rule)
	if err != nil {
		return 0, 0
	}
	set := ofPattern(written)
	m := newMachine(rule)()
	if set.any || !set.parts.ascii() || m == nil {
		return 0, 0
	}
	left := mostVisits
	never := !m.finds(set.parts.steps(), set.parts.most, &left)
	neverWay := set.parts.way != nil && !m.finds(set.parts.way, set.parts.most, &left)
	if never || neverWay {
		denied++
	}
	tree, _ := syntax.Parse(written, syntax.Perl)
	for _, s := range append(a.samples(tree, 40), more) {
		if texts.MatchString(s) && asked.MatchString(s) {
			if found = 1; never || neverWay {
				t.Fatalf("%q matches %q, which %q lets pass (%v, %v)", rule, s, written, never, neverWay)
			}
		}
	}
	return denied, found
}

func (a author) samples(tree *syntax.Regexp, n int) (list []string) {
	for range n {
		list = append(list, a.mutated(a.text(tree)))
	}
	return list
}
