package view

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

func extra(t testing.TB, s sample) []Pair {
	t.Helper()
	found, whole := filled(t, s).Extra(nil, Bound{}, nil)
	if !whole {
		t.Errorf("%q: more than the bound", s.body)
	}
	return found
}

func jsonOf(text string) sample {
	quoted, _ := json.Marshal(text)
	return post("application/json", `{"a":`+string(quoted)+`}`)
}

// G16, and codings inside each other.
func TestExtra(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		s    sample
		want []Pair
	}{
		"plain text":               {jsonOf("green tea, 50 g"), nil},
		"full-width":               {jsonOf("＜script＞"), []Pair{{"json.a.nfkc", "<script>"}}},
		"long s and Kelvin":        {jsonOf("ſleep K"), []Pair{{"json.a.nfkc", "sleep K"}}},
		"a joiner in a word":       {jsonOf("sel\u200dect\u00ad"), []Pair{{"json.a.nfkc", "select"}}},
		"languages stay":           {jsonOf("世界 éàü привет"), nil},
		"JSON in a string":         {jsonOf(`{"b":["x",1,null,{"c":"y"}]}`), []Pair{{"json.a.json.b.0", "x"}, {"json.a.json.b.3.c", "y"}}},
		"JSON in a form":           {post("application/x-www-form-urlencoded", "q="+url.QueryEscape(` [{"a":"\u0027--"}]`)), []Pair{{"q.json.0.a", "'--"}}},
		"JSON in a query":          {sample{method: "GET", target: "/p?q=" + url.QueryEscape(`{"a":"b"}`)}, []Pair{{"q.json.a", "b"}}},
		"a name twice, broken off": {jsonOf(`{"b":"1","b":"2","c":["3",!`), []Pair{{"json.a.json.b", "1"}, {"json.a.json.b", "2"}, {"json.a.json.c.0", "3"}}},
		"Base64":                   {jsonOf(coded([]byte("' or 1=1 --"))), []Pair{{"json.a.base64", "' or 1=1 --"}}},
		"Base64 without padding":   {jsonOf(strings.TrimRight(coded([]byte("' or 1=1 --")), "=")), []Pair{{"json.a.base64", "' or 1=1 --"}}},
		"the other alphabet":       {jsonOf(base64.URLEncoding.EncodeToString([]byte("~~~???>>>"))), []Pair{{"json.a.base64", "~~~???>>>"}}},
		"a data URL":               {jsonOf("data:text/html;base64," + coded([]byte("<script>"))), []Pair{{"json.a.base64", "<script>"}}},
		"Base64 of no text":        {jsonOf(coded([]byte("\x89PNG\r\n\x1a\n\x00\x01"))), nil},
		"a word":                   {jsonOf("Location"), nil},
		"Base64 in JSON in Base64": {jsonOf(coded([]byte(coded([]byte(coded([]byte("three levels"))))))), []Pair{{"json.a.base64", coded([]byte(coded([]byte("three levels"))))}, {"json.a.base64.base64", coded([]byte("three levels"))}}},
		"JSON in Base64":           {jsonOf(coded([]byte(`{"b":"＜"}`))), []Pair{{"json.a.base64.nfkc", `{"b":"<"}`}, {"json.a.base64.json.b", "＜"}, {"json.a.base64.json.b.nfkc", "<"}}},
		"broken JSON in Base64":    {jsonOf(coded([]byte(`{"b":"x",<script>`))), []Pair{{"json.a.base64", `{"b":"x",<script>`}, {"json.a.base64.json.b", "x"}}},
		"a cookie":                 {sample{method: "GET", target: "/", fields: map[string]string{"Cookie": "s=" + coded([]byte("<script>"))}}, []Pair{{"s.base64", "<script>"}}},
		"names of what is empty":   {post("application/json", `{"<x>":{},"b":[1,[],{"c":{"d":{}}}]}`), []Pair{{"json.<x>.empty", "json.<x>"}, {"json.b.1.empty", "json.b.1"}, {"json.b.2.c.d.empty", "json.b.2.c.d"}}},
	} {
		if got := extra(t, c.s); !slices.Equal(got, c.want) {
			t.Errorf("%s:%s\nwant%s", name, show(got), show(c.want))
		}
	}
}

func TestExtraBound(t *testing.T) {
	many := jsonOf("[" + strings.Repeat(`"x",`, 2000) + `"x"]`)
	found, whole := filled(t, many).Extra(nil, Bound{}, nil)
	if whole || len(found) != 1000 {
		t.Errorf("%d values, whole %t", len(found), whole)
	}
	deep := jsonOf(strings.Repeat(`{"aaaaaaaa":`, 5000))
	if _, whole = filled(t, deep).Extra(nil, Bound{}, nil); whole {
		t.Error("paths grow without bound")
	}
	dst := []Pair{{"kept", "1"}}
	if found, whole = filled(t, jsonOf("＜")).Extra(dst, Bound{Values: 1, Bytes: 100}, nil); !whole || len(found) != 2 || found[0] != dst[0] {
		t.Errorf("whole %t:%s", whole, show(found))
	}
}

// What is taken off changes nothing of what the rules read by themselves, and never takes more than the bound.
func FuzzExtra(f *testing.F) {
	for _, text := range []string{"＜script＞", `{"a":["b"]}`, "PHNjcmlwdD4=", `{"a":{"a":{`, "]", `["a"]]`, "\xff＜", "ﷺ", "data:base64,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, tree, ok := jsonOf(text).exchange()
		if !ok {
			return
		}
		var v View
		v.Fill(x, tree)
		before := slices.Clone(v.Of(variables.Args))
		bound := Bound{Values: 50, Bytes: 2000}
		found, whole := v.Extra(nil, bound, nil)
		size := 0
		for _, p := range found {
			if size += len(p.Key) + len(p.Text); !regexp.MustCompile(`\.(nfkc|json|base64|empty)`).MatchString(p.Key) {
				t.Errorf("%q does not say what was taken off", p.Key)
			}
		}
		if len(found) > bound.Values || size > bound.Bytes || whole && len(found) > bound.Values {
			t.Errorf("%d values of %d bytes", len(found), size)
		}
		if !slices.Equal(before, v.Of(variables.Args)) {
			t.Error("the exact view has changed")
		}
	})
}

func BenchmarkExtra(b *testing.B) {
	v := filled(b, post("application/json", order()))
	var dst []Pair
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = v.Extra(dst[:0], Bound{}, nil)
	}
}
