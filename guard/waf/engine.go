package waf

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// transaction is what we use of Coraza's beyond its published interface; the version is pinned.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// ask lets the engine judge, without the rules that are shown not to match. The outcome is nothing when it can't be said
// of another request too: the request was denied, or a rule in detection matched.
func (g *Guard) ask(x *gate.Exchange, v *view.View, m *meter, a seclang.Applied, remove []int) (verdict gate.Verdict, o prefilter.Outcome) {
	tx := g.open(x, remove)
	if tx == nil {
		return gate.Deny(gate.Internal, ReasonEngine, "this version of the engine is not the one that is known"), o
	}
	defer tx.Close()
	a.ApplyOff(tx)
	g.leaveOut(tx, x, v)
	verdict = g.judge(tx, x, v, m)
	switch {
	case verdict.Allowed():
		if g.learn(tx, x) { // each is to be counted, so each is asked
			return verdict, o
		}
		return verdict, outcomeOf(tx)
	case verdict.Reason != ReasonRule || !a.Detects():
		return verdict, o
	}
	again := g.open(x, remove)
	defer again.Close()
	a.Apply(again)
	g.leaveOut(again, x, v)
	if enforced := g.judge(again, x, v, m); !enforced.Allowed() {
		return enforced, o
	}
	return gate.Allow().Noting(gate.Would{Guard: "waf", Code: verdict.Code, Reason: verdict.Reason, Rule: verdict.Rule, Detail: verdict.Detail}), o
}

// leaveOut takes from the rules those values of which the contract says that they go where such rules have no business.
func (g *Guard) leaveOut(tx transaction, x *gate.Exchange, v *view.View) {
	if c := g.sinks(x); c.sinks {
		c.Apply(tx, v)
	}
}

// judge runs the rules of both phases, within the time that they have.
func (g *Guard) judge(tx transaction, x *gate.Exchange, v *view.View, m *meter) gate.Verdict {
	defer g.set.clock.of(tx, m)()
	it, err := phases(tx, v)
	switch {
	case err != nil:
		return gate.Deny(gate.Internal, ReasonEngine, "%v", err)
	case m.over:
		return g.overBudget()
	case it != nil:
		return g.denial(tx, it, x)
	}
	return gate.Allow()
}

// overBudget denies what takes too long to judge.
func (g *Guard) overBudget() gate.Verdict {
	return gate.Deny(gate.TooLarge, ReasonBudget, "the rules would take more than %s of processor time for this request", g.cfg.Budget).
		Fixed("budget: " + (2 * g.cfg.Budget).String() + "  # guards.waf")
}

func phases(tx transaction, v *view.View) (*types.Interruption, error) {
	if err := v.FeedHead(tx); err != nil {
		return nil, err
	}
	if it := tx.ProcessRequestHeaders(); it != nil {
		return it, nil
	}
	if err := v.FeedBody(tx); err != nil {
		return nil, err
	}
	return tx.ProcessRequestBody()
}

// open begins a transaction under this API's settings; nil when the engine is not the one that is known.
func (g *Guard) open(x *gate.Exchange, remove []int) transaction {
	tx, ok := g.set.engine.NewTransactionWithID(x.ID).(transaction)
	if !ok {
		return nil
	}
	vars := tx.Variables().TX()
	level := strconv.Itoa(g.cfg.Paranoia)
	vars.Set("blocking_paranoia_level", []string{level})
	vars.Set("detection_paranoia_level", []string{level})
	vars.Set("inbound_anomaly_score_threshold", []string{strconv.Itoa(g.cfg.Threshold)})
	vars.Set("allowed_methods", []string{x.Request.Method}) // methods and media types are the contract's business
	if media, _, refusal := body.MediaType(x.Request.Fields); refusal == nil && media != "" {
		vars.Set("allowed_request_content_type", []string{"|" + media + "|"})
	}
	if g.learning != nil {
		seclang.Next(tx, g.cfg.Paranoia)
	}
	for _, id := range remove {
		tx.RemoveRuleByID(id)
	}
	return tx
}

// learn counts what the next paranoia level finds in a request that was allowed, and tells whether there was anything.
func (g *Guard) learn(tx transaction, x *gate.Exchange) bool {
	if g.learning == nil {
		return false
	}
	found := seclang.Found(tx)
	if x.Request != g.rules.carrier || len(found) > 0 { // a request is counted once, unless something lies deeper in it
		g.learning.Record(x.Operation.Key, found, seclang.Would(tx), g.now())
	}
	return len(found) > 0
}

// outcomeOf is what the engine said.
func outcomeOf(tx transaction) prefilter.Outcome {
	o := prefilter.Outcome{Denied: tx.IsInterrupted(), Matched: map[int]int{}, TX: map[string]string{}}
	for _, m := range tx.MatchedRules() {
		o.Matched[m.Rule().ID()]++
	}
	for _, m := range tx.Variables().TX().FindAll() {
		if key := strings.ToLower(m.Key()); o.TX[key] == "" {
			o.TX[key] = m.Value()
		}
	}
	return o
}
