package waf

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	yaml "github.com/oasdiff/yaml3"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func coded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// deeper are attacks that no rule reads by itself, and where they are found.
var deeper = map[string]struct {
	s     sample
	place string
}{
	"Base64 in JSON":     {sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `{"a":"` + coded("<script>alert(document.cookie)</script>") + `"}`}, "json.a.base64"},
	"Base64 in a form":   {sample{method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "a=" + url.QueryEscape(coded("x' UNION SELECT password FROM users--"))}, "a.base64"},
	"JSON in a form":     {sample{method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "a=" + url.QueryEscape(`{"b":["http:\/\/169.254.169.254\/latest"]}`)}, "a.json.b.0"},
	"JSON in Base64":     {sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "q", Value: coded(`{"b":"1\u0027 or \u00271\u0027=\u00271"}`)}}}, "q.base64.json.b"},
	"Base64 twice":       {sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "q", Value: coded(coded("<script>alert(1)</script>"))}}}, "q.base64.base64"},
	"a joiner in a word": {sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `{"a":"x' UNI` + "\u200d" + `ON SEL` + "\u200d" + `ECT passw` + "\u200d" + `ord FR` + "\u200d" + `OM users--"}`}, "json.a.nfkc"},
	"a cookie":           {sample{method: "GET", path: "/x", fields: map[string]string{"Cookie": "s=" + strings.TrimRight(coded("<script>alert(1)</script>"), "=")}}, "s.base64"},
}

// G16, and what stands behind one coding more: found, told apart, and with an exception for just that place.
func TestWhatLiesDeeperIsJudged(t *testing.T) {
	off := false
	exact, g := guard(t, Config{Nested: &off}), guard(t, Config{})
	for name, c := range deeper {
		if v := exact.Check(t.Context(), c.s.exchange()); !v.Allowed() && name != "a joiner in a word" {
			t.Errorf("%s: the rules see it by themselves: %s", name, v.Detail)
		}
		v := g.Check(t.Context(), c.s.exchange())
		if v.Code != gate.Attack || v.Reason != ReasonNested && name != "a joiner in a word" || !strings.Contains(v.Detail, c.place) && name != "a joiner in a word" {
			t.Errorf("%s: %+v", name, v)
			continue
		}
		var except []seclang.Exception
		for range 12 {
			if v = guard(t, Config{Except: except}).Check(t.Context(), c.s.exchange()); v.Allowed() {
				break
			}
			var proposed struct{ Except []seclang.Exception }
			if err := yaml.Unmarshal([]byte(v.Fix), &proposed); err != nil || len(proposed.Except) != 1 {
				t.Fatal(v.Fix, err)
			}
			except = append(except, proposed.Except...)
		}
		if !v.Allowed() || len(except) == 0 {
			t.Errorf("%s: still denied after %d exceptions: %s", name, len(except), v.Fix)
		}
	}
}

// What is harmless under a coding is shown to be so without the engine, once its class is known.
func TestHarmlessCodingsAreFast(t *testing.T) {
	g := guard(t, Config{})
	s := sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `{"a":"` + coded(`{"name":"Ann Lee","note":"ring twice"}`) + `","b":"１２３ ｔｅａ","c":"{\"d\":\"green\"}"}`}
	fast(t, g, s.exchange)
	x := s.exchange()
	tree, _ := x.Body(t.Context())
	r := g.rules.room()
	r.meter.start(time.Hour)
	defer r.meter.end()
	r.view.Fill(x, tree)
	if v := g.nested(x, r, nil, gate.Allow()); !v.Allowed() || len(r.pairs) < 4 {
		t.Fatal(v, r.pairs)
	}
	if v, shown := g.decide(&gate.Exchange{ID: "inner", Request: g.rules.carrier, Operation: x.Operation}, &r.nested, r, nil, inside{}); !v.Allowed() || !shown {
		t.Errorf("the engine is asked about %v: %+v", r.pairs, v)
	}
	g.rules.giveBack(r)
	if len(r.pairs[:cap(r.pairs)]) > 0 && r.pairs[:cap(r.pairs)][0].Text != "" || r.nested.Of(0) != nil {
		t.Error("a room that waits holds what a request said")
	}
}

// What carries the values adds nothing of its own: at the highest level, and where the least score denies, it passes; and
// the same value, when it is an attack, does not.
func TestTheCarrierScoresNothing(t *testing.T) {
	for paranoia := 1; paranoia <= 4; paranoia++ {
		g := guard(t, Config{Paranoia: paranoia, Threshold: 1})
		if v := g.Check(t.Context(), (sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "q", Value: `["tea"]`}}}).exchange()); v.Reason == ReasonNested {
			t.Errorf("at paranoia %d: %+v", paranoia, v)
		}
		r := g.rules.room()
		r.meter.start(time.Hour)
		defer r.meter.end()
		x := sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "q", Value: `["tea"]`}}}.exchange()
		r.view.Fill(x, nil)
		if v := g.nested(x, r, nil, gate.Allow()); !v.Allowed() || len(r.pairs) != 1 {
			t.Errorf("at paranoia %d: %+v %v", paranoia, v, r.pairs)
		}
		g.rules.giveBack(r)
	}
}

// A trial judges what the gateway judges.
func TestATrialLooksDeeper(t *testing.T) {
	g, off := guard(t, Config{}), false
	x := deeper["Base64 in JSON"].s
	if o, err := g.Try(t.Context(), x.exchange()); err != nil || !o.Denied || len(o.Rules) == 0 {
		t.Errorf("%+v %v", o, err)
	}
	if o, err := guard(t, Config{Nested: &off}).Try(t.Context(), x.exchange()); err != nil || o.Denied {
		t.Errorf("%+v %v", o, err)
	}
	for name, s := range attacks {
		if o, err := g.Try(t.Context(), s.exchange()); err != nil || !o.Denied || o.Status != 403 {
			t.Errorf("%s: %+v %v", name, o, err)
		}
	}
}

// More codings than anybody needs are not passed half looked at.
func TestTooManyCodingsAreDenied(t *testing.T) {
	g := guard(t, Config{Budget: time.Minute})
	text := `{"a":"` + strings.Repeat("\ufdfa", 40_000) + `"}` // each is 18 signs in the compatible form
	v := g.Check(t.Context(), sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: text}.exchange())
	if v.Code != gate.TooLarge || v.Reason != ReasonNested || v.Fix == "" {
		t.Errorf("%+v", v)
	}
}

func BenchmarkNested(b *testing.B) {
	off := false
	for name, s := range benign {
		for word, cfg := range map[string]Config{"on": {}, "off": {Nested: &off}} {
			g := guard(b, cfg)
			fast(b, g, s.exchange)
			b.Run(name+"/"+word, func(b *testing.B) {
				x := s.exchange()
				_, _ = x.Body(b.Context())
				b.ReportAllocs()
				for b.Loop() {
					g.Check(b.Context(), x)
				}
			})
		}
	}
}
