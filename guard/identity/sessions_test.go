package identity_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// A page without a session is sent to sign in, and back to where it was; one whose address is too long for that, to the beginning.
func TestLeadsToSignIn(t *testing.T) {
	source := keys.NewSource(time.Now, keys.Offline(), nil)
	t.Cleanup(source.Close)
	api := &gate.API{Name: "shop", Hosts: []string{"app.example"}}
	g, err := identity.New(identity.Config{Sessions: identity.Sessions{Providers: []string{"corp"}}}, api,
		identity.Tools{Now: time.Now, Keys: source, Providers: map[string]session.Voucher{"corp": {Issuer: "https://idp.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/orders": "%2Forders%3Fq%3D%2526", "/" + strings.Repeat("a", 5000): "%2F"} {
		x := &gate.Exchange{API: api, Operation: &gate.Operation{}, Request: &canon.Request{Method: http.MethodGet, Host: "app.example", Scheme: "https", Path: path,
			Query: []canon.Pair{{Name: "q", Value: "&"}}, Fields: http.Header{"Accept": {"text/html"}}}}
		if v := g.Check(t.Context(), x); v.To != "/.gatehouse/sign-in?to="+want {
			t.Errorf("%.40s leads to %.80s", path, v.To)
		}
	}
}
