package identity_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/introspect"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// asked is an issuer whose tokens mean nothing to anybody else.
type asked struct {
	*httptest.Server
	mu     sync.Mutex
	tokens map[string]map[string]any // answers; none is inactive
	down   bool
	times  int
	shown  []string
}

func newAsked(t *testing.T) *asked {
	a := &asked{tokens: map[string]map[string]any{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if r.URL.Path != "/introspect" {
			http.NotFound(w, r)
			return
		}
		a.times++
		a.shown = append(a.shown, r.FormValue("token"))
		if user, password, _ := r.BasicAuth(); user != "gatehouse" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if a.down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answer := a.tokens[r.FormValue("token")]
		if answer == nil {
			answer = map[string]any{"active": false}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *asked) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *asked) questions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times
}

func (a *asked) issuer(t *testing.T) bearer.Issuer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ref secret.Ref
	if err := ref.UnmarshalText([]byte("file:" + file)); err != nil {
		t.Fatal(err)
	}
	return bearer.Issuer{Issuer: a.URL, Audience: bearer.Names{"orders"},
		Introspection: &introspect.Config{URL: a.URL + "/introspect", Client: "gatehouse", Secret: ref}}
}

// good is what the issuer says of a token that is good until so many seconds from noon.
func good(sub string, seconds int64, more ...any) map[string]any {
	all := map[string]any{"active": true, "sub": sub, "aud": "orders", "exp": noon().Unix() + seconds, "iat": noon().Unix() - 10, "scope": "read", "token_type": "Bearer"}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == nil {
			delete(all, more[i].(string))
			continue
		}
		all[more[i].(string)] = more[i+1]
	}
	return all
}

// A token that only its issuer understands opens what the issuer says it opens, and is judged as one that speaks for itself.
func TestOpaqueTokens(t *testing.T) {
	a := newAsked(t)
	source := keys.NewSource(noon, keys.System(), nil)
	defer source.Close()
	g, err := identity.New(identity.Config{Issuers: []bearer.Issuer{a.issuer(t)}}, shop(), identity.Tools{Now: noon, Keys: source, Verified: bearer.NewCache(0)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answer map[string]any
		want   gate.Reason
	}{
		"good":             {good("ann", 60), ""},
		"several":          {good("ann", 60, "aud", []string{"x", "orders"}), ""},
		"of-this-issuer":   {good("ann", 60, "iss", a.URL), ""},
		"a-client":         {good("", 60, "sub", nil, "client_id", "robot"), ""},
		"unknown":          {nil, bearer.Inactive},
		"of-another":       {good("ann", 60, "iss", "https://other.test"), bearer.UnknownIssuer},
		"of-a-number":      {good("ann", 60, "iss", 7), bearer.UnknownIssuer},
		"elsewhere":        {good("ann", 60, "aud", "payments"), bearer.WrongAudience},
		"for-nobody":       {good("ann", 60, "aud", nil), bearer.WrongAudience},
		"over":             {good("ann", -600), bearer.Expired},
		"endless":          {good("ann", 60, "exp", nil), bearer.Claims},
		"of-tomorrow":      {good("ann", 9000, "nbf", noon().Unix()+3600), bearer.NotYet},
		"refresh":          {good("ann", 60, "typ", "Refresh"), bearer.Type},
		"used-to-refresh":  {good("ann", 60, "token_use", "refresh_token"), bearer.Type},
		"used-for-access":  {good("ann", 60, "token_use", "access_token"), ""},
		"of-no-known-kind": {good("ann", 60, "token_type", "MAC"), bearer.Type},
		"of-no-kind":       {good("ann", 60, "token_type", 7), bearer.Type},
		"bound-to-what":    {good("ann", 60, "token_type", "DPoP"), bearer.Type},
		"id-token":         {good("ann", 60, "at_hash", "x"), bearer.Type},
		"nobody":           {good("", 60), bearer.Claims},
		"no-name-at-all":   {good("", 60, "sub", nil), bearer.Claims},
		"names-of-2-lines": {good("a\nb", 60), bearer.Claims},
		"bound":            {good("ann", 60, "cnf", map[string]any{"jkt": "x"}), "identity.bound"},
		"bound-to-nothing": {good("ann", 60, "cnf", map[string]any{}), "identity.bound"},
	} {
		token := "0paque~" + name
		a.set(func() { a.tokens[token] = c.answer })
		x := exchange(private, "Bearer "+token)
		v := g.Check(t.Context(), x)
		if v.Reason != c.want || v.Allowed() != (c.want == "") || v.Allowed() != (x.Principal() != nil) {
			t.Errorf("%s: %+v", name, v)
		}
		if strings.Contains(v.Detail+v.Shown, token) {
			t.Errorf("%s: the token stands in the event: %s", name, v.Detail)
		}
		if p := x.Principal(); p != nil && (p.Issuer != a.URL || p.Token == "" || p.Token == token || p.Expires.IsZero()) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	// What says who signed it is shown to nobody, nor is what is no token at all.
	before := a.questions()
	_, key, err := apikey.Make(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"e30.e30.e30", "e30.e30.e30.e30.e30", "eyJhbGciOiJIUzI1NiJ9.e30", key, "a b", "a\"b", "ä", "=", strings.Repeat("x", bearer.MaxToken+1)} {
		if v := g.Check(t.Context(), exchange(private, "Bearer "+token)); v.Allowed() || v.Code != gate.NoIdentity {
			t.Errorf("%.20q: %+v", token, v)
		}
	}
	if a.questions() != before {
		t.Errorf("the issuer was shown %q", a.shown[before:])
	}
}

// An answer counts for a while and no longer: a token that its issuer has ended is refused when that is over; one that is
// called back here is refused at once; and an issuer that can't be asked opens nothing.
func TestAnswersOfIssuersEnd(t *testing.T) {
	a := newAsked(t)
	var past atomic.Int64 // of time since noon; keys are fetched meanwhile
	clock := func() time.Time { return noon().Add(time.Duration(past.Load())) }
	source := keys.NewSource(clock, keys.System(), nil)
	defer source.Close()
	called := "" // back
	recalled := &list{revoked: func(_, subject, _ string, _ time.Time) (bool, error) { return subject == called, nil }}
	g, err := identity.New(identity.Config{Issuers: []bearer.Issuer{a.issuer(t)}}, shop(),
		identity.Tools{Now: clock, Keys: source, Verified: bearer.NewCache(0), Revocations: recalled})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token string) gate.Verdict {
		return g.Check(context.Background(), exchange(private, "Bearer "+token))
	}
	a.set(func() { a.tokens["t"] = good("ann", 3600); a.tokens["u"] = good("bob", 3600) })
	for range 5 {
		if v := ask("t"); !v.Allowed() {
			t.Fatalf("%+v", v)
		}
	}
	if a.questions() != 1 {
		t.Errorf("asked %d times within one answer's time", a.questions())
	}
	a.set(func() { a.tokens["t"] = nil })
	past.Add(int64(introspect.DefaultCache - time.Second))
	if v := ask("t"); !v.Allowed() {
		t.Errorf("within the answer's time: %+v", v)
	}
	past.Add(int64(time.Second))
	if v := ask("t"); v.Reason != bearer.Inactive {
		t.Errorf("after the answer's time: %+v", v)
	}
	if v := ask("u"); !v.Allowed() {
		t.Errorf("%+v", v)
	}
	called = "bob"
	if v := ask("u"); v.Reason != identity.Revoked {
		t.Errorf("called back: %+v", v)
	}
	called = ""
	past.Add(int64(time.Minute))
	a.set(func() { a.down = true })
	for _, token := range []string{"u", "never-seen"} {
		if v := ask(token); v.Code != gate.Unavailable || v.Reason != bearer.IssuerSilent || v.Header.Get("Retry-After") == "" {
			t.Errorf("%s, while the issuer is down: %+v", token, v)
		}
	}
	a.set(func() { a.down = false })
	if v := ask("u"); !v.Allowed() {
		t.Errorf("back again: %+v", v)
	}
}

func TestWrongIntrospection(t *testing.T) {
	a, b := newAsked(t), newAsked(t)
	source := keys.NewSource(noon, keys.Offline(), nil)
	defer source.Close()
	good := a.issuer(t)
	with := func(f func(*introspect.Config)) []bearer.Issuer {
		i, c := good, *good.Introspection
		f(&c)
		i.Introspection = &c
		return []bearer.Issuer{i}
	}
	for want, issuers := range map[string][]bearer.Issuer{
		"not encrypted":              with(func(c *introspect.Config) { c.URL = "http://id.test/introspect" }),
		"is not an https URL":        with(func(c *introspect.Config) { c.URL = "ftp://id.test/" }),
		"carries a user":             with(func(c *introspect.Config) { c.URL = "https://a:b@id.test/" }),
		"is a private address":       with(func(c *introspect.Config) { c.URL = "https://10.0.0.1/" }),
		"between 0s":                 with(func(c *introspect.Config) { c.Cache = time.Hour }),
		"":                           with(func(c *introspect.Config) { _ = c.Secret.UnmarshalText([]byte("vault:secret/shop#password")) }),
		"introspection.secret":       with(func(c *introspect.Config) { _ = c.Secret.UnmarshalText([]byte("file:/nowhere/at/all")) }),
		"and would be shown to both": {good, b.issuer(t)},
	} {
		_, err := identity.New(identity.Config{Issuers: issuers}, shop(), identity.Tools{Now: noon, Keys: source})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(fmt.Sprint(err), want)) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
