package prefilter

import (
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// builder collects the conditions and transformations of all rules, each different one once.
type builder struct {
	files  fs.FS
	sieve  literal.Builder
	ids    map[string]int // operator and argument -> in the sieve, -1 without a condition
	known  map[string]int // names of a chain -> its number
	lists  [][]string
	chains []chain
	funcs  map[string]identity.Func
}

func newBuilder(files fs.FS) *builder {
	return &builder{files: files, ids: map[string]int{}, known: map[string]int{}, funcs: map[string]identity.Func{}}
}

func (b *builder) done() (*literal.Sieve, *identity.Tree, []chain) {
	return b.sieve.Build(), identity.NewTree(b.lists, func(name string) identity.Func { return b.funcs[name] }), b.chains
}

// part looks at one rule or link. Its words are looked for if it is sought.
func (b *builder) part(p *secrule.Rule, sought bool) (part, error) {
	n, err := b.chain(p.Chain)
	k := part{sieve: -1, chain: n, askable: askableOf(p.Test)}
	if err != nil {
		return k, err
	}
	if p.Test.Negated || !k.safe || len(k.uses) > 0 || !sought {
		return k, nil
	}
	key := strings.Join([]string{p.Test.Name, p.File, p.Test.Argument}, "\x00")
	id, ok := b.ids[key]
	if !ok {
		c, some, err := b.condition(p)
		if err != nil {
			return k, err
		}
		id = -1
		if some {
			id = b.sieve.Add(c)
		}
		b.ids[key] = id
	}
	k.sieve = id
	return k, nil
}

func (b *builder) chain(c secrule.Chain) (int, error) {
	for i, name := range c.Names {
		f := c.Functions[i]
		if known := b.funcs[name]; known != nil && reflect.ValueOf(known).Pointer() != reflect.ValueOf(f).Pointer() {
			return 0, fmt.Errorf("two transformations are called %s", name)
		}
		b.funcs[name] = f
	}
	key := strings.Join(c.Names, " ")
	if c.MultiMatch {
		key += " multi"
	}
	if n, ok := b.known[key]; ok {
		return n, nil
	}
	needs, known := identity.ChainNeeds(c.Names)
	b.chains = append(b.chains, chain{needs, known, c.MultiMatch})
	b.lists = append(b.lists, c.Names)
	b.known[key] = len(b.chains) - 1
	return len(b.chains) - 1, nil
}

// condition is what a text needs for the test to match it, read without making it lower case first. Some is false when
// nothing is known.
func (b *builder) condition(p *secrule.Rule) (c literal.Condition, some bool, err error) {
	if c, err = p.Condition(b.files); err != nil {
		return c, false, err
	}
	for i := range c.Bytes {
		c.Bytes[i] = anyCase(c.Bytes[i])
	}
	return c, !c.IsZero(), nil
}

// anyCase is a set with both cases of its letters.
func anyCase(s literal.ByteSet) literal.ByteSet {
	for c := byte('a'); c <= 'z'; c++ {
		if upper := c - 'a' + 'A'; s.Has(c) || s.Has(upper) {
			s.Add(c)
			s.Add(upper)
		}
	}
	return s
}

// pure are the operators that read the value they are given, and nothing else.
var pure = map[string]bool{
	"rx": true, "pm": true, "pmfromfile": true, "pmf": true, "streq": true, "contains": true, "beginswith": true, "endswith": true, "within": true, "strmatch": true,
	"eq": true, "ge": true, "gt": true, "le": true, "lt": true, "ipmatch": true, "ipmatchfromfile": true, "ipmatchf": true, "detectsqli": true, "detectxss": true,
	"validatebyterange": true, "validateurlencoding": true, "validateutf8encoding": true, "unconditionalmatch": true, "nomatch": true,
}

// harmless are the operators that do nothing but answer, and capture.
var harmless = func() map[string]bool {
	all := map[string]bool{"pmfromdataset": true, "ipmatchfromdataset": true, "validatenid": true, "validateschema": true, "rbl": true, "inspectfile": true}
	maps.Copy(all, pure)
	return all
}()

// macro is what the engine expands in an argument.
var macro = regexp.MustCompile(`%\{([^}]*)\}`)

// askableOf tells whether a test can be asked of the engine's operator alone. Arguments may name variables of TX.
func askableOf(t *secrule.Test) askable {
	a := askable{safe: pure[strings.ToLower(t.Name)]}
	if strings.EqualFold(t.Name, "rx") {
		return a // no macros there
	}
	for _, m := range macro.FindAllStringSubmatch(t.Argument, -1) {
		name, key, _ := strings.Cut(m[1], ".")
		if !strings.EqualFold(name, "tx") || key == "" {
			return askable{}
		}
		a.uses = append(a.uses, strings.ToLower(key))
	}
	return a
}
