package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// machine is one machine with Gatehouse on it: a home, a document, the real program.
type machine struct {
	t       *testing.T
	program string
	home    string // of the user that runs it
	file    string // the document
	admin   string
	address string
	gateway *exec.Cmd
	log     *bytes.Buffer
}

const recoveryContract = `openapi: 3.0.3
info: {title: shop, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /things:
    get:
      operationId: getThings
      security: [{token: []}]
      responses: {"200": {description: ok}}
`

// newMachine makes a machine whose document lies in conf/ and its contract in contracts/ beside it, with backups at a place.
func newMachine(t *testing.T, place, recipient, upstream string) *machine {
	t.Helper()
	root := t.TempDir()
	h := &machine{t: t, home: filepath.Join(root, "home"), program: filepath.Join(root, "gatehouse"), file: filepath.Join(root, "conf", "gatehouse.yaml")}
	h.admin, h.address = loopback.Address(), loopback.Address()
	document := fmt.Sprintf(`listen: {at: ["http://%s"], admin: "http://%s"}
guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test}}}
backup: {to: %s, recipients: [%s]}
apis: [{name: shop, contract: ../contracts/shop.yaml, to: ["%s"], operations: {getThings: {callers: any}}}]
`, h.address, h.admin, place, recipient, upstream)
	for name, text := range map[string]string{"conf/gatehouse.yaml": document, "contracts/shop.yaml": recoveryContract} {
		h.write(filepath.Join(root, name), text)
	}
	self, err := os.Executable()
	if err == nil {
		err = errors.Join(os.Symlink(self, h.program), os.Mkdir(h.home, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// elsewhere is another machine, empty but for the program.
func (h *machine) elsewhere() *machine {
	h.t.Helper()
	other := *h
	other.home = filepath.Join(h.t.TempDir(), "home")
	if err := os.Mkdir(other.home, 0o700); err != nil {
		h.t.Fatal(err)
	}
	other.gateway = nil
	other.file = filepath.Join(other.home, ".local/share/gatehouse/document/conf/gatehouse.yaml")
	return &other
}

func (h *machine) write(name, text string) {
	h.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *machine) state() string { return filepath.Join(h.home, ".local/share/gatehouse") }

func (h *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, h.program, args...)
	c.Env = []string{"HOME=" + h.home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Dir(h.home)}
	c.Dir = filepath.Dir(h.home)
	return c
}

// run runs a command on this machine and gives what it printed, and its exit code.
func (h *machine) run(stdin string, args ...string) (out, said string, code int) {
	h.t.Helper()
	ctx, end := context.WithTimeout(h.t.Context(), time.Minute)
	defer end()
	c := h.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := c.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		h.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// must runs a command that has to succeed, by this machine's document.
func (h *machine) must(stdin string, args ...string) string {
	h.t.Helper()
	out, said, code := h.run(stdin, append(args, "--config", h.file)...)
	if code != 0 {
		h.t.Fatalf("gatehouse %s: exit %d\n%s%s", strings.Join(args, " "), code, out, said)
	}
	return out
}

// start starts the gateway.
func (h *machine) start() {
	h.t.Helper()
	h.log = &bytes.Buffer{}
	h.gateway = h.command(context.Background(), "serve", "--config", h.file)
	h.gateway.Stdout, h.gateway.Stderr = h.log, h.log
	if err := h.gateway.Start(); err != nil {
		h.t.Fatal(err)
	}
	process := h.gateway
	h.t.Cleanup(func() { _ = process.Process.Kill() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := http.Get("http://" + h.admin + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			_ = h.gateway.Process.Kill()
			_ = h.gateway.Wait()
			h.t.Fatalf("the gateway does not start:\n%s", h.log)
		}
	}
}

// stop ends it in order, kill without.
func (h *machine) stop() {
	h.t.Helper()
	if err := errors.Join(h.gateway.Process.Signal(os.Interrupt), h.gateway.Wait()); err != nil {
		h.t.Fatalf("%v\n%s", err, h.log)
	}
}

func (h *machine) kill() {
	_ = h.gateway.Process.Kill()
	_ = h.gateway.Wait()
}

// get asks for the one thing with a token, and gives the status.
func (h *machine) get(token string) int {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.address+"/things", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// list gives the names of the backups in their place.
func (h *machine) list() []string { return h.listed(false) }

// listed names the backups in their place, and those that wait for it where asked for.
func (h *machine) listed(waiting bool) (names []string) {
	h.t.Helper()
	var l listed
	if err := json.Unmarshal([]byte(h.must("", "backup", "list", "--json")), &l); err != nil {
		h.t.Fatal(err)
	}
	for _, b := range l.Backups {
		if waiting || !b.Waiting {
			names = append(names, b.Name)
		}
	}
	return names
}

func (h *machine) create() madeBackup {
	h.t.Helper()
	var m madeBackup
	if err := json.Unmarshal([]byte(h.must("", "backup", "create", "--json")), &m); err != nil {
		h.t.Fatal(err)
	}
	return m
}
