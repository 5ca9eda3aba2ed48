package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// authority signs the certificates of servers and clients.
type authority struct {
	folder string // of its files
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

func (a authority) file(name string) string { return filepath.Join(a.folder, name) }

// CA is the file that servers are verified with.
func (a authority) CA() string { return a.file("ca.crt") }

// ClientCertificate signs a certificate for a user of the server.
func (a authority) ClientCertificate(t testing.TB, role string) (cert, key secret.Ref) {
	t.Helper()
	der, k, err := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: role}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature})
	if err != nil {
		t.Fatal(err)
	}
	return Secret(t, string(block("CERTIFICATE", der))), Secret(t, string(keyPEM(k)))
}

// certify makes an authority, and the certificate of a server at 127.0.0.1 and localhost.
func (a *authority) certify(folder string, give func(string) error) error {
	a.folder = folder
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "pgtest"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := a.issue(ca, ca, &a.key.PublicKey)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	server, key, err := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"ca.crt": block("CERTIFICATE", der), "server.crt": block("CERTIFICATE", server), "server.key": keyPEM(key)} {
		if err := os.WriteFile(a.file(name), data, 0o600); err != nil {
			return err
		}
		if err := give(a.file(name)); err != nil {
			return err
		}
	}
	return nil
}

func (a authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := a.issue(c, a.cert, &key.PublicKey)
	return der, key, err
}

func (a authority) issue(c, parent *x509.Certificate, public *ecdsa.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	return x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
}

func block(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

func keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // an elliptic key of the standard library
	}
	return block("PRIVATE KEY", der)
}
