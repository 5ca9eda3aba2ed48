// Package devca is a certificate authority for one developer's machine: it lets Gatehouse speak TLS in its first minute,
// without a domain and without a click-through warning that would teach people to ignore warnings. Its root key is made
// anew for each installation, never leaves the state directory (0700, the key 0600), and signs names of this machine only
// (localhost, 127.0.0.1, ::1): the root itself carries name constraints, so that even a stolen key is worth nothing for
// any other name to a client that honours them (RFC 5280, 4.2.1.10).
package devca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// How long a root and a leaf are valid. A leaf is made anew when a third of its time is left.
const (
	RootLife = 10 * 365 * 24 * time.Hour
	LeafLife = 30 * 24 * time.Hour
)

const rootFile = "devca.pem" // certificate and key in one file, so that two commands never see halves of two roots

// CA is an open authority. It is safe for concurrent use.
type CA struct {
	root   *x509.Certificate
	key    crypto.Signer
	now    func() time.Time
	random io.Reader

	mu    sync.Mutex
	leafs map[string]*tls.Certificate
}

// Open reads the authority in dir, or makes one there. Commands that start at the same moment end up with the same one. A
// file that cannot be read or understood is an error and is never replaced: clients may trust what it was.
func Open(dir string, now func() time.Time, random io.Reader) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("look at state directory: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("state directory %s is open to others (%v); write: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	path := filepath.Join(dir, rootFile)
	for range 3 {
		data, err := os.ReadFile(path)
		if err == nil {
			ca, err := parse(data)
			if err != nil {
				return nil, fmt.Errorf("development CA %s: %w; remove the file to make a new one", path, err)
			}
			ca.now, ca.random, ca.leafs = now, random, map[string]*tls.Certificate{}
			return ca, ca.current()
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read development CA: %w", err)
		}
		if data, err = create(now(), random); err != nil {
			return nil, fmt.Errorf("make development CA: %w", err)
		}
		if err := publish(path, data); err != nil {
			return nil, fmt.Errorf("write development CA: %w", err)
		}
	}
	return nil, fmt.Errorf("development CA %s comes and goes while it is being read", path)
}

// publish puts data at path, complete or not at all, unless a file is there already.
func publish(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".devca-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, os.ErrExist) {
		return nil // another command was first: its root is the one
	}
	return err
}

func create(now time.Time, random io.Reader) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{CommonName: "Gatehouse development CA " + serial.Text(16)[:8]},
		NotBefore:                   now.Add(-time.Hour),
		NotAfter:                    now.Add(RootLife),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges:           loopback(),
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

func loopback() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}

func parse(data []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("the certificate is no authority")
	}
	return &CA{root: pair.Leaf, key: key}, nil
}

func (ca *CA) current() error {
	if now := ca.now(); now.Before(ca.root.NotBefore) || now.After(ca.root.NotAfter) {
		return fmt.Errorf("the development CA is valid from %s to %s; remove the file %s to make a new one",
			ca.root.NotBefore.Format(time.DateOnly), ca.root.NotAfter.Format(time.DateOnly), rootFile)
	}
	return nil
}

// PEM is the root certificate, which clients are told to trust. The key is not in it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.Raw})
}

// Pool holds the root only.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	return pool
}

// Names are what the development CA signs when nothing else is asked for.
func Names() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// Certificate gives a certificate for the names, which must be localhost, names below it or loopback addresses; without
// names, for Names. It is the same one until a third of its life is left. Leaf keys live in memory only.
func (ca *CA) Certificate(names ...string) (*tls.Certificate, error) {
	if len(names) == 0 {
		names = Names()
	}
	id := fmt.Sprintf("%q", names)
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if c := ca.leafs[id]; c != nil && ca.now().Before(c.Leaf.NotAfter.Add(-LeafLife/3)) && !ca.now().Before(c.Leaf.NotBefore) {
		return c, nil
	}
	c, err := ca.issue(names)
	if err != nil {
		return nil, fmt.Errorf("development certificate for %v: %w", names, err)
	}
	ca.leafs[id] = c
	return c, nil
}

func (ca *CA) issue(names []string) (*tls.Certificate, error) {
	serial, err := serialNumber(ca.random)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), ca.random)
	if err != nil {
		return nil, err
	}
	now := ca.now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(LeafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, n)
	}
	der, err := x509.CreateCertificate(ca.random, template, ca.root, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// What a client would say: wrong names are found here and not in somebody's terminal.
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now}); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, ca.root.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Fingerprint is the SHA-256 of the root certificate, in hex, by which a person compares it.
func (ca *CA) Fingerprint() string { return fmt.Sprintf("%x", sha256.Sum256(ca.root.Raw)) }

func serialNumber(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always 128 bits long
	return new(big.Int).SetBytes(b), nil
}
