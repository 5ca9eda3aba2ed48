package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// client makes the TLS configuration for connections to servers. Certificates are verified, TLS 1.2 is the least.
func (t TLS) client(wrong *mistake.List, deps Deps) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
		InsecureSkipVerify: t.InsecureSkipVerify.Accepted(deps.Now()), // only with its reason: see check
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			wrong.Add("tls.ca", "", "%s", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) && err == nil {
			wrong.Add("tls.ca", "", "%s holds no certificate in PEM form", t.CA)
		}
	}
	if t.ClientCert.IsZero() || t.ClientKey.IsZero() {
		return c
	}
	load := func() (*tls.Certificate, error) { return t.certificate(deps) }
	if _, err := load(); err != nil {
		wrong.Add("tls.client_cert", "", "%s", err)
	}
	c.ClientSessionCache = nil // a resumed session would go on showing the certificate that it began with
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return c
}

// certificate reads the gateway's certificate and key, so that a rotated pair is used from the next connection on.
func (t TLS) certificate(deps Deps) (*tls.Certificate, error) {
	chain, err := deps.Resolve(t.ClientCert)
	if err != nil {
		return nil, err
	}
	key, err := deps.Resolve(t.ClientKey)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain.Reveal(), key.Reveal())
	return &pair, err
}
