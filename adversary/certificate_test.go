package adversary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

const certificateDocument = `
listen:
  at: ["https://127.0.0.1:0", "http://127.0.0.1:0"]
  admin: "http://ADMIN"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
  client_certificates: {ca: [DIR/clients.pem]}
guards:
  identity: {bound: required, issuers: [{issuer: "https://idp.test", audience: shop, keys: DIR/keys.json}]}
apis:
  - {name: shop, hosts: [api.test], contract: certified.yaml, to: ["UPSTREAM"]}
`

const certifiedContract = `
openapi: 3.0.3
info: {title: shop, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /any: {get: {operationId: any, security: [{token: []}], responses: {"200": {description: ok}}}}
`

// vouching makes the certificates of clients.
type vouching struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newVouching(t *testing.T) vouching {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return vouching{cert, key}
}

func (v vouching) issue(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, v.cert, key.Public(), v.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// E33, D14: a token that is bound to a client certificate is worth nothing on a connection where another was shown, or none,
// whatever fields say and whatever name the connection was made for.
func TestCertificateBoundTokens(t *testing.T) {
	t.Parallel()
	clients := newVouching(t)
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: clients.cert.Raw}))
	g := another(t, certificateDocument, map[string]string{"certified.yaml": certifiedContract, "keys.json": idp.keySet(), "clients.pem": root})
	victims, thiefs := clients.issue(t, "victim"), clients.issue(t, "thief")
	sum := sha256.Sum256(victims.Certificate[0])
	token := idp.sign(idp.header(nil), idp.claims(object{"cnf": object{"x5t#S256": b64(sum[:])}}))
	forwarded := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: victims.Certificate[0]})))
	var fields strings.Builder
	for _, name := range []string{"Client-Cert", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "SSL-Client-Cert", "X-Forwarded-Tls-Client-Cert"} {
		fmt.Fprintf(&fields, "%s: %s\r\n", name, forwarded)
	}
	for _, c := range []struct {
		name   string
		cert   *tls.Certificate
		server string // name that the connection was made for; "": no TLS
		more   string
		reason gate.Reason
	}{
		{"the victim", victims, "api.test", "", ""},
		{"a thief without certificate", nil, "api.test", "", "identity.certificate_missing"},
		{"a thief with one of the same authority", thiefs, "api.test", "", "identity.certificate_other"},
		{"a thief who says that a proxy saw the victim's", thiefs, "api.test", fields.String(), "identity.certificate_other"},
		{"the same without certificate", nil, "api.test", fields.String(), "identity.certificate_missing"},
		{"a thief without TLS", nil, "", fields.String(), "identity.certificate_missing"},
		{"D14 a connection for another name", nil, "answers.test", "", "identity.certificate_missing"},
		{"the victim, after all that", victims, "api.test", fields.String(), ""},
	} {
		before := g.server.mark()
		raw := "GET /any HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer " + token + "\r\n" + c.more + "\r\n"
		r := exchange(t, g.as(t, c.cert, c.server), raw, false)
		_, requests, _ := g.server.since(before)
		if c.reason == "" {
			if r.status != 200 || len(requests) != 1 || strings.Contains(requests[0], token) || strings.Contains(requests[0], forwarded) {
				t.Errorf("%s: status %d, at the server %q", c.name, r.status, requests)
			}
			continue
		}
		if event := g.events.id(t, r.problem.Event); r.status != 401 || event.Decision.Reason != c.reason || len(requests) != 0 {
			t.Errorf("%s: status %d, %s, at the server %q", c.name, r.status, event.Decision.Reason, requests)
		}
	}
	// One that nobody vouches for doesn't get as far as a request.
	c := g.as(t, newVouching(t).issue(t, "victim"), "api.test")
	_, _ = io.WriteString(c, "GET /any HTTP/1.1\r\nHost: api.test\r\n\r\n")
	if answer, err := io.ReadAll(c); err == nil || len(answer) > 0 {
		t.Errorf("a stranger's certificate: %q, %v", answer, err)
	}
}

// as connects with a client certificate, for a server name; without one, in the clear.
func (g *gateway) as(t *testing.T, cert *tls.Certificate, server string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if server == "" {
		c, err = net.Dial("tcp", g.http)
	} else {
		c, err = tls.Dial("tcp", g.https, &tls.Config{RootCAs: g.roots, ServerName: server, NextProtos: []string{"http/1.1"},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if cert == nil {
					return new(tls.Certificate), nil
				}
				return cert, nil
			}})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}
