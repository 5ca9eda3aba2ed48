package headers

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func answer(t *testing.T, cfg Config, secure bool, fields http.Header) http.Header {
	t.Helper()
	g, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := &gate.Exchange{}
	if secure {
		x.Source.TLS = &tls.ConnectionState{}
	}
	a := &gate.Answer{Fields: fields}
	if v := g.Review(t.Context(), x, a); !v.Allowed() {
		t.Fatalf("%+v", v)
	}
	return a.Fields
}

func TestWhatIsAddedAndRemoved(t *testing.T) {
	got := answer(t, Config{}, true, http.Header{"Server": {"nginx/1.22"}, "X-Powered-By": {"PHP"}, "Via": {"x"}, "Cache-Control": {"max-age=60"}, "Etag": {"1"}})
	want := http.Header{
		"Cache-Control": {"max-age=60"}, "Etag": {"1"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"}, "Referrer-Policy": {"no-referrer"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}, "Cross-Origin-Resource-Policy": {"same-origin"},
		"Strict-Transport-Security": {"max-age=31536000; includeSubDomains"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoHSTSWithoutTLS(t *testing.T) {
	if got := answer(t, Config{}, false, http.Header{"Strict-Transport-Security": {"max-age=1"}}); got.Get("Strict-Transport-Security") != "" {
		t.Error(got)
	}
}

// A development gateway must not tell browsers that all of localhost speaks TLS.
func TestNoHSTSForLocalhost(t *testing.T) {
	g, err := New(Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, sent := range map[string]bool{"localhost": false, "shop.localhost": false, "shop.example": true, "notlocalhost": true, "localhost.example": true} {
		x := &gate.Exchange{Source: gate.Source{TLS: &tls.ConnectionState{}}, Request: &canon.Request{Host: host}}
		a := &gate.Answer{Fields: http.Header{"Strict-Transport-Security": {"max-age=1"}}}
		g.Review(t.Context(), x, a)
		if got := a.Fields.Get("Strict-Transport-Security"); (got == "max-age=31536000; includeSubDomains") != sent || !sent && got != "" {
			t.Errorf("%s: %q", host, got)
		}
	}
}

func TestSetKeepRemove(t *testing.T) {
	cfg := Config{Set: map[string]string{"x-frame-options": "SAMEORIGIN"}, Keep: []string{"server"}, Remove: []string{"x-internal"}, HSTS: time.Hour}
	got := answer(t, cfg, true, http.Header{"Server": {"s"}, "X-Internal": {"1"}})
	for name, want := range map[string]string{"X-Frame-Options": "SAMEORIGIN", "Server": "s", "X-Internal": "", "Strict-Transport-Security": "max-age=3600; includeSubDomains"} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
}

func TestWrongUses(t *testing.T) {
	for _, cfg := range []Config{
		{Set: map[string]string{"Connection": "close"}}, {Set: map[string]string{"X-A": "b\r\nSet-Cookie: x"}}, {Set: map[string]string{"X A": "b"}}, {Set: map[string]string{"": "b"}},
		{Set: map[string]string{"access-control-allow-origin": "*"}}, {Keep: []string{"Etag"}}, {Remove: []string{"a b"}}, {HSTS: -1}, {HSTS: 1},
	} {
		if _, err := New(cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
