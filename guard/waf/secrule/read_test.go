package secrule_test

import (
	"slices"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

func compile(t testing.TB, directives string) coraza.WAF {
	t.Helper()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
	if err != nil {
		t.Fatal(err)
	}
	return waf
}

func read(t testing.TB, directives string) []*secrule.Rule {
	t.Helper()
	rules, err := secrule.Read(compile(t, directives))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// The core rule set, as it is known: when a number changes, so has the rule set or the engine, and the prefilter's
// assumptions are to be looked at again.
func TestTheCoreRuleSetIsKnown(t *testing.T) {
	rules := read(t, "Include @crs-setup.conf.example\nInclude @owasp_crs/*.conf")
	heads, links, names := 0, 0, map[string]bool{}
	for _, r := range rules {
		if len(r.Links) > 0 {
			heads++
		}
		for _, x := range append([]*secrule.Rule{r}, r.Links...) {
			for _, name := range x.Chain.Names {
				names[name] = true
				if name == "" || strings.Contains(name, ".") {
					t.Errorf("rule %d: transformation %q", r.ID, name)
				}
			}
		}
		links += len(r.Links)
	}
	if len(rules) != 656 || heads != 54 || links != 72 || len(names) != 19 {
		t.Errorf("%d rules, %d chains with %d links, %d transformations", len(rules), heads, links, len(names))
	}
}

// All that a rule says is read.
func TestARuleIsRead(t *testing.T) {
	rules := read(t, `
SecRule ARGS|!ARGS:/^a/|&REQUEST_HEADERS:Host "!@rx a(b)" "id:7,phase:2,deny,capture,multiMatch,t:none,t:urlDecodeUni,t:lowercase,tag:'one',msg:'found %{MATCHED_VAR}',setvar:'tx.x=%{tx.1}',setvar:!tx.y=1,ctl:ruleRemoveTargetById=9;ARGS:p,skipAfter:END,chain"
  SecRule TX:x "@streq b" "t:md5"
SecAction "id:8,phase:1,pass,skip:2,initcol:ip=1"
SecMarker END`)
	if len(rules) != 3 {
		t.Fatal(len(rules))
	}
	r := rules[0]
	if r.ID != 7 || r.Phase != 2 || !slices.Equal(r.Tags, []string{"one"}) || r.Message != "found %{MATCHED_VAR}" || !r.SideEffects() {
		t.Errorf("%+v", r)
	}
	if a := r.Targets[0]; a.Variable != variables.Args || a.Count || len(a.Except) != 1 || a.Except[0].KeyPattern.String() != "^a" {
		t.Errorf("%+v", a)
	}
	if h := r.Targets[1]; h.Variable != variables.RequestHeaders || !h.Count || h.Key != "host" {
		t.Errorf("%+v", h)
	}
	if x := r.Test; x.Name != "rx" || !x.Negated || x.Argument != "a(b)" {
		t.Errorf("%+v", x)
	}
	if c := r.Chain; !slices.Equal(c.Names, []string{"urlDecodeUni", "lowerCase"}) || !c.MultiMatch {
		t.Errorf("%+v", c)
	}
	if a := r.Actions; !a.Capture || a.SkipAfter != "END" || len(a.Sets) != 2 || a.Sets[0].Key != "x" || a.Sets[0].Value != "%{tx.1}" || !a.Sets[1].Remove || len(a.Controls) != 1 || a.Controls[0].Value != "9" || a.Controls[0].Key != "p" {
		t.Errorf("%+v", a)
	}
	if l := r.Links; len(l) != 1 || l[0].Parent != 7 || l[0].Targets[0].Key != "x" || !slices.Equal(l[0].Chain.Names, []string{"md5"}) {
		t.Errorf("%+v", l)
	}
	if a := rules[1]; a.Test != nil || a.Actions.Skip != 2 || !slices.Equal(a.Actions.Other, []string{"initcol"}) {
		t.Errorf("%+v", a)
	}
	if rules[2].Mark != "END" {
		t.Errorf("%+v", rules[2])
	}
}

// The operators that are handed out are the engine's own.
func TestOperatorsAnswer(t *testing.T) {
	rules := read(t, `SecRule ARGS "@rx ^a+$" "id:7,phase:2,deny"`)
	op := rules[0].Test.Operator
	if !op.Evaluate(still{}, "aaa") || op.Evaluate(still{}, "b") {
		t.Error("answers otherwise")
	}
}

// What Wrap puts in place is asked, for rules and for links.
func TestWrap(t *testing.T) {
	waf := compile(t, `SecRuleEngine On
SecRule REQUEST_METHOD "@rx ^GET$" "id:7,phase:1,deny,chain"
  SecRule REQUEST_METHOD "@streq GET"`)
	var asked []string
	if err := secrule.Wrap(waf, func(x *secrule.Test) plugintypes.Operator { return counting{x.Operator, x.Name, &asked} }); err != nil {
		t.Fatal(err)
	}
	tx := waf.NewTransaction()
	defer tx.Close()
	tx.ProcessURI("/", "GET", "HTTP/1.1")
	if tx.ProcessRequestHeaders() == nil || !slices.Equal(asked, []string{"rx", "streq"}) {
		t.Error(asked)
	}
	if _, err := secrule.Read(waf); err != nil {
		t.Error(err)
	}
}

type counting struct {
	plugintypes.Operator
	name  string
	asked *[]string
}

func (c counting) Evaluate(tx plugintypes.TransactionState, value string) bool {
	*c.asked = append(*c.asked, c.name)
	return c.Operator.Evaluate(tx, value)
}

type still struct{ plugintypes.TransactionState }

func (still) Capturing() bool { return false }

// An engine that is not the known one has no rules to read, and says so.
func TestUnknownEngine(t *testing.T) {
	if _, err := secrule.Read(other{}); err == nil {
		t.Error("read")
	}
	if err := secrule.Wrap(other{}, nil); err == nil {
		t.Error("wrapped")
	}
}

type other struct{ coraza.WAF }

// RulesCount is what the known engine has too.
func (other) RulesCount() int { return 1 }
