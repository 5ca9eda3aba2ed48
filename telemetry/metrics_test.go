package telemetry

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %v: %s", w.Code, err, text)
	}
	return string(text)
}

// H18: nothing that a client wrote becomes a label.
func TestNothingOfTheClientBecomesALabel(t *testing.T) {
	m := NewMetrics("v1")
	event := func(i int) gate.Event {
		e := gate.Event{Kind: gate.KindExchange, ID: fmt.Sprint("id", i), Note: fmt.Sprint("note", i)}
		e.From = gate.From{Address: fmt.Sprint("10.0.0.", i), Subject: fmt.Sprint("sub", i), Issuer: "iss", Roles: []string{fmt.Sprint("role", i)}, Trace: fmt.Sprint(i)}
		e.Request = gate.Asked{Method: fmt.Sprint("M", i), Host: fmt.Sprint("h", i), Params: []gate.Param{{In: "path", Name: fmt.Sprint("p", i)}}}
		e.Decision = gate.Decision{Verdict: "deny", Code: gate.NotFound, Reason: "match.operation", Guard: "match", Detail: fmt.Sprint("d", i), Shown: fmt.Sprint("s", i)}
		e.Result = gate.Result{Status: 404}
		return e
	}
	m.Event(event(0))
	before := strings.Count(scrape(t, m), "\ngatehouse_")
	for i := range 1000 {
		m.Event(event(i))
	}
	text := scrape(t, m)
	if after := strings.Count(text, "\ngatehouse_"); after != before {
		t.Errorf("%d series after 1000 requests that differ in everything, %d before", after, before)
	}
	if !strings.Contains(text, `gatehouse_requests_total{api="",code="not_found",guard="match",operation="",status="404"} 1001`) {
		t.Errorf("not counted:\n%s", text)
	}
}

func TestForgetDropsAnAPIThatIsGone(t *testing.T) {
	m := NewMetrics("v1")
	for _, api := range []string{"old", "new"} {
		m.Event(gate.Event{Kind: gate.KindExchange, Request: gate.Asked{API: api, Operation: "get"}, Decision: gate.Decision{DryRun: []gate.Would{{Guard: "waf"}}}})
	}
	m.Forget("old")
	if text := scrape(t, m); strings.Contains(text, `"old"`) || !strings.Contains(text, `"new"`) {
		t.Errorf("after the API is gone:\n%s", text)
	}
}

func TestFamilies(t *testing.T) {
	m := NewMetrics("v1")
	m.Add(Family{Name: "servers", Help: "h", Labels: []string{"server"}, Read: func(put Put) { put(1, "a"); put(2, "b"); put(3, "a"); put(4) }})
	m.Add(Family{Name: "dials_total", Help: "h", Read: func(put Put) { put(7) }})
	text := scrape(t, m)
	for _, want := range []string{"gatehouse_servers{server=\"a\"} 1\n", "gatehouse_servers{server=\"b\"} 2\n", "# TYPE gatehouse_dials_total counter\ngatehouse_dials_total 7\n", `gatehouse_build_info{version="v1"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}
