package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// What must not be in any error.
const (
	clientSecret = "kept-secret: +/=%"
	aCode        = "the-code-of-this-login"
	aVerifier    = "the-verifier-of-this-login-0123456789-0123456789"
	aNonce       = "the-nonce-of-this-login"
	aState       = "the-state-of-this-login"
	anAccess     = "the-access-token"
	aRefresh     = "the-refresh-token"
)

func silent(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{clientSecret, "kept-secret", aCode, aVerifier, aNonce, aState, anAccess, aRefresh, "eyJ", "code=", "state=", "client_assertion"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("an error says %q: %v", secret, err)
		}
	}
	if text := err.Error(); text == "" || len(text) > 700 || strings.ContainsAny(text, "\x00\r") {
		t.Errorf("an error that nobody can read: %q", text)
	}
}

type object = map[string]any

// without takes a member away; null is JSON's null.
var (
	without = &struct{}{}
	null    = json.RawMessage("null")
)

func with(o object, changes ...object) object {
	o = maps.Clone(o)
	for _, change := range changes {
		for name, value := range change {
			if o[name] = value; value == without {
				delete(o, name)
			}
		}
	}
	return o
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func js(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fake is a provider in a test. It says whatever a test wants it to say.
type fake struct {
	*httptest.Server
	ed  ed25519.PrivateKey
	ec  *ecdsa.PrivateKey
	mu  sync.Mutex
	now time.Time

	description any // object or text
	status      int // of it; 0 is 200
	tokens      func(form url.Values) (int, any)
	pushed      func(form url.Values) (int, any)
	media       string
	keys        error

	described int
	asked     []*http.Request // with forms, at the token and PAR endpoints
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{now: noon(), media: "application/json"}
	var err error
	if _, f.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if f.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.description = f.say()
	f.tokens = func(url.Values) (int, any) { return 200, f.answer(t) }
	f.pushed = func(url.Values) (int, any) {
		return 201, object{"request_uri": "urn:ietf:params:oauth:request_uri:one", "expires_in": 60}
	}
	return f
}

// say is a good description, changed.
func (f *fake) say(changes ...object) object {
	return with(object{"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
		"end_session_endpoint": f.URL + "/end"}, changes...)
}

// answer is a good answer of the token endpoint, changed.
func (f *fake) answer(t testing.TB, changes ...object) object {
	return with(object{"access_token": anAccess, "token_type": "Bearer", "expires_in": 300, "refresh_token": aRefresh, "id_token": f.id(t)}, changes...)
}

// claims are those of a good ID token, changed.
func (f *fake) claims(changes ...object) object {
	return with(object{"iss": f.URL, "aud": "shop", "sub": "ann", "iat": f.now.Unix() - 1, "exp": f.now.Unix() + 300, "nonce": aNonce}, changes...)
}

func (f *fake) id(t testing.TB, changes ...object) string {
	return f.sign(t, `{"alg":"EdDSA","kid":"ed"}`, js(t, f.claims(changes...)))
}

// sign signs any header and payload, as no library would.
func (f *fake) sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	if !strings.Contains(header, "ES256") {
		return input + "." + b64(string(ed25519.Sign(f.ed, []byte(input))))
	}
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, f.ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(string(signature))
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, answer := 404, any("nothing here")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		f.described++
		if status, answer = f.status, f.description; status == 0 {
			status = 200
		}
	case "/token", "/par":
		_ = r.ParseForm()
		f.asked = append(f.asked, r)
		if status, answer = f.tokens(r.PostForm); r.URL.Path == "/par" {
			status, answer = f.pushed(r.PostForm)
		}
	}
	w.Header().Set("Content-Type", f.media)
	if status/100 == 3 {
		w.Header().Set("Location", f.URL+"/elsewhere")
	}
	w.WriteHeader(status)
	text, ok := answer.(string)
	if !ok {
		b, _ := json.Marshal(answer)
		text = string(b)
	}
	_, _ = io.WriteString(w, text)
}

// set changes what the provider says.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) last(t *testing.T) *http.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return f.asked[len(f.asked)-1]
}

func (f *fake) times() (described, asked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.described, len(f.asked)
}

var errNoKey = errors.New("no such key")

// Find gives the fake's keys.
func (f *fake) Find(_ context.Context, _ time.Time, kid string, algorithm jose.SignatureAlgorithm) ([]jws.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.keys != nil:
		return nil, f.keys
	case (kid == "ed" || kid == "") && algorithm == jose.EdDSA:
		return []jws.Key{{ID: "ed", Public: f.ed.Public(), Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}}}, nil
	case (kid == "ec" || kid == "") && algorithm == jose.ES256:
		return []jws.Key{{ID: "ec", Public: f.ec.Public(), Algorithms: []jose.SignatureAlgorithm{jose.ES256}}}, nil
	}
	return nil, errNoKey
}

// checkURL is like that of guard/identity/keys.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "127.0.0.1" {
		return nil, fmt.Errorf("%.40q is not an https URL", text)
	}
	return u, nil
}

func noRedirects(*url.URL) (*http.Client, error) {
	return &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func (f *fake) config() Config {
	return Config{Issuer: f.URL, ClientID: "shop", Auth: Auth{Secret: func() ([]byte, error) { return []byte(clientSecret), nil }}, Scopes: []string{"profile", "openid"},
		Redirect: "https://gate.example/callback", HTTP: noRedirects, CheckURL: checkURL, Keys: f,
		Now: func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now }}
}

func (f *fake) client(t testing.TB, change func(*Config)) *Provider {
	t.Helper()
	cfg := f.config()
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var oneRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// seconds is noon and so many seconds, as claims have it.
func seconds(after int64) json.Number { return json.Number(fmt.Sprint(noon().Unix() + after)) }

func login() Request { return Request{State: aState, Nonce: aNonce, Verifier: aVerifier} }

// expect demands an error of a kind that says something, or none.
func expect(t *testing.T, err, kind error, says string) {
	t.Helper()
	silent(t, err)
	if kind == nil {
		if err != nil {
			t.Errorf("%v", err)
		}
		return
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v; want %q, and %q", err, kind, says)
	}
	for _, other := range []error{ErrUnavailable, ErrEnded, ErrInvalid} {
		if other != kind && errors.Is(err, other) {
			t.Errorf("%v is %v too", err, other)
		}
	}
}
