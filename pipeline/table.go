package pipeline

import (
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Table is the protection table: every operation, what protects it, and what is still open.
type Table struct {
	Rows []Row          `json:"operations"`
	Open []gate.Finding `json:"open"`
	Risk []gate.Finding `json:"accepted"` // risks taken with a reason
}

// Row is one operation in the table.
type Row struct {
	API       string `json:"api"`
	Operation string `json:"operation"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Hosts     string `json:"hosts"`
	Callers   string `json:"callers"` // "public", "any caller", "nobody", or the roles and scopes that are needed
	Input     string `json:"input"`   // what is checked of parameters and body
	Rate      string `json:"rate"`
	WAF       string `json:"waf"`
	Open      int    `json:"open"` // how many findings are about it
}

// Unsaid tells that neither contract nor document says whether some operation is public.
func (t Table) Unsaid() bool {
	for _, f := range t.Open {
		if f.ID == unsaid {
			return true
		}
	}
	return false
}

// Table describes what this Gateway protects.
func (g *Gateway) Table() Table { return g.table }

// Development tells that some API takes tokens of the development issuer.
func (g *Gateway) Development() bool {
	for _, s := range g.inOrder {
		for _, st := range s.firstAdmit() {
			if who, ok := st.check.(*identity.Guard); ok && slices.Contains(who.Issuers(), dev.Name) {
				return true
			}
		}
	}
	return false
}

// Version names the document in events.
func (g *Gateway) Version() string { return g.version }

func (g *Gateway) describe() Table {
	var t Table
	for _, s := range g.inOrder {
		t.site(s)
	}
	return t
}

func (t *Table) site(s *site) {
	quota := s.quota()
	for _, op := range s.api.Operations {
		row := Row{
			API: s.api.Name, Operation: op.Key, Method: op.Method, Path: s.api.Base + op.Template, Hosts: strings.Join(s.api.Hosts, " "),
			Callers: callers(op.Access), Input: input(op), Rate: quota, WAF: s.inspected(op),
		}
		for _, f := range op.Open {
			f.API, f.Operation, f.Place = s.api.Name, op.Key, op.Pointer
			t.Open = append(t.Open, f)
			row.Open++
		}
		if op.Stream.Kind != "" {
			t.Open = append(t.Open, gate.Finding{ID: "operation.stream", API: s.api.Name, Operation: op.Key, Place: op.Pointer,
				What: "the content of this " + op.Stream.Kind + " stream is not inspected", Fix: "make it a plain operation, or accept it"})
			row.Open++
		}
		t.Rows = append(t.Rows, row)
	}
	if c := s.api.Contract; c != nil {
		for _, w := range c.Warnings {
			t.Open = append(t.Open, gate.Finding{ID: w.ID, API: s.api.Name, Operation: w.Operation, What: w.What, Fix: w.Fix, Place: w.Pointer})
			for i := range t.Rows {
				if t.Rows[i].API == s.api.Name && t.Rows[i].Operation == w.Operation && w.Operation != "" {
					t.Rows[i].Open++
				}
			}
		}
	} else {
		t.Risk = append(t.Risk, gate.Finding{ID: "api.no_contract", API: s.api.Name, What: "served without a contract", Fix: "contract: openapi.yaml", Risk: s.risk})
	}
	t.switches(s)
}

// switches lists the guards that are off or in dry run.
func (t *Table) switches(s *site) {
	for _, st := range s.stages() {
		switch {
		case st.off:
			t.Risk = append(t.Risk, gate.Finding{ID: "guard.off", API: s.api.Name, What: st.name + " is switched off", Fix: "remove " + st.section + ".off", Place: st.section, Risk: st.risk})
		case st.dryRun.AcceptRisk != "":
			t.Risk = append(t.Risk, gate.Finding{ID: "guard.dry_run", API: s.api.Name, What: st.name + " only records, until " + st.dryRun.Until.Format("2006-01-02"), Fix: "remove " + st.section + ".dry_run", Place: st.section, Risk: st.dryRun.AcceptRisk})
		}
	}
}

// stages lists every guard of the site once.
func (s *site) stages() []stage {
	var list []stage
	add := func(more []stage) {
		for _, st := range more {
			known := false
			for _, have := range list {
				known = known || have.name == st.name
			}
			if !known {
				list = append(list, st)
			}
		}
	}
	add(s.arrive)
	for _, p := range s.plans {
		add(p.admit)
		break
	}
	add(s.release)
	return list
}

// quota tells the rates that hold for the API.
func (s *site) quota() string {
	var words []string
	for _, st := range s.stages() {
		if st.name != "rate" {
			continue
		}
		if st.off {
			return "off"
		}
	}
	for _, list := range [][]stage{s.arrive, s.firstAdmit()} {
		for _, st := range list {
			if g, ok := st.check.(interface{ Quota() rate.Quota }); ok {
				words = append(words, g.Quota().String())
			}
		}
	}
	return strings.Join(words, ", ")
}

func (s *site) firstAdmit() []stage {
	for _, p := range s.plans {
		return p.admit
	}
	return nil
}

// inspected tells what the WAF sees of an operation.
func (s *site) inspected(op *gate.Operation) string {
	for _, st := range s.firstAdmit() {
		if st.name != "waf" {
			continue
		}
		switch {
		case st.off:
			return "off"
		case st.dryRun.AcceptRisk != "":
			return "dry run"
		case st.body != nil && st.body.NeedsBody(op):
			return "head, body"
		}
		return "head"
	}
	return "off"
}

// callers says in words who may call.
func callers(a gate.Access) string {
	if a.Public {
		return "public"
	}
	if len(a.Rules) == 0 {
		return "nobody"
	}
	var words []string
	for _, rule := range a.Rules {
		if w := needs(rule.AnyOf); w != "" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "any caller"
	}
	return strings.Join(words, " and ")
}

func needs(any []gate.Need) string {
	var words []string
	for _, n := range any {
		switch {
		case n.AnyCaller:
			return ""
		case len(n.Roles) > 0:
			words = append(words, strings.Join(n.Roles, "|"))
		case len(n.Scopes) > 0:
			words = append(words, strings.Join(n.Scopes, "+"))
		default:
			words = append(words, "nobody")
		}
	}
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, " or ")
}

// input says in words what is checked of parameters and body.
func input(op *gate.Operation) string {
	if op.Contract == nil {
		return "limits only"
	}
	words := []string{"params"}
	for _, b := range op.Contract.Bodies {
		switch b.Kind {
		case body.Opaque:
			words = append(words, "size")
		case body.XML, body.Text:
			words = append(words, "form")
		default:
			words = append(words, "schema")
		}
		break
	}
	return strings.Join(words, ", ")
}
