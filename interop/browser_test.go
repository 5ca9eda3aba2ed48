package interop

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const browserContract = `openapi: 3.1.0
info: {title: shop, version: "1"}
components: {securitySchemes: {login: {type: http, scheme: bearer}}}
paths:
  /notes:
    get:
      operationId: find
      parameters: [{name: q, in: query, schema: {type: string}}]
      responses: {"200": {description: ok}}
    post:
      operationId: add
      security: [{login: []}]
      x-gatehouse-roles: [customer]
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {text: {type: string}}}}}}
      responses: {"200": {description: ok}}
  /pictures:
    post:
      operationId: addPicture
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema: {type: object, properties: {title: {type: string}, file: {type: string, format: binary}}}
      responses: {"200": {description: ok}}
  /session: {get: {operationId: signIn, responses: {"200": {description: ok}}}}
  /socket: {get: {operationId: socket, x-gatehouse-stream: websocket, responses: {"101": {description: ok}}}}
  /events: {get: {operationId: events, x-gatehouse-stream: sse, responses: {"200": {description: ok}}}}
`

// PAGE stands for the origin that is listed: scheme, host and port of the page.
const browserDocument = `listen: {at: ["ADDRESS"], admin: "http://127.0.0.1:0", certificates: [CERTIFICATE]}
guards: {identity: {development: {accept_risk: a test of browsers}}}
apis:
  - name: shop
    base: /shop
    contract: contract.yaml
    to: ["SERVER"]
    cors: {origins: ["PAGE"], credentials: true, expose: [RateLimit, Vary]}
    operations: &operations
      find: {public: true}
      addPicture: {public: true}
      signIn: {public: true}
      events: {public: true}
      socket: {public: true, stream: {kind: websocket, origins: ["PAGE"]}}
  - {name: open, base: /open, contract: contract.yaml, to: ["SERVER"], cors: {origins: ["*"]}, operations: OPERATIONS}
  - {name: closed, base: /closed, contract: contract.yaml, to: ["SERVER"], operations: OPERATIONS}
`

// counted is the server behind, which says everything that it should not: the gateway alone speaks of origins.
type counted struct {
	sync.Mutex
	methods map[string]int
}

func (c *counted) serve(w http.ResponseWriter, r *http.Request) {
	c.Lock()
	c.methods[r.Method]++
	c.Unlock()
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "X-Internal")
	w.Header().Set("X-Internal", "not for scripts")
	switch r.URL.Path {
	case "/session":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s3", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
		_, _ = io.WriteString(w, "{}")
	case "/socket":
		s, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer s.CloseNow()
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		kind, message, err := s.Read(ctx)
		if err == nil {
			_ = s.Write(ctx, kind, append(message, " from behind"...))
			_, _, _ = s.Read(ctx)
		}
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		if last := r.Header.Get("Last-Event-Id"); last != "" {
			_, _ = fmt.Fprintf(w, "id: 3\ndata: after %s\n\n", last)
			return
		}
		_, _ = io.WriteString(w, "retry: 50\nid: 1\ndata: one\n\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "id: 2\ndata: two\n\n")
	default:
		echo(w, r)
	}
}

// outcome is what a script learnt of one call.
type outcome struct {
	Status            int
	Fields            map[string]string
	JSON              json.RawMessage
	Failed            string
	Message, Protocol string
}

// TestBrowser lets pages of two origins call the gateway from Chromium. What CORS means is decided there and nowhere
// else: a gateway that sends the right fields to curl has proved nothing. The websocket is row D16.
func TestBrowser(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("clients/page.html")
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan map[string]outcome, 1)
	// Over TLS, since to a browser https://localhost is another site than http://localhost, and gets no cookies from there.
	pages := certificate(t, t.TempDir())
	origin := behindTLS(t, pages, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write(page)
		case "/results":
			var said map[string]outcome
			if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
				t.Errorf("results: %v", err)
			}
			results <- said
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(origin, "https://"), ":")
	listed, stranger := "https://localhost:"+port, "https://127.0.0.1:"+port

	server := &counted{methods: map[string]int{}}
	document := browserDocument
	operations := "{find: {public: true}, addPicture: {public: true}, signIn: {public: true}, events: {public: true}, socket: {public: true}}"
	document = strings.NewReplacer("PAGE", listed, "&operations", "", "OPERATIONS", operations).Replace(document)
	h := settle(t, browserContract, document, behind(t, server.serve))
	t.Cleanup(func() { h.tellDenials(t) })
	token := h.token(t, "--as", "alice", "--role", "customer")

	visit := func(origin string) map[string]outcome {
		browse(t, []string{h.ca, pages}, origin+"/?"+url.Values{"gateway": {h.url}, "token": {token}}.Encode())
		select {
		case r := <-results:
			return r
		case <-time.After(60 * time.Second):
			t.Fatal("the page in Chromium never told its results")
		}
		return nil
	}
	t.Run("listed", func(t *testing.T) {
		fromListed(t, visit(listed), listed)
		asked := 0
		for _, e := range h.events(t) {
			if e.Request.Method != http.MethodOptions {
				continue
			}
			if e.Decision.Verdict == "deny" { // after which it forgets what it may
				break
			}
			asked++
		}
		if asked != 1 {
			t.Errorf("the browser asked %d times whether it may write; it should remember the answer", asked)
		}
	})
	server.Lock()
	before := server.methods["POST"]
	server.Unlock()
	t.Run("stranger", func(t *testing.T) { fromStranger(t, visit(stranger)) })
	server.Lock()
	defer server.Unlock()
	if server.methods["OPTIONS"] != 0 {
		t.Errorf("%d preflights reached the server; the gateway answers them", server.methods["OPTIONS"])
	}
	if now := server.methods["POST"]; now != before+1 { // the form, which needs no preflight
		t.Errorf("%d calls of a stranger that needed a preflight reached the server", now-before-1)
	}
	h.sound(t)
}

// browse opens a page in a Chromium of its own, which trusts the certificates in the files, until the test ends.
func browse(t *testing.T, trusted []string, page string) {
	t.Helper()
	keys := make([]string, len(trusted))
	for i, file := range trusted {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		keys[i] = base64.StdEncoding.EncodeToString(key[:])
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-proxy-server",
		"--ignore-certificate-errors-spki-list="+strings.Join(keys, ","), "--user-data-dir="+profile, "--remote-debugging-port=0", page)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var told strings.Builder
	c.Stderr = &told
	if err := c.Start(); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // it has children
		_ = c.Wait()
		_ = os.RemoveAll(profile)
		if t.Failed() {
			t.Logf("chromium said %.2000s", told.String())
		}
	})
}

// want holds an outcome against what it should be.
func want(t *testing.T, results map[string]outcome, name string, status int) outcome {
	t.Helper()
	got, ok := results[name]
	switch {
	case !ok:
		t.Errorf("%s: no result", name)
	case status == 0 && got.Failed == "":
		t.Errorf("%s: the script learnt %d %s, and should learn nothing", name, got.Status, got.JSON)
	case status != got.Status:
		t.Errorf("%s: %d %s %s, want %d", name, got.Status, got.Failed, got.JSON, status)
	}
	return got
}

func fromListed(t *testing.T, results map[string]outcome, origin string) {
	seen := func(o outcome) (s said) { _ = json.Unmarshal(o.JSON, &s); return s }
	read := want(t, results, "read", 200)
	if read.Fields["ratelimit"] == "" || read.Fields["x-internal"] != "" {
		t.Errorf("fields that a script can read: %v", read.Fields)
	}
	if !strings.Contains(read.Fields["vary"], "Origin") {
		t.Errorf("Vary: %q", read.Fields["vary"])
	}
	if s := seen(read); s.Target != "/notes?q=two%20words%7C%5Bx%5D%7By%7D%5E%60%27" || s.Fields.Get("Origin") != origin {
		t.Errorf("read: %+v", s)
	}
	if s := seen(want(t, results, "write", 200)); s.Body != `{"text":"Zoë"}` || s.Fields.Get("Gatehouse-Subject") != "alice" || s.Fields.Get("Authorization") != "" {
		t.Errorf("write: %+v", s)
	}
	want(t, results, "write again", 200)
	want(t, results, "write without a token", 401)
	want(t, results, "a field that is not listed", 0)
	want(t, results, "a method that is not declared", 0)
	if d := want(t, results, "a denial", 400); !strings.Contains(string(d.JSON), `"code":"invalid_input"`) {
		t.Errorf("a denial that scripts may read: %s", d.JSON)
	}
	if s := seen(want(t, results, "a form with a file", 200)); !strings.Contains(s.Body, "not really a picture") || !strings.Contains(s.Body, `filename="Zoë 1.txt"`) {
		t.Errorf("form: %+v", s)
	}
	want(t, results, "a form with a quote in a file's name", 403) // rule 920120 of the CRS, at every paranoia
	want(t, results, "text that poses as JSON", 415)
	want(t, results, "sign in", 200)
	if s := seen(want(t, results, "with cookies", 200)); s.Cookie != "session=s3" {
		t.Errorf("cookie at the server: %q", s.Cookie)
	}
	if s := seen(want(t, results, "without cookies", 200)); s.Cookie != "" {
		t.Errorf("cookie at the server, unasked: %q", s.Cookie)
	}
	closedToScripts(t, results)
	if s := results["socket"]; s.Message != "hello from behind" || s.Protocol != "chat" {
		t.Errorf("websocket: %+v", s)
	}
	if e := results["events"]; e.Message != "1:one 2:two 3:after 2" {
		t.Errorf("events: %+v", e)
	}
	if s := results["socket where none is declared"]; s.Failed == "" {
		t.Errorf("a websocket where none is declared: %+v", s)
	}
}

// closedToScripts is what holds for every origin.
func closedToScripts(t *testing.T, results map[string]outcome) {
	want(t, results, "sandbox", 0)
	want(t, results, "open", 200)
	want(t, results, "open, with cookies", 0)
	want(t, results, "closed", 0)
	want(t, results, "closed, writing", 0)
}

func fromStranger(t *testing.T, results map[string]outcome) {
	for _, name := range []string{
		"read", "write", "write again", "write without a token", "a field that is not listed", "a method that is not declared", "a denial", "a form with a file",
		"a form with a quote in a file's name", "text that poses as JSON", "sign in", "with cookies", "without cookies",
	} {
		want(t, results, name, 0)
	}
	closedToScripts(t, results)
	for _, name := range []string{"socket", "socket where none is declared", "events"} {
		if s := results[name]; s.Failed == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
