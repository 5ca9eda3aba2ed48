package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// secured starts a server with TLS and gives its URL and a file with its CA.
func secured(t *testing.T, change func(*httptest.Server)) (address, ca string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, ca
}

func TestTLSIsVerified(t *testing.T) {
	address, ca := secured(t, nil)
	old, oldCA := secured(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	})
	http1, http1CA := secured(t, func(s *httptest.Server) { s.EnableHTTP2 = false })
	accepted := gate.Risk{AcceptRisk: "a test", Until: time.Now().Add(time.Hour)}
	for name, c := range map[string]struct {
		target   string
		protocol string
		tls      TLS
		want     string // answer, or "" for a refusal
	}{
		"its CA":                  {address, "http1", TLS{CA: ca}, "HTTP/1.1"},
		"its CA, HTTP/2":          {address, "http2", TLS{CA: ca}, "HTTP/2.0"},
		"the system's CAs":        {address, "http1", TLS{}, ""},
		"the system's, HTTP/2":    {address, "http2", TLS{}, ""},
		"another CA":              {address, "http1", TLS{CA: another(t)}, ""},
		"its other name":          {address, "http1", TLS{CA: ca, ServerName: "example.com"}, "HTTP/1.1"},
		"another name":            {address, "http1", TLS{CA: ca, ServerName: "another.test"}, ""},
		"another name, HTTP/2":    {address, "http2", TLS{CA: ca, ServerName: "another.test"}, ""},
		"unverified, knowingly":   {address, "http1", TLS{InsecureSkipVerify: accepted}, "HTTP/1.1"},
		"TLS 1.1":                 {old, "http1", TLS{CA: oldCA}, ""},
		"HTTP/2 wanted, not had":  {http1, "http2", TLS{CA: http1CA}, ""},
		"TLS to a server without": {"https" + serve(t, nil)[len("http"):], "http1", TLS{CA: ca}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := calm()
			cfg.Protocol, cfg.TLS = c.protocol, c.tls
			p := pool(t, cfg, Deps{}, c.target)
			for range 2 {
				status, body, report, err := send(p, get(t, "/"), idempotent)
				if c.want == "" {
					if reasonOf(err) != ReasonConnect {
						t.Fatalf("%q, %v", body, err)
					}
				} else if status != 200 || body != c.want {
					t.Fatalf("%d %q, %+v, %v", status, body, report, err)
				}
			}
		})
	}
}

// another gives a file with a CA that has signed nothing here.
func another(t *testing.T) string {
	own := newCertificate(t, "another")
	path := filepath.Join(t.TempDir(), "another.pem")
	if err := os.WriteFile(path, own.chain, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The gateway shows itself to a server that asks, and a rotated certificate is used from the next connection on.
func TestClientCertificateIsLive(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			names := make(chan string, 9)
			address, ca := secured(t, func(s *httptest.Server) {
				s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
				s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					names <- r.TLS.PeerCertificates[0].Subject.CommonName
				})
			})
			dir := t.TempDir()
			cfg := calm()
			cfg.Protocol = protocol
			cfg.TLS = TLS{CA: ca}
			chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
			_ = cfg.TLS.ClientCert.UnmarshalText([]byte("file:" + chain))
			_ = cfg.TLS.ClientKey.UnmarshalText([]byte("file:" + key))
			var p *Pool
			for _, name := range []string{"first", "second"} {
				own := newCertificate(t, name)
				_ = os.WriteFile(chain, own.chain, 0o600)
				_ = os.WriteFile(key, own.key, 0o600)
				if p == nil {
					p = pool(t, cfg, Deps{}, address)
				} else {
					p.servers[0].engine.close() // no kept connection
					time.Sleep(20 * time.Millisecond)
				}
				if _, _, err := p.Send(context.Background(), get(t, "/"), idempotent); err != nil {
					t.Fatal(err)
				}
				if got := <-names; got != name {
					t.Errorf("shown %q, want %q", got, name)
				}
			}
		})
	}
}
