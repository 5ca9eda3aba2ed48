package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func (a *ACME) check(list *mistake.List) {
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		list.Add("acme.directory", defaultDirectory, "%q is not an https URL", a.Directory)
	}
	if len(a.Domains) == 0 {
		list.Add("acme.domains", "[api.example.com]", "is empty: there is no name to obtain a certificate for")
	}
	for i, d := range a.Domains {
		place := fmt.Sprintf("acme.domains[%d]", i)
		switch {
		case strings.HasPrefix(d, "*."):
			list.Add(place, "", "%q needs the DNS-01 challenge, which is not built; give the names one by one, or a certificate as files", d)
		case d != canonicalName(d):
			list.Add(place, canonicalName(d), "%q is not in lower case without a dot at its end", d)
		case !certmagic.SubjectQualifiesForCert(d) || strings.ContainsAny(d, "/:@ "):
			list.Add(place, "", "%q is not a name that a certificate can cover", d)
		case slices.Index(a.Domains, d) < i:
			list.Add(place, "", "%q stands here twice", d)
		}
	}
	if !a.AcceptTerms {
		list.Add("acme.accept_terms", "true", "the authority's terms of service are not accepted")
	}
	if a.CARoot != "" {
		if _, err := a.roots(); err != nil {
			list.Add("acme.ca_root", "", "%v", err)
		}
	}
}

// roots reads the root file. A missing, empty or garbled one is an error, never "the system's roots" (I5).
func (a *ACME) roots() (*x509.CertPool, error) {
	if a.CARoot == "" {
		return nil, nil
	}
	data, err := os.ReadFile(a.CARoot)
	if err != nil {
		return nil, fmt.Errorf("read root: %w", err)
	}
	pool := x509.NewCertPool()
	if len(bytes.TrimSpace(data)) == 0 || !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", a.CARoot)
	}
	return pool, nil
}

func (a *ACME) same(b *ACME) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Domains, y.Domains = nil, nil
	return slices.Equal(a.Domains, b.Domains) && fmt.Sprint(x) == fmt.Sprint(y)
}

// acmeSource obtains and renews certificates with certmagic.
type acmeSource struct {
	config  *ACME
	magic   *certmagic.Config
	cache   *certmagic.Cache
	issuer  *certmagic.ACMEIssuer
	context context.Context // of the source: ends with it
	end     context.CancelFunc
}

// acmePorts are where the authority's questions arrive, behind whatever forwards 80 and 443 to us; 0 is nowhere.
type acmePorts struct{ http, tls int }

// newACME makes a source; start begins its work.
func newACME(a *ACME, storage string, ports acmePorts, log *slog.Logger) (*acmeSource, error) {
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	if a.Storage != "" {
		storage = a.Storage
	}
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return nil, fmt.Errorf("make acme storage: %w", err)
	}
	s := &acmeSource{config: a}
	bridge := zapTo(log)
	s.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.magic, nil },
		Logger:           bridge,
	})
	s.magic = certmagic.New(s.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: storage},
		DefaultServerName: a.Domains[0],
		Logger:            bridge,
	})
	s.issuer = certmagic.NewACMEIssuer(s.magic, certmagic.ACMEIssuer{
		CA: a.Directory, Email: a.Email, Agreed: a.AcceptTerms, TrustedRoots: roots, Logger: bridge,
		DisableHTTPChallenge: ports.http == 0, DisableTLSALPNChallenge: ports.tls == 0,
		AltHTTPPort: ports.http, AltTLSALPNPort: ports.tls,
	})
	s.magic.Issuers = []certmagic.Issuer{s.issuer}
	s.context, s.end = context.WithCancel(context.Background())
	return s, nil
}

// start obtains what is missing, in the background, and renews it as long as the source lives. Until the first
// certificate is there, handshakes for its name fail.
func (s *acmeSource) start() error {
	if err := s.magic.ManageAsync(s.context, s.config.Domains); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	return nil
}

func (s *acmeSource) stop() {
	s.end()
	s.cache.Stop()
}

func (s *acmeSource) covers(name string) bool {
	return name == "" || slices.Contains(s.config.Domains, name)
}

func (s *acmeSource) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.magic.GetCertificate(hello)
}

// challengeTLS answers TLS-ALPN-01: a handshake that proves, and carries nothing.
func (s *acmeSource) challengeTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{protocolACME},
		GetCertificate: s.magic.GetCertificate, SessionTicketsDisabled: true,
	}
}

// answers puts the answers to HTTP-01 in front of h.
func (s *acmeSource) answers(h http.Handler) http.Handler { return s.issuer.HTTPChallengeHandler(h) }

func (s *acmeSource) inventory() []CertInfo {
	var all []CertInfo
	seen := map[string]bool{}
	for _, d := range s.config.Domains {
		for _, c := range s.cache.AllMatchingCertificates(d) {
			if c.Leaf != nil && !seen[c.Hash()] {
				seen[c.Hash()] = true
				all = append(all, describe(c.Leaf, "acme"))
			}
		}
	}
	return all
}
