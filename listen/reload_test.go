package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

func (b *bench) serial() string {
	b.t.Helper()
	state, err := handshake(b.hostport("https"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.t.Error(err)
		return ""
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

// Changed files are put in force; a certificate whose key is not there yet leaves the old one serving, and is an incident.
func TestChangedFiles(t *testing.T) {
	ca := newAuthority(t)
	files := ca.issue("a", "a.test")
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{files}}, deps(t, http.HandlerFunc(tell)))
	first := b.serial()
	client := b.client("https", 2, ca.pool)
	get(t, client, "https://a.test/")

	oldKey, _ := os.ReadFile(files.Key.Path())
	ca.issue("a", "a.test")
	newKey, _ := os.ReadFile(files.Key.Path())
	ca.write(files.Key.Path(), oldKey) // the certificate is new, the key still old
	b.expect(reasonCertificate)
	if b.serial() != first {
		t.Error("a half-changed certificate is shown")
	}
	ca.write(files.Key.Path(), newKey)
	if !eventually(func() bool { return b.serial() != first }) {
		t.Error("the new certificate is never shown")
	}
	before := b.count(reasonCertificate)
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return b.count(reasonCertificate) > before }) {
		t.Error("a missing file is no incident")
	}
	if b.serial() == "" {
		t.Error("nothing is served after the file went")
	}
	if _, body := get(t, client, "https://a.test/"); !strings.HasPrefix(body, "HTTP/2.0") {
		t.Error("the connection from before is gone")
	}
}

func TestCertificatesInventory(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test", "127.0.0.1"), ca.issue("b", "b.test")},
	}, deps(t, http.HandlerFunc(tell)))
	list := b.Certificates()
	if len(list) != 2 || list[0].Names[0] != "a.test" || list[0].Names[1] != "127.0.0.1" || list[0].Serial != "65" ||
		list[0].Issuer != "CN=test root" || !strings.HasSuffix(list[0].Source, "a.crt") || len(list[0].Fingerprint) != 64 ||
		time.Until(list[1].NotAfter) < 50*time.Minute {
		t.Errorf("%+v", list)
	}
}

// A reload under load loses no request and no connection; a bad one changes nothing.
func TestReloadUnderLoad(t *testing.T) {
	ca := newAuthority(t)
	cfg := Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}
	b := run(t, cfg, deps(t, http.HandlerFunc(tell)))
	where := b.hostport("https")

	stop := make(chan struct{})
	var load sync.WaitGroup
	var answered, failed atomic.Int64
	for i := range 4 {
		client := b.client("https", i%2+1, ca.pool)
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%20 == 0 { // some of them on new connections
					client.CloseIdleConnections()
				}
				resp, err := client.Get("https://a.test/")
				if err != nil {
					t.Error(err)
					failed.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				answered.Add(1)
			}
		})
	}
	for i := range 100 {
		cfg.Limits.Streams = 50 + i%3 // another engine now and then
		if err := b.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		bad := cfg
		bad.Certificates = []CertificateFiles{{Cert: "/nowhere", Key: cfg.Certificates[0].Key}}
		if err := b.Reload(bad); err == nil {
			t.Fatal("a bad document was accepted")
		}
		time.Sleep(2 * time.Millisecond)
	}
	close(stop)
	load.Wait()
	if failed.Load() > 0 || answered.Load() < 100 {
		t.Errorf("%d failed, %d answered", failed.Load(), answered.Load())
	}
	if b.hostport("https") != where {
		t.Error("the socket was exchanged")
	}
	b.control.Lock()
	defer b.control.Unlock()
	if n := len(b.control.retired); n > 8 {
		t.Errorf("%d old engines are kept for four clients", n)
	}
}

// Addresses come and go; one that cannot be bound changes nothing.
func TestReloadChangesAddresses(t *testing.T) {
	one, two := loopback.Address(), loopback.Address()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := Config{At: at(t, "http://"+one)}
	b := run(t, cfg, deps(t, http.HandlerFunc(tell)))
	stays := b.client("http", 1, nil)
	get(t, stays, "http://a.test/")

	if err := b.Reload(Config{At: at(t, "http://"+two, "http://"+taken.Addr().String())}); err == nil {
		t.Error("a taken address was accepted")
	}
	if got := fmt.Sprint(b.Addresses()); got != "[http://"+one+"]" {
		t.Errorf("after a failed reload: %s", got)
	}
	if err := b.Reload(Config{At: at(t, "http://"+two)}); err != nil {
		t.Fatal(err)
	}
	get(t, b.client("http", 1, nil), "http://a.test/")
	get(t, stays, "http://a.test/") // its address is gone, it is not
	if !eventually(func() bool { return !reachable(one) }) {
		t.Error("the old address still answers")
	}
}

func reachable(where string) bool {
	c, err := net.Dial("tcp", where)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestLocalhostIsBothFamilies(t *testing.T) {
	b := run(t, Config{At: at(t, "http://localhost:0")}, deps(t, http.HandlerFunc(tell)))
	want := 2
	if noIPv6() {
		want = 1
	}
	if got := b.Addresses(); len(got) != want {
		t.Errorf("%v", got)
	}
	for _, a := range b.Addresses() {
		if answer := raw(t, strings.TrimPrefix(a, "http://"), request); !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Errorf("%s: %q", a, answer)
		}
	}
}

// I16: what is being answered is answered to its end over both versions, idle connections are told to go, new ones are not
// taken, and Serve returns.
func TestDrain(t *testing.T) {
	ca := newAuthority(t)
	const each = 20
	var begun sync.WaitGroup
	begun.Add(2 * each)
	release := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun.Done()
			<-release
		}
		tell(w, r)
	})
	cfg := Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}
	b := run(t, cfg, deps(t, h))
	where := b.hostport("https")
	get(t, b.client("https", 1, ca.pool), "https://a.test/") // kept, idle
	get(t, b.client("https", 2, ca.pool), "https://a.test/")

	var clients sync.WaitGroup
	for i := range 2 * each {
		client := b.client("https", i%2+1, ca.pool)
		clients.Go(func() {
			resp, err := client.Get("https://a.test/slow")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if data, err := io.ReadAll(resp.Body); err != nil || len(data) == 0 {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	begun.Wait()
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		drained <- b.Drain(ctx)
	}()
	if !eventually(func() bool { return !reachable(where) }) {
		t.Error("new connections are still taken")
	}
	select {
	case err := <-drained:
		t.Fatalf("drained while answering: %v", err)
	default:
	}
	close(release)
	clients.Wait()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := <-b.served; err != nil {
		t.Error(err)
	}
	b.served <- nil
}

// The way of a process that is told to end: the context of Serve ends first, and that alone turns nobody away.
func TestDrainAfterContextOfServe(t *testing.T) {
	ca := newAuthority(t)
	s, err := New(Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}, deps(t, http.HandlerFunc(tell)))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Server: s, t: t}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	f, _ := b.dialFrames(ca)
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	get(t, b.client("https", 1, ca.pool), "https://a.test/")
	told := make(chan http2.ErrCode, 1)
	go func() {
		code, said := ended(f)
		if !said {
			code = http2.ErrCodeInternal
		}
		told <- code
	}()
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if code := <-told; code != http2.ErrCodeNo { // GOAWAY, and no reproach in it
		t.Errorf("GOAWAY %v", code)
	}
	if err := s.Reload(Config{}); err == nil {
		t.Error("reloaded after the end")
	}
	s.Close()
}

// A drain that takes too long says so and cuts off what is left.
func TestDrainEndsWithItsContext(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	b := run(t, Config{At: at(t, "http://127.0.0.1:0")}, deps(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
	c, err := net.Dial("tcp", b.hostport("http"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	eventually(func() bool { return b.Connections() == 1 })
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := b.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v", err)
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := bufio.NewReader(c).ReadByte(); err == nil || isTimeout(err) {
		t.Errorf("not cut off: %v", err)
	}
}

// H12: while the system gives no connection the accept loop waits instead of spinning, and goes on afterwards.
func TestAcceptBacksOff(t *testing.T) {
	b := run(t, Config{At: at(t, "http://127.0.0.1:0")}, deps(t, http.HandlerFunc(tell)))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failing := &failingListener{Listener: l}
	failing.left.Store(4)
	d := &door{listener: failing}
	d.role.Store(&role{})
	get(t, b.client("http", 1, nil), "http://a.test/") // it serves
	b.control.Lock()
	b.control.doors["failing"] = d
	b.serveDoor(d)
	b.control.Unlock()
	began := time.Now()
	if answer := raw(t, l.Addr().String(), request); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("answer %q", answer)
	}
	if took := time.Since(began); took < 70*time.Millisecond { // 5 + 10 + 20 + 40
		t.Errorf("went on after %v", took)
	}
	if n := b.count(reasonAccept); n != 4 {
		t.Errorf("%d incidents", n)
	}
}

type failingListener struct {
	net.Listener
	left atomic.Int64
}

func (f *failingListener) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestRedirect(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"), Redirect: at(t, "http://127.0.0.1:0")[0],
		Certificates: []CertificateFiles{ca.issue("a", "a.test", "*.b.test", "127.0.0.1")},
	}, deps(t, http.HandlerFunc(tell)))
	_, port, _ := net.SplitHostPort(b.hostport("https"))
	for _, c := range []struct {
		send, status, location string
	}{
		{"GET /x/%41?q=1 HTTP/1.1\r\nHost: a.test\r\n\r\n", "308", "https://a.test:" + port + "/x/%41?q=1"},
		{"POST /x HTTP/1.1\r\nHost: A.test:80\r\nContent-Length: 0\r\n\r\n", "308", "https://a.test:" + port + "/x"},
		{"GET / HTTP/1.1\r\nHost: c.b.test\r\n\r\n", "308", "https://c.b.test:" + port + "/"},
		{"GET // HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "308", "https://127.0.0.1:" + port + "//"},
		{"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "421", ""},
		{"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "421", ""},
		{"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400", ""},
		{"GET / HTTP/1.1\r\nHost: a@evil.test\r\n\r\n", "400", ""},
	} {
		answer := raw(t, b.hostport("http"), c.send)
		if !strings.HasPrefix(answer, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%q: %.40q", c.send, answer)
		}
		_, location, _ := strings.Cut(answer, "Location: ")
		location, _, _ = strings.Cut(location, "\r\n")
		if location != c.location {
			t.Errorf("%q: location %q, want %q", c.send, location, c.location)
		}
		if strings.Contains(answer, "Server:") || strings.Contains(strings.ToLower(answer), "gatehouse") {
			t.Errorf("names a product: %q", answer)
		}
	}
	b.expect(reasonRedirect)
}
