//go:build linux

package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

const contract = `openapi: 3.1.0
info: {title: orders, version: "1"}
components: {securitySchemes: {login: {type: http, scheme: bearer}}}
security: [{login: []}]
paths:
  /ping: {get: {operationId: ping, responses: {"200": {description: ok}}}}
  /ticks: {get: {operationId: ticks, x-gatehouse-stream: sse, responses: {"200": {description: ok, content: {text/event-stream: {schema: {type: string}}}}}}}
`

// setting is everything that the gateways of one test have in common.
type setting struct {
	dir    string // contract, passwords
	issuer issuer
	behind string // URL of the server behind
	store  string // the section, written; empty: embedded
	more   string // further sections
	burst  int    // of the API /limited, for a whole hour
}

func newSetting(t *testing.T) *setting {
	t.Helper()
	s := &setting{dir: t.TempDir(), issuer: newIssuer(t), burst: 300}
	server := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.behind = server.URL
	write(t, filepath.Join(s.dir, "contract.yaml"), contract)
	return s
}

// answer is the server behind: a word, or a stream that ends only with its client.
func answer(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/ticks") {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "pong")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		if _, err := io.WriteString(w, "data: tick\n\n"); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// document is what a node serves.
func (s *setting) document(port string) string {
	api := func(base, guards string) string {
		return fmt.Sprintf("  - {name: %s, base: /%s, contract: %s/contract.yaml, to: [%q], guards: {%s}}\n", base, base, s.dir, s.behind, guards)
	}
	identity := fmt.Sprintf("issuers: [{issuer: %q, audience: orders, clock_skew: 1s, keys: %q}]", issuerName, s.issuer.file)
	text := fmt.Sprintf("listen: {at: [\"http://127.0.0.1:%s\"], admin: \"http://127.0.0.1:0\"}\n", port)
	if s.store != "" {
		text += "store:\n" + s.store
	}
	return text + s.more + `guards:
  identity: {` + identity + `}
  rate: {per_address: 100000/s burst 100000, per_caller: 100000/s burst 100000}
apis:
` + api("open", "") + api("limited", fmt.Sprintf("rate: {per_address: 100000/s burst 100000, per_caller: 1/h burst %d}", s.burst)) +
		api("once", "identity: {single_use: true, "+identity+"}")
}

// overPostgres keeps what is durable in a new database of a server.
func (s *setting) overPostgres(t *testing.T, p *pgtest.Server) {
	t.Helper()
	url, ca := database(t, p)
	s.store = s.postgres(t, url, ca)
}

func (s *setting) postgres(t *testing.T, url, ca string) string {
	t.Helper()
	return fmt.Sprintf("  url: %s\n  password: file:%s\n  ca: %s\n", url, write(t, filepath.Join(s.dir, "pg.password"), pgtest.Password), ca)
}

const redisPassword = "canary-redis-71c0a4d2"

// redis starts a server as the manual asks for one: TLS, and a user with few rights.
func startRedis(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.Start(t, redistest.Options{TLS: true, User: "gatehouse", Password: redisPassword})
}

func (s *setting) overRedis(t *testing.T, r *redistest.Server) {
	t.Helper()
	s.store += s.redis(t, r.Address, r.CAFile)
}

func (s *setting) redis(t *testing.T, address, ca string) string {
	t.Helper()
	return fmt.Sprintf("  shared:\n    url: rediss://gatehouse@%s\n    password: file:%s\n    ca: %s\n", address, write(t, filepath.Join(s.dir, "redis.password"), redisPassword), ca)
}

// home is where one gateway keeps things: directories and the document.
type home struct {
	dir  string
	port string
	as   func(*exec.Cmd)                                                   // changes how programs are started; may be nil
	dial func(ctx context.Context, network, addr string) (net.Conn, error) // how it is reached; nil: as usual

	once sync.Once
	http *http.Client
}

// newHome makes a home with a document. Homes of one test share the place of the root key, as nodes do.
func (s *setting) newHome(t *testing.T) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), port: strconv.Itoa(loopback.Port())}
	h.write(t, s.document(h.port))
	return h
}

func (h *home) write(t *testing.T, document string) { write(t, h.config(), document) }
func (h *home) config() string                      { return filepath.Join(h.dir, "gatehouse.yaml") }
func (h *home) state(names ...string) string {
	return filepath.Join(append([]string{h.dir, "state", "gatehouse"}, names...)...)
}

// command is the program with the environment of this home, and nothing else of ours.
func (h *home) command(args ...string) *exec.Cmd {
	c := exec.Command(program(), args...)
	c.Dir = h.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "XDG_DATA_HOME=" + filepath.Join(h.dir, "state"), "XDG_CONFIG_HOME=" + filepath.Join(h.dir, "config"), "TMPDIR=" + os.TempDir()}
	if h.as != nil {
		h.as(c)
	}
	return c
}

// run has a command done and gives what it printed, errors included, and whether it went well.
func (h *home) run(args ...string) (string, error) {
	c := h.command(args...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// must is run for what must go well.
func (h *home) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.run(args...)
	if err != nil {
		t.Fatalf("gatehouse %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused is serve for what must be refused before anything is touched: it gives the words.
func (h *home) refused(t *testing.T) string {
	t.Helper()
	before := h.files(t)
	g := h.launch(t)
	select {
	case <-g.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("it serves, and should refuse:\n%s", g.said())
	}
	if after := h.files(t); after != before {
		t.Errorf("files were touched:\n%s\nbefore:\n%s", after, before)
	}
	return g.said()
}

// files lists what lies in the state and config directories with sizes and contents' times, without what every start makes.
func (h *home) files(t *testing.T) string {
	t.Helper()
	var list strings.Builder
	for _, dir := range []string{"state", "config"} {
		_ = filepath.WalkDir(filepath.Join(h.dir, dir), func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(name, ".lock") || strings.Contains(name, "/control/") || strings.Contains(name, "/development") || strings.HasSuffix(name, "-lock") || strings.HasSuffix(name, "-turn") || strings.HasSuffix(name, "-shm") || strings.HasSuffix(name, "-wal") {
				return nil
			}
			info, err := d.Info()
			if err == nil {
				fmt.Fprintf(&list, "%s %d %s\n", strings.TrimPrefix(name, h.dir), info.Size(), info.ModTime())
			}
			return nil
		})
	}
	return list.String()
}

// gateway is a running gatehouse serve.
type gateway struct {
	*home
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
	err   error // when it has ended
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a gateway without waiting for it.
func (h *home) launch(t *testing.T) *gateway {
	t.Helper()
	return launchCommand(t, h, h.command("serve", "--config", h.config()))
}

func launchCommand(t *testing.T, h *home, c *exec.Cmd) *gateway {
	t.Helper()
	g := &gateway{home: h, cmd: c, out: &output{more: make(chan struct{}, 1)}, ended: make(chan struct{})}
	g.cmd.Stdout, g.cmd.Stderr = g.out, g.out
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.err = g.cmd.Wait()
		close(g.ended)
	}()
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("gateway %d said:\n%s", g.cmd.Process.Pid, last(g.said(), 6000))
		}
	})
	return g
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// start starts a gateway and waits until it serves.
func (h *home) start(t *testing.T) *gateway {
	t.Helper()
	g := h.launch(t)
	g.serving(t)
	return g
}

func (g *gateway) serving(t *testing.T) {
	t.Helper()
	g.waitFor(t, "msg=serving")
}

// waitFor waits until it has said something.
func (g *gateway) waitFor(t *testing.T, words string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(g.said(), words) {
		select {
		case <-g.out.more:
		case <-g.ended:
			if !strings.Contains(g.said(), words) {
				t.Fatalf("it has ended (%v) and never said %q:\n%s", g.err, words, g.said())
			}
		case <-limit:
			t.Fatalf("it never said %q:\n%s", words, g.said())
		}
	}
}

func (g *gateway) said() string { return g.out.String() }

func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.ended
}

// stop ends it as the service manager does.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
		if g.err != nil {
			t.Errorf("it ended with %v:\n%s", g.err, last(g.said(), 2000))
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it did not end within 20 s")
	}
}

// client asks one gateway over few connections, always the same: a gateway takes only so many from one address.
func (h *home) client() *http.Client {
	h.once.Do(func() {
		h.http = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: h.dial, MaxIdleConnsPerHost: 32}}
	})
	return h.http
}

// get gives the status of a request with a token: 0 when there was no answer.
func (h *home) get(c *http.Client, path, token string) int {
	r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+h.port+path, nil)
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := c.Do(r)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// stream opens a stream and gives a channel that is closed when it ends.
func (h *home) stream(t *testing.T, c *http.Client, token string) (ended chan struct{}) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+h.port+"/open/ticks", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	long := *c
	long.Timeout = 0
	answer, err := long.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the stream is answered with %d", answer.StatusCode)
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}()
	return ended
}

func itoa(n int) string { return strconv.Itoa(n) }

// until10 is closed when a gateway serves, or after ten seconds.
func until10(g *gateway) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if strings.Contains(g.said(), "msg=serving") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return done
}

// randomKey is what openssl rand -hex 32 prints.
func randomKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// says fails the test when a text lacks one of some words.
func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it doesn't say %q:\n%s", w, text)
		}
	}
}

// until waits for something that must come true, looking every few milliseconds, and gives how long it took.
func until(t *testing.T, what string, limit time.Duration, yes func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !yes() {
		if time.Since(begin) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(3 * time.Millisecond)
	}
	return time.Since(begin)
}
