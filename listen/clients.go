package listen

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// callers is whose certificates count in a handshake; nil asks nobody for one.
type callers struct {
	pool *x509.CertPool
	mode tls.ClientAuthType
}

// check finds the mistakes that can be seen without opening a file.
func (c ClientCertificates) check(list *mistake.List) {
	const example = "ca: [/etc/gatehouse/clients-ca.pem]"
	if len(c.CA) == 0 {
		list.Add("client_certificates.ca", example, "no authority is named: nobody's certificate would count")
	}
	if slices.Contains(c.CA, "") {
		list.Add("client_certificates.ca", example, "a file has no name")
	}
	if c.Mode != "" && !slices.Contains(c.Mode.Values(), string(c.Mode)) {
		list.Add("client_certificates.mode", "require", "%q is not request or require", c.Mode)
	}
}

// load reads the authorities. One file that can't be used spoils them all, as with certificates (I5).
func (c *ClientCertificates) load() (*callers, mistake.List) {
	if c == nil {
		return nil, nil
	}
	who := &callers{pool: x509.NewCertPool(), mode: tls.VerifyClientCertIfGiven}
	if c.Mode == RequireCertificate {
		who.mode = tls.RequireAndVerifyClientCert
	}
	var list mistake.List
	for i, path := range c.CA {
		if err := who.add(path); err != nil {
			list.Add(fmt.Sprintf("client_certificates.ca[%d]", i), "", "%v", err)
		}
	}
	return who, list
}

// add reads the authorities of one file: nothing but certificates of authorities, at least one.
func (who *callers) add(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("%s holds a %.40q; certificates are meant", path, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: certificate %d: %w", path, found+1, err)
		}
		if !certificate.BasicConstraintsValid || !certificate.IsCA {
			return fmt.Errorf("%s: certificate %d (%s) is not one of an authority", path, found+1, certificate.Subject)
		}
		who.pool.AddCert(certificate)
		found++
	}
	if found == 0 {
		return errors.New(path + " holds no certificate (PEM)")
	}
	return nil
}

// demand puts it into a TLS policy.
func (who *callers) demand(c *tls.Config) {
	if who != nil {
		c.ClientCAs, c.ClientAuth = who.pool, who.mode
	}
}

// stamps are those of all files that the settings were made from.
func (c Config) stamps(resolve Resolve) []stamp {
	all := stampsOf(c.Certificates, resolve)
	if c.ClientCertificates != nil {
		for _, path := range c.ClientCertificates.CA {
			info, _ := os.Stat(path)
			all = append(all, stamp{path: path, info: info})
		}
	}
	return all
}
