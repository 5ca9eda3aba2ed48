package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func (f *fake) logout(t testing.TB, header string, changes ...object) string {
	claims := with(object{"iss": f.URL, "aud": "shop", "sub": "ann", "sid": "s1", "iat": f.now.Unix(), "exp": f.now.Unix() + 120, "jti": "j1", "events": object{loggedOut: object{}}}, changes...)
	return f.sign(t, header, js(t, claims))
}

const logoutHead = `{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`

func TestLogouts(t *testing.T) {
	f, stranger := newFake(t), newFake(t)
	p := f.client(t, nil)
	now := f.now.Unix()
	token := func(changes ...object) string { return f.logout(t, logoutHead, changes...) }
	head := func(header string) string { return f.logout(t, header) }
	for _, row := range []struct {
		name  string
		token string
		says  string // "": it is taken
	}{
		{"good", token(), ""},
		{"no typ", head(`{"alg":"EdDSA","kid":"ed"}`), ""},
		{"JWT", head(`{"alg":"ES256","kid":"ec","typ":"JWT"}`), ""},
		{"long form", head(`{"alg":"EdDSA","kid":"ed","typ":"application/logout+jwt"}`), ""},
		{"all sessions", token(object{"sid": without}), ""},
		{"a session", token(object{"sub": without}), ""},
		{"several audiences", token(object{"aud": []string{"api", "shop"}}), ""},
		{"no exp", token(object{"exp": without}), ""},
		{"an event that says more", token(object{"events": object{loggedOut: object{"x": 1}}}), ""},
		{"an event more", token(object{"events": object{loggedOut: object{}, "revoke_offline_access": true}}), ""},
		{"two minutes old", token(object{"iat": now - 149}), ""},

		{"an access token", head(`{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`), "another purpose"},
		{"a proof", head(`{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}`), "another purpose"},
		{"another event", head(`{"alg":"EdDSA","kid":"ed","typ":"secevent+jwt"}`), "another purpose"},
		{"none", b64(`{"alg":"none","typ":"logout+jwt"}`) + "." + strings.Split(token(), ".")[1] + ".AA", "algorithm"},
		{"HS256", head(`{"alg":"HS256","typ":"logout+jwt"}`), "algorithm"},
		{"another's", stranger.logout(t, logoutHead, object{"iss": f.URL}), "not signed"},
		{"an ID token", f.id(t), "events"},
		{"another issuer", token(object{"iss": stranger.URL}), "its issuer"},
		{"another client", token(object{"aud": "other"}), "aud"},
		{"no audience", token(object{"aud": without}), "aud"},
		{"expired", token(object{"exp": now - 30}), "expired"},
		{"exp null", token(object{"exp": null}), "exp is missing"},
		{"no iat", token(object{"iat": without}), "iat"},
		{"old", token(object{"iat": now - 150, "exp": now + 3600}), "ago"},
		{"of the future", token(object{"iat": now + 31}), "clock"},
		{"not yet", token(object{"nbf": now + 31}), "not count yet"},
		{"no jti", token(object{"jti": without}), "jti"},
		{"empty jti", token(object{"jti": ""}), "jti"},
		{"jti of no string", token(object{"jti": 7}), "jti"},
		{"long jti", token(object{"jti": strings.Repeat("j", 256)}), "jti"},
		{"jti of two lines", token(object{"jti": "a\nb"}), "jti"},
		{"no events", token(object{"events": without}), "events"},
		{"empty events", token(object{"events": object{}}), "events"},
		{"another event", token(object{"events": object{"http://schemas.openid.net/event/other": object{}}}), "events"},
		{"an event that is no object", token(object{"events": object{loggedOut: null}}), "events"},
		{"a list of events", token(object{"events": []string{loggedOut}}), "events"},
		{"a nonce", token(object{"nonce": "x"}), "nonce"},
		{"a nonce of null", token(object{"nonce": null}), "nonce"},
		{"of nobody", token(object{"sub": without, "sid": without}), "neither a user"},
		{"of an empty user", token(object{"sub": ""}), "sub is empty"},
		{"of a number", token(object{"sid": 7}), "sid is empty"},
		{"of null", token(object{"sub": null}), "sub is empty"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, err := p.Logout(t.Context(), row.token)
			if row.says == "" {
				expect(t, err, nil, "")
			} else {
				expect(t, err, ErrInvalid, row.says)
			}
			if (l.ID == "j1") != (row.says == "") || (l.Subject+l.SessionID == "") != (row.says != "") {
				t.Errorf("%+v", l)
			}
		})
	}
	for want, changes := range map[int64]object{now + 150: {}, now + 10 + 30: {"exp": now + 10}, now + 151: {"exp": now + 3600, "iat": now + 1}, now + 149: {"exp": without, "iat": now - 1}} {
		l, err := p.Logout(t.Context(), token(changes))
		if err != nil || l.Expires.Unix() != want {
			t.Errorf("%v: %v %v", changes, l.Expires.Unix()-now, err)
		}
		f.set(func() { f.now = l.Expires })
		if _, err := p.Logout(t.Context(), f.sign(t, logoutHead, "{}")); err == nil {
			t.Error("taken")
		}
		f.set(func() { f.now = time.Unix(now, 0) })
	}
	f.keys = fmt.Errorf("away: %w", ErrUnavailable)
	_, err := p.Logout(t.Context(), token())
	expect(t, err, ErrUnavailable, "the keys of")
	if described, _ := f.times(); described != 0 {
		t.Error("a logout token makes somebody ask the provider to describe itself")
	}
}

// FuzzAnswer: a code is taken only from a query that says each thing once, with the state of this browser and of no other issuer.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"code=c&state=" + aState, "code=c&state=" + aState + "&iss=https://id.example", "error=access_denied&error_description=%ff%0a&state=" + aState, "state=" + aState + "&state=x", "%", "code=a;b&state=" + aState} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, raw string, named bool) {
		p, err := New(Config{Issuer: "https://id.example", ClientID: "shop", Redirect: "https://gate.example/cb", HTTP: noRedirects, CheckURL: checkURL, Keys: (*fake)(nil), Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		p.known.Store(&known{&metadata{named: named}, noon()})
		query, _ := url.ParseQuery(raw)
		code, err := p.Answer(t.Context(), query, aState)
		if (err == nil) != (code != "") {
			t.Fatal(code, err)
		}
		if d, ok := err.(*Denied); ok {
			if !visible(d.Code, 1, 60) || len([]rune(d.Description)) > maxDescription {
				t.Errorf("%+v", d)
			}
		} else if err != nil {
			return
		}
		if len(query["state"]) != 1 || query.Get("state") != aState || len(query["code"])+len(query["error"]) == 0 || len(query["code"]) > 1 {
			t.Error(raw)
		}
		if issuer := query["iss"]; len(issuer) > 1 || len(issuer) == 1 && issuer[0] != "https://id.example" || len(issuer) == 0 && named {
			t.Error(raw)
		}
	})
}

// FuzzIDToken: whatever the provider signs, a token that is taken is of it, for us, of now, with our nonce and a subject.
func FuzzIDToken(f *testing.F) {
	idp := newFake(f)
	for _, changes := range []object{{}, {"aud": []string{"shop", "x"}, "azp": "shop"}, {"exp": 1}, {"nonce": ""}, {"at_hash": halfOf(jose.EdDSA, anAccess)}, {"amr": []string{"pwd"}, "auth_time": 5, "acr": "", "sid": "s"}} {
		f.Add(`{"alg":"EdDSA","kid":"ed"}`, js(f, idp.claims(changes)))
	}
	f.Add(`{"alg":"none"}`, "{}")
	f.Add(`{"alg":"EdDSA","typ":"at+jwt"}`, js(f, idp.claims()))
	p := idp.client(f, nil)
	f.Fuzz(func(t *testing.T, header, payload string) {
		tokens := Tokens{Access: anAccess, ID: idp.sign(t, header, payload)}
		if err := p.identify(t.Context(), &tokens, demand{nonce: aNonce}); err != nil {
			if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), "the ID token: ") {
				t.Error(err)
			}
			return
		}
		c := tokens.Claims
		if c["iss"] != idp.URL || c["nonce"] != aNonce || c["sub"] != tokens.Subject || !name(tokens.Subject) || !strings.Contains(payload, "shop") || c["exp"] == nil || c["iat"] == nil || c["events"] != nil {
			t.Errorf("%s %s", header, payload)
		}
	})
}

// FuzzLogout: whatever the provider signs, a logout token that is taken names somebody and has an id, and is no ID token.
func FuzzLogout(f *testing.F) {
	idp := newFake(f)
	f.Add(logoutHead, `{"iss":"`+idp.URL+`","aud":["shop"],"sub":"ann","iat":1795348800,"exp":1795348900,"jti":"j","events":{"`+loggedOut+`":{}}}`)
	f.Add(logoutHead, `{"iss":"`+idp.URL+`","aud":"shop","sid":"s","iat":1795348800,"jti":"j","events":{"`+loggedOut+`":{}},"nonce":1}`)
	f.Add(`{"alg":"EdDSA"}`, js(f, idp.claims()))
	p := idp.client(f, nil)
	f.Fuzz(func(t *testing.T, header, payload string) {
		l, err := p.Logout(t.Context(), idp.sign(t, header, payload))
		if err != nil {
			if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), "the logout token: ") {
				t.Error(err)
			}
			return
		}
		if !name(l.ID) || l.Subject+l.SessionID == "" || !l.Expires.After(noon()) || !strings.Contains(payload, "events") {
			t.Errorf("%s: %+v", payload, l)
		}
		var tokens Tokens
		if tokens.ID = idp.sign(t, header, payload); p.identify(t.Context(), &tokens, demand{nonce: aNonce}) == nil {
			t.Errorf("it is an ID token too: %s", payload)
		}
	})
}
