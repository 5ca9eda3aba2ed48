package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
)

// A login from beginning to end, by each way in which the client can show who it is, with and without a pushed request.
func TestLogin(t *testing.T) {
	rsaKey, err := oneRSA()
	if err != nil {
		t.Fatal(err)
	}
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	by := func(k crypto.Signer) Auth {
		return Auth{Key: func() (SigningKey, error) { return SigningKey{"k1", k}, nil }}
	}
	for name, auth := range map[string]Auth{"secret": {Secret: func() ([]byte, error) { return []byte(clientSecret), nil }}, "none": {}, "RS256": by(rsaKey), "ES256": by(ecKey), "EdDSA": by(edKey)} {
		for _, pushed := range []bool{false, true} {
			f := newFake(t)
			if pushed {
				f.description = f.say(object{"pushed_authorization_request_endpoint": f.URL + "/par", "require_pushed_authorization_requests": true})
			}
			p := f.client(t, func(c *Config) { c.Auth = auth })
			location, err := p.Begin(t.Context(), login())
			if err != nil {
				t.Fatal(name, err)
			}
			u, err := url.Parse(location)
			if err != nil || u.Path != "/authorize" || "http://"+u.Host != f.URL {
				t.Fatal(name, location, err)
			}
			sent := u.Query()
			if pushed {
				if len(sent) != 2 || sent.Get("client_id") != "shop" || sent.Get("request_uri") != "urn:ietf:params:oauth:request_uri:one" {
					t.Errorf("%s: %s", name, location)
				}
				sent = f.last(t).PostForm
				authenticated(t, f, name, auth)
			}
			sum := sha256.Sum256([]byte(aVerifier))
			for parameter, want := range map[string]string{"response_type": "code", "client_id": "shop", "redirect_uri": "https://gate.example/callback", "scope": "openid profile", "state": aState,
				"nonce": aNonce, "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256"} {
				if got := sent[parameter]; len(got) != 1 || got[0] != want {
					t.Errorf("%s: %s is %q, want %q", name, parameter, got, want)
				}
			}
			if strings.Contains(location, aVerifier) || sent.Get("code_verifier") != "" {
				t.Errorf("%s: the verifier is shown", name)
			}
			code, err := p.Answer(t.Context(), url.Values{"code": {aCode}, "state": {aState}, "session_state": {"x"}}, aState)
			if err != nil || code != aCode {
				t.Fatal(name, code, err)
			}
			got, err := p.Exchange(t.Context(), code, aVerifier, aNonce, Want{})
			if err != nil {
				t.Fatal(name, err)
			}
			form := f.last(t).PostForm
			for parameter, want := range map[string]string{"grant_type": "authorization_code", "code": aCode, "redirect_uri": "https://gate.example/callback", "code_verifier": aVerifier} {
				if form.Get(parameter) != want {
					t.Errorf("%s: %s is %q, want %q", name, parameter, form.Get(parameter), want)
				}
			}
			authenticated(t, f, name, auth)
			if got.Access != anAccess || got.Refresh != aRefresh || strings.Count(got.ID, ".") != 2 || got.Subject != "ann" || !got.Expires.Equal(noon().Add(300*time.Second)) ||
				!slices.Equal(got.Scopes, []string{"openid", "profile"}) || got.Claims["exp"] != seconds(300) || !got.AuthTime.IsZero() {
				t.Errorf("%s: %q %q %q %v %v %v", name, got.Access, got.Refresh, got.Subject, got.Expires, got.Scopes, got.Claims)
			}
			if described, _ := f.times(); described != 1 {
				t.Errorf("%s: described %d times", name, described)
			}
		}
	}
}

// authenticated demands that the last request showed who the client is, in one way only.
func authenticated(t *testing.T, f *fake, name string, auth Auth) {
	t.Helper()
	r := f.last(t)
	user, password, basic := r.BasicAuth()
	assertion := r.PostForm.Get("client_assertion")
	if accept := r.Header.Get("Accept"); accept != "application/json" {
		t.Errorf("%s: accepts %s", name, accept)
	}
	switch {
	case auth.Secret != nil:
		if !basic || user != "shop" || password != url.QueryEscape(clientSecret) || assertion != "" {
			t.Errorf("%s: %v %q %q", name, basic, user, password)
		}
		return
	case auth.Key == nil:
		if basic || assertion != "" || r.PostForm.Get("client_id") != "shop" {
			t.Errorf("%s: %v", name, r.PostForm)
		}
		return
	}
	k, _ := auth.Key()
	parts, err := jws.Split(assertion)
	if err != nil || basic || r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Fatal(name, err, r.PostForm)
	}
	if err := (jws.Key{Public: k.Private.Public(), Algorithms: []jose.SignatureAlgorithm{jose.SignatureAlgorithm(name)}}).Verify(parts, jose.SignatureAlgorithm(name)); err != nil {
		t.Error(name, err)
	}
	claims, err := jws.Object(parts.Payload)
	head, _ := jws.Object(parts.Header)
	id, _ := claims["jti"].(string)
	if err != nil || claims["iss"] != "shop" || claims["sub"] != "shop" || claims["aud"] != f.URL || len(id) != 22 || claims["iat"] != seconds(0) ||
		claims["exp"] != seconds(60) || head["kid"] != "k1" || head["typ"] != "JWT" {
		t.Error(name, err, head, claims)
	}
}

func TestAssertionsAreDifferent(t *testing.T) {
	f := newFake(t)
	p := f.client(t, func(c *Config) { c.Auth = Auth{Key: func() (SigningKey, error) { return SigningKey{"", f.ec}, nil }} })
	ids := map[any]bool{}
	for range 3 {
		a, err := p.assertion()
		if err != nil {
			t.Fatal(err)
		}
		parts, _ := jws.Split(a)
		claims, _ := jws.Object(parts.Payload)
		ids[claims["jti"]] = true
		if strings.Contains(string(parts.Header), "kid") {
			t.Error(string(parts.Header))
		}
	}
	if len(ids) != 3 {
		t.Error(ids)
	}
}

func TestWrongKeysOfTheClient(t *testing.T) {
	f := newFake(t)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	small := ed25519.PrivateKey("short")
	for name, key := range map[string]func() (SigningKey, error){
		"can't be the client's key":     func() (SigningKey, error) { return SigningKey{"", p384}, nil },
		"may be ECDSA on P-256":         func() (SigningKey, error) { return SigningKey{"", small}, nil },
		"a <nil> can't be":              func() (SigningKey, error) { return SigningKey{}, nil },
		"a *ecdsa.PrivateKey can't be ": func() (SigningKey, error) { return SigningKey{"", (*ecdsa.PrivateKey)(nil)}, nil },
		"the vault is sealed":           func() (SigningKey, error) { return SigningKey{}, errors.New("the vault is sealed") },
	} {
		p := f.client(t, func(c *Config) { c.Auth = Auth{Key: key} })
		_, err := p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
		expect(t, err, ErrUnavailable, name)
	}
	for _, secret := range []string{"", "!"} {
		p := f.client(t, func(c *Config) {
			c.Auth = Auth{Secret: func() ([]byte, error) {
				if secret == "" {
					return nil, nil
				}
				return []byte("x"), errors.New("the vault is sealed")
			}}
		})
		_, err := p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
		expect(t, err, ErrUnavailable, "can't be asked")
	}
	if _, asked := f.times(); asked != 0 {
		t.Error("somebody was asked")
	}
}

func TestBegin(t *testing.T) {
	f := newFake(t)
	p := f.client(t, nil)
	zero, hour := time.Duration(0), time.Hour
	for name, row := range map[string]struct {
		change func(*Request)
		has    url.Values
	}{
		"nothing more": {func(*Request) {}, url.Values{}},
		"max_age 0":    {func(r *Request) { r.MaxAge = &zero }, url.Values{"max_age": {"0"}}},
		"all": {func(r *Request) {
			r.MaxAge, r.ACR, r.Prompt, r.LoginHint = &hour, []string{"gold", "silver"}, "login", "ann@example.com&state=x"
		}, url.Values{"max_age": {"3600"}, "acr_values": {"gold silver"}, "prompt": {"login"}, "login_hint": {"ann@example.com&state=x"}}},
	} {
		r := login()
		row.change(&r)
		location, err := p.Begin(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(location)
		for _, parameter := range []string{"max_age", "acr_values", "prompt", "login_hint"} {
			if got := u.Query()[parameter]; !slices.Equal(got, row.has[parameter]) {
				t.Errorf("%s: %s is %q", name, parameter, got)
			}
		}
		if u.Query().Get("state") != aState {
			t.Error(name, location)
		}
	}
	for name, change := range map[string]func(*Request){
		"no state": func(r *Request) { r.State = "" }, "no nonce": func(r *Request) { r.Nonce = "" }, "no verifier": func(r *Request) { r.Verifier = "" },
		"short verifier": func(r *Request) { r.Verifier = strings.Repeat("a", 42) }, "verifier with a plus": func(r *Request) { r.Verifier = strings.Repeat("+", 43) },
		"a state of two lines": func(r *Request) { r.State = "a\nb" },
	} {
		r := login()
		change(&r)
		if location, err := p.Begin(t.Context(), r); err == nil || location != "" {
			t.Error(name, location)
		}
	}
	// An endpoint's own parameters stay, but none beside ours.
	f.set(func() {
		f.description = f.say(object{"authorization_endpoint": f.URL + "/authorize?tenant=blue&state=theirs&state=again"})
	})
	location, err := f.client(t, nil).Begin(t.Context(), login())
	u, _ := url.Parse(location)
	if err != nil || u.Query().Get("tenant") != "blue" || !slices.Equal(u.Query()["state"], []string{aState}) {
		t.Error(location, err)
	}
}

// A request that can't be pushed is never sent through the browser instead.
func TestPushedRequestsThatFail(t *testing.T) {
	f := newFake(t)
	f.description = f.say(object{"pushed_authorization_request_endpoint": f.URL + "/par"})
	p := f.client(t, nil)
	for _, row := range []struct {
		status int
		answer any
		says   string
	}{
		{401, object{"error": "invalid_client", "error_description": aState}, "does not take our client id and secret (401 invalid_client)"},
		{400, object{"error": "invalid_request", "error_description": aNonce}, "refuses the pushed request (400 invalid_request)"},
		{400, object{"error": "invalid_scope"}, "one of the scopes openid, profile (400 invalid_scope)"},
		{500, "", "answered the pushed request with 500"}, {302, object{}, "redirects are not followed"},
		{201, object{}, "named no request_uri"}, {201, object{"request_uri": 7}, "named no request_uri"}, {201, object{"request_uri": "a b"}, "named no request_uri"},
		{201, `{"request_uri":"a","request_uri":"b"}`, "JSON that is not read"}, {201, `[]`, "no object"},
	} {
		f.set(func() { f.pushed = func(url.Values) (int, any) { return row.status, row.answer } })
		location, err := p.Begin(t.Context(), login())
		expect(t, err, ErrUnavailable, row.says)
		if location != "" {
			t.Error(location)
		}
	}
}

func TestAnswers(t *testing.T) {
	f := newFake(t)
	saying := newFake(t)
	saying.description = saying.say(object{"authorization_response_iss_parameter_supported": true})
	for _, row := range []struct {
		name  string
		f     *fake
		query string
		state string
		says  string // "": the code is taken
	}{
		{"good", f, "code=" + aCode + "&state=" + aState, aState, ""},
		{"good, of an issuer", f, "code=" + aCode + "&state=" + aState + "&iss=" + url.QueryEscape(f.URL), aState, ""},
		{"good, of an issuer that says so", saying, "code=" + aCode + "&state=" + aState + "&iss=" + url.QueryEscape(saying.URL), aState, ""},
		{"more is left alone", f, "code=" + aCode + "&state=" + aState + "&x=y&z", aState, ""},
		{"nothing", f, "", aState, "state"},
		{"no state", f, "code=" + aCode, aState, "state"},
		{"no state at all", f, "code=" + aCode + "&state=", "", "state"},
		{"another state", f, "code=" + aCode + "&state=x", aState, "state"},
		{"another state of the same length", f, "code=" + aCode + "&state=" + strings.ToUpper(aState), aState, "state"},
		{"state twice", f, "code=" + aCode + "&state=" + aState + "&state=" + aState, aState, "2 times"},
		{"code twice", f, "code=" + aCode + "&code=other&state=" + aState, aState, "2 times"},
		{"iss twice", f, "code=" + aCode + "&state=" + aState + "&iss=a&iss=" + url.QueryEscape(f.URL), aState, "2 times"},
		{"whatever three times", f, "code=" + aCode + "&state=" + aState + "&x=1&x=1&x=1", aState, "3 times"},
		{"of another issuer", f, "code=" + aCode + "&state=" + aState + "&iss=https://evil.example", aState, "another issuer"},
		{"of an issuer but for a slash", f, "code=" + aCode + "&state=" + aState + "&iss=" + url.QueryEscape(f.URL+"/"), aState, "another issuer"},
		{"of an issuer that is empty", f, "code=" + aCode + "&state=" + aState + "&iss=", aState, "another issuer"},
		{"of nobody, though it says", saying, "code=" + aCode + "&state=" + aState, aState, "does not say that it is of"},
		{"an error of nobody, though it says", saying, "error=access_denied&state=" + aState, aState, "does not say that it is of"},
		{"no code", f, "state=" + aState, aState, "code is missing"},
		{"empty code", f, "code=&state=" + aState, aState, "code is missing"},
		{"long code", f, "code=" + strings.Repeat("c", 2049) + "&state=" + aState, aState, "code is missing"},
		{"code of two lines", f, "code=a%0d%0ab&state=" + aState, aState, "code is missing"},
		{"code that is not ASCII", f, "code=%c3%a4&state=" + aState, aState, "code is missing"},
		{"an error that is none", f, "error=%0a&state=" + aState, aState, "an error that is none"},
		{"an empty error", f, "error=&state=" + aState, aState, "an error that is none"},
		{"an error and a code", f, "error=x&code=" + aCode + "&state=" + aState, aState, "a code beside it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			query, err := url.ParseQuery(row.query)
			if err != nil {
				t.Fatal(err)
			}
			code, err := row.f.client(t, nil).Answer(t.Context(), query, row.state)
			if row.says == "" {
				expect(t, err, nil, "")
			} else {
				expect(t, err, ErrInvalid, row.says)
			}
			if (code == aCode) != (row.says == "") {
				t.Errorf("the code is %q", code)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	f := newFake(t)
	long := "not \n assigned\x00 \u202e" + strings.Repeat("ä", 300)
	_, err := f.client(t, nil).Answer(t.Context(), url.Values{"error": {"access_denied"}, "error_description": {long}, "state": {aState}}, aState)
	var denied *Denied
	if !errors.As(err, &denied) || denied.Code != "access_denied" || denied.Description != "not  assigned "+strings.Repeat("ä", 200-len("not  assigned ")) {
		t.Fatalf("%v %+v", err, denied)
	}
	if err.Error() != "the provider logged nobody in: access_denied" || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err = f.client(t, nil).Answer(t.Context(), url.Values{"error": {"access_denied"}, "state": {"x"}}, aState); errors.As(err, &denied) {
		t.Error("a stranger's answer is the provider's", err)
	}
}

func TestEndSession(t *testing.T) {
	f := newFake(t)
	f.description = f.say(object{"end_session_endpoint": f.URL + "/end?a=b"})
	p := f.client(t, nil)
	location, ok := p.EndSession(t.Context(), "", "", "")
	if !ok || location != f.URL+"/end?a=b&client_id=shop" {
		t.Error(location, ok)
	}
	location, ok = p.EndSession(t.Context(), "hint", "https://gate.example/bye?x=1", "s t")
	if !ok || location != f.URL+"/end?a=b&client_id=shop&id_token_hint=hint&post_logout_redirect_uri=https%3A%2F%2Fgate.example%2Fbye%3Fx%3D1&state=s+t" {
		t.Error(location, ok)
	}
	none := newFake(t)
	none.description = none.say(object{"end_session_endpoint": without})
	if location, ok := none.client(t, nil).EndSession(t.Context(), "", "", ""); ok || location != "" {
		t.Error(location)
	}
	none.Close()
	if location, ok := none.client(t, nil).EndSession(t.Context(), "", "", ""); ok || location != "" {
		t.Error(location)
	}
}

func TestNewRefuses(t *testing.T) {
	f := newFake(t)
	for says, change := range map[string]func(*Config){
		"no network":         func(c *Config) { c.HTTP = nil },
		"keys or clock":      func(c *Config) { c.Now = nil },
		"keys or":            func(c *Config) { c.Keys = nil },
		"are given":          func(c *Config) { c.CheckURL = nil },
		"not an https URL":   func(c *Config) { c.Issuer = "http://id.example" },
		"issuer: ":           func(c *Config) { c.Issuer = "" },
		"query or fragment":  func(c *Config) { c.Issuer = "https://id.example/?" },
		"client id is empty": func(c *Config) { c.ClientID = "" },
		"or not printable":   func(c *Config) { c.ClientID = "a\nb" },
		"one of them":        func(c *Config) { c.Auth.Key = func() (SigningKey, error) { return SigningKey{}, nil } },
		"redirect: ":         func(c *Config) { c.Redirect = "/callback" },
		"come back to":       func(c *Config) { c.Redirect = "https://gate.example/#" },
		"whole http":         func(c *Config) { c.Redirect = "javascript://x/%0aalert(1)" },
		"between 0s and":     func(c *Config) { c.ClockSkew = -1 },
		"clock_skew: ":       func(c *Config) { c.ClockSkew = time.Hour },
		`"HS256"`:            func(c *Config) { c.Algorithms = []jose.SignatureAlgorithm{jose.HS256} },
		`"none"`:             func(c *Config) { c.Algorithms = []jose.SignatureAlgorithm{"none"} },
		`"a b"`:              func(c *Config) { c.Scopes = []string{"a b"} },
		`""`:                 func(c *Config) { c.Scopes = []string{""} },
	} {
		cfg := f.config()
		change(&cfg)
		if p, err := New(cfg); err == nil || p != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestTheCallerGoes(t *testing.T) {
	f := newFake(t)
	hold := make(chan struct{})
	p := f.client(t, func(c *Config) {
		c.HTTP = func(*url.URL) (*http.Client, error) { <-hold; return noRedirects(nil) }
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Begin(ctx, login())
	expect(t, err, ErrUnavailable, "has not described itself yet")
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	if _, err := p.Begin(t.Context(), login()); err != nil { // who comes next has what the first began
		t.Error(err)
	}
}
