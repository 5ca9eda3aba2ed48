// Package baotest is a stand-in for an OpenBao or Vault server, written from the published HTTP API, for tests only: both
// key-value engines, leases of a database-like engine, logins by AppRole and Kubernetes, life and death of tokens. It is
// strict where a real server is lenient: an unknown path, method, field or a body where none belongs is answered with an
// error and noted, so that a client that drifts from the published form is caught. It is not the real thing.
package baotest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is the stand-in. Its fields may be set before it is asked anything; use the methods afterwards.
type Server struct {
	Now        func() time.Time
	TokenTTL   time.Duration // of a login; 0: no end
	TokenMax   time.Duration // age at which a token can't be prolonged any more; 0: none
	LeaseTTL   time.Duration
	LeaseMax   time.Duration
	Namespace  string // what X-Vault-Namespace must say
	HideMounts bool   // sys/internal/ui/mounts is denied

	mu      sync.Mutex
	mounts  map[string]string // "secret" -> kv2, kv1, database
	kv      map[string][]version
	roles   map[string]string // role_id or Kubernetes role -> secret_id or JWT
	tokens  map[string]*token
	leases  map[string]*lease
	fail    func(r *http.Request) int
	strange []string
	calls   map[string]int
	count   int
}

type version struct {
	data    map[string]any
	created time.Time
	deleted bool
}

type token struct {
	began, ends time.Time
	renewable   bool
	denied      bool // policy allows nothing but the token's own affairs
}

type lease struct {
	token       string
	began, ends time.Time
	user        string
}

// New makes a server without mounts.
func New(now func() time.Time) *Server {
	return &Server{Now: now, TokenTTL: time.Hour, LeaseTTL: time.Hour, LeaseMax: 24 * time.Hour, mounts: map[string]string{}, kv: map[string][]version{},
		roles: map[string]string{}, tokens: map[string]*token{}, leases: map[string]*lease{}, calls: map[string]int{}}
}

// Start serves over TLS on loopback and gives the address and a file with the certificate to trust. At the end of the test
// everything strange that was asked is a failure.
func (s *Server) Start(t testing.TB) (address, caFile string) {
	t.Helper()
	web := httptest.NewTLSServer(s)
	t.Cleanup(func() {
		web.Close()
		for _, what := range s.Strange() {
			t.Errorf("the stand-in was asked what the published API doesn't have: %s", what)
		}
	})
	return web.URL, WriteCA(t, web.Certificate())
}

// WriteCA puts a certificate into a file of the test's and gives its path.
func WriteCA(t testing.TB, cert *x509.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Mount mounts an engine: kv1, kv2 or database.
func (s *Server) Mount(path, engine string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts[path] = engine
}

// Put writes a secret of a key-value engine.
func (s *Server) Put(path string, data map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv[path] = append(s.kv[path], version{data: data, created: s.Now()})
}

// Delete removes the newest version of a secret.
func (s *Server) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.kv[path]); n > 0 {
		s.kv[path][n-1].deleted = true
	}
}

// Role lets somebody log in: a role's id with its secret id, or a Kubernetes role with the service account's token.
func (s *Server) Role(name, proof string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[name] = proof
}

// Token makes a token.
func (s *Server) Token(ttl time.Duration, renewable bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(ttl, renewable)
}

// Deny lets every token read nothing any more, though it lives.
func (s *Server) Deny(denied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.denied = denied
	}
}

// EndTokens ends every token, and with it every lease.
func (s *Server) EndTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
	clear(s.leases)
}

// Fail lets requests fail with the status that f gives, while it isn't 0. Status -1 breaks the connection.
func (s *Server) Fail(f func(r *http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Users are the users of living leases.
func (s *Server) Users() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for id := range s.leases {
		if l := s.living(id); l != nil {
			all = append(all, l.user)
		}
	}
	slices.Sort(all)
	return all
}

// Tokens counts the living tokens.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := range s.tokens {
		if s.alive(id) != nil {
			n++
		}
	}
	return n
}

// Calls tells how often a path was asked, without its "/v1/".
func (s *Server) Calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[path]
}

// Strange lists what was asked that the published API doesn't have.
func (s *Server) Strange() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

func (s *Server) issue(ttl time.Duration, renewable bool) string {
	t := &token{began: s.Now(), renewable: renewable}
	if ttl > 0 {
		t.ends = s.Now().Add(ttl)
	}
	id := "hv" + "s." + random(24)
	s.tokens[id] = t
	return id
}

func random(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}

func (s *Server) alive(id string) *token {
	t := s.tokens[id]
	if t == nil || !t.ends.IsZero() && !s.Now().Before(t.ends) {
		return nil
	}
	return t
}

func (s *Server) living(id string) *lease {
	l := s.leases[id]
	if l == nil || !s.Now().Before(l.ends) || s.alive(l.token) == nil {
		return nil
	}
	return l
}

// call is one request as it was understood.
type call struct {
	w      http.ResponseWriter
	method string
	path   string
	id     string // of the token
	token  *token
	body   map[string]any
	query  string
}

// ServeHTTP answers one request of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	s.calls[path]++
	if s.fail != nil {
		switch status := s.fail(r); {
		case status == -1:
			panic(http.ErrAbortHandler)
		case status != 0:
			refuse(w, status, "injected")
			return
		}
	}
	c := call{w: w, method: r.Method, path: path, id: r.Header.Get("X-Vault-Token"), query: r.URL.RawQuery}
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	switch {
	case !ok:
		s.odd(c, "path "+r.URL.Path)
		return
	case len(text) > 0 && json.Unmarshal(text, &c.body) != nil:
		s.odd(c, "a body that is no JSON object")
		return
	case r.Header.Get("X-Vault-Request") != "true":
		s.odd(c, "no X-Vault-Request: true, which an agent in between demands")
		return
	case r.Header.Get("X-Vault-Namespace") != s.Namespace:
		refuse(w, http.StatusNotFound, "no handler for route")
		return
	case c.query != "":
		s.odd(c, "query "+c.query)
		return
	}
	if strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login") {
		s.login(c)
		return
	}
	if c.token = s.alive(c.id); c.token == nil {
		refuse(w, http.StatusForbidden, "permission denied", "invalid token")
		return
	}
	s.route(c)
}

func (s *Server) route(c call) {
	switch {
	case c.path == "auth/token/lookup-self":
		s.lookup(c)
	case c.path == "auth/token/renew-self":
		s.renewSelf(c)
	case c.path == "auth/token/revoke-self":
		s.revokeSelf(c)
	case c.path == "sys/leases/renew":
		s.renew(c)
	case c.path == "sys/leases/revoke":
		s.revoke(c)
	case c.token.denied:
		refuse(c.w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case strings.HasPrefix(c.path, "sys/internal/ui/mounts/"):
		s.mounted(c)
	default:
		s.read(c)
	}
}

// odd answers what no published form allows, and keeps it in mind.
func (s *Server) odd(c call, what string) {
	s.strange = append(s.strange, fmt.Sprintf("%s %s: %s", c.method, c.path, what))
	refuse(c.w, http.StatusBadRequest, "unsupported: "+what)
}

// takes checks method and members of the body.
func (s *Server) takes(c call, methods string, required, optional []string) bool {
	if !slices.Contains(strings.Fields(methods), c.method) {
		s.odd(c, "method")
		return false
	}
	if c.method == http.MethodGet && c.body != nil {
		s.odd(c, "a body")
		return false
	}
	for name := range c.body {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			s.odd(c, "member "+name)
			return false
		}
	}
	for _, name := range required {
		if _, ok := c.body[name]; !ok {
			s.odd(c, "no member "+name)
			return false
		}
	}
	return true
}

func refuse(w http.ResponseWriter, status int, errs ...string) {
	answer(w, status, map[string]any{"errors": errs})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// envelope is the form of every good answer.
func (s *Server) envelope(w http.ResponseWriter, more map[string]any) {
	all := map[string]any{"request_id": random(16), "lease_id": "", "renewable": false, "lease_duration": 0, "data": nil, "wrap_info": nil, "warnings": nil, "auth": nil}
	for name, value := range more {
		all[name] = value
	}
	answer(w, http.StatusOK, all)
}
