package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Issuer makes the certificate that the gateway shows to servers which trust its own authority. It is asked for every new
// connection, and answers from memory.
type Issuer interface {
	ClientCertificate() (*tls.Certificate, error)
}

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
	show := t.shown(wrong, deps)
	if show == nil {
		return c
	}
	c.ClientSessionCache = nil // a resumed session would go on showing the certificate that it began with
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show() }
	return c
}

// shown gives what finds the gateway's certificate for each new connection, or nil when it shows none.
func (t TLS) shown(wrong *mistake.List, deps Deps) func() (*tls.Certificate, error) {
	switch {
	case t.Client == "internal" && deps.Issuer == nil:
		wrong.Add("tls.client", "", "this process has no internal authority; write client_cert and client_key")
		return nil
	case t.Client == "internal":
		if _, err := deps.Issuer.ClientCertificate(); err != nil {
			wrong.Add("tls.client", "", "%s", err)
		}
		return deps.Issuer.ClientCertificate
	case t.ClientCert.IsZero() || t.ClientKey.IsZero():
		return nil
	}
	p := &pair{tls: t, deps: deps}
	if _, err := p.certificate(); err != nil && !errors.Is(err, secret.ErrElsewhere) {
		wrong.Add("tls.client_cert", "", "%s", err)
	}
	return p.certificate
}

// pair is the gateway's certificate and key, read again for every new connection.
type pair struct {
	tls  TLS
	deps Deps

	mu   sync.Mutex
	last *tls.Certificate // the last two that belonged together
}

// certificate gives the pair as it lies there now. While one of the two has been exchanged and the other has not, the pair
// from before goes on: a rotation drops no request. A pair of which one cannot be had closes the way (row I6).
func (p *pair) certificate() (*tls.Certificate, error) {
	chain, err := p.deps.Resolve(p.tls.ClientCert)
	if err != nil {
		return nil, err
	}
	key, err := p.deps.Resolve(p.tls.ClientKey)
	if err != nil {
		return nil, err
	}
	now, err := tls.X509KeyPair(chain.Reveal(), key.Reveal())
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.last = &now
	case p.last == nil:
		return nil, fmt.Errorf("certificate %s with key %s: %s", p.tls.ClientCert, p.tls.ClientKey, strings.TrimPrefix(err.Error(), "tls: "))
	default:
		p.deps.Log.Warn("client certificate and key don't belong together; those from before are shown", "certificate", p.tls.ClientCert.String(), "key", p.tls.ClientKey.String())
	}
	return p.last, nil
}

// Certificates looks at the certificate that the gateway shows to the servers of this pool and at the authorities that vouch
// for them, and says what is wrong with each or will be. The system's authorities are not looked at.
func (p *Pool) Certificates(now time.Time) []ca.Certificate {
	var all []ca.Certificate
	if show := p.secure.GetClientCertificate; show != nil {
		where := "upstream.tls.client: internal"
		if !p.cfg.TLS.ClientCert.IsZero() {
			where = "upstream.tls.client_cert: " + p.cfg.TLS.ClientCert.String()
		}
		shown, err := show(nil)
		if err != nil {
			all = append(all, ca.Certificate{Where: where, Findings: []ca.Finding{{ID: ca.Missing, What: err.Error()}}})
		} else {
			all = append(all, ca.LookPair(where, shown, nil, now)...)
		}
	}
	if file := p.cfg.TLS.CA; file != "" {
		data, _ := os.ReadFile(file) // one that cannot be read holds no certificate
		all = append(all, ca.Inspect("upstream.tls.ca: "+file, data, nil, now)...)
	}
	return all
}
