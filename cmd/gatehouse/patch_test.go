package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/control"
)

// Requests as people write them down become requests as they are sent; what is wrong in them stays wrong.
func TestExamples(t *testing.T) {
	for name, c := range map[string]struct{ in, out, caller string }{
		"as sent":           {"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", ""},
		"plain line ends":   {"POST /a HTTP/1.1\nHost: b\n\n{}\n", "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", ""},
		"no host, HTTP/2":   {"GET /a?b=c HTTP/2\nX: y\n", "GET /a?b=c HTTP/1.1\r\nX: y\r\nHost: localhost\r\n\r\n", ""},
		"a wrong length":    {"POST /a HTTP/1.1\nHost: b\nContent-Length: 7\n\n{}\n", "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 7\r\n\r\n{}\n", ""},
		"chunks":            {"POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""},
		"a caller":          {"GET / HTTP/1.1\nGatehouse-Caller: ann role=a,b scope=c claim.x=y\nHost: b\n\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n", "ann a,b c y"},
		"lines in the body": {"POST / HTTP/1.1\nHost: b\n\na\n\nb\n", "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\na\n\nb", ""},
	} {
		e, err := readExample([]byte(c.in))
		if err != nil || string(e.Raw) != c.out {
			t.Errorf("%s: %q, %v", name, e.Raw, err)
		}
		caller := ""
		if p := e.Caller; p != nil {
			caller = strings.Join([]string{p.Subject, strings.Join(p.Roles, ","), strings.Join(p.Scopes, ","), p.Claims["x"].(string)}, " ")
		}
		if caller != c.caller {
			t.Errorf("%s: %q", name, caller)
		}
	}
	for _, wrong := range []string{"", "hello", "GET /\n\n", "{}", "GET / HTTP/1.1\nGatehouse-Caller: role=a\n\n", "GET / HTTP/1.1\nGatehouse-Caller: ann rol=a\n\n"} {
		if _, err := readExample([]byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func FuzzExample(f *testing.F) {
	f.Add([]byte("POST /a HTTP/1.1\nHost: b\n\n{}\n"))
	f.Add([]byte("GET / HTTP/1.1\nGatehouse-Caller: ann role=a\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := readExample(data)
		if err == nil && !strings.HasSuffix(strings.SplitN(string(e.Raw), "\r\n", 2)[0], " HTTP/1.1") {
			t.Errorf("%q became %q", data, e.Raw)
		}
	})
}

func TestExampleFolders(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"a.http": "GET /a HTTP/1.1\n", "below/b.http": "GET /b HTTP/1.1\n", "c.txt": "no request"} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := readExamples([]string{folder, filepath.Join(folder, "a.http")}); err != nil || len(list) != 3 {
		t.Errorf("%v %v", list, err)
	}
	for _, wrong := range []string{filepath.Join(folder, "c.txt"), filepath.Join(folder, "none"), t.TempDir()} {
		if _, err := readExamples([]string{wrong}); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// L5: a finding in the log says where a patch would look.
func TestProposals(t *testing.T) {
	params := []gate.Param{{In: "path", Name: "id"}, {In: "query", Name: "q"}}
	for name, c := range map[string]struct {
		decision gate.Decision
		places   string
	}{
		"waf, JSON":       {gate.Decision{Guard: "waf", Fix: "except: [{rule: 942100, argument: json.items.0.note, operation: o}]"}, "body/items/*/note path.id query.q"},
		"waf, query":      {gate.Decision{Guard: "waf", Fix: "except: [{rule: 942100, argument: q}]"}, "query.q path.id"},
		"waf, form":       {gate.Decision{Guard: "waf", Fix: `except: [{rule: 942100, argument: "comment"}]`}, "body/comment path.id query.q"},
		"contract, query": {gate.Decision{Guard: "contract", Detail: "query.q is longer than 10"}, "query.q path.id"},
		"contract, body":  {gate.Decision{Guard: "contract", Detail: "body /items/3/qty is less than 1."}, "body/items/*/qty path.id query.q"},
		"dry run":         {gate.Decision{Verdict: "allow", DryRun: []gate.Would{{Guard: "contract", Detail: "header.x-debug is not declared"}}}, "header.x-debug path.id query.q"},
		"nothing said":    {gate.Decision{}, "path.id query.q"},
	} {
		p, err := proposalOf(gate.Event{ID: "E", Request: gate.Asked{API: "shop", Operation: "o", Params: params}, Decision: c.decision})
		if err != nil || strings.Join(p.places, " ") != c.places || p.api != "shop" || p.operation != "o" {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	if _, err := proposalOf(gate.Event{ID: "E"}); err == nil {
		t.Error("an event about no operation")
	}
	q := patchQuestion{API: "other"}
	q.At = "query.z"
	proposed{event: "E", api: "shop", operation: "o", places: []string{"query.q"}}.fill(&q)
	if q.API != "other" || q.At != "query.z" || q.Operation != "o" || q.Finding != "E" {
		t.Errorf("what was said by hand holds: %+v", q)
	}
}

// A name in an event is a client's. In the command that is printed to be copied it is one word, whatever stands in it.
func TestProposedCommandIsOneCommand(t *testing.T) {
	for name, want := range map[string]string{
		"q":                   "--at query.q \\",
		"$(touch /tmp/x)":     "--at 'query.$(touch /tmp/x)' \\",
		"x' ; touch /tmp/x '": `--at 'query.x'\'' ; touch /tmp/x '\''' \`,
		"a\x1b[2J":            "--at 'query.a·[2J' \\",
	} {
		p, err := proposalOf(gate.Event{ID: "E", Request: gate.Asked{API: "shop", Operation: "o", Params: []gate.Param{{In: "query", Name: name}}}})
		if err != nil {
			t.Fatal(err)
		}
		q := patchQuestion{}
		q.ID = "p-1"
		p.fill(&q)
		var out strings.Builder
		printProposal(&out, patchProposal{Event: p.event, Places: p.places, Patch: q})
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q: %s", name, out.String())
		}
	}
}

// While no gateway runs, a patch is tried by the document and added all the same, with development tokens too; that it is not in force
// here is told.
func TestPatchWhileNothingRuns(t *testing.T) {
	h := openedForTest(t)
	folder := t.TempDir()
	for name, text := range map[string]string{
		"gatehouse.yaml": "guards: {identity: {development: {accept_risk: a test}}}\napis: [{name: shop, contract: c.yaml, to: [\"http://127.0.0.1:1\"]}]\n",
		"c.yaml":         "openapi: 3.1.0\ninfo: {title: c, version: \"1\"}\npaths: {/a: {get: {operationId: a, security: [], responses: {\"200\": {description: ok}}}}}\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.at = filepath.Join(folder, "gatehouse.yaml")
	q := patchQuestion{Untested: "nobody sends it"}
	q.ID, q.At, q.Author, q.Reason, q.Until = "debug", "header.x-debug", "ann", "switches checks off", time.Now().Add(30*24*time.Hour)
	q.Exploits = []example{{Name: "e", Raw: []byte("GET /a HTTP/1.1\r\nHost: x\r\nX-Debugs: 1\r\n\r\n")}, {Name: "f", Raw: []byte("GET /a HTTP/1.1\r\nHost: x\r\nX-Debug: 1\r\n\r\n")}}
	tried, err := control.Ask[patchTrial](t.Context(), operations(h, nil), "patch.test", q, nil)
	if err != nil || len(tried.Requests) != 2 || tried.Requests[0].What != "passes: nothing stands at header.x-debug" || !tried.Requests[1].Right {
		t.Errorf("%+v %v", tried, err)
	}
	q.Exploits = nil
	done, err := control.Ask[patchAdded](t.Context(), operations(h, nil), "patch.add", q, nil)
	if err != nil || !done.Added || done.Here {
		t.Fatalf("%+v %v", done, err)
	}
	var out strings.Builder
	printPatchAdded(&out, done)
	if !strings.Contains(out.String(), "on every node within a second, of which none runs here, until ") {
		t.Error(out.String())
	}
}

func TestUntil(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"30d": "2026-07-01T12:00:00Z", "12h": "2026-06-02T00:00:00Z", "2026-12-31": "2026-12-31T00:00:00Z", "2026-12-31T10:00:00+02:00": "2026-12-31T08:00:00Z"} {
		if got, err := untilOf(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	for _, wrong := range []string{"tomorrow", "-3d", "0d", "-1h", "2026-13-01", "10000d"} {
		if _, err := untilOf(wrong, now); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
