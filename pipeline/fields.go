package pipeline

import (
	"slices"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// Inspected is how the values of one operation are inspected.
type Inspected struct {
	API       string      `json:"api"`
	Operation string      `json:"operation"`
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Fields    []waf.Field `json:"fields"`
	All       string      `json:"all,omitempty"` // why every value is inspected by all rules, whatever stands in the fields
}

// Inspected tells of every operation with a contract, in the order of the document, how its values are inspected by the WAF.
func (g *Gateway) Inspected() (list []Inspected) {
	now := g.tools.Now()
	for _, s := range g.inOrder {
		st := s.stage("waf")
		guard, _ := st.check.(*waf.Guard)
		if guard == nil || st.rests(now) {
			continue
		}
		all := ""
		if c := s.stage("contract"); c.check == nil || c.rests(now) || c.watches(now) {
			all = "the contract is not enforced"
		}
		for _, op := range s.api.Operations {
			if op.Contract != nil {
				list = append(list, Inspected{API: s.api.Name, Operation: op.Key, Method: op.Method, Path: s.api.Base + op.Template, Fields: guard.Fields(op), All: all})
			}
		}
	}
	return list
}

// Warm begins what the first requests would wait for. It is for a gateway that is to serve, and not only to be looked at.
func (g *Gateway) Warm() {
	for _, s := range g.inOrder {
		if guard, ok := s.stage("waf").check.(*waf.Guard); ok {
			guard.Warm()
		}
	}
}

// coreRules tells by which core rules the WAF judges requests to this API; "" where it doesn't.
func (s *site) coreRules(now time.Time) string {
	st := s.stage("waf")
	guard, _ := st.check.(*waf.Guard)
	if guard == nil || st.rests(now) {
		return ""
	}
	return guard.Core()
}

// CoreRules are all core rules by which some API is judged.
func (g *Gateway) CoreRules() (list []string) {
	for _, s := range g.inOrder {
		if said := s.coreRules(g.tools.Now()); said != "" && !slices.Contains(list, said) {
			list = append(list, said)
		}
	}
	return list
}
