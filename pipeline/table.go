package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Table is the protection table: every operation, what protects it, and what is still open.
type Table struct {
	APIs []APIRow       `json:"apis"`
	Rows []Row          `json:"operations"`
	Open []gate.Finding `json:"open"`
	Risk []gate.Finding `json:"accepted"` // risks taken with a reason

	Notes []gate.Finding `json:"notes,omitempty"` // what is done in another place than the document says
}

// APIRow is what holds for every operation of an API.
type APIRow struct {
	Name       string   `json:"name"`
	Hosts      []string `json:"hosts,omitempty"`      // none: every host that no other API names
	Rate       string   `json:"rate"`                 // quotas for each address and for each caller, or "off"
	Limits     string   `json:"limits"`               // of one request
	CoreRules  string   `json:"core_rules,omitempty"` // of the WAF: their version and where they are from; none where it is off
	PassesOn   bool     `json:"passes_credential_on"`
	Operations int      `json:"operations"`
}

// Row is one operation in the table.
type Row struct {
	API       string `json:"api"`
	Operation string `json:"operation"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Callers   string `json:"callers"` // "public", "any caller", "nobody", or the roles and scopes that are needed

	Tokens string `json:"tokens"` // "bound" to their client; "stealable": they work for whoever holds them; "unchecked"; "none" where no caller needs one

	Roles  []string `json:"roles,omitempty"`  // with these roles and scopes a caller is admitted: one way of several
	Scopes []string `json:"scopes,omitempty"` //

	Input string `json:"input"` // what the contract checks: "params", "params+body", "params+type", "params+size", "none", "off"
	WAF   string `json:"waf"`   // "on", "head only" or "off"
	Open  int    `json:"open"`  // how many findings are about it
}

// Unsaid tells that neither contract nor document says whether some operation is public.
func (t Table) Unsaid() bool {
	return slices.ContainsFunc(t.Open, func(f gate.Finding) bool { return f.ID == unsaid })
}

// Table describes what this Gateway protects.
func (g *Gateway) Table() Table { return g.table }

// Issuers are all whose tokens some API takes, the development issuer among them.
func (g *Gateway) Issuers() []string {
	var list []string
	for _, s := range g.inOrder {
		for _, st := range s.admitted() {
			if who, ok := st.check.(*identity.Guard); ok {
				list = append(list, who.Issuers()...)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Development tells that some API takes tokens of the development issuer.
func (g *Gateway) Development() bool { return slices.Contains(g.Issuers(), dev.Name) }

// Version names the document in events.
func (g *Gateway) Version() string { return g.version }

func (g *Gateway) describe() Table {
	t := Table{APIs: []APIRow{}, Rows: []Row{}, Open: []gate.Finding{}, Risk: []gate.Finding{}}
	for _, s := range g.inOrder {
		t.site(s, g.tools.Now())
	}
	return t
}

func (t *Table) site(s *site, now time.Time) {
	t.APIs = append(t.APIs, APIRow{Name: s.api.Name, Hosts: s.api.Hosts, Rate: s.quota(now), Limits: s.bounds(now), CoreRules: s.coreRules(now), PassesOn: s.pass, Operations: len(s.api.Operations)})
	first := len(t.Rows)
	for _, op := range s.api.Operations {
		row := Row{
			API: s.api.Name, Operation: op.Key, Method: op.Method, Path: s.api.Base + op.Template,
			Callers: s.callers(op.Access, now), Tokens: s.tokens(op.Access, now), Input: s.input(op, now), WAF: s.inspected(op, now),
		}
		row.Roles, row.Scopes = enough(op.Access)
		t.Rows = append(t.Rows, row)
		for _, f := range op.Open {
			f.API, f.Operation, f.Place = s.api.Name, op.Key, op.Pointer
			t.Open = append(t.Open, f)
		}
		if op.Stream.Kind != "" {
			t.Open = append(t.Open, gate.Finding{ID: "operation.stream", API: s.api.Name, Operation: op.Key, Place: op.Pointer,
				What: "the content of this " + op.Stream.Kind + " stream is not inspected", Fix: "make it a plain operation"})
		}
	}
	if c := s.api.Contract; c != nil {
		for _, w := range c.Warnings {
			t.Open = append(t.Open, gate.Finding{ID: w.ID, API: s.api.Name, Operation: w.Operation, What: w.What, Fix: w.Fix, Place: w.Pointer})
		}
	} else if s.risk != "" {
		t.Risk = append(t.Risk, gate.Finding{ID: "api.no_contract", API: s.api.Name, What: "served without a contract", Fix: "contract: openapi.yaml", Risk: s.risk})
	}
	t.switches(s, now)
	for _, st := range s.stages() {
		if g, ok := st.check.(interface {
			Findings(now time.Time) (open, risk []gate.Finding)
		}); ok && !st.rests(now) {
			open, risk := g.Findings(now)
			t.Open, t.Risk = append(t.Open, s.ofSection(st, open)...), append(t.Risk, s.ofSection(st, risk)...)
		}
		if g, ok := st.check.(interface{ Notes() []gate.Finding }); ok && !st.rests(now) {
			t.Notes = append(t.Notes, s.ofSection(st, g.Notes())...)
		}
	}
	for i := first; i < len(t.Rows); i++ {
		t.Rows[i].Open = t.about(t.Rows[i])
	}
}

// ofSection names the API and, where a guard doesn't, the section of what the guard found in it.
func (s *site) ofSection(st stage, found []gate.Finding) []gate.Finding {
	for i := range found {
		found[i].API = s.api.Name
		if found[i].Place == "" {
			found[i].Place = st.section
		}
	}
	return found
}

// about counts what is open about one operation.
func (t *Table) about(r Row) (n int) {
	for _, f := range t.Open {
		if f.API == r.API && f.Operation == r.Operation {
			n++
		}
	}
	return n
}

// switches lists the guards that are off or in dry run, and those that were.
func (t *Table) switches(s *site, now time.Time) {
	for _, st := range s.stages() {
		for _, sw := range []struct {
			id, key, what string
			risk          gate.Risk
		}{{"guard.off", "off", "is switched off", st.off}, {"guard.dry_run", "dry_run", "denies nothing, it only records", st.dryRun}} {
			if sw.risk.AcceptRisk == "" {
				continue
			}
			f := gate.Finding{ID: sw.id, API: s.api.Name, Fix: "remove " + st.section + "." + sw.key, Place: st.section}
			until := sw.risk.Until.Format("2006-01-02")
			if !sw.risk.Accepted(now) {
				f.ID, f.What = sw.id+"_over", st.name+" works again since "+until+", although the document still says "+sw.key
				t.Open = append(t.Open, f)
				continue
			}
			f.What, f.Risk = st.name+" "+sw.what, sw.risk.AcceptRisk
			if !sw.risk.Until.IsZero() {
				f.What += ", until " + until
			}
			t.Risk = append(t.Risk, f)
		}
	}
}

// stages lists every guard of the site once.
func (s *site) stages() []stage {
	var list []stage
	for _, phase := range [][]stage{s.arrive, s.admitted(), s.release} {
		for _, st := range phase {
			if !slices.ContainsFunc(list, func(have stage) bool { return have.name == st.name }) {
				list = append(list, st)
			}
		}
	}
	return list
}

// stage finds a guard by its name.
func (s *site) stage(name string) stage {
	for _, st := range s.stages() {
		if st.name == name {
			return st
		}
	}
	return stage{}
}

// admitted are the guards that know the operation; they are the same for every operation of the API.
func (s *site) admitted() []stage {
	if len(s.plans) == 0 {
		return nil
	}
	return s.plans[0].admit
}

// quota tells the rates that hold for the API.
func (s *site) quota(now time.Time) string {
	st := s.stage("rate")
	if st.rests(now) {
		return "off"
	}
	var words []string
	for _, part := range []struct {
		of     string
		stages []stage
	}{{"per address", s.arrive}, {"per caller", s.admitted()}} {
		for _, st := range part.stages {
			if g, ok := st.check.(interface{ Quota() rate.Quota }); ok {
				words = append(words, g.Quota().String()+" "+part.of)
			}
		}
	}
	return strings.Join(words, ", ") + dryRun(st, now)
}

// bounds tells the limits of one request.
func (s *site) bounds(now time.Time) string {
	h, b, prefix := s.limits.Head(), s.limits.Body(), ""
	if s.stage("limits").rests(now) {
		prefix = "off; readers still stop at: "
	}
	return prefix + fmt.Sprintf("URL %s, %d query parameters, %d cookies, body %s, depth %d, expansion %d",
		unit.Size(h.URL), h.Query, h.Cookies, unit.Size(b.Bytes), b.Depth, b.Ratio) + dryRun(s.stage("limits"), now)
}
