package authority_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/upstream"
)

// A server that requires client certificates is under load while certificates, and then the authority, are exchanged. No
// request fails, and new connections show the new certificate.
func TestRotationUnderLoad(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			p, c := &place{}, newClock()
			a := open(t, p, c)
			var bundle atomic.Pointer[x509.CertPool] // what the server was told to trust
			tell := func() {
				pool := x509.NewCertPool()
				pool.AppendCertsFromPEM(a.Bundle())
				bundle.Store(pool)
			}
			tell()
			var mu sync.Mutex
			serials, issuers := map[string]bool{}, map[string]bool{}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				leaf := r.TLS.PeerCertificates[0]
				mu.Lock()
				defer mu.Unlock()
				serials[leaf.SerialNumber.String()], issuers[leaf.Issuer.String()] = true, true
			}))
			s.EnableHTTP2 = protocol == "http2"
			s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				next := []string{"http/1.1"}
				if protocol == "http2" {
					next = []string{"h2"}
				}
				return &tls.Config{Certificates: s.TLS.Certificates, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: bundle.Load(), Time: c.now, NextProtos: next}, nil
			}}
			s.StartTLS()
			defer s.Close()
			roots := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := upstream.Config{Protocol: protocol, Health: upstream.Health{Active: "off"}, TLS: upstream.TLS{CA: roots, Client: "internal"},
				Retry: upstream.Retry{Attempts: 1}, Timeouts: upstream.Timeouts{KeepAlive: 10 * time.Millisecond, Connect: 10 * time.Second}}
			pool, err := upstream.New(cfg, []string{s.URL}, upstream.Deps{Issuer: a.Client("gateway")})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			stop := make(chan struct{})
			var load sync.WaitGroup
			var sent, failed atomic.Int64
			workers := 4
			if protocol == "http2" {
				workers = 1 // several would keep the one connection alive for each other
			}
			for range workers {
				load.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := ask(pool); err != nil {
							failed.Add(1)
							t.Log(err)
						}
						sent.Add(1)
						time.Sleep(15 * time.Millisecond) // longer than a connection is kept
					}
				})
			}
			for day := range 12 {
				for range 1000 { // until this day's certificate was shown
					mu.Lock()
					came := len(serials) > day
					mu.Unlock()
					if came {
						break
					}
					time.Sleep(5 * time.Millisecond)
				}
				c.forward(17 * time.Hour)
				if day == 2 {
					if err := a.Rotate(context.Background(), 18*time.Hour); err != nil {
						t.Error(err)
					}
					tell()
				}
			}
			time.Sleep(100 * time.Millisecond)
			close(stop)
			load.Wait()
			mu.Lock()
			defer mu.Unlock()
			if failed.Load() > 0 || sent.Load() < 13 || len(serials) < 12 || len(issuers) != 2 {
				t.Errorf("%d of %d requests failed; %d certificates of %d authorities were shown", failed.Load(), sent.Load(), len(serials), len(issuers))
			}
		})
	}
}

func ask(pool *upstream.Pool) error {
	r, err := http.NewRequest(http.MethodPost, "http://x/", nil)
	if err != nil {
		return err
	}
	answer, _, err := pool.Send(context.Background(), r, upstream.Call{})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
