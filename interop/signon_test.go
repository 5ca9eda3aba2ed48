package interop

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

const signOnContract = `openapi: 3.1.0
info: {title: shop, version: "1"}
components: {securitySchemes: {login: {type: openIdConnect, openIdConnectUrl: "https://id.example/.well-known/openid-configuration"}}}
paths:
  /orders:
    get:
      operationId: orders
      security: [{login: []}]
      x-gatehouse-roles: [shop-customer]
      parameters: [{name: page, in: query, schema: {type: string}}]
      responses: {"200": {description: ok}}
    post:
      operationId: order
      security: [{login: []}]
      x-gatehouse-roles: [shop-customer]
      requestBody: {required: true, content: {application/json: {schema: {type: object}}, application/x-www-form-urlencoded: {schema: {type: object}}}}
      responses: {"200": {description: ok}}
  /refunds:
    get:
      operationId: refunds
      security: [{login: []}]
      x-gatehouse-roles: [shop-support]
      responses: {"200": {description: ok}}
  /admin:
    get:
      operationId: admin
      security: [{login: []}]
      x-gatehouse-roles: [admin]
      responses: {"200": {description: ok}}
`

const signOnDocument = `listen: {at: ["ADDRESS"], admin: "http://127.0.0.1:0", certificates: [CERTIFICATE]}
portal:
  origin: https://login.localhost:PORT
  providers:
    - name: corp
      title: The company
      issuer: ISSUER
      client: gatehouse
      secret: "file:SECRET"
      roles: claims.groups
      grants: [shop-customer, shop-support]
  sessions: {confirm: CONFIRM}
apis:
  - name: shop
    hosts: [app.localhost, other.localhost]
    contract: contract.yaml
    to: ["SERVER"]
    guards: {identity: {sessions: {providers: [corp]}}}
`

// signOnHouse is a gateway whose users sign in at a real provider.
type signOnHouse struct {
	*house
	issuer string
	seen   *seenRequests
	client *http.Client // that knows the names below localhost, and keeps no cookies
}

// seenRequests is what came to the server behind.
type seenRequests struct {
	sync.Mutex
	list []*http.Request
}

func (s *seenRequests) last() *http.Request {
	s.Lock()
	defer s.Unlock()
	if len(s.list) == 0 {
		return nil
	}
	return s.list[len(s.list)-1]
}

func (h *signOnHouse) at(host, path string) string { return "https://" + host + ":" + h.port + path }

// settleSignOn starts both. The provider is told more by variables.
func settleSignOn(t *testing.T, confirm string, more ...string) *signOnHouse {
	t.Helper()
	return settleSignOnBy(t, signOnDocument, confirm, more...)
}

func settleSignOnBy(t *testing.T, document, confirm string, more ...string) *signOnHouse {
	t.Helper()
	h := &signOnHouse{house: &house{dir: t.TempDir(), port: strconv.Itoa(loopback.Port())}, seen: &seenRequests{}}
	h.url = "https://localhost:" + h.port
	h.ca = certificate(t, h.dir, "app.localhost", "other.localhost", "login.localhost")
	port := strconv.Itoa(loopback.Port())
	h.issuer = "http://127.0.0.1:" + port
	start(t, append(more, "PORT="+port, "ORIGIN="+h.at("login.localhost", ""), "PROVIDER=corp", "CA="+h.ca), "ready", node(), "oidc/signon.mjs")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen.Lock()
		h.seen.list = append(h.seen.list, r)
		h.seen.Unlock()
		w.Header().Set("Content-Type", "text/html")
		http.SetCookie(w, &http.Cookie{Name: "basket", Value: "b1", Path: "/", Secure: true})
		w.Header().Add("Set-Cookie", "__Host-gatehouse-session=stolen; Path=/; Secure")
		w.Header().Add("Set-Cookie", " __host-Gatehouse-begin=stolen; Path=/; Secure")
		_, _ = fmt.Fprintf(w, "<title>%s</title><p id=who>%s</p>", r.URL.RequestURI(), r.Header.Get("Gatehouse-Subject"))
	}))
	t.Cleanup(server.Close)
	secretFile := filepath.Join(h.dir, "secret")
	text := strings.NewReplacer("ADDRESS", h.url, "CERTIFICATE", fmt.Sprintf("{cert: %s, key: %q}", h.ca, "file:"+h.ca+".key"), "SERVER", server.URL,
		"PORT", h.port, "ISSUER", h.issuer, "SECRET", secretFile, "CONFIRM", confirm).Replace(document)
	for name, content := range map[string]string{"contract.yaml": signOnContract, "gatehouse.yaml": text, "secret": "not-a-secret-either: +/="} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, h.env(), "serving", built("gatehouse"), "serve", "--config", filepath.Join(h.dir, "gatehouse.yaml"))
	h.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: h.pool(t)},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+h.port)
			},
		},
	}
	return h
}

func (h *signOnHouse) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool
}

// browser is a Chromium of its own, without anything that another has.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func (h *signOnHouse) chromium(t *testing.T) *browser {
	t.Helper()
	data, err := os.ReadFile(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(digest[:])), chromedp.WindowSize(1000, 700))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return &browser{t, ctx}
}

// step is something that a user does.
type step = chromedp.Action[chromedp.Void]

// do does things, in bounded time.
func (b *browser) do(what string, steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		late, end := context.WithTimeout(b.ctx, 5*time.Second)
		defer end()
		where, _ := chromedp.Run(late, chromedp.Location())
		html, _ := chromedp.Run(late, chromedp.OuterHTML("html"))
		b.t.Fatalf("%s: %v, at %s: %.900s", what, err, where, html)
	}
}

// read reads something of the page that is shown.
func read[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// tab opens another tab of the same browser.
func (b *browser) tab() *browser {
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	return &browser{b.t, ctx}
}

func (b *browser) where() string { return read(b, chromedp.Location()) }

// signIn fills in the provider's pages.
func signIn(name string) step {
	return chromedp.Steps(
		chromedp.WaitVisible(`input[name=login]`), chromedp.SendKeys(`input[name=login]`, name), chromedp.SendKeys(`input[name=password]`, "any"),
		chromedp.Click(`button[type=submit]`), chromedp.WaitVisible(`button[autofocus]`), chromedp.Click(`button[autofocus]`),
	)
}

// cli asks the running gateway.
func (h *signOnHouse) cli(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command(built("gatehouse"), append(args, "--config", filepath.Join(h.dir, "gatehouse.yaml"))...)
	c.Env = append(os.Environ(), h.env()...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("gatehouse %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// get asks as a browser would with these cookies, and gives status, where it is led, and the body.
func (h *signOnHouse) get(t *testing.T, method, url string, fields map[string]string) (int, http.Header, string) {
	t.Helper()
	q, err := http.NewRequest(method, url, strings.NewReader(fields["body"]))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if name != "body" {
			q.Header.Set(name, value)
		}
	}
	a, err := h.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, _ := io.ReadAll(a.Body)
	return a.StatusCode, a.Header, string(body)
}

// cookie gives the value of a cookie that the browser has for an address.
func (b *browser) cookie(url, name string) string {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{url}})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range got.Cookies {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

const sessionCookie = "__Host-gatehouse-session"

// A user signs in at a real provider with a real browser: the page that they wanted comes, with its query; other hosts and tabs
// need no second login; what the provider may not grant is not granted; signing out ends it everywhere.
func TestSignOn(t *testing.T) {
	t.Parallel()
	h := settleSignOn(t, "5m")
	b := h.chromium(t)
	b.do("sign in", chromedp.Navigate(h.at("app.localhost", "/orders?page=2%202")), signIn("alice"), chromedp.WaitVisible("#who"))
	title, where, who := read(b, chromedp.Title()), b.where(), read(b, chromedp.Text("#who"))
	if title != "/orders?page=2%202" || where != h.at("app.localhost", "/orders?page=2%202") || who != "alice" {
		t.Errorf("came back to %s (%s) as %q", where, title, who)
	}
	if got := h.seen.last().Header.Get("Gatehouse-Roles"); got != "shop-customer" {
		t.Errorf("roles %q: the provider said admin as well, which it may not grant", got)
	}
	b.do("with a cookie of the server", chromedp.Navigate(h.at("app.localhost", "/orders")), chromedp.WaitVisible("#who"))
	if got := h.seen.last().Header["Cookie"]; len(got) != 1 || got[0] != "basket=b1" {
		t.Errorf("the server behind sees the cookies %q", got)
	}
	first := b.cookie(h.at("app.localhost", "/"), sessionCookie)
	if first == "" || first == "stolen" {
		t.Fatalf("the session cookie is %q", first)
	}

	b.do("another host", chromedp.Navigate(h.at("other.localhost", "/orders")), chromedp.WaitVisible("#who"))
	other := b.cookie(h.at("other.localhost", "/"), sessionCookie)
	if where := b.where(); where != h.at("other.localhost", "/orders") || other == "" || other == first {
		t.Errorf("at %s with the cookie %q", where, other)
	}

	t.Run("a cookie opens its own host alone", func(t *testing.T) {
		for host, want := range map[string]int{"app.localhost": 200, "other.localhost": 401} {
			if got, _, body := h.get(t, "GET", h.at(host, "/orders"), map[string]string{"Cookie": sessionCookie + "=" + first}); got != want {
				t.Errorf("%s: %d, want %d: %s", host, got, want, body)
			}
		}
	})
	t.Run("roles that were not granted open nothing", func(t *testing.T) {
		for path, want := range map[string]int{"/refunds": 403, "/admin": 403} {
			if got, _, _ := h.get(t, "GET", h.at("app.localhost", path), map[string]string{"Cookie": sessionCookie + "=" + first}); got != want {
				t.Errorf("%s: %d, want %d", path, got, want)
			}
		}
	})
	t.Run("scripts get 401, pages are led to sign in", func(t *testing.T) {
		status, fields, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Sec-Fetch-Mode": "cors", "Accept": "text/html"})
		if status != 401 || fields.Get("WWW-Authenticate") == "" || fields.Get("Location") != "" {
			t.Errorf("a script: %d %v", status, fields)
		}
		status, fields, _ = h.get(t, "GET", h.at("app.localhost", "/orders?page=%2F%2Fevil.example"), map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"})
		if status != 303 || fields.Get("Location") != "/.gatehouse/sign-in?to=%2Forders%3Fpage%3D%2F%2Fevil.example" {
			t.Errorf("a page: %d %v", status, fields)
		}
	})
	t.Run("pages of other origins change nothing", func(t *testing.T) {
		for name, f := range map[string]map[string]string{
			"another site":        {"Sec-Fetch-Site": "cross-site"},
			"a neighbour":         {"Sec-Fetch-Site": "same-site"},
			"an old browser":      {"Origin": "https://evil.example"},
			"a page of no origin": {"Origin": "null"},
		} {
			f["Cookie"], f["Content-Type"], f["body"] = sessionCookie+"="+first, "application/x-www-form-urlencoded", "a=b"
			if status, _, body := h.get(t, "POST", h.at("app.localhost", "/orders"), f); status != 403 || !strings.Contains(body, "bad_origin") {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
		status, _, body := h.get(t, "POST", h.at("app.localhost", "/orders"), map[string]string{"Cookie": sessionCookie + "=" + first, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", "body": "{}"})
		if status != 200 {
			t.Errorf("a page of this very host: %d %s", status, body)
		}
	})
	t.Run("cookies that don't hold are no anonymous callers", func(t *testing.T) {
		id, secret, _ := strings.Cut(first, ".")
		for name, c := range map[string]string{
			"another secret": sessionCookie + "=" + id + "." + strings.Repeat("A", 43), "another id": sessionCookie + "=" + strings.Repeat("A", 24) + "." + secret,
			"cut": sessionCookie + "=" + first[:len(first)-1], "empty": sessionCookie + "=", "a word": sessionCookie + "=x",
		} {
			if status, fields, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Cookie": c}); status != 401 || name != "another secret" && !strings.Contains(fields.Get("Set-Cookie"), "Max-Age=0") { // that one may be of a moment ago
				t.Errorf("%s: %d %v", name, status, fields)
			}
		}
		if status, _, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Cookie": sessionCookie + "=" + first + "; " + sessionCookie + "=" + first}); status != 400 && status != 401 {
			t.Errorf("two: %d", status)
		}
	})

	list := h.cli(t, "session", "list")
	if !strings.Contains(list, "alice") || strings.Count(list, "\n") != 2 {
		t.Errorf("the list is\n%s", list)
	}
	b.do("the portal's own page", chromedp.Navigate(h.at("login.localhost", "/")), chromedp.WaitVisible(".sessions"))
	b.shot("portal-home")
	b.do("sign out", chromedp.Click(".sessions button"), chromedp.WaitNotPresent(".sessions"))
	for host, c := range map[string]string{"app.localhost": first, "other.localhost": other} {
		if status, _, _ := h.get(t, "GET", h.at(host, "/orders"), map[string]string{"Cookie": sessionCookie + "=" + c}); status != 401 {
			t.Errorf("after signing out %s answers %d", host, status)
		}
	}
	if where := b.where(); !strings.HasPrefix(where, h.issuer+"/session/end") {
		t.Errorf("signing out leads to %s", where)
	}
	h.tellDenials(t)
	h.sound(t)
}

// A login that somebody else began, or that has been used, opens nothing; nobody is led to a place that the document doesn't name
// (rows E12 to E15 and E34).
func TestSignOnAttacks(t *testing.T) {
	t.Parallel()
	h := settleSignOn(t, "5m")
	victim, attacker := h.chromium(t), h.chromium(t)
	word := func(b *browser) string { return read(b, chromedp.Text("main")) }

	// The attacker signs in, and keeps the address with which the provider leads back from being visited.
	callback := h.intercepted(attacker, "*/callback/*", func() {
		attacker.do("sign in", chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("mallory"))
	})
	victim.do("the attacker's answer in the victim's browser", chromedp.Navigate(callback), chromedp.WaitVisible("main"))
	if text := word(victim); !strings.Contains(text, "began in another browser") {
		t.Errorf("the victim reads: %s", text)
	}
	victim.shot("portal-problem")
	if victim.cookie(h.at("login.localhost", "/"), sessionCookie) != "" {
		t.Error("the victim has the attacker's session")
	}
	attacker.do("the answer in its own browser", chromedp.Navigate(callback), chromedp.WaitVisible("#who"))
	attacker.do("and once more", chromedp.Navigate(callback), chromedp.WaitVisible("main"))
	if text := word(attacker); !strings.Contains(text, "finished before") {
		t.Errorf("a used login: %s", text)
	}

	// The code that carries a session to a host is for the browser that began there, once.
	back := h.intercepted(attacker, "*/.gatehouse/return*", func() {
		attacker.do("another host", chromedp.Navigate(h.at("other.localhost", "/orders")))
	})
	victim.do("begin there", chromedp.Navigate(h.at("other.localhost", "/orders")), chromedp.WaitVisible("input[name=login]"))
	victim.do("the attacker's code in the victim's browser", chromedp.Navigate(back), chromedp.WaitVisible("main"))
	if text := word(victim); !strings.Contains(text, "began in another browser") || victim.cookie(h.at("other.localhost", "/"), sessionCookie) != "" {
		t.Errorf("the victim reads: %s", text)
	}
	attacker.do("its own code, which another browser has shown", chromedp.Navigate(back), chromedp.WaitVisible("main"))
	if text := word(attacker); !strings.Contains(text, "finished before") {
		t.Errorf("a used code: %s", text)
	}
	attacker.do("begin again", chromedp.Navigate(h.at("other.localhost", "/orders")), chromedp.WaitVisible("#who"))

	// Who signs in in a browser that has another's session gets a session of their own.
	before := attacker.cookie(h.at("login.localhost", "/"), sessionCookie)
	attacker.do("another user", chromedp.Navigate(h.issuer+"/session/end"), chromedp.Click("button[name=logout]"), chromedp.WaitNotPresent("button[name=logout]"))
	h.cli(t, "session", "end", "--all", "--why", "a test") // the provider may have ended it before
	attacker.do("sign in again", chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("bob"), chromedp.WaitVisible("#who"))
	if got := read(attacker, chromedp.Text("#who")); got != "bob" {
		t.Errorf("signed in as %s", got)
	}
	if status, _, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Cookie": sessionCookie + "=" + before}); status != 401 {
		t.Errorf("what was ended answers %d", status)
	}

	t.Run("nobody is led away", func(t *testing.T) {
		for _, to := range []string{"//evil.example", "/\\evil.example", "https:evil.example", "https:///evil.example", "http://a@evil.example", "\t//evil.example",
			"javascript:alert(1)", "/..//evil.example", "/%2F%2Fevil.example", "/orders\r\nSet-Cookie: a=b", "", "orders", "/orders#//evil", strings.Repeat("/a", 1500)} {
			status, fields, body := h.get(t, "GET", h.at("app.localhost", "/.gatehouse/sign-in?to=")+strings.NewReplacer("\\", "%5C", "\t", "%09", "\r", "%0D", "\n", "%0A", " ", "%20", "#", "%23").Replace(to), nil)
			location := fields.Get("Location")
			if status == 400 {
				continue // its form is refused
			}
			if status != 303 || !strings.HasPrefix(location, h.at("login.localhost", "/")) || len(location) > 4000 {
				t.Errorf("%.60q: %d, led to %.100s (%d): %s", to, status, location, len(location), body)
			}
		}
		status, _, _ := h.get(t, "GET", h.at("login.localhost", "/sign-in?to="+strings.Repeat("A", 100)), nil)
		if status != 400 {
			t.Errorf("a note that was not made here: %d", status)
		}
	})
	t.Run("what is said of a login must be ours", func(t *testing.T) {
		for _, path := range []string{"/callback/corp", "/callback/corp?code=x", "/callback/corp?code=x&state=" + strings.Repeat("A", 100), "/callback/nobody?code=x&state=y",
			"/callback/corp?error=access_denied", "/callback/corp?code=a&code=b&state=c"} {
			if status, fields, _ := h.get(t, "GET", h.at("login.localhost", path), nil); status < 400 || fields.Get("Location") != "" {
				t.Errorf("%s: %d %v", path, status, fields)
			}
		}
	})
	t.Run("nothing else is at the portal", func(t *testing.T) {
		for _, path := range []string{"/orders", "/.gatehouse/sign-in", "/admin", "/pages/head.html"} {
			if status, _, _ := h.get(t, "GET", h.at("login.localhost", path), nil); status != 404 {
				t.Errorf("%s: %d", path, status)
			}
		}
		for _, fields := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}} {
			fields["Content-Type"], fields["body"] = "application/x-www-form-urlencoded", "session="+strings.Repeat("A", 24)
			for _, path := range []string{"/sign-out", "/sessions/end"} {
				f := maps.Clone(fields)
				if path == "/sign-out" {
					delete(f, "body")
					delete(f, "Content-Type")
				}
				if status, got, _ := h.get(t, "POST", h.at("login.localhost", path), f); status != 303 || !strings.HasSuffix(got.Get("Location"), "/problem/foreign") {
					t.Errorf("%s %v: %d %v", path, f, status, got)
				}
			}
		}
	})
	h.sound(t)
}

// Local users are invited, choose their password and sign in; what guesses is slowed down, and what the operator changes holds at
// once.
func TestLocalUsers(t *testing.T) {
	t.Parallel()
	document := strings.NewReplacer("providers: [corp]", "providers: [corp, local]", "  sessions: {confirm", "  local: {title: An account of this service}\n  sessions: {confirm").Replace(signOnDocument)
	h := settleSignOnBy(t, document, "5m")
	invite := func(args ...string) string {
		out := h.cli(t, append([]string{"user"}, args...)...)
		link := ""
		for _, line := range strings.Split(out, "\n") {
			if strings.HasPrefix(line, "https://") {
				link = line
			}
		}
		if !strings.HasPrefix(link, h.at("login.localhost", "/invitation/")) {
			t.Fatalf("no link in\n%s", out)
		}
		return link
	}
	link := invite("invite", "Frank", "--role", "shop-customer")
	b := h.chromium(t)
	const password = "plenty of words here"
	b.do("open the invitation", chromedp.Navigate(link), chromedp.WaitVisible("#again"))
	b.shot("portal-invitation")
	b.do("two that differ", chromedp.SendKeys("#password", password), chromedp.SendKeys("#again", password+"!"), chromedp.Click("form button"), chromedp.WaitVisible(".problem"))
	if text := read(b, chromedp.Text(".problem")); !strings.Contains(text, "not the same") {
		t.Errorf("reads: %s", text)
	}
	b.do("choose it", chromedp.SendKeys("#password", password), chromedp.SendKeys("#again", password), chromedp.Click("form button"), chromedp.WaitVisible(".sessions"))
	b.do("the link again", chromedp.Navigate(link), chromedp.WaitVisible("footer code"))
	if text := read(b, chromedp.Text("main")); !strings.Contains(text, "used before") {
		t.Errorf("a used invitation: %s", text)
	}
	b.do("the application", chromedp.Navigate(h.at("app.localhost", "/orders")), chromedp.WaitVisible("#who"))
	if got := h.seen.last().Header; got.Get("Gatehouse-Issuer") != h.at("login.localhost", "") || got.Get("Gatehouse-Roles") != "shop-customer" || got.Get("Gatehouse-Subject") == "frank" {
		t.Errorf("the server behind learns %v", got)
	}
	if list := h.cli(t, "user", "list"); !strings.Contains(list, "frank") || !strings.Contains(list, "in use") {
		t.Errorf("the list:\n%s", list)
	}

	other := h.chromium(t)
	other.do("another browser", chromedp.Navigate(h.at("app.localhost", "/orders?page=7")), chromedp.WaitVisible("nav"))
	other.shot("portal-choose")
	other.do("the local account", chromedp.Click(`nav a[href*="/local"]`), chromedp.WaitVisible("#password"), chromedp.SendKeys("#name", "FRANK"),
		chromedp.SendKeys("#password", "wrong"), chromedp.Click("form button"), chromedp.WaitVisible(".problem"))
	other.shot("portal-local")
	for range 12 {
		other.do("guess", chromedp.SendKeys("#password", "wrong"), chromedp.Click("form button"), chromedp.Sleep(100*time.Millisecond), chromedp.WaitVisible(".problem"))
	}
	if text := read(other, chromedp.Text(".problem")); !strings.Contains(text, "too many tries") {
		t.Errorf("after many guesses: %s", text)
	}
	b.do("the user's own browser, signed out", chromedp.Navigate(h.at("login.localhost", "/")), chromedp.Click(".sessions button"), chromedp.WaitNotPresent(".sessions"),
		chromedp.Navigate(h.at("app.localhost", "/orders")), chromedp.Click(`nav a[href*="/local"]`), chromedp.WaitVisible("#password"),
		chromedp.SendKeys("#name", "frank"), chromedp.SendKeys("#password", password), chromedp.Click("form button"), chromedp.WaitVisible("#who"))

	value := b.cookie(h.at("app.localhost", "/"), sessionCookie)
	answers := func(path string) int {
		status, _, _ := h.get(t, "GET", h.at("app.localhost", path), map[string]string{"Cookie": sessionCookie + "=" + value})
		return status
	}
	if got := answers("/orders"); got != 200 {
		t.Errorf("%d before", got)
	}
	if out := h.cli(t, "user", "roles", "frank", "--role", "shop-support"); !strings.Contains(out, "1 session ended") {
		t.Errorf("%s", out)
	}
	if got := answers("/orders"); got != 401 {
		t.Errorf("%d after the roles were changed", got)
	}
	b.do("sign in again", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.Click(`nav a[href*="/local"]`), chromedp.WaitVisible("#password"),
		chromedp.SendKeys("#name", "frank"), chromedp.SendKeys("#password", password), chromedp.Click("form button"), chromedp.WaitVisible("#who"))
	value = b.cookie(h.at("app.localhost", "/"), sessionCookie)
	h.cli(t, "user", "remove", "frank", "--why", "a test")
	if got := answers("/refunds"); got != 401 {
		t.Errorf("%d after the user was removed", got)
	}

	status, got, _ := h.get(t, "POST", h.at("login.localhost", "/sign-in/local"), map[string]string{"Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded", "body": "to=a&name=b&password=c"})
	if status != 303 || !strings.HasSuffix(got.Get("Location"), "/problem/foreign") {
		t.Errorf("a page of another site signs in: %d %v", status, got)
	}
	if data, err := os.ReadFile(filepath.Join(h.dir, "state", "gatehouse", "events", "current")); err == nil && strings.Contains(string(data), password) {
		t.Error("the password is in the events")
	}
	h.sound(t)
}

// Refunds take a second factor. A local user who comes by an invitation may add one, and shows it; who has stolen the password may
// not; a user of a provider without factors gets one by a permit; who loses it goes one road (rows E20, E21).
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	document := strings.NewReplacer("providers: [corp]", "providers: [corp, local]", "  sessions: {confirm", "  local: {}\n  sessions: {confirm",
		"    to: [", "    operations: {refunds: {step_up: {factor: true, max_age: 1h}}}\n    to: [").Replace(signOnDocument)
	h := settleSignOnBy(t, document, "5m")
	link := strings.TrimSpace(h.cli(t, "user", "invite", "grace", "--role", "shop-support,shop-customer"))
	link = link[strings.Index(link, "https://"):]
	b := h.chromium(t)
	const password = "plenty of words here"
	b.do("choose a password", chromedp.Navigate(link), chromedp.SendKeys("#password", password), chromedp.SendKeys("#again", password), chromedp.Click("form button"), chromedp.WaitVisible(".sessions"))
	b.do("what needs none", chromedp.Navigate(h.at("app.localhost", "/orders")), chromedp.WaitVisible("#who"))
	before := b.cookie(h.at("app.localhost", "/"), sessionCookie)
	status, fields, _ := h.get(t, "GET", h.at("app.localhost", "/refunds"), map[string]string{"Cookie": sessionCookie + "=" + before, "Sec-Fetch-Mode": "cors"})
	if challenge := fields["Www-Authenticate"]; status != 401 || len(challenge) == 0 || !strings.Contains(challenge[0], "insufficient_user_authentication") || !strings.Contains(challenge[0], "max_age=3600") {
		t.Errorf("a script: %d %q", status, challenge)
	}
	b.do("what needs one", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.WaitVisible("img"))
	b.shot("portal-enrol")
	secret := strings.ReplaceAll(read(b, chromedp.Text("p.middle code")), " ", "")
	code := func(later time.Duration) string {
		c, err := totp.GenerateCode(secret, time.Now().Add(later))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	b.do("a wrong code", chromedp.SendKeys("#code", "000000"), chromedp.Click("form button"), chromedp.WaitVisible(".problem"))
	b.do("the right one", chromedp.SendKeys("#code", code(-30*time.Second)), chromedp.Click("form button"), chromedp.WaitVisible(".codes"))
	b.shot("portal-recovery")
	recovery := read(b, chromedp.Text(".codes li"))
	b.do("go on", chromedp.Click("main a.button"), chromedp.WaitVisible("#who"))
	if where := b.where(); where != h.at("app.localhost", "/refunds") {
		t.Errorf("led to %s", where)
	}
	if status, _, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Cookie": sessionCookie + "=" + before}); status != 401 {
		t.Errorf("the cookie of before the second factor answers %d", status)
	}

	thief := h.chromium(t)
	thief.do("with the stolen password", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.Click(`nav a[href*="/local"]`), chromedp.SendKeys("#name", "grace"),
		chromedp.SendKeys("#password", password), chromedp.Click("form button"), chromedp.WaitVisible("#code"))
	thief.shot("portal-factor")
	thief.do("a guess", chromedp.SendKeys("#code", "123456"), chromedp.Click("form button"), chromedp.WaitVisible(".problem"))
	thief.do("another app in its place", chromedp.Navigate(h.at("login.localhost", "/factor/enrol")), chromedp.WaitVisible("footer code"))
	if text := read(thief, chromedp.Text("main")); !strings.Contains(text, "one of your recovery codes") {
		t.Errorf("the thief reads: %s", text)
	}
	thief.do("a recovery code of the user's, in another browser", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.WaitVisible("#code"),
		chromedp.SendKeys("#code", strings.ToUpper(recovery)), chromedp.Click("form button"), chromedp.WaitVisible("#who"))

	h.cli(t, "user", "factor", "grace", "--remove", "--why", "phone lost")
	b.do("after it was removed", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.Click(`nav a[href*="/local"]`), chromedp.SendKeys("#name", "grace"),
		chromedp.SendKeys("#password", password), chromedp.Click("form button"), chromedp.WaitNotPresent("#password"), chromedp.WaitVisible("footer code"))
	if text := read(b, chromedp.Text("main")); !strings.Contains(text, "your account has none") {
		t.Errorf("reads: %s", text)
	}

	other := h.chromium(t)
	other.do("a user of the provider", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.Click(`nav a[href*="/corp"]`), signIn("support-1"), chromedp.WaitVisible("footer code"))
	h.cli(t, "user", "factor", "support-1", "--provider", "corp", "--allow", "1h")
	other.do("with a permit", chromedp.Navigate(h.at("app.localhost", "/refunds")), chromedp.WaitVisible("img"))
	secret = strings.ReplaceAll(read(other, chromedp.Text("p.middle code")), " ", "")
	other.do("enrol", chromedp.SendKeys("#code", code(0)), chromedp.Click("form button"), chromedp.WaitVisible(".codes"), chromedp.Click("main a.button"), chromedp.WaitVisible("#who"))
	if got := h.seen.last().Header.Get("Gatehouse-Subject"); got != "support-1" {
		t.Errorf("refunded by %s", got)
	}
	h.sound(t)
}

// tell tells the provider how to behave.
func (h *signOnHouse) tell(t *testing.T, path string) {
	t.Helper()
	a, err := http.Get(h.issuer + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
}

// A provider that refuses, hangs, changes its keys or says nonsense: the user reads what to do, and nothing opens.
func TestSignOnTrouble(t *testing.T) {
	t.Parallel()
	h := settleSignOn(t, "5m", "PAR=off")
	b := h.chromium(t)
	reads := func(what, want string) {
		t.Helper()
		b.do(what, chromedp.WaitVisible("footer code"))
		if text := read(b, chromedp.Text("main")); !strings.Contains(text, want) || !strings.HasPrefix(b.where(), h.at("login.localhost", "/")) {
			t.Errorf("%s: %s reads: %s", what, b.where(), text)
		}
		if b.cookie(h.at("login.localhost", "/"), sessionCookie) != "" {
			t.Errorf("%s: a session was opened", what)
		}
	}
	b.do("begin", chromedp.Navigate(h.at("app.localhost", "/orders")), chromedp.WaitVisible("input[name=login]"),
		chromedp.Click(`a[href$="/abort"]`))
	reads("cancelled", "did not let you in")
	b.shot("portal-denied")

	h.tell(t, "/hang")
	b.do("begin again", chromedp.Click("main a.button"), signIn("carol"))
	reads("the provider hangs", "can't be reached")
	h.tell(t, "/go-on")

	b.do("claims that make no sense", chromedp.Navigate(h.issuer+"/session/end"), chromedp.Click("button[name=logout]"), chromedp.WaitNotPresent("button[name=logout]"),
		chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("liar"))
	reads("claims that make no sense", "can't be believed")

	h.tell(t, "/rotate")
	b.do("keys were changed", chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("dave"), chromedp.WaitVisible("#who"))
	if got := read(b, chromedp.Text("#who")); got != "dave" {
		t.Errorf("signed in as %s", got)
	}
	h.sound(t)
}

// A provider whose clock is wrong by less than is tolerated works; by more, what it signs is not believed.
func TestSignOnClock(t *testing.T) {
	t.Parallel()
	for skew, works := range map[string]bool{"20": true, "-20": true, "120": false, "-1200": false} {
		t.Run(skew+"s", func(t *testing.T) {
			t.Parallel()
			h := settleSignOn(t, "5m", "SKEW="+skew)
			b := h.chromium(t)
			b.do("sign in", chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("alice"), chromedp.WaitVisible("#who, footer code"))
			if there := strings.HasPrefix(b.where(), h.at("app.localhost", "/orders")); there != works {
				t.Errorf("led to %s", b.where())
			}
		})
	}
}

// Sessions end when the provider says so: by the back channel at once, or when it is asked again; and logins in two tabs that began
// together both end well.
func TestSignOnEnds(t *testing.T) {
	t.Parallel()
	h := settleSignOn(t, "10s")
	b := h.chromium(t)
	other := b.tab()
	b.do("begin", chromedp.Navigate(h.at("app.localhost", "/orders?page=1")), chromedp.WaitVisible("input[name=login]"))
	other.do("begin in another tab", chromedp.Navigate(h.at("app.localhost", "/orders?page=2")), chromedp.WaitVisible("input[name=login]"))
	b.do("sign in", signIn("alice"), chromedp.WaitVisible("#who"))
	other.do("sign in there", chromedp.SendKeys("input[name=login]", "alice"), chromedp.SendKeys("input[name=password]", "any"),
		chromedp.Click("button[type=submit]"), chromedp.WaitVisible("#who")) // to which the provider asks for no consent again
	if got := other.where(); got != h.at("app.localhost", "/orders?page=2") {
		t.Errorf("the other tab is at %s", got)
	}
	if list := h.cli(t, "session", "list"); strings.Count(list, "alice") != 1 {
		t.Errorf("one browser, one user:\n%s", list)
	}
	b.do("the first tab goes on", chromedp.Navigate(h.at("app.localhost", "/orders?page=3")), chromedp.WaitVisible("#who"))

	value := b.cookie(h.at("app.localhost", "/"), sessionCookie)
	answers := func() int {
		status, _, _ := h.get(t, "GET", h.at("app.localhost", "/orders"), map[string]string{"Cookie": sessionCookie + "=" + value})
		return status
	}
	if got := answers(); got != 200 {
		t.Fatalf("%d before", got)
	}
	b.do("sign out at the provider", chromedp.Navigate(h.issuer+"/session/end"), chromedp.Click("button[name=logout]"), chromedp.WaitNotPresent("button[name=logout]"))
	for deadline := time.Now().Add(30 * time.Second); answers() != 401; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session outlives the provider's")
		}
	}

	b.do("sign in as another", chromedp.Navigate(h.at("app.localhost", "/orders")), signIn("erin"), chromedp.WaitVisible("#who"))
	value = b.cookie(h.at("app.localhost", "/"), sessionCookie)
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(time.Second) { // it is asked again, and says yes
		if got := answers(); got != 200 {
			t.Fatalf("%d while the provider lets the user in", got)
		}
	}
	h.tell(t, "/close/erin")
	began := time.Now()
	for answers() != 401 {
		if time.Since(began) > 40*time.Second {
			t.Fatal("the session outlives the account")
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("a closed account was shut out after %s", time.Since(began).Round(time.Second))
	if list := h.cli(t, "session", "list", "--all"); !strings.Contains(list, "ended by corp") {
		t.Errorf("the list does not say who ended it:\n%s", list)
	}
	h.sound(t)
}

// intercepted gives the address that a browser was about to visit when it did something; it doesn't visit it.
func (h *signOnHouse) intercepted(b *browser, pattern string, something func()) string {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: pattern}}}); err != nil {
		b.t.Fatal(err)
	}
	found := make(chan string, 1)
	ctx, end := context.WithCancel(b.ctx)
	defer end()
	go func() {
		for e, err := range chromedp.Events(ctx, fetch.RequestPaused) {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(b.ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: e.RequestID, ResponseCode: 200, Body: []byte("stopped")})
			select {
			case found <- e.Request.URL:
			default:
			}
		}
	}()
	something()
	var url string
	select {
	case url = <-found:
	case <-time.After(20 * time.Second):
		b.t.Fatalf("nothing was about to visit %s", pattern)
	}
	if _, err := chromedp.Call(b.ctx, fetch.Disable, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	return url
}

// shot writes pictures for people, when GATEHOUSE_PICTURES names a folder.
func (b *browser) shot(name string) {
	b.t.Helper()
	folder := os.Getenv("GATEHOUSE_PICTURES")
	if folder == "" {
		return
	}
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1000}, {"dark", "dark", 1000}, {"narrow", "light", 360}} {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}})
		if err != nil {
			b.t.Fatal(err)
		}
		b.do("resize", chromedp.EmulateViewport(look.width, 700))
		if err := os.WriteFile(filepath.Join(folder, name+"-"+look.name+".png"), read(b, chromedp.CaptureScreenshot()), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	b.do("as before", chromedp.ResetViewport())
}
