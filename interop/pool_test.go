package interop

import "crypto/x509"

// pool holds the certificates of a PEM text, or is nil.
func pool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		return nil
	}
	return p
}
