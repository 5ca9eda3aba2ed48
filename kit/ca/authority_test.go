package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
)

var start = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

func authority(t testing.TB) *ca.Authority {
	t.Helper()
	a, err := ca.New(rand.Reader, "3f2a.gatehouse.internal", start, year)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func verify(a *ca.Authority, der []byte, at time.Time, usage x509.ExtKeyUsage) error {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func TestAClientIsVouchedForADay(t *testing.T) {
	a := authority(t)
	c, err := a.Client(rand.Reader, "gateway", start, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Leaf.DNSNames, " "); got != "gateway.3f2a.gatehouse.internal" || c.Leaf.Subject.CommonName != got {
		t.Errorf("names %q, subject %v", got, c.Leaf.Subject)
	}
	for name, c := range map[string]struct {
		at    time.Time
		usage x509.ExtKeyUsage
		ok    bool
	}{
		"now":                        {start, x509.ExtKeyUsageClientAuth, true},
		"a clock an hour behind":     {start.Add(-59 * time.Minute), x509.ExtKeyUsageClientAuth, true},
		"before":                     {start.Add(-61 * time.Minute), x509.ExtKeyUsageClientAuth, false},
		"just within":                {start.Add(24*time.Hour - time.Second), x509.ExtKeyUsageClientAuth, true},
		"after":                      {start.Add(24*time.Hour + time.Second), x509.ExtKeyUsageClientAuth, false},
		"as a server's":              {start, x509.ExtKeyUsageServerAuth, false},
		"for code":                   {start, x509.ExtKeyUsageCodeSigning, false},
		"another authority's client": {start, x509.ExtKeyUsageClientAuth, false},
	} {
		by := a
		if strings.HasPrefix(name, "another") {
			by = authority(t)
		}
		der, _ := a.Client(rand.Reader, "gateway", start, 24*time.Hour)
		if err := verify(by, der.Certificate[0], c.at, c.usage); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A stolen key is worth nothing for any other name, for a server, or for another authority.
func TestAStolenKeyIsConfined(t *testing.T) {
	a := authority(t)
	secret, err := a.Secret()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"within":              func(c *x509.Certificate) { c.DNSNames = []string{"x.3f2a.gatehouse.internal"} },
		"another name":        func(c *x509.Certificate) { c.DNSNames = []string{"shop.example"} },
		"another's domain":    func(c *x509.Certificate) { c.DNSNames = []string{"gateway.ffff.gatehouse.internal"} },
		"an address":          func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, []byte{10, 0, 0, 1}) },
		"somebody's mail":     func(c *x509.Certificate) { c.EmailAddresses = []string{"root@shop.example"} },
		"a server's purpose":  func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"an authority's work": func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
	} {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: start, NotAfter: start.Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, pair.Leaf, key.Public(), pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		err = verify(a, der, start, x509.ExtKeyUsageClientAuth)
		if template.IsCA { // it may show itself, but vouch for nobody
			below := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: start, NotAfter: start.Add(time.Hour), DNSNames: []string{"x.3f2a.gatehouse.internal"}, ExtKeyUsage: template.ExtKeyUsage}
			middle, _ := x509.ParseCertificate(der)
			leafDER, err := x509.CreateCertificate(rand.Reader, below, middle, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			leaf, _ := x509.ParseCertificate(leafDER)
			roots, middles := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(a.Certificate)
			middles.AddCert(middle)
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middles, CurrentTime: start, KeyUsages: below.ExtKeyUsage}); err == nil {
				t.Error("an authority below it is trusted")
			}
			continue
		}
		if (err == nil) != (name == "within") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClientEndsWithItsAuthority(t *testing.T) {
	a := authority(t)
	late := start.Add(year - time.Hour)
	c, err := a.Client(rand.Reader, "gateway", late, 24*time.Hour)
	if err != nil || !c.Leaf.NotAfter.Equal(a.Certificate.NotAfter) {
		t.Errorf("%v, %v", c.Leaf.NotAfter, err)
	}
	if _, err := a.Client(rand.Reader, "gateway", start.Add(year+time.Second), 24*time.Hour); err == nil {
		t.Error("an authority that has ended vouches")
	}
	if _, err := a.Client(rand.Reader, "gateway", start.Add(-2*time.Hour), 24*time.Hour); err == nil {
		t.Error("an authority that has not begun vouches")
	}
}

func TestNames(t *testing.T) {
	a := authority(t)
	for name, ok := range map[string]bool{
		"gateway": true, "shop-1": true, "a.b": true, strings.Repeat("a", 63): true,
		"": false, "A": false, "*": false, "a b": false, "a_b": false, "-a": false, "a-": false, "a..b": false, ".a": false, "ä": false, "a\x00": false, strings.Repeat("a", 64): false,
	} {
		c, err := a.Client(rand.Reader, name, start, time.Hour)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		} else if ok && c.Leaf.DNSNames[0] != name+".3f2a.gatehouse.internal" {
			t.Errorf("%q: %q", name, c.Leaf.DNSNames)
		}
	}
	for _, domain := range []string{"", "internal", "*.internal", "a..internal", ".internal", "A.internal"} {
		if _, err := ca.New(rand.Reader, domain, start, year); err == nil {
			t.Errorf("an authority for %q is made", domain)
		}
	}
}

func TestSecretIsReadBack(t *testing.T) {
	a := authority(t)
	secret, err := a.Secret()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ca.Parse(secret)
	if err != nil || !again.Certificate.Equal(a.Certificate) || again.Domain() != "3f2a.gatehouse.internal" {
		t.Fatalf("%v, %v", again, err)
	}
	if strings.Contains(string(a.PEM()), "PRIVATE") {
		t.Error("the key is published")
	}
	client, _ := a.Client(rand.Reader, "x", start, time.Hour)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: client.Certificate[0]})
	other, _ := authority(t).Secret()
	_, key, _ := strings.Cut(string(other), "-----END CERTIFICATE-----\n")
	for name, wrong := range map[string]string{
		"nothing": "", "no key": string(a.PEM()), "another's key": string(a.PEM()) + key, "half": string(secret[:len(secret)/2]), "no authority": string(leaf) + key,
	} {
		if _, err := ca.Parse([]byte(wrong)); err == nil {
			t.Errorf("%s is an authority", name)
		}
	}
}
