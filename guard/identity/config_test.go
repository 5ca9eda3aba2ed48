package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/go-jose/go-jose/v4"
)

// keyFile writes a usable key set.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// never remembers nothing.
type never struct{}

func (never) First(context.Context, string, time.Time) (bool, error) { return false, nil }

// Each of these documents is wrong in one way, and New says where and, where there is one answer, what to write.
func TestWrongDocuments(t *testing.T) {
	good := func(change func(*bearer.Issuer)) identity.Config {
		i := bearer.Issuer{Issuer: "https://idp.example.com", Audience: bearer.Names{"orders"}, Keys: keyFile(t)}
		if change != nil {
			change(&i)
		}
		return identity.Config{Issuers: []bearer.Issuer{i}}
	}
	named := func(h identity.HeaderNames) identity.Config {
		c := good(nil)
		c.Headers = h
		return c
	}
	keyed := func(change func(*identity.Config)) identity.Config {
		c := good(nil)
		c.APIKeys.Header = "X-API-Key"
		change(&c)
		return c
	}
	issuer := func(change func(*bearer.Issuer)) identity.Config { return good(change) }
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		config identity.Config
		path   string // "" when nothing is wrong
		write  string // part of the suggestion
	}{
		{"good", good(nil), "", ""},
		{"nobody vouches", identity.Config{}, "issuers", "audience"},
		{"E7 no audience", issuer(func(i *bearer.Issuer) { i.Audience = nil }), "issuers[0].audience", "audience: [my-api]"},
		{"E7 empty audience", issuer(func(i *bearer.Issuer) { i.Audience = bearer.Names{""} }), "issuers[0].audience[0]", "audience"},
		{"E7 any audience", issuer(func(i *bearer.Issuer) { i.Audience = bearer.Names{"orders", "*"} }), "issuers[0].audience[1]", "audience"},
		{"audience with a space", issuer(func(i *bearer.Issuer) { i.Audience = bearer.Names{" orders"} }), "issuers[0].audience[0]", "audience"},
		{"no issuer", issuer(func(i *bearer.Issuer) { i.Issuer = "" }), "issuers[0].issuer", "issuer: https://"},
		{"issuer without encryption", issuer(func(i *bearer.Issuer) { i.Issuer, i.Keys = "http://idp.example.com", "" }), "issuers[0].issuer", "https://idp.example.com"},
		{"issuer by private address", issuer(func(i *bearer.Issuer) { i.Issuer, i.Keys = "https://10.0.0.1", "" }), "issuers[0].issuer", "accept_risk"},
		{"issuer is the metadata", issuer(func(i *bearer.Issuer) {
			i.Issuer, i.Keys, i.AllowPrivate.AcceptRisk = "https://169.254.169.254", "", "why not"
		}), "issuers[0].issuer", ""},
		{"issuer with a query", issuer(func(i *bearer.Issuer) { i.Issuer, i.Keys = "https://idp.example.com?x=1", "" }), "issuers[0].issuer", ""},
		{"issuer of two lines", issuer(func(i *bearer.Issuer) { i.Issuer = "https://idp.example.com\n" }), "issuers[0].issuer", ""},
		{"E1 none", issuer(func(i *bearer.Issuer) { i.Algorithms = []string{"none"} }), "issuers[0].algorithms[0]", ""},
		{"E2 shared key", issuer(func(i *bearer.Issuer) { i.Algorithms = []string{"RS256", "HS256"} }), "issuers[0].algorithms[1]", "RS256"},
		{"typing mistake", issuer(func(i *bearer.Issuer) { i.Algorithms = []string{"RS265"} }), "issuers[0].algorithms[0]", "RS256"},
		{"no algorithm", issuer(func(i *bearer.Issuer) { i.Algorithms = []string{} }), "issuers[0].algorithms", "RS256"},
		{"E4 logout tokens", issuer(func(i *bearer.Issuer) { i.Kinds = []string{"at+jwt", "application/logout+jwt"} }), "issuers[0].typ[1]", "at+jwt"},
		{"E4 ID tokens", issuer(func(i *bearer.Issuer) { i.Kinds = []string{"ID_TOKEN"} }), "issuers[0].typ[0]", "at+jwt"},
		{"no kind", issuer(func(i *bearer.Issuer) { i.Kinds = []string{} }), "issuers[0].typ", "at+jwt"},
		{"empty kind", issuer(func(i *bearer.Issuer) { i.Kinds = []string{""} }), "issuers[0].typ[0]", "absent"},
		{"too much skew", issuer(func(i *bearer.Issuer) { i.ClockSkew = 61 * time.Second }), "issuers[0].clock_skew", "30s"},
		{"skew below zero", issuer(func(i *bearer.Issuer) { i.ClockSkew = -1 }), "issuers[0].clock_skew", "30s"},
		{"bad path", issuer(func(i *bearer.Issuer) { i.Roles = "realm_access..roles" }), "issuers[0].roles", "realm_access.roles"},
		{"bad scopes", issuer(func(i *bearer.Issuer) { i.Scopes = "." }), "issuers[0].scopes", ""},
		{"I5 no key file", issuer(func(i *bearer.Issuer) { i.Keys = "/nowhere/keys.json" }), "issuers[0].keys", ""},
		{"I5 empty key file", issuer(func(i *bearer.Issuer) { i.Keys = empty }), "issuers[0].keys", ""},
		{"keys without encryption", issuer(func(i *bearer.Issuer) { i.Keys = "http://idp.example.com/keys" }), "issuers[0].keys", "https://idp.example.com/keys"},
		{"keys from a file by URL", issuer(func(i *bearer.Issuer) { i.Keys = "file:///etc/passwd" }), "issuers[0].keys", ""},
		{"I5 no CA file", issuer(func(i *bearer.Issuer) { i.CA = "/nowhere/ca.pem" }), "issuers[0].ca", ""},
		{"I5 empty CA file", issuer(func(i *bearer.Issuer) { i.CA = empty }), "issuers[0].ca", ""},
		{"I5 garbled CA file", issuer(func(i *bearer.Issuer) { i.CA, i.Keys = i.Keys, "" }), "issuers[0].ca", ""},
		{"risk that has ended", issuer(func(i *bearer.Issuer) { i.AllowPrivate = gate.Risk{AcceptRisk: "x", Until: past} }), "issuers[0].allow_private.until", ""},
		{"risk without reason", issuer(func(i *bearer.Issuer) { i.AllowPrivate = gate.Risk{Until: past} }), "issuers[0].allow_private", "accept_risk"},
		{"API keys", keyed(func(c *identity.Config) { c.Issuers = nil }), "", ""},
		{"API keys where tokens come", keyed(func(c *identity.Config) { c.APIKeys.Header = "authorization" }), "api_keys.header", "X-API-Key"},
		{"API keys in cookies", keyed(func(c *identity.Config) { c.APIKeys.Header = "Cookie" }), "api_keys.header", "X-API-Key"},
		{"API keys in two fields", keyed(func(c *identity.Config) { c.APIKeys.Header = "X-API-Key, X-Key" }), "api_keys.header", "X-API-Key"},
		{"API keys where we speak", keyed(func(c *identity.Config) { c.APIKeys.Header = "gatehouse-subject" }), "api_keys.header", "X-API-Key"},
		{"API keys where credentials are bound", keyed(func(c *identity.Config) { c.Bound = "required" }), "bound", ""},
		{"API keys, each once", keyed(func(c *identity.Config) { c.SingleUse = true }), "single_use", ""},
		{"header that is a credential", named(identity.HeaderNames{Subject: "authorization"}), "headers.subject", "Gatehouse-Subject"},
		{"header that is a proof", named(identity.HeaderNames{Subject: "DPoP"}), "headers.subject", "Gatehouse-Subject"},
		{"header of proxies", named(identity.HeaderNames{Issuer: "X-Forwarded-For"}), "headers.issuer", "Gatehouse-Issuer"},
		{"header with an underscore", named(identity.HeaderNames{Roles: "Gatehouse_Roles"}), "headers.roles", ""},
		{"header with a line end", named(identity.HeaderNames{Scopes: "A\r\nB"}), "headers.scopes", ""},
		{"one header for two", named(identity.HeaderNames{Event: "gatehouse-subject"}), "headers.event", ""},
		{"no development issuer here", func() identity.Config { c := good(nil); c.Development.AcceptRisk = "x"; return c }(), "development", ""},
		{"development that has ended", func() identity.Config {
			c := good(nil)
			c.Development = gate.Risk{AcceptRisk: "x", Until: past}
			return c
		}(), "development.until", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := keys.NewSource(noon, keys.System(), nil)
			defer source.Close()
			g, err := identity.New(c.config, shop(), identity.Tools{Now: noon, Keys: source, Once: never{}})
			if c.path == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var list mistake.List
			if g != nil || !errors.As(err, &list) || len(list) != 1 || list[0].Path != c.path || !strings.Contains(list[0].Write, c.write) {
				t.Errorf("guard %v, mistakes: %v", g, err)
			}
		})
	}
}

// All mistakes are told at once.
func TestAllMistakesAtOnce(t *testing.T) {
	c := identity.Config{
		Issuers: []bearer.Issuer{{Issuer: "http://idp.example.com", Algorithms: []string{"HS256"}, ClockSkew: time.Hour}, {Audience: bearer.Names{""}}, {Issuer: "http://idp.example.com"}},
		Headers: identity.HeaderNames{Subject: "Cookie"},
	}
	_, err := identity.New(c, shop(), identity.Tools{Now: noon})
	var list mistake.List
	if !errors.As(err, &list) || len(list) < 8 {
		t.Errorf("%v", err)
	}
}

func TestWrongUses(t *testing.T) {
	if g, err := identity.New(identity.Config{}, nil, identity.Tools{Now: noon}); err == nil || g != nil {
		t.Error("without an API")
	}
	if g, err := identity.New(identity.Config{}, shop(), identity.Tools{}); err == nil || g != nil {
		t.Error("without a clock")
	}
	c := identity.Config{Issuers: []bearer.Issuer{{Issuer: "https://idp.example.com", Audience: bearer.Names{"a"}}}}
	if g, err := identity.New(c, shop(), identity.Tools{Now: noon}); err == nil || g != nil {
		t.Error("without a source of keys")
	}
	// The development issuer counts only where the document says so.
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Issuers[0].Keys = keyFile(t)
	source := keys.NewSource(noon, keys.System(), nil)
	defer source.Close()
	g, err := identity.New(c, shop(), identity.Tools{Now: noon, Keys: source, Dev: issuer})
	if err != nil {
		t.Fatal(err)
	}
	token, _ := issuer.Token("alice", nil, nil, noon(), 0)
	if v := g.Check(t.Context(), exchange(private, "Bearer "+token)); v.Reason != bearer.UnknownIssuer {
		t.Errorf("%+v", v)
	}
	// The zero guard lets nobody in.
	var zero identity.Guard
	for _, values := range [][]string{nil, {"Bearer " + token}} {
		if v := zero.Check(t.Context(), exchange(private, values...)); v.Allowed() {
			t.Error("the zero guard allows")
		}
	}
}

func TestReasonsAreListedOnce(t *testing.T) {
	seen := map[gate.Reason]bool{}
	for _, r := range identity.Reasons() {
		if seen[r] || !strings.HasPrefix(string(r), "identity.") {
			t.Errorf("%s", r)
		}
		seen[r] = true
	}
	if len(seen) != 61 {
		t.Errorf("%d reasons", len(seen))
	}
}

// B1: only the gateway says who is calling, and what it says can be read in one way.
func TestHeadersSayWhoIsCalling(t *testing.T) {
	g, _ := withDev(t)
	names := g.Headers()
	forged := func() http.Header {
		return http.Header{"Gatehouse-Subject": {"admin", "root"}, "Gatehouse-Issuer": {"x"}, "Gatehouse-Roles": {"admin"}, "Gatehouse-Scopes": {"all"},
			"Gatehouse-Event": {"x"}, "Accept": {"*/*"}}
	}
	h := forged()
	names.Write(h, nil, "")
	if len(h) != 1 {
		t.Errorf("without a caller: %v", h)
	}
	h = forged()
	names.Write(h, &gate.Principal{Issuer: "https://idp.example.com", Subject: "al,ice%\r\n é", Roles: []string{"a,admin", "b c", "support"}, Scopes: []string{"x", "y"}}, "E1")
	for name, want := range map[string]string{"Gatehouse-Subject": "al%2Cice%25%0D%0A%20%C3%A9", "Gatehouse-Issuer": "https://idp.example.com",
		"Gatehouse-Roles": "a%2Cadmin,b%20c,support", "Gatehouse-Scopes": "x y", "Gatehouse-Event": "E1"} {
		if got := h[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h = forged()
	names.Write(h, &gate.Principal{Issuer: "i", Subject: "s"}, "E2")
	if h["Gatehouse-Roles"] != nil || h["Gatehouse-Scopes"] != nil {
		t.Errorf("a caller without roles: %v", h)
	}
	if g.PassCredential() {
		t.Error("the credential is passed on by default")
	}
}

// A contract that has callers write keys into addresses is named.
func TestWhatKeysLeaveOpen(t *testing.T) {
	api := shop()
	api.Contract = &openapi.Contract{Schemes: []openapi.Scheme{{Name: "a", Type: "apiKey", In: "header", Key: "x-api-key"}, {Name: "b", Type: "apiKey", In: "query", Key: "key"}}}
	for header, want := range map[string]string{"": "", "X-API-Key": "identity.key_elsewhere "} {
		c := identity.Config{Development: gate.Risk{AcceptRisk: "a test"}, APIKeys: identity.APIKeys{Header: header}}
		issuer, err := dev.Open(t.TempDir(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		g, err := identity.New(c, api, identity.Tools{Now: noon, Dev: issuer})
		if err != nil {
			t.Fatal(err)
		}
		open, _ := g.Findings(noon())
		var got []string
		for _, f := range open {
			got = append(got, f.ID+" "+f.Operation)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	if _, err := identity.New(identity.Config{APIKeys: identity.APIKeys{Header: "X-Other-Key"}}, api, identity.Tools{Now: noon}); err == nil || !strings.Contains(err.Error(), "X-Api-Key") {
		t.Errorf("another header than the contract's: %v", err)
	}
}
