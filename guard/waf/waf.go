// Package waf looks for attacks in what the contract lets pass: injections into SQL, shells, templates, pages and file
// names, by the OWASP Core Rule Set on the Coraza engine. The contract says what a value may look like; this guard says
// what even an allowed text should not contain. It sees only requests in canonical form and bodies that the strict reader
// has understood, so there is no other reading to hide in.
package waf

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/corazawaf/coraza/v3/types"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/response"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/leak"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// The reasons for which this guard denies.
const (
	ReasonRule   gate.Reason = "waf.rule"   // rules matched and their scores together reached the threshold
	ReasonNested gate.Reason = "waf.nested" // so they did, in what lies under a further coding of a value
	ReasonEngine gate.Reason = "waf.engine" // the engine cannot judge, so it denies
	ReasonBudget gate.Reason = "waf.budget" // to judge it would take longer than one request may
)

// Reasons lists them, with those for which an answer is denied.
func Reasons() []string {
	return []string{
		string(ReasonBudget), string(ReasonEngine), string(ReasonNested), string(ReasonRule),
		string(response.ReasonLeak), string(response.ReasonRule), string(response.ReasonUnread),
	}
}

// Config is the section guards.waf.
type Config struct {
	// How suspicious the rules are, 1 to 4. Each step finds more and errs more. Default 1.
	Paranoia int `yaml:"paranoia"`
	// The sum of scores at which a request is denied; a critical rule scores 5. Default 5.
	Threshold int `yaml:"threshold"`
	// How much processor time the rules may take for one request before it is denied with 413. Default 50ms.
	Budget time.Duration `yaml:"budget"`
	// Whether the rules of the next paranoia level run too, for the report of gatehouse waf learned; they deny nothing. Default false.
	Learn bool `yaml:"learn"`
	// Whether the rules look at every value. Without it, a value is passed over by those rules that can't match anything which its schema admits. Default false.
	Exact bool `yaml:"exact"`
	// Own rules, in SecLang, and another core rule set.
	Rules Own `yaml:"rules"`
	// Exceptions for requests that the rules misjudge, as narrow as they can be written.
	Except []seclang.Exception `yaml:"except"`
	// Whether the rules also look under codings inside of values: JSON in a text, Base64, compatible forms of Unicode. Default true.
	Nested *bool `yaml:"nested"`
	// Whether answers are looked into, and what becomes of those in which something is found.
	Responses response.Config `yaml:"responses"`
}

// Tools are what the guard is handed.
type Tools struct {
	Rules  *Rules
	Files  func(name string) ([]byte, error) // files beside or below the document
	Folder func(name string) seclang.Folder  // a folder there, out of which no link leads
	Now    func() time.Time
}

// Guard is the guard. Make it with New.
type Guard struct {
	*response.Inspector // of answers

	cfg      Config
	api      string
	rules    *Rules
	core     *core
	set      *ruleSet // the core rules, with own files
	except   *seclang.Exceptions
	now      func() time.Time
	levels   sync.Map // of operations that have exceptions -> *prefilter.Level
	scopes   sync.Map // key of an operation -> *known
	learning *seclang.Learning
	report   seclang.Report // of the operator's own files
}

// New checks the section. Core rules that can't be compiled are told by Rules.Ready.
func New(cfg Config, api *gate.API, t Tools) (*Guard, error) {
	var m mistake.List
	if cfg.Paranoia < 0 || cfg.Paranoia > 4 {
		m.Add("paranoia", "paranoia: 1", "%d is no paranoia level; they go from 1 to 4", cfg.Paranoia)
	}
	if cfg.Threshold < 0 {
		m.Add("threshold", "threshold: 5", "a negative threshold would deny everything")
	}
	if cfg.Budget < 0 {
		m.Add("budget", "budget: 50ms", "no time at all would deny everything")
	}
	g := &Guard{cfg: cfg.withDefaults(), api: api.Name, rules: t.Rules, now: t.Now}
	core, err := t.Rules.released(cfg.Rules.Core, t.Folder)
	m.Under("rules.core", err)
	g.core, g.set = core, core.set
	files, err := cfg.Rules.read(t.Files, core, t.Now())
	m.Under("rules", err)
	if err == nil {
		if set, err := t.Rules.with(core, files); err != nil {
			m.Add("rules", "", "the engine does not take these files: %v", err)
		} else {
			g.set, g.report = set, files.report
		}
	}
	keys := make([]string, len(api.Operations))
	for i, op := range api.Operations {
		keys[i] = op.Key
	}
	g.except, err = seclang.NewExceptions(cfg.Except, g.set.has, keys, t.Now())
	m.Under("except", err)
	g.Inspector, err = response.New(cfg.Responses, g.cfg.Paranoia, api, core.answers)
	m.Under("responses", err)
	if cfg.Learn {
		g.learning = t.Rules.learn(api.Name)
	}
	return g, m.Err()
}

func (c Config) withDefaults() Config {
	if c.Paranoia == 0 {
		c.Paranoia = 1
	}
	if c.Threshold == 0 {
		c.Threshold = 5
	}
	if c.Budget == 0 {
		c.Budget = 50 * time.Millisecond
	}
	return c
}

// NeedsBody tells that bodies are inspected, but for streams and what is declared opaque.
func (g *Guard) NeedsBody(op *gate.Operation) bool { return inspects(op) }

// inspects tells whether the operation may have a body that can be read into a tree.
func inspects(op *gate.Operation) bool {
	if op.Stream.Kind != "" && op.Stream.Kind != "sse" { // what asks for server-sent events is a plain request
		return false
	}
	if op.Contract == nil || len(op.Contract.Bodies) == 0 { // who enforces the contract refuses one that it does not declare
		return true
	}
	for _, b := range op.Contract.Bodies {
		if b.Kind != body.Opaque {
			return true
		}
	}
	return false
}

// Check judges the request: by the prefilter when it knows the answer, else by the engine.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	if err := g.set.compile(); err != nil {
		return gate.Deny(gate.Internal, ReasonEngine, "%v", err)
	}
	tree := &body.Tree{}
	if inspects(x.Operation) && x.Request.Length != 0 {
		var v gate.Verdict
		if tree, v = x.Body(ctx); !v.Allowed() {
			return v
		}
	}
	r := g.rules.room()
	defer g.rules.giveBack(r)
	r.view.Fill(x, tree)
	if r.view.TooMany() {
		return gate.Deny(gate.TooLarge, ReasonEngine, "the request holds more values, or longer names, than the rules can be asked about")
	}
	applied := g.except.For(x.Operation.Key, g.now())
	g.level(x, applied, inside{}) // what is made, or waited for, by the first requests is not on their account
	r.find = g.finder(x)
	r.meter.start(g.cfg.Budget)
	defer r.meter.end()
	verdict, fast := g.decide(x, &r.view, r, applied, inside{})
	if fast {
		g.rules.fast.Add(1)
		if g.learning != nil { // what is found is never learned as an outcome, so here is nothing
			g.learning.Record(x.Operation.Key, nil, false, g.now())
		}
	} else {
		g.rules.slow.Add(1)
	}
	if !verdict.Allowed() {
		return verdict
	}
	return g.nested(x, r, applied, verdict)
}

// decide judges what the rules can read, and tells whether that was possible without the engine.
func (g *Guard) decide(x *gate.Exchange, v *view.View, r *room, applied seclang.Applied, in inside) (verdict gate.Verdict, fast bool) {
	level := g.level(x, applied, in)
	if level == nil {
		verdict, _ := g.ask(x, v, &r.meter, applied, in.rules)
		return verdict, false
	}
	r.ready(level)
	r.work.Know(r.find)
	r.work.Watch(r.meter.late)
	if _, shown := level.Judge(v, r.work); shown {
		return gate.Allow(), true
	}
	remove := level.Narrow(v, r.work)
	if r.meter.over {
		return g.overBudget(), false
	}
	verdict, outcome := g.ask(x, v, &r.meter, applied, slices.Concat(remove, in.rules))
	if verdict.Allowed() && outcome.Matched != nil {
		_ = level.Learn(v, r.work, outcome) // what can't be learned is asked each time
	}
	return verdict, false
}

// plainName is what the name of an argument looks like. Anything else that stands in its place may be what nobody wants in
// a log.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.\[\]:-]{1,80}$`)

// isPlain tells that a name may be told: it has no odd signs, and is not by chance what a token would be.
func isPlain(name string) bool { return plainName.MatchString(name) && !leak.Looks(name) }

// denial names the rules that matched, the place they matched at, and the exception that would admit just that: for the rule
// that denied or, where scores did, for the gravest.
func (g *Guard) denial(tx transaction, it *types.Interruption, x *gate.Exchange) gate.Verdict {
	var words []string
	var first, shown string
	gravest := 0
	fix := seclang.Exception{Operation: x.Operation.Key, Author: "YOU", Reason: "why the rule errs here", Until: g.now().AddDate(0, 3, 0)}
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if !judges(id) || m.Message() == "" && id < 1000000 && id >= 900000 || seclang.LevelOf(m.Rule()) > g.cfg.Paranoia {
			continue
		}
		where := ""
		if list := m.MatchedDatas(); len(list) > 0 {
			d := list[0]
			where = strings.ToLower(d.Variable().Name())
			if isPlain(d.Key()) {
				where += ":" + d.Key()
			} else if d.Key() != "" {
				where += ":" + gate.Mask(d.Key())
			}
			if grave := gravity(m.Rule().Severity(), id == it.RuleID); first == "" || grave > gravest {
				first, shown, gravest = g.nameOf(id), gate.Mask(d.Value()), grave
				fix.Rule, fix.Argument = id, ""
				if isPlain(d.Key()) {
					fix.Argument = seclang.Argument(d.Variable().Name(), d.Key())
				}
			}
		}
		words = append(words, fmt.Sprintf("%d %s (%s)", id, g.set.message(id), where))
	}
	if first == "" {
		first, fix.Rule = g.nameOf(it.RuleID), it.RuleID
	}
	return gate.Deny(gate.Attack, ReasonRule, "%s", strings.Join(words, "; ")).At(first).Showing(shown).Fixed("except: [" + fix.String() + "]  # guards.waf")
}

// gravity orders rules by what they have to do with a denial: the one that denied, then by their severity, then those that
// say none.
func gravity(s types.RuleSeverity, denied bool) int {
	switch {
	case denied:
		return 100
	case s == types.RuleSeverityEmergency: // or none is said
		return 1
	}
	return 50 - int(s)
}

// judges tells that a rule judges a request, and does not only set, add up or decide.
func judges(id int) bool {
	return id < 100000 || id > 100099 && id < 900000 || id >= 911000 && id < 949000 || id >= 1000000
}

// nameOf is how events name a rule.
func (g *Guard) nameOf(id int) string {
	if place, ok := g.set.places[id]; ok {
		return fmt.Sprintf("rule %d (%s)", id, place)
	}
	return "crs " + strconv.Itoa(id)
}
