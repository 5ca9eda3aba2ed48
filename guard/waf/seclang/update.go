package seclang

import (
	"strings"
)

// removal judges SecRuleRemoveById and SecRuleRemoveByTag.
func (c *check) removal(d Directive) {
	word := c.table[d.Name].name
	values := []string{d.Args}
	if d.Name == "secruleremovebyid" {
		values = strings.Fields(d.Args)
	}
	if len(values) == 0 {
		c.refuse(d, word+" 942100", "%s names no rule", word)
	}
	for _, value := range values {
		list, ok := c.selected(d, word, value)
		if !ok {
			continue
		}
		if list = c.behind(d, word, value, list); len(list) > 0 {
			c.weigh(d, word, value, list)
		}
	}
}

// behind keeps the rules that are loaded by then; what comes later the engine does not find.
func (c *check) behind(d Directive, what, value string, list []known) (there []known) {
	for _, k := range list {
		if k.order <= c.here {
			there = append(there, k)
		}
	}
	if len(there) == 0 {
		c.refuse(d, "", "%s %s stands before the rule that it changes, and would change nothing; put it into a file that is loaded after the core rules", what, value)
	}
	return there
}

// updateTarget judges SecRuleUpdateTargetById and SecRuleUpdateTargetByTag.
func (c *check) updateTarget(d Directive) {
	word := c.table[d.Name].name
	parts := strings.Fields(d.Args)
	if len(parts) != 2 {
		c.refuse(d, word+` 942100 "!ARGS:comment"`, "%s takes one rule or range and one list of targets; of several the engine would change the first only", word)
		return
	}
	value := strings.Trim(parts[0], `"`)
	list, ok := c.selected(d, word, value)
	if !ok {
		return
	}
	if list = c.behind(d, word, value, list); len(list) == 0 {
		return
	}
	targets, err := splitTargets(strings.Trim(parts[1], `"`))
	if err != nil {
		c.refuse(d, "", "%v", err)
		return
	}
	void := empty()
	for _, t := range targets {
		name := strings.ToUpper(t.Name)
		c.keyed(d, t)
		switch instead, isVoid := void[name]; {
		case lasting(name) || isVoid:
			c.refuse(d, instead, "the engine never fills %s", t.Name)
		case !t.Not:
		case t.Key == "":
			c.insecure(d, "!"+t.Name+":name", "%s %s: nothing of %s is inspected any more", word, value, t.Name)
		default:
			c.looked(d, word+" "+value, list, name, t.Key)
			c.weighTarget(d, word, value, list, name, t.Key)
		}
	}
	c.compile(d, `SecRule ARGS "@unconditionalMatch" "id:1,phase:1,pass"`+"\n"+`SecRuleUpdateTargetById 1 "`+strings.Trim(parts[1], `"`)+`"`, nil)
}

// updateAction judges SecRuleUpdateActionById.
func (c *check) updateAction(d Directive) {
	word := c.table[d.Name].name
	parts := strings.Fields(d.Args)
	if len(parts) != 2 {
		c.refuse(d, word+` 942100 "deny"`, "%s takes one rule or range and one list of actions without spaces", word)
		return
	}
	list, ok := c.selected(d, word, parts[0])
	if !ok {
		return
	}
	if list = c.behind(d, word, parts[0], list); len(list) == 0 {
		return
	}
	actions, err := SplitActions(strings.Trim(parts[1], `"`))
	if err != nil {
		c.refuse(d, "", "%v", err)
		return
	}
	for _, a := range actions {
		switch a.Name {
		case "id", "phase", "chain", "skip", "skipafter", "capture":
			c.refuse(d, "", "%s can't change %s of a rule; the engine would make another rule of it", word, a.Name)
		case "pass", "nolog", "block": // to block is to pass, since the core rules set it so
			c.insecure(d, "", "%s %s: the rule no longer denies or is no longer told", word, parts[0])
		case "deny", "drop", "status", "log", "auditlog", "noauditlog", "msg", "logdata", "tag", "severity", "rev", "ver", "maturity", "accuracy":
			c.action(d, &Rule{}, a)
		default: // such as a transformation, behind which the rule finds nothing any more
			c.action(d, &Rule{}, a)
			c.weigh(d, word, parts[0]+" "+cut(a.Name), list)
		}
	}
	c.compile(d, `SecAction "id:1,phase:1,pass"`+"\n"+`SecRuleUpdateActionById 1 `+parts[1], nil)
}
