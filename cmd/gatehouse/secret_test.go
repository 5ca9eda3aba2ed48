package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/control"
	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
)

// pairOf makes a certificate that vouches for itself, and its key.
func pairOf(t *testing.T, serial int64) (certificate, private []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "a pair"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// performed asks the node as a command does.
func performed[A any](r *house, name string, question any) A {
	r.t.Helper()
	answer, err := control.Ask[A](r.t.Context(), operations(r.node.held, r.node), name, question, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *house) keep(name string, value []byte, reader string) {
	r.t.Helper()
	performed[secretChanged](r, "secret.set", secretSet{Name: name, Value: value, Expect: owned.Any, MayRead: []string{reader}, By: "ann"})
}

// I6: secrets of the gateway's own store follow their rotation without a restart and without a reload, towards servers and
// towards clients. What was removed closes what was built on it, and nothing else.
func TestSecretsOfTheStore(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].SerialNumber)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.TLS.Certificates[0].Certificate[0]}))
	first, firstKey := pairOf(t, 1)
	second, secondKey := pairOf(t, 2)

	r := prepared(t, "", map[string]string{"server.pem": trusted, "listen.pem": string(first)})
	r.write("gatehouse.yaml", fmt.Sprintf(`
listen: {at: ["http://127.0.0.1:0", "https://127.0.0.1:0"], admin: "http://127.0.0.1:0", certificates: [{cert: %q, key: "store:listen/key"}]}
%sapis:
  - {name: a, contract: orders.yaml, to: [%q], upstream: {health: {active: off, eject_for: 100ms}, tls: {ca: %q, client_cert: "store:a/cert", client_key: "store:a/key"}}}
`, r.dir+"/listen.pem", plainly, server.URL, r.dir+"/server.pem"))
	r.opened = func() {
		r.keep("a/cert", first, "apis.a")
		r.keep("a/key", firstKey, "apis.a")
		r.keep("listen/key", firstKey, "listen")
	}
	r.start()
	afresh := func() answer { // over a new connection
		server.CloseClientConnections()
		return r.get("h", "/orders/1")
	}
	shown := func() string { // to clients
		c, err := tls.Dial("tcp", strings.TrimPrefix(r.address("https"), "https://"), &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
		if err != nil {
			return ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got := afresh(); got.status != 200 || got.body != "1" || shown() != "1" {
		t.Fatalf("%+v, %s", got, shown())
	}

	r.keep("a/key", secondKey, "apis.a") // the key first: until the certificate follows, the pair from before goes on
	if got := afresh(); got.status != 200 {
		t.Errorf("in the middle of a rotation: %+v", got)
	}
	r.keep("a/cert", second, "apis.a")
	r.until("servers see the new pair", func() bool { return afresh().body == "2" })
	r.keep("listen/key", secondKey, "listen")
	r.write("listen.pem", string(second))
	r.until("clients see the new pair", func() bool { return shown() == "2" })

	for _, name := range []string{"a/key", "listen/key"} {
		performed[secretChanged](r, "secret.rm", secretRemove{Name: name, Expect: owned.Any, By: "ann"})
	}
	r.until("both are missed", func() bool { return strings.Count(r.log.String(), "the last value serves on") == 2 })
	if got := afresh(); got.status != 200 || shown() != "2" {
		t.Errorf("within the minute of grace: %+v, %s", got, shown())
	}
	clock(2*time.Minute)(t, r)
	r.until("the way to the server is closed", func() bool { got := afresh(); return got.status == 502 || got.status == 503 })
	r.until("the certificate is shown to nobody", func() bool { return shown() == "" })
	r.keep("a/key", secondKey, "apis.a")
	r.keep("listen/key", secondKey, "listen")
	r.until("both are open again", func() bool { return afresh().body == "2" && shown() == "2" })

	used := map[string]bool{}
	for _, s := range performed[[]owned.Info](r, "secret.list", nothing{}) {
		used[s.Name] = true
	}
	if len(used) != 3 {
		t.Errorf("listed %v", used)
	}
	// nobody has written down what was asked: row K2
	secretText := strings.Split(string(secondKey), "\n")[1]
	files := []string{r.log.String()}
	_ = filepath.WalkDir(r.node.state, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			files = append(files, string(text))
		}
		return nil
	})
	for _, text := range files {
		if strings.Contains(text, secretText) {
			t.Error("a value was written down")
		}
	}
}

// A part of the document that may no longer read a secret is told so at the next load, with the command that allows it; what
// is in force goes on, also while the store can't be asked.
func TestReadersOfSecrets(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	pem, key := pairOf(t, 1)
	r := prepared(t, "", map[string]string{"ca.pem": string(pem)})
	document := listening + plainly + fmt.Sprintf("apis: [{name: a, contract: orders.yaml, to: [\"https://%s\"], upstream: {health: {active: off}, tls: {ca: %q, client_cert: \"store:a/cert\", client_key: \"store:a/key\"}}}]\n",
		server.address, r.dir+"/ca.pem")
	r.write("gatehouse.yaml", document)
	r.opened = func() {
		r.keep("a/cert", pem, "apis.b")
		r.keep("a/key", key, "apis.a")
	}
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "apis.a may not read it, only apis.b; to allow it: gatehouse secret allow a/cert --reader apis.b,apis.a") {
		t.Fatal(err)
	}
	r.opened = func() { r.keep("a/cert", pem, "apis.a") }
	r.start()
	if got := performed[secretChanged](r, "secret.allow", secretAllow{Name: "a/key", MayRead: []string{"apis.a", "apis.aa"}}); len(got.Unknown) != 1 || got.Unknown[0] != "apis.aa" {
		t.Errorf("%+v", got)
	}
	if err := r.reload(document); err != nil {
		t.Error(err)
	}
	performed[secretChanged](r, "secret.allow", secretAllow{Name: "a/key"})
	err := r.reload(document)
	if err == nil || !strings.Contains(err.Error(), "gatehouse.yaml:") || !strings.Contains(err.Error(), "apis.a may not read it, only nobody; to allow it: gatehouse secret allow a/key --reader apis.a") {
		t.Error(err)
	}
}
