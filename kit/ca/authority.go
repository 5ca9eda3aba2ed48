package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"time"
)

// skew is how far the clock of another machine may be behind.
const skew = time.Hour

// Authority is a certificate and the key that signs for it.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority for clients below a domain, such as "3f2a.gatehouse.internal", that is valid for life from now on
// (and for an hour before, for clocks that are behind). Its key is on the curve P-256.
func New(random io.Reader, domain string, now time.Time, life time.Duration) (*Authority, error) {
	if !validDomain(domain) || !strings.Contains(domain, ".") {
		return nil, fmt.Errorf("%q is not a domain that an authority could be confined to", domain)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	all := []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	template := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{CommonName: "Gatehouse client authority " + serial.Text(16)[:8]},
		NotBefore:                   now.Add(-skew),
		NotAfter:                    now.Add(life),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{domain},
		PermittedURIDomains:         []string{domain},
		PermittedEmailAddresses:     []string{domain},
		ExcludedIPRanges:            all,
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: certificate, key: key}, nil
}

// Domain is what the authority is confined to.
func (a *Authority) Domain() string {
	if len(a.Certificate.PermittedDNSDomains) != 1 {
		return ""
	}
	return a.Certificate.PermittedDNSDomains[0]
}

// Client makes a key and a certificate for a client: name is put before the domain. It is valid for life, or as long as the
// authority is, if that ends before.
func (a *Authority) Client(random io.Reader, name string, now time.Time, life time.Duration) (*tls.Certificate, error) {
	full := name + "." + a.Domain()
	if !validDomain(full) || name == "" {
		return nil, fmt.Errorf("%q is not a name that a certificate can carry; use letters, digits and hyphens", name)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: full},
		DNSNames:     []string{full},
		NotBefore:    latest(now.Add(-skew), a.Certificate.NotBefore),
		NotAfter:     earliest(now.Add(life), a.Certificate.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(full) > 64 { // X.520 bounds a common name; the name proper is the DNS name
		template.Subject.CommonName = ""
		template.Subject.Organization = []string{"Gatehouse"}
	}
	der, err := x509.CreateCertificate(random, template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate)
	// What a server would say: an authority that has expired is found here and not in somebody's log.
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// PEM is the certificate, which servers are told to trust. The key is not in it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// Secret is certificate and key in PEM form, to be kept encrypted.
func (a *Authority) Secret() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// Parse reads what Secret wrote. Errors don't repeat it.
func Parse(secret []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(secret, secret)
	if err != nil {
		return nil, errors.New("certificate and key of the authority cannot be read or don't belong together")
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA || len(pair.Certificate) != 1 || !bytes.Equal(pair.Leaf.RawIssuer, pair.Leaf.RawSubject) {
		return nil, errors.New("the certificate is no authority that Gatehouse made")
	}
	return &Authority{Certificate: pair.Leaf, key: key}, nil
}

// validDomain tells that a name is made of labels of letters, digits and hyphens (RFC 1123, 2.1), in lower case.
func validDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func serialNumber(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always 128 bits long
	return new(big.Int).SetBytes(b), nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
