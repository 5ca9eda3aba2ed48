package response

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/goccy/go-yaml"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func engine(directives string) func() (coraza.WAF, error) {
	return sync.OnceValues(func() (coraza.WAF, error) {
		return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("SecRuleEngine On\n" + directives +
			"\nInclude @crs-setup.conf.example\nInclude @owasp_crs/REQUEST-901*.conf\nInclude @owasp_crs/REQUEST-91*.conf\nInclude @owasp_crs/REQUEST-949*.conf\nInclude @owasp_crs/RESPONSE-*.conf"))
	})
}

// shared are compiled once for all tests of this package.
var (
	shared = NewRules(engine("SecResponseBodyAccess Off"), coreruleset.FS, func() time.Duration { return 0 })
	plain  = engine("SecResponseBodyAccess On\nSecResponseBodyLimit 134217728\nSecResponseBodyMimeType text/html")
)

func exchange() *gate.Exchange {
	return &gate.Exchange{
		ID: "TEST", Source: gate.Source{Client: netip.MustParseAddr("192.0.2.1")}, Operation: &gate.Operation{Key: "op"},
		Request: &canon.Request{Method: "GET", Host: "api.test", Path: "/x", Fields: http.Header{}},
	}
}

func inspector(t testing.TB, cfg Config, paranoia int) *Inspector {
	t.Helper()
	i, err := New(cfg, paranoia, &gate.API{Name: "shop", Operations: []*gate.Operation{{Key: "op"}}}, shared)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func begin(t testing.TB, i *Inspector, status int, media string) gate.Inspection {
	t.Helper()
	n := i.InspectAnswer(exchange(), &gate.Answer{Status: status, Fields: http.Header{"Content-Type": {media}}})
	if n == nil {
		t.Fatalf("%s is not looked into", media)
	}
	return n
}

// referee is what the engine itself says, with nothing left out and through its own way in.
func referee(t testing.TB, body string, status, paranoia int) (denied bool, ids []int) {
	t.Helper()
	waf, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	tx := waf.NewTransaction().(transaction)
	defer tx.Close()
	for _, name := range []string{"blocking_paranoia_level", "detection_paranoia_level"} {
		tx.Variables().TX().Set(name, []string{strconv.Itoa(paranoia)})
	}
	tx.ProcessConnection("192.0.2.1", 1, "", 0)
	tx.ProcessURI("/x", "GET", "HTTP/1.1")
	tx.AddRequestHeader("Host", "api.test")
	tx.ProcessRequestHeaders()
	tx.AddResponseHeader("Content-Type", "text/html")
	it := tx.ProcessResponseHeaders(status, "HTTP/1.1")
	if it == nil {
		if _, _, err := tx.WriteResponseBody([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if it, err = tx.ProcessResponseBody(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range tx.MatchedRules() {
		if id := m.Rule().ID(); id >= 950000 && id < 959000 && m.Message() != "" && m.Rule().Phase() >= types.PhaseResponseHeaders {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return it != nil, ids
}

var number6 = regexp.MustCompile(`\b95\d{4}\b`)

// ours is what the guard says.
func ours(t testing.TB, body string, status, paranoia int) (denied bool, ids []int) {
	t.Helper()
	cfg := Config{Mode: Block}
	for _, k := range Kinds() {
		cfg.Except = append(cfg.Except, Exception{Rule: k})
	}
	n := begin(t, inspector(t, cfg, paranoia), status, "text/html")
	v := n.Begin(t.Context(), []byte(body), true)
	detail := v.Detail
	for _, w := range n.Noted() {
		detail += w.Detail
	}
	if !v.Allowed() && v.Reason != ReasonRule {
		t.Fatalf("%+v", v)
	}
	for _, word := range number6.FindAllString(detail, -1) {
		id, _ := strconv.Atoi(word)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return !v.Allowed(), ids
}

// What begins as UTF-16 counts as unread, of which TestWideText tells.
func same(t testing.TB, body string, status, paranoia int) {
	t.Helper()
	if isWide(nil, []byte(body)) {
		return
	}
	denied, ids := ours(t, body, status, paranoia)
	wantDenied, want := referee(t, body, status, paranoia)
	if denied != wantDenied || !slices.Equal(ids, want) {
		t.Errorf("paranoia %d, status %d: ours %v %v, the engine's %v %v: %.200q", paranoia, status, denied, ids, wantDenied, want, body)
	}
}

// one is a test of the core rule set.
type one struct {
	body     string
	expect   []int
	unwanted []int
	name     string
}

func ruleSetTests(t testing.TB) (list []one) {
	t.Helper()
	files, err := fs.Glob(tests.FS, "RESPONSE-95*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, _ := fs.ReadFile(tests.FS, file)
		var doc struct {
			Tests []struct {
				ID     int `yaml:"test_id"`
				Stages []struct {
					Input struct {
						Data string `yaml:"data"`
						URI  string `yaml:"uri"`
					} `yaml:"input"`
					Output struct {
						Log struct {
							Expect   []int `yaml:"expect_ids"`
							Unwanted []int `yaml:"no_expect_ids"`
						} `yaml:"log"`
					} `yaml:"output"`
				} `yaml:"stages"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, test := range doc.Tests {
			for _, s := range test.Stages {
				body := s.Input.Data
				var said struct {
					Body string `json:"body"`
				}
				if json.Unmarshal([]byte(body), &said) == nil && said.Body != "" { // the test server answers with what it is told
					body = said.Body
				}
				list = append(list, one{body, s.Output.Log.Expect, s.Output.Log.Unwanted, fmt.Sprintf("%s-%d", file, test.ID)})
			}
		}
	}
	if len(list) < 90 {
		t.Fatalf("only %d tests", len(list))
	}
	return list
}

// Every test that the core rule set brings for its response rules, at the level at which all of its rules are on, and at
// each level just what the engine says.
func TestCoreRuleSet(t *testing.T) {
	for _, c := range ruleSetTests(t) {
		denied, ids := ours(t, c.body, 200, 4)
		for _, id := range c.expect {
			if id == 959100 && !denied || id < 959000 && !slices.Contains(ids, id) {
				t.Errorf("%s: %d is not among %v: %q", c.name, id, ids, c.body)
			}
		}
		for _, id := range c.unwanted {
			if id == 959100 && denied || slices.Contains(ids, id) {
				t.Errorf("%s: %d is among %v", c.name, id, ids)
			}
		}
		same(t, c.body, 200, 1)
		same(t, c.body, 200, 2)
		same(t, c.body, 404, 1)
		same(t, c.body, 500, 2)
	}
}

// Every word of every list that the rules name, alone and in a text.
func TestEveryWordOfTheLists(t *testing.T) {
	if err := shared.Ready(); err != nil {
		t.Fatal(err)
	}
	i2 := inspector(t, Config{}, 2)
	for _, name := range []string{"sql-errors", "asp-dotnet-errors", "php-errors", "iis-errors", "web-shells-php", "web-shells-asp", "ruby-errors"} {
		list, err := wordsOf(coreruleset.FS, "@owasp_crs/"+name+".data")
		if err != nil || len(list) == 0 {
			t.Fatal(name, err)
		}
		for i, w := range list {
			if i%31 == 0 {
				same(t, "{\"message\":\"x "+strings.ToUpper(w)+" y\"}", 200, 1+i%2)
			}
			n := begin(t, i2, 200, "text/html").(*inspection)
			if _, matched := n.scanner.read([]byte("x "+w), true); len(matched) == 0 && name != "sql-errors" { // which only says whether others are asked
				t.Errorf("%s: %q is not found", name, w)
			}
		}
	}
}

// Texts a little beside those of the tests: cut, in another case, with letters that fold to ASCII, divided by other space.
func TestAroundTheTests(t *testing.T) {
	for i, c := range ruleSetTests(t) {
		at := (i * 7) % max(len(c.body), 1)
		for j, body := range []string{
			c.body[:at], c.body[at:], c.body[:at] + " " + c.body[at:], strings.ToUpper(c.body), strings.ReplaceAll(c.body, "s", "\u017f"),
			strings.ReplaceAll(c.body, "k", "\u212a"), strings.ReplaceAll(c.body, " ", "\n"), "x" + c.body + "x",
		} {
			if (i+j)%3 == 0 { // the others would take longer than they tell
				same(t, body, 200, 2)
			}
		}
	}
}

// Texts at the edges of what the words promise.
var edges = []string{
	"", "x", "<?", "<?php", "<?php ", "<?PHP\nx", "<?=\t1", "<? xml", "ORA-12345:", "ora-1234", "Warning: ora_x", "Dynamic \u017fQL Error", "oRG.hsqldb.jdbc", "warning sybase warning: sybase",
	"at com.example", "at\tcom", "at\v\vorg", "at company", "java.lang.NullPointerException", "javaerror", "Exception in thread \"x\"", "< t i t l e > p u n k h o l i c s h e l l < / t i t l e >",
	"<title>punkholicshell</title>", "#!/bin/sh", "x\n#! /bin/sh", "#{x}", "<%= 1 %>", "c:\\inetpub", "d:/inetpub/x", "\\inetpub", "Server Error in '/x' Application", "server error in '/x' application",
	"invalid date", "The function", "\xfeSQLite/JDBCDriver\xff", "Driver SQL Server", "SQ\u212a", "Unclosed quotation mar\u212a before the character string", "fgets(", "xfgets", "$_session", "$_SESSION", "$_get ",
	strings.Repeat("java ", 3000) + "at com", strings.Repeat("a", 100_000) + "ORA-00933: ",
}

func TestEdges(t *testing.T) {
	for _, body := range edges {
		for level := 1; level <= 2; level++ { // those of 3 and 4 are the same
			for _, status := range []int{200, 404, 503} {
				same(t, body, status, level)
			}
		}
	}
}

// FuzzExact holds the verdict on a whole answer against the engine's own (G1).
func FuzzExact(f *testing.F) {
	for _, e := range edges {
		if len(e) < 4096 {
			f.Add(e, 1)
		}
	}
	for _, c := range ruleSetTests(f) {
		f.Add(c.body, 2)
	}
	f.Fuzz(func(t *testing.T, body string, level int) {
		if len(body) > 4096 {
			return
		}
		same(t, body, 200, 1+(level&3))
	})
}

// Rules may not take more processor time than they are given: the rest of the answer counts as unread.
func TestBudget(t *testing.T) {
	now := time.Duration(0)
	rules := NewRules(shared.engine, coreruleset.FS, func() time.Duration { now += 60 * time.Millisecond; return now })
	body := []byte(`c:\\inetpub fopen( <?php SQLSTATE <%= Warning: pg_x java.lang.Error ORA-00933: [MySQL][ODBC`)
	for mode, denied := range map[Mode]bool{Block: true, Detect: false} {
		i, err := New(Config{Mode: mode, Except: []Exception{{Rule: SQLError}}}, 1, &gate.API{}, rules)
		if err != nil {
			t.Fatal(err)
		}
		i.cfg.Threshold = 100
		n := begin(t, i, 200, "text/plain")
		v := n.Begin(t.Context(), body, true)
		if v.Allowed() == denied || denied && v.Reason != ReasonUnread {
			t.Errorf("%s: %+v", mode, v)
		}
		if noted := n.Noted(); !denied && noted[len(noted)-1].Reason != ReasonUnread {
			t.Errorf("%+v", noted)
		}
	}
}
