package listen

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen/proxyheader"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section `listen`.
type Config struct {
	// Addresses to serve clients on, such as https://0.0.0.0:8443. Default: https://localhost:8443. An http:// address
	// must be on loopback, unless plaintext says why not.
	At []Address `yaml:"at"`
	// Certificates with their keys. A client gets the first whose names cover the server name it asks for, exact names
	// before wildcards; one that asks for no name gets the first of the list; one that asks for a name that none covers
	// is refused. The files are read again when they change.
	Certificates []CertificateFiles `yaml:"certificates"`
	// Certificates obtained and renewed by ACME (RFC 8555), such as from Let's Encrypt.
	ACME *ACME `yaml:"acme"`
	// Certificates that clients may or must show, for tokens that are bound to one (RFC 8705). Default: none is asked for.
	ClientCertificates *ClientCertificates `yaml:"client_certificates"`
	// Lowest TLS version: 1.3 (default) or 1.2.
	MinTLS TLSVersion `yaml:"min_tls"`
	// Address that answers every request with a redirect (308) to the first https address, such as http://0.0.0.0:80.
	// It also answers ACME's HTTP-01 challenges. Default: none.
	Redirect Address `yaml:"redirect"`
	// Address of health, readiness and metrics, apart from everything that clients reach. Default: http://127.0.0.1:9090.
	Admin Address `yaml:"admin"`
	// Networks whose hosts are proxies of ours: what they say about their clients is believed. Default: none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Version of the PROXY protocol that trusted proxies must speak: off (default), v1, v2 or both. A connection of a
	// trusted proxy without the header, and a header from anybody else, are closed.
	ProxyProtocol ProxyProtocol `yaml:"proxy_protocol"`
	// The reason why http:// may be served beyond loopback, such as "TLS ends at the load balancer on the same host".
	Plaintext gate.Risk `yaml:"plaintext"`
	// Bounds of each connection and of all of them.
	Limits Limits `yaml:"limits"`
}

// CertificateFiles is one certificate with its key.
type CertificateFiles struct {
	// File with the certificate and the chain behind it, PEM, the server's own first.
	Cert string `yaml:"cert,public"`
	// Reference to the private key, PEM: file:/path or env:NAME.
	Key secret.Ref `yaml:"key"`
}

// ClientCertificates is whose certificates clients show in the handshake. It holds for every https address and every name.
type ClientCertificates struct {
	// Files with the certificates, PEM, of the authorities that vouch for clients. A client that shows a certificate of
	// anybody else doesn't get through the handshake. The files are read again when they change.
	CA []string `yaml:"ca,public"`
	// Whether a client may come without a certificate: request (default) lets it, require ends the handshake.
	Mode ClientMode `yaml:"mode"`
}

// ClientMode says whether a client may come without a certificate. The zero ClientMode is request.
type ClientMode string

// The modes.
const (
	RequestCertificate ClientMode = "request"
	RequireCertificate ClientMode = "require"
)

// Values lists the words.
func (ClientMode) Values() []string {
	return []string{string(RequestCertificate), string(RequireCertificate)}
}

// ACME is where certificates come from when nobody puts them into files.
type ACME struct {
	// Address at which the authority can warn about expiry.
	Email string `yaml:"email"`
	// URL of the authority's directory. Default: https://acme-v02.api.letsencrypt.org/directory.
	Directory string `yaml:"directory"`
	// Names to obtain certificates for. Wildcards need DNS-01, which is not built.
	Domains []string `yaml:"domains"`
	// File with the root, PEM, that the authority's own HTTPS is checked against. Default: the system's roots.
	CARoot string `yaml:"ca_root,public"`
	// True says that the authority's terms of service are accepted.
	AcceptTerms bool `yaml:"accept_terms"`
	// Directory for account and certificates, kept between starts. Default: acme in the state directory.
	Storage string `yaml:"storage,public"`
}

// TLSVersion is the lowest version of TLS. The zero TLSVersion is 1.3.
type TLSVersion string

// The versions that are safe to speak.
const (
	TLS13 TLSVersion = "1.3"
	TLS12 TLSVersion = "1.2"
)

// Values lists the words.
func (TLSVersion) Values() []string { return []string{string(TLS13), string(TLS12)} }

// ProxyProtocol says which versions of the PROXY protocol trusted proxies must speak. The zero ProxyProtocol is off.
type ProxyProtocol string

// What trusted proxies may be asked for.
const (
	ProxyOff  ProxyProtocol = "off"
	ProxyV1   ProxyProtocol = "v1"
	ProxyV2   ProxyProtocol = "v2"
	ProxyBoth ProxyProtocol = "both"
)

// Values lists the words.
func (ProxyProtocol) Values() []string {
	return []string{string(ProxyOff), string(ProxyV1), string(ProxyV2), string(ProxyBoth)}
}

// On tells that a header is demanded of trusted proxies.
func (p ProxyProtocol) On() bool { return p != "" && p != ProxyOff }

// accept gives what the reader of headers takes; an unknown word takes nothing.
func (p ProxyProtocol) accept() proxyheader.Accept {
	return proxyheader.Accept{V1: p == ProxyV1 || p == ProxyBoth, V2: p == ProxyV2 || p == ProxyBoth}
}

// defaultDirectory is Let's Encrypt's production directory.
const defaultDirectory = "https://acme-v02.api.letsencrypt.org/directory"

// AdminAddress is the address for health and metrics, the default included. Listen only checks it; serving it is the
// caller's part.
func (c Config) AdminAddress() Address {
	if c.Admin.IsZero() {
		return Address{scheme: "http", host: "127.0.0.1", port: 9090}
	}
	return c.Admin
}

func (c Config) withDefaults() Config {
	if c.At == nil {
		c.At = []Address{{scheme: "https", host: "localhost", port: 8443}}
	}
	if c.ACME != nil && c.ACME.Directory == "" {
		acme := *c.ACME
		acme.Directory = defaultDirectory
		c.ACME = &acme
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

func (c Config) secure() bool {
	for _, a := range c.At {
		if a.Secure() {
			return true
		}
	}
	return false
}

// check finds every mistake that can be seen without opening a file or a socket.
func (c Config) check(d Deps) mistake.List {
	var list mistake.List
	c.checkAddresses(&list, d)
	c.checkCertificates(&list, d)
	for i, p := range c.TrustedProxies {
		place := fmt.Sprintf("trusted_proxies[%d]", i)
		switch {
		case !p.IsValid():
			list.Add(place, "", "is not a prefix")
		case p != p.Masked():
			list.Add(place, p.Masked().String(), "%s has bits set behind its length", p)
		case p.Addr().Is4In6():
			list.Add(place, "", "%s is IPv4 in IPv6 form; write it as IPv4", p)
		case p.Bits() == 0:
			list.Add(place, "", "%s trusts every host there is to say who its client is; write your proxies' networks", p)
		}
	}
	if c.ProxyProtocol.On() && len(c.TrustedProxies) == 0 {
		list.Add("proxy_protocol", "trusted_proxies: [192.0.2.0/28]", "demands a header of trusted proxies, but none is listed")
	}
	if c.MinTLS != "" && !slices.Contains(c.MinTLS.Values(), string(c.MinTLS)) {
		list.Add("min_tls", "1.3", "%q is no TLS version that is safe to speak", c.MinTLS)
	}
	if c.ProxyProtocol != "" && !slices.Contains(c.ProxyProtocol.Values(), string(c.ProxyProtocol)) {
		list.Add("proxy_protocol", "v2", "%q is not off, v1, v2 or both", c.ProxyProtocol)
	}
	c.Limits.check(&list)
	return list
}

func (c Config) checkAddresses(list *mistake.List, d Deps) {
	if len(c.At) == 0 {
		list.Add("at", "[https://0.0.0.0:8443]", "is empty: nobody could connect")
	}
	plain := c.Plaintext.Accepted(d.Now())
	seen := map[string]string{}
	once := func(place string, a Address) {
		if other, ok := seen[a.HostPort()]; ok && a.port != 0 {
			list.Add(place, "", "%s is already used by %s", a, other)
		}
		seen[a.HostPort()] = place
	}
	for i, a := range c.At {
		place := fmt.Sprintf("at[%d]", i)
		once(place, a)
		if !a.Secure() && !a.Loopback() && !plain {
			list.Add(place, "https://"+a.HostPort(), "%s would carry tokens in the clear beyond this machine; without TLS only loopback is served, unless plaintext.accept_risk says why", a)
		}
	}
	if !c.Redirect.IsZero() {
		once("redirect", c.Redirect)
		if c.Redirect.Secure() {
			list.Add("redirect", "http://"+c.Redirect.HostPort(), "%s is not an http address", c.Redirect)
		}
		if !c.secure() {
			list.Add("redirect", "", "there is no https address to redirect to")
		}
	}
	if admin := c.AdminAddress(); true {
		once("admin", admin)
		if admin.Secure() {
			list.Add("admin", "http://"+admin.HostPort(), "TLS is not built for the admin address")
		} else if !admin.Loopback() && !plain {
			list.Add("admin", "http://127.0.0.1:9090", "%s would show health and metrics beyond this machine, unless plaintext.accept_risk says why", admin)
		}
	}
}

func (c Config) checkCertificates(list *mistake.List, d Deps) {
	for i, f := range c.Certificates {
		if f.Cert == "" {
			list.Add(fmt.Sprintf("certificates[%d].cert", i), "", "no file is given")
		}
		if f.Key.IsZero() {
			list.Add(fmt.Sprintf("certificates[%d].key", i), "file:/etc/gatehouse/tls.key", "no key is given")
		}
	}
	if a := c.ACME; a != nil {
		a.check(list)
	}
	if a := c.ClientCertificates; a != nil {
		a.check(list)
		if !c.secure() {
			list.Add("client_certificates", "at: [https://0.0.0.0:8443]", "there is no https address that could ask for one")
		}
	}
	if len(c.Certificates) > 0 || c.ACME != nil {
		return
	}
	for i, a := range c.At {
		switch {
		case !a.Secure():
		case !a.Loopback():
			list.Add(fmt.Sprintf("at[%d]", i), "certificates: [{cert: /etc/gatehouse/tls.crt, key: \"file:/etc/gatehouse/tls.key\"}]",
				"%s is beyond this machine and there is no certificate for it; give certificates or acme", a)
		case !d.Development:
			list.Add("certificates", "certificates: [{cert: /etc/gatehouse/tls.crt, key: \"file:/etc/gatehouse/tls.key\"}]",
				"%s needs a certificate; give certificates or acme", a)
		}
	}
}
