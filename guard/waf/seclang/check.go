package seclang

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Set is what the engine will be given, in this order. A nil part is empty.
type Set struct {
	Before *Files // the operator's, ahead of the core rules: exclusions that are decided per request
	Core   *Files // the core rule set and Gatehouse's own rules; known, not judged
	After  *Files // the operator's, behind the core rules: own rules, SecRuleRemove and SecRuleUpdate
	Phases int    // the last phase that is run: 2 when answers are not inspected, else 4; 0 is 2
}

// Report is what Check found, each with file, line and the nearest equivalent. The three lists are in the order of the files.
type Report struct {
	Refused  mistake.List // what the engine ignores, can't compile, or reads in another way than it is meant
	Insecure mistake.List // what switches inspection off; legal with accept_risk
	Notes    mistake.List // what Gatehouse does in another place; left out by Text and told
}

// Err returns what stands against these files: all that is refused, and what is insecure unless that risk is accepted. The
// place stands in the text of each mistake, since it is a place in another file than the document.
func (r Report) Err(accepted bool) error {
	list := r.Refused
	if !accepted {
		for _, m := range r.Insecure {
			m.What += "; this needs accept_risk"
			list = append(list[:len(list):len(list)], m)
		}
	}
	return placed(list).Err()
}

// placed moves the place of each mistake into its text.
func placed(list mistake.List) mistake.List {
	var moved mistake.List
	for _, m := range list {
		moved = append(moved, mistake.Mistake{What: fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What), Write: m.Write})
	}
	return moved
}

// check is one run of Check.
type check struct {
	Report
	set   Set
	table map[string]entry
	model *model
	seen  map[int]place  // ids of rules that came by
	memo  map[string]use // what the engine keeps compiled forms under
	own   *Files         // what is being judged
	here  int            // place in the order of rules of the model
	data  map[string][]string
	phase map[int]place // SecDefaultAction

	release bool // a core rule set is judged, and not an operator's files
	books   bool // the rule of it that is judged keeps scores
}

// Check judges the operator's files of a set, against all that is in it.
func Check(set Set) Report {
	if set.Phases == 0 {
		set.Phases = 2
	}
	c := newCheck(set)
	c.run()
	return c.Report
}

func newCheck(set Set) *check {
	return &check{set: set, table: directives(), model: newModel(set), seen: map[int]place{}, memo: map[string]use{}, phase: map[int]place{}}
}

func (c *check) run() {
	c.defaults()
	for _, part := range []*Files{c.set.Before, c.set.Core, c.set.After} {
		if part == nil {
			continue
		}
		c.own, c.data = part, map[string][]string{}
		if part == c.set.Core {
			c.pass(part)
			continue
		}
		c.files(part)
	}
}

func at(d Directive) place { return place{d.File, d.Line, d.raw} }

func (c *check) refuse(d Directive, write, what string, args ...any) {
	c.Refused = append(c.Refused, at(d).mistake(write, what, args...))
}

func (c *check) insecure(d Directive, write, what string, args ...any) {
	c.Insecure = append(c.Insecure, at(d).mistake(write, what, args...))
}

// defaults are the default actions and the ids that the core rules bring.
func (c *check) defaults() {
	if c.set.Core == nil {
		return
	}
	for _, d := range c.set.Core.Directives {
		if r, err := rule(d); err == nil {
			if id, ok := r.find("id"); ok {
				n, _ := strconv.Atoi(id)
				c.seen[n] = at(d)
			}
		}
		if d.Name == "secdefaultaction" {
			if phase, ok := defaultPhase(d); ok {
				c.phase[phase] = at(d)
			}
		}
	}
}

// defaultPhase is the phase for which a SecDefaultAction holds.
func defaultPhase(d Directive) (int, bool) {
	actions, err := SplitActions(d.Args)
	value, ok := (&Rule{Actions: actions}).find("phase")
	return phaseOf(value), err == nil && ok
}

// pass goes over the core rules without judging them.
func (c *check) pass(f *Files) {
	for _, d := range f.Directives {
		if isRule(d) {
			c.here++
		}
		if r, err := rule(d); err == nil {
			c.remember(d, r)
		}
	}
}

func isRule(d Directive) bool {
	return d.Name == "secrule" || d.Name == "secaction" || d.Name == "secmarker"
}

var errNoRule = errors.New("this is no rule")

// rule takes a SecRule or SecAction apart.
func rule(d Directive) (Rule, error) {
	if d.rule != nil {
		return *d.rule, nil
	}
	if d.Name != "secrule" && d.Name != "secaction" {
		return Rule{}, errNoRule
	}
	if d.Name == "secaction" {
		actions, err := SplitActions(unquote(d.Args))
		return Rule{Actions: actions}, err
	}
	return SplitRule(d.Args)
}

// files judges one part.
func (c *check) files(f *Files) {
	for i := 0; i < len(f.Directives); i++ {
		d := f.Directives[i]
		if isRule(d) {
			c.here++
		}
		e, known := c.table[d.Name]
		switch {
		case !known:
			c.unknown(d)
		case e.effect == ours:
			c.Notes = append(c.Notes, at(d).mistake(e.write, "%s is left to Gatehouse: %s", e.name, e.what))
		case c.release && d.Name == "seccollectiontimeout": // of collections that no rule of a release reads
		case e.effect != works:
			c.refuse(d, e.write, "%s: %s", e.name, e.what)
		case d.Name == "secrule" || d.Name == "secaction":
			unit := chain(f.Directives[i:])
			c.unit(unit)
			i += len(unit) - 1
			c.here += len(unit) - 1
		default:
			c.directive(d)
		}
	}
}

// directive judges what is no rule and may work.
func (c *check) directive(d Directive) {
	c.books = false
	switch d.Name {
	case "secmarker":
		c.marker(d)
	case "secdataset":
		c.dataset(d)
	case "secdefaultaction":
		c.defaultAction(d)
	case "secruleremovebyid", "secruleremovebytag":
		c.removal(d)
	case "secruleupdatetargetbyid", "secruleupdatetargetbytag":
		c.updateTarget(d)
	case "secruleupdateactionbyid":
		c.updateAction(d)
	case "secargumentslimit":
		if n, err := strconv.Atoi(d.Args); err != nil || n <= 0 {
			c.refuse(d, "SecArgumentsLimit 1000", "%q is no number of arguments", d.Args)
		}
	default:
		c.setting(d)
	}
}

func (c *check) marker(d Directive) {
	if d.Args == "" || unquote(d.Args) != d.Args || d.Args != strings.TrimSpace(d.Args) {
		c.refuse(d, "SecMarker END-OF-CHECK", "%q is no name of a marker that a skipAfter could name", d.Args)
	}
}

func (c *check) dataset(d Directive) {
	name, block, ok := strings.Cut(d.Args, " ")
	if !ok || !strings.HasPrefix(strings.TrimSpace(block), "`") {
		c.refuse(d, "SecDataset words `\nfirst\nsecond\n`", "a dataset is a name and a block between backticks")
		return
	}
	if _, twice := c.data[name]; twice {
		c.refuse(d, "", "dataset %s is there already; the engine would forget the first", name)
	}
	c.data[name] = words(strings.Trim(block, "`"))
	if len(c.data[name]) == 0 {
		c.refuse(d, "", "dataset %s is empty", name)
	}
}

// words are the lines of a list as the engine takes them.
func words(text string) (list []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}

// defaultAction refuses a second one for a phase: the engine says so only at the next rule, and then of that rule.
func (c *check) defaultAction(d Directive) {
	actions, err := SplitActions(d.Args)
	if err != nil {
		c.refuse(d, "", "%v", err)
		return
	}
	phase, ok := defaultPhase(d)
	if p, twice := c.phase[phase]; twice && ok {
		c.refuse(d, "", "the core rules set the default of phase %d in %s:%d, and the engine takes one; write deny in each rule that is to deny", phase, p.file, p.line)
		return
	}
	if !ok || phase == 0 {
		c.refuse(d, `SecDefaultAction "phase:3,log,pass"`, "a default names its phase")
		return
	}
	c.phase[phase] = at(d)
	before := len(c.Refused)
	for _, a := range actions {
		c.action(d, &Rule{}, a)
		if c.release && disruptive(a.Name) && a.Name != "pass" {
			c.refuse(d, "pass", "the core rules add up scores, which needs pass as the default: with %s each of them would deny by itself", a.Name)
		}
	}
	if len(c.Refused) > before {
		return
	}
	c.compile(d, `SecDefaultAction "`+d.Args+`"`+"\n"+`SecAction "id:1,phase:1,pass"`, nil)
}
