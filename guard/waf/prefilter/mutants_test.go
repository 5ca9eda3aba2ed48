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
	"sync"
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
	rule    *secrule.Rule // that it concerns; nil for all
	near    string        // a text near which it shows
	beside  []string      // texts in the place of which it may stand
	filter  func() *Filter
	spoil   func(*Level)
	twist   func(*fed) *fed
}

// garden makes mutants of the filter of all rules.
type garden struct {
	base  *Filter
	conds []literal.Condition // of the sieve, by number
	owner []*secrule.Rule     // the rule that a condition is of first
	r     *rand.Rand
}

func newGarden(t testing.TB, w world) *garden {
	t.Helper()
	base, err := w.filter(4)
	if err != nil {
		t.Fatal(err)
	}
	g := &garden{base: base, r: rand.New(rand.NewPCG(11, 4))}
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
	for _, p := range some(g.r, places, 60) {
		c, word, beside := without(g.conds[p.cond], p)
		list = append(list, mutant{mistake: fmt.Sprintf("the literal %q is not looked for", word), rule: g.owner[p.cond], near: word, beside: beside, filter: g.with(p.cond, c)})
	}
	for _, p := range some(g.r, folded, 20) {
		c := g.conds[p.cond]
		word := c.Clauses[p.clause][p.word]
		letters := "sS"
		if !strings.Contains(word, "s") {
			letters = "kK"
		}
		c.Bytes = append(slices.Clone(c.Bytes), literal.Of(letters+string([]byte{0})))
		list = append(list, mutant{mistake: "the odd letters for " + letters + " are no such letters", rule: g.owner[p.cond], filter: g.with(p.cond, c)})
	}
	return list
}

// implied tells that a word holds another one of its clause, so that nothing changes without it.
func implied(words []string, word string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return w != word && strings.Contains(word, w) })
}

// bytes: a set lacks bytes, or a text must be longer than it must.
func (g *garden) bytes() (list []mutant) {
	for _, n := range some(g.r, slices.Sorted(maps.Keys(index(g.conds, func(c literal.Condition) bool { return len(c.Bytes) > 0 }))), 12) {
		c := g.conds[n]
		c.Bytes = slices.Clone(c.Bytes)
		c.Bytes[0] = literal.ByteSet{}
		list = append(list, mutant{mistake: "no byte is in a set", rule: g.owner[n], filter: g.with(n, c)})
	}
	for _, n := range some(g.r, slices.Sorted(maps.Keys(index(g.conds, func(c literal.Condition) bool { return c.Min > 1 }))), 8) {
		c := g.conds[n]
		c.Min += 40
		list = append(list, mutant{mistake: "a text must be 40 bytes longer", rule: g.owner[n], filter: g.with(n, c)})
	}
	return list
}

func index[T any](list []T, such func(T) bool) map[int]bool {
	found := map[int]bool{}
	for i, x := range list {
		if such(x) {
			found[i] = true
		}
	}
	return found
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
		rule := users[n][g.r.IntN(len(users[n]))]
		list = append(list, mutant{mistake: fmt.Sprintf("%v is taken to change nothing", rule.Chain.Names), rule: rule, filter: spoilt(n, 0)})
		if c.known {
			var bits []identity.Traits
			for bit := identity.Traits(1); bit != 0; bit <<= 1 {
				if c.needs&^identity.Case&bit != 0 {
					bits = append(bits, bit)
				}
			}
			bit := bits[g.r.IntN(len(bits))]
			list = append(list, mutant{mistake: fmt.Sprintf("of %v the trait %x is forgotten", rule.Chain.Names, uint64(bit)), rule: rule, filter: spoilt(n, c.needs&^bit)})
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
			byVariable[t.Variable] = append(byVariable[t.Variable], mutant{mistake: "forgets " + t.Variable.Name() + ":" + t.Key, rule: r, filter: g.but(r, func(c *secrule.Rule) { c.Targets = slices.Delete(c.Targets, i, i+1) })})
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
		list = append(list, mutant{mistake: "leaves out " + key, rule: r, filter: g.but(r, func(c *secrule.Rule) {
			for i := range c.Targets {
				c.Targets[i].Except = append(slices.Clone(c.Targets[i].Except), secrule.Selector{Key: key})
			}
		})})
	}
	return list
}

// tests: an operator or a link is taken to fail, what a head remembers is forgotten.
func (g *garden) tests() (list []mutant) {
	add := func(mistake string, n int, such func(*secrule.Rule) bool, change func(*secrule.Rule)) {
		for _, r := range some(g.r, g.content(such), n) {
			list = append(list, mutant{mistake: mistake, rule: r, filter: g.but(r, change)})
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
	for i := range 6 {
		list = append(list, mutant{mistake: fmt.Sprintf("input %d of the class is forgotten", i), filter: same, spoil: func(l *Level) {
			if i < len(l.inputs) {
				l.inputs = slices.Delete(slices.Clone(l.inputs), i, i+1)
			}
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

func (g *garden) all() []mutant {
	return slices.Concat(g.literals(), g.bytes(), g.transformations(), g.targets(), g.tests(), g.ways())
}

// hunter looks for requests that give mutants away.
type hunter struct {
	w     world
	rules map[int]referee.Rule
	suite map[int][]referee.Request // by the rule that a test is about
	learn []referee.Request
	tuned map[string]string
	other []referee.Request // for mutants of no rule
	ids   []int             // of all rules that look for attacks
}

var sharedHunter = sync.OnceValues(func() (*hunter, error) {
	w, err := shared()
	if err != nil {
		return nil, err
	}
	h := &hunter{w: w, rules: map[int]referee.Rule{}, suite: map[int][]referee.Request{}}
	rules, err := referee.CoreRules()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		h.rules[r.ID] = r
		if r.ID > 911000 && r.ID < 945000 && r.Level > 0 {
			h.ids = append(h.ids, r.ID)
		}
	}
	tests, err := referee.Suite()
	if err != nil {
		return nil, err
	}
	for i, x := range tests {
		r, err := w.collector.Request(x)
		if x.Answered() || err != nil {
			continue
		}
		h.suite[x.Rule] = append(h.suite[x.Rule], r)
		h.tuned = r.Settings.TX
		if i%9 == 0 {
			h.other = append(h.other, r)
		}
	}
	for _, spot := range referee.Spots() {
		r, err := w.collector.Placed("learn", "plain", spot, referee.Settings{})
		if err != nil {
			return nil, err
		}
		h.learn = append(h.learn, r)
	}
	for i, m := range benign() {
		if i%8 == i/8 || i < 8 {
			r, err := w.collector.Collect(m)
			if err != nil {
				return nil, err
			}
			h.learn = append(h.learn, r)
		}
	}
	return h, nil
})

func newHunter(t testing.TB) *hunter {
	t.Helper()
	h, err := sharedHunter()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// at sets all requests to one level, and to the limits of the rule set's authors.
func (h *hunter) at(level int, requests ...[]referee.Request) (list []referee.Request) {
	for _, r := range slices.Concat(requests...) {
		r.Settings = referee.Settings{Paranoia: level, TX: h.tuned}
		list = append(list, r)
	}
	return list
}

// more makes requests for one mutant, others each time.
func (h *hunter) more(m mutant, n int) (list []referee.Request) {
	random := referee.Seed(uint64(n))
	if m.rule == nil {
		if n == 0 {
			return h.at(1, h.other)
		}
		return h.at(1+n%4, referee.Mutations(random, append(h.other, h.learn...), 300, []string{"a\x00' or 1=1--", strings.Repeat("x", 70) + "<script>"}))
	}
	level := max(h.rules[m.rule.ID].Level, 1)
	rule := h.rules[m.rule.ID]
	var near, put, others []referee.Request
	for range 3 {
		probes, err := h.w.collector.Probes([]referee.Rule{rule}, random, 1000)
		if err != nil {
			return nil
		}
		for _, p := range probes {
			if m.near != "" && holds(p, m.near) {
				near = append(near, p)
			} else {
				others = append(others, p)
			}
		}
		if m.near == "" || len(near) > 3 {
			break
		}
	}
	others = some(random, others, 150)
	for _, p := range others {
		if other, ok := swapped(random, p, m); ok {
			put = append(put, other)
		}
	}
	probes := slices.Concat(some(random, near, 100), put, others)
	for _, p := range probes { // and the odd letters
		list = append(list, oddly(p))
	}
	list = append(append(list, probes...), h.suite[m.rule.ID]...)
	if n > 0 {
		list = append(list, referee.Mutations(random, append(list, h.learn...), 300, nil)...)
	}
	return h.at(level, list)
}

// oddly writes s and k in their odd forms.
func oddly(r referee.Request) referee.Request {
	odd := strings.NewReplacer("s", "ſ", "S", "ſ", "k", "\u212a", "K", "\u212a")
	change := func(list []referee.Value) []referee.Value {
		list = slices.Clone(list)
		for i := range list {
			if v := &list[i]; strings.HasPrefix(v.Variable, "ARGS") || v.Variable == "REQUEST_COOKIES" || v.Variable == "REQUEST_XML" || v.Variable == "FILES" || v.Variable == "REQUEST_BODY" {
				v.Text = odd.Replace(v.Text)
			}
		}
		return list
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r
}

// swapped puts the literal that a mutant lacks in the place of another one.
func swapped(random *rand.Rand, r referee.Request, m mutant) (referee.Request, bool) {
	done := false
	change := func(list []referee.Value) []referee.Value {
		list = slices.Clone(list)
		for i := range list {
			folded := literal.Fold(list[i].Text)
			for _, word := range some(random, m.beside, 60) {
				plain, instead := strings.ReplaceAll(word, "\xff", ""), strings.ReplaceAll(strings.ReplaceAll(m.near, "\xff", ""), "\n", " ")
				if at := strings.Index(folded, plain); plain != "" && at >= 0 && len(folded) == len(list[i].Text) {
					list[i].Text, done = list[i].Text[:at]+instead+list[i].Text[at+len(plain):], true
					break
				}
			}
		}
		return list
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r, done
}

// holds tells that a text of a request holds a literal, with or without what shells leave out.
func holds(r referee.Request, word string) bool {
	bare := strings.NewReplacer("'", "", `"`, "", `\`, "", "^", "")
	return slices.ContainsFunc(slices.Concat(r.Head, r.Body), func(v referee.Value) bool {
		return slices.ContainsFunc([]string{v.Text, v.Key, bare.Replace(v.Text)}, func(text string) bool {
			return strings.Contains(literal.Fold("\xff"+text+"\xff"), word)
		})
	})
}

// tame is a harmless request of the same class, or nearly, so that a class is learned.
func tame(r referee.Request) referee.Request {
	change := func(list []referee.Value) (kept []referee.Value) {
		for _, v := range list {
			switch v.Variable {
			case "ARGS_GET", "ARGS_POST", "ARGS_PATH", "REQUEST_COOKIES", "REQUEST_XML", "FILES", "MULTIPART_PART_HEADERS", "QUERY_STRING", "TX":
				continue
			case "REQUEST_HEADERS":
				if !slices.Contains([]string{"host", "accept", "user-agent", "content-type", "content-length", "connection"}, strings.ToLower(v.Key)) {
					continue
				}
			case "REQUEST_URI", "REQUEST_URI_RAW", "REQUEST_FILENAME":
				v.Text = "/"
			case "REQUEST_LINE":
				continue
			case "REQUEST_BODY", "REQUEST_BASENAME":
				v.Text = ""
			}
			kept = append(kept, v)
		}
		return kept
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r
}

// kill tells by which request a mutant is found out, all rules being on or only its own.
func (h *hunter) kill(t testing.TB, m mutant, alone bool, rounds int) (by string, asked int) {
	began := time.Now()
	f := m.filter()
	c := h.w.over(func(int) (*Filter, error) { return f, nil })
	c.spoil, c.twist = m.spoil, m.twist
	if alone {
		for _, id := range h.ids {
			if id != m.rule.ID {
				c.off = append(c.off, id)
			}
		}
	}
	level := 1
	if m.rule != nil {
		level = max(h.rules[m.rule.ID].Level, 1)
	}
	var twins []referee.Request
	if m.rule != nil {
		for _, r := range some(referee.Seed(1), h.suite[m.rule.ID], 12) {
			twins = append(twins, tame(r))
		}
	}
	for _, r := range h.at(level, h.learn, twins) {
		if _, _, err := c.Judge(r); err != nil {
			return err.Error(), asked
		}
	}
	for n := range rounds {
		list := h.more(m, n)
		for _, r := range list {
			asked++
			if _, fast, err := c.Quick(r); err != nil || fast {
				if found := h.differs(t, c, r); found != "" {
					return found, asked
				}
			}
		}
		most := 20
		if m.rule == nil {
			most = 150
		}
		for _, r := range some(referee.Seed(uint64(n)), list, most) { // and where the engine is asked for the rest
			asked++
			if found := h.differs(t, c, r); found != "" {
				return found, asked
			}
		}
		if time.Since(began) > 60*time.Second {
			break
		}
	}
	return "", asked
}

// differs tells how what a candidate says of a request is not what the engine says.
func (h *hunter) differs(t testing.TB, c *candidate, r referee.Request) string {
	got, _, err := c.Judge(r)
	if err != nil {
		return err.Error()
	}
	return h.against(t, c, r, got)
}

// against compares an outcome with the engine's, and with the referee's where they differ.
func (h *hunter) against(t testing.TB, c *candidate, r referee.Request, got referee.Outcome) string {
	j := referee.Judgement{First: h.w.engine.Without(r, c.off), Runs: 1}
	if len(j.Differences(got)) == 0 {
		return ""
	}
	if c.off == nil { // the referee has the last word
		asked, err := h.w.referee.Judge([]referee.Request{r}, 6)
		if err != nil {
			t.Fatal(err)
		}
		j = asked[0]
	} else {
		for range 6 {
			j.Others = append(j.Others, h.w.engine.Without(r, c.off))
		}
	}
	if d := j.Differences(got); len(d) > 0 {
		return r.Name + ": " + d[0]
	}
	return ""
}

// Mistakes that are built into the filter are found by the differential test; the filter without one is not.
func TestMutantsAreFound(t *testing.T) {
	w := the(t)
	g, h := newGarden(t, w), newHunter(t)
	mutants := g.all()
	if len(mutants) < 200 {
		t.Fatalf("only %d mutants", len(mutants))
	}
	rounds := 1
	if long() {
		rounds = 3
	}
	var tried, rest, masked int
	var slowest time.Duration
	step := every(25)
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_MUTANTS")); err == nil && n > 0 {
		step = n
	}
	for _, m := range thin(mutants, step, 0) {
		tried++
		name := m.mistake
		if m.rule != nil {
			name = fmt.Sprintf("%d (%s): %s", m.rule.ID, path.Base(m.rule.File), m.mistake)
		}
		began := time.Now()
		by, asked := h.kill(t, m, false, rounds)
		if by == "" && m.rule != nil {
			masked++
			by, asked = h.kill(t, m, true, rounds)
		}
		if by == "" {
			rest++
			t.Logf("not found: %s, in %d requests", name, asked)
			continue
		}
		slowest = max(slowest, time.Since(began))
		if os.Getenv("GATEHOUSE_MUTANTS") != "" {
			t.Logf("found: %s by %s (%d)", name, by, asked)
		}
	}
	t.Logf("%d of %d mutants found (%.1f %%), %d of them only with the other rules off, the slowest in %v", tried-rest, tried, 100*float64(tried-rest)/float64(tried), masked-rest, slowest)
	if rest*100 > tried*25 { // some change nothing: what a captured group is, where paths have no slash
		t.Errorf("%d of %d mutants live", rest, tried)
	}
}
