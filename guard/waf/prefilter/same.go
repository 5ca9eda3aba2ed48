package prefilter

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// The engine's numbers of those ctl that are followed here: the first three leave targets out of rules, which can only make
// rules match less; the others do the same whenever they run. Any other changes which rules run.
const (
	leaveOutByID  = 1
	leaveOutByTag = 2
	leaveOutByMsg = 3
	bodyVariable  = 6
	bodyProcessor = 15
	removeByID    = 10
	removeByMsg   = 11
	removeByTag   = 12
)

// flows tells why a rule that matched changes the way of the engine in a manner that is not followed here.
func flows(r *secrule.Rule) error {
	for _, p := range whole(r) {
		for _, c := range p.Actions.Controls {
			switch c.Kind {
			case leaveOutByID, leaveOutByTag, leaveOutByMsg, bodyVariable, bodyProcessor:
			default:
				return fmt.Errorf("rule %d changes how the engine works", r.ID)
			}
		}
		if len(p.Actions.Other) > 0 {
			return fmt.Errorf("rule %d does what is not known: %s", r.ID, strings.Join(p.Actions.Other, ", "))
		}
	}
	return nil
}

// bodyText is the one variable of TX that the request writes, not a rule.
const bodyText = "json_request_body"

// odd tells why the rules that are reached can't be followed: one reads what an earlier match left behind, or counts
// what a match leaves out.
func (p *plan) odd(l *Level, reached []bool, matched map[int]int) error {
	out, err := p.leftOut(l, reached, matched)
	for i, r := range p.filter.rules {
		if !reached[i] || err != nil {
			continue
		}
		for n, x := range whole(r) {
			for i := range x.Targets {
				t := &x.Targets[i]
				switch {
				case n == 0 && isInternal(t.Variable) && t.Variable != variables.TX:
					return fmt.Errorf("rule %d reads what another has matched", r.ID)
				case t.Variable == variables.TX && takes(t, bodyText) || slices.Contains(p.filter.parts[x].uses, bodyText):
					return fmt.Errorf("rule %d reads the body in a variable of TX", r.ID)
				case out[t.Variable] && (t.Count || n == 0 && l.common[r] && t.Variable == variables.RequestHeadersNames):
					return fmt.Errorf("rule %d counts what another leaves out", r.ID)
				}
			}
		}
	}
	return err
}

// leftOut gives the variables of which some rule leaves values out, among those that match or may, for all requests of the
// class alike.
func (p *plan) leftOut(l *Level, reached []bool, matched map[int]int) (map[variables.RuleVariable]bool, error) {
	out := map[variables.RuleVariable]bool{}
	for i, r := range p.filter.rules {
		switch {
		case !reached[i]:
			continue
		case matched[r.ID] > 0, l.common[r]:
		case !onlyInternal(r):
			continue
		default:
			if matches, known := p.ask(r, order(r, i), nil, new(Work)); known && !matches {
				continue
			}
		}
		if err := flows(r); err != nil {
			return nil, err
		}
		for _, x := range whole(r) {
			for _, c := range x.Actions.Controls {
				out[c.Collection] = out[c.Collection] || c.Kind <= leaveOutByMsg
			}
		}
	}
	return out, nil
}

// varies tells why a rule might do something else for another request though its tests read nothing that differs: an
// argument of an operator or what is written holds a part of the request, or a link reads the value that the rule matched.
func (f *Filter) varies(r *secrule.Rule, tests []*secrule.Rule) error {
	for n, x := range tests {
		if x.Test != nil && !f.parts[x].safe {
			return fmt.Errorf("rule %d tests with @%s %s, which may read more of the request", r.ID, x.Test.Name, x.Test.Argument)
		}
		for i := range x.Targets {
			if v := x.Targets[i].Variable; n > 0 && isInternal(v) && v != variables.TX {
				return fmt.Errorf("rule %d reads %s in its chain", r.ID, v.Name())
			}
		}
		for _, s := range x.Actions.Sets {
			for _, m := range macro.FindAllStringSubmatch(s.Key+s.Value, -1) {
				name, key, _ := strings.Cut(strings.ToLower(m[1]), ".")
				if (name != "tx" || key == bodyText) && m[1] != "rule.id" {
					return fmt.Errorf("rule %d writes %s to TX", r.ID, m[0])
				}
			}
		}
	}
	return nil
}

// leaves tells that a match of this test alone leaves something behind that other rules could read: what its actions do, or
// what an operator does that is not known to do nothing but answer. Captured groups count only if somebody might read them.
func (f *Filter) leaves(x *secrule.Rule) bool {
	a := x.Actions
	return len(a.Sets)+len(a.Controls)+len(a.Other) > 0 || a.Capture && f.grouped || x.Test != nil && !harmless[strings.ToLower(x.Test.Name)]
}

// readsGroups tells that some rule reads captured groups that another one may have left behind: it has not captured so many
// before in its own chain.
func (f *Filter) readsGroups() bool {
	for _, r := range f.rules {
		captured := -1 // the highest group that is surely written
		for _, x := range whole(r) {
			said := ""
			if x.Test != nil {
				said = x.Test.Argument
			}
			for _, t := range x.Targets {
				if t.Variable == variables.TX {
					if t.Key == "" || t.KeyPattern != nil && anyGroup(t.KeyPattern) {
						return true
					}
					said += "%{tx." + t.Key + "}"
				}
			}
			if groupIn(said) > captured {
				return true
			}
			if x.Actions.Capture && x.Test != nil && !x.Test.Negated {
				captured = max(captured, surely(x.Test))
			}
			said = ""
			for _, s := range x.Actions.Sets {
				said += s.Key + s.Value
			}
			if groupIn(said) > captured {
				return true
			}
		}
	}
	return false
}

// surely is the highest group that a test writes whenever it matches; -1 for none.
func surely(t *secrule.Test) int {
	switch strings.ToLower(t.Name) {
	case "rx":
		if re, err := syntax.Parse(t.Argument, syntax.Perl); err == nil {
			return min(re.MaxCap(), 8)
		}
	case "pm", "pmfromfile", "pmf", "detectsqli":
		return 0
	}
	return -1
}

// groupIn is the highest captured group that a text names in a macro; -1 for none.
func groupIn(text string) int {
	most := -1
	for _, m := range macro.FindAllStringSubmatch(text, -1) {
		name, key, _ := strings.Cut(strings.ToLower(m[1]), ".")
		if n, err := strconv.Atoi(key); err == nil && name == "tx" {
			most = max(most, n)
		}
	}
	return most
}

// anyGroup tells that a pattern of names takes one of a captured group.
func anyGroup(p *regexp.Regexp) bool {
	for n := range 10 {
		if p.MatchString(strconv.Itoa(n)) {
			return true
		}
	}
	return false
}

// same tells why a rule that matched might do something else for another request of the class: it reads what the class does
// not have in common.
func (l *Level) same(r *secrule.Rule) error {
	if err := l.filter.varies(r, whole(r)); err != nil {
		return err
	}
	for n, x := range whole(r) {
		for _, t := range x.Targets {
			if isInternal(t.Variable) || n == 0 && l.common[r] {
				continue
			}
			if !slices.ContainsFunc(l.inputs, func(in input) bool {
				return in.rule == nil && in.target.Variable == t.Variable && (in.target.Key == "" || in.target.Key == t.Key && t.KeyPattern == nil)
			}) {
				return fmt.Errorf("rule %d matched, and reads %s, which differs between requests", r.ID, t.Variable.Name())
			}
		}
	}
	return nil
}
