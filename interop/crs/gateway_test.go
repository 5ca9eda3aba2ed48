package crs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// patience is how long anything on loopback may take on a busy machine.
const patience = 20 * time.Second

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gh-crs")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := lookAtSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "gatehouse")
	if out, err := exec.Command("go", "build", "-tags", "no_fs_access", "-o", binary, "../../cmd/gatehouse").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// lookAtSources looks at every source file of the program, so that go test does not take an earlier result for one about
// this program: it knows which files a test looks at, but not what a test builds.
func lookAtSources() error {
	return filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") && d.Name() != "go.sum" {
			return err
		}
		_, err = os.Stat(name)
		return err
	})
}

// document has the threshold 1, which refuses whatever any rule scores for, so that each rule shows and not only the
// critical ones, and more time for each request than a busy machine takes.
const document = `
listen: {at: ["http://127.0.0.1:0"], admin: "http://ADMIN"}
guards:
  identity: {off: {accept_risk: a test of the WAF}}
  access: {off: {accept_risk: a test of the WAF}}
  rate: {off: {accept_risk: a test of the WAF}}
  waf: {paranoia: LEVEL, threshold: 1, budget: 60s}
apis:
  - name: anything
    contract: none
    accept_risk: a test of the WAF
    to: ["SERVER"]
    upstream: {health: {eject_after: 100000}, breaker: {min_requests: 1000000}}
`

// gateway is one running process with a server behind it that answers as the rule set's tests expect.
type gateway struct {
	dir, address string
	process      *exec.Cmd
	exited       chan struct{} // closed when the process has ended
	behind       *httptest.Server
	log          lines
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

var served = regexp.MustCompile(`msg=serving .*addresses="?\[[^\]]*http://([^ \]]*)`)

// start serves at a level of paranoia. Answers are what the server says to a path.
func start(t *testing.T, level int, answers map[string]referee.Reply) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir(), exited: make(chan struct{})}
	g.behind = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reply := answers[r.URL.Path] // an empty 200 otherwise, as their own server says
		for name, values := range reply.Header {
			w.Header()[name] = values
		}
		w.Header().Set("X-Behind", "1")
		w.WriteHeader(max(reply.Status, http.StatusOK))
		_, _ = w.Write(reply.Body)
	}))
	t.Cleanup(g.behind.Close)
	text := strings.NewReplacer("ADMIN", loopback.Address(), "LEVEL", fmt.Sprint(level), "SERVER", g.behind.URL).Replace(document)
	file := filepath.Join(g.dir, "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.process = exec.Command(binary, "serve", "--config", file)
	g.process.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(g.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(g.dir, "config"))
	g.process.Stderr = &g.log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = g.process.Wait() // how it ended is in its log
		close(g.exited)
	}()
	t.Cleanup(g.stop)
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if m := served.FindStringSubmatch(g.log.String()); m != nil {
			g.address = m[1]
			return g
		}
		select {
		case <-g.exited:
			t.Fatalf("the gateway ended before it served:\n%s", g.log.String())
		default:
		}
		if time.Since(began) > patience {
			t.Fatal("the gateway does not serve:\n" + g.log.String())
		}
	}
}

// stop ends the process, once or again.
func (g *gateway) stop() {
	_ = g.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(patience):
		_ = g.process.Process.Kill()
		<-g.exited
	}
}

// said is what the gateway said to one request.
type said struct {
	status int  // 0 when the connection ended without an answer
	behind bool // the server's own answer
}

// source is a loopback address that no other test calls from, so that its event can be told by it: an answer to HEAD has no
// body that could name it.
func source(n int) string { return fmt.Sprintf("127.%d.%d.%d", 10+n>>16, n>>8&255, n&255) }

// send writes a request as it is and reads the answer. The client of the rule set gives up on a request that promises more
// than it sends; here it ends its half of the connection after a while, and hears what is said to that.
func (g *gateway) send(raw []byte, from string) (said, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", g.address)
	if err != nil {
		return said{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	if _, err := conn.Write(raw); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return said{}, err
	}
	giveUp := time.AfterFunc(patience/4, func() { _ = conn.(*net.TCPConn).CloseWrite() })
	defer giveUp.Stop()
	reader := bufio.NewReader(conn)
	method, _, _ := bytes.Cut(raw, []byte(" "))
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: string(method)})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return said{}, err
			}
			return said{}, nil // no answer is an answer
		}
		if response.StatusCode < 200 {
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body) // one that is cut off is judged by its head
		return said{response.StatusCode, response.Header.Get("X-Behind") != ""}, nil
	}
}

// events reads what the gateway has written about requests, by the address they came from. It has ended, so that all of it
// is there.
func (g *gateway) events(t *testing.T) map[string]gate.Event {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(g.dir, "data", "gatehouse", "events", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no event files: %v", err)
	}
	list := map[string]gate.Event{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var e gate.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v in %.200q", filepath.Base(file), err, line)
			}
			if known, ok := list[e.From.Address]; !ok || known.Decision.Verdict != "deny" {
				list[e.From.Address] = e
			}
		}
	}
	return list
}
