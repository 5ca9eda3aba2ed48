package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
)

// The OWASP Core Rule Set at paranoia 1, told that methods and media types are for the contract to judge, refuses exactly the attacks that are credited to waf, and no good request.
func TestRuleSet(t *testing.T) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(`
		Include @coraza.conf-recommended
		Include @crs-setup.conf.example
		SecAction "id:900200,phase:1,pass,nolog,setvar:'tx.allowed_methods=GET HEAD POST PATCH DELETE OPTIONS'"
		SecAction "id:900220,phase:1,pass,nolog,setvar:'tx.allowed_request_content_type=|application/json| |text/plain|'"
		Include @owasp_crs/*.conf
		SecRuleEngine On`))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goods() {
		raw, err := g.write(builder())
		if err != nil {
			t.Fatal(err)
		}
		if rules := inspect(t, waf, raw); rules != "" {
			t.Errorf("good request %q: %s", g.Name, rules)
		}
	}
	for _, a := range append(attacks(), open()...) {
		if a.Guard == "limits" || a.Guard == "wire" || a.Guard == "canon" {
			continue // the rules never see these
		}
		if a.Hole == "ALL-15" {
			continue // the request is harmless: it is the answer that is stopped
		}
		messages, err := a.Write(builder())
		if err != nil {
			t.Fatal(err)
		}
		rules := inspect(t, waf, messages[0])
		if (rules != "") != (a.Guard == "waf") {
			t.Errorf("%s %s, credited to %q: rules %q", a.Hole, a.Name, a.Guard, rules)
		}
		t.Logf("%-7s %-8s %s", a.Hole, a.Guard, rules)
	}
}

// inspect gives the rules that a request offends, "" when it may pass.
func inspect(t *testing.T, waf coraza.WAF, raw []byte) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	tx := waf.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection("127.0.0.1", 40000, "127.0.0.1", 8443)
	tx.ProcessURI(r.URL.String(), r.Method, r.Proto)
	tx.AddRequestHeader("Host", r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			tx.AddRequestHeader(name, v)
		}
	}
	tx.ProcessRequestHeaders()
	if !tx.IsInterrupted() {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tx.WriteRequestBody(body); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ProcessRequestBody(); err != nil {
			t.Fatal(err)
		}
	}
	if !tx.IsInterrupted() {
		return ""
	}
	var ids []string
	for _, m := range tx.MatchedRules() {
		if m.Message() != "" {
			ids = append(ids, m.Rule().Severity().String()+" "+m.Message())
		}
	}
	return strings.Join(ids, "; ")
}
