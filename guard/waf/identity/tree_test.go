package identity

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// compare holds a tree against the engine's functions run one after the other.
func compare(t *testing.T, tree *Tree, chains [][]string, text string, w *Work) {
	t.Helper()
	traits := Of(text)
	for i, chain := range chains {
		want := whole(chain, text)
		if got := tree.Apply(text, traits, i, w); got != want {
			t.Fatalf("%v: Apply(%q) = %q, the engine gives %q", chain, text, got, want)
		}
		if got := tree.ApplyFolded(text, traits, i, w); fold(got) != fold(want) {
			t.Fatalf("%v: ApplyFolded(%q) = %q, the engine gives %q", chain, text, got, want)
		}
		if got := tree.ApplyAll(text, traits, i, w, nil); !slices.Equal(got, stages(chain, text)) {
			t.Fatalf("%v: ApplyAll(%q) = %q, the engine gives %q", chain, text, got, stages(chain, text))
		}
	}
	seen := map[string]bool{}
	for n := range w.Len() {
		if seen[w.Text(n)] || w.Traits(n) != Of(w.Text(n)) {
			t.Fatalf("text %d of %q is %q, traits %x", n, text, w.Text(n), w.Traits(n))
		}
		seen[w.Text(n)] = true
	}
}

func TestTreeGivesWhatTheEngineGives(t *testing.T) {
	chains := slices.Concat(ruleChains(), hostileChains())
	tree := NewTree(chains, engine)
	var w Work
	for _, text := range samples() {
		compare(t, tree, chains, text, &w)
	}
}

// Reached in any order, with or without folding, a place of the tree has the same text.
func TestOrderOfQuestionsDoesNotMatter(t *testing.T) {
	chains := ruleChains()
	tree := NewTree(chains, engine)
	for _, text := range attacks {
		var w Work
		for i := len(chains) - 1; i >= 0; i-- {
			tree.ApplyFolded(text, Of(text), i, &w)
			tree.ApplyAll(text, Of(text), i, &w, nil)
			if got, want := tree.Apply(text, Of(text), i, &w), whole(chains[i], text); got != want {
				t.Errorf("%v: %q, the engine gives %q", chains[i], got, want)
			}
		}
	}
}

func TestSharedBeginningsRunOnce(t *testing.T) {
	runs := map[string]int{}
	counted := func(name string) Func {
		return func(s string) (string, bool, error) {
			runs[strings.ToLower(name)]++
			return engine(name)(s)
		}
	}
	tree := NewTree([][]string{
		{"urlDecodeUni"}, {"URLDecodeUni", "lowercase"}, {"urlDecodeUni", "lowercase", "normalizePath"}, {"urlDecodeUni", "lowercase", "normalisePath"}, {},
	}, counted)
	var w Work
	for range 2 {
		for i := range 5 {
			tree.Apply("%2F/A%2e", Of("%2F/A%2e"), i, &w)
		}
	}
	if runs["urldecodeuni"] != 1 || runs["lowercase"] != 1 || runs["normalizepath"] != 1 || runs["normalisepath"] != 0 {
		t.Errorf("ran %v", runs)
	}
	if got := tree.Apply("%2F/A%2e", Of("%2F/A%2e"), 4, &w); got != "%2F/A%2e" {
		t.Errorf("the empty list made %q", got)
	}
	tree.Apply("%2F/B%2e", Of("%2F/B%2e"), 0, &w)
	if runs["urldecodeuni"] != 2 {
		t.Error("another text was taken for the one before")
	}
}

// An unchanged text comes out as the very same string, so that who scans it can see that it was scanned.
func TestUnchangedIsTheSameString(t *testing.T) {
	tree := NewTree([][]string{{"urlDecode", "jsDecode", "removeComments"}, {"urlDecodeUni", "lowercase"}, {"urlDecodeUni"}}, engine)
	var w Work
	text := strings.Clone("50%zz Off\\")
	if got := tree.Apply(text, Of(text), 0, &w); unsafe.StringData(got) != unsafe.StringData(text) {
		t.Errorf("%q is a copy", got)
	}
	text = strings.Clone("A%20B")
	a, b := tree.ApplyFolded(text, Of(text), 1, &w), tree.ApplyFolded(text, Of(text), 2, &w)
	if n := tree.Reach(text, Of(text), 1, &w); n != tree.Reach(text, Of(text), 2, &w) || w.Text(n) != "A B" || w.Len() != 2 {
		t.Errorf("number %d of %d: %q", n, w.Len(), w.Text(n))
	}
	if a != "A B" || unsafe.StringData(a) != unsafe.StringData(b) {
		t.Errorf("%q and %q differ in case only and are two strings", a, b)
	}
}

func TestWhatErrsKeepsItsInput(t *testing.T) {
	broken := func(string) (string, bool, error) { return "", true, errors.New("no") }
	tree := NewTree([][]string{{"md5", "md5"}}, func(string) Func { return broken })
	var w Work
	if got := tree.Apply("x", Of("x"), 0, &w); got != "x" {
		t.Errorf("%q", got)
	}
	if got := tree.ApplyAll("x", Of("x"), 0, &w, nil); !slices.Equal(got, []string{"x"}) {
		t.Errorf("%q", got)
	}
}

func TestWorkMovesBetweenTrees(t *testing.T) {
	one := NewTree([][]string{{"urlDecode"}}, engine)
	two := NewTree([][]string{{"uppercase"}, {"trim", "uppercase"}}, engine)
	var w Work
	for range 2 {
		if got := one.Apply("%41b", Of("%41b"), 0, &w); got != "Ab" {
			t.Errorf("%q", got)
		}
		if got := two.Apply("%41b", Of("%41b"), 1, &w); got != "%41B" {
			t.Errorf("%q", got)
		}
	}
	w.Reset()
	if slices.ContainsFunc(w.values[:cap(w.values)], func(v value) bool { return v.text != "" }) {
		t.Error("texts are kept after Reset")
	}
}

func TestTreeWithoutFunctionIsRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a tree that leaves out a transformation was built")
		}
	}()
	NewTree([][]string{{"lowercase", "noSuchThing"}}, engine)
}

func TestApplyAllocatesNothingItself(t *testing.T) {
	chains := ruleChains()
	tree := NewTree(chains, func(string) Func { return func(s string) (string, bool, error) { return s, false, nil } })
	var w Work
	text := "A%20b &lt; \\ /* é"
	list := make([]string, 0, 8)
	work := func() {
		traits := Of(text)
		for i := range chains {
			tree.Apply(text, traits, i, &w)
			list = tree.ApplyAll(text, traits, i, &w, list[:0])
		}
		w.Reset()
	}
	work()
	if n := testing.AllocsPerRun(20, work); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// recorder is an operator that keeps what it is shown.
type recorder struct {
	chain int
	into  map[int][]string
}

func (r recorder) Evaluate(_ plugintypes.TransactionState, text string) bool {
	r.into[r.chain] = append(r.into[r.chain], text)
	return false
}

// The functions that the other tests call are those that rules run, and in the order and with the results shown here: the
// real engine, with a rule for each list, once plain and once with multiMatch.
func TestRulesSeeWhatTheTreeGives(t *testing.T) {
	seen := map[int][]string{}
	plugins.RegisterOperator("identityprobe", func(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		chain, err := strconv.Atoi(o.Arguments)
		return recorder{chain, seen}, err
	})
	chains := slices.Concat(ruleChains(), hostileChains())
	var rules strings.Builder
	rules.WriteString("SecRuleEngine On\n")
	for i, chain := range chains {
		for k, more := range []string{"", ",multiMatch"} {
			n := 2*i + k
			rules.WriteString(`SecRule ARGS_GET "@identityprobe ` + strconv.Itoa(n) + `" "id:` + strconv.Itoa(n+1) + `,phase:1,pass,nolog,t:none` + more)
			for _, name := range chain {
				if name != "none" { // would take back those before it
					rules.WriteString(",t:" + name)
				}
			}
			rules.WriteString("\"\n")
		}
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(rules.String()))
	if err != nil {
		t.Fatal(err)
	}
	tree := NewTree(chains, engine)
	var w Work
	for _, text := range slices.Concat(prose, attacks) {
		clear(seen)
		tx := waf.NewTransaction()
		tx.AddGetRequestArgument("a", text)
		tx.ProcessRequestHeaders()
		tx.Close()
		traits := Of(text)
		for i, chain := range chains {
			if got := tree.Apply(text, traits, i, &w); !slices.Equal(seen[2*i], []string{got}) {
				t.Fatalf("%v: Apply(%q) = %q, the rule saw %q", chain, text, got, seen[2*i])
			}
			if got := tree.ApplyAll(text, traits, i, &w, nil); !slices.Equal(got, once(seen[2*i+1])) {
				t.Fatalf("%v: ApplyAll(%q) = %q, the rule saw %q", chain, text, got, seen[2*i+1])
			}
		}
	}
}

// once drops what came before.
func once(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func BenchmarkApply(b *testing.B) {
	chains := ruleChains()
	tree := NewTree(chains, engine)
	for _, text := range []struct{ name, text string }{
		{"word", "order-123456"}, {"prose", "Please call me back tomorrow, after 5 pm; thanks!"}, {"Russian", "Съешь же ещё этих мягких французских булок."},
		{"attack", "%27%20UNION/**/SELECT \\x41 &lt;"},
	} {
		b.Run(text.name, func(b *testing.B) {
			var w Work
			for b.Loop() {
				traits := Of(text.text)
				for i := range chains {
					tree.ApplyFolded(text.text, traits, i, &w)
				}
				w.Reset()
			}
		})
	}
}
