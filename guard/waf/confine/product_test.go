package confine

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
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

// TestWaysAfterChanges: what the engine's own function makes of a text that an expression lets pass goes the way that is left
// of the expression's, if any is left.
func TestWaysAfterChanges(t *testing.T) {
	all, kept := functions(t), 0
	for seed := range uint64(300) {
		a := author{rand.New(rand.NewPCG(seed, 17))}
		written := "^" + a.near() + "$"
		set, passes := ofPattern(written), regexp.MustCompile(written)
		tree, err := syntax.Parse(written, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		samples := slices.DeleteFunc(a.samples(tree, 6), func(s string) bool { return !passes.MatchString(s) })
		for _, f := range all {
			to, ok := change(strings.ToLower(f.name), set.parts)
			if !ok || to.way == nil {
				continue
			}
			for _, s := range samples {
				kept++
				if out, _, err := f.call(s); err == nil && !to.way.goes(out) {
					t.Fatalf("%s makes %q of %q, which %s lets pass, and that goes no way that is left", f.name, out, s, written)
				}
			}
		}
	}
	t.Logf("%d texts went the way that was left", kept)
	if kept < 3_000 {
		t.Errorf("%d texts only", kept)
	}
}

// goes tells that a text goes a way.
func (w *way) goes(text string) bool {
	at := w.first
	for i := range len(text) {
		var reached, next []int
		for _, n := range at {
			if c := text[i]; c < 0x80 && w.reads[n][c>>6]&(1<<(c&63)) != 0 {
				reached = append(reached, n)
			}
		}
		if i == len(text)-1 {
			return slices.ContainsFunc(reached, func(n int) bool { return w.ends[n] })
		}
		for _, n := range reached {
			next = append(next, w.follow[n]...)
		}
		slices.Sort(next)
		at = slices.Compact(next)
	}
	return true
}
