// Package secrule reads the rules that Coraza has compiled, as plain data, and hands out the engine's own operators and
// transformations, so that a prefilter can ask beforehand exactly what the engine would ask. Nothing here can change a rule.
//
// Coraza has no interface for this. The rules are therefore read by reflection from the finished engine, in the one
// version that is known: whatever is not laid out as expected (another version, a new field, a rule that cannot be
// understood) makes Read refuse, and then there is no prefilter; the engine itself judges as before.
package secrule

import (
	"regexp"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Rule is one rule, or one link of a chain, or a marker.
type Rule struct {
	ID      int // 0 for links and markers
	Parent  int // of a link: the ID of the chain's first rule; else 0
	Phase   int // 1 to 5; 0 for markers and links
	Mark    string
	File    string
	Line    int
	Tags    []string
	Message string // as written, with macros
	Targets []Target
	Test    *Test // nil: the rule matches always, as SecAction does
	Chain   Chain // transformations, applied in order
	Actions Actions
	Links   []*Rule // of the chain, in order; only the first rule has them
}

// Target is what a rule looks at.
type Target struct {
	Variable   variables.RuleVariable
	Count      bool           // the number of values instead of the values
	Key        string         // "" for all; lower case, but for arguments
	KeyPattern *regexp.Regexp // instead of Key
	Except     []Selector
}

// Selector names values that a target leaves out.
type Selector struct {
	Key        string // compared in lower case; "" with no pattern leaves out everything
	KeyPattern *regexp.Regexp
}

// Test is the operator with its argument.
type Test struct {
	Name     string // such as rx, pmFromFile; without @ and !
	Argument string // as written; macros stand in it unexpanded
	Negated  bool
	Operator plugintypes.Operator // the engine's own. With a state that does not capture it changes nothing
}

// Chain is a list of transformations.
type Chain struct {
	Names      []string // as the engine's functions are called, such as urlDecodeUni; "" entries do not occur
	Functions  []plugintypes.Transformation
	MultiMatch bool // every intermediate value is tested
}

// Actions is what happens when the rule matches, as far as it concerns other rules.
type Actions struct {
	Sets      []Set
	Controls  []Control
	Other     []string // names of actions whose effect is not known, such as initcol and setenv
	Capture   bool
	Skip      int    // how many rules are passed over
	SkipAfter string // the marker after which it goes on
}

// Set is one setvar.
type Set struct {
	Key, Value string // as written, with macros
	Collection variables.RuleVariable
	Remove     bool
}

// Control is one ctl, in the engine's own numbering of what it does.
type Control struct {
	Kind       int
	Value      string
	Collection variables.RuleVariable
	Key        string
}

// SideEffects tells that a match of this rule alone, before its links are known, changes something that other rules could
// read: a variable, a captured group, the engine's settings.
func (r *Rule) SideEffects() bool {
	return r.Actions.Capture || len(r.Actions.Sets) > 0 || len(r.Actions.Controls) > 0 || len(r.Actions.Other) > 0
}
