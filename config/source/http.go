package source

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// fetchTimeout bounds one file from a server, from the connection to its last byte.
const fetchTimeout = 20 * time.Second

// What look says of a file that cannot be had.
const (
	absent  = "absent"  // the server says that it has none
	unknown = "unknown" // it could not be asked when it was read
)

// httpOrigin is a document on a server.
type httpOrigin struct {
	place
	how HTTP
}

func (o httpOrigin) every() time.Duration { return 30 * time.Second }

func (o httpOrigin) open(context.Context) (generation, error) {
	return &served{origin: o, fetched: map[string]fetched{}}, nil
}

// served is a generation on a server: what was fetched, by name.
type served struct {
	origin httpOrigin

	mu      sync.Mutex
	fetched map[string]fetched
	client  *http.Client
}

type fetched struct {
	data []byte
	etag string
	mark string // SHA-256 of data, absent or unknown
}

func (g *served) file() string { return g.origin.file }

func (g *served) id() string { return "" }

func (g *served) name(name string) (string, error) {
	if !localName(name) {
		return "", fmt.Errorf("%s is no name below the document's folder", name)
	}
	return name, nil
}

func (g *served) read(ctx context.Context, contract, name string) ([]byte, error) {
	if !localName(name) {
		return nil, fmt.Errorf("%s is no name beside the document; a document from a server names files relative to itself", name)
	}
	if !beside(contract, name) {
		return nil, fmt.Errorf("%s lies outside of %s, the folder of what refers to it", name, path.Dir(contract))
	}
	g.mu.Lock()
	known, again := g.fetched[name]
	g.mu.Unlock()
	if again && known.data != nil {
		return known.data, nil
	}
	var f fetched
	client, err := g.reader()
	if err == nil {
		f, err = g.origin.fetch(ctx, client, name, fetched{})
	}
	if err != nil {
		f.mark, err = unknown, fmt.Errorf("%w: %w", errAway, err)
	}
	g.mu.Lock()
	g.fetched[name] = f
	g.mu.Unlock()
	if err == nil && f.mark == absent {
		err = fmt.Errorf("%s: the server has no such file (404); put it beside the document", g.origin.address(name))
	}
	return f.data, err
}

// errNoList tells why there are no folders on a server.
var errNoList = errors.New("a server does not tell what lies in a folder; take the document from a file or from git to name folders in it")

func (*served) list(context.Context, string) ([]string, error) { return nil, errNoList }

// beside tells that a file lies in the folder of the contract that refers to it, or is that contract.
func beside(contract, name string) bool {
	folder := path.Dir(contract)
	return name == contract || folder == "." || strings.HasPrefix(name, folder+"/")
}

// reader is the one client that reads this generation.
func (g *served) reader() (*http.Client, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client == nil {
		client, err := g.origin.client()
		if err != nil {
			return nil, err
		}
		g.client = client
	}
	return g.client, nil
}

func (g *served) seen() marks {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := make(marks, len(g.fetched))
	for name, f := range g.fetched {
		seen[name] = f.mark
	}
	return seen
}

// look asks for every file again; one that the server says is unchanged is not sent.
func (g *served) look(ctx context.Context) (marks, error) {
	client, err := g.origin.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	now := marks{}
	for name := range g.seen() {
		g.mu.Lock()
		before := g.fetched[name]
		g.mu.Unlock()
		f, err := g.origin.fetch(ctx, client, name, before)
		if err != nil {
			return nil, err
		}
		now[name] = f.mark
	}
	return now, nil
}

// settled refuses files of two generations: when the last was fetched, the first must still be what it was.
func (g *served) settled(ctx context.Context) error {
	now, err := g.look(ctx)
	if err != nil {
		return err
	}
	for name, mark := range g.seen() {
		if now[name] != mark {
			return fmt.Errorf("%w: %s", ErrChanged, name)
		}
	}
	return nil
}

func (o httpOrigin) address(name string) string {
	u := url.URL{Scheme: o.url.Scheme, Host: o.url.Host, Path: path.Join(path.Dir(o.url.Path), name)}
	return u.String()
}

// client makes a client for one look, so that authority, certificate and token are those of the moment.
func (o httpOrigin) client() (*http.Client, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.how.CA != "" {
		pem, err := readPlain(o.how.CA)
		if err != nil {
			return nil, err
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", o.how.CA)
		}
	}
	if o.how.Certificate != nil {
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.how.Certificate() }
	}
	dial := o.how.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	t := &http.Transport{ // no proxy from the environment
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err == nil && o.url.Scheme == "http" && !near(conn) {
				conn.Close()
				return nil, errors.New("http is for loopback, and this name leads elsewhere; write https")
			}
			return conn, err
		},
		TLSClientConfig: secure, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
	}
	return &http.Client{
		Transport: t, Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func near(conn net.Conn) bool {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// fetch gets a file, or says that it is still what it was.
func (o httpOrigin) fetch(ctx context.Context, client *http.Client, name string, before fetched) (fetched, error) {
	address := o.address(name)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fetched{}, err
	}
	r.Header.Set("User-Agent", "gatehouse")
	strong := before.etag != "" && !strings.HasPrefix(before.etag, "W/") // a weak one may stay while bytes change (RFC 9110, 8.8.1)
	if strong {
		r.Header.Set("If-None-Match", before.etag)
	}
	if o.how.Token != nil {
		token, err := o.how.Token()
		if err != nil {
			return fetched{}, err
		}
		r.Header.Set("Authorization", "Bearer "+string(token))
	}
	answer, err := client.Do(r)
	if err != nil {
		return fetched{}, fmt.Errorf("%s: %w", address, plain(err))
	}
	defer func() { _ = answer.Body.Close() }()
	switch {
	case answer.StatusCode == http.StatusNotModified && strong:
		return before, nil
	case answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusGone:
		return fetched{mark: absent}, nil
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return fetched{}, fmt.Errorf("%s: the server sends elsewhere (%d), which is not followed; write the final address", address, answer.StatusCode)
	case answer.StatusCode != http.StatusOK:
		return fetched{}, fmt.Errorf("%s: the server answers %d", address, answer.StatusCode)
	case answer.Header.Get("Content-Encoding") != "":
		return fetched{}, fmt.Errorf("%s: the server sends it encoded (%q) though nobody asked for that", address, answer.Header.Get("Content-Encoding"))
	case answer.ContentLength < 0 && answer.ProtoMajor == 1 && !slices.Contains(answer.TransferEncoding, "chunked"):
		return fetched{}, fmt.Errorf("%s: the server does not say how long it is, so that a part could not be told from the whole", address)
	}
	data, err := readBounded(answer.Body, address)
	if err != nil {
		return fetched{}, fmt.Errorf("%s: %w", address, plain(err))
	}
	sum := sha256.Sum256(data)
	return fetched{data: append([]byte{}, data...), etag: answer.Header.Get("Etag"), mark: hex.EncodeToString(sum[:])}, nil
}

// plain leaves out the method and address that net/http puts before each error.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
