package listen

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
)

// client makes a certificate for a client.
func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	a.next++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// file writes the authority's own certificate.
func (a *authority) file(name string) string {
	path := filepath.Join(a.dir, name)
	a.write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return path
}

// shown answers with whom the socket saw.
func shown(w http.ResponseWriter, r *http.Request) {
	c, _ := conn.From(r.Context())
	names := []string{}
	for _, certificate := range c.TLS.PeerCertificates {
		names = append(names, certificate.Subject.CommonName)
	}
	fmt.Fprintf(w, "%q resumed %t", names, c.TLS.DidResume)
}

// ask makes one request on a connection of its own; "" when it didn't get through.
func (b *bench) ask(cfg *tls.Config) string {
	b.t.Helper()
	c, err := tls.Dial("tcp", b.hostport("https"), cfg)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") // a refused client learns of it when it reads
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text := make([]byte, 100)
	n, _ := response.Body.Read(text)
	return string(text[:n])
}

// A client shows a certificate of a named authority, or none where it may, or doesn't get through.
func TestClientCertificates(t *testing.T) {
	ca, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	server := ca.issue("a", "a.test")
	known, unknown := clients.client("known"), strangers.client("unknown")
	notForClients, err := tls.LoadX509KeyPair(server.Cert, server.Key.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []ClientMode{"", RequestCertificate, RequireCertificate} {
		b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{server},
			ClientCertificates: &ClientCertificates{CA: []string{clients.file("clients.pem"), ca.file("ca.pem")}, Mode: mode}}, deps(t, http.HandlerFunc(shown)))
		for _, c := range []struct {
			name string
			cert *tls.Certificate
			want string
		}{
			{"known", &known, `["known"] resumed false`},
			{"unknown", &unknown, ""},
			{"not for clients", &notForClients, ""},
			{"none", nil, map[ClientMode]string{"": `[] resumed false`, RequestCertificate: `[] resumed false`}[mode]},
		} {
			cfg := &tls.Config{RootCAs: ca.pool, ServerName: "a.test", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.cert == nil {
					return new(tls.Certificate), nil
				}
				return c.cert, nil // whatever the server asks for
			}}
			if got := b.ask(cfg); got != c.want {
				t.Errorf("%q, %s: %q, want %q", mode, c.name, got, c.want)
			}
		}
		b.expect(reasonHandshake)
	}
}

// D19: after the authority is exchanged, whether by a document or in its file, a session from before is not resumed, and who
// was vouched for by the old one doesn't get through.
func TestExchangedClientAuthority(t *testing.T) {
	ca, first, second := newAuthority(t), newAuthority(t), newAuthority(t)
	path := filepath.Join(ca.dir, "clients.pem")
	put := func(a *authority) {
		ca.write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	}
	put(first)
	cfg := Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")},
		ClientCertificates: &ClientCertificates{CA: []string{path}}}
	b := run(t, cfg, deps(t, http.HandlerFunc(shown)))
	one, two := first.client("one"), second.client("two")
	of := func(cert tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, ServerName: "a.test", Certificates: []tls.Certificate{cert}, ClientSessionCache: tls.NewLRUClientSessionCache(4),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
	}
	old, young := of(one), of(two)
	b.ask(old)
	if got := b.ask(old); got != `["one"] resumed true` {
		t.Fatalf("sessions are not resumed at all, so this test says nothing: %q", got)
	}
	// In its file.
	put(second)
	if !eventually(func() bool { return b.ask(young) != "" }) {
		t.Fatal("the new authority never counts")
	}
	if got := b.ask(old); got != "" {
		t.Errorf("a session from before: %q", got)
	}
	// A file that can't be used changes nothing.
	ca.write(path, []byte("-----BEGIN"))
	b.expect(reasonCertificate)
	if got := b.ask(of(two)); got != `["two"] resumed false` {
		t.Errorf("after a bad file: %q", got)
	}
	// By a document.
	cfg.ClientCertificates = &ClientCertificates{CA: []string{first.file("first.pem")}}
	b.ask(young)
	if err := b.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if got := b.ask(young); got != "" {
		t.Errorf("a session from before the reload: %q", got)
	}
	if got := b.ask(old); got != `["one"] resumed false` {
		t.Errorf("after the reload: %q", got)
	}
}

func TestMistakesInClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	good, leaf := ca.file("good.pem"), ca.issue("leaf", "leaf.test")
	file := func(name, text string) string {
		path := filepath.Join(ca.dir, name)
		ca.write(path, []byte(text))
		return path
	}
	plain := Config{At: at(t, "http://127.0.0.1:0")}
	secure := Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{leaf}}
	for _, c := range []struct {
		name  string
		cfg   Config
		with  ClientCertificates
		place string
		says  string
	}{
		{"good", secure, ClientCertificates{CA: []string{good}, Mode: RequireCertificate}, "", ""},
		{"no authority", secure, ClientCertificates{}, "client_certificates.ca", "nobody's certificate"},
		{"no name", secure, ClientCertificates{CA: []string{good, ""}}, "client_certificates.ca", "no name"},
		{"unknown mode", secure, ClientCertificates{CA: []string{good}, Mode: "maybe"}, "client_certificates.mode", "maybe"},
		{"no https", plain, ClientCertificates{CA: []string{good}}, "client_certificates", "no https"},
		{"missing", secure, ClientCertificates{CA: []string{good, "/nowhere.pem"}}, "client_certificates.ca[1]", "no such file"},
		{"empty", secure, ClientCertificates{CA: []string{file("empty.pem", "")}}, "client_certificates.ca[0]", "no certificate"},
		{"no authority's", secure, ClientCertificates{CA: []string{leaf.Cert}}, "client_certificates.ca[0]", "not one of an authority"},
		{"a key", secure, ClientCertificates{CA: []string{leaf.Key.Path()}}, "client_certificates.ca[0]", "PRIVATE KEY"},
		{"garbled", secure, ClientCertificates{CA: []string{file("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}}, "client_certificates.ca[0]", "certificate 1"},
	} {
		c.cfg.ClientCertificates = &c.with
		_, err := New(c.cfg, deps(t, http.HandlerFunc(shown)))
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
