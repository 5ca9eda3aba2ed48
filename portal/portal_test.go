package portal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/record"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// empty is a store without sessions.
type empty struct{}

var errNone = errors.New("none")

func (empty) Get(context.Context, string) (record.Record, error) { return record.Record{}, errNone }

func (empty) WriteAll(context.Context, ...record.Write) error { return nil }

func (empty) Since(_ context.Context, _, mark string) ([]record.Record, string, error) {
	return nil, mark, nil
}

// once remembers in memory.
type once map[string]bool

func (o once) First(_ context.Context, key string, _ time.Time) (bool, error) {
	first := !o[key]
	o[key] = true
	return first, nil
}

func corp() Config {
	return Config{Origin: "https://login.example.com", Providers: []Provider{{Name: "corp", Issuer: "https://idp.example.com", Client: "gatehouse", Roles: "claims.groups", Grants: []string{"customer"}}}}
}

func portal(t testing.TB, now func() time.Time) *Portal {
	t.Helper()
	source := keys.NewSource(now, keys.Offline(), nil)
	t.Cleanup(source.Close)
	s := kept.New(empty{}, record.Errors{None: errNone}, kept.Options{Key: make([]byte, 32), Rand: rand.Reader, Now: now})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := New(corp(), Tools{
		Now: now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Key: []byte(strings.Repeat("k", 32)), Once: once{}, Sessions: s, Keys: source,
		Secret: func(secret.Ref) (secret.Value, error) { return secret.Value{}, errNone },
		Providers: func(host string, segments []string) []string {
			if host != "app.example.com" {
				return nil
			}
			if len(segments) > 0 && segments[0] == "two" {
				return []string{"corp", "partners"}
			}
			return []string{"corp"}
		},
		Report: func(gate.Reason, string) {}, Event: "Gatehouse-Event",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Set(p.Limits(), p.Confirm)
	return p
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	if err := corp().Check(now, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := (Config{}).Check(now, 0); err != nil {
		t.Errorf("no portal: %v", err)
	}
	if err := (Config{Sessions: SessionConfig{Idle: time.Minute}}).Check(now, 0); err == nil || !strings.Contains(err.Error(), "the portal has no origin") {
		t.Errorf("how long sessions live, and nowhere to sign in: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"origin: the portal has no origin":                          func(c *Config) { c.Origin = "" },
		"origin: \"login.example.com\" is not an origin":            func(c *Config) { c.Origin = "login.example.com" },
		"origin: \"https://login.example.com/a\" is not":            func(c *Config) { c.Origin += "/a" },
		"origin: \"https://login.example.com?a\" is not":            func(c *Config) { c.Origin += "?a" },
		"origin: \"https://me@login.example.com\" is not":           func(c *Config) { c.Origin = "https://me@login.example.com" },
		"origin: who signs in over http":                            func(c *Config) { c.Origin = "http://login.example.com" },
		"providers: nobody vouches for users":                       func(c *Config) { c.Providers = nil },
		"providers[0].name: \"Corp\" is not a name":                 func(c *Config) { c.Providers[0].Name = "Corp" },
		"providers[0].issuer: \"http://idp.example.com\" is not":    func(c *Config) { c.Providers[0].Issuer = "http://idp.example.com" },
		"providers[0].issuer: 10.0.0.7 is a private address":        func(c *Config) { c.Providers[0].Issuer = "https://10.0.0.7" },
		"providers[0].allow_private: the reason is missing":         func(c *Config) { c.Providers[0].AllowPrivate.Until = now.AddDate(0, 1, 0) },
		"providers[0].allow_private.until: the acceptance":          func(c *Config) { c.Providers[0].AllowPrivate = gate.Risk{AcceptRisk: "a test", Until: now} },
		"providers[0].client: the client id is missing":             func(c *Config) { c.Providers[0].Client = "" },
		"providers[0].roles: ":                                      func(c *Config) { c.Providers[0].Roles = "clams.groups" },
		"providers[0].grants: roles are read":                       func(c *Config) { c.Providers[0].Grants = nil },
		"providers[0].roles: it is not said where":                  func(c *Config) { c.Providers[0].Roles = "" },
		"providers[0].scopes[0]: \"a b\" is not":                    func(c *Config) { c.Providers[0].Scopes = []string{"a b"} },
		"providers[0].ca: open ":                                    func(c *Config) { c.Providers[0].CA = empty + "-not" },
		"providers[0].ca: " + empty + " is empty":                   func(c *Config) { c.Providers[0].CA = empty },
		"providers[1].name: two providers are named \"corp\"":       func(c *Config) { c.Providers = append(c.Providers, c.Providers[0]) },
		"providers[0].key: a client proves itself":                  func(c *Config) { set(t, &c.Providers[0].Secret); set(t, &c.Providers[0].Key) },
		"sessions.idle: 1s is not between":                          func(c *Config) { c.Sessions.Idle = time.Second },
		"sessions.idle: 13h0m0s is longer than a session lives":     func(c *Config) { c.Sessions.Idle = 13 * time.Hour },
		"sessions.absolute: 1000h0m0s is not between":               func(c *Config) { c.Sessions.Absolute = 1000 * time.Hour },
		"sessions.absolute: a session that lives for 25h0m0s could": func(c *Config) { c.Sessions.Absolute = 25 * time.Hour },
		"sessions.confirm: 1s is not between":                       func(c *Config) { c.Sessions.Confirm = time.Second },
		"sessions.most: -1 is not between":                          func(c *Config) { c.Sessions.Most = -1 },
	} {
		c := corp()
		change(&c)
		if err := c.Check(now, 24*time.Hour); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func set(t *testing.T, r *secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte("file:/run/secrets/a")); err != nil {
		t.Fatal(err)
	}
}

// Every route is declared in a contract, and every operation of a contract has a route: a request that the contract lets through is
// answered, and nothing else gets there.
func TestContracts(t *testing.T) {
	p := portal(t, time.Now)
	for name, c := range map[string]struct {
		contract []byte
		handler  http.Handler
	}{"portal.yaml": {OriginContract, p.AtOrigin()}, "host.yaml": {HostContract, p.AtHost()}} {
		contract, err := openapi.Load(name, func(string) ([]byte, error) { return c.contract, nil })
		if err != nil {
			t.Fatal(err)
		}
		if len(contract.Warnings) > 0 {
			t.Errorf("%s: %+v", name, contract.Warnings)
		}
		for _, op := range contract.Operations {
			for _, q := range op.Parameters {
				if strings.Contains("to state code", q.Name) && !q.Secret { // events would tell it
					t.Errorf("%s: %s of %s is not marked as secret", name, q.Name, op.ID)
				}
			}
			path := strings.NewReplacer("{provider}", "corp", "{word}", "link").Replace(op.Template)
			w := httptest.NewRecorder()
			c.handler.ServeHTTP(w, httptest.NewRequest(op.Method, "https://login.example.com"+path, nil))
			if w.Code == http.StatusMethodNotAllowed || w.Code == http.StatusNotFound && !strings.Contains(w.Body.String(), "<html") {
				t.Errorf("%s: %s %s is answered with %d", name, op.Method, op.Template, w.Code)
			}
		}
	}
}

// Each problem has a page with words of its own, that tells what to do.
func TestProblems(t *testing.T) {
	p := portal(t, time.Now)
	texts := map[string]string{}
	for word, status := range problems {
		w := httptest.NewRecorder()
		p.problem(w, httptest.NewRequest("GET", "/", nil), word, `https://app.example.com/"><script>`)
		body := w.Body.String()
		if w.Code != status || strings.Contains(body, "<script") || !strings.Contains(body, "Begin again") && !strings.Contains(body, "Go on") {
			t.Errorf("%s: %d %s", word, w.Code, body)
		}
		_, text, _ := strings.Cut(body, "<p>")
		text, _, _ = strings.Cut(text, "</p>")
		if other, twice := texts[text]; twice {
			t.Errorf("%s and %s read alike: %s", word, other, text)
		}
		texts[text] = word
		if csp := w.Header().Get("Content-Security-Policy"); csp != policy {
			t.Errorf("%s: %s", word, csp)
		}
	}
}

// What browsers carry is of one kind, unchanged, and over after its time.
func TestSealed(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	var after atomic.Int64
	p := portal(t, func() time.Time { return now.Add(time.Duration(after.Load())) })
	text, err := p.sealed(asNote, note{Origin: "https://app.example.com", Host: "app.example.com", To: "/a", Until: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := unsealed[note](p, asNote, text); err != nil || n.To != "/a" {
		t.Errorf("%+v %v", n, err)
	}
	if _, err := unsealed[code](p, asCode, text); !errors.Is(err, errForeign) {
		t.Errorf("a note is taken for a code: %v", err)
	}
	for i := range text {
		other := []byte(text)
		other[i] ^= 1
		if _, err := unsealed[note](p, asNote, string(other)); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	after.Store(int64(time.Hour))
	if n, err := unsealed[note](p, asNote, text); !errors.Is(err, errOver) || n.To != "/a" {
		t.Errorf("%+v %v", n, err)
	}
}

// What is on its way through a browser is for pages alone, and in a window that no other page can look into.
func TestAlone(t *testing.T) {
	p := portal(t, time.Now)
	for host, h := range map[string]http.Handler{"login.example.com": p.AtOrigin(), "app.example.com": p.AtHost()} {
		for _, path := range []string{"/sign-in?to=x", "/sign-in/corp?to=x", "/callback/corp", "/return?code=x", "/"} {
			for name, fields := range map[string]http.Header{"a frame": {"Sec-Fetch-Dest": {"iframe"}}, "a script": {"Sec-Fetch-Dest": {"empty"}}, "an image": {"Sec-Fetch-Dest": {"image"}}, "a worker": {"Service-Worker": {"script"}}} {
				r := httptest.NewRequest("GET", "https://"+host+path, nil)
				r.Header = fields
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Header().Get("Location") != "https://login.example.com/problem/foreign" {
					t.Errorf("%s asks for %s%s: %d %v", name, host, path, w.Code, w.Header())
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "https://"+host+path, nil))
			if w.Header().Get("Cross-Origin-Opener-Policy") != "same-origin" && w.Code != 404 {
				t.Errorf("%s%s can be looked into", host, path)
			}
		}
	}
}

// An answer that comes once more is known, in a bounded memory.
func TestTried(t *testing.T) {
	var tr tried
	if !tr.first("a") || tr.first("a") {
		t.Error("a")
	}
	for i := range 3 * mostTried {
		tr.first(fmt.Sprint(i))
	}
	if n := len(tr.now) + len(tr.old); n > 2*mostTried {
		t.Errorf("%d are remembered", n)
	}
}

func TestAgent(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                            "Chrome on Android",
		"curl/8.14": "curl", "": "", "a\u202eb" + strings.Repeat("x", 100): "ab" + strings.Repeat("x", 38) + "…",
	} {
		if got := agentOf(agent); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
}

// FuzzWanted: whatever a browser says where it wants back to, it is a path of the host at which it was (row E12).
func FuzzWanted(f *testing.F) {
	for _, s := range []string{"/orders?page=2", "//evil.example", "/\\evil.example", "https:evil", "https:///evil", "http://a@evil", "\t//evil", "javascript:alert(1)", "/a/..//b", "/%2F%2Fevil", "?", "/?%0d%0a", "/a#b"} {
		f.Add(s)
	}
	p := portal(f, time.Now)
	f.Fuzz(func(t *testing.T, to string) {
		clean, _ := p.wanted("app.example.com", to)
		u, err := url.Parse("https://app.example.com" + clean)
		if err != nil || u.Host != "app.example.com" || u.User != nil || !strings.HasPrefix(clean, "/") || strings.HasPrefix(clean, "//") || strings.ContainsAny(clean, "\\\r\n\t #") || len(clean) > 3*longestWay+8 {
			t.Fatalf("%q becomes %q (%v)", to, clean, err)
		}
		base, err := url.Parse("https://app.example.com/.gatehouse/return")
		if err != nil {
			t.Fatal(err)
		}
		if at, err := base.Parse(clean); err != nil || at.Host != "app.example.com" || at.Scheme != "https" {
			t.Fatalf("%q leads to %v (%v)", to, at, err)
		}
		if again, _ := p.wanted("app.example.com", clean); len(clean) <= longestWay && again != clean {
			t.Fatalf("%q becomes %q and then %q", to, clean, again)
		}
	})
}

// FuzzCarried: what a browser brings that was not made here opens nothing, at any address.
func FuzzCarried(f *testing.F) {
	f.Add("AAAA", "x", "y")
	p := portal(f, time.Now)
	origin, host := p.AtOrigin(), p.AtHost()
	f.Fuzz(func(t *testing.T, carried, cookie, code string) {
		q := url.Values{"to": {carried}, "state": {carried}, "code": {code}}.Encode()
		for path, h := range map[string]http.Handler{"/sign-in": origin, "/sign-in/corp": origin, "/callback/corp": origin, "/return": host} {
			r := httptest.NewRequest("GET", "https://app.example.com"+path+"?"+q, nil)
			r.AddCookie(&http.Cookie{Name: browserCookie, Value: cookie})
			r.AddCookie(&http.Cookie{Name: session.Cookie, Value: cookie})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if to := w.Header().Get("Location"); w.Code < 400 && to != "https://login.example.com/problem/link" || strings.Contains(fmt.Sprint(w.Header()["Set-Cookie"]), session.Cookie) {
				t.Fatalf("%s: %d %v", path, w.Code, w.Header())
			}
		}
	})
}
