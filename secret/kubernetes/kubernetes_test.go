package kubernetes_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/kubernetes"
	"github.com/gatehouse-sec/gatehouse/secret/sourcetest"
)

const canary = "canary-3be2d4"

// cluster is a stand-in for the API of a cluster, written from its published reference, for one verb: reading a Secret.
type cluster struct {
	*testing.T
	mu      sync.Mutex
	secrets map[string]map[string]string
	version int
	token   string
	status  int // injected
	body    string
	folder  string
	address string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{T: t, secrets: map[string]map[string]string{}, token: canary + "-token", folder: t.TempDir()}
	web := httptest.NewTLSServer(c)
	t.Cleanup(web.Close)
	c.address = web.URL
	c.write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	c.write("token", c.token+"\n")
	return c
}

func (c *cluster) write(name, text string) {
	if err := os.WriteFile(filepath.Join(c.folder, name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) config() kubernetes.Config {
	return kubernetes.Config{Address: c.address, CA: filepath.Join(c.folder, "ca.crt"), TokenFile: filepath.Join(c.folder, "token")}
}

func (c *cluster) source() *kubernetes.Source {
	s, err := kubernetes.New(c.config(), kubernetes.Deps{})
	if err != nil {
		c.Fatal(err)
	}
	return s
}

func (c *cluster) put(place string, data map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.secrets[place] = data
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	say := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	refuse := func(status int, reason, message string) {
		say(status, map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure", "message": message, "reason": reason, "code": status})
	}
	place, isSecret := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	namespace, name, named := strings.Cut(place, "/secrets/")
	switch {
	case c.body != "":
		w.WriteHeader(c.status)
		fmt.Fprint(w, c.body)
	case c.status == -1:
		panic(http.ErrAbortHandler)
	case c.status != 0:
		refuse(c.status, "InternalError", canary)
	case r.Header.Get("Authorization") != "Bearer "+c.token:
		refuse(401, "Unauthorized", "Unauthorized")
	case r.Method != "GET" || !isSecret || !named || strings.Contains(name, "/") || r.URL.RawQuery != "" || r.ContentLength > 0:
		c.Errorf("the stand-in was asked what the published API doesn't have for this: %s %s", r.Method, r.URL)
		refuse(404, "NotFound", "the server could not find the requested resource")
	case namespace == "kube-system":
		refuse(403, "Forbidden", "secrets is forbidden: "+canary)
	case c.secrets[namespace+"/"+name] == nil:
		refuse(404, "NotFound", `secrets "`+name+`" not found`)
	default:
		data := map[string]string{}
		for key, text := range c.secrets[namespace+"/"+name] {
			data[key] = base64.StdEncoding.EncodeToString([]byte(text))
		}
		say(200, map[string]any{"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": data,
			"metadata": map[string]any{"name": name, "namespace": namespace, "uid": "x", "resourceVersion": fmt.Sprint(c.version), "creationTimestamp": "2026-01-01T00:00:00Z"}})
	}
}

func TestIsASource(t *testing.T) {
	for _, status := range []int{500, 503, 429, -1} {
		sourcetest.Run(t, func(t *testing.T) sourcetest.World {
			c := newCluster(t)
			return sourcetest.World{Source: c.source(), Place: "shop/db", Missing: "shop/none", Field: "password",
				Set: func(v string) { c.put("shop/db", map[string]string{"password": v + "\n", "other": "x", "empty": ""}) },
				Remove: func() {
					c.mu.Lock()
					defer c.mu.Unlock()
					delete(c.secrets, "shop/db")
				},
				Break: func(broken bool) {
					c.mu.Lock()
					defer c.mu.Unlock()
					if c.status = 0; broken {
						c.status = status
					}
				}}
		})
	}
}

// The service account's token is replaced by the cluster while the gateway runs.
func TestTheTokenIsReadAgain(t *testing.T) {
	c := newCluster(t)
	s := c.source()
	c.put("shop/db", map[string]string{"password": canary})
	if _, err := s.Fetch(t.Context(), "shop/db", ""); err != nil {
		t.Fatal(err)
	}
	c.token = canary + "-next"
	if _, err := s.Fetch(t.Context(), "shop/db", ""); err == nil || errors.Is(err, secret.ErrGone) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	c.write("token", c.token)
	if _, err := s.Fetch(t.Context(), "shop/db", ""); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	c := newCluster(t)
	s := c.source()
	if _, err := s.Fetch(t.Context(), "kube-system/db", ""); err == nil || errors.Is(err, secret.ErrGone) || !strings.Contains(err.Error(), "resourceNames [db]") || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	good := `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","namespace":"shop","resourceVersion":"7"},"data":{"a":"YQ=="}}`
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"no JSON": {200, "<html>" + canary}, "another kind": {200, strings.Replace(good, "Secret", "ConfigMap", 1)}, "another name": {200, strings.Replace(good, `"db"`, `"other"`, 1)},
		"another namespace": {200, strings.Replace(good, `"shop"`, `"other"`, 1)}, "no version": {200, strings.Replace(good, `"7"`, `""`, 1)}, "no base64": {200, strings.Replace(good, "YQ==", canary, 1)},
		"a proxy's 404": {404, "not here"}, "redirect": {302, good}, "odd reason": {500, `{"kind":"Status","reason":"` + canary + `"}`}, "too long": {200, strings.Repeat(" ", 5<<20) + good},
	} {
		c.status, c.body = answer.status, answer.body
		a, err := s.Fetch(t.Context(), "shop/db", "")
		if err == nil || a.Fields != nil || errors.Is(err, secret.ErrGone) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.status, c.body = 200, good
	if a, err := s.Fetch(t.Context(), "shop/db", ""); err != nil || string(a.Fields["a"].Reveal()) != "a" {
		t.Errorf("the good one: %v", err)
	}
}

func TestWrongConfigurations(t *testing.T) {
	c := newCluster(t)
	for path, change := range map[string]func(*kubernetes.Config){
		"address":    func(c *kubernetes.Config) { c.Address = "http://cluster.example.com" },
		" address":   func(c *kubernetes.Config) { c.Address = "cluster" },
		"  address":  func(c *kubernetes.Config) { c.Address = "https://u:p@cluster" },
		"ca":         func(c *kubernetes.Config) { c.CA = "/none/at/all" },
		" ca":        func(c *kubernetes.Config) { c.CA = c.TokenFile },
		"token_file": func(c *kubernetes.Config) { c.TokenFile = "/none/at/all" },
	} {
		cfg := c.config()
		change(&cfg)
		_, err := kubernetes.New(cfg, kubernetes.Deps{})
		var list mistake.List
		if !errors.As(err, &list) || list[0].Path != strings.TrimSpace(path) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A certificate for another name is refused.
	cfg := c.config()
	cfg.Address = strings.Replace(cfg.Address, "127.0.0.1", "localhost", 1)
	s, err := kubernetes.New(cfg, kubernetes.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), "shop/db", ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate for another name: %v", err)
	}
}

// FuzzAnswer: whatever the API answers, nothing panics, and what is taken is a Secret of the right name.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","namespace":"shop","resourceVersion":"7"},"data":{"a":"YQ=="}}`, 200)
	f.Add(`{"kind":"Status","reason":"NotFound"}`, 404)
	var mu sync.Mutex
	var body string
	var status int
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	f.Cleanup(web.Close)
	token := filepath.Join(f.TempDir(), "token")
	_ = os.WriteFile(token, []byte("t"), 0o600)
	s, err := kubernetes.New(kubernetes.Config{Address: web.URL, TokenFile: token}, kubernetes.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, code int) {
		mu.Lock()
		body = text
		if status = 200 + max(code, -code)%400; status < 200 || status == 204 || status == 304 {
			status = 200
		}
		mu.Unlock()
		a, err := s.Fetch(t.Context(), "shop/db", "")
		if err == nil && (status != 200 || a.Version == "") || err != nil && a.Fields != nil {
			t.Errorf("%d %q: %v", status, text, err)
		}
	})
}
