package keys

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// special lists what is neither private nor loopback and yet no place on the public network: an attacker who chooses a
// name's address, or a document's URL, would reach machines that trust their neighbours (row E6). Sources: the IANA
// special-purpose address registries.
func special() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	}
}

// shared is the address space of carrier-grade NAT (RFC 6598), which clouds also use inside: private for our purpose.
func shared() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// global is IPv6 unicast that is routed on the public network; tunnels lie inside of it and carry any IPv4 address.
func global() (netip.Prefix, []netip.Prefix) {
	return netip.MustParsePrefix("2000::/3"),
		[]netip.Prefix{netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20")}
}

// reach says which addresses a fetch may connect to, beyond the public ones.
type reach struct {
	loopback bool // the operator wrote a loopback host
	private  bool // the operator accepted the risk
	only     bool // nothing but this machine: the fetch is not encrypted
}

// permit refuses an address that a fetch must not reach. Link-local, where clouds keep their metadata, is never reached.
func (r reach) permit(a netip.Addr) error {
	a = a.Unmap()
	switch {
	case !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast():
		return fmt.Errorf("%s is not an address on a network", a)
	case a.IsLoopback():
		if r.loopback {
			return nil
		}
		return fmt.Errorf("%s is this machine; write a loopback host if that is meant", a)
	case r.only:
		return fmt.Errorf("%s is not this machine, and the fetch is not encrypted", a)
	case a.IsPrivate() || shared().Contains(a):
		if r.private {
			return nil
		}
		return fmt.Errorf("%s is a private address; allow_private with its accept_risk permits that", a)
	}
	if a.Is4() {
		for _, p := range special() {
			if p.Contains(a) {
				return fmt.Errorf("%s is not on the public network", a)
			}
		}
		return nil
	}
	public, except := global()
	if !public.Contains(a) {
		return fmt.Errorf("%s is not on the public network", a)
	}
	for _, p := range except {
		if p.Contains(a) {
			return fmt.Errorf("%s is not on the public network", a)
		}
	}
	return nil
}

// Loopback tells that a host, as written in a URL and without port, literally means this machine.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// CheckURL refuses an address from which keys must not be fetched: anything but https, and http to this machine, with
// parts that an issuer's address never has (OpenID Connect Discovery 1.0 section 3: no query, no fragment).
func CheckURL(text string, query bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL", text)
	case u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q has no host", text)
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return nil, fmt.Errorf("%q is not encrypted: whoever sits between could choose the keys; only a loopback host may have http", text)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%q is not an https URL", text)
	case u.User != nil:
		return nil, fmt.Errorf("the URL of host %q carries a user or password", u.Hostname())
	case u.Fragment != "" || strings.Contains(text, "#") || !query && strings.Contains(text, "?"):
		return nil, fmt.Errorf("%q has a query or fragment", text)
	}
	return u, nil
}

// CheckHost refuses a literal address that could never be fetched from.
func CheckHost(host string, private bool) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return reach{loopback: true, private: private}.permit(a)
	}
	return nil // a name: judged when it is resolved
}
