package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Issuer makes the certificate that the gateway shows to servers which trust its own authority. It is asked for every new
// connection, and answers from memory. A connection outlives the certificate that it began with: that one is never withdrawn,
// only renewed.
type Issuer interface {
	ClientCertificate() (*tls.Certificate, error)
}

// show finds the certificate that the gateway shows to servers. It is nil when there is none to show.
type show func() (*tls.Certificate, error)

// client makes the TLS configuration for connections to servers, and what finds the certificate that they are shown.
// Certificates are verified, TLS 1.2 is the least.
func (t TLS) client(wrong *mistake.List, deps Deps) (*tls.Config, show) {
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
		return c, nil
	}
	c.ClientSessionCache = nil // a resumed session would go on showing the certificate that it began with
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		now, err := show()
		if err != nil {
			return nil, noCertificate(err)
		}
		return now, nil
	}
	return c, show
}

// noCertificate says that the gateway has nothing to show. The server is not to blame, and none is asked.
func noCertificate(cause error) *Error {
	return fault(ReasonCertificate, "the certificate to show to servers", cause)
}

// shown gives what finds the gateway's certificate, or nil when it shows none.
func (t TLS) shown(wrong *mistake.List, deps Deps) show {
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

// pair is the gateway's certificate and key, asked for before every request.
type pair struct {
	tls  TLS
	deps Deps

	seen atomic.Pointer[seen]
	mu   sync.Mutex // held while a changed pair is understood
}

// seen is what the two references gave, and the last two that belonged together.
type seen struct {
	chain, key secret.Value
	last       *tls.Certificate
}

// same tells that nothing has changed since. Both sides are the gateway's own: time tells nobody anything, and the same
// memory is not compared at all.
func (s *seen) same(chain, key secret.Value) bool {
	return s != nil && bytes.Equal(s.chain.Reveal(), chain.Reveal()) && bytes.Equal(s.key.Reveal(), key.Reveal())
}

// certificate gives the pair as it lies there now, and the same pointer for as long as it is the same pair. While one of the
// two has been exchanged and the other has not, the pair from before goes on: a rotation drops no request. A pair of which
// one cannot be had closes the way (row I6).
func (p *pair) certificate() (*tls.Certificate, error) {
	chain, err := p.deps.Resolve(p.tls.ClientCert)
	if err != nil {
		return nil, err
	}
	key, err := p.deps.Resolve(p.tls.ClientKey)
	if err != nil {
		return nil, err
	}
	if s := p.seen.Load(); s.same(chain, key) {
		return s.last, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.seen.Load()
	if before.same(chain, key) {
		return before.last, nil
	}
	after := &seen{chain: chain, key: key}
	now, err := tls.X509KeyPair(chain.Reveal(), key.Reveal())
	switch {
	case err == nil:
		after.last = &now
	case before == nil:
		return nil, fmt.Errorf("certificate %s with key %s: %s", p.tls.ClientCert, p.tls.ClientKey, strings.TrimPrefix(err.Error(), "tls: "))
	default:
		after.last = before.last
		p.deps.Log.Warn("client certificate and key don't belong together; those from before are shown", "certificate", p.tls.ClientCert.String(), "key", p.tls.ClientKey.String())
	}
	p.seen.Store(after)
	return after.last, nil
}

// Certificates looks at the certificate that the gateway shows to the servers of this pool and at the authorities that vouch
// for them, and says what is wrong with each or will be. The system's authorities are not looked at.
func (p *Pool) Certificates(now time.Time) []ca.Certificate {
	var all []ca.Certificate
	if p.show != nil {
		where := "upstream.tls.client: internal"
		if !p.cfg.TLS.ClientCert.IsZero() {
			where = "upstream.tls.client_cert: " + p.cfg.TLS.ClientCert.String()
		}
		shown, err := p.show()
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
