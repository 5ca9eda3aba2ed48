package secrule

import (
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Version is the only version of the engine whose rules can be read.
const Version = "v3.8.1"

// Read gives the rules of an engine in the order in which it asks them. An error means that the engine is not the one that
// is known.
func Read(waf coraza.WAF) (rules []*Rule, err error) {
	defer func() { // reflection panics where a layout differs in a way that was not thought of
		if p := recover(); p != nil {
			rules, err = nil, fmt.Errorf("the rules of this version of Coraza cannot be read (%s is known): %v", Version, p)
		}
	}()
	counted, ok := waf.(interface{ RulesCount() int })
	if !ok {
		return nil, fmt.Errorf("this Coraza does not count its rules; %s is known", Version)
	}
	list := reflect.ValueOf(waf).Field(0).Elem().FieldByName("Rules").FieldByName("rules")
	for i := range list.Len() {
		r := reader{}
		rule := r.rule(list.Index(i), 0)
		if r.err != nil {
			return nil, fmt.Errorf("rule %d (%s:%d): %w", rule.ID, rule.File, rule.Line, r.err)
		}
		rules = append(rules, rule)
	}
	if counted.RulesCount() != len(rules) {
		return nil, fmt.Errorf("%d rules were read, the engine has %d", len(rules), counted.RulesCount())
	}
	return rules, nil
}

// Wrap puts other operators in the place of the engine's own, before it judges anything: such that watch the clock, say. An
// operator that answers otherwise than the one it is given would change what the rules mean.
func Wrap(waf coraza.WAF, wrap func(test *Test) plugintypes.Operator) (err error) {
	if _, err := Read(waf); err != nil {
		return err
	}
	list := reflect.ValueOf(waf).Field(0).Elem().FieldByName("Rules").FieldByName("rules")
	for i := range list.Len() {
		for v := list.Index(i); ; v = v.FieldByName("Chain").Elem() {
			if o := v.FieldByName("operator"); !o.IsNil() {
				field := o.Elem().FieldByName("Operator")
				rule := &Rule{}
				(&reader{}).test(rule, o)
				*(*plugintypes.Operator)(unsafe.Pointer(field.UnsafeAddr())) = wrap(rule.Test) //nolint:gosec // as in open
			}
			if v.FieldByName("Chain").IsNil() {
				break
			}
		}
	}
	return nil
}

// layout is what the structures of the known version hold, as name and kind.
var layout = map[string]string{
	"corazawaf.Rule": "RuleMetadata struct, variables slice, operator ptr, transformations slice, transformationsID int, transformationPrefixIDs slice, actions slice, Capture bool, Chain ptr, DisruptiveStatus int, " +
		"Msg interface, LogData interface, Log bool, Audit bool, MultiMatch bool, HasChain bool, inferredPhases uint8, chainMinPhase int, withPhaseUnknownVariable bool, memoizer interface",
	"corazarules.RuleMetadata":           "ID_ int, LogID_ string, File_ string, Line_ int, Rev_ string, Severity_ int, Version_ string, Tags_ slice, Maturity_ int, Accuracy_ int, Operator_ string, Phase_ int, Raw_ string, SecMark_ string, ParentID_ int",
	"corazawaf.ruleVariableParams":       "Count bool, Variable uint8, KeyRx ptr, KeyStr string, Exceptions slice",
	"corazawaf.ruleVariableException":    "KeyStr string, KeyRx ptr",
	"corazawaf.ruleOperatorParams":       "Operator interface, Function string, Data string, Negation bool",
	"corazawaf.ruleTransformationParams": "Function func",
	"corazawaf.ruleActionParams":         "Name string, Function interface",
	"actions.setvarFn":                   "key interface, value interface, collection uint8, isRemove bool",
	"actions.ctlFn":                      "action int, value string, collection uint8, colKey string, colKeyRx ptr",
	"actions.skipFn":                     "data int",
	"actions.skipafterFn":                "data string",
}

// reader reads one rule and keeps the first thing that was not as expected.
type reader struct{ err error }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// known checks the layout of a structure, and gives it.
func (r *reader) known(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	var fields []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		fields = append(fields, f.Name+" "+f.Type.Kind().String())
	}
	if want, got := layout[v.Type().String()], strings.Join(fields, ", "); want != got {
		r.fail("%s is laid out as %q, known is %q", v.Type(), got, want)
	}
	return v
}

func (r *reader) rule(v reflect.Value, parent int) *Rule {
	v = r.known(v)
	meta := r.known(v.FieldByName("RuleMetadata"))
	rule := &Rule{
		ID: int(meta.FieldByName("ID_").Int()), Parent: int(meta.FieldByName("ParentID_").Int()), Phase: int(meta.FieldByName("Phase_").Int()),
		Mark: meta.FieldByName("SecMark_").String(), File: meta.FieldByName("File_").String(), Line: int(meta.FieldByName("Line_").Int()),
	}
	rule.Message = written(v.FieldByName("Msg"))
	tags := meta.FieldByName("Tags_")
	for i := range tags.Len() {
		rule.Tags = append(rule.Tags, tags.Index(i).String())
	}
	if rule.Parent != parent {
		r.fail("a link of rule %d says that it belongs to %d", parent, rule.Parent)
	}
	r.targets(rule, v.FieldByName("variables"))
	r.test(rule, v.FieldByName("operator"))
	r.chain(rule, v)
	r.actions(rule, v.FieldByName("actions"))
	if capture := v.FieldByName("Capture").Bool(); capture != rule.Actions.Capture {
		r.fail("capture is %v, its actions say otherwise", capture)
	}
	if parent != 0 {
		return rule
	}
	for link := v.FieldByName("Chain"); !link.IsNil(); link = link.Elem().FieldByName("Chain") {
		rule.Links = append(rule.Links, r.rule(link, rule.ID))
	}
	return rule
}

func (r *reader) targets(rule *Rule, list reflect.Value) {
	for i := range list.Len() {
		v := r.known(list.Index(i))
		t := Target{
			Variable: variables.RuleVariable(v.FieldByName("Variable").Uint()), Count: v.FieldByName("Count").Bool(),
			Key: v.FieldByName("KeyStr").String(), KeyPattern: open[*regexp.Regexp](v.FieldByName("KeyRx")),
		}
		except := v.FieldByName("Exceptions")
		for j := range except.Len() {
			e := r.known(except.Index(j))
			t.Except = append(t.Except, Selector{strings.ToLower(e.FieldByName("KeyStr").String()), open[*regexp.Regexp](e.FieldByName("KeyRx"))})
		}
		rule.Targets = append(rule.Targets, t)
	}
}

func (r *reader) test(rule *Rule, v reflect.Value) {
	if v.IsNil() {
		return
	}
	v = r.known(v)
	name := v.FieldByName("Function").String()
	t := &Test{Name: strings.TrimLeft(name, "!@"), Argument: v.FieldByName("Data").String(), Negated: v.FieldByName("Negation").Bool(), Operator: open[plugintypes.Operator](v.FieldByName("Operator"))}
	if t.Operator == nil || t.Negated != strings.HasPrefix(name, "!") {
		r.fail("its operator %q is not understood", name)
	}
	rule.Test = t
}

func (r *reader) chain(rule *Rule, v reflect.Value) {
	list := v.FieldByName("transformations")
	rule.Chain.MultiMatch = v.FieldByName("MultiMatch").Bool()
	for i := range list.Len() {
		f := open[plugintypes.Transformation](r.known(list.Index(i)).FieldByName("Function"))
		rule.Chain.Functions = append(rule.Chain.Functions, f)
		rule.Chain.Names = append(rule.Chain.Names, nameOf(f))
	}
}

// nameOf is the name of a transformation, from that of the engine's function: "lowerCase", "md5T". One that is not the
// engine's keeps its whole name, so that nothing is taken for known.
func nameOf(f plugintypes.Transformation) string {
	name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	if short, ok := strings.CutPrefix(name, "github.com/corazawaf/coraza/v3/internal/transformations."); ok {
		return strings.TrimSuffix(short, "T")
	}
	return name
}

func (r *reader) actions(rule *Rule, list reflect.Value) {
	for i := range list.Len() {
		v := r.known(list.Index(i))
		name, a := v.FieldByName("Name").String(), &rule.Actions
		switch strings.ToLower(name) {
		case "capture":
			a.Capture = true
		case "setvar":
			f := r.known(v.FieldByName("Function"))
			a.Sets = append(a.Sets, Set{
				Key: written(f.FieldByName("key")), Value: written(f.FieldByName("value")),
				Collection: variables.RuleVariable(f.FieldByName("collection").Uint()), Remove: f.FieldByName("isRemove").Bool(),
			})
		case "ctl":
			f := r.known(v.FieldByName("Function"))
			a.Controls = append(a.Controls, Control{
				Kind: int(f.FieldByName("action").Int()), Value: f.FieldByName("value").String(),
				Collection: variables.RuleVariable(f.FieldByName("collection").Uint()), Key: f.FieldByName("colKey").String(),
			})
		case "skip":
			a.Skip = int(r.known(v.FieldByName("Function")).FieldByName("data").Int())
		case "skipafter":
			a.SkipAfter = r.known(v.FieldByName("Function")).FieldByName("data").String()
		default:
			if !slices.Contains(harmless, strings.ToLower(name)) {
				a.Other = append(a.Other, name)
			}
		}
	}
}

// harmless are the actions that no other rule can notice while the request goes on; those that end it do so only for a
// rule that matched.
var harmless = []string{
	"allow", "auditlog", "block", "chain", "deny", "drop", "exec", "expirevar", "id", "log", "logdata", "maturity", "accuracy", "msg", "multimatch", "noauditlog", "nolog", "pass", "phase",
	"redirect", "rev", "severity", "status", "t", "tag", "ver",
}

// written is a macro as it stands in the rule; "" for none.
func written(v reflect.Value) string {
	if m := open[interface{ String() string }](v); m != nil {
		return m.String()
	}
	return ""
}

// open gives the value of a field that another package keeps to itself. It is read, never written.
func open[T any](field reflect.Value) (v T) {
	if field.Kind() == reflect.Interface && field.IsNil() {
		return v
	}
	v, ok := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(T) //nolint:gosec // the one place where the engine is looked into
	if !ok {
		panic(fmt.Sprintf("%s is no %T", field.Type(), v))
	}
	return v
}
