package portal

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/oidc"
	"github.com/gatehouse-sec/gatehouse/kit/record"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// table is a store in memory.
type table struct {
	mu  sync.Mutex
	all map[string]record.Record
	log []record.Record
}

var errConflict = errors.New("conflict")

func (s *table) Get(_ context.Context, key string) (record.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.all[key]
	if !ok {
		return r, errNone
	}
	return r, nil
}

func (s *table) WriteAll(_ context.Context, all ...record.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range all {
		if w.Version >= 0 && s.all[w.Key].Version != w.Version {
			return errConflict
		}
	}
	for _, w := range all {
		if w.Value == nil {
			delete(s.all, w.Key)
			continue
		}
		r := record.Record{Key: w.Key, Value: w.Value, Version: s.all[w.Key].Version + 1, Expires: w.Expires}
		s.all[w.Key] = r
		s.log = append(s.log, r)
	}
	return nil
}

func (s *table) Since(_ context.Context, prefix, mark string) (list []record.Record, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log[len(mark):] {
		if strings.HasPrefix(r.Key, prefix) {
			list = append(list, r)
		}
	}
	return list, strings.Repeat("x", len(s.log)), nil
}

// idp is a provider that says what a test has it say.
type idp struct {
	*httptest.Server
	signer jose.Signer
	key    *ecdsa.PrivateKey
	mu     sync.Mutex
	token  func(form url.Values) (int, any) // what the token endpoint answers
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key}
	p.signer = signerOf(t, key)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			answer = map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
				"authorization_response_iss_parameter_supported": true}
		case "/keys":
			answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}}
		case "/token":
			_ = r.ParseForm()
			p.mu.Lock()
			status, said := p.token(r.PostForm)
			p.mu.Unlock()
			answer = said
			w.WriteHeader(status)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(p.Close)
	return p
}

func signerOf(t *testing.T, key *ecdsa.PrivateKey) jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t *testing.T, s jose.Signer, claims map[string]any) string {
	t.Helper()
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// scene is a portal with two providers.
type scene struct {
	*Portal
	t        *testing.T
	corp     *idp
	partners *idp
	sessions *kept.Sessions
	start    time.Time
	after    atomic.Int64 // so much later is it now
	reports  []string
}

func (s *scene) now() time.Time { return s.start.Add(time.Duration(s.after.Load())) }

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, corp: newIDP(t), partners: newIDP(t), start: time.Now().Truncate(time.Second)}
	clock := s.now
	source := keys.NewSource(clock, keys.System(), nil)
	t.Cleanup(source.Close)
	s.sessions = kept.New(&table{all: map[string]record.Record{}}, record.Errors{None: errNone, Conflict: errConflict}, kept.Options{Key: make([]byte, 32), Rand: rand.Reader, Now: clock})
	if err := s.sessions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := corp()
	c.Providers[0].Issuer = s.corp.URL
	c.Providers = append(c.Providers, Provider{Name: "partners", Issuer: s.partners.URL, Client: "gatehouse"})
	p, err := New(c, Tools{
		Now: clock, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Key: []byte(strings.Repeat("k", 32)), Once: once{}, Sessions: s.sessions, Keys: source,
		Secret:    func(secret.Ref) (secret.Value, error) { return secret.Value{}, errNone },
		Providers: func(string, []string) []string { return []string{"corp", "partners"} },
		Report:    func(reason gate.Reason, note string) { s.reports = append(s.reports, string(reason)+" "+note) },
		Event:     "Gatehouse-Event",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Portal = p
	s.sessions.Set(p.Limits(), p.Confirm)
	return s
}

// ask is a browser with these cookies; it gives the cookies that it has afterwards.
func (s *scene) ask(method, target, body string, cookies []*http.Cookie) (*httptest.ResponseRecorder, []*http.Cookie) {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w, handler := httptest.NewRecorder(), s.AtOrigin()
	if r.Host != "login.example.com" {
		handler = http.StripPrefix(HostBase, s.AtHost())
	}
	handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		cookies = append(slices.DeleteFunc(slices.Clone(cookies), func(old *http.Cookie) bool { return old.Name == c.Name }), c)
	}
	return w, cookies
}

// began is a browser that was sent to a provider, and with what.
func (s *scene) began(provider string) (sent url.Values, cookies []*http.Cookie) {
	s.t.Helper()
	w, _ := s.ask("GET", "https://app.example.com/.gatehouse/sign-in?to=/orders", "", nil)
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil || at.Host != "login.example.com" {
		s.t.Fatalf("%v %v", w.Header(), err)
	}
	w, cookies = s.ask("GET", "https://login.example.com/sign-in/"+provider+"?"+at.RawQuery, "", nil)
	at, err = url.Parse(w.Header().Get("Location"))
	if err != nil || at.Query().Get("state") == "" {
		s.t.Fatalf("%d %v %v", w.Code, w.Header(), err)
	}
	return at.Query(), cookies
}

// idToken is what a provider says of a login.
func (s *scene) idToken(p *idp, sent url.Values, change func(map[string]any)) string {
	claims := map[string]any{"iss": p.URL, "aud": "gatehouse", "sub": "alice", "iat": s.now().Unix(), "exp": s.now().Add(time.Minute).Unix(), "nonce": sent.Get("nonce"),
		"groups": []string{"customer", "admin"}, "sid": "s1"}
	if change != nil {
		change(claims)
	}
	return signed(s.t, p.signer, claims)
}

func (s *scene) answers(p *idp, sent url.Values, change func(map[string]any)) {
	token := s.idToken(p, sent, change)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token = func(form url.Values) (int, any) {
		if form.Get("code") != "c" || len(form.Get("code_verifier")) != 43 || form.Get("redirect_uri") != sent.Get("redirect_uri") {
			return 400, map[string]string{"error": "invalid_grant"}
		}
		return 200, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token, "refresh_token": "r1"}
	}
}

// What comes back from a provider opens a session only when it is the answer of that provider to the login that this browser
// began, and says who signed in (rows E10, E11, E13, E14, E34).
func TestCallback(t *testing.T) {
	s := newScene(t)
	sent, cookies := s.began("corp")
	s.answers(s.corp, sent, nil)
	good := url.Values{"code": {"c"}, "state": {sent.Get("state")}, "iss": {s.corp.URL}}
	if sent.Get("code_challenge_method") != "S256" || sent.Get("code_challenge") == "" || sent.Get("nonce") == "" {
		t.Errorf("sent without PKCE or nonce: %v", sent)
	}
	with := func(name, value string) url.Values {
		q := url.Values{}
		for k, v := range good {
			q[k] = v
		}
		q.Set(name, value)
		return q
	}
	without := with("iss", "")
	without.Del("iss")
	_, others := s.began("corp")
	for name, c := range map[string]struct {
		path    string
		query   url.Values
		cookies []*http.Cookie
		change  func(map[string]any)
	}{
		"no cookie":                        {"corp", good, nil, nil},
		"another browser":                  {"corp", good, others, nil},
		"another provider's callback":      {"partners", good, cookies, nil},
		"another provider says it":         {"corp", with("iss", s.partners.URL), cookies, nil},
		"nobody says who it is":            {"corp", without, cookies, nil},
		"a state of nobody":                {"corp", with("state", strings.Repeat("A", 300)), cookies, nil},
		"no state":                         {"corp", with("state", ""), cookies, nil},
		"an error instead":                 {"corp", with("error", "access_denied"), cookies, nil},
		"another nonce":                    {"corp", good, cookies, func(c map[string]any) { c["nonce"] = "x" }},
		"for another client":               {"corp", good, cookies, func(c map[string]any) { c["aud"] = "x" }},
		"by another issuer":                {"corp", good, cookies, func(c map[string]any) { c["iss"] = s.partners.URL }},
		"over":                             {"corp", good, cookies, func(c map[string]any) { c["exp"] = s.now().Add(-time.Hour).Unix() }},
		"roles that can't be read":         {"corp", good, cookies, func(c map[string]any) { c["groups"] = 7 }},
		"nobody":                           {"corp", good, cookies, func(c map[string]any) { delete(c, "sub") }},
		"a code that the provider refuses": {"corp", with("code", "d"), cookies, nil},
	} {
		s.tools.Once, s.tried.now = once{}, nil // so that each is refused for what it is
		s.answers(s.corp, sent, c.change)
		w, after := s.ask("GET", "https://login.example.com/callback/"+c.path+"?"+c.query.Encode(), "", c.cookies)
		if w.Code < 400 || w.Header().Get("Location") != "" || slices.ContainsFunc(after, func(c *http.Cookie) bool { return c.Name == session.Cookie }) || len(s.sessions.List(false)) != 0 {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	s.tools.Once, s.tried.now = once{}, nil
	s.answers(s.corp, sent, nil)
	w, after := s.ask("GET", "https://login.example.com/callback/corp?"+good.Encode(), "", cookies)
	back := w.Header().Get("Location")
	if w.Code != 303 || !strings.HasPrefix(back, "https://app.example.com/.gatehouse/return?code=") {
		t.Fatalf("%d %v %s", w.Code, w.Header(), s.reports)
	}
	list := s.sessions.List(false)
	if len(list) != 1 || list[0].Subject != "alice" || fmt.Sprint(list[0].Roles) != "[customer]" || list[0].Far != "s1" {
		t.Fatalf("%+v", list)
	}
	if w, _ := s.ask("GET", "https://login.example.com/callback/corp?"+good.Encode(), "", after); w.Code != 400 || !strings.Contains(w.Body.String(), "finished before") {
		t.Errorf("the same answer again: %d", w.Code)
	}
	if w, _ := s.ask("GET", back, "", nil); w.Header().Get("Location") != "https://login.example.com/problem/browser" {
		t.Errorf("the code in another browser: %v", w.Header())
	}
	if w, _ := s.ask("GET", back, "", cookies); w.Header().Get("Location") != "https://login.example.com/problem/used" {
		t.Errorf("a code that another browser has shown: %v", w.Header())
	}
	s.after.Add(int64(2 * time.Hour))
	if w, _ := s.ask("GET", "https://login.example.com/callback/corp?"+good.Encode(), "", cookies); w.Code != 400 || !strings.Contains(w.Body.String(), "more than an hour") {
		t.Errorf("a slow login: %d", w.Code)
	}
	for _, r := range s.reports {
		for _, secret := range []string{sent.Get("state"), sent.Get("nonce"), "code=c"} {
			if strings.Contains(r, secret) {
				t.Errorf("a report holds a secret: %s", r)
			}
		}
	}
}

// A provider's word that a user has signed out ends the sessions that it names and no other, once (row E38).
func TestBackChannel(t *testing.T) {
	s := newScene(t)
	open := func(provider string, p *idp, subject, sid string) string {
		q, _, err := s.sessions.Create(t.Context(), session.Session{Provider: provider, Issuer: p.URL, Subject: subject, Far: sid, SignedIn: s.now()}, "login.example.com", kept.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		return q.ID
	}
	first, second := open("corp", s.corp, "alice", "s1"), open("corp", s.corp, "alice", "s2")
	elsewhere, bob := open("partners", s.partners, "alice", "s1"), open("corp", s.corp, "bob", "s3")
	living := func() (ids []string) {
		for _, l := range s.sessions.List(false) {
			ids = append(ids, l.ID)
		}
		slices.Sort(ids)
		return ids
	}
	all := []string{first, second, elsewhere, bob, open("corp", s.corp, "carol", "")}
	slices.Sort(all)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := func(by jose.Signer, change func(map[string]any)) string {
		claims := map[string]any{"iss": s.corp.URL, "aud": "gatehouse", "iat": s.now().Unix(), "exp": s.now().Add(time.Minute).Unix(), "jti": "j1", "sid": "s1", "sub": "alice",
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
		if change != nil {
			change(claims)
		}
		return signed(t, by, claims)
	}
	post := func(provider, token string) int {
		w, _ := s.ask("POST", "https://login.example.com/back-channel/"+provider, url.Values{"logout_token": {token}}.Encode(), nil)
		return w.Code
	}
	for name, c := range map[string]struct{ provider, token string }{
		"by a stranger":             {"corp", token(signerOf(t, stranger), nil)},
		"for another client":        {"corp", token(s.corp.signer, func(c map[string]any) { c["aud"] = "other" })},
		"with a nonce":              {"corp", token(s.corp.signer, func(c map[string]any) { c["nonce"] = "n" })},
		"without event":             {"corp", token(s.corp.signer, func(c map[string]any) { delete(c, "events") })},
		"without id":                {"corp", token(s.corp.signer, func(c map[string]any) { delete(c, "jti") })},
		"about nobody":              {"corp", token(s.corp.signer, func(c map[string]any) { delete(c, "sub"); delete(c, "sid") })},
		"old":                       {"corp", token(s.corp.signer, func(c map[string]any) { c["iat"] = s.now().Add(-time.Hour).Unix() })},
		"to another provider's":     {"partners", token(s.corp.signer, nil)},
		"an ID token":               {"corp", s.idToken(s.corp, url.Values{}, nil)},
		"empty":                     {"corp", ""},
		"in the name of another":    {"partners", token(s.partners.signer, nil)},
		"in the name of nobody":     {"nobody", token(s.corp.signer, nil)},
		"signed by another for him": {"corp", token(s.partners.signer, nil)},
	} {
		if status := post(c.provider, c.token); status != 400 && status != 404 || !slices.Equal(living(), all) {
			t.Errorf("%s: %d, and %d sessions live", name, status, len(living()))
		}
	}
	good := token(s.corp.signer, nil)
	if status := post("corp", good); status != 200 || slices.Contains(living(), first) || len(living()) != 4 {
		t.Errorf("%d, and %v live: %v", status, living(), s.reports)
	}
	s.after.Add(int64(time.Minute / 2))
	again := open("corp", s.corp, "alice", "s1")
	s.after.Add(int64(time.Second))
	if status := post("corp", good); status != 400 {
		t.Errorf("shown again: %d", status)
	}
	if status := post("corp", token(s.corp.signer, func(c map[string]any) { c["jti"] = "j2"; delete(c, "sid") })); status != 200 || slices.Contains(living(), second) || slices.Contains(living(), again) || !slices.Contains(living(), elsewhere) || !slices.Contains(living(), bob) {
		t.Errorf("all of a user: %d, and %v live", status, living())
	}
	before := len(living())
	if status := post("corp", token(s.corp.signer, func(c map[string]any) { c["jti"], c["sub"], c["sid"] = "j3", "carol", "s9" })); status != 200 || len(living()) != before-1 {
		t.Errorf("a session of which the provider didn't say its id: %d, %d of %d live", status, len(living()), before)
	}
}

// A session of a provider whose issuer is another by now opens nothing at an API, so it isn't handed on either: the browser would
// go in circles. And a provider gives no scope that it wasn't asked for.
func TestOlderDocument(t *testing.T) {
	s := newScene(t)
	_, cookie, err := s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: "https://old.example", Subject: "alice", SignedIn: s.now()}, "login.example.com", kept.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.ask("GET", "https://app.example.com/.gatehouse/sign-in?to=/orders", "", nil)
	w, _ = s.ask("GET", w.Header().Get("Location"), "", []*http.Cookie{{Name: session.Cookie, Value: cookie}})
	if to := w.Header().Get("Location"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, to)
	}
	sent, cookies := s.began("corp")
	s.answers(s.corp, sent, nil)
	answer := s.corp.token
	s.corp.token = func(form url.Values) (int, any) {
		status, a := answer(form)
		if all, ok := a.(map[string]any); ok {
			all["scope"] = "openid orders:write"
		}
		return status, a
	}
	if w, _ := s.ask("GET", "https://login.example.com/callback/corp?"+url.Values{"state": sent["state"], "code": {"c"}, "iss": {s.corp.URL}}.Encode(), "", cookies); w.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, q := range s.sessions.List(false) {
		if q.Issuer == s.corp.URL && fmt.Sprint(q.Scopes) != "[openid]" {
			t.Errorf("scopes %v", q.Scopes)
		}
	}
}

// Behind whoever ends TLS a request comes by http, and so it does from an attacker where http is served too: the code goes back
// by https all the same, or whoever listens on the way could take the session with a note of their own.
func TestCodeInTheClear(t *testing.T) {
	s := newScene(t)
	_, cookie, err := s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "alice", SignedIn: s.now()}, "login.example.com", kept.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "http://app.example.com/sign-in?to=/orders", nil)
	r.Header.Set("X-Forwarded-Proto", "http")
	w := httptest.NewRecorder()
	s.AtHost().ServeHTTP(w, r)
	victim, _ := s.ask("GET", w.Header().Get("Location"), "", []*http.Cookie{{Name: session.Cookie, Value: cookie}})
	if to := victim.Header().Get("Location"); !strings.HasPrefix(to, "https://app.example.com/.gatehouse/return?code=") {
		t.Error(to)
	}
}

// A session that makes room for another is told like every other that ends.
func TestRoom(t *testing.T) {
	s := newScene(t)
	for range s.Limits().Most {
		if _, _, err := s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "alice", SignedIn: s.now()}, "login.example.com", kept.Grant{}); err != nil {
			t.Fatal(err)
		}
	}
	sent, cookies := s.began("corp")
	s.answers(s.corp, sent, nil)
	s.ask("GET", "https://login.example.com/callback/corp?"+url.Values{"state": sent["state"], "code": {"c"}, "iss": {s.corp.URL}}.Encode(), "", cookies)
	if len(s.reports) != 2 || !strings.HasPrefix(s.reports[0], "session.ended ") || !strings.HasPrefix(s.reports[1], "session.began ") || len(s.sessions.List(false)) != s.Limits().Most {
		t.Errorf("%q", s.reports)
	}
}

// Who signs out is signed out, also while the provider is away and the session opens nothing; and where it can't be ended
// nobody is told that it was, and the cookie stays with which it can be ended later.
func TestSignOutTrouble(t *testing.T) {
	s := newScene(t)
	create := func() (session.Session, []*http.Cookie) {
		q, cookie, err := s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "alice", SignedIn: s.now()}, "login.example.com", kept.Grant{Refresh: "r0"})
		if err != nil {
			t.Fatal(err)
		}
		return q, []*http.Cookie{{Name: session.Cookie, Value: cookie}}
	}
	q, cookies := create()
	s.corp.mu.Lock()
	s.corp.token = func(url.Values) (int, any) { return 503, nil }
	s.corp.mu.Unlock()
	s.after.Add(int64(11 * time.Minute))
	if err := s.sessions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sessions.Find(t.Context(), "login.example.com", cookies[0].Value); !errors.Is(err, session.ErrUnconfirmed) {
		t.Fatalf("the provider is away: %v", err)
	}
	if w, _ := s.ask("POST", "https://login.example.com/sign-out", "", cookies); w.Code != http.StatusSeeOther || s.sessions.ByID(q.ID) != nil {
		t.Errorf("%d, and the session lives: %v", w.Code, s.sessions.ByID(q.ID) != nil)
	}
	q, cookies = create()
	s.after.Add(int64(time.Minute)) // nothing was heard of the store meanwhile
	if w, _ := s.ask("POST", "https://login.example.com/sign-out", "", cookies); w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("not ended: %d %v", w.Code, w.Header())
	}
	if err := s.sessions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, _ := s.ask("POST", "https://login.example.com/sign-out", "", cookies)
	if w.Code != http.StatusSeeOther || s.sessions.ByID(q.ID) != nil || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("tried again: %d %v", w.Code, w.Header())
	}
}

// The provider is asked again by one node at a time, and what it says is done (row E22).
func TestConfirm(t *testing.T) {
	s := newScene(t)
	q, _, err := s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "alice", Roles: []string{"customer"}, SignedIn: s.now()}, "login.example.com", kept.Grant{Refresh: "r0"})
	if err != nil {
		t.Fatal(err)
	}
	e := s.sessions.ByID(q.ID)
	asked := []string{}
	say := func(status int, answer map[string]any) {
		s.corp.mu.Lock()
		defer s.corp.mu.Unlock()
		s.corp.token = func(form url.Values) (int, any) {
			asked = append(asked, form.Get("refresh_token"))
			return status, answer
		}
	}
	token := func(change func(map[string]any)) string { return s.idToken(s.corp, url.Values{}, change) }
	without := func(c map[string]any) { delete(c, "nonce") }

	if err := s.Confirm(t.Context(), e); err != nil || len(asked) != 0 {
		t.Errorf("asked before it was time: %v", err)
	}
	s.after.Add(int64(6 * time.Minute))
	say(503, nil)
	if err := s.Confirm(t.Context(), e); err == nil || s.sessions.ByID(q.ID) == nil || !e.Confirmed().Equal(q.Created) {
		t.Errorf("a provider that is away: %v", err)
	}
	if err := s.Confirm(t.Context(), e); !errors.Is(err, errAsked) {
		t.Errorf("a provider that is away is asked by every request: %v", err)
	}
	s.after.Add(int64(againTime))
	say(200, map[string]any{"access_token": "a", "token_type": "Bearer", "refresh_token": "r1", "id_token": token(func(c map[string]any) { without(c); c["groups"] = []string{"nothing"} })})
	if err := s.Confirm(t.Context(), e); err != nil || !e.Confirmed().Equal(s.now()) || len(s.sessions.ByID(q.ID).Roles) != 0 {
		t.Errorf("%v, %+v", err, s.sessions.ByID(q.ID))
	}
	s.after.Add(int64(6 * time.Minute))
	say(200, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": token(func(c map[string]any) { without(c); c["sub"] = "mallory" })})
	before := e.Confirmed() // what can't be believed is no answer: in the end nothing opens, and a wrong clock ends nobody's session
	if err := s.Confirm(t.Context(), e); !errors.Is(err, oidc.ErrInvalid) || s.sessions.ByID(q.ID) == nil || !s.sessions.ByID(q.ID).Confirmed().Equal(before) {
		t.Errorf("tokens of another user: %v", err)
	}
	if fmt.Sprint(asked) != "[r0 r0 r1]" {
		t.Errorf("asked with %v", asked)
	}

	q, _, err = s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "bob", SignedIn: s.now()}, "login.example.com", kept.Grant{Refresh: "b0"})
	if err != nil {
		t.Fatal(err)
	}
	s.after.Add(int64(6 * time.Minute))
	say(400, map[string]any{"error": "invalid_grant"})
	if err := s.Confirm(t.Context(), s.sessions.ByID(q.ID)); err != nil || s.sessions.ByID(q.ID) != nil {
		t.Errorf("a grant that has ended: %v", err)
	}

	// The user signs in anew while the provider is asked, which ends what it gave before.
	q, _, err = s.sessions.Create(t.Context(), session.Session{Provider: "corp", Issuer: s.corp.URL, Subject: "carol", SignedIn: s.now()}, "login.example.com", kept.Grant{Refresh: "c0"})
	if err != nil {
		t.Fatal(err)
	}
	s.after.Add(int64(6 * time.Minute))
	s.corp.token = func(url.Values) (int, any) {
		if _, _, err := s.sessions.Renew(t.Context(), q.ID, "login.example.com", q, kept.Grant{Refresh: "c1"}); err != nil {
			t.Error(err)
		}
		return 400, map[string]any{"error": "invalid_grant"}
	}
	if err := s.Confirm(t.Context(), s.sessions.ByID(q.ID)); !errors.Is(err, kept.ErrTaken) || s.sessions.ByID(q.ID) == nil {
		t.Errorf("a session that was renewed meanwhile: %v", err)
	}
	// It signs in anew, and the provider gives nothing to ask again with.
	if _, _, err := s.sessions.Renew(t.Context(), q.ID, "login.example.com", q, kept.Grant{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.sessions.GrantOf(t.Context(), q.ID); !errors.Is(err, kept.ErrGone) {
		t.Errorf("what it gave before is kept: %v", err)
	}
	if err := s.Confirm(t.Context(), s.sessions.ByID(q.ID)); err != nil || s.sessions.ByID(q.ID) != nil {
		t.Errorf("a session of which the provider can't be asked, though it should be: %v", err)
	}
}
