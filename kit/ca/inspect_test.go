package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

func (i issued) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Raw}))
}

// issue makes a certificate; by nil it vouches for itself.
func issue(t testing.TB, by *issued, key crypto.Signer, change func(*x509.Certificate)) issued {
	t.Helper()
	if key == nil {
		key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"shop.test", "*.shop.test"},
		NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(0, 2, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issued{c, key}
}

func asAuthority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign, nil, nil
		c.Subject.CommonName, c.NotAfter = name, start.AddDate(5, 0, 0)
	}
}

// sha1Certificate is signed with SHA-1, which crypto/x509 no longer does. Made with openssl for shop.test.
const sha1Certificate = `-----BEGIN CERTIFICATE-----
MIIC9zCCAd+gAwIBAgIBBTANBgkqhkiG9w0BAQUFADATMREwDwYDVQQDDAhvbGQg
cm9vdDAgFw0yNjExMjIxNzA4MDdaGA8yMTI2MTAyOTE3MDgwN1owDzENMAsGA1UE
AwwEc2hvcDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAMmlMat8GcRw
R/vuIWlRunVF9FPTyuRrs1q1X66gPPYGmp5M8DRXG5tszCHCE0OQD1NpV+R3gx0L
Y/SsCEe8w28M1ufEdKjT3JLoTd2TiIrF0RuhhONDaiM8afXthLZxjOTEl7E6FNrx
x+BdoY6UJ0mgzltTOAAm3qfVsaqldpxQaxSqzinO879iexMr2ZXoBTBtNfPGvTtp
e7m3Gn76b1+VcRIQn4bG7XheHXpieKhJ07FKENXl3OudHzQgO8+G3LeZihAhj4Pz
Hv/V0jmu3dbUz4G0ueYs+viqA1RYEpGkyuSuExYYl3FCKO4ENNZfxfyo9jFtyAAr
wbo9VVXiDwECAwEAAaNYMFYwFAYDVR0RBA0wC4IJc2hvcC50ZXN0MB0GA1UdDgQW
BBT+f9PKTZDfZI40XG38yG68LY8VGTAfBgNVHSMEGDAWgBQr4aTU9EOXIHprIOFS
BdFqZbqlLzANBgkqhkiG9w0BAQUFAAOCAQEARZ9NG1dsI0nTSnLOsFtFdmjIPLVC
gXwW72wpqc3d578O/dr0Wfxc60PC+OmShFv5eONJTLw29Fd5pEPSC0EjN++InjTr
C/cO/J6ryg5nklkDJPmerwRUSbLSmpKnFtNPhjXotBwwoNQaUPNjCk2mWdqIrOKF
8U5tMu1NHAmhRw9B5Sle0l9kiz1QayphW2mVI+XoakpGpD0aikqCV+RhI56Gypae
/UxP3XtvcPdk+55Egi7qCubr2LY923QYCSSGVppm39vntEwzbYiaJL/GTZ8YE6ZZ
lXutBPMb+HUbxPLFDb8x62tp0WM/k+5leEI/Bwx5XbNu4wnjKZPQYAihDQ==
-----END CERTIFICATE-----
`

func TestInspect(t *testing.T) {
	root := issue(t, nil, nil, asAuthority("root"))
	middle := issue(t, &root, nil, asAuthority("middle"))
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	long, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	small, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	good := issue(t, &root, nil, nil)
	until := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = start.Add(d) }
	}
	names := []string{"shop.test", "api.shop.test"}
	for name, c := range map[string]struct {
		data  string
		names []string
		want  string // findings of the first
		key   string
	}{
		"good":                 {good.pem(), names, "", "ECDSA P-256"},
		"good, RSA":            {issue(t, &root, long, nil).pem(), names, "", "RSA 2048"},
		"good, Ed25519":        {issue(t, &root, ed, nil).pem(), names, "", "Ed25519"},
		"good, with its chain": {issue(t, &middle, nil, nil).pem() + middle.pem() + root.pem(), names, "", ""},
		"good, a key beside":   {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + good.pem(), names, "", ""},
		"words around":         {"hello\n" + good.pem() + "bye", names, "", ""},
		"a day's, 20 hours left": {issue(t, &root, nil, func(c *x509.Certificate) {
			c.NotBefore = start.Add(-4 * time.Hour)
			c.NotAfter = start.Add(20 * time.Hour)
		}).pem(), names, "", ""},
		"a day's, 7 hours left": {issue(t, &root, nil, func(c *x509.Certificate) {
			c.NotBefore = start.Add(-17 * time.Hour)
			c.NotAfter = start.Add(7 * time.Hour)
		}).pem(), names, ca.ExpiresSoon, ""},
		"13 days left":            {issue(t, &root, nil, until(13*24*time.Hour)).pem(), names, ca.ExpiresSoon, ""},
		"two seconds left":        {issue(t, &root, nil, until(2*time.Second)).pem(), names, ca.ExpiresSoon, ""},
		"over":                    {issue(t, &root, nil, until(-time.Second)).pem(), names, ca.Expired, ""},
		"not begun":               {issue(t, &root, nil, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Hour) }).pem(), names, ca.NotYetValid, ""},
		"short RSA":               {issue(t, &root, short, nil).pem(), names, ca.WeakKey, "RSA 1024"},
		"small curve":             {issue(t, &root, small, nil).pem(), names, ca.WeakKey, "ECDSA P-224"},
		"SHA-1":                   {sha1Certificate, []string{"shop.test"}, ca.WeakSignature, "RSA 2048"},
		"another name":            {good.pem(), []string{"other.test"}, ca.NameMismatch, ""},
		"two levels below":        {good.pem(), []string{"a.b.shop.test"}, ca.NameMismatch, ""},
		"all below":               {good.pem(), []string{"*.shop.test"}, "", ""},
		"all below another":       {good.pem(), []string{"*.api.shop.test"}, ca.NameMismatch, ""},
		"an address":              {good.pem(), []string{"192.0.2.1"}, ca.NameMismatch, ""},
		"an address that's in it": {issue(t, &root, nil, func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, []byte{192, 0, 2, 1}) }).pem(), []string{"192.0.2.1"}, "", ""},
		"no names":                {issue(t, &root, nil, func(c *x509.Certificate) { c.DNSNames = nil }).pem(), []string{"shop"}, ca.NoNames, ""},
		"a client's without any": {issue(t, &root, nil, func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}).pem(), nil, "", ""},
		"for itself":          {issue(t, nil, nil, nil).pem(), names, ca.SelfSigned, ""},
		"wrong order":         {issue(t, &middle, nil, nil).pem() + root.pem() + middle.pem(), names, ca.ChainIncomplete, ""},
		"another's chain":     {good.pem() + middle.pem(), names, ca.ChainIncomplete, ""},
		"a public one, alone": {issue(t, &middle, nil, func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.test/middle.crt"} }).pem(), names, ca.ChainIncomplete, ""},
		"an authority":        {root.pem(), nil, "", ""},
		"many things":         {issue(t, nil, short, until(-time.Hour)).pem(), []string{"x.test"}, strings.Join([]string{ca.Expired, ca.WeakKey, ca.NameMismatch, ca.SelfSigned}, " "), ""},
		"nothing":             {"", nil, ca.NotUnderstood, ""},
		"no certificate":      {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", nil, ca.NotUnderstood, ""},
		"garbage in PEM":      {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", nil, ca.NotUnderstood, ""},
		"too much":            {strings.Repeat(good.pem(), 2000), nil, ca.NotUnderstood, ""},
	} {
		t.Run(name, func(t *testing.T) {
			all := ca.Inspect("here", []byte(c.data), c.names, start)
			if len(all) == 0 {
				t.Fatal("nothing is told")
			}
			var ids []string
			for _, f := range all[0].Findings {
				ids = append(ids, f.ID)
				if f.What == "" || strings.Contains(f.What, "%!") {
					t.Errorf("says %q", f.What)
				}
			}
			if got := strings.Join(ids, " "); got != c.want || c.key != "" && all[0].Key != c.key {
				t.Errorf("%q, key %q, want %q, %q: %+v", got, all[0].Key, c.want, c.key, all[0].Findings)
			}
		})
	}
}

// Of a bundle of authorities each is told of; a bad one hides no other.
func TestInspectTellsOfAll(t *testing.T) {
	root, other := issue(t, nil, nil, asAuthority("root")), issue(t, nil, nil, func(c *x509.Certificate) { asAuthority("other")(c); c.NotAfter = start.Add(-time.Hour) })
	all := ca.Inspect("bundle", []byte(root.pem()+"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"+other.pem()), nil, start)
	if len(all) != 3 || len(all[0].Findings) != 0 || all[1].Findings[0].ID != ca.Expired || all[2].Findings[0].ID != ca.NotUnderstood || !all[0].Authority {
		t.Errorf("%+v", all)
	}
	text, err := json.Marshal(all[1])
	for _, want := range []string{`"where":"bundle"`, `"subject":"CN=other"`, `"serial":"4d"`, `"not_after":"2027-03-01T11:00:00Z"`, `"key":"ECDSA P-256"`, `"id":"certificate.expired"`} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}

// FuzzInspect: whatever lies there, something is said of it, and nothing of a key.
func FuzzInspect(f *testing.F) {
	good := issue(f, nil, nil, nil)
	f.Add([]byte(good.pem()), "shop.test")
	f.Add([]byte(sha1Certificate), "")
	f.Add(append([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), good.pem()...), "*.x")
	f.Add(good.Raw, "[::1]")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		all := ca.Inspect("here", data, []string{name}, start)
		if len(all) == 0 {
			t.Error("nothing is told")
		}
		if der := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data}); der != nil {
			all = slices.Concat(all, ca.Inspect("here", der, []string{name}, start))
		}
		for _, c := range all {
			if _, err := json.Marshal(c); err != nil {
				t.Error(err)
			}
		}
	})
}
