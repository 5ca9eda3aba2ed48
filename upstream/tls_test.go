package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
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

// shown asks once over a new connection and gives the name that the server saw, or "" for an error.
func shown(t *testing.T, p *Pool, names chan string) string {
	t.Helper()
	p.servers[0].engine.close() // no kept connection
	time.Sleep(20 * time.Millisecond)
	resp, _, err := p.Send(context.Background(), get(t, "/"), idempotent)
	if err != nil {
		return ""
	}
	_ = resp.Body.Close()
	return <-names
}

// While one file of a pair is exchanged and the other is not yet, the pair from before is shown; a pair of which one is
// gone, or that never fitted, opens nothing.
func TestHalfExchangedPairDropsNothing(t *testing.T) {
	names := make(chan string, 9)
	address, ca := secured(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			names <- r.TLS.PeerCertificates[0].Subject.CommonName
		})
	})
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	cfg := calm()
	cfg.TLS = TLS{CA: ca}
	_ = cfg.TLS.ClientCert.UnmarshalText([]byte("file:" + chain))
	_ = cfg.TLS.ClientKey.UnmarshalText([]byte("file:" + key))
	old, next := newCertificate(t, "old"), newCertificate(t, "next")
	put := func(c, k []byte) { _ = os.WriteFile(chain, c, 0o600); _ = os.WriteFile(key, k, 0o600) }
	put(next.chain, old.key)
	if _, err := New(cfg, []string{address}, Deps{}); err == nil || !strings.Contains(err.Error(), chain) || !strings.Contains(err.Error(), key) {
		t.Errorf("a pair that never fitted: %v", err)
	}
	put(old.chain, old.key)
	p := pool(t, cfg, Deps{}, address)
	for i, c := range []struct {
		chain, key []byte
		want       string
	}{
		{old.chain, old.key, "old"}, {next.chain, old.key, "old"}, {next.chain, next.key, "next"}, {old.chain, next.key, "next"},
		{next.chain, nil, ""}, // gone: what needs it is closed (row I6)
		{[]byte("garbage"), next.key, "next"}, {old.chain, old.key, "old"},
	} {
		put(c.chain, c.key)
		if got := shown(t, p, names); got != c.want {
			t.Errorf("step %d: shown %q, want %q", i, got, c.want)
		}
	}
}

// own is an internal authority that has one certificate.
type own struct {
	pair tls.Certificate
	err  error
}

func (o own) ClientCertificate() (*tls.Certificate, error) { return &o.pair, o.err }

func TestInternalClient(t *testing.T) {
	names := make(chan string, 9)
	address, ca := secured(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			names <- r.TLS.PeerCertificates[0].Subject.CommonName
		})
	})
	made := newCertificate(t, "gateway")
	pair, err := tls.X509KeyPair(made.chain, made.key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := calm()
	cfg.TLS = TLS{CA: ca, Client: "internal"}
	if got := shown(t, pool(t, cfg, Deps{Issuer: own{pair: pair}}, address), names); got != "gateway" {
		t.Errorf("shown %q", got)
	}
	var ref secret.Ref
	_ = ref.UnmarshalText([]byte("file:/x"))
	for name, c := range map[string]struct {
		tls    TLS
		issuer Issuer
		path   string
		words  string
	}{
		"no authority":     {TLS{Client: "internal"}, nil, "tls.client", "no internal authority"},
		"one that ended":   {TLS{Client: "internal"}, own{err: errors.New("has ended")}, "tls.client", "has ended"},
		"another word":     {TLS{Client: "internl"}, own{pair: pair}, "tls.client", "internal"},
		"two certificates": {TLS{Client: "internal", ClientCert: ref, ClientKey: ref}, own{pair: pair}, "tls.client", "one certificate"},
	} {
		cfg.TLS = c.tls
		_, err := New(cfg, []string{address}, Deps{Issuer: c.issuer})
		var list mistake.List
		if !errors.As(err, &list) || len(list) != 1 || list[0].Path != c.path || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the gateway shows and whom it trusts is looked at, also when it can no longer be had.
func TestCertificatesOfAPool(t *testing.T) {
	address, authority := secured(t, nil)
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	made := newCertificate(t, "gateway")
	_ = os.WriteFile(chain, made.chain, 0o600)
	_ = os.WriteFile(key, made.key, 0o600)
	cfg := calm()
	cfg.TLS = TLS{CA: authority}
	_ = cfg.TLS.ClientCert.UnmarshalText([]byte("file:" + chain))
	_ = cfg.TLS.ClientKey.UnmarshalText([]byte("file:" + key))
	p := pool(t, cfg, Deps{}, address)
	all := p.Certificates(time.Now())
	if len(all) != 2 || all[0].Where != "upstream.tls.client_cert: file:"+chain || all[0].Subject != "CN=gateway" || all[1].Where != "upstream.tls.ca: "+authority {
		t.Errorf("%+v", all)
	}
	if later := p.Certificates(time.Now().Add(2 * time.Hour)); later[0].Findings[0].ID != ca.Expired {
		t.Errorf("%+v", later[0])
	}
	_ = os.Remove(key)
	_ = os.Remove(authority)
	gone := p.Certificates(time.Now())
	if len(gone) != 2 || gone[0].Findings[0].ID != ca.Missing || gone[1].Findings[0].ID != ca.NotUnderstood {
		t.Errorf("%+v", gone)
	}
	cfg.TLS = TLS{}
	if none := pool(t, cfg, Deps{}, serve(t, nil)).Certificates(time.Now()); none != nil {
		t.Errorf("%+v", none)
	}
}
