package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestTokenAnswers(t *testing.T) {
	f := newFake(t)
	p := f.client(t, nil)
	good := func(changes ...object) object { return f.answer(t, changes...) }
	for _, row := range []struct {
		name   string
		status int
		answer any
		kind   error // nil: it is taken
		says   string
	}{
		{"good", 200, good(), nil, ""},
		{"more is left alone", 200, good(object{"x": 1, "refresh_expires_in": -1}), nil, ""},
		{"no refresh token", 200, good(object{"refresh_token": without}), nil, ""},
		{"null is none", 200, good(object{"refresh_token": null, "expires_in": null, "scope": null}), nil, ""},
		{"bearer", 200, good(object{"token_type": "bearer"}), nil, ""},
		{"DPoP", 200, good(object{"token_type": "dpop"}), nil, ""},
		{"no access token", 200, good(object{"access_token": without}), ErrInvalid, "no access_token"},
		{"empty access token", 200, good(object{"access_token": ""}), ErrInvalid, "access_token is empty"},
		{"access token of two lines", 200, good(object{"access_token": "a\nb"}), ErrInvalid, "access_token is empty"},
		{"access token of no string", 200, good(object{"access_token": 7}), ErrInvalid, "access_token is empty"},
		{"refresh token of no string", 200, good(object{"refresh_token": []string{}}), ErrInvalid, "refresh_token is empty"},
		{"no type", 200, good(object{"token_type": without}), ErrInvalid, "token_type"},
		{"another type", 200, good(object{"token_type": "mac"}), ErrInvalid, `"mac", not Bearer`},
		{"expires_in of no number", 200, good(object{"expires_in": "300"}), ErrInvalid, "expires_in"},
		{"expires_in below zero", 200, good(object{"expires_in": -1}), ErrInvalid, "expires_in"},
		{"expires_in of a half", 200, good(object{"expires_in": 1.5}), ErrInvalid, "expires_in"},
		{"expires_in of ages", 200, good(object{"expires_in": 1 << 40}), ErrInvalid, "expires_in"},
		{"scope of no names", 200, good(object{"scope": "a \x01"}), ErrInvalid, "scope"},
		{"scope of no string", 200, good(object{"scope": []string{"a"}}), ErrInvalid, "scope"},
		{"no ID token", 200, good(object{"id_token": without}), ErrInvalid, "no ID token"},
		{"twice", 200, `{"access_token":"x",` + js(t, good())[1:], ErrUnavailable, "JSON that is not read"},
		{"no object", 200, `"x"`, ErrUnavailable, "no object"},
		{"too large", 200, good(object{"x": strings.Repeat("x", 65<<10)}), ErrUnavailable, "more than 64 KiB"},
		{"201", 201, good(), ErrUnavailable, "201"},
		{"redirect", 307, good(), ErrUnavailable, "redirects are not followed"},
		{"over", 400, object{"error": "invalid_grant", "error_description": aCode}, ErrEnded, "does not take the code (400 invalid_grant)"},
		{"not us", 401, object{"error": "invalid_client"}, ErrUnavailable, "does not take our client id and secret (401 invalid_client)"},
		{"not us, by 400", 400, object{"error": "invalid_client"}, ErrUnavailable, "does not take our client id and secret (400 invalid_client)"},
		{"not us, and no word", 401, "", ErrUnavailable, "does not take our client id and secret (401)"},
		{"may not", 400, object{"error": "unauthorized_client"}, ErrUnavailable, "allow it there"},
		{"whatever", 400, object{"error": "server_error"}, ErrUnavailable, "refuses the code (400 server_error)"},
		{"an error of two lines", 400, object{"error": "a\nb"}, ErrUnavailable, "400"},
		{"an error of no string", 400, object{"error": object{}}, ErrUnavailable, "400"},
		{"invalid_grant by 500", 500, object{"error": "invalid_grant"}, ErrUnavailable, "500"},
		{"invalid_grant by 200", 200, object{"error": "invalid_grant"}, ErrInvalid, "no access_token"},
		{"slow down", 429, "", ErrUnavailable, "429"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.set(func() { f.tokens = func(url.Values) (int, any) { return row.status, row.answer } })
			got, err := p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
			expect(t, err, row.kind, row.says)
			if (got.Access == anAccess) != (row.kind == nil) {
				t.Errorf("%q", got.Access)
			}
		})
	}
	f.set(func() {
		f.tokens = func(url.Values) (int, any) {
			return 200, good(object{"scope": "openid  orders", "expires_in": without})
		}
	})
	got, err := p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
	if err != nil || !slices.Equal(got.Scopes, []string{"openid", "orders"}) || !got.Expires.IsZero() {
		t.Error(got.Scopes, got.Expires, err)
	}
	_, before := f.times()
	for _, wrong := range [][3]string{{"", aVerifier, aNonce}, {aCode, "", aNonce}, {aCode, aVerifier, ""}} {
		if _, err := p.Exchange(t.Context(), wrong[0], wrong[1], wrong[2], Want{}); err == nil {
			t.Error("taken without", wrong)
		}
	}
	f.Close()
	if _, asked := f.times(); asked != before {
		t.Error("asked")
	}
	_, err = p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
	expect(t, err, ErrUnavailable, "127.0.0.1:")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Exchange(ctx, aCode, aVerifier, aNonce, Want{})
	expect(t, err, ErrUnavailable, "canceled")
}

// A row for each thing that an ID token must be, and for each way of not being it that is known.
func TestIDTokens(t *testing.T) {
	f, stranger := newFake(t), newFake(t)
	now := f.now.Unix()
	hour, zero := time.Hour, time.Duration(0)
	id := func(changes ...object) string { return f.id(t, changes...) }
	head := func(header string) string { return f.sign(t, header, js(t, f.claims())) }
	parts := strings.Split(id(), ".")
	for _, row := range []struct {
		name  string
		token string
		want  Want
		says  string // "": it is taken
	}{
		{"good", id(), Want{}, ""},
		{"ES256", head(`{"alg":"ES256","kid":"ec","typ":"JWT"}`), Want{}, ""},
		{"no kid", head(`{"alg":"EdDSA"}`), Want{}, ""},
		{"typ in another case", head(`{"alg":"EdDSA","kid":"ed","typ":"application/jwt"}`), Want{}, ""},
		{"addresses in the header are left alone", head(`{"alg":"EdDSA","kid":"ed","jku":"https://evil.example","x5u":"x"}`), Want{}, ""},
		{"a list of one", id(object{"aud": []string{"shop"}}), Want{}, ""},
		{"several audiences, given to us", id(object{"aud": []string{"api", "shop"}, "azp": "shop"}), Want{}, ""},
		{"given to us", id(object{"azp": "shop"}), Want{}, ""},
		{"expired within the skew", id(object{"exp": now - 29}), Want{}, ""},
		{"made within the skew", id(object{"iat": now + 30, "nbf": now + 30}), Want{}, ""},
		{"made ten minutes ago", id(object{"iat": now - 600}), Want{}, ""},
		{"at_hash", id(object{"at_hash": halfOf(jose.EdDSA, anAccess)}), Want{}, ""},
		{"at_hash of ES256", f.sign(t, `{"alg":"ES256","kid":"ec"}`, js(t, f.claims(object{"at_hash": halfOf(jose.ES256, anAccess)}))), Want{}, ""},
		{"authenticated in time", id(object{"auth_time": now - 3600}), Want{MaxAge: &hour}, ""},
		{"authenticated just now", id(object{"auth_time": now}), Want{MaxAge: &zero}, ""},
		{"authenticated well", id(object{"acr": "gold"}), Want{ACR: []string{"silver", "gold"}}, ""},

		{"no token", "x", Want{}, "1 parts"},
		{"encrypted", id() + ".AA.AA", Want{}, "encrypted"},
		{"too long", id(object{"x": strings.Repeat("x", 9000)}), Want{}, "longer than 8192"},
		{"padding", id() + "=", Want{}, "base64url"},
		{"none", b64(`{"alg":"none"}`) + "." + parts[1] + ".AA", Want{}, `"none"`},
		{"HS256", head(`{"alg":"HS256","kid":"ed"}`), Want{}, `"HS256"`},
		{"no algorithm", head(`{"kid":"ed"}`), Want{}, "algorithm"},
		{"algorithm of another key", head(`{"alg":"RS256","kid":"ed"}`), Want{}, "no key"},
		{"no such key", head(`{"alg":"EdDSA","kid":"../x"}`), Want{}, `no key "../x"`},
		{"kid of no string", head(`{"alg":"EdDSA","kid":7}`), Want{}, "kid"},
		{"another's signature", stranger.sign(t, `{"alg":"EdDSA","kid":"ed"}`, js(t, f.claims())), Want{}, "not signed by the key"},
		{"another payload", parts[0] + "." + b64(js(t, f.claims(object{"sub": "bob"}))) + "." + parts[2], Want{}, "not signed by the key"},
		{"alg twice", head(`{"alg":"none","alg":"EdDSA","kid":"ed"}`), Want{}, "its header"},
		{"crit", head(`{"alg":"EdDSA","kid":"ed","crit":["exp"]}`), Want{}, "crit"},
		{"b64", head(`{"alg":"EdDSA","kid":"ed","b64":false}`), Want{}, "b64"},
		{"nested", head(`{"alg":"EdDSA","kid":"ed","cty":"JWT"}`), Want{}, "cty"},
		{"an access token", head(`{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`), Want{}, "another purpose"},
		{"an access token, long form", head(`{"alg":"EdDSA","kid":"ed","typ":"Application/AT+JWT"}`), Want{}, "another purpose"},
		{"a logout token", head(`{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`), Want{}, "another purpose"},
		{"a proof", head(`{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}`), Want{}, "another purpose"},
		{"typ of no string", head(`{"alg":"EdDSA","kid":"ed","typ":["JWT"]}`), Want{}, "another purpose"},
		{"claims are a list", f.sign(t, `{"alg":"EdDSA","kid":"ed"}`, `[]`), Want{}, "its payload"},
		{"sub twice", f.sign(t, `{"alg":"EdDSA","kid":"ed"}`, `{"sub":"bob",`+js(t, f.claims())[1:]), Want{}, "its payload"},

		{"another issuer", id(object{"iss": "https://evil.example"}), Want{}, "its issuer"},
		{"issuer and a slash", id(object{"iss": f.URL + "/"}), Want{}, "its issuer"},
		{"no issuer", id(object{"iss": without}), Want{}, "its issuer"},
		{"issuers", id(object{"iss": []string{f.URL}}), Want{}, "its issuer"},
		{"no audience", id(object{"aud": without}), Want{}, "aud"},
		{"another audience", id(object{"aud": "other"}), Want{}, "aud"},
		{"audience in another case", id(object{"aud": "Shop"}), Want{}, "aud"},
		{"no audiences", id(object{"aud": []string{}}), Want{}, "aud"},
		{"a number among audiences", id(object{"aud": []any{"shop", 7}}), Want{}, "aud"},
		{"an object", id(object{"aud": object{"shop": true}}), Want{}, "aud"},
		{"several audiences", id(object{"aud": []string{"shop", "api"}}), Want{}, "azp"},
		{"given to another", id(object{"azp": "other"}), Want{}, "azp"},
		{"several, given to another", id(object{"aud": []string{"shop", "other"}, "azp": "other"}), Want{}, "azp"},
		{"given to nothing", id(object{"azp": null}), Want{}, "azp"},
		{"no exp", id(object{"exp": without}), Want{}, "exp is missing"},
		{"exp as text", id(object{"exp": fmt.Sprint(now + 300)}), Want{}, "exp is missing"},
		{"exp with an exponent", id(object{"exp": json.RawMessage("99e8")}), Want{}, "exp is missing"},
		{"expired", id(object{"exp": now - 30}), Want{}, "expired"},
		{"no iat", id(object{"iat": without}), Want{}, "iat is missing"},
		{"iat with a fraction", id(object{"iat": json.RawMessage(fmt.Sprint(now, ".5"))}), Want{}, "iat is missing"},
		{"made in the future", id(object{"iat": now + 31}), Want{}, "31s ahead of our clock"},
		{"made long ago", id(object{"iat": now - 630}), Want{}, "made 10m30s ago; 10m0s is taken"},
		{"not yet", id(object{"nbf": now + 31}), Want{}, "not count yet"},
		{"nbf null", id(object{"nbf": null}), Want{}, "not count yet"},
		{"no nonce", id(object{"nonce": without}), Want{}, "nonce"},
		{"empty nonce", id(object{"nonce": ""}), Want{}, "nonce"},
		{"another nonce", id(object{"nonce": aNonce + "x"}), Want{}, "nonce"},
		{"nonces", id(object{"nonce": []string{aNonce}}), Want{}, "nonce"},
		{"an event", id(object{"events": object{loggedOut: object{}}}), Want{}, "event"},
		{"at_hash of another", id(object{"at_hash": halfOf(jose.EdDSA, "other")}), Want{}, "at_hash"},
		{"at_hash by another hash", id(object{"at_hash": halfOf(jose.ES256, anAccess)}), Want{}, "at_hash"},
		{"at_hash null", id(object{"at_hash": null}), Want{}, "at_hash"},
		{"no subject", id(object{"sub": without}), Want{}, "sub is missing"},
		{"empty subject", id(object{"sub": ""}), Want{}, "sub is missing"},
		{"subject of no string", id(object{"sub": 7}), Want{}, "sub is missing"},
		{"long subject", id(object{"sub": strings.Repeat("a", 256)}), Want{}, "sub is missing"},
		{"subject of two lines", id(object{"sub": "ann\r\nX: y"}), Want{}, "sub is missing"},
		{"subject backwards", id(object{"sub": "ann\u202e"}), Want{}, "sub is missing"},
		{"sid of no string", id(object{"sid": 7}), Want{}, "sid"},
		{"acr of no string", id(object{"acr": 1}), Want{}, "acr"},
		{"amr of numbers", id(object{"amr": []int{1}}), Want{}, "amr"},
		{"auth_time as text", id(object{"auth_time": "1"}), Want{}, "auth_time"},
		{"auth_time in the future", id(object{"auth_time": now + 31}), Want{}, "in the future"},
		{"doesn't say when", id(), Want{MaxAge: &hour}, "auth_time"},
		{"too long ago", id(object{"auth_time": now - 3631}), Want{MaxAge: &hour}, "1h0m0s was asked for"},
		{"not just now", id(object{"auth_time": now - 31}), Want{MaxAge: &zero}, "0s was asked for"},
		{"doesn't say how", id(), Want{ACR: []string{"gold"}}, "gold was asked for"},
		{"not well", id(object{"acr": "gold "}), Want{ACR: []string{"gold"}}, "gold was asked for"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := f.client(t, nil)
			f.set(func() {
				f.tokens = func(url.Values) (int, any) { return 200, f.answer(t, object{"id_token": row.token}) }
			})
			got, err := p.Exchange(t.Context(), aCode, aVerifier, aNonce, row.want)
			if row.says == "" {
				expect(t, err, nil, "")
			} else {
				expect(t, err, ErrInvalid, row.says)
			}
			if (got.Subject == "ann") != (row.says == "") || row.says != "" && got.Access+got.Refresh+got.ID != "" {
				t.Errorf("subject %q", got.Subject)
			}
		})
	}
}

func TestWhatAnIDTokenSays(t *testing.T) {
	f := newFake(t)
	now := f.now.Unix()
	f.tokens = func(url.Values) (int, any) {
		return 200, f.answer(t, object{"id_token": f.id(t, object{"sid": "s1", "acr": "gold", "amr": []string{"pwd", "otp"}, "auth_time": now - 5, "groups": []string{"a"}, "level": json.RawMessage("9007199254740993")})})
	}
	got, err := f.client(t, nil).Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
	if err != nil || got.SessionID != "s1" || got.ACR != "gold" || !slices.Equal(got.AMR, []string{"pwd", "otp"}) || got.AuthTime.Unix() != now-5 || got.Claims["level"] != json.Number("9007199254740993") {
		t.Error(err, got.SessionID, got.ACR, got.AMR, got.AuthTime, got.Claims)
	}
	// An algorithm that the operator took away is no algorithm.
	p := f.client(t, func(c *Config) { c.Algorithms = []jose.SignatureAlgorithm{jose.ES256} })
	_, err = p.Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
	expect(t, err, ErrInvalid, `"EdDSA", which is not accepted`)
	// That keys can't be had says nothing about the token.
	f.keys = fmt.Errorf("no answer: %w", ErrUnavailable)
	_, err = f.client(t, nil).Exchange(t.Context(), aCode, aVerifier, aNonce, Want{})
	expect(t, err, ErrUnavailable, "the keys of "+f.URL)
}

// The example of OpenID Connect Core 1.0, appendix A.3: at_hash of an access token under RS256.
func TestHalfOf(t *testing.T) {
	const token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	if got := halfOf(jose.RS256, token); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Error(got)
	}
	for algorithm, length := range map[jose.SignatureAlgorithm]int{jose.PS256: 22, jose.ES384: 32, jose.RS512: 43, jose.EdDSA: 43} {
		if got := halfOf(algorithm, token); len(got) != length {
			t.Error(algorithm, got)
		}
	}
}

func TestRefresh(t *testing.T) {
	f := newFake(t)
	p := f.client(t, nil)
	for _, row := range []struct {
		name    string
		status  int
		answer  any
		kind    error
		says    string
		refresh string // what is to be used from now on
	}{
		{"all new", 200, f.answer(t, object{"refresh_token": "new", "id_token": f.id(t, object{"nonce": without})}), nil, "", "new"},
		{"not rotated", 200, f.answer(t, object{"refresh_token": without}), nil, "", aRefresh},
		{"no ID token", 200, f.answer(t, object{"id_token": without, "refresh_token": "new"}), nil, "", "new"},
		{"a nonce is the caller's to compare", 200, f.answer(t, object{"id_token": f.id(t, object{"nonce": "x"})}), nil, "", aRefresh},
		{"somebody else", 200, f.answer(t, object{"id_token": f.id(t, object{"sub": "bob"})}), ErrInvalid, "another user", ""},
		{"another issuer", 200, f.answer(t, object{"id_token": f.id(t, object{"iss": "x"})}), ErrInvalid, "its issuer", ""},
		{"another audience", 200, f.answer(t, object{"id_token": f.id(t, object{"aud": "x"})}), ErrInvalid, "aud", ""},
		{"made long ago", 200, f.answer(t, object{"id_token": f.id(t, object{"iat": f.now.Unix() - 3600})}), ErrInvalid, "ago", ""},
		{"another access token", 200, f.answer(t, object{"id_token": f.id(t, object{"at_hash": "x"})}), ErrInvalid, "at_hash", ""},
		{"can't be read", 200, object{}, ErrInvalid, "no access_token", ""},
		{"over", 400, object{"error": "invalid_grant"}, ErrEnded, "does not take the refresh token (400 invalid_grant)", ""},
		{"not us", 401, object{"error": "invalid_client"}, ErrUnavailable, "our client id and secret", aRefresh},
		{"away", 503, "", ErrUnavailable, "503", aRefresh},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.set(func() { f.tokens = func(url.Values) (int, any) { return row.status, row.answer } })
			got, err := p.Refresh(t.Context(), aRefresh, "ann")
			expect(t, err, row.kind, row.says)
			if got.Refresh != row.refresh || (got.Access != "") != (row.kind == nil) || row.kind == nil && got.Subject != "ann" {
				t.Errorf("%q %q %q", got.Access, got.Refresh, got.Subject)
			}
			if form := f.last(t).PostForm; form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != aRefresh || form.Has("scope") {
				t.Error(form)
			}
		})
	}
	// A refresh token that came with an ID token which could not be judged isn't lost.
	f.set(func() {
		f.keys = ErrUnavailable
		f.tokens = func(url.Values) (int, any) { return 200, f.answer(t, object{"refresh_token": "new"}) }
	})
	got, err := p.Refresh(t.Context(), aRefresh, "ann")
	expect(t, err, ErrUnavailable, "the keys of")
	if got.Refresh != "new" || got.Access+got.ID != "" {
		t.Errorf("%q", got.Refresh)
	}
	// Nor is one that came when its caller was gone.
	f.set(func() { f.keys = nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := p.Refresh(ctx, aRefresh, "ann"); err != nil || got.Refresh != "new" {
		t.Error(err)
	}
	for _, wrong := range [][2]string{{"", "ann"}, {aRefresh, ""}} {
		if _, err := p.Refresh(t.Context(), wrong[0], wrong[1]); err == nil {
			t.Error("taken without", wrong)
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	tokens := Tokens{Access: anAccess, Refresh: aRefresh, ID: "eyJ", Subject: "ann", Claims: object{"a": "b"}}
	key := SigningKey{"k1", newFake(t).ec}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "tokens", tokens, "request", login(), "key", key)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "tokens", tokens)
	text := log.String() + js(t, tokens) + js(t, object{"in": &tokens})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		text += fmt.Sprintf(verb+verb+verb+verb+verb, tokens, &tokens, []Tokens{tokens}, login(), key)
	}
	for _, secret := range []string{"ann", "k1", "eyJ", anAccess, aRefresh, aState, aNonce, aVerifier} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is printed: %s", secret, text)
		}
	}
	if !strings.Contains(text, hidden) {
		t.Error(text)
	}
}

// A provider that says nothing holds nobody for longer than is waited for.
func TestASlowProvider(t *testing.T) {
	f := newFake(t)
	p := f.client(t, nil)
	if _, err := p.Begin(t.Context(), login()); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	f.set(func() { f.tokens = func(url.Values) (int, any) { <-hold; return 500, "" } })
	defer close(hold)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Exchange(ctx, aCode, aVerifier, aNonce, Want{})
	expect(t, err, ErrUnavailable, "no answer in time")
}
