package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/sourcetest"
	"github.com/gatehouse-sec/gatehouse/secret/vault"
	"github.com/gatehouse-sec/gatehouse/secret/vault/baotest"
)

const canary = "canary-77aa01"

type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

func ref(t testing.TB, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func file(t testing.TB, text string) secret.Ref {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return ref(t, "file:"+path)
}

type world struct {
	*testing.T
	clock  *clock
	server *baotest.Server
	cfg    vault.Config
	source *vault.Source
}

func open(t *testing.T, change ...func(*baotest.Server, *vault.Config)) world {
	t.Helper()
	c := newClock()
	s := baotest.New(c.now)
	s.Mount("secret", "kv2")
	s.Mount("old/kv", "kv1")
	s.Mount("database", "database")
	s.Role("gatehouse", canary+"-secret-id")
	address, ca := s.Start(t)
	cfg := vault.Config{Address: address, CA: ca, Auth: vault.Auth{AppRole: &vault.AppRole{RoleID: "gatehouse", SecretID: file(t, canary+"-secret-id")}}}
	for _, f := range change {
		f(s, &cfg)
	}
	source, err := vault.New(cfg, vault.Deps{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return world{t, c, s, cfg, source}
}

func TestVersionedIsASource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		w := open(t)
		return sourcetest.World{Source: w.source, Place: "secret/shop/db", Missing: "secret/none", Field: "password",
			Set:    func(v string) { w.server.Put("secret/shop/db", map[string]any{"password": v, "user": "ann"}) },
			Remove: func() { w.server.Delete("secret/shop/db") }, Break: w.breaking(http.StatusServiceUnavailable)}
	})
}

func TestUnversionedIsASource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		w := open(t, func(s *baotest.Server, c *vault.Config) { c.Mounts = map[string]vault.Engine{"old/kv/": vault.KV1} })
		return sourcetest.World{Source: w.source, Place: "old/kv/db", Missing: "old/kv/none", Field: "password",
			Set:    func(v string) { w.server.Put("old/kv/db", map[string]any{"password": v}) },
			Remove: func() { w.server.Delete("old/kv/db") }, Break: w.breaking(-1)}
	})
}

func (w world) breaking(status int) func(bool) {
	return func(broken bool) {
		if !broken {
			w.server.Fail(nil)
			return
		}
		w.server.Fail(func(*http.Request) int { return status })
	}
}

func (w world) keeper() *secret.Keeper {
	return secret.NewKeeper(map[string]secret.Source{secret.Vault: w.source}, secret.Options{Now: w.clock.now, Jitter: func() float64 { return 0.5 }})
}

func (w world) live(k *secret.Keeper, text string) *secret.Live {
	w.Helper()
	l, err := k.Live(w.Context(), ref(w.T, text), "")
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w world) steps(k *secret.Keeper, total, each time.Duration, check func()) {
	for ; total > 0; total -= each {
		w.clock.pass(each)
		k.Step(w.Context())
		if check != nil {
			check()
		}
	}
}

// A database user lives only as long as the lease, the login and the gateway do; at every moment the password that is
// handed out is one that the server would take.
func TestLeasesLiveWithTheLogin(t *testing.T) {
	for name, ttl := range map[string][4]time.Duration{
		"long token":              {24 * time.Hour, 0, 10 * time.Minute, time.Hour},
		"token shorter":           {5 * time.Minute, 0, time.Hour, 24 * time.Hour},
		"token of a greatest age": {20 * time.Minute, time.Hour, 10 * time.Minute, 24 * time.Hour},
		"no end of the token":     {0, 0, 10 * time.Minute, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, func(s *baotest.Server, _ *vault.Config) {
				s.TokenTTL, s.TokenMax, s.LeaseTTL, s.LeaseMax = ttl[0], ttl[1], ttl[2], ttl[3]
			})
			k := w.keeper()
			user, password := w.live(k, "vault:database/creds/shop#username"), w.live(k, "vault:database/creds/shop#password")
			users := map[string]bool{}
			w.steps(k, 6*time.Hour, 15*time.Second, func() {
				u, err1 := user.Value()
				p, err2 := password.Value()
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				name := string(u.Reveal())
				users[name] = true
				if string(p.Reveal()) != "pw-of-"+name {
					t.Fatal("name and password of two leases")
				}
				if !strings.Contains(strings.Join(w.server.Users(), " ")+" ", name+" ") {
					t.Fatalf("%s is handed out and the server has ended it", name)
				}
			})
			if len(users) > 30 || len(w.server.Users()) > 5 {
				t.Errorf("%d users in 6 hours, %d alive", len(users), len(w.server.Users()))
			}
			if err := k.Close(t.Context()); err != nil || len(w.server.Users()) > 0 {
				t.Errorf("after the end: %v, %v", err, w.server.Users())
			}
		})
	}
}

// Every token ends at once, as at a server's restart from a backup: the gateway logs in again by itself.
func TestTokenEndsEarly(t *testing.T) {
	w := open(t)
	k := w.keeper()
	w.server.Put("secret/a", map[string]any{"x": canary})
	kv, lease := w.live(k, "vault:secret/a#x"), w.live(k, "vault:database/creds/shop#password")
	before, _ := lease.Value()
	w.server.EndTokens()
	w.server.Put("secret/a", map[string]any{"x": canary + "2"})
	w.steps(k, time.Hour, 20*time.Second, nil)
	if v, err := kv.Value(); err != nil || string(v.Reveal()) != canary+"2" {
		t.Error(err)
	}
	if v, err := lease.Value(); err != nil || v.Equal(before) {
		t.Errorf("the lease of the dead token is still handed out: %v", err)
	}
	if n := w.server.Calls("auth/approle/login"); n != 2 {
		t.Errorf("logged in %d times", n)
	}
}

// A denial by policy is no reason to log in again and again, and to lose every lease by it.
func TestDenialIsNoLostToken(t *testing.T) {
	w := open(t)
	k := w.keeper()
	w.server.Put("secret/a", map[string]any{"x": canary})
	l := w.live(k, "vault:secret/a#x")
	w.server.Deny(true)
	w.steps(k, time.Hour, 20*time.Second, nil)
	if v, err := l.Value(); err != nil || string(v.Reveal()) != canary {
		t.Error(err)
	}
	w.steps(k, 24*time.Hour, 10*time.Minute, nil)
	if _, err := l.Value(); err == nil || !strings.Contains(err.Error(), l.Ref().String()) {
		t.Errorf("open a day later (I6): %v", err)
	}
	if n := w.server.Calls("auth/approle/login"); n > 27 {
		t.Errorf("logged in %d times", n)
	}
}

func TestLogins(t *testing.T) {
	jwt := canary + ".jwt"
	t.Run("kubernetes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		_ = os.WriteFile(path, []byte(jwt+"\n"), 0o600)
		w := open(t, func(s *baotest.Server, c *vault.Config) {
			s.Role("pod", jwt)
			s.Namespace = "team/shop"
			c.Namespace, c.Auth = "team/shop/", vault.Auth{Kubernetes: &vault.Kubernetes{Role: "pod", TokenFile: path}}
		})
		w.server.Put("secret/a", map[string]any{"x": canary})
		w.live(w.keeper(), "vault:secret/a#x")
	})
	t.Run("token", func(t *testing.T) {
		var token string
		path := filepath.Join(t.TempDir(), "token")
		w := open(t, func(s *baotest.Server, c *vault.Config) {
			token = s.Token(time.Hour, true)
			_ = os.WriteFile(path, []byte(token), 0o600)
			c.Auth = vault.Auth{Token: ref(t, "file:"+path)}
		})
		k := w.keeper()
		w.server.Put("secret/a", map[string]any{"x": canary})
		l := w.live(k, "vault:secret/a#x")
		db := w.live(k, "vault:database/creds/shop#password")
		w.server.TokenMax = 6 * time.Hour
		w.steps(k, 5*time.Hour+58*time.Minute, 20*time.Second, nil)
		if v, err := db.Value(); err != nil || string(v.Reveal()) != "pw-of-v-shop-1" {
			t.Errorf("the lease was lost though token and lease can be prolonged: %v", err)
		}
		w.server.EndTokens()
		_ = os.WriteFile(path, []byte(w.server.Token(time.Hour, true)), 0o600)
		w.server.Put("secret/a", map[string]any{"x": canary + "2"})
		w.steps(k, time.Hour, 20*time.Second, nil)
		if v, err := l.Value(); err != nil || string(v.Reveal()) != canary+"2" {
			t.Error(err)
		}
		if err := k.Close(t.Context()); err != nil || w.server.Tokens() != 1 || len(w.server.Users()) != 0 {
			t.Errorf("%v: %d tokens, users %v: somebody else's token must live on, our leases not", err, w.server.Tokens(), w.server.Users())
		}
	})
}

// K2: neither what the gateway sends nor what a hostile server answers stands in an error.
func TestErrorsSayNoSecret(t *testing.T) {
	w := open(t, func(_ *baotest.Server, c *vault.Config) { c.Auth.AppRole.SecretID = file(t, canary+"-wrong") })
	w.server.Put("secret/a", map[string]any{"x": canary})
	_, err := w.source.Fetch(t.Context(), "secret/a", "")
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "log in") {
		t.Errorf("%v", err)
	}
	var token string
	hostile := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasSuffix(r.URL.Path, "login") {
			token = canary + "-token"
			fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":60}}`, token)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, `{"errors":["%s %s \u001b[31m %s"]}`, r.Header.Get("X-Vault-Token"), strings.ReplaceAll(string(body), `"`, `'`), strings.Repeat("long ", 1000))
	}))
	defer hostile.Close()
	cfg := w.cfg
	cfg.Address, cfg.CA = hostile.URL, baotest.WriteCA(t, hostile.Certificate())
	s, err := vault.New(cfg, vault.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Fetch(t.Context(), "secret/a", "")
	if err == nil || token == "" || strings.Contains(err.Error(), canary) || strings.ContainsRune(err.Error(), 27) || len(err.Error()) > 700 {
		t.Errorf("%v", err)
	}
	if err := s.Revoke(t.Context(), secret.Lease{ID: "1 database/creds/" + canary}); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

// What the server answers must be of the published form; a redirect would carry the token elsewhere; nothing is taken from
// the environment; a certificate of somebody else's is refused.
func TestTheServerIsNotTrustedBlindly(t *testing.T) {
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", canary)
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	body, status := "", 200
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") == canary {
			t.Error("a token of the environment was sent")
		}
		if strings.HasSuffix(r.URL.Path, "lookup-self") {
			fmt.Fprint(w, `{"data":{"ttl":0}}`)
			return
		}
		w.Header().Set("Location", other.URL)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	cfg := vault.Config{Address: server.URL, CA: baotest.WriteCA(t, server.Certificate()), Auth: vault.Auth{Token: file(t, "t-1234")}, Mounts: map[string]vault.Engine{"secret": vault.KV2, "kv": vault.KV1, "db": vault.Dynamic}}
	s, err := vault.New(cfg, vault.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		place, body string
		status      int
	}{
		"redirect": {"kv/a", "", 307}, "no JSON": {"kv/a", "<html>" + canary, 200}, "a list": {"kv/a", `{"data":["` + canary + `"]}`, 200}, "no data": {"kv/a", `{}`, 200}, "empty": {"kv/a", "", 200},
		"version 1 for 2": {"secret/a", `{"data":{"x":"` + canary + `"}}`, 200}, "no lease": {"db/a", `{"data":{"x":"` + canary + `"}}`, 200}, "too long": {"kv/a", `{"data":{"x":"` + strings.Repeat("a", 3<<20) + `"}}`, 200},
	} {
		body, status = c.body, c.status
		a, err := s.Fetch(t.Context(), c.place, "")
		if err == nil || a.Fields != nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
	body, status = `{"data":{"x":"a","n":12345678901234567890,"empty":"","list":["a"],"null":null,"yes":true}}`, 200
	a, err := s.Fetch(t.Context(), "kv/a", "")
	if err != nil || len(a.Fields) != 2 || string(a.Fields["n"].Reveal()) != "12345678901234567890" {
		t.Errorf("%v, %d fields", err, len(a.Fields))
	}
	cfg.CA = ""
	if s, err = vault.New(cfg, vault.Deps{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), "kv/a", ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}
}

func TestTheServerHidesItsMounts(t *testing.T) {
	w := open(t, func(s *baotest.Server, _ *vault.Config) { s.HideMounts = true })
	w.server.Put("secret/a", map[string]any{"x": canary})
	if _, err := w.source.Fetch(t.Context(), "secret/a", ""); err == nil || !strings.Contains(err.Error(), "mounts: {secret: kv2}") {
		t.Errorf("%v", err)
	}
	w = open(t, func(s *baotest.Server, c *vault.Config) {
		s.HideMounts, c.Mounts = true, map[string]vault.Engine{"secret": vault.KV2}
	})
	w.server.Put("secret/a", map[string]any{"x": canary})
	w.live(w.keeper(), "vault:secret/a#x")
	if _, err := w.source.Fetch(t.Context(), "secret/data/a", ""); !errors.Is(err, secret.ErrGone) || !strings.Contains(err.Error(), "without data/") {
		t.Errorf("%v", err)
	}
}

// The N-th request fails, in three ways, for each N: a later try is right.
func TestTheNthRequestFails(t *testing.T) {
	for _, status := range []int{-1, 500, 503} {
		for n := 1; n <= 10; n++ {
			w := open(t, func(s *baotest.Server, _ *vault.Config) { s.LeaseTTL = 9 * time.Minute })
			calls := 0
			w.server.Fail(func(*http.Request) int {
				if calls++; calls == n {
					return status
				}
				return 0
			})
			k := w.keeper()
			l, err := k.Live(t.Context(), ref(t, "vault:database/creds/shop#password"), "")
			if err != nil {
				l = w.live(k, "vault:database/creds/shop#password")
			}
			w.steps(k, 30*time.Minute, 20*time.Second, func() {
				if _, err := l.Value(); err != nil {
					t.Fatalf("request %d, status %d: %v", n, status, err)
				}
			})
			if err := k.Close(t.Context()); err != nil && calls < n || len(w.server.Users()) > 0 {
				t.Errorf("request %d, status %d: %v, %v", n, status, err, w.server.Users())
			}
		}
	}
}

func TestWrongConfigurations(t *testing.T) {
	role := vault.Auth{AppRole: &vault.AppRole{RoleID: "a", SecretID: file(t, "b")}}
	for path, cfg := range map[string]vault.Config{
		"address":                {Address: "http://vault.example.com:8200", Auth: role},
		" address":               {Address: "vault:8200", Auth: role},
		"  address":              {Address: "https://u:p@vault:8200", Auth: role},
		"   address":             {Address: "https://vault:8200/v1", Auth: role},
		"    address":            {Auth: role},
		"auth":                   {Address: "https://v"},
		" auth":                  {Address: "https://v", Auth: vault.Auth{AppRole: role.AppRole, Token: file(t, "a")}},
		"auth.token":             {Address: "https://v", Auth: vault.Auth{Token: ref(t, "vault:a/b#c")}},
		" auth.token":            {Address: "https://v", Auth: vault.Auth{Token: ref(t, "file:/none/at/all")}},
		"auth.approle.role_id":   {Address: "https://v", Auth: vault.Auth{AppRole: &vault.AppRole{SecretID: file(t, "a")}}},
		"auth.approle.secret_id": {Address: "https://v", Auth: vault.Auth{AppRole: &vault.AppRole{RoleID: "a"}}},
		"auth.approle.mount":     {Address: "https://v", Auth: vault.Auth{AppRole: &vault.AppRole{RoleID: "a", SecretID: file(t, "a"), Mount: "../sys"}}},
		"auth.kubernetes.role":   {Address: "https://v", Auth: vault.Auth{Kubernetes: &vault.Kubernetes{}}},
		"mounts.secret":          {Address: "https://v", Auth: role, Mounts: map[string]vault.Engine{"secret": "kv3"}},
		"mounts":                 {Address: "https://v", Auth: role, Mounts: map[string]vault.Engine{"../sys": vault.KV1}},
		"namespace":              {Address: "https://v", Auth: role, Namespace: "a b"},
		"ca":                     {Address: "https://v", Auth: role, CA: "/none/at/all"},
	} {
		_, err := vault.New(cfg, vault.Deps{})
		var list mistake.List
		if !errors.As(err, &list) || list[0].Path != strings.TrimSpace(path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, address := range []string{"http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:8200", "https://vault.example.com"} {
		if _, err := vault.New(vault.Config{Address: address, Auth: role}, vault.Deps{}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// FuzzAnswer: no answer of a server panics, is taken for a secret that it isn't, or is repeated in an error.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"data":{"data":{"x":"y"},"metadata":{"version":1}}}`, `{"data":{"x":"y"},"lease_id":"a","lease_duration":1}`, `{"errors":["a"]}`, `{"data":null}`, `[]`, `{"data":{"data":null,"metadata":{"version":2,"destroyed":true}}}`} {
		f.Add(s, 200)
		f.Add(s, 404)
	}
	var body atomic.Value
	var status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "lookup-self") {
			fmt.Fprint(w, `{"data":{"ttl":0}}`)
			return
		}
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, body.Load())
	}))
	f.Cleanup(server.Close)
	s, err := vault.New(vault.Config{Address: server.URL, Auth: vault.Auth{Token: file(f, "t-1234")}, Mounts: map[string]vault.Engine{"a": vault.KV2, "b": vault.KV1, "c": vault.Dynamic}}, vault.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, code int) {
		body.Store(text)
		if code = 200 + max(code, -code)%400; code < 200 || code == 204 || code == 304 {
			code = 200
		}
		status.Store(int64(code))
		for _, place := range []string{"a/x", "b/x", "c/x"} {
			a, err := s.Fetch(context.Background(), place, "")
			if err == nil && (code > 299 || a.Fields == nil) || err != nil && a.Fields != nil {
				t.Errorf("%s: %d %q: %v", place, code, text, err)
			}
			if err == nil && place == "c/x" && (a.Lease == nil || a.Lease.TTL <= 0) {
				t.Errorf("a dynamic secret without lease: %q", text)
			}
		}
	})
}
