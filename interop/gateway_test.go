package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// TestMain builds the programs once for all tests here; they find them in the folder that GATEHOUSE_PROGRAMS names.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gatehouse-interop")
		if err == nil {
			defer os.RemoveAll(dir)
			err = os.Setenv("GATEHOUSE_PROGRAMS", dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		build := exec.Command("go", "build", "-o", dir+"/", "../cmd/gatehouse", "../examples/shop/cmd/shop", "../examples/shop/tour")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// built is the file of a program of ours: gatehouse, shop or tour.
func built(program string) string { return filepath.Join(os.Getenv("GATEHOUSE_PROGRAMS"), program) }

// house is a running gateway with a document, a contract, a certificate and a state directory of its own.
type house struct {
	url  string // https://localhost:PORT
	port string
	ca   string // file that its clients trust
	dir  string // of the document, and of the events
}

// settle writes contract and document and starts the gateway. In the document ADDRESS, CERTIFICATE and SERVER stand for
// what only the test knows.
func settle(t *testing.T, contract, document, server string) *house {
	t.Helper()
	h := &house{dir: t.TempDir(), port: strconv.Itoa(loopback.Port())}
	h.url = "https://localhost:" + h.port
	h.ca = certificate(t, h.dir)
	certificates := fmt.Sprintf("{cert: %s, key: %q}", h.ca, "file:"+h.ca+".key")
	text := strings.NewReplacer("ADDRESS", h.url, "CERTIFICATE", certificates, "SERVER", server).Replace(document)
	for name, content := range map[string]string{"contract.yaml": contract, "gatehouse.yaml": text} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, h.env(), "serving", built("gatehouse"), "serve", "--config", filepath.Join(h.dir, "gatehouse.yaml"))
	return h
}

func (h *house) env() []string {
	return []string{"XDG_DATA_HOME=" + filepath.Join(h.dir, "state"), "XDG_CONFIG_HOME=" + filepath.Join(h.dir, "config")}
}

// token is one of the development issuer.
func (h *house) token(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command(built("gatehouse"), append([]string{"token"}, args...)...)
	c.Env = append(os.Environ(), h.env()...)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("gatehouse token: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// events reads what the gateway has written so far.
func (h *house) events(t *testing.T) []gate.Event {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "state", "gatehouse", "events", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no event files: %v", err)
	}
	var list []gate.Event
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		whole := string(data[:bytes.LastIndexByte(data, '\n')+1]) // the last line may be half written
		for line := range strings.Lines(whole) {
			var e gate.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v in %.200q", filepath.Base(file), err, line)
			}
			list = append(list, e)
		}
	}
	return list
}

// reasons tells, for each event by its id, why it was denied.
func reasons(events []gate.Event) map[string]string {
	why := make(map[string]string, len(events))
	for _, e := range events {
		why[e.ID] = string(e.Decision.Reason)
	}
	return why
}

// tellDenials logs, when the test has failed, what the gateway denied and why.
func (h *house) tellDenials(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, e := range h.events(t) {
		if e.Decision.Verdict == "deny" {
			t.Logf("%s %s %s%s: %s %s %s", e.ID, e.Request.Method, e.Request.API, e.Request.Template, e.Decision.Reason, e.Decision.Detail, e.Decision.Rule)
		}
	}
}

// sound fails the test when the gateway has panicked, broken an answer off or refused what it had begun.
func (h *house) sound(t *testing.T) {
	t.Helper()
	for _, e := range h.events(t) {
		switch {
		case strings.HasSuffix(string(e.Decision.Reason), ".panic"), e.Decision.Reason == "guard.silent", e.Decision.Reason == "waf.engine",
			e.Kind == gate.KindBroken && e.Decision.Reason != "client.gone":
			t.Errorf("event %s: %s %s: %s %s", e.ID, e.Kind, e.Decision.Reason, e.Decision.Detail, e.Note)
		}
	}
}

// behind is a server behind the gateway, until the test ends.
func behind(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// behindTLS is the same with a certificate, as the function of that name wrote it.
func behindTLS(t *testing.T, file string, handler http.HandlerFunc) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(file, file+".key")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// program runs a client to its end and gives what it printed.
func program(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env...)
	var wrong strings.Builder
	c.Stderr = &wrong
	out, err := c.Output()
	if err != nil {
		t.Errorf("%s %q: %v\n%s%s", name, args, err, out, wrong.String())
	}
	return string(out)
}
