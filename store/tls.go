package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Client makes the configuration for one connection to a server of the store: TLS 1.2 at least, the server verified by the
// name given unless ServerName says another, or not at all where unverified is true. Files and secrets are read now, so
// that what was rotated is used from the next connection on. Without certificate authorities there is no configuration:
// an unreadable CA never means the system's (row I5).
func (t TLS) Client(name string, unverified bool, resolve func(secret.Ref) (secret.Value, error)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: unverified} //nolint:gosec // unverified only with its reason: see Check
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if c.ServerName == "" && !unverified {
		return nil, errors.New("store: there is no name by which the server could be verified; set server_name")
	}
	if t.CA != "" {
		data, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("store: ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("store: ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if t.ClientCert.IsZero() {
		return c, nil
	}
	chain, err := resolve(t.ClientCert)
	if err != nil {
		return nil, fmt.Errorf("store: client_cert: %w", err)
	}
	key, err := resolve(t.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("store: client_key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain.Reveal(), key.Reveal())
	if err != nil {
		return nil, errors.New("store: client_cert and client_key are no pair of a certificate and its key in PEM form")
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
