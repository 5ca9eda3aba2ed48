package seclang

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// actions are those that the engine carries out, or that only name or describe a rule.
func actions() []string {
	return strings.Fields("accuracy allow auditlog block capture chain ctl deny drop id log logdata maturity msg multimatch noauditlog nolog pass phase rev setvar severity skip skipafter status t tag ver")
}

// refusedActions are actions that the engine reads and leaves, or has not, with their equivalents.
func refusedActions() map[string][2]string {
	lastsNot := [2]string{nothingLasts, writeRate}
	clean := [2]string{"values in events are masked always; take it away", ""}
	return map[string][2]string{
		"initcol": lastsNot, "expirevar": lastsNot, "deprecatevar": lastsNot, "setsid": lastsNot, "setuid": lastsNot, "setrsc": lastsNot,
		"exec":        {"the engine starts no programs", "deny"},
		"setenv":      {"it would put bytes of the request into the environment of the process, for all requests", "setvar:tx.name=value"},
		"redirect":    {"a denial is a problem document of Gatehouse; no rule sends clients elsewhere", "deny"},
		"proxy":       {"where a request goes is said by the document", "deny"},
		"pause":       {"a rule can't hold a request back", "guards: {rate: {per_address: 100/m}}"},
		"append":      {"rules don't change answers", ""},
		"prepend":     {"rules don't change answers", ""},
		"sanitisearg": clean, "sanitizearg": clean, "sanitisematched": clean, "sanitizematched": clean, "sanitisematchedbytes": clean,
		"sanitizematchedbytes": clean, "sanitiserequestheader": clean, "sanitizerequestheader": clean, "sanitiseresponseheader": clean, "sanitizeresponseheader": clean,
		"xmlns": {"the engine knows no name spaces of XML", "XML:/*"},
	}
}

// transformations are those of the engine, by the names that its pages use.
func transformations() []string {
	return strings.Fields("base64Decode base64DecodeExt base64Encode cmdLine compressWhitespace cssDecode escapeSeqDecode hexDecode hexEncode htmlEntityDecode jsDecode length lowercase md5 none normalisePath normalisePathWin normalizePath normalizePathWin removeComments removeCommentsChar removeNulls removeWhitespace replaceComments replaceNulls sha1 uppercase urlDecode urlDecodeUni urlEncode utf8toUnicode trim trimLeft trimRight")
}

// action judges one action of a rule whose first link is head.
func (c *check) action(d Directive, head *Rule, a Action) {
	if c.release && a.Name == "initcol" { // of collections that no rule of a release reads
		return
	}
	if reason, ok := refusedActions()[a.Name]; ok {
		c.refuse(d, reason[1], "%s: %s", a.Name, reason[0])
		return
	}
	if known := actions(); !slices.Contains(known, a.Name) {
		c.refuse(d, mistake.Nearest(a.Name, known), "the engine knows no action %q", cut(a.Name))
		return
	}
	c.macros(d, a.Value)
	switch a.Name {
	case "t":
		c.transformation(d, a.Value)
	case "allow":
		c.insecure(d, "ctl:ruleRemoveById=942100", "allow lets a request pass without the rules that follow, the core rules among them")
	case "ctl":
		c.control(d, head, a.Value)
	case "setvar":
		c.setvar(d, a.Value)
	case "skip":
		if n, err := strconv.Atoi(a.Value); err == nil && n > 0 {
			c.weigh(d, "skip:", a.Value, c.model.inside(c.here, c.here+min(n, mostDirective)+1))
		}
	case "skipafter":
		name := unquote(a.Value)
		if end := c.model.next(name, c.here); end > 0 {
			c.weigh(d, "skipAfter:", name, c.model.inside(c.here, end))
		} else {
			c.refuse(d, "SecMarker "+name, "no SecMarker %s stands behind this rule, so all rules that follow would be skipped, in this phase and the next", name)
		}
	}
}

func (c *check) transformation(d Directive, name string) {
	known := transformations()
	switch {
	case slices.Contains(lower(known), strings.ToLower(name)):
		if name != "none" && strings.EqualFold(name, "none") {
			c.refuse(d, "t:none", "t:%s does not clear what stands before it; only t:none in lower case does", name)
		}
		return
	case strings.EqualFold(name, "sqlHexDecode"):
		c.refuse(d, "t:hexDecode", "the engine knows no transformation %s", name)
	case strings.HasPrefix(strings.ToLower(name), "parity"):
		c.refuse(d, "", "the engine knows no transformation %s; take it away, bytes have eight bits", name)
	default:
		near := mistake.Nearest(strings.ToLower(name), lower(known))
		for _, k := range known {
			if near != "" && strings.ToLower(k) == near {
				near = "t:" + k
			}
		}
		c.refuse(d, near, "the engine knows no transformation %q", cut(name))
	}
}

// decisive are the variables by which the document says when a request is denied.
var decisive = regexp.MustCompile(`(?i)^!?tx\.(?:.*paranoia_level|.*anomaly_score_threshold|early_blocking|crs_skip_response_analysis|sampling_percentage)\b`)

// scored are the variables that the rules add to.
var scored = regexp.MustCompile(`(?i)^tx\.[a-z_]*anomaly_score(?:_pl[1-4])?$`)

// anyName is a name of a variable that is nothing but what something else stands for.
var anyName = regexp.MustCompile(`(?i)^tx\.(?:%\{[^}]*\})+$`)

func (c *check) setvar(d Directive, value string) {
	name, _, _ := strings.Cut(strings.TrimPrefix(value, "!"), "=")
	collection, _, _ := strings.Cut(name, ".")
	switch {
	case lasting(strings.ToUpper(collection)):
		c.refuse(d, writeRate, "setvar:%s: %s", cut(name), nothingLasts)
	case !strings.EqualFold(collection, "tx"):
		c.refuse(d, "setvar:tx.name=value", "setvar:%s: only variables of TX can be set", cut(name))
	case !strings.Contains(value, "="):
		c.refuse(d, "setvar:tx.name=0", "setvar:%s: without a value the engine crashes when the rule matches, also when it only removes", cut(value))
	case c.books:
	case scored.MatchString(name) && (strings.HasPrefix(value, "!") || !strings.Contains(value, "=+") || strings.Contains(value, "=+-")):
		c.insecure(d, "setvar:tx.inbound_anomaly_score_pl1=+5", "setvar:%s takes away from the scores by which requests are denied", cut(value))
	case anyName.MatchString(name):
		c.insecure(d, "setvar:tx.seen_%{MATCHED_VAR}=1", "setvar:%s: whoever chooses what stands there can choose any variable, also those that say when a request is denied", cut(value))
	case decisive.MatchString(value):
		c.insecure(d, "guards: {waf: {paranoia: 2, threshold: 5}}", "setvar:%s overrides for all APIs what the document says of levels and thresholds", cut(name))
	}
}

// macros refuses %{...} of variables that hold nothing.
func (c *check) macros(d Directive, text string) {
	if !strings.Contains(text, "%{") {
		return
	}
	void := empty()
	for _, m := range regexp.MustCompile(`%\{([A-Za-z_]+)[.}]`).FindAllStringSubmatch(text, -1) {
		name := strings.ToUpper(m[1])
		if lasting(name) {
			c.refuse(d, writeRate, "%%{%s}: %s", m[1], nothingLasts)
		} else if _, ok := void[name]; ok {
			c.refuse(d, "", "%%{%s}: the engine never fills %s, and would put its name in", m[1], m[1])
		}
	}
}
