package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// What Inspect finds. The words are stable.
const (
	Expired         = "certificate.expired"          // its time is over
	ExpiresSoon     = "certificate.expires_soon"     // less than a third of its life is left, and less than 30 days
	NotYetValid     = "certificate.not_yet_valid"    // its time has not come, or this machine's clock is behind
	WeakKey         = "certificate.weak_key"         // RSA below 2048 bits, a curve below 256 bits, DSA
	WeakSignature   = "certificate.weak_signature"   // SHA-1 or MD5
	NameMismatch    = "certificate.name_mismatch"    // a name that it is used for is not in it
	NoNames         = "certificate.no_names"         // a server's certificate without subjectAltName: no client takes it
	SelfSigned      = "certificate.self_signed"      // vouches for itself, and is no authority
	ChainIncomplete = "certificate.chain_incomplete" // the one that issued it is not beside it
	NotUnderstood   = "certificate.not_understood"   // cannot be read
	Missing         = "certificate.missing"          // there should be one, and is none
)

// soon is the longest time before its end in which a certificate is said to end soon.
const soon = 30 * 24 * time.Hour

// Certificate is one certificate that the gateway uses.
type Certificate struct {
	Where       string    `json:"where"`           // where it is used, such as "listen.certificates[0]: /etc/tls/shop.pem"
	Subject     string    `json:"subject"`         //
	Names       []string  `json:"names,omitempty"` // DNS names, addresses and URIs
	Issuer      string    `json:"issuer"`          //
	Serial      string    `json:"serial"`          // hexadecimal
	Fingerprint string    `json:"fingerprint"`     // SHA-256 of the certificate, in hex
	NotBefore   time.Time `json:"not_before"`      //
	NotAfter    time.Time `json:"not_after"`       //
	Key         string    `json:"key"`             // "ECDSA P-256", "RSA 2048", "Ed25519"
	Authority   bool      `json:"authority"`       // it may vouch for others
	Findings    []Finding `json:"findings,omitempty"`
}

// Finding is one thing that is wrong with a certificate, or will be.
type Finding struct {
	ID   string `json:"id"`   // one of the words above
	What string `json:"what"` // in one sentence, with what closes it
}

// maxInspected bounds what is looked at, in bytes; a system's bundle of authorities is a quarter of it.
const maxInspected = 1 << 20

// Inspect looks at all certificates in PEM form that lie in one place. The first is the one that is shown, the others are
// its chain, unless the first is an authority: then all are. Names are those that clients come by ("*.shop.test" for all
// below); none are asked of a client's certificate or an authority.
func Inspect(where string, data []byte, names []string, now time.Time) []Certificate {
	var list []*x509.Certificate
	var bad []Certificate
	if len(data) > maxInspected {
		return []Certificate{unread(where, fmt.Sprintf("is larger than %d bytes", maxInspected))}
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // a key may lie beside it; it is not looked at
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			bad = append(bad, unread(where, strings.TrimPrefix(err.Error(), "x509: ")))
			continue
		}
		list = append(list, c)
	}
	if len(list)+len(bad) == 0 {
		return []Certificate{unread(where, "holds no certificate in PEM form")}
	}
	return append(Look(where, list, names, now), bad...)
}

func unread(where, what string) Certificate {
	return Certificate{Where: where, Findings: []Finding{{NotUnderstood, where + " " + what + "; put a certificate in PEM form there"}}}
}

// Look is Inspect for certificates that were read.
func Look(where string, list []*x509.Certificate, names []string, now time.Time) []Certificate {
	all := make([]Certificate, 0, len(list))
	for i, c := range list {
		one := describe(where, c)
		one.look(c, now)
		if i == 0 && !c.IsCA {
			one.lookLeaf(c, names)
			one.lookChain(list)
		}
		all = append(all, one)
	}
	return all
}

// LookPair is Look for a certificate with its chain and key.
func LookPair(where string, pair *tls.Certificate, names []string, now time.Time) []Certificate {
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	if len(chain) == 0 {
		return []Certificate{unread(where, "holds no certificate")}
	}
	return Look(where, chain, names, now)
}

func describe(where string, c *x509.Certificate) Certificate {
	sum := sha256.Sum256(c.Raw)
	one := Certificate{
		Where: where, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: fmt.Sprintf("%x", c.SerialNumber),
		Fingerprint: hex.EncodeToString(sum[:]), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Authority: c.IsCA,
	}
	one.Names = slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		one.Names = append(one.Names, ip.String())
	}
	for _, u := range c.URIs {
		one.Names = append(one.Names, u.String())
	}
	return one
}

func (one *Certificate) add(id, format string, args ...any) {
	one.Findings = append(one.Findings, Finding{id, fmt.Sprintf(format, args...)})
}

// look finds what is wrong with any certificate.
func (one *Certificate) look(c *x509.Certificate, now time.Time) {
	left := c.NotAfter.Sub(now)
	switch {
	case now.After(c.NotAfter):
		one.add(Expired, "ended on %s; put a new one in its place", day(c.NotAfter))
	case now.Before(c.NotBefore):
		one.add(NotYetValid, "begins on %s; look at this machine's clock", day(c.NotBefore))
	case left < soon && left < c.NotAfter.Sub(c.NotBefore)/3:
		one.add(ExpiresSoon, "ends on %s, in %s; renew it", day(c.NotAfter), days(left))
	}
	kind, weak := kindOf(c)
	one.Key = kind
	if weak {
		one.add(WeakKey, "its key, %s, can be broken; make a new one: ECDSA P-256 or RSA of 2048 bits", one.Key)
	}
	selfIssued := bytes.Equal(c.RawIssuer, c.RawSubject)
	if s := c.SignatureAlgorithm; weakSignature(s) && !(selfIssued && c.IsCA) { // nobody looks at a root's own signature
		one.add(WeakSignature, "is signed with %s, which can be forged; have it issued anew", s)
	}
}

// lookLeaf finds what is wrong with the certificate that is shown.
func (one *Certificate) lookLeaf(c *x509.Certificate, names []string) {
	client := len(c.ExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	if len(one.Names) == 0 && len(names) > 0 && !client {
		one.add(NoNames, "names no server (subjectAltName is missing), so that no client takes it; have it issued anew")
		return
	}
	for _, name := range names {
		if !covers(c, name) {
			one.add(NameMismatch, "does not cover %q, for which it is used; it covers %s", name, strings.Join(one.Names, ", "))
		}
	}
}

// covers tells that a certificate stands for a name; one for all names below a domain needs the wildcard itself.
func covers(c *x509.Certificate, name string) bool {
	if strings.HasPrefix(name, "*.") {
		return slices.ContainsFunc(c.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
	}
	if ip := net.ParseIP(name); ip != nil {
		name = "[" + ip.String() + "]"
	}
	return c.VerifyHostname(name) == nil
}

// lookChain finds a chain that ends before a root would be next. Each must have signed the one before it.
func (one *Certificate) lookChain(list []*x509.Certificate) {
	leaf := list[0]
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		one.add(SelfSigned, "vouches for itself; only who was told of this very certificate can trust it")
		return
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].CheckSignatureFrom(list[i]) != nil && !weakSignature(list[i-1].SignatureAlgorithm) {
			one.add(ChainIncomplete, "certificate %d beside it did not issue the one before it; put the chain in order, the server's own first", i+1)
			return
		}
	}
	if len(list) == 1 && publicIntermediate(leaf) {
		one.add(ChainIncomplete, "stands alone, though %s is no root; put its issuer's certificate behind it", leaf.Issuer)
	}
}

// publicIntermediate tells that a certificate says where its issuer's certificate can be had (RFC 5280, 4.2.2.1), as those
// of public authorities do, whose roots issue nothing directly.
func publicIntermediate(c *x509.Certificate) bool { return len(c.IssuingCertificateURL) > 0 }

func kindOf(c *x509.Certificate) (kind string, weak bool) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen()), key.N.BitLen() < 2048
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name, key.Curve.Params().BitSize < 256
	case ed25519.PublicKey:
		return "Ed25519", false
	}
	return c.PublicKeyAlgorithm.String(), true
}

func weakSignature(s x509.SignatureAlgorithm) bool {
	return slices.Contains([]x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}, s)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
