package identity_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func exchange(op *gate.Operation, authorization ...string) *gate.Exchange {
	fields := http.Header{}
	if len(authorization) > 0 {
		fields["Authorization"] = authorization
	}
	return &gate.Exchange{Request: &canon.Request{Method: "GET", Fields: fields}, Operation: op}
}

var private = &gate.Operation{Key: "getOrder", Access: gate.Access{Rules: []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}}}}}
var public = &gate.Operation{Key: "health", Access: gate.Access{Public: true}}

func shop() *gate.API {
	return &gate.API{Name: `or"ders`, Operations: []*gate.Operation{private, public}}
}

func withDev(t *testing.T) (*identity.Guard, *dev.Issuer) {
	t.Helper()
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g, err := identity.New(identity.Config{Development: gate.Risk{AcceptRisk: "a test"}}, shop(),
		identity.Tools{Now: noon, Dev: issuer, Verified: bearer.NewCache(0), Policy: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return g, issuer
}

func TestDevelopmentTokenIdentifies(t *testing.T) {
	g, issuer := withDev(t)
	if names := g.Issuers(); len(names) != 1 || names[0] != dev.Name {
		t.Errorf("issuers %v", names)
	}
	token, err := issuer.Token("alice", []string{"customer"}, []string{"orders:read", "orders:write"}, noon(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []*gate.Operation{private, public} {
		for range 2 { // the second time from the cache
			x := exchange(op, "bEARER "+token)
			if v := g.Check(context.Background(), x); !v.Allowed() {
				t.Fatalf("%+v", v)
			}
			p := x.Principal()
			if p.Subject != "alice" || p.Issuer != dev.Name || p.Roles[0] != "customer" || len(p.Scopes) != 2 || !p.Expires.Equal(noon().Add(dev.Life)) {
				t.Errorf("principal %+v", p)
			}
		}
	}
}

func TestWithoutValidCredential(t *testing.T) {
	g, issuer := withDev(t)
	good, _ := issuer.Token("alice", nil, nil, noon(), 0)
	expired, _ := issuer.Token("alice", nil, nil, noon().Add(-time.Hour), 0)
	const missing, invalid = `Bearer realm="or\"ders"`, `Bearer realm="or\"ders", error="invalid_token"`
	for _, c := range []struct {
		name      string
		values    []string
		reason    gate.Reason
		challenge string
		public    bool // a public operation admits it
	}{
		{"none", nil, identity.Missing, missing, true},
		{"E32 another scheme", []string{"Basic YTpi"}, identity.Scheme, invalid, false},
		{"empty field", []string{""}, identity.Scheme, invalid, false},
		{"scheme that begins like ours", []string{"Bearerish " + good}, identity.Scheme, invalid, false},
		{"scheme only", []string{"Bearer"}, bearer.Malformed, invalid, false},
		{"no token", []string{"Bearer "}, bearer.Malformed, invalid, false},
		{"two spaces", []string{"Bearer  " + good}, bearer.Malformed, invalid, false},
		{"tab", []string{"Bearer\t" + good}, bearer.Malformed, invalid, false},
		{"comma list", []string{"Bearer " + good + ", Bearer " + good}, bearer.Malformed, invalid, false},
		{"two fields", []string{"Bearer " + good, "Bearer " + good}, bearer.Malformed, invalid, false},
		{"two fields, one of them ours", []string{"Basic YTpi", "Bearer " + good}, bearer.Malformed, invalid, false},
		{"E32 any word", []string{"Bearer letmein"}, bearer.Malformed, invalid, false},
		{"E8 expired", []string{"Bearer " + expired}, bearer.Expired, invalid, false},
		{"E25 truncated", []string{"Bearer " + good[:len(good)-2]}, bearer.Signature, invalid, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, op := range []*gate.Operation{private, public, nil} {
				x := exchange(op, c.values...)
				v := g.Check(context.Background(), x)
				if op == public && c.public {
					if !v.Allowed() || x.Principal() != nil {
						t.Fatalf("public operation: %+v", v)
					}
					continue
				}
				if v.Allowed() || v.Code != gate.NoIdentity || v.Reason != c.reason || x.Principal() != nil {
					t.Fatalf("verdict %+v", v)
				}
				if got := v.Header.Get("WWW-Authenticate"); got != c.challenge {
					t.Errorf("challenge %q, want %q", got, c.challenge)
				}
				if strings.Contains(v.Detail+v.Shown+v.Fix, good[20:40]) {
					t.Error("the token stands in the verdict")
				}
			}
		})
	}
}
