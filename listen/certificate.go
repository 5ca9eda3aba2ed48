package listen

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// CertInfo is one certificate that clients can be shown, for the inventory and its metrics.
type CertInfo struct {
	Names       []string // DNS names and IP addresses that it covers
	Issuer      string
	Serial      string // hexadecimal
	NotBefore   time.Time
	NotAfter    time.Time
	Source      string // the file, "acme" or "development"
	Fingerprint string // SHA-256 of the certificate, hexadecimal
}

// source is where certificates come from.
type source interface {
	covers(name string) bool // name in lower case without trailing dot; "" asks for the default
	certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	inventory() []CertInfo
}

// shelf is every source, in the order of preference.
type shelf []source

var errServerName = errors.New("no certificate covers the server name")

func (s shelf) find(name string) (source, bool) {
	for _, src := range s {
		if src.covers(name) {
			return src, true
		}
	}
	return nil, false
}

func (s shelf) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	src, ok := s.find(canonicalName(hello.ServerName))
	if !ok {
		return nil, errServerName
	}
	return src.certificate(hello)
}

func (s shelf) inventory() []CertInfo {
	var all []CertInfo
	for _, src := range s {
		all = append(all, src.inventory()...)
	}
	return all
}

// canonicalName is how server names are compared: lower case, without the dot that makes a name absolute, so that
// "A.test." cannot reach another policy than "a.test" (A17). crypto/tls itself refuses the dot in a handshake.
func canonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// files is the certificates of the document, as they lie on disk at one moment.
type files struct {
	exact    map[string][]*tls.Certificate
	wildcard map[string][]*tls.Certificate // key: the name without its "*."
	list     []loaded
}

type loaded struct {
	from string
	cert *tls.Certificate
}

// loadFiles reads every certificate and checks that it can be used. One mistake spoils them all (I5): a certificate that
// is left out would show clients another, or none.
func loadFiles(configured []CertificateFiles, resolve Resolve) (*files, mistake.List) {
	f := &files{exact: map[string][]*tls.Certificate{}, wildcard: map[string][]*tls.Certificate{}}
	var list mistake.List
	for i, c := range configured {
		cert, err := loadPair(c, resolve)
		if errors.Is(err, secret.ErrElsewhere) {
			continue
		}
		if err != nil {
			list.Under(fmt.Sprintf("certificates[%d]", i), err)
			continue
		}
		f.list = append(f.list, loaded{from: c.Cert, cert: cert})
		for _, name := range namesOf(cert.Leaf) {
			name = canonicalName(name)
			if rest, ok := strings.CutPrefix(name, "*."); ok {
				f.wildcard[rest] = append(f.wildcard[rest], cert)
				continue
			}
			f.exact[name] = append(f.exact[name], cert)
		}
	}
	return f, list
}

func loadPair(c CertificateFiles, resolve Resolve) (*tls.Certificate, error) {
	chain, err := os.ReadFile(c.Cert)
	if err != nil {
		return nil, mistake.Mistake{Path: "cert", What: fmt.Sprintf("read certificate: %v", err)}
	}
	if len(bytes.TrimSpace(chain)) == 0 {
		return nil, mistake.Mistake{Path: "cert", What: c.Cert + " is empty"}
	}
	key, err := resolve(c.Key)
	if errors.Is(err, secret.ErrElsewhere) {
		return nil, err
	}
	if err != nil {
		return nil, mistake.Mistake{Path: "key", What: err.Error()}
	}
	cert, err := tls.X509KeyPair(chain, key.Reveal())
	if err != nil {
		return nil, mistake.Mistake{What: fmt.Sprintf("certificate %s with key %s: %v", c.Cert, c.Key, withoutPrefix(err))}
	}
	if err := usable(&cert); err != nil {
		return nil, mistake.Mistake{Path: "cert", What: fmt.Sprintf("%s: %v", c.Cert, err)}
	}
	return &cert, nil
}

func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }

// usable refuses what every client would refuse whatever the time is. An expired certificate is not refused: it was right
// once, and refusing it would turn a warning into an outage at the next start. The inventory shows it.
func usable(c *tls.Certificate) error {
	leaf := c.Leaf
	if leaf.IsCA {
		return errors.New("the first certificate is an authority; put the server's own first")
	}
	if len(namesOf(leaf)) == 0 {
		return errors.New("names no server (subjectAltName is missing)")
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		return fmt.Errorf("RSA key of %d bits; use 2048 or more", key.N.BitLen())
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return errors.New("is not made for servers (extended key usage)")
	}
	for i := 1; i < len(c.Certificate); i++ {
		child, err := x509.ParseCertificate(c.Certificate[i-1])
		if err != nil {
			return err
		}
		parent, err := x509.ParseCertificate(c.Certificate[i])
		if err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
			return fmt.Errorf("certificate %d of the chain did not issue the one before it", i+1)
		}
	}
	return nil
}

func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func (f *files) candidates(name string) []*tls.Certificate {
	if name == "" {
		if len(f.list) == 0 {
			return nil
		}
		return []*tls.Certificate{f.list[0].cert}
	}
	if list := f.exact[name]; len(list) > 0 {
		return list
	}
	_, parent, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	return f.wildcard[parent]
}

func (f *files) covers(name string) bool { return len(f.candidates(name)) > 0 }

// certificate gives the first that the client can use: an ECDSA certificate may stand beside an RSA one.
func (f *files) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := f.candidates(canonicalName(hello.ServerName))
	if len(list) == 0 {
		return nil, errServerName
	}
	for _, c := range list {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return list[0], nil
}

func (f *files) inventory() []CertInfo {
	var all []CertInfo
	for _, l := range f.list {
		all = append(all, describe(l.cert.Leaf, l.from))
	}
	return all
}

func describe(leaf *x509.Certificate, from string) CertInfo {
	return CertInfo{
		Names: namesOf(leaf), Issuer: leaf.Issuer.String(), Serial: fmt.Sprintf("%x", leaf.SerialNumber),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Source: from,
		Fingerprint: fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)),
	}
}

// stamp is what of a file changes when the file does; of a key that lies elsewhere, a digest of its value.
type stamp struct {
	path string
	info os.FileInfo // nil when there is none
	sum  [sha256.Size]byte
}

func stampsOf(configured []CertificateFiles, resolve Resolve) []stamp {
	var all []stamp
	for _, c := range configured {
		for _, path := range []string{c.Cert, c.Key.Path()} {
			if path != "" {
				info, _ := os.Stat(path)
				all = append(all, stamp{path: path, info: info})
			}
		}
		if c.Key.Path() != "" {
			continue
		}
		elsewhere := stamp{path: c.Key.String()}
		if v, err := resolve(c.Key); err == nil {
			elsewhere.sum = sha256.Sum256(v.Reveal())
		}
		all = append(all, elsewhere)
	}
	return all
}

// withdrawn tells certificates whose key is gone from the others. A key in a file is not meant: that it is missing for a
// moment may be a rotation; of other places a secret.Keeper has made sure.
func withdrawn(configured []CertificateFiles, resolve Resolve) (kept, gone []CertificateFiles) {
	for _, c := range configured {
		if c.Key.Path() == "" {
			if _, err := resolve(c.Key); errors.Is(err, secret.ErrGone) {
				gone = append(gone, c)
				continue
			}
		}
		kept = append(kept, c)
	}
	return kept, gone
}

func sameStamps(a, b []stamp) bool {
	return slices.EqualFunc(a, b, func(x, y stamp) bool {
		if x.info == nil || y.info == nil {
			return x.path == y.path && x.info == y.info && x.sum == y.sum
		}
		return x.path == y.path && os.SameFile(x.info, y.info) && x.info.Size() == y.info.Size() && x.info.ModTime().Equal(y.info.ModTime())
	})
}
