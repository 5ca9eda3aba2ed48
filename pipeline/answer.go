package pipeline

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// problem is the body of a denial (RFC 9457). It tells a client what it may know: the public code, and the id with which
// an operator finds the rest.
type problem struct {
	Type   string    `json:"type"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Code   gate.Code `json:"code"`
	Event  string    `json:"event"`
}

// refuse answers with a denial, after its event is written.
func (t *trip) refuse(v gate.Verdict) {
	t.outcome = gate.Outcome{Verdict: v, Status: v.Code.Status()}
	if v.To != "" {
		t.outcome.Status = http.StatusSeeOther
	}
	a := &gate.Answer{Status: t.outcome.Status, Fields: v.Header.Clone(), Denied: true}
	if a.Fields == nil {
		a.Fields = http.Header{}
	}
	if v.To != "" {
		a.Fields.Set("Location", v.To)
	}
	if request := t.x.Request; request != nil {
		t.site.cors.mark(a.Fields, request.Fields.Get("Origin"))
	}
	if said := t.review(t.r.Context(), a); !said.Allowed() {
		v = said // a guard that fails at a denial changes what is recorded, never that it is denied
	}
	if t.speaksGRPC() {
		denyGRPC(a, t.outcome.Verdict.Code, t.x.ID)
		_ = t.record(v, 0) // a denial leaves all the same
		t.head(a)
		return
	}
	body, _ := json.Marshal(problem{Type: "about:blank", Title: http.StatusText(a.Status), Status: a.Status, Code: t.outcome.Verdict.Code, Event: t.x.ID})
	a.Fields.Set("Content-Type", "application/problem+json")
	a.Fields.Set("Content-Length", strconv.Itoa(len(body)))
	a.Fields.Set("Cache-Control", "no-store")
	if t.mustClose(v) {
		a.Fields.Set("Connection", "close")
	}
	_ = t.record(v, int64(len(body))) // a denial leaves all the same
	if t.flow.resting {
		t.flow.later() // a client that admits not one byte does not keep the handler
	}
	t.head(a)
	if t.r.Method != http.MethodHead {
		_, _ = t.w.Write(body) // a client that is gone misses its denial
	}
}

// mustClose tells that nothing more may be read from this connection: the wire or the canonical form was refused, or a
// body was left half read.
func (t *trip) mustClose(v gate.Verdict) bool {
	return t.r.ProtoMajor == 1 && (t.x.Request == nil || t.bodyRefusal() != nil || v.Code == gate.TooLarge || v.Code == gate.TooSlow)
}

// head hands status and fields to net/http.
func (t *trip) head(a *gate.Answer) {
	fields := t.w.Header()
	for name, values := range a.Fields {
		fields[name] = values
	}
	if _, said := fields["Content-Type"]; !said {
		fields["Content-Type"] = nil // net/http would guess one from the body: a text that begins like a page is no page
	}
	t.wrote = true
	t.w.WriteHeader(a.Status)
}

// preflight answers a browser's question from the contract's methods; no server is asked.
func (t *trip) preflight(allow []string) gate.Verdict {
	t.by = "cors"
	fields, v := t.site.cors.answerPreflight(t.x.Request.Fields, allow)
	if !v.Allowed() {
		return v
	}
	t.plan = &plan{op: &gate.Operation{API: t.site.api.Name, Key: "preflight", Method: http.MethodOptions, Access: gate.Access{Public: true}}, answer: &gate.Answer{Status: http.StatusNoContent, Fields: fields}}
	t.x.Operation = t.plan.op
	return gate.Allow()
}

func join(list []string) string { return strings.Join(list, ", ") }
