package seclang

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// control judges ctl:option=value. The engine checks the name of the option when it loads, and the value only when the rule
// has matched, where it says so to nobody.
func (c *check) control(d Directive, head *Rule, text string) {
	option, value, ok := strings.Cut(text, "=")
	if !ok {
		c.refuse(d, "ctl:ruleRemoveById=942100", "ctl:%s has no value", cut(text))
		return
	}
	phase := 2
	if p, ok := head.find("phase"); ok {
		phase = phaseOf(p)
	}
	value, target, aimed := strings.Cut(value, ";")
	switch option {
	case "ruleEngine":
		c.onOff(d, option, value, "no rule denies any more")
	case "requestBodyAccess":
		c.onOff(d, option, value, "bodies are not inspected")
		c.early(d, option, phase, 1)
	case "responseBodyAccess":
		c.onOff(d, option, value, "answers are not inspected")
		c.early(d, option, phase, 3)
	case "forceRequestBodyVariable", "forceResponseBodyVariable":
		c.onOff(d, option, value, "")
	case "requestBodyLimit", "responseBodyLimit", "auditEngine", "auditLogParts", "debugLogLevel":
		c.Notes = append(c.Notes, at(d).mistake("", "ctl:%s is left to Gatehouse: limits and logs are the document's", option))
	case "requestBodyProcessor", "responseBodyProcessor":
		c.processor(d, option, value)
		if option == "requestBodyProcessor" {
			c.early(d, option, phase, 1)
		}
	case "hashEngine", "hashEnforcement":
		c.refuse(d, "", "ctl:%s: %s", option, noHash)
	case "ruleRemoveById", "ruleRemoveByTag":
		c.remove(d, option, value, phase)
	case "ruleRemoveTargetById", "ruleRemoveTargetByTag":
		if !aimed {
			c.refuse(d, "ctl:"+option+"="+value+";ARGS:name", "ctl:%s names no target", option)
			return
		}
		c.removeTarget(d, option, value, target, phase)
	case "ruleRemoveByMsg", "ruleRemoveTargetByMsg":
		c.refuse(d, "ctl:"+strings.Replace(option, "ByMsg", "ById", 1)+"=942100", "ctl:%s: messages change with every version of a rule set, and one that fits nothing is nowhere told", option)
	default:
		c.refuse(d, "", "the engine knows no ctl:%s", cut(option))
	}
}

// onOff judges a switch. Off says what is off then; "" when that is no risk.
func (c *check) onOff(d Directive, option, value, off string) {
	switch low := strings.ToLower(value); {
	case low == "on":
	case off != "" && (low == "off" || option == "ruleEngine" && low == "detectiononly"):
		c.insecure(d, "ctl:ruleRemoveById=942100", "ctl:%s=%s: %s, for requests that match", option, value, off)
	case low != "off":
		c.refuse(d, "ctl:"+option+"=On", "ctl:%s: %q is not known, which the engine would say to nobody", option, cut(value))
	}
}

// early refuses what comes too late to count.
func (c *check) early(d Directive, option string, phase, last int) {
	if phase > last {
		c.refuse(d, "phase:"+strconv.Itoa(last), "ctl:%s counts up to phase %d; in phase %d the engine passes over it", option, last, phase)
	}
}

func (c *check) processor(d Directive, option, value string) {
	switch strings.ToUpper(value) {
	case "URLENCODED", "MULTIPART", "XML", "JSON", "RAW":
		c.Notes = append(c.Notes, at(d).mistake("", "ctl:%s is left to Gatehouse: bodies are read once, by the strict reader, as the kind that they are", option))
	default:
		c.refuse(d, "ctl:"+option+"=JSON", "ctl:%s: the engine reads no bodies of the kind %q", option, cut(value))
	}
}

// selected are the rules that a removal means.
func (c *check) selected(d Directive, what, value string) (list []known, ok bool) {
	if strings.HasSuffix(strings.ToLower(what), "tag") {
		list = c.model.tagged(value)
		if len(list) == 0 {
			c.refuse(d, "", "%s: no rule has the tag %q; tags are compared letter by letter, and are no expressions", what, cut(value))
		}
		return list, len(list) > 0
	}
	first, last, ok := span(value)
	if !ok {
		c.refuse(d, "942100", "%s: %q is no id and no range of ids such as 942100-942199", what, cut(value))
		return nil, false
	}
	list = c.model.between(first, last)
	if len(list) == 0 {
		c.refuse(d, "", "%s: there is no rule %s", what, value)
	}
	return list, len(list) > 0
}

// remove judges the removal of rules for one request.
func (c *check) remove(d Directive, what, value string, phase int) {
	list, ok := c.selected(d, what, value)
	if ok {
		c.weigh(d, what, value, list)
		c.inTime(d, what, value, list, phase)
	}
}

// inTime refuses a removal that comes when all that it removes has run.
func (c *check) inTime(d Directive, what, value string, list []known, phase int) {
	for _, k := range list {
		if k.phase > phase || k.phase == phase && k.order > c.here {
			return
		}
	}
	c.refuse(d, "phase:1", "ctl:%s=%s: what it removes has run before; put the rule into a file that is loaded before the core rules, in an earlier phase", what, value)
}

// weigh tells of removals that take away more than a rule or two.
func (c *check) weigh(d Directive, what, value string, list []known) {
	core := 0
	for _, k := range list {
		if k.core && k.id < 900000 {
			c.refuse(d, "", "%s %s: rule %d is Gatehouse's own and makes bodies visible to the rules", what, value, k.id)
			return
		}
		if k.book && !(c.release && isRule(d)) { // rules of a release leave all out for a request, where they know why
			c.insecure(d, "", "%s %s takes away rule %d, which keeps the scores by which requests are denied", what, value, k.id)
			return
		}
		if k.core {
			core++
		}
	}
	if core > manyRules {
		c.insecure(d, "guards: {waf: {except: [{rule: 942100, argument: comment}]}}", "%s %s takes away %d of the core rules", what, value, core)
	}
}

// removeTarget judges the removal of a target for one request.
func (c *check) removeTarget(d Directive, what, value, target string, phase int) {
	list, ok := c.selected(d, what, value)
	if !ok {
		return
	}
	c.inTime(d, what, value, list, phase)
	name, key, _ := strings.Cut(target, ":")
	name, key = strings.ToUpper(strings.TrimSpace(name)), strings.TrimSpace(key)
	if strings.ContainsAny(target, "|!&") {
		c.refuse(d, "", "ctl:%s takes one target, such as ARGS:name, and not %q", what, cut(target))
		return
	}
	c.looked(d, what+"="+value, list, name, key)
	if strings.Contains(key, "%{") {
		c.verbatim(d, name, key)
	}
	if pattern, is := inSlashes(key); is {
		if _, err := regexp.Compile(pattern); err == nil {
			c.inLowerCase(d, pattern)
		}
	} else if strings.Contains(key, "/") && name != "XML" && strings.HasPrefix(key, "/") {
		c.refuse(d, "", "ctl:%s: the expression %q is not closed", what, cut(key))
	}
	c.weighTarget(d, what, value, list, name, key)
}

// weighTarget is weigh for a target that rules no longer look at. One name more or less is what exclusions are for, but not in
// the rules that keep the scores, and not where its expression fits any name.
func (c *check) weighTarget(d Directive, what, value string, list []known, name, key string) {
	if key != "" && !fitsAll(key) {
		list = slices.DeleteFunc(slices.Clone(list), func(k known) bool { return !k.book || !slices.Contains(k.names, name) })
	}
	c.weigh(d, what, value, list)
}

// fitsAll tells that the expression of a key fits names that have nothing in common.
func fitsAll(key string) bool {
	pattern, is := inSlashes(key)
	if !is {
		return false
	}
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString("q") && re.MatchString("json.items.0.note") && re.MatchString("user_id-7")
}

// looked refuses an exclusion from rules that don't look there: the engine compares names of variables letter by letter, and
// ARGS_POST is no part of ARGS to it.
func (c *check) looked(d Directive, what string, list []known, name, key string) {
	var others []string
	for _, k := range list {
		for _, n := range k.names {
			if n == name {
				return
			}
			if strings.HasPrefix(name, n+"_") || strings.HasPrefix(n, name+"_") || strings.HasPrefix(name, "ARGS") && strings.HasPrefix(n, "ARGS") && !strings.HasSuffix(n, "NAMES") {
				others = append(others, n)
			}
		}
	}
	write := ""
	if len(others) > 0 {
		write = others[0]
		if key != "" {
			write += ":" + key
		}
	}
	c.refuse(d, write, "%s: the rule does not name %s, so nothing would be left out", what, cut(name))
}
