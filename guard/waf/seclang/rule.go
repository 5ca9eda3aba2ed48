package seclang

import (
	"errors"
	"fmt"
	"strings"
)

// Rule is a SecRule or SecAction, taken apart as the engine does it. A SecAction has neither targets nor operator.
type Rule struct {
	Targets  []Target
	Operator Operator
	Actions  []Action
}

// Target is what a rule looks at, or with Not what it leaves out.
type Target struct {
	Name  string // as written, such as "REQUEST_HEADERS"
	Key   string // after the colon; an expression stands between slashes
	Count bool   // & before it: how many there are
	Not   bool   // ! before it
}

// Operator is the test of a rule.
type Operator struct {
	Name string // without @, such as "rx"
	Not  bool
	Args string
	bare bool // an expression without @rx before it
}

// Action is one action, such as t:lowercase.
type Action struct {
	Name  string // lower case
	Value string // without quotes around it
}

// find returns the value of the last action of that name, which is the one that counts.
func (r *Rule) find(name string) (value string, ok bool) {
	for _, a := range r.Actions {
		if a.Name == name {
			value, ok = a.Value, true
		}
	}
	return value, ok
}

// SplitRule takes the arguments of a SecRule apart.
func SplitRule(args string) (Rule, error) {
	targets, rest, ok := strings.Cut(strings.Trim(args, " "), " ")
	rest = strings.TrimLeft(rest, " ")
	if !ok || rest == "" || rest[0] != '"' {
		return Rule{}, errors.New(`a rule reads SecRule TARGETS "@operator ..." "actions"`)
	}
	test, rest, err := quoted(rest)
	if err != nil {
		return Rule{}, err
	}
	var r Rule
	if r.Targets, err = splitTargets(targets); err != nil {
		return Rule{}, err
	}
	r.Operator = splitOperator(strings.ReplaceAll(test, `\"`, `"`))
	rest = strings.TrimLeft(rest, " ")
	if rest == "" {
		return r, nil
	}
	if len(rest) < 2 || rest[0] != '"' || rest[len(rest)-1] != '"' {
		return Rule{}, errors.New("the actions must stand between double quotes, with nothing behind them")
	}
	r.Actions, err = SplitActions(rest[1 : len(rest)-1])
	return r, err
}

// quoted cuts what stands between the first double quote and the next one that no backslash takes away.
func quoted(s string) (inner, rest string, err error) {
	slashes := 0
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			slashes++
			continue
		case s[i] == '"' && slashes%2 == 0:
			return s[1:i], s[i+1:], nil
		}
		slashes = 0
	}
	return "", "", errors.New("the operator's double quotes are never closed")
}

// splitOperator reads "@name args", "!@name args" or an expression of @rx.
func splitOperator(s string) Operator {
	var o Operator
	name, args, _ := strings.Cut(s, " ")
	switch {
	case strings.HasPrefix(s, "@"):
		o.Name = strings.TrimSpace(name)[1:]
	case strings.HasPrefix(s, "!@"):
		o.Name, o.Not = strings.TrimSpace(name)[1:], true
		if len(o.Name) > 1 { // the engine looks for an operator called "!@" otherwise
			o.Name = o.Name[1:]
		}
	case strings.HasPrefix(s, "!"):
		o.Name, o.Not, o.bare, args = "rx", true, true, s[1:]
	default:
		o.Name, o.bare, args = "rx", true, s
	}
	o.Args = strings.TrimSpace(args)
	return o
}

// splitTargets reads NAME|NAME:key|!NAME:key|&NAME, with keys that may be expressions between slashes or stand in quotes.
// Some texts that the engine reads in a way nobody means are errors here.
func splitTargets(s string) ([]Target, error) {
	var list []Target
	for s != "" {
		t, rest, err := oneTarget(s)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		if rest == "|" {
			return nil, errors.New("the list of targets ends with |")
		}
		s = strings.TrimPrefix(rest, "|")
	}
	if len(list) == 0 {
		return nil, errors.New("the rule names no target")
	}
	return list, nil
}

// oneTarget reads up to the next | or the end.
func oneTarget(s string) (t Target, rest string, err error) {
	for s != "" && (s[0] == '!' || s[0] == '&') {
		t.Not, t.Count = t.Not || s[0] == '!', t.Count || s[0] == '&'
		s = s[1:]
	}
	end := strings.IndexAny(s, "|:")
	if end < 0 {
		end = len(s)
	}
	t.Name, s = s[:end], s[end:]
	if strings.ContainsAny(t.Name, "!&'\"/") || t.Name == "" {
		return t, "", fmt.Errorf("%q is no target", t.Name)
	}
	if s == "" || s[0] == '|' {
		return t, s, nil
	}
	s = s[1:]
	if upper := t.Name; upper == "XML" || upper == "JSON" { // a path, not an expression
		t.Key, rest = cutTarget(s)
		return t, rest, nil
	}
	return t.key(s)
}

func cutTarget(s string) (head, tail string) {
	if i := strings.IndexByte(s, '|'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// key reads what follows the colon.
func (t Target) key(s string) (Target, string, error) {
	quote := strings.HasPrefix(s, "'")
	if quote {
		s = s[1:]
	}
	if !strings.HasPrefix(s, "/") {
		key, rest := cutTarget(s)
		if quote || strings.ContainsAny(key, "'/\"") || key == "" {
			return t, "", fmt.Errorf("%s:%s: this key is read by the engine in another way than it is written; put an expression between slashes: %s:/^...$/", t.Name, key, t.Name)
		}
		t.Key = key
		return t, rest, nil
	}
	end := closing(s)
	if end < 0 {
		return t, "", fmt.Errorf("the expression of %s:%s is never closed", t.Name, s)
	}
	t.Key, s = s[:end+1], s[end+1:]
	if quote {
		if !strings.HasPrefix(s, "'") {
			return t, "", fmt.Errorf("the quote of %s:'%s is never closed", t.Name, t.Key)
		}
		s = s[1:]
	}
	if s != "" && s[0] != '|' || t.Key == "//" {
		return t, "", fmt.Errorf("%s:%s%s: nothing may follow the expression of a key, and it can't be empty", t.Name, t.Key, s)
	}
	return t, s, nil
}

// closing is the place of the slash that ends the expression which begins with one.
func closing(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return i
		}
	}
	return -1
}

// SplitActions reads a comma separated list of actions, as in the third part of a SecRule.
func SplitActions(s string) ([]Action, error) {
	var list []Action
	begin, colon, inside := 0, -1, false
	add := func(end int) {
		key, value := s[begin:end], ""
		if colon >= 0 {
			key, value = s[begin:colon], s[colon+1:end]
		}
		list = append(list, Action{strings.ToLower(strings.TrimSpace(key)), unquote(strings.TrimSpace(value))})
		begin, colon = end+1, -1
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case s[i-1] == '\\':
		case c == '\'':
			inside = !inside
		case inside:
		case c == ':' && colon < 0:
			colon = i
		case c == ',':
			add(i)
		}
	}
	add(len(s))
	if inside {
		return list, errors.New(`a single quote is never closed, so the engine takes all that follows for one value; write \' inside a text`)
	}
	return list, nil
}

// unquote takes one pair of equal quotes off.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
