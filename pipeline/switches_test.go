package pipeline

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

var today = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

// denier denies everything.
type denier struct{}

func (denier) Check(context.Context, *gate.Exchange) gate.Verdict {
	return gate.Deny(gate.NotAllowed, "test.no", "no")
}

// TestSwitchesEnd: a guard that is off or in dry run until a day denies again from that day on, without a reload.
func TestSwitchesEnd(t *testing.T) {
	risk := gate.Risk{AcceptRisk: "a test", Until: today}
	for name, c := range map[string]struct {
		stage   stage
		began   time.Time
		allowed bool
		would   int
	}{
		"on":                  {stage{}, today, false, 0},
		"dry run":             {stage{dryRun: risk}, today.Add(-time.Second), true, 1},
		"dry run, over":       {stage{dryRun: risk}, today, false, 0},
		"off":                 {stage{off: risk}, today.Add(-time.Second), true, 0},
		"off, over":           {stage{off: risk}, today, false, 0},
		"dry run, no reason":  {stage{dryRun: gate.Risk{Until: today}}, today.Add(-time.Second), false, 0},
		"off, then denied by": {stage{off: gate.Risk{}}, today, false, 0},
	} {
		c.stage.name, c.stage.check = "g", denier{}
		trip := &trip{r: httptest.NewRequest(http.MethodGet, "/", nil), x: &gate.Exchange{Began: c.began}, timing: timing{guards: map[string]int64{}}}
		v := trip.ask([]stage{c.stage})
		if v.Allowed() != c.allowed || len(trip.would) != c.would {
			t.Errorf("%s: allowed %v, would %v", name, v.Allowed(), trip.would)
		}
	}
}

const switchContract = `openapi: 3.0.3
info: {title: t, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /open: {get: {operationId: open, security: [], responses: {"200": {description: ok}}}}
  /mine: {get: {operationId: mine, security: [{token: [read]}], responses: {"200": {description: ok}}}}
`

// build makes the Gateway of a document with the given guards.
func build(t *testing.T, guards string) (*Gateway, error) {
	t.Helper()
	d, err := config.Parse("gatehouse.yaml", []byte("guards:\n"+guards+"apis:\n  - {name: t, contract: c.yaml, to: [\"http://127.0.0.1:1\"]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return today }
	source := keys.NewSource(now, keys.System(), nil)
	t.Cleanup(source.Close)
	return Build(d, Tools{
		Now: now, ReadFile: func(string, string) ([]byte, error) { return []byte(switchContract), nil },
		Senders:  func(string, upstream.Config, []string) (Sender, error) { return nil, nil },
		Counters: memory.NewCounters(100, now), Rules: rules(),
		Identity: identity.Tools{Now: now, Keys: source, Verified: bearer.NewCache(0)},
	})
}

const issuer = "  identity: {issuers: [{issuer: \"https://id.example\", audience: t}]}\n"

// TestSwitchesInTheTable: what a switched guard no longer does stands in the table, with reason, end, and the line to remove.
func TestSwitchesInTheTable(t *testing.T) {
	for guards, want := range map[string]struct {
		callers, contract, waf string // of the operation that asks for a scope
		risk, open             string // ids
	}{
		issuer: {"scope read", "params", "on", "", ""},
		issuer + "  access: {off: {accept_risk: why}}\n":                                                        {"any caller: access is off", "params", "on", "guard.off", ""},
		issuer + "  access: {dry_run: {accept_risk: why, until: 2030-06-01}}\n":                                 {"scope read (dry run)", "params", "on", "guard.dry_run", ""},
		issuer + "  access: {dry_run: {accept_risk: why, until: 2030-04-01}}\n":                                 {"scope read", "params", "on", "", "guard.dry_run_over"},
		"  identity: {off: {accept_risk: why}}\n":                                                               {"nobody: identity is off", "params", "on", "guard.off", ""},
		"  identity: {off: {accept_risk: why}}\n  access: {off: {accept_risk: why}}\n":                          {"public: identity and access are off", "params", "on", "guard.off", ""},
		issuer + "  contract: {off: {accept_risk: why, until: 2030-06-01}}\n":                                   {"scope read", "off", "on", "guard.off", ""},
		issuer + "  contract: {dry_run: {accept_risk: why, until: 2030-06-01}}\n":                               {"scope read", "params (dry run)", "on", "guard.dry_run", ""},
		issuer + "  waf: {off: {accept_risk: why}}\n  limits: {off: {accept_risk: why}}\n":                      {"scope read", "params", "off", "guard.off", ""},
		issuer + "  waf: {dry_run: {accept_risk: why, until: 2030-06-01}}\n  rate: {per_caller: 1/s burst 1}\n": {"scope read", "params", "on (dry run)", "guard.dry_run", ""},
	} {
		g, err := build(t, guards)
		if err != nil {
			t.Errorf("%s%v", guards, err)
			continue
		}
		table := g.Table()
		row := table.Rows[slices.IndexFunc(table.Rows, func(r Row) bool { return r.Operation == "mine" })]
		if row.Callers != want.callers || row.Input != want.contract || row.WAF != want.waf {
			t.Errorf("%sgot %q, %q, %q", guards, row.Callers, row.Input, row.WAF)
		}
		has := func(list []gate.Finding, id string) bool {
			if id == "" {
				return len(list) == 0
			}
			return slices.ContainsFunc(list, func(f gate.Finding) bool { return f.ID == id && f.What != "" && strings.Contains(f.Fix, "guards.") })
		}
		if !has(table.Risk, want.risk) || !has(table.Open, want.open) {
			t.Errorf("%srisks %v\nopen %v", guards, table.Risk, table.Open)
		}
		for _, f := range table.Risk {
			if f.Risk != "why" {
				t.Errorf("%sthe reason is not told: %v", guards, f)
			}
		}
	}
}

// TestSwitchesNeedAReason: wrong uses.
func TestSwitchesNeedAReason(t *testing.T) {
	for guards, place := range map[string]string{
		"  waf: {off: {until: 2030-06-01}}\n":                             "guards.waf.off",
		"  waf: {off: {accept_risk: why, until: 2030-04-01}}\n":           "guards.waf.off",
		"  waf: {dry_run: {accept_risk: why}}\n":                          "guards.waf.dry_run",
		"  waf: {dry_run: {until: 2030-06-01}}\n":                         "guards.waf.dry_run",
		"  waf: {dry_run: {accept_risk: why, until: 2030-06-01, x: 1}}\n": "guards.waf.dry_run",
	} {
		_, err := build(t, issuer+guards)
		if err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%sgot %v", guards, err)
		}
	}
}

// TestOffLeavesBoundsAndNames: limits off is no reader without limits, identity off no header that a client may forge.
func TestOffLeavesBoundsAndNames(t *testing.T) {
	g, err := build(t, "  identity: {off: {accept_risk: why}}\n  limits: {off: {accept_risk: why}}\n")
	if err != nil {
		t.Fatal(err)
	}
	s := g.inOrder[0]
	if b, h := s.limits.Body(), s.limits.Head(); b.Bytes <= 0 || b.Bytes > 1<<30 || b.Depth <= 0 || h.Query <= 0 {
		t.Errorf("%+v", s.limits.Body())
	}
	if !slices.Contains(g.canon.Managed, "Gatehouse-Subject") || slices.Contains(g.canon.Managed, "") {
		t.Errorf("managed %v", g.canon.Managed)
	}
	if s.names.Subject == "" {
		t.Error("no names")
	}
}
