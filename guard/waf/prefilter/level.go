package prefilter

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// Outcome is what the engine said of a request.
type Outcome struct {
	Denied  bool
	Matched map[int]int       // number of a rule -> how often it matched
	TX      map[string]string // variables of TX at the end, the first value of each
}

// Level is a filter under one set of settings: what the guard writes into TX before the rules run, and the operator's
// exceptions. It learns classes from outcomes of the engine.
type Level struct {
	filter  *Filter
	scope   Scope
	inputs  []input
	common  map[*secrule.Rule]bool // rules whose first test is an input: all requests of a class have its outcome in common
	varied  []setter               // what those write
	narrow  *plan
	mu      sync.RWMutex
	plans   map[string]*plan
	classes classes
}

// input is something that a class has in common: the values of a target or, for a rule that remembers groups of its match
// though its chain fails, those groups.
type input struct {
	target secrule.Target
	rule   *secrule.Rule // nil: the values themselves
}

// always are inputs of every class, whatever rules say.
var always = []secrule.Target{
	{Variable: variables.RequestMethod}, {Variable: variables.RequestProtocol}, {Variable: variables.ReqbodyProcessor}, {Variable: variables.RequestHeaders, Key: "content-type"},
}

// NewLevel makes the level of settings under which the engine gave the outcome for some harmless request.
func (f *Filter) NewLevel(scope Scope, neutral Outcome) (*Level, error) {
	if scope == nil {
		scope = nothing{}
	}
	l := &Level{filter: f, scope: scope, common: map[*secrule.Rule]bool{}, plans: map[string]*plan{}}
	if neutral.Denied {
		return nil, fmt.Errorf("the rules deny a harmless request: nothing can be derived")
	}
	for _, t := range always {
		l.inputs = append(l.inputs, input{target: t})
	}
	reached, err := f.reach(neutral.Matched, scope)
	if err != nil {
		return nil, err
	}
	for i, r := range f.rules {
		remembers := len(r.Links) > 0 && r.SideEffects()
		if !reached[i] || r.Phase != 1 || !remembers && neutral.Matched[r.ID] == 0 || !isSmall(r) || !f.parts[r].safe || len(f.parts[r].uses) > 0 {
			continue
		}
		for _, t := range r.Targets {
			l.inputs = append(l.inputs, input{t, r})
		}
		l.common[r] = true
		for _, x := range whole(r) {
			for _, s := range x.Actions.Sets {
				key, _, open := strings.Cut(strings.ToLower(s.Key), "%{")
				l.varied = append(l.varied, setter{key: key, open: open})
			}
		}
	}
	l.narrow = l.newNarrow(reached)
	return l, nil
}

// NewWork makes room for judging.
func (l *Level) NewWork() *Work { return l.filter.NewWork() }

// isSmall tells that what a rule reads is the same for most requests, or nearly: single variables, named fields, the
// names of fields.
func isSmall(r *secrule.Rule) bool {
	if r.Test == nil {
		return false
	}
	for _, t := range r.Targets {
		if t.Count || t.KeyPattern != nil || isInternal(t.Variable) {
			return false
		}
		switch t.Variable {
		case variables.RequestBasename, variables.RequestFilename, variables.RequestHeadersNames, variables.RequestMethod, variables.RequestProtocol, variables.RequestLine:
		case variables.RequestHeaders:
			if t.Key == "" || t.Key == "cookie" {
				return false
			}
		default:
			return false
		}
	}
	return onlyGroups(r)
}

// onlyGroups tells that what a rule does depends on the groups of its match, and on nothing else of the value.
func onlyGroups(r *secrule.Rule) bool {
	if len(r.Actions.Other) > 0 {
		return false
	}
	for _, s := range r.Actions.Sets {
		for _, m := range macro.FindAllStringSubmatch(s.Key+s.Value, -1) {
			name, key, _ := strings.Cut(strings.ToLower(m[1]), ".")
			if n, err := strconv.Atoi(key); name != "tx" || err != nil || n > 9 {
				return false
			}
		}
	}
	return !r.Chain.MultiMatch && (!r.Actions.Capture || !r.Test.Negated)
}

// key writes down what a request's class has in common.
func (l *Level) key(v Values, w *Work) hash {
	w.key = w.key[:0]
	var found []string
	for _, in := range l.inputs {
		found = found[:0]
		rule := 0 // exceptions are of rules, and none is of a rule without a number
		if in.rule != nil {
			rule = in.rule.ID
		}
		each(v, 1, &in.target, rule, l.scope, func(text string) bool {
			if in.rule == nil {
				found = append(found, text)
			} else if groups, ok := l.filter.groups(in.rule, text, w); ok {
				found = append(found, groups)
			}
			return true
		})
		slices.Sort(found) // the engine asks in no order
		for _, text := range found {
			w.key = strconv.AppendInt(w.key, int64(len(text)), 10)
			w.key = append(append(w.key, ':'), text...)
		}
		w.key = append(w.key, ';')
	}
	return sha256.Sum256(w.key)
}

// groups are what a rule captures of a value, when it matches.
func (f *Filter) groups(r *secrule.Rule, text string, w *Work) (string, bool) {
	w.fields = w.fields[:0]
	if r.Test.Operator.Evaluate(capturing{secrule.Idle{}, &w.fields}, f.seen(r, text, w)) == r.Test.Negated {
		return "", false
	}
	if !r.Actions.Capture {
		return "", true
	}
	var groups []byte
	for _, field := range w.fields {
		groups = append(append(strconv.AppendInt(groups, int64(len(field)), 10), ':'), field...)
	}
	return string(groups), true
}

// Judge gives the outcome of the engine for a request, if it can be shown without asking: the rules that match. Work is the
// caller's, for one request at a time.
func (l *Level) Judge(v Values, w *Work) (o Outcome, shown bool) {
	c := l.classes.get(l.key(v, w))
	if c == nil {
		w.class = nil
		return Outcome{}, false
	}
	w.class = c
	if !c.plan.judge(v, w) {
		return Outcome{}, false
	}
	return Outcome{Matched: c.plan.matched}, true
}

// Learn takes the outcome that the engine had for a request which Judge did not know. It is the outcome of the request's
// class from now on, if the request itself can be explained by it.
func (l *Level) Learn(v Values, w *Work, o Outcome) error {
	if w.class != nil {
		return nil
	}
	if o.Denied {
		return fmt.Errorf("it was denied")
	}
	key := l.key(v, w)
	if !l.classes.again(key) {
		return errOnce
	}
	p, err := l.plan(o)
	if err != nil {
		return err
	}
	if !p.judge(v, w) {
		return fmt.Errorf("rule %d is not shown not to match", w.first)
	}
	l.classes.put(key, &class{p})
	return nil
}

var (
	errOnce  = errors.New("nothing of its class was seen before")
	errPlans = errors.New("requests have too many different outcomes")
)

// plan gives what is to be shown for requests of a class with this outcome.
func (l *Level) plan(o Outcome) (*plan, error) {
	tx := map[string]string{}
	var key strings.Builder
	for _, id := range slices.Sorted(maps.Keys(o.Matched)) {
		fmt.Fprintf(&key, "%dx%d ", id, o.Matched[id])
	}
	for _, name := range slices.Sorted(maps.Keys(l.filter.keep)) {
		if value, ok := o.TX[name]; ok && !l.isVaried(name) {
			tx[name] = value
			fmt.Fprintf(&key, "%q=%q ", name, value)
		}
	}
	l.mu.RLock()
	p, full := l.plans[key.String()], len(l.plans) >= maxPlans
	l.mu.RUnlock()
	switch {
	case p != nil:
		return p, p.err
	case full:
		return nil, errPlans
	}
	p = l.newPlan(o.Matched, tx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.plans) < maxPlans {
		l.plans[key.String()] = p
	}
	return p, p.err
}

// isVaried tells that a variable of TX is written by a rule of which a class knows what it captured: it differs between
// classes, and no plan may count on its value.
func (l *Level) isVaried(name string) bool {
	return slices.ContainsFunc(l.varied, func(s setter) bool { return s.key == name || s.open && strings.HasPrefix(name, s.key) })
}

// maxPlans bounds how many are kept; a level has a handful.
const maxPlans = 256
