package limits

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func guard(t *testing.T, cfg Config) *Guard {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func pairs(n int) (list []canon.Pair) {
	for i := range n {
		list = append(list, canon.Pair{Name: fmt.Sprint(i), Value: "x"})
	}
	return list
}

func TestCheck(t *testing.T) {
	path := func(n int) string { return "/" + strings.Repeat("a", n-1) }
	for _, c := range []struct {
		name   string
		cfg    Config
		r      *canon.Request
		code   gate.Code // "": allowed
		reason gate.Reason
		rule   string
	}{
		{"nothing much", Config{}, &canon.Request{Path: "/", Length: -1}, "", "", ""},
		{"longest target", Config{}, &canon.Request{Path: path(8192)}, "", "", ""},
		{"target too long", Config{}, &canon.Request{Path: path(8193)}, gate.TargetTooLong, URL, "guards.limits.url"},
		{"target too long by its query", Config{URL: 100}, &canon.Request{Path: "/", Query: []canon.Pair{{Name: "q", Value: strings.Repeat("é", 17)}}}, gate.TargetTooLong, URL, "guards.limits.url"},
		{"target of another bound", Config{URL: 64}, &canon.Request{Path: path(65)}, gate.TargetTooLong, URL, "guards.limits.url"},
		{"most parameters", Config{}, &canon.Request{Path: "/", Query: pairs(256)}, "", "", ""},
		{"A26 one parameter more", Config{}, &canon.Request{Path: "/", Query: pairs(257)}, gate.BadRequest, Query, "guards.limits.query"},
		{"most cookies", Config{}, &canon.Request{Path: "/", Cookies: pairs(64)}, "", "", ""},
		{"E27 one cookie more", Config{}, &canon.Request{Path: "/", Cookies: pairs(65)}, gate.HeadTooLarge, Cookies, "guards.limits.cookies"},
		{"E27 a large cookie", Config{}, &canon.Request{Path: "/", Cookies: []canon.Pair{{Name: "s", Value: strings.Repeat("x", 8191)}}}, gate.HeadTooLarge, Cookies, "guards.limits.cookie_bytes"},
		{"largest body", Config{}, &canon.Request{Path: "/", Length: 1 << 20}, "", "", ""},
		{"C25 one byte more announced", Config{}, &canon.Request{Path: "/", Length: 1<<20 + 1}, gate.TooLarge, Body, "guards.limits.body"},
		{"length not announced", Config{Body: 1}, &canon.Request{Path: "/", Length: -1}, "", "", ""},
		{"no request", Config{}, nil, gate.Internal, Unread, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := guard(t, c.cfg).Check(context.Background(), &gate.Exchange{Request: c.r})
			if v.Allowed() != (c.code == "") || v.Code != c.code || v.Reason != c.reason || v.Rule != c.rule {
				t.Errorf("%+v", v)
			}
			if !v.Allowed() && !slices.Contains(Reasons(), v.Reason) {
				t.Errorf("reason %s is not listed", v.Reason)
			}
		})
	}
}

// What the guard counts is never less than what the canonical form would be on the wire.
func FuzzTargetLength(f *testing.F) {
	f.Add("/a?b=c&d=%20", 20)
	f.Add("/x?é=1&&y", 5)
	f.Fuzz(func(t *testing.T, target string, most int) {
		if !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " \r\n\x00#") || most < 64 || most > 10_000 {
			return
		}
		r, err := http.NewRequest("GET", "http://a.test/", nil)
		if err != nil {
			return
		}
		r.RequestURI, r.Header = target, http.Header{}
		c, refusal := canon.New(r, "http", nil)
		if refusal != nil {
			return
		}
		v := guard(t, Config{URL: unit.Size(most)}).Check(context.Background(), &gate.Exchange{Request: c})
		if v.Allowed() && len(c.Path) > most {
			t.Errorf("a path of %d bytes passed %d", len(c.Path), most)
		}
		if !v.Allowed() && v.Reason != URL {
			t.Errorf("%+v", v)
		}
	})
}

// The limits reach the reader of bodies, and stop there what was not announced.
func TestBodyLimitsAreEnforcedByTheReader(t *testing.T) {
	l := guard(t, Config{}).Body()
	if (l != body.Limits{Bytes: 1 << 20, Ratio: 100, Depth: 32, Members: 10_000, Values: 100_000, Params: 256, Parts: 100}) {
		t.Errorf("%+v", l)
	}
	small := guard(t, Config{Body: 16, Depth: 2}).Body()
	for in, ok := range map[string]bool{`{"a":[1]}`: true, `{"a":[[1]]}`: false, `"` + strings.Repeat("x", 20) + `"`: false} {
		_, refusal := body.Read(body.JSON, nil, "", httptest.NewRequest("POST", "/", strings.NewReader(in)).Body, small)
		if (refusal == nil) != ok {
			t.Errorf("%s: %v", in, refusal)
		}
	}
	if h := guard(t, Config{URL: 100, Cookies: 3}).Head(); h.URL != 100 || h.Cookies != 3 || h.Query != 256 {
		t.Errorf("%+v", h)
	}
}

func TestWrongUses(t *testing.T) {
	_, err := New(Config{
		URL: -1, Query: -1, Cookies: -1, CookieBytes: -1, Body: 2 * unit.GiB, Depth: 100_000, Ratio: -1,
		Properties: -1, Values: -1, FormFields: -1, Parts: -1,
	})
	var list mistake.List
	if !errors.As(err, &list) || len(list) != 11 {
		t.Errorf("eleven mistakes, found:\n%v", err)
	}
}
