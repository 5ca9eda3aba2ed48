package source

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shelf is a server with documents, and what it does wrong.
type shelf struct {
	*httptest.Server
	ca string // file

	mu    sync.Mutex
	files map[string]string
	weak  bool                                                     // ETags are weak
	none  bool                                                     // no ETags
	wrong func(w http.ResponseWriter, r *http.Request) (done bool) // before anything else

	asked, unchanged atomic.Int64
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	s := &shelf{files: map[string]string{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	write(t, s.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s
}

// put exchanges all files at once.
func (s *shelf) put(pairs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(pairs); i += 2 {
		s.files["/"+pairs[i]] = pairs[i+1]
	}
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	s.mu.Lock()
	wrong := s.wrong
	text, ok := s.files[r.URL.Path]
	weak, none := s.weak, s.none
	s.mu.Unlock()
	if wrong != nil && wrong(w, r) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf("%q", text)
	if weak {
		tag = `W/"always the same"`
	}
	if !none {
		w.Header().Set("ETag", tag)
	}
	if r.Header.Get("If-None-Match") == tag && !none {
		s.unchanged.Add(1)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	_, _ = w.Write([]byte(text))
}

func (s *shelf) fail(wrong func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = wrong
}

func (s *shelf) source(t testing.TB, opt Options) *Source {
	opt.HTTP.CA = s.ca
	if opt.Poll == 0 {
		opt.Poll = 10 * time.Millisecond
	}
	return open(t, s.URL+"/policy/gatehouse.yaml", opt)
}

func TestHTTPIsRead(t *testing.T) {
	s := newShelf(t)
	s.put("policy/gatehouse.yaml", "1", "policy/c/orders.yaml", "1", "policy/c/sub/common.yaml", "1", "policy/other.yaml", "x", "secret", "s")
	src := s.source(t, Options{})
	b, err := src.Read(context.Background())
	must(t, err)
	for _, c := range []struct{ contract, path, want string }{
		{"c/orders.yaml", "c/orders.yaml", "1"}, {"c/orders.yaml", "c/sub/common.yaml", "1"}, {"c/orders.yaml", "other.yaml", ""},
		{"../secret", "../secret", ""}, {"/secret", "/secret", ""}, {"http://127.0.0.1/x", "http://127.0.0.1/x", ""}, {"%2e%2e/secret", "%2e%2e/secret", ""},
		{"none.yaml", "none.yaml", ""},
	} {
		data, err := b.ReadFile(c.contract, c.path)
		if string(data) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", c.path, data, err)
		}
	}
	must(t, b.Accept(context.Background()))
	before := s.unchanged.Load()
	if !unchanged(src, func() bool { return s.unchanged.Load() >= before+4 }) {
		t.Errorf("a change, after %d answers that nothing changed", s.unchanged.Load()-before)
	}
	s.put("policy/c/sub/common.yaml", "2") // not the document, but a part of it
	if !changed(src, 2*time.Second) {
		t.Error("a change is not noticed")
	}
}

func TestHTTPFaults(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		wrong func(w http.ResponseWriter, r *http.Request) bool
		words string
	}{
		"500":         {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }, "answers 500"},
		"401":         {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }, "answers 401"},
		"404":         {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }, "no such file"},
		"204":         {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(204); return true }, "answers 204"},
		"206":         {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(206); return true }, "answers 206"},
		"304 unasked": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(304); return true }, "sends elsewhere (304)"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/other", http.StatusFound)
			return true
		}, "write the final address"},
		"to metadata": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
			return true
		}, "not followed"},
		"gzip": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("x"))
			return true
		}, "encoded"},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("half"))
			return true
		}, "EOF"},
		"reset": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, ""},
		"without end": {func(w http.ResponseWriter, _ *http.Request) bool {
			for range 17 {
				_, _ = w.Write([]byte(large))
			}
			return true
		}, "larger than 16 MiB"},
		"a large head": {func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("X", large[:100<<10]); return true }, ""},
		"a name's trap": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "/x")
			w.WriteHeader(300)
			return true
		}, "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.put("policy/gatehouse.yaml", "1")
			s.fail(c.wrong)
			src := s.source(t, Options{})
			_, err := src.Read(context.Background())
			wants(t, err, c.words, s.URL)
			s.fail(nil)
			if !changed(src, 2*time.Second) {
				t.Error("not asked again")
			}
			if b, err := src.Read(context.Background()); err != nil || string(b.Data) != "1" {
				t.Errorf("%v", err)
			}
		})
	}
}

// An answer over HTTP/1.0 that ends with the connection: a part of it cannot be told from the whole.
func TestHTTPWithoutLength(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.0 200 OK\r\n\r\nhalf a docu"))
			c.Close()
		}
	}()
	_, err = open(t, "http://"+l.Addr().String()+"/gatehouse.yaml", Options{}).Read(context.Background())
	wants(t, err, "how long")
}

// Between the document and its contract the server goes over to the next generation, forth and back, with errors in
// between: what is accepted is of one.
func TestHTTPFlapping(t *testing.T) {
	for name, how := range map[string]func(*shelf){"with ETags": func(*shelf) {}, "with weak ones": func(s *shelf) { s.weak = true }, "without": func(s *shelf) { s.none = true }} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			how(s)
			generation := 0
			next := func() {
				generation++
				g := fmt.Sprint("generation ", generation)
				s.put("policy/gatehouse.yaml", g, "policy/orders.yaml", g)
			}
			next()
			s.fail(func(w http.ResponseWriter, _ *http.Request) bool {
				switch rand.IntN(8) {
				case 0:
					next() // the handler has looked already: this answer is still the old one
				case 1:
					w.WriteHeader(503)
					return true
				case 2:
					w.Header().Set("Content-Length", "100")
					_, _ = w.Write([]byte("gener"))
					return true
				}
				return false
			})
			src := s.source(t, Options{})
			good, mixed, other := 0, 0, 0
			for range 150 {
				d, c, err := both(src, "orders.yaml")
				switch {
				case err == nil && d != c:
					t.Fatalf("%q with %q is accepted", d, c)
				case err == nil:
					good++
				case errors.Is(err, ErrChanged):
					mixed++
				default:
					other++
				}
			}
			if good < 5 || mixed < 5 || other < 5 {
				t.Errorf("%d good, %d mixed, %d failed: this test shows little", good, mixed, other)
			}
		})
	}
}

// With a note every file is checked by itself; nothing has to be asked twice.
func TestHTTPSigned(t *testing.T) {
	s := newShelf(t)
	signer, verifier := key(t, "k")
	publish := func(version int64, text string) {
		dir := t.TempDir()
		write(t, dir+"/gatehouse.yaml", text)
		write(t, dir+"/orders.yaml", text)
		n, err := Sign(dir, "gatehouse.yaml", []string{"orders.yaml"}, version, time.Now().Add(time.Hour), signer)
		must(t, err)
		s.put("policy/gatehouse.yaml", text, "policy/orders.yaml", text, "policy/gatehouse.yaml.sig", string(n))
	}
	publish(1, "one")
	floor := &memory{}
	src := s.source(t, Options{SignedBy: []string{verifier}, Floor: floor})
	d, c, err := both(src, "orders.yaml")
	if d != "one" || c != "one" || err != nil {
		t.Fatalf("%q with %q, %v", d, c, err)
	}
	b, err := src.Read(context.Background())
	must(t, err)
	publish(2, "two")
	if _, err := b.ReadFile("orders.yaml", "orders.yaml"); !errors.Is(err, ErrDiffers) {
		t.Errorf("a contract of the next generation: %v", err)
	}
	if !changed(src, 2*time.Second) {
		t.Error("not noticed")
	}
	if d, c, err = both(src, "orders.yaml"); d != "two" || c != "two" || err != nil || floor.mark.Version != 2 {
		t.Errorf("%q with %q, %v", d, c, err)
	}
	s.put("policy/gatehouse.yaml.sig", "")
	if _, _, err = both(src, "orders.yaml"); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v", err)
	}
	s.fail(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true })
	if _, _, err = both(src, "orders.yaml"); !errors.Is(err, ErrUnsigned) { // taking the note away opens nothing
		t.Errorf("%v", err)
	}
}

// A server that is away changes nothing, is told once, and is told to be back.
func TestHTTPAway(t *testing.T) {
	s := newShelf(t)
	s.put("policy/gatehouse.yaml", "1")
	var mu sync.Mutex
	var told []string
	src := s.source(t, Options{Report: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(err))
	}})
	b, err := src.Read(context.Background())
	must(t, err)
	must(t, b.Accept(context.Background()))
	s.fail(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	if changed(src, 200*time.Millisecond) {
		t.Error("being away is a change")
	}
	s.fail(nil)
	if changed(src, 100*time.Millisecond) {
		t.Error("being back is a change")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 2 || !strings.Contains(told[0], "503") || told[1] != "<nil>" {
		t.Errorf("told %q", told)
	}
}

// A node that starts while the server is away serves by what was accepted last, and by the server's when it is back. One
// that runs keeps what is in force instead; a server that says it has no document is not away.
func TestHTTPStartsByWhatWasKept(t *testing.T) {
	s := newShelf(t)
	signer, verifier := key(t, "k")
	dir, state := t.TempDir(), t.TempDir()
	write(t, dir+"/gatehouse.yaml", "1")
	write(t, dir+"/orders.yaml", "1")
	n, err := Sign(dir, "gatehouse.yaml", []string{"orders.yaml"}, 1, time.Now().Add(time.Hour), signer)
	must(t, err)
	s.put("policy/gatehouse.yaml", "1", "policy/orders.yaml", "1", "policy/gatehouse.yaml.sig", string(n))
	away := func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
	for _, signed := range []bool{false, true} {
		late := time.Duration(0)
		opt := Options{Keep: state, Now: func() time.Time { return time.Now().Add(late) }}
		if signed {
			opt.SignedBy, opt.Floor = []string{verifier}, &memory{}
		}
		must(t, os.RemoveAll(state))
		must(t, os.Mkdir(state, 0o700))
		s.fail(away)
		_, _, err = both(s.source(t, opt), "orders.yaml")
		wants(t, err, "503") // nothing was kept yet
		s.fail(nil)
		running := s.source(t, opt)
		_, _, err = both(running, "orders.yaml")
		must(t, err)
		s.fail(away)
		if _, _, err = both(running, "orders.yaml"); err == nil {
			t.Error("what was kept replaces what is in force")
		}
		starting := s.source(t, opt)
		b, err := starting.Read(context.Background())
		must(t, err)
		orders, err := b.ReadFile("orders.yaml", "orders.yaml")
		if string(orders) != "1" || string(b.Data) != "1" || !b.State().Kept || err != nil {
			t.Errorf("%q with %q, %v", b.Data, orders, err)
		}
		if _, err := b.ReadFile("c/x.yaml", "orders.yaml"); err == nil {
			t.Error("outside of the contract's folder")
		}
		if _, err := b.ReadFile("x.yaml", "x.yaml"); err == nil {
			t.Error("a file that was not kept is there")
		}
		must(t, b.Accept(context.Background()))
		if changed(starting, 100*time.Millisecond) {
			t.Error("a change though the server is away")
		}
		s.fail(nil)
		if !changed(starting, 2*time.Second) {
			t.Error("the server's return is not noticed")
		}
		b, err = starting.Read(context.Background())
		if err != nil || b.State().Kept {
			t.Errorf("%v", err)
		}
		s.fail(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true })
		if _, err := s.source(t, opt).Read(context.Background()); err == nil {
			t.Error("a document that was taken away is served")
		}
		s.fail(away)
		late = 2 * time.Hour
		_, err = s.source(t, opt).Read(context.Background())
		if errors.Is(err, ErrExpired) != signed {
			t.Errorf("signed %v, two hours later: %v", signed, err)
		}
		late = 0
		entries, _ := os.ReadDir(state)
		if len(entries) != 1 {
			t.Fatalf("%v", entries)
		}
		file := filepath.Join(state, entries[0].Name())
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
			t.Errorf("%v", info.Mode())
		}
		data, _ := os.ReadFile(file)
		write(t, file, strings.Replace(string(data), "MQ==", "Mg==", -1)) // somebody writes there
		b, err = s.source(t, opt).Read(context.Background())
		if signed && !errors.Is(err, ErrDiffers) || !signed && (err != nil || string(b.Data) != "2") {
			t.Errorf("signed %v, written by somebody: %v", signed, err)
		}
		write(t, file, "garbage")
		_, err = s.source(t, opt).Read(context.Background())
		wants(t, err, "503", file)
	}
}

func TestHTTPWhoIsThere(t *testing.T) {
	s := newShelf(t)
	s.put("policy/gatehouse.yaml", "1")
	other := newShelf(t) // the same test certificate: another name makes the difference
	_ = other
	src := open(t, s.URL+"/policy/gatehouse.yaml", Options{})
	_, err := src.Read(context.Background())
	wants(t, err, "certificate signed by unknown authority")
	write(t, s.ca+".garbage", "x")
	_, err = open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: HTTP{CA: s.ca + ".garbage"}}).Read(context.Background())
	wants(t, err, "no certificate in PEM form")
	_, err = open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: HTTP{CA: s.ca + ".none"}}).Read(context.Background())
	wants(t, err, "no such file")
	name := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	_, err = open(t, name+"/policy/gatehouse.yaml", Options{HTTP: HTTP{CA: s.ca}}).Read(context.Background())
	wants(t, err, "localhost")
	// A CA file that is put right is used from the next look on.
	late := s.ca + ".late"
	write(t, late, "x")
	src = open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: HTTP{CA: late}, Poll: 10 * time.Millisecond})
	_, err = src.Read(context.Background())
	wants(t, err, late)
	data, _ := os.ReadFile(s.ca)
	write(t, late, string(data))
	if !changed(src, 2*time.Second) {
		t.Error("not asked again")
	}
	_, err = src.Read(context.Background())
	must(t, err)
}

func TestHTTPCredentials(t *testing.T) {
	s := newShelf(t)
	s.put("policy/gatehouse.yaml", "1")
	s.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer hunter2" || len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(401)
			return true
		}
		return false
	})
	s.TLS.ClientAuth = tls.RequestClientCert
	token := "hunter2"
	how := HTTP{
		CA: s.ca, Token: func() ([]byte, error) { return []byte(token), nil },
		Certificate: func() (*tls.Certificate, error) { return &s.TLS.Certificates[0], nil },
	}
	src := open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: how})
	_, err := src.Read(context.Background())
	must(t, err)
	token = "hunter3" // asked for each look
	_, err = src.Read(context.Background())
	wants(t, err, "401")
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("%v tells the token", err)
	}
	how.Token = func() ([]byte, error) { return []byte("a\r\nHost: x"), nil }
	_, err = open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: how}).Read(context.Background())
	wants(t, err, "invalid header field value")
	if strings.Contains(err.Error(), "Host: x") {
		t.Errorf("%v tells the token", err)
	}
	how.Token = func() ([]byte, error) { return nil, errors.New("secret file:/x is away") }
	_, err = open(t, s.URL+"/policy/gatehouse.yaml", Options{HTTP: how}).Read(context.Background())
	wants(t, err, "secret file:/x is away")
}

// Without TLS only this machine is spoken to, whatever a name stands for.
func TestHTTPOnLoopbackOnly(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") }))
	defer plain.Close()
	b, err := open(t, plain.URL+"/gatehouse.yaml", Options{}).Read(context.Background())
	if err != nil || string(b.Data) != "plain" {
		t.Errorf("%v, %v", b, err)
	}
	elsewhere := HTTP{Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		theirs.Close()
		return addressed{ours}, nil
	}}
	_, err = open(t, "http://localhost/gatehouse.yaml", Options{HTTP: elsewhere}).Read(context.Background())
	wants(t, err, "leads elsewhere")
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:1")
	s := newShelf(t)
	s.put("policy/gatehouse.yaml", "1")
	_, err = s.source(t, Options{}).Read(context.Background())
	must(t, err)
}

type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

func TestPollIsSpread(t *testing.T) {
	s := open(t, "https://policy.example/gatehouse.yaml", Options{})
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		p := s.pause()
		least, most = min(least, p), max(most, p)
	}
	if least < 24*time.Second || most > 36*time.Second || most-least < 10*time.Second {
		t.Errorf("from %v to %v", least, most)
	}
}
