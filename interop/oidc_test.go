package interop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// provider is the OIDC provider from npm, on a port of its own.
func provider(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("oidc/node_modules/oidc-provider"); err != nil {
		t.Fatal("the provider is not installed; run: npm ci --prefix interop/oidc")
	}
	port := strconv.Itoa(loopback.Port())
	start(t, []string{"PORT=" + port}, "ready", node(), "oidc/provider.mjs")
	return "http://127.0.0.1:" + port
}

// node is the Node.js that came with the provider, which wants a newer one than distributions have; else the system's.
func node() string {
	own, err := filepath.Glob("oidc/node_modules/node-*/bin/node")
	if err != nil || len(own) == 0 {
		return "node"
	}
	return own[0]
}

// start runs a program until the test ends, and waits for a line that contains word.
func start(t *testing.T, env []string, word, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env...)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = write, write
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	ready, ended := make(chan bool, 1), make(chan struct{})
	t.Cleanup(func() { // nothing may be logged once the test is over
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = read.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			if strings.Contains(lines.Text(), word) {
				select {
				case ready <- true:
				default:
				}
			}
			t.Logf("%s: %s", filepath.Base(name), lines.Text())
		}
		close(ready)
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("%s ended", name)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s never said %q", name, word)
	}
}

// token asks the provider for an access token by client credentials.
func token(t *testing.T, issuer, resource string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"orders:read"}}
	request, err := http.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("robot", "not-a-secret-this-is-a-test")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no token: %d %v", response.StatusCode, err)
	}
	return answer.AccessToken
}

const orders = `openapi: 3.1.0
info: {title: orders, version: "1"}
components:
  securitySchemes: {oidc: {type: openIdConnect, openIdConnectUrl: "https://id.example/.well-known/openid-configuration"}}
paths:
  /orders/{id}:
    get:
      security: [{oidc: ["orders:read"]}]
      x-gatehouse-roles: [customer]
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: ok}}
`

// Tokens of a real provider: good ones pass, those for another audience or of forgotten keys do not, and a rotation of the
// provider's keys needs nobody's help.
func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary := built("gatehouse")
	seen := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	contract := filepath.Join(dir, "orders.yaml")
	if err := os.WriteFile(contract, []byte(orders), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, gateway := provider(t), fmt.Sprintf("https://localhost:%d", loopback.Port())
	start(t, []string{"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir + "/config"}, "Serving", binary, "run", "--openapi", contract, "--to", server.URL,
		"--listen", gateway, "--issuer", issuer, "--audience", "https://api.shop.test")

	client := trusting(t, dir, binary)
	call := func(token string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, gateway+"/orders/7", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	good := token(t, issuer, "https://api.shop.test")
	if status, body := call(good); status != http.StatusOK {
		t.Fatalf("a good token: %d %s", status, body)
	}
	got := <-seen
	for name, want := range map[string]string{"Gatehouse-Subject": "robot", "Gatehouse-Issuer": issuer, "Gatehouse-Roles": "customer", "Gatehouse-Scopes": "orders:read", "Authorization": ""} {
		if got.Get(name) != want {
			t.Errorf("%s at the server: %q, want %q", name, got.Get(name), want)
		}
	}
	if status, body := call(token(t, issuer, "https://another.api.test")); status != http.StatusUnauthorized {
		t.Errorf("a token for another audience: %d %s", status, body)
	}
	if status, body := call(good[:len(good)-6] + "AAAAAA"); status != http.StatusUnauthorized {
		t.Errorf("a token with another signature: %d %s", status, body)
	}
	if _, err := http.Get(issuer + "/rotate"); err != nil {
		t.Fatal(err)
	}
	if status, body := call(token(t, issuer, "https://api.shop.test")); status != http.StatusOK {
		t.Errorf("a token signed with a key that is one second old: %d %s", status, body)
	}
}

// Opaque tokens of a real provider, which is asked about each: good ones pass, and one that the provider has ended does not
// when the answer's time is over.
func TestOIDCProviderOfOpaqueTokens(t *testing.T) {
	t.Parallel()
	dir, issuer, gateway := t.TempDir(), provider(t), loopback.Address()
	seen := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	for name, text := range map[string]string{
		"orders.yaml": orders, "secret": "not-a-secret-either: +/=",
		"gatehouse.yaml": `listen: {at: ["http://` + gateway + `"], admin: "http://127.0.0.1:0"}
guards:
  identity:
    issuers:
      - issuer: ` + issuer + `
        audience: https://opaque.shop.test
        introspection: {url: "` + issuer + `/token/introspection", client: gatehouse, secret: "file:` + dir + `/secret", cache: 1s}
apis: [{name: orders, contract: orders.yaml, to: ["` + server.URL + `"]}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, []string{"XDG_DATA_HOME=" + dir + "/data", "XDG_CONFIG_HOME=" + dir + "/config"}, "serving", built("gatehouse"), "serve", "--config", filepath.Join(dir, "gatehouse.yaml"))
	call := func(token string) int {
		request, err := http.NewRequest(http.MethodGet, "http://"+gateway+"/orders/7", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	good := token(t, issuer, "https://opaque.shop.test")
	if strings.Count(good, ".") == 2 {
		t.Fatalf("the provider gave a JWT")
	}
	if status := call(good); status != http.StatusOK {
		t.Fatalf("a good token: %d", status)
	}
	got := <-seen
	for name, want := range map[string]string{"Gatehouse-Subject": "robot", "Gatehouse-Issuer": issuer, "Gatehouse-Roles": "customer", "Gatehouse-Scopes": "orders:read", "Authorization": ""} {
		if got.Get(name) != want {
			t.Errorf("%s at the server: %q, want %q", name, got.Get(name), want)
		}
	}
	for _, bad := range []string{token(t, issuer, "https://opaque.other.test"), good[:len(good)-1], good + "x", "x"} {
		if status := call(bad); status != http.StatusUnauthorized {
			t.Errorf("a token that isn't good here: %d", status)
		}
	}
	request, err := http.NewRequest(http.MethodPost, issuer+"/token/revocation", strings.NewReader(url.Values{"token": {good}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("robot", "not-a-secret-this-is-a-test")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the provider ends no tokens: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); call(good) != http.StatusUnauthorized; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a token that its issuer has ended goes on being good")
		}
	}
}

// trusting is a client that trusts the development CA, as `gatehouse ca` prints it.
func trusting(t *testing.T, dir, binary string) *http.Client {
	t.Helper()
	c := exec.Command(binary, "ca")
	c.Env = append(os.Environ(), "XDG_DATA_HOME="+dir)
	pem, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	pool := pool(pem)
	if pool == nil || !bytes.Contains(pem, []byte("BEGIN CERTIFICATE")) {
		t.Fatal(fmt.Errorf("gatehouse ca printed no certificate"))
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
}
