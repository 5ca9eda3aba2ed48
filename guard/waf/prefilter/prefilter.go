// Package prefilter answers for nearly every harmless request what the rule engine would answer, without asking it, and
// never differently.
//
// The argument is one of induction. The engine asks its rules one after the other; what a rule does depends on the values
// it reads and on what matching rules did before. Take a request whose outcome is known (the engine itself judged it) and
// a second one of the same class: equal in everything that was read by the rules that matched, and by those that remember
// something though their chain failed; what stands in macros and what is written to variables is read too. If every other
// rule that the engine reached is shown not to match the second request, then the engine would reach the same rules, find
// the same matches and end in the same state. So the outcome is the known one. What is not shown goes to the engine, and
// its outcome may become the known one of a new class.
//
// Showing that a rule can't match is cheap: nearly all rules need certain words, which one pass over a value looks for
// (package literal); transformations that change nothing are not made (package identity). What is left is asked of the
// engine's own operators (package secrule), within a budget, so that nobody can make this slower than the engine.
package prefilter

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// Filter is what is derived from one set of rules, once: it is shared by all APIs and never changes.
type Filter struct {
	rules   []*secrule.Rule
	sieve   *literal.Sieve
	tree    *identity.Tree
	chains  []chain
	parts   map[*secrule.Rule]part // of every rule and link that tests something
	keep    map[string]bool        // names of TX variables that tests read
	grouped bool                   // some rule may read groups that another has captured
}

// part is what is known of one rule or link, beside what it says.
type part struct {
	sieve int // its condition in the sieve; -1: its test says nothing of the text, and is always asked
	chain int // its transformations
	askable
}

// askable says what of a test can be asked outside of the engine.
type askable struct {
	safe bool     // the operator reads the value, and nothing else of the transaction but the variables below
	uses []string // names of TX variables in its argument
}

type chain struct {
	needs identity.Traits // what a text must have to be changed by it
	known bool            // whether needs is known
	multi bool
}

// New derives a filter from compiled rules. Files are those that the rules name. Rules above the paranoia level are not
// looked for, which makes the search quicker: where they are reached nevertheless, they are asked. An error means that these
// rules can't be understood, and that the engine must judge everything by itself.
func New(rules []*secrule.Rule, files fs.FS, paranoia int) (*Filter, error) {
	f := &Filter{rules: rules, parts: map[*secrule.Rule]part{}, keep: map[string]bool{}}
	b := newBuilder(files)
	for _, r := range rules {
		if r.Phase > 2 {
			continue
		}
		for _, p := range whole(r) {
			if p.Test == nil {
				continue
			}
			k, err := b.part(p, paranoiaOf(r) <= paranoia)
			if err != nil {
				return nil, fmt.Errorf("rule %d: %w", r.ID, err)
			}
			f.parts[p] = k
			for _, name := range k.uses {
				f.keep[name] = true
			}
			for _, t := range p.Targets {
				if isInternal(t.Variable) && t.Key != "" {
					f.keep[t.Key] = true
				}
			}
		}
	}
	f.grouped = f.readsGroups()
	f.sieve, f.tree, f.chains = b.done()
	return f, nil
}

// paranoiaOf is the level from which on a rule is asked; 0 when it doesn't say.
func paranoiaOf(r *secrule.Rule) (level int) {
	for _, tag := range r.Tags {
		if n, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			level, _ = strconv.Atoi(n)
		}
	}
	return level
}

// whole is a rule and the links of its chain.
func whole(r *secrule.Rule) []*secrule.Rule {
	return append([]*secrule.Rule{r}, r.Links...)
}
