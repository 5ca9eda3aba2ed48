package seclang

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// asCompiled describes the rules of a finished engine: targets, operator and actions of heads and links.
func asCompiled(waf coraza.WAF) (list []string) {
	rules := reflect.ValueOf(waf).Field(0).Elem().FieldByName("Rules").FieldByName("rules")
	for i := range rules.Len() {
		for r := rules.Index(i); ; r = r.FieldByName("Chain").Elem() {
			list = append(list, compiledRule(r))
			if r.FieldByName("Chain").IsNil() {
				break
			}
		}
	}
	return list
}

func compiledRule(r reflect.Value) string {
	var b strings.Builder
	vars := r.FieldByName("variables")
	for i := range vars.Len() {
		v := vars.Index(i)
		fmt.Fprintf(&b, "%s:%s:%v", variables.RuleVariable(v.FieldByName("Variable").Uint()).Name(), strings.ToLower(v.FieldByName("KeyStr").String()), v.FieldByName("Count").Bool())
		ex := v.FieldByName("Exceptions")
		for j := range ex.Len() {
			fmt.Fprintf(&b, "!%s", strings.ToLower(ex.Index(j).FieldByName("KeyStr").String()))
		}
		b.WriteString("|")
	}
	if o := r.FieldByName("operator"); !o.IsNil() {
		o = o.Elem()
		fmt.Fprintf(&b, " %s %q %v", strings.Trim(o.FieldByName("Function").String(), "!@"), o.FieldByName("Data").String(), o.FieldByName("Negation").Bool())
	}
	actions := r.FieldByName("actions")
	for i := range actions.Len() {
		fmt.Fprintf(&b, " %s", actions.Index(i).FieldByName("Name").String())
	}
	fmt.Fprintf(&b, " id=%d %q", r.FieldByName("RuleMetadata").FieldByName("ID_").Int(), r.FieldByName("RuleMetadata").FieldByName("SecMark_").String())
	return b.String()
}

// asSplit describes a directive in the same words, from our own splitting.
func asSplit(d Directive) (string, error) {
	var b strings.Builder
	if d.Name == "secmarker" {
		return fmt.Sprintf(" id=0 %q", d.Args), nil
	}
	r, err := rule(d)
	if err != nil {
		return "", err
	}
	for i, t := range r.Targets {
		if t.Not {
			continue
		}
		v, err := variables.Parse(t.Name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s:%s:%v", v.Name(), strings.ToLower(t.Key), t.Count)
		for _, n := range r.Targets[i:] {
			if w, _ := variables.Parse(n.Name); n.Not && w == v {
				fmt.Fprintf(&b, "!%s", strings.ToLower(n.Key))
			}
		}
		b.WriteString("|")
	}
	if d.Name == "secrule" {
		fmt.Fprintf(&b, " %s %q %v", r.Operator.Name, r.Operator.Args, r.Operator.Not)
	}
	id := "0"
	for _, a := range r.Actions {
		switch a.Name {
		case "id":
			n, _ := strconv.Atoi(a.Value)
			id = strconv.Itoa(n)
		case "phase", "msg", "tag", "rev", "ver", "severity", "maturity", "accuracy":
		default:
			fmt.Fprintf(&b, " %s", a.Name)
		}
	}
	fmt.Fprintf(&b, " id=%s %q", id, "")
	return b.String(), nil
}

// Each rule of the core rule set is, part for part, what the engine has made of it.
func TestRulesAreSplitAsTheEngineSplitsThem(t *testing.T) {
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(s string) bool { return strings.Contains(s, "EXCEPTIONS-AFTER") }) // it changes the others
	f, wrong := Read(coreruleset.FS, names...)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("Include " + strings.Join(names, "\nInclude ")))
	if err != nil {
		t.Fatal(err)
	}
	theirs, i := asCompiled(waf), 0
	for _, d := range f.Directives {
		if !isRule(d) {
			continue
		}
		ours, err := asSplit(d)
		if err != nil || i >= len(theirs) {
			t.Fatalf("%s:%d: %v", d.File, d.Line, err)
		}
		if !sameRule(ours, theirs[i]) {
			t.Errorf("%s:%d:\nours   %s\ntheirs %s", d.File, d.Line, ours, theirs[i])
		}
		i++
	}
	if i != len(theirs) || i < 600 {
		t.Errorf("%d rules of ours, %d of theirs", i, len(theirs))
	}
}

// sameRule compares two descriptions. The engine adds the default actions of phase 2 to a rule that has none of them, and
// keeps them in another order.
func sameRule(ours, theirs string) bool {
	a, b := strings.Split(ours, " "), strings.Split(theirs, " ")
	drop := func(s string) bool {
		return slices.Contains([]string{"log", "auditlog", "pass", "block", "deny", "drop", "allow"}, s)
	}
	a, b = slices.DeleteFunc(a, drop), slices.DeleteFunc(b, drop)
	return slices.Equal(a, b)
}

// mutate changes a text the way people and editors do: signs go, come, change places, lines break and join.
func mutate(rng *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + rng.IntN(3) {
		if len(b) < 2 {
			break
		}
		i := rng.IntN(len(b))
		switch signs := "\"'\\|:,/!&@ #`%{}()[]*+?\nAz0-="; rng.IntN(5) {
		case 0:
			b = slices.Delete(b, i, i+1)
		case 1:
			b = slices.Insert(b, i, signs[rng.IntN(len(signs))])
		case 2:
			b[i] = signs[rng.IntN(len(signs))]
		case 3:
			j := rng.IntN(len(b))
			b[i], b[j] = b[j], b[i]
		case 4:
			j := min(len(b), i+rng.IntN(12))
			b = slices.Insert(b, i, slices.Clone(b[i:j])...)
		}
	}
	return string(b)
}

// What we find nothing wrong with, the engine loads, and has made of it what we have read; what the engine does not load, we
// refuse. What it loads and we refuse is told by a finding of our own, never as something that can't be compiled.
func judgeAsEngine(t *testing.T, text string) (accepted bool) {
	t.Helper()
	f, wrong := read(t, text)
	report := Check(Set{After: f, Phases: 5})
	err := loads(text)
	if len(wrong)+len(report.Refused) > 0 {
		for _, m := range report.Refused {
			if err == nil && strings.Contains(m.What, "can't compile") && !strings.Contains(strings.ToLower(text), "secdefaultaction") { // which it compiles with the next rule
				t.Errorf("%q: the engine can, and we say %v", text, m)
			}
		}
		return false
	}
	if err != nil {
		t.Errorf("%q: nothing found, and the engine says %v", text, err)
		return false
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(with("")).WithDirectives(text))
	if err != nil {
		return false
	}
	out, err := f.Text()
	if err != nil {
		t.Errorf("%q: %v", text, err)
		return false
	}
	again, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(out.Over(nil)).WithDirectives(out.Directives))
	if err != nil {
		t.Errorf("%q: the engine does not load %q: %v", text, out.Directives, err)
		return false
	}
	theirs, handed := asCompiled(waf), asCompiled(again)
	i := 0
	for _, d := range f.Directives {
		if !isRule(d) {
			continue
		}
		ours, err := asSplit(d)
		if err != nil || i >= len(theirs) || !sameRule(ours, theirs[i]) {
			t.Errorf("%q:\nours   %s (%v)\ntheirs %q", text, ours, err, theirs)
			return false
		}
		i++
	}
	if i != len(theirs) || len(handed) != len(theirs) {
		t.Errorf("%q: %d rules of ours, %d of theirs, %d handed on", text, i, len(theirs), len(handed))
	}
	return true
}

// seeds are rules of the core rule set, with ids that may be used, and short ones.
func seeds(t testing.TB) (list []string) {
	files := renumbered(t)
	for _, name := range conf(files) {
		f, _ := Read(files, name)
		for i := 0; i < len(f.Directives); i++ {
			if d := f.Directives[i]; d.Name == "secrule" && !strings.Contains(d.raw, "FromFile") && !strings.Contains(d.raw, "skipAfter") && len(d.raw) < 1500 {
				unit := chain(f.Directives[i:])
				i += len(unit) - 1
				var lines []string
				for _, u := range unit {
					lines = append(lines, u.raw)
				}
				list = append(list, strings.Join(lines, "\n"))
			}
		}
	}
	return append(list,
		`SecRule ARGS|!ARGS:a|REQUEST_HEADERS:/^x-/|&ARGS:'/b/' "!@rx a\"b" "id:1,phase:2,deny,msg:'a, b: c',tag:x"`,
		`SecRule ARGS "@within a b" "id:1, phase:2 , deny, t:none ,t:lowercase,setvar:'tx.a=%{matched_var}'"`,
		"SecAction \\\n  \"id:1,phase:1,\\\n  pass,nolog\"\nSecMarker END")
}

func TestMutatedRulesAreJudgedAsTheEngineJudges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	list := seeds(t)
	accepted := 0
	for range 1500 {
		if judgeAsEngine(t, mutate(rng, list[rng.IntN(len(list))])) {
			accepted++
		}
	}
	if accepted < 200 || accepted > 1400 {
		t.Errorf("%d of 1500 accepted: the mutations test nothing", accepted)
	}
	t.Log(accepted, "accepted")
}

func FuzzSameAsEngine(f *testing.F) {
	for i, s := range seeds(f) {
		if i%25 == 0 || i > 600 {
			f.Add(s)
		}
	}
	for _, c := range findings {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		low := strings.ToLower(text)
		for _, word := range []string{"include", "secauditlog", "secdebuglog", "secupload", "sectmp"} { // these open files
			if strings.Contains(low, word) {
				return
			}
		}
		judgeAsEngine(t, text)
	})
}
