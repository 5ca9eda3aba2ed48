//go:build linux

package state

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// TestLost takes away or exchanges what a gateway needs, each time from an installation in which a token was called back.
// It must refuse to start, in words that say what is missing, where it looked and what to do, and leave every file as it was:
// never begin anew, which would make the token good again.
func TestLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(t *testing.T, h *home) (undo func())
		says []string
	}{
		{"root key", func(t *testing.T, h *home) func() { return away(t, only(t, h, "config/gatehouse/*.root.key")) },
			[]string{"root key", "/config/gatehouse/", ".root.key (is not there)", "put the right one back", "gatehouse key recover"}},
		{"another root key", func(t *testing.T, h *home) func() {
			file := only(t, h, "config/gatehouse/*.root.key")
			undo := away(t, file)
			write(t, file, randomKey()+"\n")
			return undo
		}, []string{"root key", "another key", ".root.key", "gatehouse key recover"}},
		{"keyring", func(t *testing.T, h *home) func() { return away(t, h.state("keyring.json")) },
			[]string{"no keyring", "keyring.json", "backup"}},
		{"damaged keyring", func(t *testing.T, h *home) func() {
			undo := away(t, h.state("keyring.json"))
			write(t, h.state("keyring.json"), "{}\n")
			return undo
		}, []string{"keyring.json", "backup", "nothing was changed"}},
		{"store", func(t *testing.T, h *home) func() { return away(t, h.state("store.db")) },
			[]string{"store.db", "missing", "restore", "installation.json"}},
		{"empty store", func(t *testing.T, h *home) func() {
			undo := away(t, h.state("store.db"))
			write(t, h.state("store.db"), "")
			return undo
		}, []string{"store.db", "empty", "restore"}},
		{"store of another installation", func(t *testing.T, h *home) func() {
			undo := away(t, h.state("store.db"))
			write(t, h.state("store.db"), strings.Repeat("not ours ", 4096))
			return undo
		}, []string{"store.db", "key"}},
		{"keyring and store at once", func(t *testing.T, h *home) func() {
			one, other := away(t, h.state("keyring.json")), away(t, h.state("store.db"))
			return func() { one(); other() }
		}, []string{"keyring.json", "restore", "installation.json"}},
		{"damaged note of the store", func(t *testing.T, h *home) func() {
			undo := away(t, h.state("installation.json"))
			write(t, h.state("installation.json"), "{\"inst")
			return undo
		}, []string{"installation.json", "remove it"}},
		{"state that others can read", func(t *testing.T, h *home) func() { return mode(t, h.state(), 0o755, 0o700) },
			[]string{"can be read by others", "chmod 700"}},
		{"root key that others can read", func(t *testing.T, h *home) func() {
			return mode(t, only(t, h, "config/gatehouse/*.root.key"), 0o644, 0o600)
		}, []string{".root.key", "chmod 600"}},
		{"store that others can read", func(t *testing.T, h *home) func() { return mode(t, h.state("store.db"), 0o644, 0o600) },
			[]string{"store.db", "chmod 600"}},
		{"state on a read-only disk", func(t *testing.T, h *home) func() {
			bind(t, h.state(), syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY)
			return func() { unmount(t, h.state()) }
		}, []string{"read-only file system", "mount it for writing", "XDG_DATA_HOME"}},
		{"another user", func(t *testing.T, h *home) func() {
			for dir := h.dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
				mode(t, dir, 0o755, 0o755)
			}
			h.as = func(c *exec.Cmd) {
				c.Dir = "/"
				c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			return func() { h.as = nil }
		}, []string{"permission denied", "uid 65534", "start it as the user"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSetting(t)
			h := s.newHome(t)
			g := h.start(t)
			h.must(t, "token", "revoke", "--id", "t1", "--why", "a test")
			g.stop(t)
			undo := c.do(t, h)
			words := h.refused(t)
			t.Log(words)
			says(t, words, c.says...)
			if strings.Contains(words, "goroutine") || len(words) > 1200 {
				t.Error("nobody reads that")
			}
			undo()
			h.start(t)
			allRefused(t, s, h, []string{"t1"})
		})
	}
}

// only is the one file that a pattern names.
func only(t *testing.T, h *home, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	return files[0]
}

func away(t *testing.T, file string) (undo func()) {
	t.Helper()
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
}

func mode(t *testing.T, file string, bad, good os.FileMode) (undo func()) {
	t.Helper()
	if err := os.Chmod(file, bad); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Chmod(file, good) }
}

// TestFirstStartCutOff kills the very first start at random points: the next one serves.
func TestFirstStartCutOff(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	for i := range 6 {
		h := s.newHome(t)
		g := h.launch(t)
		// the points that matter are files that appear
		point := []string{"keyring.json", "store.db", "installation.json"}[i%3]
		until(t, point+" appears", 20e9, func() bool { _, err := os.Lstat(h.state(point)); return err == nil })
		g.kill()
		g = h.start(t)
		h.must(t, "token", "revoke", "--id", "t1", "--issuer", issuerName)
		g.kill()
		h.start(t).stop(t)
		allOf := h.must(t, "store", "status")
		says(t, allOf, "it can be written")
	}
}

// TestTwoOnOneState starts two gateways on one embedded state: both serve, and what one calls back the other refuses.
func TestTwoOnOneState(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	a := s.newHome(t)
	b := &home{dir: a.dir, port: strconv.Itoa(loopback.Port())}
	s.more = "fleet: {heartbeat: 500ms}\n"
	a.write(t, s.document(a.port))
	second := filepath.Join(a.dir, "second.yaml")
	write(t, second, s.document(b.port))
	first := a.start(t)
	cmd := b.command("serve", "--config", second)
	other := launchCommand(t, b, cmd)
	other.serving(t)
	out, err := a.run("token", "revoke", "--id", "t1")
	if err == nil {
		t.Error("which of two gateways is asked?")
	}
	says(t, out, "--process")
	a.must(t, "token", "revoke", "--id", "t1", "--process", itoa(first.cmd.Process.Pid))
	c := b.client()
	took := until(t, "the second refuses what the first called back", 20e9, func() bool {
		return b.get(c, "/open/ping", s.issuer.token("ann", "t1")) == 401
	})
	t.Logf("two processes on one file: refused after %v", took)
	says(t, a.must(t, "key", "rotate", "--process", itoa(first.cmd.Process.Pid)), "now version 2")
	a.must(t, "token", "revoke", "--id", "t2", "--process", itoa(other.cmd.Process.Pid))
	first.stop(t)
	other.stop(t)
	a.start(t)
	allRefused(t, s, a, []string{"t1", "t2"})
}

// TestFullDisk fills the disk of the state: what can't be kept is refused to whoever asks, in words, requests are answered as
// the document says, and nothing that was acknowledged is lost when there is space again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	h := s.newHome(t)
	if err := os.MkdirAll(h.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	tmpfs(t, h.state(), "size=6m,mode=700")
	g := h.start(t)
	h.must(t, "token", "revoke", "--id", "before")
	fill, err := os.Create(h.state("fill"))
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 4096); ; {
		if _, err := fill.Write(chunk); err != nil {
			break
		}
	}
	_ = fill.Close()
	var ids []string
	refused := ""
	for i := range 100 {
		id := "full-" + itoa(i)
		out, err := h.run("token", "revoke", "--id", id)
		if err != nil {
			refused = out
			break
		}
		ids = append(ids, id)
	}
	t.Logf("%d more were kept on the full disk; then: %s", len(ids), refused)
	says(t, refused, "the disk is full; make room", "don't stop it while")
	t.Log(h.run("store", "status"))
	out, err := h.run("key", "rotate")
	t.Logf("key rotate: %v %s", err, out)
	g.kill()
	words := h.launch(t)
	select {
	case <-words.ended:
		t.Logf("a start on the full disk: %s", words.said())
		says(t, words.said(), "no space left on device")
	case <-until10(words):
		words.kill()
	}
	if err := os.Remove(h.state("fill")); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	allRefused(t, s, h, append(ids, "before"))
}

// TestAnotherDatabase points the document elsewhere: to a database without a store, and to another installation's.
func TestAnotherDatabase(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t)
	s := newSetting(t)
	s.overPostgres(t, p)
	h := s.fleetOf(t, 1)[0]
	g := h.start(t)
	h.must(t, "token", "revoke", "--id", "t1")
	g.stop(t)
	right, err := os.ReadFile(h.config())
	if err != nil {
		t.Fatal(err)
	}
	empty := *s
	empty.overPostgres(t, p)
	h.write(t, empty.document(h.port))
	words := h.refused(t)
	t.Log(words)
	says(t, words, "no store", "correct the section store", "installation.json")

	others := empty
	oh := others.fleetOf(t, 1)[0]
	oh.start(t).stop(t)
	words = h.refused(t)
	t.Log(words)
	says(t, words, "installation", "correct the section store")

	embedded := *s
	embedded.store = ""
	h.write(t, embedded.document(h.port))
	words = h.refused(t)
	t.Log(words)
	says(t, words, "the document says embedded", "postgres://")

	h.write(t, string(right))
	h.start(t)
	allRefused(t, s, h, []string{"t1"})
}
