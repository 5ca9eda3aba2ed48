package referee

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// Rule is a rule of the Core Rule Set as its file has it. It is read from the text and not from the compiled rules, so that
// what is made from it does not share their reader's mistakes.
type Rule struct {
	ID              int
	Phase           int
	Level           int // of paranoia; 0 for what runs at all
	Variables       []string
	Operator        string // without the @, rx when none is named
	Argument        string
	Negated         bool
	Transformations []string // without none
	Chain           []Rule   // the links after this one
}

// CoreRules reads all rules of the Core Rule Set's module.
func CoreRules() ([]Rule, error) {
	const folder = "@owasp_crs"
	files, err := fs.Glob(coreruleset.FS, folder+"/*.conf")
	if err != nil {
		return nil, err
	}
	var rules []Rule
	for _, file := range files {
		text, err := fs.ReadFile(coreruleset.FS, file)
		if err != nil {
			return nil, err
		}
		rules = append(rules, ReadRules(string(text))...)
	}
	return rules, nil
}

var (
	directive  = regexp.MustCompile(`(?s)^Sec(Rule|Action)\s+(.*)$`)
	ruleNumber = regexp.MustCompile(`(?:^|,)\s*id:'?(\d+)`)
	rulePhase  = regexp.MustCompile(`(?:^|,)\s*phase:'?(\w+)`)
	ruleLevel  = regexp.MustCompile(`tag:'paranoia-level/(\d)'`)
	ruleChange = regexp.MustCompile(`(?:^|,)\s*t:(\w+)`)
	ruleChain  = regexp.MustCompile(`(?:^|,)\s*chain\s*(?:,|$)`)
)

// ReadRules reads the rules of one file or text of directives, without what it includes.
func ReadRules(text string) (rules []Rule) {
	inChain := false
	joined := strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(joined) {
		m := directive.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		rule, rest := Rule{}, m[2]
		if m[1] == "Rule" {
			var vars, operator string
			vars, rest = word(rest)
			operator, rest = word(rest)
			rule.Variables = strings.Split(vars, "|")
			rule.Operator, rule.Argument, rule.Negated = operation(operator)
		}
		actions, _ := word(rest)
		rule.ID, rule.Level = number(ruleNumber, actions), number(ruleLevel, actions)
		rule.Phase = number(rulePhase, actions)
		for _, t := range ruleChange.FindAllStringSubmatch(actions, -1) {
			if t[1] == "none" {
				rule.Transformations = nil
			} else {
				rule.Transformations = append(rule.Transformations, t[1])
			}
		}
		if inChain {
			head := &rules[len(rules)-1]
			head.Chain = append(head.Chain, rule)
		} else {
			rules = append(rules, rule)
		}
		inChain = ruleChain.MatchString(actions)
	}
	return rules
}

// word takes the first word of a directive, which may stand in quotes.
func word(s string) (first, rest string) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, `"`) {
		first, rest, _ = strings.Cut(s, " ")
		return first, rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			b.WriteByte('"')
			i++
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

func operation(s string) (name, argument string, negated bool) {
	s, negated = strings.CutPrefix(s, "!")
	if !strings.HasPrefix(s, "@") {
		return "rx", s, negated
	}
	name, argument, _ = strings.Cut(s[1:], " ")
	return name, strings.TrimSpace(argument), negated
}

func number(find *regexp.Regexp, in string) int {
	m := find.FindStringSubmatch(in)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// words lists the words of a pmFromFile or pm operator.
func (r Rule) words() []string {
	if r.Operator == "pm" {
		return strings.Fields(r.Argument)
	}
	var list []string
	for _, name := range strings.Fields(r.Argument) {
		text, err := fs.ReadFile(coreruleset.FS, path.Join("@owasp_crs", name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				list = append(list, line)
			}
		}
	}
	return list
}
