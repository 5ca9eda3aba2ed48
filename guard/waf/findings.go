package waf

import (
	"fmt"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// soon is how long ahead the end of an exception is told.
const soon = 14 * 24 * time.Hour

// Findings are what is open in the section, and what it takes as a risk: exceptions that have ended, and so are not applied,
// or end soon; and the lines of own files that switch something off.
func (g *Guard) Findings(now time.Time) (open, risk []gate.Finding) {
	for _, e := range g.except.Expired(now) {
		open = append(open, ended("waf.exception_over", e, "ended on "+day(e)+" and is no longer applied", "remove it, or write why it is still needed and a later until"))
	}
	for _, e := range g.except.Ending(now, soon) {
		open = append(open, ended("waf.exception_ending", e, "ends on "+day(e)+"; what it admits is denied from then on", "mend the client, or write a later until"))
	}
	for _, m := range g.report.Insecure {
		risk = append(risk, said("waf.insecure_line", m, "remove the line", g.cfg.Rules.Insecure.AcceptRisk))
	}
	return open, risk
}

// Notes are the lines of own files that speak of what Gatehouse does in another place, which the engine is not given; and
// why these rules make each request be asked of the engine, if they do.
func (g *Guard) Notes() (list []gate.Finding) {
	if g.set == g.rules.core.set {
		return nil // nothing is written
	}
	if err := g.slow(); err != nil {
		list = append(list, gate.Finding{ID: "waf.slow", What: fmt.Sprintf("with these rules no outcome can be known beforehand, so that the engine judges each request: %v", err), Fix: "write that rule in another way; guard/waf/README.md says how requests are judged"})
	}
	for _, m := range g.report.Notes {
		list = append(list, said("waf.line_left_out", m, m.Write, ""))
	}
	return list
}

// slow tells why nothing is known beforehand of a plain operation.
func (g *Guard) slow() error {
	d := g.derived()
	if <-d.done; d.why != nil {
		return d.why
	}
	_, err := d.filter.NewLevel(nil, g.neutral(&gate.Operation{}, nil, nil))
	return err
}

func day(e seclang.Exception) string { return e.Until.Format(time.DateOnly) }

func ended(id string, e seclang.Exception, what, fix string) gate.Finding {
	where := ""
	if e.Argument != "" {
		where = " at " + e.Argument
	}
	return gate.Finding{ID: id, Operation: e.Operation, What: fmt.Sprintf("the exception of %s for rule %d%s %s (%s)", e.Author, e.Rule, where, what, e.Reason), Fix: fix}
}

// said is a mistake in another file than the document.
func said(id string, m mistake.Mistake, fix, risk string) gate.Finding {
	return gate.Finding{ID: id, What: fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What), Fix: fix, Risk: risk}
}
