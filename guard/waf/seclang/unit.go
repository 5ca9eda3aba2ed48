package seclang

import (
	"strconv"
	"strings"
)

// chain is the rule that stands first, with the links of its chain.
func chain(list []Directive) []Directive {
	for i, d := range list {
		if d.Name != "secrule" && d.Name != "secaction" || d.File != list[0].File {
			return list[:max(i, 1)]
		}
		r, err := rule(d)
		_, more := r.find("chain")
		if err != nil {
			more = strings.Contains(d.raw, "chain") // so that its links are not taken for rules without an id
		}
		if !more {
			return list[:i+1]
		}
	}
	return list
}

// unit judges a rule with its links.
func (c *check) unit(unit []Directive) {
	before := len(c.Refused)
	head, split := Rule{}, true
	for i, d := range unit {
		r, err := rule(d)
		if err != nil {
			c.refuse(d, "", "%v", err)
			split = false
			continue
		}
		if i == 0 {
			head, c.books = r, c.release && isBook(&r)
			c.head(d, &r)
		} else {
			c.link(d, &r)
		}
		c.parts(d, &head, &r)
	}
	if _, blocks := head.find("block"); blocks && !scores(unit) {
		c.refuse(unit[0], "deny", "block means pass, since the core rules set it so and add up scores; a rule that is to deny says deny")
	}
	last := unit[len(unit)-1]
	if r, err := rule(last); err == nil {
		if _, open := r.find("chain"); open {
			c.refuse(last, "", "the chain is not finished: the next directive of this file is no rule, so the engine would go without the condition that is missing, or take a rule of another file for it")
		}
	}
	if split && len(c.Refused) == before && !c.release { // a release is compiled as a whole
		text, data := c.own.unitText(unit, c)
		c.compile(unit[0], text, data)
	}
}

// head judges what the first rule of a chain, or a single rule, must have.
func (c *check) head(d Directive, r *Rule) {
	value, ok := r.find("id")
	id, err := strconv.Atoi(value)
	switch {
	case !ok:
		c.refuse(d, "id:10001", "the rule has no id")
	case err != nil || id <= 0:
		c.refuse(d, "id:10001", "%q is no id of a rule", value)
	case c.release && (id < 900000 || id > 999999):
		c.refuse(d, "", "id %d is none of the core rule set's, which go from 900000 to 999999; own rules stand in own files, at rules: {after: [...]}", id)
	case id >= 100000 && id <= 100099:
		c.refuse(d, "id:10001", "ids from 100000 to 100099 belong to Gatehouse")
	case id >= 900000 && id <= 999999 && !c.release:
		c.refuse(d, "id:10001", "ids from 900000 to 999999 belong to the core rule set")
	default:
		if p, twice := c.seen[id]; twice {
			c.refuse(d, "", "id %d is the id of the rule in %s:%d", id, p.file, p.line)
		}
		c.seen[id] = at(d)
	}
	c.phases(d, r)
}

// scores tells whether a rule or one of its links adds to the scores that decide.
func scores(unit []Directive) bool {
	for _, d := range unit {
		r, _ := rule(d)
		for _, a := range r.Actions {
			if a.Name == "setvar" && strings.Contains(strings.ToLower(a.Value), "anomaly_score") {
				return true
			}
		}
	}
	return false
}

// phases refuses what would never run, or before what it looks at is there.
func (c *check) phases(d Directive, r *Rule) {
	phase := 2
	if value, ok := r.find("phase"); ok {
		if phase = phaseOf(value); phase == 0 {
			c.refuse(d, "phase:2", "there is no phase %q", value)
			return
		}
	}
	if phase > c.set.Phases {
		c.refuse(d, "", "phase %d is not run, so this rule would never be asked; phases 1 to %d are", phase, c.set.Phases)
	}
	for _, t := range r.Targets {
		if first := firstPhase(strings.ToUpper(t.Name)); first > phase && !t.Not {
			c.refuse(d, "phase:"+strconv.Itoa(first), "%s is there from phase %d on; in phase %d the rule would see nothing", t.Name, first, phase)
		}
	}
}

// link judges what only the first rule of a chain may have.
func (c *check) link(d Directive, r *Rule) {
	for _, a := range r.Actions {
		switch a.Name {
		case "id", "phase", "skip", "skipafter", "status", "msg", "severity":
			if a.Name != "msg" && a.Name != "severity" {
				c.refuse(d, "", "%s belongs to the first rule of the chain; here it does nothing that was meant", a.Name)
			}
		case "deny", "drop", "pass", "block", "allow", "redirect":
			c.refuse(d, "", "%s belongs to the first rule of the chain", a.Name)
		}
	}
}

// parts judges targets, operator and actions.
func (c *check) parts(d Directive, head, r *Rule) {
	if d.Name == "secrule" {
		c.targets(d, r)
		c.operator(d, r)
	}
	once := map[string]bool{}
	for _, a := range r.Actions {
		name := a.Name
		if disruptive(name) {
			name = "deny, pass, block, drop, allow and redirect"
		}
		switch name {
		case "id", "phase", "msg", "status", "severity", "rev", "ver", "logdata", "skip", "skipafter", "maturity", "accuracy", "deny, pass, block, drop, allow and redirect":
			if once[name] {
				c.refuse(d, "", "of %s the last counts, and there are two", name)
			}
			once[name] = true
		}
		c.action(d, head, a)
	}
	c.remember(d, *r)
}

func disruptive(name string) bool {
	switch name {
	case "deny", "pass", "block", "drop", "allow", "redirect":
		return true
	}
	return false
}
