package adversary

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// patience is how long anything on loopback may take on a busy machine.
const patience = 8 * time.Second

// gateway is one running process of the program, and what is needed to attack it.
type gateway struct {
	dir     string
	process *exec.Cmd
	exited  chan error
	roots   *x509.CertPool
	server  *recorder // behind the shop
	answers *recorder // behind the API that answers as it is told

	https, http, admin string // host:port
	log                lines
	events             *events
}

var sources atomic.Uint32

// source is a loopback address that nobody else calls from, so that an event can be told by it and no case spends
// another's rate.
func source() string {
	n := sources.Add(1) + 256
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16, n>>8&255, n&255)
}

// proxySource is an address of a trusted proxy (listen.trusted_proxies).
func proxySource() string {
	n := sources.Add(1)
	return fmt.Sprintf("127.77.%d.%d", n>>8&255, n&255)
}

// startGateway prepares a gateway and serves by its document.
func startGateway(dir, document string, files map[string]string) (*gateway, error) {
	g, err := prepareGateway(dir, document, files)
	if err != nil {
		return nil, err
	}
	return g, g.start()
}

// prepareGateway writes document and files, with UPSTREAM, ANSWERS, ADMIN and DIR filled in, and starts the servers behind.
func prepareGateway(dir, document string, files map[string]string) (*gateway, error) {
	g := &gateway{dir: dir, admin: loopback.Address(), exited: make(chan error, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if g.server, err = newRecorder(nil, nil); err != nil {
		return nil, err
	}
	if g.answers, err = newRecorder(scriptedAnswers(), specialAnswers()); err != nil {
		return nil, err
	}
	if g.roots, err = writeCertificate(dir); err != nil {
		return nil, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := g.write(document); err != nil {
		return nil, err
	}
	g.events = &events{directory: filepath.Join(dir, "data", "gatehouse", "events"), byID: map[string]gate.Event{}, byAddress: map[string][]gate.Event{}}
	return g, nil
}

// write puts the document into its file.
func (g *gateway) write(document string) error {
	text := strings.NewReplacer("UPSTREAM", g.server.url(), "ANSWERS", g.answers.url(), "DIR", g.dir, "ADMIN", g.admin).Replace(document)
	return os.WriteFile(filepath.Join(g.dir, "gatehouse.yaml"), []byte(text), 0o600)
}

var served = regexp.MustCompile(`msg=serving .*addresses="?\[([^\]]*)\]`)

// start runs the program, behind the words of under if there are any, until it serves.
func (g *gateway) start(under ...string) error {
	words := append(under, binary, "serve", "--config", filepath.Join(g.dir, "gatehouse.yaml"))
	g.process = exec.Command(words[0], words[1:]...)
	g.process.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(g.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(g.dir, "config"), "CANARY_KEY="+canary)
	g.process.Stderr = &g.log
	if err := g.process.Start(); err != nil {
		return err
	}
	go func() { g.exited <- g.process.Wait() }()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if m := served.FindStringSubmatch(g.log.String()); m != nil {
			for _, a := range strings.Fields(m[1]) {
				if address, ok := strings.CutPrefix(a, "https://"); ok && g.https == "" {
					g.https = address
				} else if address, ok := strings.CutPrefix(a, "http://"); ok && g.http == "" {
					g.http = address
				}
			}
			return nil
		}
		select {
		case err := <-g.exited:
			return fmt.Errorf("the gateway ended before it served: %v\n%s", err, g.log.String())
		default:
		}
		if time.Since(began) > patience {
			_ = g.process.Process.Kill()
			return errors.New("the gateway does not serve:\n" + g.log.String())
		}
	}
}

func (g *gateway) stop() {
	_ = g.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(5 * time.Second):
		_ = g.process.Process.Kill()
		<-g.exited
	}
	g.server.close()
	g.answers.close()
}

// command runs the program with this gateway's state.
func (g *gateway) command(args ...string) (stdout string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // a command that serves is ended
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(g.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(g.dir, "config"))
	c.Dir = g.dir
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error(), -1
	}
	return out.String() + errs.String(), c.ProcessState.ExitCode()
}

var tokens sync.Map

// token is a token of the development issuer, as `gatehouse token` prints it.
func (g *gateway) token(t testing.TB, as string, args ...string) string {
	t.Helper()
	key := g.dir + " " + as + strings.Join(args, " ")
	if token, ok := tokens.Load(key); ok {
		return token.(string)
	}
	out, code := g.command(append([]string{"token", "--as", as}, args...)...)
	if code != 0 {
		t.Fatalf("gatehouse token: %s", out)
	}
	tokens.Store(key, strings.TrimSpace(out))
	return strings.TrimSpace(out)
}

// dial connects from an address; protocols is what ALPN offers, nil is HTTP/1.1 without TLS.
func (g *gateway) dial(from string, protocols ...string) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	if protocols == nil {
		return dialer.Dial("tcp", g.http)
	}
	return tls.DialWithDialer(dialer, "tcp", g.https, &tls.Config{RootCAs: g.roots, ServerName: "api.test", NextProtos: protocols})
}

// metrics is what the admin address tells.
func (g *gateway) metrics(t testing.TB) string {
	t.Helper()
	response, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// refusals counts the connections and streams that were refused for a reason before they were requests. The log holds a
// sample of them, the metrics count each.
func (g *gateway) refusals(t testing.TB, reason gate.Reason) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^gatehouse_\w+\{reason="` + regexp.QuoteMeta(string(reason)) + `"\} (\d+)`).FindStringSubmatch(g.metrics(t))
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// more waits until more have been refused for a reason than before.
func (g *gateway) more(t testing.TB, reason gate.Reason, before int) {
	t.Helper()
	for began := time.Now(); g.refusals(t, reason) <= before; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("nothing more was refused for %s", reason)
		}
	}
}

// writeCertificate makes a small CA and a certificate of it for the names that the documents serve.
func writeCertificate(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "api.test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"api.test", "answers.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return nil, err
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(root)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return pool, errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// lines is a buffer that a process writes and a test reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// events follows the event log of the running process.
type events struct {
	directory string

	mu        sync.Mutex
	offset    int64
	all       []gate.Event
	byID      map[string]gate.Event
	byAddress map[string][]gate.Event
}

// read takes in what has been written since.
func (e *events) read() error {
	file, err := os.Open(filepath.Join(e.directory, "events.jsonl"))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(e.offset, io.SeekStart); err != nil {
		return err
	}
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return nil // the rest is being written
		}
		e.offset += int64(len(line))
		var event gate.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		e.all = append(e.all, event)
		e.byID[event.ID] = event
		if event.Kind != gate.KindSystem {
			e.byAddress[event.From.Address] = append(e.byAddress[event.From.Address], event)
		}
	}
}

// from gives the events about an address once there are at least n of them.
func (e *events) from(t testing.TB, address string, n int) []gate.Event {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if err := e.read(); err != nil {
			t.Fatal(err)
		}
		if list := e.byAddress[address]; len(list) >= n {
			return list
		}
		if time.Since(began) > patience {
			t.Fatalf("%d events about %s, want %d", len(e.byAddress[address]), address, n)
		}
	}
}

var eventField = regexp.MustCompile(`\r\nGatehouse-Event: (\w+)\r\n`)

// of gives the event of an exchange: the one that the answer or the server's request names, else the one about the source.
func (e *events) of(t testing.TB, r *reply, requests []string, from string) gate.Event {
	t.Helper()
	if r.problem.Event != "" {
		return e.id(t, r.problem.Event)
	}
	if len(requests) == 1 {
		if m := eventField.FindStringSubmatch(requests[0]); m != nil {
			return e.id(t, m[1])
		}
	}
	return e.from(t, from, 1)[0]
}

// id gives one event.
func (e *events) id(t testing.TB, id string) gate.Event {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if err := e.read(); err != nil {
			t.Fatal(err)
		}
		if event, ok := e.byID[id]; ok {
			return event
		}
		if time.Since(began) > patience {
			t.Fatalf("no event %q", id)
		}
	}
}

// verify checks the chain of the log so far.
func (e *events) verify() error {
	r, err := audit.VerifyDirectory(context.Background(), e.directory, audit.Options{Keep: -1})
	return errors.Join(err, r.Err())
}
