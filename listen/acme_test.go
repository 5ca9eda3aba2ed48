package listen

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"crypto/x509"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// names answers every question for an address with 127.0.0.1.
func names(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// pebble runs Let's Encrypt's test authority, which asks its questions at the two ports; 1 is a port where nobody is. It
// gives the section for it and the root that it issues under.
func pebble(t *testing.T, httpPort, tlsPort int) (*ACME, *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	front := wfe.New(quiet, store, va.New(quiet, httpPort, tlsPort, true, names(t), store), issuer, []string{"ca.test"}, true, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)

	root := filepath.Join(t.TempDir(), "directory-root.pem")
	a := &authority{t: t}
	a.write(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	return &ACME{
		Email: "ops@gw.test", Directory: server.URL + wfe.DirectoryPath, Domains: []string{"gw.test"}, CARoot: root, AcceptTerms: true,
	}, pool
}

// A certificate is obtained by either challenge, shown to clients, listed, and found again after a restart.
func TestACME(t *testing.T) {
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			tlsPort, httpPort := loopback.Port(), loopback.Port()
			plain := fmt.Sprintf("127.0.0.1:%d", httpPort)
			cfg := Config{At: at(t, fmt.Sprintf("https://127.0.0.1:%d", tlsPort))}
			if challenge == "http-01" {
				cfg.Redirect = at(t, "http://"+plain)[0]
				tlsPort = 1 // the authority cannot reach us there
			}
			acme, pool := pebble(t, httpPort, tlsPort)
			cfg.ACME = acme
			d := deps(t, http.HandlerFunc(tell))
			b := run(t, cfg, d)
			if !eventually(func() bool { return len(b.Certificates()) == 1 }) {
				t.Fatal("no certificate came")
			}
			if c := b.Certificates()[0]; c.Source != "acme" || len(c.Names) != 1 || c.Names[0] != "gw.test" || !strings.Contains(c.Issuer, "Pebble") {
				t.Errorf("%+v", c)
			}
			for protocol := range 2 {
				if _, body := get(t, b.client("https", protocol+1, pool), "https://gw.test/"); !strings.Contains(body, " https ") {
					t.Error(body)
				}
			}
			if err := b.Reload(cfg); err != nil || len(b.Certificates()) != 1 {
				t.Errorf("after a reload: %v, %v", err, b.Certificates())
			}
			if challenge == "http-01" {
				if answer := raw(t, plain, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: gw.test\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 308 ") {
					t.Errorf("no challenge: %.60q", answer)
				}
			}

			cfg.At, cfg.Redirect = at(t, "https://127.0.0.1:0"), Address{}
			again := run(t, cfg, d)
			if !eventually(func() bool { return len(again.Certificates()) == 1 }) {
				t.Fatal("the stored certificate is not found")
			}
			if again.Certificates()[0].Serial != b.Certificates()[0].Serial {
				t.Error("another certificate was obtained")
			}
		})
	}
}
