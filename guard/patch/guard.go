package patch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/expression"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Added is what was added by command and is followed while requests are served. It gives the same list until something
// changes; nobody changes a list that was given.
type Added interface {
	Patches() *List
}

// List is what was added by command, at one moment.
type List struct {
	By map[string][]*Compiled // API -> patches that aren't lifted; expired ones may be among them
}

// Guard judges the requests of one API by its patches.
type Guard struct {
	api   *gate.API
	own   []*Compiled // of the document
	added Added       // nil: none
	turn  sync.Mutex  // while the plan is made anew
	plan  atomic.Pointer[plan]
}

// plan is which patches are about which operation.
type plan struct {
	of *List
	by map[*gate.Operation][]*Compiled
}

// New checks the section: every mistake of every patch. Added may be nil.
func New(cfg Config, api *gate.API, added Added, now func() time.Time) (*Guard, error) {
	g := &Guard{api: api, added: added}
	if api == nil {
		return nil, mistake.List{{What: "no API is given"}}
	}
	var m mistake.List
	if len(cfg.List) > 0 {
		g.own = load(cfg, api, now(), &m)
	}
	g.plan.Store(g.planned(nil))
	return g, m.Err()
}

func load(cfg Config, api *gate.API, now time.Time, m *mistake.List) (all []*Compiled) {
	loader, err := NewLoader(cfg.Cost)
	if err != nil {
		m.Under("", err)
		return nil
	}
	seen := map[string]int{}
	for i, p := range cfg.List {
		path := fmt.Sprintf("list[%d]", i)
		if first, twice := seen[p.ID]; twice && p.ID != "" {
			m.Add(path+".id", "", "%q is the name of list[%d] too", p.ID, first)
		}
		seen[p.ID] = i
		c, err := loader.Check(p, api, now, false)
		m.Under(path, err)
		if err == nil {
			c.lift, c.where = "remove it", "guards.patch.list, id "+p.ID
			all = append(all, c)
		}
	}
	return all
}

// planned sorts patches by operation, once for each change.
func (g *Guard) planned(list *List) *plan {
	p := &plan{of: list, by: map[*gate.Operation][]*Compiled{}}
	all := g.own
	if list != nil {
		all = append(append([]*Compiled{}, g.own...), list.By[g.api.Name]...)
	}
	for _, c := range all {
		for _, op := range g.api.Operations {
			if c.About(op) {
				p.by[op] = append(p.by[op], c)
			}
		}
	}
	return p
}

// current is the plan by what is in force now. It waits for nothing but another request that is making it.
func (g *Guard) current() *plan {
	p := g.plan.Load()
	if g.added == nil {
		return p
	}
	list := g.added.Patches()
	if p.of == list {
		return p
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if p = g.plan.Load(); p.of != list {
		p = g.planned(list)
		g.plan.Store(p)
	}
	return p
}

// NeedsBody tells that the document's patches look into the body of the operation. Of patches that come later the body is read
// when they ask.
func (g *Guard) NeedsBody(op *gate.Operation) bool {
	for _, c := range g.plan.Load().by[op] {
		if c.readsBody() && !streams(op) {
			return true
		}
	}
	return false
}

// Check denies a request that a patch matches, or of which a patch can't tell. A patch that has ended is not asked.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	if g.plan.Load() == nil {
		return gate.Verdict{} // made by nobody, it denies
	}
	all := g.current().by[x.Operation]
	if len(all) == 0 {
		return gate.Allow()
	}
	return Judge(ctx, all, x)
}

// Judge asks patches of a request, which has been matched to the operation that they are about.
func Judge(ctx context.Context, all []*Compiled, x *gate.Exchange) gate.Verdict {
	allowed, s := gate.Allow(), expression.Subject{}
	for _, c := range all {
		if c.Expired(x.Began) {
			continue
		}
		if s.Request == nil {
			s = subject(x)
		}
		if s.Body == nil && c.readsBody() && !streams(x.Operation) {
			tree, v := x.Body(ctx)
			if !v.Allowed() {
				return v.Noting(allowed.Noted...) // also of a patch that only records: nobody can read this body
			}
			s.Body = tree
		}
		matches, err := c.judge(x, &s)
		if !matches && err == nil {
			continue
		}
		v := c.verdict(err)
		if c.Blocks() {
			return v.Noting(allowed.Noted...)
		}
		allowed = allowed.Noting(gate.Would{Guard: "patch", Code: v.Code, Reason: v.Reason, Rule: v.Rule, Detail: v.Detail})
	}
	return allowed
}

func subject(x *gate.Exchange) expression.Subject {
	s := expression.Subject{Request: x.Request, Params: x.Params, Address: x.Source.Client}
	if p := x.Principal(); p != nil {
		s.Caller = &expression.Caller{Issuer: p.Issuer, Subject: p.Subject, Client: p.Client, Roles: p.Roles, Scopes: p.Scopes, Claims: p.Claims}
	}
	return s
}

// Findings tells of the document's patches: those that have ended or will soon are open, the others are holes that are known
// and not mended.
func (g *Guard) Findings(now time.Time) (open, risk []gate.Finding) {
	for _, c := range g.own {
		f := gate.Finding{ID: "patch.in_force", API: g.api.Name, Place: c.where, What: "patch " + c.ID + " stands for a fix until " + date(c.Until), Risk: c.Reason,
			Fix: "mend the server behind, then remove " + c.where}
		if op := find(g.api, c.Operation); op != nil {
			f.Operation = op.Key
		}
		switch {
		case c.Expired(now):
			f.ID, f.What, f.Risk = "patch.expired", "patch "+c.ID+" has ended on "+date(c.Until)+" and denies nothing any more; it closed: "+c.Reason, ""
			f.Fix = "remove " + c.where + " if the server is mended, else set a new until"
		case c.EndsSoon(now):
			f.ID, f.What, f.Risk = "patch.ends_soon", "patch "+c.ID+" ends on "+date(c.Until)+"; it closes: "+c.Reason, ""
		case c.Until.Sub(now) > Longest:
			f.ID, f.What, f.Risk = "patch.endless", "patch "+c.ID+" lasts until "+date(c.Until)+", as if it were a fix; it closes: "+c.Reason, ""
			f.Fix = "until: a day in the next months"
		case !c.Blocks():
			f.ID, f.What, f.Risk = "patch.detects", "patch "+c.ID+" records, and denies nothing; it is about: "+c.Reason, ""
			f.Fix = "mode: block"
		}
		if f.Risk == "" {
			open = append(open, f)
		} else {
			risk = append(risk, f)
		}
	}
	return open, risk
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02") }
