package seclang

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Exception lets one rule be, as narrowly as it can be said: in one operation, for one argument, until a day.
type Exception struct {
	// Number of the rule, as events name it, such as 942100.
	Rule int `yaml:"rule"`
	// Name of the argument that the rule does not look at, such as comment. In json.items.*.note the * is any place of a list; header:NAME and cookie:NAME name the others. Without it, the rule is off.
	Argument string `yaml:"argument"`
	// Operation for which it holds. Without it, all of the API.
	Operation string `yaml:"operation"`
	// With detect, the rule goes on looking and is counted, but adds nothing to a denial. Without it, the rule does not look.
	Mode Mode `yaml:"mode"`
	// Who answers for it.
	Author string `yaml:"author"`
	// Why the rule errs here, in words for whoever reviews it.
	Reason string `yaml:"reason"`
	// Day on which it ends, such as 2027-03-31. From then on it is no longer applied, and check says so.
	Until time.Time `yaml:"until"`
}

// Mode is what is left of a rule where an exception holds. The zero Mode leaves nothing.
type Mode string

// Detect counts and does not deny.
const Detect Mode = "detect"

// Values lists the words.
func (Mode) Values() []string { return []string{string(Detect)} }

// Holds tells whether the exception is applied at that time.
func (e Exception) Holds(now time.Time) bool { return now.Before(e.Until) }

// String says an exception as a document says it, ready to paste.
func (e Exception) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{rule: %d", e.Rule)
	for _, p := range [][2]string{{"argument", e.Argument}, {"operation", e.Operation}, {"mode", string(e.Mode)}, {"author", e.Author}, {"reason", e.Reason}} {
		if p[1] != "" {
			b.WriteString(", " + p[0] + ": " + scalar(p[1]))
		}
	}
	if !e.Until.IsZero() {
		b.WriteString(", until: " + e.Until.Format(time.DateOnly))
	}
	return b.String() + "}"
}

// scalar writes a text so that YAML reads it as text inside of a mapping.
func scalar(s string) string {
	if regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`).MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off"}, strings.ToLower(s)) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// Longest is how far ahead an exception may end.
const Longest = 366 * 24 * time.Hour

// Exceptions are the exceptions of one API, compiled. The zero Exceptions are none.
type Exceptions struct{ list []compiled }

// compiled is one exception with the places it covers.
type compiled struct {
	Exception
	places []variables.RuleVariable
	key    string         // lower case; not looked at when there is a pattern
	shape  *regexp.Regexp // for a key with a place of a list in it
}

// NewExceptions checks exceptions; paths of mistakes begin with the number of the exception, such as "[0].rule". Known tells
// which rules there are, operations which operations; nil admits all rules.
func NewExceptions(list []Exception, known func(rule int) bool, operations []string, now time.Time) (*Exceptions, error) {
	var m mistake.List
	x := &Exceptions{}
	for i, e := range list {
		m.Under(fmt.Sprintf("[%d]", i), e.check(known, operations, now))
		c, err := e.compile()
		if err != nil {
			m.Add(fmt.Sprintf("[%d].argument", i), "argument: json.items.*.note", "%v", err)
		}
		x.list = append(x.list, c)
	}
	return x, m.Err()
}

// keepsBooks tells whether a rule sets, adds up or decides, and judges no request by itself: Gatehouse's own, and of the core
// rules the families 900, 901, 905, 949, 959 and 980.
func keepsBooks(rule int) bool {
	return rule >= 100000 && rule < 100100 || rule >= 900000 && rule < 911000 || rule >= 949000 && rule < 950000 || rule >= 959000 && rule < 1000000
}

func (e Exception) check(known func(int) bool, operations []string, now time.Time) error {
	var m mistake.List
	switch {
	case keepsBooks(e.Rule):
		m.Add("rule", "942100", "rule %d judges no request by itself: it sets, adds up or decides; except the rules that events name", e.Rule)
	case e.Rule <= 0 || known != nil && !known(e.Rule):
		m.Add("rule", "942100", "there is no rule %d", e.Rule)
	}
	if e.Operation != "" && !slices.Contains(operations, e.Operation) {
		m.Add("operation", mistake.Nearest(e.Operation, operations), "there is no operation %q", e.Operation)
	}
	if e.Mode != "" && e.Mode != Detect {
		m.Add("mode", "mode: detect", "%q is no mode", string(e.Mode))
	}
	if strings.TrimSpace(e.Author) == "" {
		m.Add("author", "author: NAME", "an exception needs somebody who answers for it")
	}
	if strings.TrimSpace(e.Reason) == "" {
		m.Add("reason", `reason: "why the rule errs here"`, "an exception needs a reason")
	}
	if e.Until.IsZero() {
		m.Add("until", "until: "+now.AddDate(0, 3, 0).Format(time.DateOnly), "an exception ends on a day")
	} else if e.Until.Sub(now) > Longest {
		m.Add("until", "until: "+now.AddDate(1, 0, 0).Format(time.DateOnly), "an exception ends within a year, and may then be written again")
	}
	return m.Err()
}

// compile finds the places that an argument names.
func (e Exception) compile() (compiled, error) {
	c := compiled{Exception: e}
	kind, name, named := strings.Cut(e.Argument, ":")
	switch {
	case e.Argument == "":
		return c, nil
	case named && kind == "header":
		c.places = []variables.RuleVariable{variables.RequestHeaders}
	case named && kind == "cookie":
		c.places = []variables.RuleVariable{variables.RequestCookies}
	default:
		c.places = []variables.RuleVariable{variables.Args, variables.ArgsGet, variables.ArgsPost, variables.ArgsPath}
		name = e.Argument
	}
	if name == "" || strings.TrimSpace(name) != name || strings.ContainsAny(name, "\x00\r\n") {
		return c, fmt.Errorf("%q is no name of an argument, header:NAME or cookie:NAME", e.Argument)
	}
	c.key = strings.ToLower(name)
	if !strings.HasPrefix(c.key, "json.") || !strings.Contains(c.key, "*") {
		return c, nil
	}
	parts := strings.Split(c.key, ".")
	for i, p := range parts {
		if parts[i] = regexp.QuoteMeta(p); p == "*" {
			parts[i] = "[0-9]+"
		} else if strings.Contains(p, "*") {
			return c, fmt.Errorf("in %q a * must stand alone between two dots: it is a place of a list", e.Argument)
		}
	}
	if parts[1] == "[0-9]+" && len(parts) == 2 {
		return c, fmt.Errorf("%q is every value of the body; name a member", e.Argument)
	}
	c.shape = regexp.MustCompile(`\A` + strings.Join(parts, `\.`) + `\z`)
	return c, nil
}

// Applied are the exceptions that hold for one request.
type Applied []compiled

// For returns what holds for an operation at a time.
func (x *Exceptions) For(operation string, now time.Time) Applied {
	var a Applied
	for _, c := range x.list {
		if c.Holds(now) && (c.Operation == "" || c.Operation == operation) {
			a = append(a, c)
		}
	}
	return a
}

// Expired are the exceptions that are no longer applied, and Ending those that end within a time: for check to say aloud.
func (x *Exceptions) Expired(now time.Time) []Exception {
	return x.where(func(e Exception) bool { return !e.Holds(now) })
}

// Ending are the exceptions that hold now and not any more after that time.
func (x *Exceptions) Ending(now time.Time, within time.Duration) []Exception {
	return x.where(func(e Exception) bool { return e.Holds(now) && !e.Holds(now.Add(within)) })
}

func (x *Exceptions) where(is func(Exception) bool) (list []Exception) {
	for _, c := range x.list {
		if is(c.Exception) {
			list = append(list, c.Exception)
		}
	}
	return list
}

// Remover is what exceptions use of a transaction of Coraza.
type Remover interface {
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// Apply takes from a transaction all that the exceptions except: what this transaction denies is to be denied.
func (a Applied) Apply(tx Remover) { a.apply(tx, true) }

// ApplyOff takes only what is not to be looked at at all; what is in detection stays, and its matches count.
func (a Applied) ApplyOff(tx Remover) { a.apply(tx, false) }

func (a Applied) apply(tx Remover, detection bool) {
	for _, c := range a {
		if c.Mode == Detect && !detection {
			continue
		}
		if c.Argument == "" {
			tx.RemoveRuleByID(c.Rule)
		}
		for _, v := range c.places {
			if c.shape != nil {
				tx.RemoveRuleTargetByID(c.Rule, v, "", c.shape)
			} else {
				tx.RemoveRuleTargetByID(c.Rule, v, c.key, nil)
			}
		}
	}
}

// Off are those that leave something out; the others are in detection.
func (a Applied) Off() (off Applied) {
	for _, c := range a {
		if c.Mode != Detect {
			off = append(off, c)
		}
	}
	return off
}

// Detects tells whether a rule is in detection only here: then a denial with ApplyOff is judged again with Apply.
func (a Applied) Detects() bool {
	return slices.ContainsFunc(a, func(c compiled) bool { return c.Mode == Detect })
}

// Covers tells whether a rule does not look at a key of a variable, such as "ARGS" or "REQUEST_HEADERS", under Apply. It
// answers for one collection as the engine does: what ARGS leaves out, ARGS_POST leaves out for itself.
func (a Applied) Covers(rule int, variable, key string) bool {
	key = strings.ToLower(key)
	for _, c := range a {
		if c.Rule != rule {
			continue
		}
		if c.Argument == "" {
			return true
		}
		for _, v := range c.places {
			if v.Name() == variable && (c.shape != nil && c.shape.MatchString(key) || c.shape == nil && c.key == key) {
				return true
			}
		}
	}
	return false
}
