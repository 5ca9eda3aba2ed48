package listen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// authority signs certificates for tests and writes them to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{t: t, dir: t.TempDir(), cert: cert, key: key, pool: pool, next: 100}
}

// issue writes certificate and key for the names to files called name.crt and name.key.
func (a *authority) issue(file string, names ...string) CertificateFiles {
	a.t.Helper()
	a.next++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: file},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	c := CertificateFiles{Cert: filepath.Join(a.dir, file+".crt"), Key: ref(a.t, "file:"+filepath.Join(a.dir, file+".key"))}
	a.write(c.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(c.Key.Path(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return c
}

func (a *authority) write(path string, data []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func ref(t *testing.T, s string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t *testing.T, urls ...string) (list []Address) {
	t.Helper()
	for _, u := range urls {
		a, err := ParseAddress(u)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// bench is a running server and what it reported.
type bench struct {
	*Server
	t *testing.T

	mu        sync.Mutex
	incidents []Incident
	served    chan error
}

func (b *bench) add(i Incident) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.incidents = append(b.incidents, i)
}

func (b *bench) count(reason string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.incidents {
		if i.Reason == reason {
			n++
		}
	}
	return n
}

// expect waits until the reason has been reported.
func (b *bench) expect(reason string) {
	b.t.Helper()
	if !eventually(func() bool { return b.count(reason) > 0 }) {
		b.t.Errorf("no incident %s", reason)
	}
}

func eventually(ok func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

func deps(t *testing.T, h http.Handler) Deps {
	return Deps{Handler: h, Now: time.Now, StateDir: filepath.Join(folder(t), "state"), Poll: 10 * time.Millisecond}
}

// folder is a folder that goes with the test, as soon as nothing is put into it any more: certmagic, once stopped, ends what it
// was about by itself.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "listen-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !eventually(func() bool { return os.RemoveAll(dir) == nil }) {
			t.Errorf("%s can't be removed", dir)
		}
	})
	return dir
}

// run starts a server that ends with the test.
func run(t *testing.T, cfg Config, d Deps) *bench {
	t.Helper()
	b := &bench{t: t, served: make(chan error, 1)}
	d.Report = b.add
	if testing.Verbose() {
		d.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s, err := New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	b.Server = s
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		s.Close()
		select {
		case err := <-b.served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve did not end")
		}
		if !eventually(func() bool { return s.Connections() == 0 }) {
			t.Errorf("%d connections are left", s.Connections())
		}
	})
	return b
}

func (b *bench) hostport(scheme string) string {
	b.t.Helper()
	for _, a := range b.Addresses() {
		u, _ := url.Parse(a)
		if u.Scheme == scheme {
			return u.Host
		}
	}
	b.t.Fatalf("no %s address in %v", scheme, b.Addresses())
	return ""
}

// client makes a client that connects to the bench whatever the URL's host is.
func (b *bench) client(scheme string, protocol int, pool *x509.CertPool) *http.Client {
	where := b.hostport(scheme)
	var p http.Protocols
	p.SetHTTP1(protocol == 1)
	p.SetHTTP2(protocol == 2)
	tr := &http.Transport{
		Protocols: &p, TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, where)
		},
	}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// tell answers with what the socket knows, as the pipeline would ask.
func tell(w http.ResponseWriter, r *http.Request) {
	c, ok := Info(r.Context())
	if !ok {
		w.WriteHeader(500)
		return
	}
	if c.Request != nil {
		if refusal := c.Request.Next(); refusal != nil {
			w.WriteHeader(refusal.Status)
			return
		}
	}
	version := uint16(0)
	if c.TLS != nil {
		version = c.TLS.Version
	}
	_, _ = fmt.Fprintf(w, "%s %s %s trusted=%v tls=%x h1=%v body=%d", r.Proto, c.Scheme, c.Peer.Addr(), c.Trusted(), version, c.Request != nil, r.ContentLength)
}

func TestBothProtocolsOverTLSAndPlainOnLoopback(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At:           at(t, "https://127.0.0.1:0", "http://127.0.0.1:0"),
		Certificates: []CertificateFiles{ca.issue("a", "a.test")},
	}, deps(t, http.HandlerFunc(tell)))
	for _, c := range []struct {
		scheme   string
		protocol int
		want     string
	}{
		{"https", 1, "HTTP/1.1 https 127.0.0.1 trusted=false tls=304 h1=true body=0"},
		{"https", 2, "HTTP/2.0 https 127.0.0.1 trusted=false tls=304 h1=false body=0"},
		{"http", 1, "HTTP/1.1 http 127.0.0.1 trusted=false tls=0 h1=true body=0"},
	} {
		client := b.client(c.scheme, c.protocol, ca.pool)
		for range 3 { // the connection is kept
			if _, body := get(t, client, c.scheme+"://a.test/"); body != c.want {
				t.Errorf("%s %d: %s", c.scheme, c.protocol, body)
			}
		}
	}
	if n := b.Connections(); n != 3 {
		t.Errorf("%d connections for three clients", n)
	}
}

// On plaintext, HTTP/2 with prior knowledge is refused by the strict reader and never reaches an HTTP/2 engine.
func TestNoHTTP2OnPlaintext(t *testing.T) {
	b := run(t, Config{At: at(t, "http://127.0.0.1:0")}, deps(t, http.HandlerFunc(tell)))
	answer := raw(t, b.hostport("http"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if !strings.HasPrefix(answer, "HTTP/1.1 505 ") {
		t.Errorf("answer %.60q", answer)
	}
}

// raw sends bytes and reads until the other side closes.
func raw(t *testing.T, where, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", where)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, send)
	answer, err := io.ReadAll(c)
	if isTimeout(err) {
		t.Fatalf("not closed after %.60q", answer)
	}
	return string(answer)
}

func TestDevelopmentCertificateOnLocalhostOnly(t *testing.T) {
	d := deps(t, http.HandlerFunc(tell))
	d.Development = true
	b := run(t, Config{At: at(t, "https://127.0.0.1:0")}, d)
	certs := b.Certificates()
	if len(certs) != 1 || certs[0].Source != "development" || !slices.Contains(certs[0].Names, "localhost") {
		t.Fatalf("inventory %+v", certs)
	}
	dev := b.settings.Load().certs[0].(development)
	if _, body := get(t, b.client("https", 2, dev.ca.Pool()), "https://localhost/"); !strings.HasPrefix(body, "HTTP/2.0 https") {
		t.Error(body)
	}
	if _, body := get(t, b.client("https", 1, dev.ca.Pool()), "https://127.0.0.1/"); !strings.HasPrefix(body, "HTTP/1.1 https") {
		t.Error(body)
	}
	if _, err := handshake(b.hostport("https"), &tls.Config{RootCAs: dev.ca.Pool(), ServerName: "example.com"}); err == nil {
		t.Error("a certificate was shown for example.com")
	}
}

func handshake(where string, cfg *tls.Config) (tls.ConnectionState, error) {
	d := &net.Dialer{Timeout: 5 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", where, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.ConnectionState(), nil
}

// The server name chooses: exact before wildcard, no name the first, an unknown one nothing; case doesn't matter and the
// trailing dot doesn't reach anything (A17).
func TestServerNameChoosesCertificate(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"),
		Certificates: []CertificateFiles{
			ca.issue("first", "first.test"), ca.issue("wild", "*.b.test"), ca.issue("exact", "x.b.test"),
		},
	}, deps(t, http.HandlerFunc(tell)))
	for name, want := range map[string]string{
		"first.test": "first", "FIRST.test": "first", "y.b.test": "wild", "x.b.test": "exact", "": "first",
		"b.test": "", "z.y.b.test": "", "other.test": "",
	} {
		state, err := handshake(b.hostport("https"), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		got := ""
		if err == nil {
			got = state.PeerCertificates[0].Subject.CommonName
		}
		if got != want {
			t.Errorf("%q: certificate %q, want %q (%v)", name, got, want, err)
		}
	}
	b.expect(reasonServerName)
	if got := canonicalName("A.Test."); got != "a.test" {
		t.Errorf("canonical name %q", got)
	}
	if _, ok := b.settings.Load().certs.find(canonicalName("first.test.")); !ok {
		t.Error("the dot leads to another policy")
	}
}

// A session that was resumed may not carry the client to a name that no certificate covers, nor to another policy (D19).
func TestResumptionKeepsToServerName(t *testing.T) {
	ca := newAuthority(t)
	cfg := Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}
	b := run(t, cfg, deps(t, http.HandlerFunc(tell)))
	cache := tls.NewLRUClientSessionCache(4)
	resume := func(name string) (bool, error) {
		c, err := tls.Dial("tcp", b.hostport("https"), &tls.Config{
			RootCAs: ca.pool, ServerName: name, ClientSessionCache: anyName{cache}, NextProtos: []string{"http/1.1"}})
		if err != nil {
			return false, err
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
		_, err = io.ReadAll(c) // the ticket comes with it
		return c.ConnectionState().DidResume, err
	}
	if resumed, err := resume("a.test"); resumed || err != nil {
		t.Fatal(resumed, err)
	}
	if resumed, err := resume("a.test"); !resumed || err != nil {
		t.Fatal("not resumed", err)
	}
	if _, err := resume("b.test"); err == nil {
		t.Error("resumed for a name that is not served")
	}
	if err := b.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if resumed, err := resume("a.test"); resumed || err != nil {
		t.Errorf("resumed over a reload: %v, %v", resumed, err)
	}
}

// anyName is a cache of sessions that offers the same session for every name.
type anyName struct{ tls.ClientSessionCache }

func (a anyName) Get(string) (*tls.ClientSessionState, bool) { return a.ClientSessionCache.Get("") }
func (a anyName) Put(_ string, s *tls.ClientSessionState)    { a.ClientSessionCache.Put("", s) }

func TestTLSVersions(t *testing.T) {
	ca := newAuthority(t)
	files := []CertificateFiles{ca.issue("a", "a.test")}
	for _, c := range []struct {
		lowest TLSVersion
		client uint16
		ok     bool
	}{
		{"", tls.VersionTLS13, true}, {"", tls.VersionTLS12, false}, {TLS13, tls.VersionTLS12, false},
		{TLS12, tls.VersionTLS12, true}, {TLS12, tls.VersionTLS11, false},
	} {
		b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: files, MinTLS: c.lowest}, deps(t, http.HandlerFunc(tell)))
		_, err := handshake(b.hostport("https"), &tls.Config{RootCAs: ca.pool, ServerName: "a.test", MinVersion: tls.VersionTLS10, MaxVersion: c.client})
		if (err == nil) != c.ok {
			t.Errorf("lowest %v, client %x: %v", c.lowest, c.client, err)
		}
	}
}

// A ClientHello in records of one byte is read whole: the server name in it chooses as ever (D15).
func TestFragmentedClientHello(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At:           at(t, "https://127.0.0.1:0"),
		Certificates: []CertificateFiles{ca.issue("first", "first.test"), ca.issue("second", "second.test")},
	}, deps(t, http.HandlerFunc(tell)))
	for name, want := range map[string]string{"second.test": "second", "other.test": ""} {
		c, err := net.Dial("tcp", b.hostport("https"))
		if err != nil {
			t.Fatal(err)
		}
		client := tls.Client(&splitter{Conn: c}, &tls.Config{RootCAs: ca.pool, ServerName: name})
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		got := ""
		if err := client.Handshake(); err == nil {
			got = client.ConnectionState().PeerCertificates[0].Subject.CommonName
		}
		if got != want {
			t.Errorf("%s: certificate %q, want %q", name, got, want)
		}
		c.Close()
	}
}

// splitter writes the first record, the ClientHello, as records of one byte.
type splitter struct {
	net.Conn
	done bool
}

func (s *splitter) Write(p []byte) (int, error) {
	if s.done {
		return s.Conn.Write(p)
	}
	s.done = true
	var out bytes.Buffer
	for _, b := range p[5:] {
		out.Write([]byte{p[0], p[1], p[2], 0, 1, b})
	}
	_, err := s.Conn.Write(out.Bytes())
	return len(p), err
}

func TestPlaintextToTLSPortIsClosedWithoutHTTP(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}},
		deps(t, http.HandlerFunc(tell)))
	if answer := raw(t, b.hostport("https"), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); strings.Contains(answer, "HTTP/") {
		t.Errorf("answer %q", answer)
	}
	b.expect(reasonHandshake)
}

// H4: who says nothing, or only half a ClientHello, is gone after the handshake time.
func TestHandshakeStall(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")},
		Limits: Limits{Handshake: 150 * time.Millisecond},
	}, deps(t, http.HandlerFunc(tell)))
	for _, send := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01\x00"} {
		began := time.Now()
		raw(t, b.hostport("https"), send)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%q: closed after %v", send, took)
		}
	}
	if !eventually(func() bool { return b.count(reasonHandshakeSlow) == 3 }) {
		t.Errorf("%d incidents", b.count(reasonHandshakeSlow))
	}
}

// H7: one address has its bound; the others are not touched; what is closed makes room.
func TestConnectionsPerAddress(t *testing.T) {
	b := run(t, Config{At: at(t, "http://127.0.0.1:0"), Limits: Limits{PerIPv4: 3}}, deps(t, http.HandlerFunc(tell)))
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", b.hostport("http"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	alive := func(c net.Conn) bool {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	var first []net.Conn
	for range 3 {
		c := dial("127.0.0.2")
		if !alive(c) {
			t.Fatal("refused within the bound")
		}
		first = append(first, c)
	}
	if alive(dial("127.0.0.2")) {
		t.Error("a fourth connection was served")
	}
	b.expect(reasonPerAddress)
	if !alive(dial("127.0.0.3")) {
		t.Error("another address is refused")
	}
	first[0].Close()
	if !eventually(func() bool { return b.Connections() == 3 }) || !alive(dial("127.0.0.2")) {
		t.Error("a closed connection makes no room")
	}
}

func TestNetworkOfAnAddress(t *testing.T) {
	l := Limits{}.withDefaults()
	c := newCensus()
	enter := func(addr string) bool {
		s := &socket{census: c}
		c.enter(s, 1<<20)
		return c.charge(s, mustAddr(addr), l)
	}
	n := 0
	for i := range 300 { // one /64 is one client
		if enter(fmt.Sprintf("2001:db8::%x", i+1)) {
			n++
		}
	}
	if n != 200 {
		t.Errorf("%d connections of one /64", n)
	}
	if !enter("2001:db8:0:1::1") {
		t.Error("the next /64 is refused")
	}
	for range 100 {
		enter("192.0.2.1")
	}
	if enter("::ffff:192.0.2.1") || !enter("192.0.2.2") {
		t.Error("IPv4 is not counted by address, mapped or not")
	}
}

func TestConnectionsInAll(t *testing.T) {
	b := run(t, Config{At: at(t, "http://127.0.0.1:0"), Limits: Limits{Total: 2}}, deps(t, http.HandlerFunc(tell)))
	for range 2 {
		c, err := net.Dial("tcp", b.hostport("http"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(func() bool { return b.Connections() == 2 })
	if answer := raw(t, b.hostport("http"), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); answer != "" {
		t.Errorf("answer %q", answer)
	}
	b.expect(reasonTotal)
}

func TestInfoComesFromConnection(t *testing.T) {
	if _, ok := Info(context.Background()); ok {
		t.Error("a request without a connection has one")
	}
	if c, ok := Info(conn.With(context.Background(), &conn.Conn{ID: 3})); !ok || c.ID != 3 {
		t.Error("another connection")
	}
}
