package seclang

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// engine is the core rule set, compiled once for all tests.
var engine = sync.OnceValue(func() coraza.WAF { return compiledCore("", nil) })

func compiledCore(more string, text *Text) coraza.WAF {
	root := coreruleset.FS
	if text != nil {
		root = text.Over(root)
		more += text.Directives
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(root).WithDirectives(`
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" "id:100002,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
Include @crs-setup.conf.example
SecAction "id:100010,phase:1,pass,nolog,setvar:tx.early_blocking=0"
Include @owasp_crs/*.conf
` + more))
	if err != nil {
		panic(err)
	}
	return waf
}

// A request that level 1 lets pass and level 2 would not is let pass, counted, and told with the exception that fits.
func TestTheNextLevelIsLearned(t *testing.T) {
	var learning Learning
	ask := func(level int, body string) (denied, would bool) {
		tx := engine().NewTransactionWithID("x")
		defer tx.Close()
		Next(tx.(plugintypes.TransactionState), level)
		tx.ProcessConnection("192.0.2.1", 1, "", 0)
		tx.ProcessURI("/notes", "POST", "HTTP/1.1")
		for _, f := range [][2]string{{"Host", "example.org"}, {"User-Agent", "a"}, {"Accept", "*/*"}, {"Content-Type", "application/json"}, {"Content-Length", fmt.Sprint(len(body))}} {
			tx.AddRequestHeader(f[0], f[1])
		}
		it := tx.ProcessRequestHeaders()
		if it == nil {
			_, _, _ = tx.WriteRequestBody([]byte(body))
			it, _ = tx.ProcessRequestBody()
		}
		would = Would(tx.(plugintypes.TransactionState))
		learning.Record("addNote", Found(tx), would && it == nil, today)
		return it != nil, would
	}
	const odd = `{"items":[{"note":"1=1-- or a=a"},{"note":"x' and 'a' = 'a"}]}`
	denied, would := ask(1, `{"items":[{"note":"hello"}]}`)
	if denied || would {
		t.Fatal("a greeting is an attack", denied, would)
	}
	found := false
	for _, body := range []string{`{"items":[{"note":"x"},{"note":"a /* b */ c; #"}]}`, `{"items":[{"note":"select * from"},{"note":"'' or ''"}]}`, `{"items":[{"note":"a;b|c&d"}]}`, `{"items":[{"note":"~~~!!!@@@###$$$"}]}`, odd} {
		if denied, would := ask(1, body); !denied && would {
			found = true
		}
	}
	r := learning.Report()
	if !found || len(r.Lines) == 0 || r.Lines[0].Would == 0 || r.Requests != 6 {
		t.Fatalf("nothing was learned: %+v", r)
	}
	exact := false
	for _, l := range r.Lines {
		if l.Level == 2 && l.Argument == "json.items.*.note" && strings.Contains(l.Exception, fmt.Sprintf("{rule: %d, argument: \"json.items.*.note\", operation: addNote}", l.Rule)) {
			exact = true
		}
	}
	if !exact {
		t.Errorf("no exception for the note: %+v", r.Lines)
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"would_deny":1`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Whatever clients make up, what is kept is bounded (row G20), and what one operation suffers does not hide another's.
func TestLearningIsBounded(t *testing.T) {
	var l Learning
	for i := range 30_000 {
		l.Record(fmt.Sprint("op", i%20), []Match{{Rule: 942100 + i%500, Level: 2, Argument: fmt.Sprint("name", i)}}, false, today)
	}
	for i := range 1000 {
		l.Record("one", []Match{{Rule: 1, Argument: fmt.Sprint("name", i)}}, true, today.Add(time.Duration(i)))
	}
	r := l.Report()
	if len(r.Lines) > mostLines || r.Requests != 31_000 || r.Lost == 0 {
		t.Errorf("%d lines, %d requests, %d lost", len(r.Lines), r.Requests, r.Lost)
	}
	var small Learning
	for i := range 1000 {
		small.Record("one", []Match{{Rule: 1, Argument: fmt.Sprint("name", i)}}, i == 999, today)
	}
	r = small.Report()
	if len(r.Lines) != mostArguments+1 || r.Lines[0].Argument != other || r.Lines[0].Matches != 1000-mostArguments || r.Lines[0].Exception != "" {
		t.Errorf("%d lines, %+v", len(r.Lines), r.Lines[0])
	}
	if r := new(Learning).Report(); r.Lines == nil || r.Requests != 0 {
		t.Errorf("%+v", r)
	}
}

func TestPlacesAreNamed(t *testing.T) {
	for _, c := range [][3]string{
		{"ARGS", "a", "a"}, {"ARGS_POST", "json.a.0.b", "json.a.*.b"}, {"ARGS_POST", "json.0.1.2", "json.*.*.*"}, {"ARGS", "a.0", "a.0"}, {"ARGS", "json.a10.b", "json.a10.b"},
		{"REQUEST_HEADERS", "referer", "header:referer"}, {"REQUEST_COOKIES", "a b", "cookie:(other)"}, {"ARGS", "<script>", "(other)"}, {"ARGS_NAMES", "x", ""}, {"REQUEST_URI", "", ""},
	} {
		if got := Argument(c[0], c[1]); got != c[2] {
			t.Errorf("%s:%s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
