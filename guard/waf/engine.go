package waf

import (
	"regexp"
	"strconv"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
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

// ask lets the engine judge, without the rules that are shown not to match. The caller closes the transaction, which is nil
// when the engine can't judge.
func (g *Guard) ask(s *ruleSet, x *gate.Exchange, v *view.View, remove []int) (transaction, gate.Verdict) {
	tx := g.open(s, x, remove)
	if tx == nil {
		return nil, gate.Deny(gate.Internal, ReasonEngine, "this version of the engine is not the one that is known")
	}
	meter, end := s.clock.start(x.ID, g.cfg.Budget)
	it, err := judge(tx, v)
	end()
	switch {
	case err != nil:
		_ = tx.Close()
		return nil, gate.Deny(gate.Internal, ReasonEngine, "%v", err)
	case meter.over:
		return tx, g.overBudget()
	case it != nil:
		return tx, g.denial(tx, it, x)
	}
	return tx, gate.Allow()
}

// open begins a transaction under this API's settings and exceptions; nil when the engine is not the one that is known.
func (g *Guard) open(s *ruleSet, x *gate.Exchange, remove []int) transaction {
	tx, ok := s.engine.NewTransactionWithID(x.ID).(transaction)
	if !ok {
		return nil
	}
	media, _, refusal := body.MediaType(x.Request.Fields)
	if refusal != nil {
		media = ""
	}
	g.settle(tx, x.Request.Method, media)
	g.except(tx, x.Operation)
	for _, id := range remove {
		tx.RemoveRuleByID(id)
	}
	return tx
}

// overBudget denies what takes too long to judge.
func (g *Guard) overBudget() gate.Verdict {
	return gate.Deny(gate.TooLarge, ReasonBudget, "the rules would take more than %s of processor time for this request", g.cfg.Budget).
		Fixed("budget: " + (2 * g.cfg.Budget).String() + "  # guards.waf")
}

// judge runs the rules of both phases.
func judge(tx transaction, v *view.View) (*types.Interruption, error) {
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

// settle gives the rules this API's settings, and what the contract admitted.
func (g *Guard) settle(tx transaction, method, media string) {
	vars := tx.Variables().TX()
	level := strconv.Itoa(g.cfg.Paranoia)
	vars.Set("blocking_paranoia_level", []string{level})
	vars.Set("detection_paranoia_level", []string{level})
	vars.Set("inbound_anomaly_score_threshold", []string{strconv.Itoa(g.cfg.Threshold)})
	vars.Set("allowed_methods", []string{method})
	if media != "" {
		vars.Set("allowed_request_content_type", []string{"|" + media + "|"})
	}
}

// except leaves out what the operator has excepted.
func (g *Guard) except(tx transaction, op *gate.Operation) {
	for _, e := range g.cfg.Except {
		switch {
		case !e.holds(op):
		case e.Argument == "":
			tx.RemoveRuleByID(e.Rule)
		default:
			for _, v := range arguments {
				tx.RemoveRuleTargetByID(e.Rule, v, e.Argument, nil)
			}
		}
	}
}

// outcomeOf is what the engine said.
func outcomeOf(tx transaction) prefilter.Outcome {
	o := prefilter.Outcome{Denied: tx.IsInterrupted(), Matched: map[int]int{}, TX: map[string]string{}}
	for _, m := range tx.MatchedRules() {
		o.Matched[m.Rule().ID()]++
	}
	for _, m := range tx.Variables().TX().FindAll() {
		if _, ok := o.TX[m.Key()]; !ok {
			o.TX[m.Key()] = m.Value()
		}
	}
	return o
}
