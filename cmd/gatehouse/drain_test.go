package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/gate"
)

func oneAPI(server *origin) string {
	return listening + development + "apis: [{name: a, contract: orders.yaml, to: [\"" + server.url() + "\"]}]\n"
}

// slow is a server that answers when it is released; half of the answer has gone out before.
func slow(t *testing.T) (server *origin, release func()) {
	free := make(chan struct{})
	server = newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/2") { // its head goes out first
			fmt.Fprint(w, "begun ")
			w.(http.Flusher).Flush()
		}
		select {
		case <-free:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "done")
	})
	var once sync.Once
	release = func() { once.Do(func() { close(free) }) }
	t.Cleanup(release)
	return server, release
}

// I16: readiness is taken back first; what is in progress over HTTP/1 and HTTP/2 ends well, whether its answer has begun or
// not; nobody is reset; every exchange is in the log, which ends whole.
func TestDrain(t *testing.T) {
	t.Parallel()
	server, release := slow(t)
	r := serving(t, oneAPI(server), nil)
	two := overTLS()
	const each = 20
	got := make(chan error, 4*each)
	for i := range each {
		for _, path := range []string{"/orders/1", "/orders/2"} {
			for _, c := range []struct {
				client *http.Client
				base   string
				major  int
			}{{r.client, r.address("http"), 1}, {two, r.address("https"), 2}} {
				q, _ := http.NewRequest("GET", c.base+path, nil)
				q.Header.Set("Authorization", "Bearer "+r.token)
				go func() { got <- whole(c.client, q, c.major, i) }()
			}
		}
	}
	r.until("all are in progress", func() bool { return r.node.busy.Load() == 4*each && server.requests.Load() == 4*each })
	r.cancel()
	r.until("readiness is taken back", func() bool { return r.admin("/readyz").status == 503 })
	if n := r.node.busy.Load(); n != 4*each {
		t.Errorf("%d requests in progress after readiness was taken back, want %d", n, 4*each)
	}
	r.until("no new connection is taken", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(r.address("http"), "http://"), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if r.admin("/healthz").status != 200 {
		t.Error("not healthy while draining")
	}
	release()
	for range 4 * each {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if err := <-r.done; err != nil {
		t.Errorf("serve: %v", err)
	}
	r.ended = true
	events := r.events()
	exchanges, broken := 0, 0
	for _, e := range events {
		switch e.Kind {
		case gate.KindExchange:
			exchanges++
		case gate.KindBroken:
			broken++
		}
	}
	if exchanges != 4*each || broken != 0 {
		t.Errorf("%d exchanges and %d broken answers in the log, want %d and 0", exchanges, broken, 4*each)
	}
	if last := events[len(events)-1]; last.Decision.Reason != "gateway.stopped" {
		t.Errorf("the log ends with %+v", last)
	}
	verify(t, r)
}

// whole sends a request and wants all of the answer.
func whole(c *http.Client, q *http.Request, major, i int) error {
	response, err := c.Do(q)
	if err != nil {
		return fmt.Errorf("%s HTTP/%d #%d: %w", q.URL.Path, major, i, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 || !strings.HasSuffix(string(body), "done") || response.ProtoMajor != major {
		return fmt.Errorf("%s HTTP/%d #%d: %s %q %w", q.URL.Path, major, i, response.Status, body, err)
	}
	return nil
}

func verify(t *testing.T, r *house) {
	t.Helper()
	report, err := audit.VerifyDirectory(t.Context(), r.node.written.config.Directory, audit.Options{Keep: -1})
	if err := errors.Join(err, report.Err()); err != nil {
		t.Error(err)
	}
}

// When the grace is over, what is left is cut off, and that is in the log too.
func TestDrainCutsOffAfterGrace(t *testing.T) {
	t.Parallel()
	server, _ := slow(t)
	r := prepared(t, oneAPI(server), nil)
	bundle, err := r.node.open(t.Context(), r.file, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.node.load(bundle)
	if err == nil {
		err = r.node.start(l, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- r.node.serve(ctx, 300*time.Millisecond) }()
	gone := make(chan error, 2)
	for _, path := range []string{"/orders/1", "/orders/2"} {
		go func() { _, err := r.do(r.request("GET", "h", path, "")); gone <- err }()
	}
	r.until("all are in progress", func() bool { return server.requests.Load() == 2 })
	began := time.Now()
	cancel()
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("serve: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	for range 2 {
		if err := <-gone; err == nil {
			t.Error("a request that was cut off has an answer")
		}
	}
	n := 0
	for _, e := range r.events() {
		if e.Kind == gate.KindExchange {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d exchanges in the log, want 2", n)
	}
	verify(t, r)
}

// asChild makes this test binary the program.
const asChild = "GATEHOUSE_TEST_CHILD"

// TestChild is the program when another test starts it as a process of its own.
func TestChild(t *testing.T) {
	if os.Getenv(asChild) == "" {
		return
	}
	for i, a := range os.Args {
		if a == "--" {
			os.Args = append([]string{"gatehouse"}, os.Args[i+1:]...)
			main()
		}
	}
	os.Exit(3)
}

// child is the program in a process of its own.
type child struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	log   *growing
	admin string
	at    string
	ended chan error
}

// startChild serves a document; before is put in front of the program, in a shell.
func startChild(t *testing.T, document, before string, env ...string) *child {
	t.Helper()
	c := &child{t: t, dir: t.TempDir(), log: &growing{}, ended: make(chan error, 1)}
	c.admin, c.at = "http://"+vacant(t), "http://"+vacant(t)
	document = strings.Replace(document, listening, fmt.Sprintf("listen: {at: [%q], admin: %q}\n", c.at, c.admin), 1)
	for name, text := range map[string]string{"gatehouse.yaml": document, "orders.yaml": orders} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.cmd = exec.Command("/bin/sh", "-c", before+` exec "$0" "$@"`, os.Args[0], "-test.run", "^TestChild$", "--", "serve", "--config", filepath.Join(c.dir, "gatehouse.yaml"))
	c.cmd.Env = append(os.Environ(), append(env, asChild+"=1", "XDG_DATA_HOME="+c.dir, "XDG_CONFIG_HOME="+filepath.Join(c.dir, "config"))...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.until("ready", func() bool { return c.status(c.admin+"/readyz") == 200 })
	return c
}

func vacant(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *child) status(url string) int {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func (c *child) until(what string, done func() bool) {
	c.t.Helper()
	for end := time.Now().Add(15 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("never: %s\n%s", what, c.log)
		}
	}
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// A second signal ends the waiting for requests that would not end.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	server, _ := slow(t)
	c := startChild(t, oneAPI(server), "")
	broken := make(chan struct{})
	go func() { _ = c.status(c.at + "/products"); close(broken) }()
	c.until("in progress", func() bool { return server.requests.Load() == 1 })
	c.signal(syscall.SIGTERM)
	c.until("draining", func() bool { return c.status(c.admin+"/readyz") == 503 })
	select {
	case err := <-c.ended:
		t.Fatalf("ended with a request in progress: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	began := time.Now()
	c.signal(syscall.SIGTERM)
	var exit *exec.ExitError
	if err := <-c.ended; !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	<-broken
	if !strings.Contains(c.log.String(), "second signal") {
		t.Errorf("said: %s", c.log)
	}
	n := 0
	_ = audit.Read(filepath.Join(c.dir, "gatehouse", "events"), func(e gate.Event) error {
		if e.Kind == gate.KindExchange {
			n++
		}
		return nil
	})
	if n != 1 {
		t.Errorf("%d exchanges in the log, want the one that was cut off", n)
	}
}

// systemd is told when the process is ready, reads its document again, is ready again, and stops.
func TestNotify(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "gh") // the names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	told := make(chan string, 10)
	go func() {
		buffer := make([]byte, 1024)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			told <- string(buffer[:n])
		}
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if !strings.HasPrefix(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("never told %q", want)
		}
	}
	c := startChild(t, oneAPI(newOrigin(t, nil)), "", "NOTIFY_SOCKET="+filepath.Join(dir, "n"))
	expect("READY=1")
	c.signal(syscall.SIGHUP)
	expect("RELOADING=1")
	expect("READY=1")
	c.signal(syscall.SIGTERM)
	expect("STOPPING=1")
	if err := <-c.ended; err != nil {
		t.Errorf("ended: %v\n%s", err, c.log)
	}
}

// H12: with every descriptor for clients in use, health and metrics still answer, and events are still written.
func TestAdminAnswersWithoutDescriptors(t *testing.T) {
	t.Parallel()
	c := startChild(t, oneAPI(newOrigin(t, nil)), "ulimit -n 256;")
	var held []net.Conn
	for range 400 {
		n, err := net.DialTimeout("tcp", strings.TrimPrefix(c.at, "http://"), time.Second)
		if err == nil {
			held = append(held, n)
		}
	}
	defer func() {
		for _, n := range held {
			_ = n.Close()
		}
	}()
	for range 20 {
		if s := c.status(c.admin + "/readyz"); s != 200 {
			t.Fatalf("readiness answers %d with %d connections held", s, len(held))
		}
	}
	if s := c.status(c.admin + "/metrics"); s != 200 {
		t.Errorf("metrics answer %d", s)
	}
	c.signal(syscall.SIGHUP)
	c.until("a reload opens files", func() bool { return strings.Contains(c.log.String(), "document in force") })
}
