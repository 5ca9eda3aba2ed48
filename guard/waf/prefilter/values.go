package prefilter

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// Values are what the rules read of a request; a view.View is that.
type Values interface {
	Of(variables.RuleVariable) []view.Pair   // what rules of phase 2 read
	Head(variables.RuleVariable) []view.Pair // what rules of phase 1 read
	TooMany() bool                           // the request holds more than the engine takes
}

// base is where the values of a variable come from: a variable of the view, its values or its keys.
type base struct {
	variable variables.RuleVariable
	names    bool
}

// basesOf tells what the engine joins into a variable.
func basesOf(v variables.RuleVariable) []base {
	switch v {
	case variables.Args:
		return []base{{variables.ArgsGet, false}, {variables.ArgsPost, false}, {variables.ArgsPath, false}}
	case variables.ArgsNames:
		return []base{{variables.ArgsGet, true}, {variables.ArgsPost, true}, {variables.ArgsPath, true}}
	case variables.ArgsGetNames:
		return []base{{variables.ArgsGet, true}}
	case variables.ArgsPostNames:
		return []base{{variables.ArgsPost, true}}
	case variables.RequestHeadersNames:
		return []base{{variables.RequestHeaders, true}}
	case variables.RequestCookiesNames:
		return []base{{variables.RequestCookies, true}}
	}
	return []base{{v, false}}
}

// isInternal tells that only rules write the variable.
func isInternal(v variables.RuleVariable) bool {
	switch v {
	case variables.TX, variables.MatchedVar, variables.MatchedVarName, variables.MatchedVars, variables.MatchedVarsNames, variables.Rule, variables.HighestSeverity:
		return true
	}
	return false
}

// takes tells whether a target reads the value of a key. Where the engine might or might not, it does.
func takes(t *secrule.Target, key string) bool {
	if t.KeyPattern == nil && t.Key != "" && !isCalled(key, t.Key) {
		return false
	}
	if t.KeyPattern == nil && len(t.Except) == 0 {
		return true
	}
	low := strings.ToLower(key)
	if t.KeyPattern != nil && !t.KeyPattern.MatchString(key) && !t.KeyPattern.MatchString(low) {
		return false
	}
	return !slices.ContainsFunc(t.Except, func(s secrule.Selector) bool {
		if s.KeyPattern != nil {
			return s.KeyPattern.MatchString(low)
		}
		return s.Key == "" || s.Key == low
	})
}

// isCalled tells that a key is a name but for the case of its letters.
func isCalled(key, name string) bool {
	if isASCII(key) && isASCII(name) {
		return strings.EqualFold(key, name)
	}
	return strings.ToLower(key) == strings.ToLower(name) //nolint:staticcheck // EqualFold differs about some letters
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// takesJust tells whether a target reads the value of a key, exactly as the engine does when rules don't tell letters of
// arguments apart: its maps have keys in lower case, patterns are asked of those, and names are looked up as they are written.
func takesJust(t *secrule.Target, key string) bool {
	switch {
	case t.KeyPattern != nil && !t.KeyPattern.MatchString(strings.ToLower(key)):
		return false
	case t.KeyPattern == nil && t.Key != "" && basesOf(t.Variable)[0].names && t.Key != strings.ToLower(key):
		return false
	}
	return takes(t, key)
}

// takesOthers tells whether a target reads the value of a key that neither it nor its exceptions name.
func takesOthers(t *secrule.Target) bool {
	return t.Key == "" && t.KeyPattern == nil && !slices.Contains(t.Except, secrule.Selector{})
}

// Scope says which values of a rule are left out for this request, beside what the rules say: exceptions of the operator.
type Scope interface {
	Off(rule int) bool
	Except(rule int, variable variables.RuleVariable, key string) bool
}

// Never says which rules can't match a value, whatever they do with others: proved by what is known of the value. Rules are
// told by their place in the list that the filter was made of.
type Never interface {
	Has(place int) bool
	Covers(places []uint64) bool // all of these
	Len() int
}

// Find gives what is known of a value of ARGS_GET, ARGS_POST, ARGS_PATH, REQUEST_COOKIES or REQUEST_HEADERS, and of its key.
type Find func(variable variables.RuleVariable, key, text string) (value, name Never)

// nothing is the scope without exceptions.
type nothing struct{}

func (nothing) Off(int) bool                                    { return false }
func (nothing) Except(int, variables.RuleVariable, string) bool { return false }

// each visits the values that a target of a rule reads in a phase, until one makes it stop.
func each(v Values, phase int, t *secrule.Target, rule int, s Scope, visit func(text string) (more bool)) bool {
	values := v.Of
	if phase == 1 {
		values = v.Head
	}
	for _, p := range values(t.Variable) {
		if takes(t, p.Key) && !s.Except(rule, t.Variable, p.Key) && !visit(p.Text) {
			return false
		}
	}
	return true
}

// count is the number of those values, as the engine writes it.
func count(v Values, phase int, t *secrule.Target, rule int, s Scope) string {
	values, n := v.Of, 0
	if phase == 1 {
		values = v.Head
	}
	for _, p := range values(t.Variable) {
		if takesJust(t, p.Key) && !s.Except(rule, t.Variable, p.Key) {
			n++
		}
	}
	return strconv.Itoa(n)
}
