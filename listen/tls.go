package listen

import (
	"crypto/tls"
)

// The protocols of ALPN that are served; a client that names none speaks HTTP/1.1.
const (
	protocolHTTP1 = "http/1.1"
	protocolHTTP2 = "h2"
	protocolACME  = "acme-tls/1" // RFC 8737: proves to the authority that we hold the name; no request follows
)

// newTLS makes the one TLS policy that all server names share, client certificates included, which is why a request whose
// host differs from the server name of its handshake cannot reach a weaker one (D14). Every call makes new ticket keys: what is resumed was agreed upon
// under the very same settings (D19). There is no 0-RTT in crypto/tls over TCP (D13).
func newTLS(certs shelf, acme *acmeSource, lowest TLSVersion, who *callers) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{protocolHTTP2, protocolHTTP1},
		GetCertificate: certs.certificate,
	}
	if lowest == TLS12 {
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{ // forward secret and authenticated, all fit for HTTP/2 (RFC 9113, appendix A)
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	who.demand(c)
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if acme != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == protocolACME {
			return acme.challengeTLS(), nil
		}
		// GetCertificate is not asked when a session is resumed, so the name is judged here.
		if _, ok := certs.find(canonicalName(hello.ServerName)); !ok {
			return nil, errServerName
		}
		return nil, nil
	}
	return c
}
