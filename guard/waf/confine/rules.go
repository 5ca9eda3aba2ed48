package confine

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// Rules is a rule set, prepared for asking which of its rules can't match which texts. It is made once and shared by the
// scopes of all operations; many goroutines may use it.
type Rules struct {
	list   []*secrule.Rule
	places map[int]int // number of a rule -> its place in list
	tests  []test      // by place
	chains [][]string  // names of transformations, in lower case
	lists  [][]string  // as they are written
	tree   *identity.Tree
	sinks  map[kinds]*Mask
	masks  sync.Map // fingerprint of texts -> *Mask
}

// test is what is known of a rule's first test.
type test struct {
	chain     int
	multi     bool
	values    bool // it reads values of arguments, header fields or cookies
	names     bool // it reads their names
	askable   bool // the operator reads the value and nothing else
	conceived bool // condition says something
	numbers   bool // it is known to be quiet about numbers, dates and the like; see quiet
	condition literal.Condition
	machine   func() *machine // of @rx
}

// Mask is a set of rules, by their places in the list that NewRules was given.
type Mask struct {
	bits []uint64
	size int
}

// Has tells whether the rule at a place of the list is in the set. Nobody is in the nil Mask.
func (m *Mask) Has(place int) bool { return m != nil && m.bits[place/64]&(1<<(place%64)) != 0 }

// Len is how many rules there are in the set.
func (m *Mask) Len() int {
	if m == nil {
		return 0
	}
	return m.size
}

// Covers tells that all rules of another set are in this one. The bits are by place, 64 to a word.
func (m *Mask) Covers(bits []uint64) bool {
	for i, b := range bits {
		if b != 0 && (m == nil || i >= len(m.bits) || b&^m.bits[i] != 0) {
			return false
		}
	}
	return true
}

func (m *Mask) add(place int) {
	if !m.Has(place) {
		m.bits[place/64] |= 1 << (place % 64)
		m.size++
	}
}

func (r *Rules) newMask() *Mask { return &Mask{bits: make([]uint64, (len(r.list)+63)/64)} }

// and is the rules that are in both.
func (r *Rules) and(a, b *Mask) *Mask {
	if a == nil || b == nil || a == b {
		if a == b {
			return a
		}
		return nil
	}
	both := r.newMask()
	for i := range r.list {
		if a.Has(i) && b.Has(i) {
			both.add(i)
		}
	}
	return both
}

// NewRules prepares compiled rules. Files are those that the rules name.
func NewRules(rules []*secrule.Rule, files fs.FS) (*Rules, error) {
	r := &Rules{list: rules, places: map[int]int{}, sinks: map[kinds]*Mask{}}
	chains, funcs := map[string]int{}, map[string]identity.Func{}
	conditions := map[string]test{}
	for i, x := range rules {
		r.places[x.ID] = i
		t := test{chain: -1}
		if x.Test != nil && x.Phase <= 2 && x.Mark == "" {
			key := strings.Join([]string{x.Test.Name, x.File, x.Test.Argument, fmt.Sprint(x.Test.Negated)}, "\x00")
			known, ok := conditions[key]
			if !ok {
				var err error
				if known, err = conceive(x, files); err != nil {
					return nil, fmt.Errorf("rule %d: %w", x.ID, err)
				}
				conditions[key] = known
			}
			t = known
			t.values, t.names = whatReads(x)
			t.chain, t.multi = r.chain(x.Chain, chains, funcs), x.Chain.MultiMatch
		}
		r.tests = append(r.tests, t)
	}
	r.tree = identity.NewTree(r.lists, func(name string) identity.Func { return funcs[name] })
	r.readSinks()
	return r, nil
}

func (r *Rules) chain(c secrule.Chain, known map[string]int, funcs map[string]identity.Func) int {
	key := strings.Join(c.Names, " ")
	if n, ok := known[key]; ok {
		return n
	}
	low := make([]string, len(c.Names))
	for i, name := range c.Names {
		low[i], funcs[name] = strings.ToLower(name), c.Functions[i]
	}
	known[key] = len(r.chains)
	r.chains, r.lists = append(r.chains, low), append(r.lists, c.Names)
	return known[key]
}

// whatReads tells whether a rule reads values that a contract describes, and their names.
func whatReads(x *secrule.Rule) (values, names bool) {
	for _, t := range x.Targets {
		for _, v := range basesOf(t.Variable) {
			switch v {
			case variables.ArgsGet, variables.ArgsPost, variables.ArgsPath, variables.RequestHeaders, variables.RequestCookies:
				values, names = values || !isNames(t.Variable), names || isNames(t.Variable)
			}
		}
	}
	return values, names
}

// pure are the operators that read the value they are given, and nothing else.
var pure = map[string]bool{
	"rx": true, "pm": true, "pmfromfile": true, "pmf": true, "streq": true, "contains": true, "beginswith": true, "endswith": true, "within": true, "strmatch": true,
	"eq": true, "ge": true, "gt": true, "le": true, "lt": true, "ipmatch": true, "detectsqli": true, "detectxss": true,
	"validatebyterange": true, "validateurlencoding": true, "validateutf8encoding": true, "nomatch": true,
}

// conceive derives what a text needs for a test to match it.
func conceive(x *secrule.Rule, files fs.FS) (t test, err error) {
	name := strings.ToLower(x.Test.Name)
	t.askable = pure[name] && (name == "rx" || !strings.Contains(x.Test.Argument, "%{"))
	if !t.askable || x.Test.Negated {
		return t, nil
	}
	switch name {
	case "rx":
		t.machine = newMachine(x.Test.Argument)
	case "detectsqli":
		t.numbers = true
	}
	t.condition, err = x.Condition(files)
	t.conceived = !t.condition.IsZero()
	return t, err
}
