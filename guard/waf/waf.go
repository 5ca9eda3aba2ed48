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
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// The reasons for which this guard denies.
const (
	ReasonRule   gate.Reason = "waf.rule"   // rules matched and their scores together reached the threshold
	ReasonEngine gate.Reason = "waf.engine" // the engine cannot judge, so it denies
	ReasonBudget gate.Reason = "waf.budget" // to judge it would take longer than one request may
)

// Reasons lists them.
func Reasons() []string {
	return []string{string(ReasonBudget), string(ReasonEngine), string(ReasonRule)}
}

// Config is the section guards.waf.
type Config struct {
	// How suspicious the rules are, 1 to 4. Each step finds more and errs more. Default 1.
	Paranoia int `yaml:"paranoia"`
	// The sum of scores at which a request is denied; a critical rule scores 5. Default 5.
	Threshold int `yaml:"threshold"`
	// How much processor time the rules may take for one request before it is denied with 413. Default 50ms.
	Budget time.Duration `yaml:"budget"`
	// Exceptions for requests that the rules misjudge, as narrow as they can be written.
	Except []Exception `yaml:"except"`
}

// Exception lets one rule be, for one argument or everywhere.
type Exception struct {
	// Number of the rule, as events name it, such as 942100.
	Rule int `yaml:"rule"`
	// Name of the argument that the rule does not look at, such as comment or json.note. Without it, the rule is off.
	Argument string `yaml:"argument"`
	// Operation for which it holds. Without it, all.
	Operation string `yaml:"operation"`
}

// Guard is the guard. Make it with New.
type Guard struct {
	cfg    Config
	rules  *Rules
	levels sync.Map // key of an operation that has exceptions -> *prefilter.Level
}

// New checks the section.
func New(cfg Config, api *gate.API, rules *Rules) (*Guard, error) {
	var m mistake.List
	if cfg.Paranoia < 0 || cfg.Paranoia > 4 {
		m.Add("paranoia", "paranoia: 1", "%d is no paranoia level; they go from 1 to 4", cfg.Paranoia)
	}
	if cfg.Threshold < 0 {
		m.Add("threshold", "threshold: 5", "a negative threshold would deny everything")
	}
	for i, e := range cfg.Except {
		path := fmt.Sprintf("except[%d]", i)
		if e.Rule < 911000 || e.Rule > 944999 {
			m.Add(path+".rule", "942100", "%d is no attack rule of the core rule set; they go from 911000 to 944999", e.Rule)
		}
		if e.Operation != "" && !slices.ContainsFunc(api.Operations, func(op *gate.Operation) bool { return op.Key == e.Operation }) {
			m.Add(path+".operation", nearest(e.Operation, api), "API %q has no operation %q", api.Name, e.Operation)
		}
	}
	if cfg.Paranoia == 0 {
		cfg.Paranoia = 1
	}
	if cfg.Threshold == 0 {
		cfg.Threshold = 5
	}
	if cfg.Budget < 0 {
		m.Add("budget", "budget: 50ms", "no time at all would deny everything")
	}
	if cfg.Budget == 0 {
		cfg.Budget = 50 * time.Millisecond
	}
	return &Guard{cfg: cfg, rules: rules}, m.Err()
}

func nearest(word string, api *gate.API) string {
	known := make([]string, len(api.Operations))
	for i, op := range api.Operations {
		known[i] = op.Key
	}
	return mistake.Nearest(word, known)
}

// NeedsBody tells that bodies are inspected, but for streams and what is declared opaque.
func (g *Guard) NeedsBody(op *gate.Operation) bool { return inspects(op) }

// inspects tells whether the operation may have a body that can be read into a tree.
func inspects(op *gate.Operation) bool {
	if op.Stream.Kind != "" && op.Stream.Kind != "sse" { // what asks for server-sent events is a plain request
		return false
	}
	if op.Contract == nil {
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
	set, err := g.rules.compiled()
	if err != nil {
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
	level := g.level(set, x.Operation)
	if level != nil {
		r.ready(level)
		if _, shown := level.Judge(&r.view, r.work); shown {
			return gate.Allow()
		}
	}
	var rest prefilter.Narrowing
	if level != nil {
		rest = level.Narrow(&r.view, r.work)
	}
	tx, verdict := g.ask(set, x, &r.view, rest.Remove)
	if tx == nil {
		return verdict
	}
	defer tx.Close()
	if level != nil && verdict.Allowed() {
		_ = level.Learn(&r.view, r.work, outcomeOf(tx)) // what can't be learned is asked each time
	}
	return verdict
}

// plainName is what the name of an argument looks like. Anything else that stands in its place may be what nobody wants in
// a log.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.\[\]:-]{1,80}$`)

// denial names the rules that matched, the place they matched at, and the exception that would admit just that.
func (g *Guard) denial(tx transaction, it *types.Interruption, x *gate.Exchange) gate.Verdict {
	var words []string
	var first, shown, argument string
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if id < 911000 || id > 944999 || m.Message() == "" {
			continue
		}
		where := ""
		for _, d := range m.MatchedDatas() {
			where = strings.ToLower(d.Variable().Name())
			if plainName.MatchString(d.Key()) {
				where += ":" + d.Key()
			} else if d.Key() != "" {
				where += ":" + gate.Mask(d.Key())
			}
			if first == "" {
				first, shown = strconv.Itoa(id), gate.Mask(d.Value())
				if strings.HasPrefix(where, "args") && plainName.MatchString(d.Key()) {
					argument = d.Key()
				}
			}
			break
		}
		words = append(words, fmt.Sprintf("%d %s (%s)", id, m.Message(), where))
	}
	if first == "" {
		first = strconv.Itoa(it.RuleID)
	}
	fix := "except: [{rule: " + first
	if argument != "" {
		fix += ", argument: " + argument
	}
	fix += ", operation: " + x.Operation.Key + "}]  # guards.waf"
	return gate.Deny(gate.Attack, ReasonRule, "%s", strings.Join(words, "; ")).At("crs " + first).Showing(shown).Fixed(fix)
}
