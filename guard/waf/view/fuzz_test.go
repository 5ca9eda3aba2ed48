package view

import (
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// G6 to G11: whatever JSON our reader admits, the engine's reader makes the same arguments of it.
func FuzzJSON(f *testing.F) {
	for _, s := range samples {
		if s.fields["Content-Type"] == "application/json" {
			f.Add(s.body)
		}
	}
	for _, text := range []string{`{"a":[{"b":[]},[[0]]]}`, "[1,\t2\r\n, 3 ]", `{"\u006a":"\/"}`, `{"a":"\ud83d\ude00\u0000"}`, `[-0.0e+10,1E400]`, `{"a":{"a":{"a":{}}},"a.a.a":1}`, `"\u2028"`, `[""," ",null]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { compare(t, post("application/json", text)) })
}

// A25, A26: whatever query and form our reader admits, the engine's reader makes the same arguments of it, but for names
// that differ in case only.
func FuzzForm(f *testing.F) {
	for _, text := range []string{"", "a=1&b=2", "a&=&==&&", "a=%26&%3d=+", "A=1&a=2&a=3", "%e4%b8%96=%20", "a=1=2", "a[]=1&a[]=2", "%=1", "a=%zz", "a;b"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, query, form string) {
		s := post("application/x-www-form-urlencoded", form)
		s.target = "/p?" + query
		compare(t, s)
	})
}

// The engine's reader of XML is the standard library's, and so is ours: what it makes of a document is the same, or both
// have an error.
func FuzzXML(f *testing.F) {
	for _, s := range samples {
		if s.fields["Content-Type"] == "text/xml" {
			f.Add(s.body)
		}
	}
	f.Fuzz(func(t *testing.T, text string) { compare(t, post("text/xml", text)) })
}

// G2 to G5: the engine's reader of multipart sees the same fields and files.
func FuzzMultipart(f *testing.F) {
	for _, s := range samples {
		if tree := treeOf(s); tree != nil && tree.Kind == body.Multipart {
			f.Add(s.body)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		compare(t, sample{method: "POST", target: "/", fields: map[string]string{"Content-Type": "multipart/form-data; boundary=b"}, body: text})
	})
}

func treeOf(s sample) *body.Tree {
	_, tree, _ := s.exchange()
	return tree
}

// A1 to A11: whatever path and cookies canon admits, the engine has them as we say.
func FuzzHead(f *testing.F) {
	for _, s := range samples {
		f.Add(s.target, s.fields["Cookie"], s.fields["X-Request-Id"])
	}
	f.Add("/%7e/a%5b%20?x", "a=\"1\"; __Host-b=2", "\t")
	f.Fuzz(func(t *testing.T, target, cookies, field string) {
		s := sample{method: "GET", target: target, fields: map[string]string{"X-A": field}}
		if cookies != "" {
			s.fields["Cookie"] = cookies
		}
		if compare(t, s) {
			if v := filled(t, s); v.Single(variables.RequestURI) != v.Single(variables.RequestURIRaw) || v.Single(variables.URIParseError) != "0" {
				t.Errorf("%q is not as canonical as it should be", target)
			}
		}
	})
}
