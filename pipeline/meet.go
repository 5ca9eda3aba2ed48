package pipeline

import (
	"net/http"
	"net/netip"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
)

// Meet brings a request to where the WAF would meet it: in canonical form, matched, its body ready to be read within the
// API's limits, and found to be what the contract declares. No other guard is asked, nothing is sent and no event is written: it
// is for trials of rules on recorded requests. The verdict denies what never gets there. The guard is nil where the WAF is switched off.
func (g *Gateway) Meet(r *http.Request, client netip.Addr) (*gate.Exchange, *waf.Guard, gate.Verdict) {
	now := g.tools.Now()
	t := &trip{g: g, r: r, site: g.nobody, conn: &conn.Conn{Scheme: "https"}, x: &gate.Exchange{ID: g.tools.NewID(now), Began: now}}
	t.x.Source = gate.Source{Client: client}
	t.flow.body = r.Body
	request, refusal := canon.New(r, "https", &g.canon)
	if refusal != nil {
		return nil, nil, refused(refusal)
	}
	t.x.Request = request
	t.find()
	if v := t.match(); !v.Allowed() {
		return nil, nil, v
	}
	t.x.SetBody(t.loadBody)
	if st := t.site.stage("contract"); st.check != nil && !st.rests(now) {
		if v := st.check.Check(r.Context(), t.x); !v.Allowed() && !st.watches(now) {
			return nil, nil, v
		}
	}
	st := t.site.stage("waf")
	guard, _ := st.check.(*waf.Guard)
	if guard == nil || st.rests(now) {
		return t.x, nil, gate.Allow()
	}
	return t.x, guard, gate.Allow()
}
