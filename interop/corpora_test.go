package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
)

const anyText = `openapi: 3.1.0
info: {title: text, version: "1"}
paths:
  /text:
    get:
      operationId: search
      parameters: [{name: q, in: query, schema: {type: string}}, {name: X-Text, in: header, schema: {type: string}}]
      responses: {"200": {description: ok}}
    post:
      operationId: add
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {text: {type: string}}}}}}
      responses: {"200": {description: ok}}
    put:
      operationId: replace
      requestBody: {required: true, content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {text: {type: string}}}}}}
      responses: {"200": {description: ok}}
  /text/{word}:
    get:
      operationId: read
      parameters: [{name: word, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /any:
    post:
      operationId: any
      requestBody: {required: true, content: {application/json: {schema: {}}}}
      responses: {"200": {description: ok}}
`

// understood answers with the text that the server behind has found in a request, as any server would find it.
func understood(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var text string
	switch word, inPath := strings.CutPrefix(r.URL.EscapedPath(), "/text/"); {
	case r.URL.Path == "/any":
		text = string(body)
	case inPath:
		text, _ = url.PathUnescape(word)
	case r.Method == http.MethodPost:
		var o struct{ Text string }
		_ = json.Unmarshal(body, &o)
		text = o.Text
	case r.Method == http.MethodPut:
		form, _ := url.ParseQuery(string(body))
		text = form.Get("text")
	case r.URL.RawQuery != "":
		text = r.URL.Query().Get("q")
	default:
		text = r.Header.Get("X-Text")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, text)
}

// place is where in a request a text can stand.
type place string

const (
	inQuery  place = "query"
	inJSON   place = "JSON"
	inForm   place = "form"
	inPath   place = "path"
	inField  place = "field"
	document place = "document" // the body is the text
)

// send asks the gateway with the text in its place.
func (p place) send(ctx context.Context, client *http.Client, base, text string) (*http.Response, error) {
	method, target, media, body := http.MethodGet, "/text", "", ""
	switch p {
	case inQuery:
		target += "?q=" + url.QueryEscape(text)
	case inPath:
		target += "/" + strings.ReplaceAll(url.QueryEscape(text), "+", "%20") // every byte that means anything is encoded
	case inJSON:
		method, media, body = http.MethodPost, "application/json", `{"text":`+quotedRaw(text)+`}`
	case inForm:
		method, media, body = http.MethodPut, "application/x-www-form-urlencoded", "text="+url.QueryEscape(text)
	case document:
		method, target, media, body = http.MethodPost, "/any", "application/json", text
	}
	request, err := http.NewRequestWithContext(ctx, method, base+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if media != "" {
		request.Header.Set("Content-Type", media)
	} else {
		request.Body, request.ContentLength = nil, 0
	}
	if p == inField {
		request.Header.Set("X-Text", text)
	}
	return client.Do(request)
}

// quotedRaw is text as a JSON string. Bytes that are no UTF-8 stay what they are.
func quotedRaw(text string) string {
	if utf8.ValidString(text) {
		return quoted(text)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		switch {
		case c == '"', c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// try is one text in one place, and what became of it.
type try struct {
	name   string // a class of attacks, a file
	text   string
	place  place
	status int
	answer string // what the server understood
	event  string // of a denial
	reason string // of a denial, as its event tells
	rule   string // that denied it
}

// all sends every try, some at a time, and reads afterwards why those were denied that were.
func all(t *testing.T, h *house, tries []try) {
	t.Helper()
	pem, err := os.ReadFile(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(pem)}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	next := make(chan *try)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for one := range next {
				response, err := one.place.send(t.Context(), client, h.url, one.text)
				if err != nil {
					t.Errorf("%s %s %.80q: %v", one.name, one.place, one.text, err)
					continue
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil {
					t.Errorf("%s %s %.80q: %v", one.name, one.place, one.text, err)
				}
				one.status, one.answer = response.StatusCode, string(body)
				if one.status != http.StatusOK {
					var p struct{ Event string }
					_ = json.Unmarshal(body, &p)
					one.event = p.Event
				}
			}
		})
	}
	for i := range tries {
		next <- &tries[i]
	}
	close(next)
	workers.Wait()
	events := make(map[string]gate.Decision)
	for _, e := range h.events(t) {
		events[e.ID] = e.Decision
	}
	for i := range tries {
		one := &tries[i]
		one.reason, one.rule = string(events[one.event].Reason), events[one.event].Rule
		if one.status >= 500 || one.status != http.StatusOK && one.reason == "" {
			t.Errorf("%s %s %.80q: status %d, reason %q, %.200q", one.name, one.place, one.text, one.status, one.reason, one.answer)
		}
	}
}

// corpora is the folder of the corpora, or nothing when there are none.
func corpora(t *testing.T) string {
	t.Helper()
	root := os.Getenv("GATEHOUSE_CORPORA")
	if root == "" {
		t.Log("NOT RUN over the corpora: GATEHOUSE_CORPORA does not name their folder; an extract of our own is tried")
	}
	return root
}

// TestCorpora sends text that nobody here wrote through the built gateway: text that breaks programs, attacks, and
// documents that are no JSON (rows G8 to G11). Whatever it is, it is answered, and what passes reaches the server as it was
// sent. How much of it is denied is logged: go test -v -run TestCorpora ./interop
func TestCorpora(t *testing.T) {
	t.Parallel()
	h := settle(t, anyText, strings.ReplaceAll(echoDocument, "clients", "corpora"), behind(t, understood))
	t.Run("naughty", func(t *testing.T) { naughty(t, h) })
	t.Run("attacks", func(t *testing.T) { attacks(t, h) })
	t.Run("json", func(t *testing.T) { documents(t, h) })
	h.sound(t)
}

// naughty sends each of the naughty strings in every place that can hold it.
func naughty(t *testing.T, h *house) {
	list := []string{
		"", "undefined", "NULL", "1E2", "-0", "Zoë", "ﬃ ß İ ſ K", "\u202etest\u202e", "\ufeff", "👩‍👩‍👧‍👦", "a b\tc", "line\nline", "\r\n", "%00", "\x00", "..", ".", "a/b", `a\b`, "a;b",
		"O'Brien", `"quoted"`, strings.Repeat("Ω", 500), "field: value", "<script>alert(1)</script>", "1; DROP TABLE users", "${7*7}", "$(id)", "CON",
	}
	if root := corpora(t); root != "" {
		data, err := os.ReadFile(filepath.Join(root, "naughty-strings", "blns.json"))
		if err != nil {
			t.Fatal(err)
		}
		list = nil
		if err := json.Unmarshal(data, &list); err != nil || len(list) < 500 {
			t.Fatalf("%d naughty strings, %v", len(list), err)
		}
	}
	// From the first script to the last of the known vulnerabilities the list holds attacks.
	first, last := slices.IndexFunc(list, func(s string) bool { return strings.HasPrefix(s, "<script>") }), slices.Index(list, "CON")
	if first < 0 || last < first {
		t.Fatal("the list is ordered otherwise")
	}
	evil := list[first:last]
	name := func(s string) string {
		if slices.Contains(evil, s) {
			return "attack"
		}
		return "harmless"
	}
	var tries []try
	for _, s := range list {
		for _, p := range []place{inQuery, inJSON, inForm} {
			tries = append(tries, try{name: name(s), text: s, place: p})
		}
		if s != "" { // an empty segment is another path
			tries = append(tries, try{name: name(s), text: s, place: inPath})
		}
		if asField(s) {
			tries = append(tries, try{name: name(s), text: s, place: inField})
		}
	}
	all(t, h, tries)
	for _, one := range tries {
		if one.status == http.StatusOK && one.answer != one.text {
			t.Errorf("%s: the server understood %.80q, sent was %.80q", one.place, one.answer, one.text)
		}
	}
	tell(t, tries)
	for _, one := range tries { // what an operator will be asked about
		if one.place == inJSON && one.name == "harmless" && one.status != http.StatusOK {
			t.Logf("harmless, and refused in JSON: %.60q %s %s", one.text, one.reason, one.rule)
		}
	}
}

// asField tells whether a text can be the value of a field, whose blanks at both ends don't count.
func asField(s string) bool {
	return s != "" && strings.Trim(s, " \t") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// tell logs, for each place, how many were denied and for which reasons, and fails when a reason is none that text can have.
func tell(t *testing.T, tries []try) {
	t.Helper()
	known := map[place][]string{
		inQuery: {"waf.rule", "query.control", "query.utf8"},
		inJSON:  {"waf.rule", "body.nul", "body.utf8"},
		inForm:  {"waf.rule", "body.control", "body.utf8"},
		inPath:  {"waf.rule", "path.encoded_slash", "path.backslash", "path.control", "path.utf8", "path.dot_segment", "path.matrix_param"},
		inField: {"waf.rule", "field.bytes"},
	}
	for _, p := range []place{inQuery, inJSON, inForm, inPath, inField} {
		sent, harmless, refused, why := 0, 0, 0, map[string]int{}
		for _, one := range tries {
			if one.place != p {
				continue
			}
			sent++
			if one.name == "harmless" {
				harmless++
				if one.reason == "waf.rule" {
					refused++
				}
			}
			if one.status != http.StatusOK {
				why[one.reason]++
				if !slices.Contains(known[p], one.reason) {
					t.Errorf("%s %.80q: denied for %s", p, one.text, one.reason)
				}
			}
		}
		t.Logf("%-6s %4d sent, refused %v; of %d harmless ones the WAF refused %d", p, sent, why, harmless, refused)
	}
}

// attacks sends samples of lists of attacks, class by class, and tells how many were found. The contract would admit them
// all: what is measured is the WAF alone, at its default.
func attacks(t *testing.T, h *house) {
	const most = 200 // lines of a class
	classes := map[string][]string{
		"sqli": {"' OR 1=1-- ", "1 UNION SELECT username, password FROM users", "1; EXEC xp_cmdshell('dir')"},
		"xss":  {"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`},
	}
	if root := corpora(t); root != "" {
		for class, folders := range map[string][]string{
			"sqli":      {"payloads-all-the-things/SQL Injection", "fuzzdb/attack/sql-injection"},
			"xss":       {"payloads-all-the-things/XSS Injection", "fuzzdb/attack/xss"},
			"traversal": {"payloads-all-the-things/Directory Traversal", "fuzzdb/attack/path-traversal"},
			"inclusion": {"payloads-all-the-things/File Inclusion", "fuzzdb/attack/lfi", "fuzzdb/attack/rfi"},
			"command":   {"payloads-all-the-things/Command Injection", "fuzzdb/attack/os-cmd-execution"},
			"nosql":     {"payloads-all-the-things/NoSQL Injection", "fuzzdb/attack/no-sql-injection"},
			"template":  {"payloads-all-the-things/Server Side Template Injection", "fuzzdb/attack/server-side-include"},
			"xml":       {"payloads-all-the-things/XXE Injection", "fuzzdb/attack/xml", "fuzzdb/attack/xpath"},
			"ldap":      {"payloads-all-the-things/LDAP Injection", "fuzzdb/attack/ldap"},
			"redirect":  {"payloads-all-the-things/Open Redirect", "fuzzdb/attack/redirect"},
		} {
			classes[class] = sample(t, filepath.Join(root, "attacks"), folders, most)
		}
	}
	var tries []try
	for class, lines := range classes {
		for _, line := range lines {
			tries = append(tries, try{name: class, text: line, place: inQuery}, try{name: class, text: line, place: inJSON})
		}
	}
	all(t, h, tries)
	var rows []string
	for class, lines := range classes {
		found := map[place]int{}
		for _, one := range tries {
			if one.name == class && one.status != http.StatusOK {
				found[one.place]++
			}
		}
		rows = append(rows, fmt.Sprintf("%-10s %3d lines, denied: query %3d %%, JSON %3d %%", class, len(lines), 100*found[inQuery]/len(lines), 100*found[inJSON]/len(lines)))
		if (class == "sqli" || class == "xss") && (found[inQuery] == 0 || found[inJSON] == 0) {
			t.Errorf("%s: none of %d lines was found", class, len(lines))
		}
	}
	slices.Sort(rows)
	t.Log("\n" + strings.Join(rows, "\n"))
	for _, one := range tries {
		if one.status == http.StatusOK && one.answer != one.text {
			t.Errorf("%s: the server understood %.80q, sent was %.80q", one.place, one.answer, one.text)
		}
	}
}

// sample takes lines from all lists below the folders, as many of each list as of any other, evenly spread over it. Lines
// that are comments of the list, or one word, such as onfocus, are no attacks.
func sample(t *testing.T, root string, folders []string, most int) []string {
	t.Helper()
	var lists [][]string
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, ".md") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var lines []string
			for line := range bytes.Lines(data) {
				if line = bytes.TrimRight(line, "\r\n"); len(line) > 2 && len(line) < 2000 && line[0] != '#' && bytes.ContainsFunc(line, notInWord) {
					lines = append(lines, string(line))
				}
			}
			if len(lines) > 0 {
				lists = append(lists, lines)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(lists) == 0 {
		t.Fatalf("no lists in %v", folders)
	}
	each := (most + len(lists) - 1) / len(lists)
	var lines []string
	for _, list := range lists {
		for i := range min(each, len(list)) {
			lines = append(lines, list[i*len(list)/min(each, len(list))])
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func notInWord(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// documents sends documents of which some are JSON and some are not, to an operation that takes any JSON.
func documents(t *testing.T, h *house) {
	list := map[string]string{
		"y_object.json": `{"a":[1,2.5e3,null,true,"Zoë"]}`, "y_string.json": `"x"`, "y_space.json": "\n[ ] \t",
		"n_comma.json": `[1,]`, "n_single.json": `{'a':1}`, "n_trailing.json": `{} x`, "n_utf8.json": "[\"\xff\"]", "n_deep.json": strings.Repeat("[", 5000),
		"y_object_duplicated_key.json": `{"a":1,"a":2}`, "y_string_null_escape.json": `["\u0000"]`,
	}
	if root := corpora(t); root != "" {
		files, err := filepath.Glob(filepath.Join(root, "json-parsing", "test_parsing", "*.json"))
		if err != nil || len(files) < 300 {
			t.Fatalf("%d documents, %v", len(files), err)
		}
		clear(list)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			list[filepath.Base(file)] = string(data)
		}
	}
	// JSON that is refused all the same, since servers disagree about it.
	ambiguous := []string{"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json", "y_object_escaped_null_in_key.json", "y_string_null_escape.json"}
	var tries []try
	for name, text := range list {
		tries = append(tries, try{name: name, text: text, place: document})
	}
	all(t, h, tries)
	free := map[string]int{}
	for _, one := range tries {
		want := http.StatusOK
		switch {
		case one.name[0] == 'n', slices.Contains(ambiguous, one.name):
			want = http.StatusBadRequest
		case one.name[0] == 'i': // free
			want = one.status
			free[one.reason]++
		}
		if one.status != want {
			t.Errorf("%s: %d %s, want %d: %.80q", one.name, one.status, one.reason, want, one.text)
		}
		if one.status == http.StatusOK && one.answer != one.text {
			t.Errorf("%s: the server got %.80q of %.80q", one.name, one.answer, one.text)
		}
	}
	t.Logf("%d documents; of those that the standard leaves free: %v", len(tries), free)
}
