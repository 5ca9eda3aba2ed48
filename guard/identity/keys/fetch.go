package keys

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// Bounds of one fetch.
const (
	fetchTime   = 5 * time.Second
	connectTime = 2 * time.Second
	maxHead     = 16 << 10 // bytes of an answer's header
	idleTime    = 30 * time.Second
	idleConns   = 32
)

// Network is how a fetch reaches the outside.
type Network struct {
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)   // all addresses of a name
	Dial   func(ctx context.Context, to netip.AddrPort) (net.Conn, error) // to exactly this address
}

// System is the network of this machine.
func System() Network {
	return Network{
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{Timeout: connectTime}
			return d.DialContext(ctx, "tcp", to.String())
		},
	}
}

// Offline is no network at all: for whoever only wants to know whether a document is right.
func Offline() Network {
	return Network{
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errOffline },
		Dial:   func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errOffline },
	}
}

var errOffline = errors.New("there is no network here")

// Origin says where an issuer's keys come from. File wins over URL, URL over discovery at the issuer.
type Origin struct {
	Issuer  string // as tokens name it
	File    string // JWK Set on this machine
	URL     string // JWK Set
	CA      string // PEM of the authorities that may vouch for the server, "": the system's
	Private bool   // the server may have a private address
}

// fetcher reads one origin.
type fetcher struct {
	origin Origin
	net    Network
	roots  *x509.CertPool
}

func newFetcher(o Origin, n Network) (*fetcher, error) {
	f := &fetcher{origin: o, net: n}
	if o.CA != "" {
		f.roots = x509.NewCertPool()
		if !f.roots.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, errors.New("no certificate of an authority in the CA file")
		}
	}
	return f, nil
}

// fetch gives the bytes of the JWK Set.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if f.origin.URL != "" {
		u, err := CheckURL(f.origin.URL, true)
		if err != nil {
			return nil, err
		}
		return f.get(ctx, u, Loopback(u.Hostname()))
	}
	issuer, err := CheckURL(f.origin.Issuer, false)
	if err != nil {
		return nil, err
	}
	return f.discover(ctx, issuer)
}

// discover reads the issuer's own description (OpenID Connect Discovery 1.0 section 4), which must be that of this issuer
// and no other (section 4.3), and then the key set that it names.
func (f *fetcher) discover(ctx context.Context, issuer *url.URL) ([]byte, error) {
	loopback := Loopback(issuer.Hostname())
	at, err := CheckURL(strings.TrimSuffix(f.origin.Issuer, "/")+"/.well-known/openid-configuration", false)
	if err != nil {
		return nil, err
	}
	data, err := f.get(ctx, at, loopback)
	if err != nil {
		return nil, err
	}
	var description struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: not UTF-8", at)
	}
	if err := json.Unmarshal(data, &description); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if description.Issuer != f.origin.Issuer {
		return nil, fmt.Errorf("%s describes the issuer %q, not %q; the two must be the same to the letter", at, cut(description.Issuer), f.origin.Issuer)
	}
	where, err := CheckURL(description.Keys, true)
	if err != nil {
		return nil, fmt.Errorf("%s: jwks_uri: %w", at, err)
	}
	return f.get(ctx, where, loopback)
}

// client speaks to the host of a URL: no redirect, no proxy, no compression, and only to addresses that were judged.
func (f *fetcher) client(u *url.URL, loopback bool) *http.Client {
	may := reach{loopback: loopback && Loopback(u.Hostname()), private: f.origin.Private, only: u.Scheme != "https"}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            f.dialer(may),
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.roots},
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHead,
			IdleConnTimeout:        idleTime,
			MaxIdleConnsPerHost:    idleConns,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get reads one document of at most 256 KiB.
func (f *fetcher) get(ctx context.Context, u *url.URL, loopback bool) ([]byte, error) {
	client := f.client(u, loopback)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "key-fetch")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d; redirects are not followed", u, answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxSet+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	if len(data) > maxSet {
		return nil, fmt.Errorf("%s answered with more than %d KiB", u, maxSet>>10)
	}
	return data, nil
}

// dialer resolves a name once, judges every address and connects to exactly the one it judged: a name that resolves
// differently the next time (DNS rebinding) gains nothing.
func (f *fetcher) dialer(may reach) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		host, portText, err := net.SplitHostPort(target)
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil {
			return nil, err
		}
		addresses, err := f.resolve(ctx, host)
		if err != nil {
			return nil, err
		}
		failed := fmt.Errorf("%s has no address", host)
		for _, a := range addresses {
			if err := may.permit(a); err != nil {
				failed = fmt.Errorf("%s: %w", host, err)
				continue
			}
			conn, err := f.connect(ctx, netip.AddrPortFrom(a.Unmap(), uint16(port)))
			if err == nil {
				return conn, nil
			}
			failed = err
		}
		return nil, failed
	}
}

func (f *fetcher) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return f.net.Lookup(ctx, host)
}

func (f *fetcher) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	return f.net.Dial(ctx, to)
}

// cut shortens what others wrote before it enters a message.
func cut(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
