package listen

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// Address is a place to listen on, written as a URL: https://0.0.0.0:8443, https://localhost:8443, http://127.0.0.1:8080,
// https://[::]:443. The host is an IP address or localhost, never another name: which interface a name stands for is for
// DNS to say, and may change. The port may be left out where the scheme's own is meant (443, 80).
type Address struct {
	scheme string
	host   string // as written: IP address or "localhost"
	port   uint16
}

// UnmarshalText reads the written form.
func (a *Address) UnmarshalText(text []byte) error {
	parsed, err := ParseAddress(string(text))
	if err == nil {
		*a = parsed
	}
	return err
}

// ParseAddress reads the written form.
func ParseAddress(s string) (Address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" {
		return Address{}, fmt.Errorf("%q is not an address to listen on; write it as https://0.0.0.0:8443", s)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return Address{}, fmt.Errorf("%q has more than scheme, address and port; write %s://%s", s, u.Scheme, u.Host)
	}
	a := Address{scheme: u.Scheme, host: u.Hostname(), port: standardPort(u.Scheme)}
	if a.host != "localhost" {
		ip, err := netip.ParseAddr(a.host)
		if err != nil || ip.Zone() != "" {
			return Address{}, fmt.Errorf("%q is neither an IP address nor localhost; write the address of the interface, or 0.0.0.0 for all", a.host)
		}
		a.host = ip.Unmap().String()
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Address{}, fmt.Errorf("%q is not a port between 0 and 65535", p)
		}
		a.port = uint16(n)
	} else if len(u.Host) > 0 && u.Host[len(u.Host)-1] == ':' {
		return Address{}, fmt.Errorf("%q ends with a colon; write the port behind it", s)
	}
	return a, nil
}

func standardPort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}

// Pattern and Example tell schema and manual what an address looks like.
func (Address) Pattern() string {
	return `^https?://(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$`
}

// Example is an address that is accepted.
func (Address) Example() string { return "https://0.0.0.0:8443" }

// MarshalText writes the address.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String writes the address as a URL; "" for the zero Address.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return a.scheme + "://" + a.HostPort()
}

// IsZero tells that no address is given.
func (a Address) IsZero() bool { return a == Address{} }

// Secure tells that the address speaks TLS.
func (a Address) Secure() bool { return a.scheme == "https" }

// HostPort is the form that package net understands, such as "127.0.0.1:8443".
func (a Address) HostPort() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// Port is the port; 0 lets the system choose.
func (a Address) Port() uint16 { return a.port }

// Loopback tells that only this machine can reach the address.
func (a Address) Loopback() bool {
	if a.host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.IsLoopback()
}

// bind opens the sockets of the address: one, or for localhost two, on the same port. A machine without IPv6 has one.
func (a Address) bind() ([]net.Listener, error) {
	if a.host != "localhost" {
		network := "tcp"
		if ip, err := netip.ParseAddr(a.host); err == nil && ip.Is4() {
			network = "tcp4"
		}
		l, err := net.Listen(network, a.HostPort())
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		return []net.Listener{l}, nil
	}
	four, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(a.port))))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	port := four.Addr().(*net.TCPAddr).Port
	six, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
	if err != nil {
		if noIPv6() || a.port == 0 {
			return []net.Listener{four}, nil
		}
		_ = four.Close()
		return nil, fmt.Errorf("listen on %s: %w", a, err) // somebody else would get half of the visitors of localhost
	}
	return []net.Listener{four, six}, nil
}

func noIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return true
	}
	_ = l.Close()
	return false
}
