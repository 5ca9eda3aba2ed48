package prefilter

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// mutant is a filter with a mistake built in.
type mutant struct {
	mistake string
	rules   []*secrule.Rule                    // that it concerns, at least one of which shows it; none for all
	shows   func() (texts []string, ever bool) // by what it shows; ever is false where it is known that nothing does
	near    string                             // a text near which it shows
	beside  []string                           // texts in the place of which it may stand
	filter  func() *Filter
	spoil   func(*Level)
	twist   func(*fed) *fed
}

// one is a list of one rule.
func one(r *secrule.Rule) []*secrule.Rule { return []*secrule.Rule{r} }

// garden makes mutants of the filter of all rules.
type garden struct {
	base   *Filter
	conds  []literal.Condition // of the sieve, by number
	owner  []*secrule.Rule     // the rule that a condition is of first
	inputs []input             // of a level without settings
	r      *rand.Rand
}

func newGarden(t testing.TB, w world) *garden {
	t.Helper()
	base, err := w.filter(4)
	if err != nil {
		t.Fatal(err)
	}
	l, err := w.candidate().level(referee.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	g := &garden{base: base, r: rand.New(rand.NewPCG(11, 4)), inputs: l.inputs}
	g.conds = make([]literal.Condition, g.base.sieve.Size())
	g.owner = make([]*secrule.Rule, g.base.sieve.Size())
	b := newBuilder(coreruleset.FS)
	for _, r := range g.base.rules {
		k, ok := g.base.parts[r]
		if r.Phase > 2 || !ok || k.sieve < 0 || g.owner[k.sieve] != nil {
			continue
		}
		c, _, err := b.condition(r)
		if err != nil {
			t.Fatal(err)
		}
		g.conds[k.sieve], g.owner[k.sieve] = c, r
	}
	return g
}

// with gives a copy of the filter whose sieve has another condition.
func (g *garden) with(n int, c literal.Condition) func() *Filter {
	return func() *Filter {
		var b literal.Builder
		for i := range g.conds {
			if i == n {
				b.Add(c)
			} else {
				b.Add(g.conds[i])
			}
		}
		f := *g.base
		f.sieve = b.Build()
		return &f
	}
}

// but gives a copy of the filter that takes one rule for another.
func (g *garden) but(r *secrule.Rule, change func(copy *secrule.Rule)) func() *Filter {
	return func() *Filter {
		f := *g.base
		c := *r
		c.Targets, c.Links = slices.Clone(r.Targets), slices.Clone(r.Links)
		for i, x := range c.Links {
			link := *x
			c.Links[i] = &link
		}
		f.parts = maps.Clone(f.parts)
		for i, x := range whole(&c) {
			f.parts[x] = g.base.parts[whole(r)[i]]
		}
		change(&c)
		f.rules = slices.Clone(f.rules)
		f.rules[slices.Index(f.rules, r)] = &c
		return &f
	}
}

// never is an operator that takes nothing for a match.
type never struct{}

func (never) Evaluate(plugintypes.TransactionState, string) bool { return false }

// some draws n different ones.
func some[T any](r *rand.Rand, list []T, n int) []T {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// content are the rules that look for attacks, and were understood.
func (g *garden) content(such func(*secrule.Rule) bool) (list []*secrule.Rule) {
	for _, r := range g.base.rules {
		if r.Phase <= 2 && r.Phase > 0 && r.ID > 911000 && r.ID < 945000 && r.Test != nil && paranoiaOf(r) > 0 && such(r) {
			list = append(list, r)
		}
	}
	return list
}

// literals: one of those that a rule looks for is left out, or is looked for in one spelling only.
func (g *garden) literals() (list []mutant) {
	type place struct{ cond, clause, word int }
	var places, folded []place
	for n, c := range g.conds {
		if o := g.owner[n]; o == nil || o.ID < 911000 || o.ID > 944999 {
			continue
		}
		for i, words := range c.Clauses {
			for j, word := range words {
				if !implied(words, word) {
					places = append(places, place{n, i, j})
				}
				if strings.Contains(strings.ToLower(g.owner[n].Test.Name), "rx") && strings.Contains(g.owner[n].Test.Argument, "(?i)") && len(words) < 12 && strings.ContainsAny(word, "sk") {
					folded = append(folded, place{n, i, j})
				}
			}
		}
		for i, words := range c.Bare {
			for j, word := range words {
				if !implied(words, word) {
					places = append(places, place{n, len(c.Clauses) + i, j})
				}
			}
		}
	}
	without := func(c literal.Condition, p place) (_ literal.Condition, word string, beside []string) {
		clauses, i := &c.Clauses, p.clause
		if i >= len(c.Clauses) {
			clauses, i = &c.Bare, i-len(c.Clauses)
		}
		word, beside = (*clauses)[i][p.word], (*clauses)[i]
		*clauses = slices.Clone(*clauses)
		(*clauses)[i] = slices.Delete(slices.Clone((*clauses)[i]), p.word, p.word+1)
		if len((*clauses)[i]) == 0 { // to leave out the only one is to look for what can't be
			(*clauses)[i] = []string{"\x01\x02\x03never\x03\x02\x01"}
		}
		return c, word, beside
	}
	for _, p := range some(g.r, places, 70) {
		c, word, beside := without(g.conds[p.cond], p)
		rule := g.owner[p.cond]
		shows := func() ([]string, bool) { // unless every text that matches holds another of its list
			others := slices.DeleteFunc(slices.Clone(beside), func(w string) bool { return w == word })
			return g.alone(rule, others, p.clause >= len(g.conds[p.cond].Clauses), func(rune) bool { return true })
		}
		list = append(list, mutant{
			mistake: fmt.Sprintf("the literal %q is not looked for", word), rules: one(rule), filter: g.with(p.cond, c),
			shows: shows, near: word, beside: beside,
		})
	}
	for _, p := range some(g.r, folded, 20) {
		c, rule := g.conds[p.cond], g.owner[p.cond]
		letters := "sS"
		if !strings.Contains(c.Clauses[p.clause][p.word], "s") {
			letters = "kK"
		}
		shows := func() ([]string, bool) { // unless every text that matches holds an ordinary one
			return g.alone(rule, nil, false, func(r rune) bool { return !strings.ContainsRune(letters, r) })
		}
		c.Bytes = append(slices.Clone(c.Bytes), literal.Of(letters+string([]byte{0})))
		list = append(list, mutant{mistake: "the odd letters for " + letters + " are no such letters", rules: one(rule), shows: shows, filter: g.with(p.cond, c)})
	}
	return list
}

// alone looks for texts that a rule matches though they hold none of some literals, nor any but some runes. Ever is false
// where it is known that there are none.
func (g *garden) alone(r *secrule.Rule, others []string, bare bool, runes func(rune) bool) (texts []string, ever bool) {
	if !strings.EqualFold(r.Test.Name, "rx") {
		return nil, true
	}
	chain := g.base.parts[r].chain
	makes := g.base.makes(chain)
	text, found, known := witness(r.Test.Argument, others, bare, func(r rune) bool { return makes(r) && runes(r) })
	if found {
		texts = g.base.written(chain, text)
	}
	return texts, found || !known
}

// implied tells that a word holds another one of its clause, so that nothing changes without it.
func implied(words []string, word string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return w != word && strings.Contains(word, w) })
}

// bytes: a set lacks bytes, or a text must be longer than it must.
func (g *garden) bytes() (list []mutant) {
	for _, n := range some(g.r, g.such(func(c literal.Condition) bool { return len(c.Bytes) > 0 }), 12) {
		c := g.conds[n]
		c.Bytes = slices.Clone(c.Bytes)
		c.Bytes[0] = literal.ByteSet{}
		list = append(list, mutant{mistake: "no byte is in a set", rules: one(g.owner[n]), filter: g.with(n, c)})
	}
	for _, n := range some(g.r, g.such(func(c literal.Condition) bool { return c.Min > 1 }), 8) {
		c := g.conds[n]
		c.Min += 40
		list = append(list, mutant{mistake: "a text must be 40 bytes longer", rules: one(g.owner[n]), filter: g.with(n, c)})
	}
	return list
}

// such are the numbers of conditions of rules that look for attacks.
func (g *garden) such(such func(literal.Condition) bool) (list []int) {
	for n, c := range g.conds {
		if o := g.owner[n]; o != nil && o.ID > 911000 && o.ID < 945000 && such(c) {
			list = append(list, n)
		}
	}
	return list
}

// transformations: a list of them is taken to change nothing, or less than it does.
func (g *garden) transformations() (list []mutant) {
	users := map[int][]*secrule.Rule{}
	for _, r := range g.content(func(*secrule.Rule) bool { return true }) {
		if k := g.base.parts[r]; k.sieve >= 0 && !g.base.chains[k.chain].multi {
			users[k.chain] = append(users[k.chain], r)
		}
	}
	spoilt := func(n int, needs identity.Traits) func() *Filter {
		return func() *Filter {
			f := *g.base
			f.chains = slices.Clone(f.chains)
			f.chains[n].needs, f.chains[n].known = needs, true
			return &f
		}
	}
	for _, n := range slices.Sorted(maps.Keys(users)) {
		c := g.base.chains[n]
		if c.known && c.needs&^identity.Case == 0 {
			continue
		}
		rules := some(g.r, users[n], 4)
		names := rules[0].Chain.Names
		add := func(mistake string, forgotten, left identity.Traits) {
			shows := func() ([]string, bool) { return nil, !g.idle(n, names, forgotten) }
			list = append(list, mutant{mistake: mistake, rules: rules, shows: shows, filter: spoilt(n, left)})
		}
		all := identity.Traits(0)
		if c.known {
			all = c.needs &^ identity.Case
		}
		add(fmt.Sprintf("%v is taken to change nothing", names), all, 0)
		if c.known {
			var bits []identity.Traits
			for bit := identity.Traits(1); bit != 0; bit <<= 1 {
				if c.needs&^identity.Case&bit != 0 {
					bits = append(bits, bit)
				}
			}
			bit := bits[g.r.IntN(len(bits))]
			add(fmt.Sprintf("of %v the trait %x is forgotten", names, uint64(bit)), bit, c.needs&^bit)
		}
	}
	return list
}

// targets: one is forgotten, or a key of one.
func (g *garden) targets() (list []mutant) {
	byVariable := map[variables.RuleVariable][]mutant{}
	for _, r := range g.content(func(r *secrule.Rule) bool { return !onlyInternal(r) && g.base.parts[r].safe && !r.Test.Negated }) {
		for i, t := range r.Targets {
			if t.Count || isInternal(t.Variable) {
				continue
			}
			byVariable[t.Variable] = append(byVariable[t.Variable], mutant{mistake: "forgets " + t.Variable.Name() + ":" + t.Key, rules: one(r), filter: g.but(r, func(c *secrule.Rule) { c.Targets = slices.Delete(c.Targets, i, i+1) })})
		}
	}
	for _, v := range slices.Sorted(maps.Keys(byVariable)) {
		list = append(list, some(g.r, byVariable[v], 3)...)
	}
	for i, key := range []string{"q2", "text", "json.text.0", "q"} {
		rules := g.content(func(r *secrule.Rule) bool {
			return g.base.parts[r].sieve >= 0 && slices.ContainsFunc(r.Targets, func(t secrule.Target) bool { return t.Variable == variables.Args && t.Key == "" })
		})
		r := rules[(i*37)%len(rules)]
		list = append(list, mutant{mistake: "leaves out " + key, rules: one(r), filter: g.but(r, func(c *secrule.Rule) {
			for i := range c.Targets {
				c.Targets[i].Except = append(slices.Clone(c.Targets[i].Except), secrule.Selector{Key: key})
			}
		})})
	}
	return list
}

// tests: an operator or a link is taken to fail, what a head remembers is forgotten.
func (g *garden) tests() (list []mutant) {
	// Whether a rule matches that counts nothing but what its class has in common is said by the engine, once for the class.
	counted := func(t secrule.Target) bool {
		return t.Count && slices.ContainsFunc(g.inputs, func(x input) bool {
			return x.rule == nil && x.target.Variable == t.Variable && strings.EqualFold(x.target.Key, t.Key)
		})
	}
	add := func(mistake string, n int, such func(*secrule.Rule) bool, change func(*secrule.Rule)) {
		for _, r := range some(g.r, g.content(such), n) {
			shows := func() ([]string, bool) {
				return nil, slices.ContainsFunc(r.Targets, func(t secrule.Target) bool { return !counted(t) })
			}
			list = append(list, mutant{mistake: mistake, rules: one(r), shows: shows, filter: g.but(r, change)})
		}
	}
	spoil := func(x *secrule.Rule) {
		t := *x.Test
		t.Operator, t.Negated = never{}, false
		x.Test = &t
	}
	add("its operator matches nothing", 25, func(r *secrule.Rule) bool { return g.base.parts[r].safe && !onlyInternal(r) }, spoil)
	chained := func(r *secrule.Rule) bool {
		return len(r.Links) > 0 && r.Links[0].Test != nil && !r.SideEffects() && !onlyInternal(r)
	}
	add("its link is taken to fail", 12, chained, func(c *secrule.Rule) {
		x := c.Links[0]
		c.Links[0].Targets = []secrule.Target{{Variable: variables.RequestMethod}}
		spoil(x)
	})
	add("what its head remembers is forgotten", 12, func(r *secrule.Rule) bool {
		if len(r.Links) == 0 || !r.SideEffects() || onlyInternal(r) || r.Links[0].Test == nil {
			return false
		}
		return !slices.ContainsFunc(r.Links[0].Targets, func(t secrule.Target) bool { return isInternal(t.Variable) }) // else the link can't be asked
	}, func(c *secrule.Rule) { c.Actions.Sets, c.Actions.Capture, c.Actions.Controls = nil, false, nil })
	return list
}

// ways: what the class has in common is forgotten, values are misread.
func (g *garden) ways() (list []mutant) {
	same := func() *Filter { return g.base }
	for i, in := range g.inputs { // the rules that read it are still taken to do the same for the whole class
		name := in.target.Variable.Name() + ":" + in.target.Key
		if in.rule != nil {
			name += fmt.Sprint(" of rule ", in.rule.ID)
		}
		shows := func() ([]string, bool) { // unless the class has the whole value, not only what the rule makes of it
			return nil, in.rule == nil || !slices.ContainsFunc(g.inputs, func(x input) bool {
				return x.rule == nil && x.target.Variable == in.target.Variable && x.target.Key == in.target.Key
			})
		}
		list = append(list, mutant{mistake: "a class leaves out " + name, shows: shows, filter: same, spoil: func(l *Level) {
			l.inputs = slices.Clone(l.inputs)
			l.inputs[i].target.Except = []secrule.Selector{{}}
		}})
	}
	misread := func(mistake string, read func(variables.RuleVariable, view.Pair) (view.Pair, bool)) {
		list = append(list, mutant{mistake: mistake, filter: same, twist: func(f *fed) *fed {
			r := f.request
			change := func(values []referee.Value) (kept []referee.Value) {
				for _, x := range values {
					v, err := variables.Parse(x.Variable)
					if err != nil {
						continue
					}
					if p, ok := read(v, view.Pair{Key: x.Key, Text: x.Text}); ok {
						kept = append(kept, referee.Value{Variable: x.Variable, Key: p.Key, Text: p.Text})
					}
				}
				return kept
			}
			r.Head, r.Body = change(r.Head), change(r.Body)
			return &fed{request: r, head: f.head, all: f.all, empty: f.empty}
		}})
	}
	all := func(p view.Pair, b bool) (view.Pair, bool) { return p, b }
	misread("texts end at NUL", func(_ variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		p.Text, _, _ = strings.Cut(p.Text, "\x00")
		return p, true
	})
	misread("texts end after 60 bytes", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		if v == variables.ArgsGet || v == variables.ArgsPost {
			p.Text = p.Text[:min(len(p.Text), 60)]
		}
		return p, true
	})
	misread("the body as a text is forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		return all(p, v != variables.RequestBody)
	})
	misread("XML is forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		return all(p, v != variables.RequestXML)
	})
	misread("cookies are forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		return all(p, v != variables.RequestCookies)
	})
	misread("names of files are forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) { return all(p, v != variables.Files) })
	misread("names of arguments are forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) {
		if v == variables.ArgsGet || v == variables.ArgsPost {
			p.Key = "x"
		}
		return p, true
	})
	misread("arguments of the path are forgotten", func(v variables.RuleVariable, p view.Pair) (view.Pair, bool) { return all(p, v != variables.ArgsPath) })
	return list
}

// all are mistakes of all kinds, mixed: more than are tried, since some turn out to be none.
func (g *garden) all() []mutant {
	return some(g.r, slices.Concat(g.literals(), g.bytes(), g.transformations(), g.targets(), g.tests(), g.ways()), 300)
}

// mostMutants is how many are tried.
const mostMutants = 200

// Mistakes that are built into the filter are found by the differential test, by requests about which the filter without one
// is right. Those that can be shown to change no verdict are told and not counted. GATEHOUSE_MUTANTS=n tries every n-th, and 1
// all of them, with more requests.
func TestMutantsAreFound(t *testing.T) {
	w := the(t)
	g, h := newGarden(t, w), newHunter(t)
	rounds, step := 1, every(25)
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_MUTANTS")); err == nil && n > 0 {
		step = n
	}
	if step == 1 {
		rounds = 4
	}
	var tried, rest, late, masked int
	var slowest time.Duration
	for _, m := range thin(g.all(), step, 0) {
		if tried == mostMutants/step {
			break
		}
		name := m.mistake
		if len(m.rules) > 0 {
			name = fmt.Sprintf("%d (%s): %s", m.rules[0].ID, path.Base(m.rules[0].File), m.mistake)
		}
		began := time.Now()
		var texts []string
		if m.shows != nil {
			var ever bool
			if texts, ever = m.shows(); !ever {
				t.Logf("changes nothing: %s", name)
				continue
			}
		}
		tried++
		by, alone, asked := h.kill(t, m, texts, rounds)
		took := time.Since(began).Round(time.Millisecond)
		switch {
		case by == "":
			rest++
			t.Logf("not found: %s, in %d requests and %v", name, asked, took)
			continue
		case alone:
			masked++
		}
		if took > time.Minute {
			late++
		}
		slowest = max(slowest, took)
		if step == 1 {
			t.Logf("found: %s by %s (%d, %v)", name, by, asked, took)
		}
	}
	t.Logf("%d of %d mutants found (%.1f %%), %d of them only with the other rules off, %d after more than a minute, the slowest in %v",
		tried-rest, tried, 100*float64(tried-rest)/float64(tried), masked, late, slowest)
	if tried < mostMutants/step {
		t.Errorf("only %d mutants", tried)
	}
	if rest > max(1, tried*5/100) { // the engine decides some by chance: of a few, one may live
		t.Errorf("%d of %d mutants live", rest, tried)
	}
}
