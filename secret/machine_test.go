package secret_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/sourcetest"
)

// replace puts a file into the place of another, as careful programs do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreASource(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, path, text string){
		"replaced": replace,
		"in place": func(t *testing.T, path, text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.World {
				path := filepath.Join(t.TempDir(), "key")
				return sourcetest.World{Source: secret.Files(), Place: path, Missing: path + ".none", Set: func(v string) { write(t, path, v+"\n") }, Remove: func() { os.Remove(path) },
					Break: func(broken bool) {
						if broken { // a folder in its place: as root, rights stop nobody
							_ = os.Rename(path, path+".kept")
							_ = os.Mkdir(path, 0o700)
							return
						}
						_ = os.Remove(path)
						_ = os.Rename(path+".kept", path)
					}}
			})
		})
	}
}

func TestCredentialsAreASource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		folder := t.TempDir()
		return sourcetest.World{Source: secret.Credentials(folder), Place: "key", Missing: "none", Set: func(v string) { replace(t, filepath.Join(folder, "key"), v) }, Remove: func() { os.Remove(filepath.Join(folder, "key")) }}
	})
	if _, err := secret.Credentials("").Fetch(t.Context(), "key", ""); err == nil || !strings.Contains(err.Error(), "LoadCredential=") {
		t.Error(err)
	}
}

func TestTheEnvironmentIsASource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		vars := map[string]string{"EMPTY": ""}
		look := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
		return sourcetest.World{Source: secret.Environment(look), Place: "KEY", Missing: "EMPTY", Fixed: true, Set: func(v string) { vars["KEY"] = v }}
	})
}

// The N-th state of a file that is written slowly in place is never handed out between two good ones, as long as no two
// looks find the same half.
func TestAHalfWrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, second := "first-"+strings.Repeat("a", 100), "second-"+strings.Repeat("b", 100)
	_ = os.WriteFile(path, []byte(first), 0o600)
	s := secret.Files()
	reads := func() string {
		a, err := s.Fetch(t.Context(), path, "")
		if err != nil {
			return ""
		}
		return string(a.Fields[""].Reveal())
	}
	if reads() != first {
		t.Fatal("not read")
	}
	for n := range len(second) + 1 {
		_ = os.WriteFile(path, []byte(second[:n]), 0o600)
		if got := reads(); got != first && got != "" {
			t.Fatalf("after %d bytes: %q", n, got)
		}
	}
	if got := reads(); got != second {
		t.Errorf("when it was written whole: %q", got)
	}
	// Back to the first in the middle of another change: nothing is pending any more.
	_ = os.WriteFile(path, []byte("half"), 0o600)
	reads()
	_ = os.WriteFile(path, []byte(second), 0o600)
	reads()
	_ = os.WriteFile(path, []byte("half"), 0o600)
	if got := reads(); got != second {
		t.Errorf("a half was taken at its first look: %q", got)
	}
}

// The mounted form of a Secret or ConfigMap in Kubernetes: key -> ..data/key, ..data -> a folder by date; the link is
// swapped. Certificate and key change in one step, and count at the first look.
func TestTheSwapOfKubernetes(t *testing.T) {
	mount := t.TempDir()
	generation := func(n int) {
		t.Helper()
		folder := fmt.Sprintf("..2026_11_22_%d", n)
		_ = os.Mkdir(filepath.Join(mount, folder), 0o700)
		_ = os.WriteFile(filepath.Join(mount, folder, "key"), fmt.Appendf(nil, "key-%d", n), 0o600)
		_ = os.Symlink(folder, filepath.Join(mount, "..data_tmp"))
		if err := os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	generation(0)
	_ = os.Symlink(filepath.Join("..data", "key"), filepath.Join(mount, "key"))
	s := secret.Files()
	for n := range 5 {
		generation(n)
		if a, err := s.Fetch(t.Context(), filepath.Join(mount, "key"), ""); err != nil || string(a.Fields[""].Reveal()) != fmt.Sprint("key-", n) {
			t.Errorf("generation %d: %v", n, err)
		}
	}
}

// A pipe would keep its reader waiting for ever; a device never ends.
func TestOnlyRegularFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), "long")
	_ = os.WriteFile(long, make([]byte, 2<<20), 0o600)
	for _, path := range []string{pipe, "/dev/zero", "/dev/null", t.TempDir(), long} {
		done := make(chan error, 1)
		go func() {
			_, err := secret.Files().Fetch(t.Context(), path, "")
			_, second := reference(t, "file:"+path).Resolve()
			done <- errors.Join(err, second)
		}()
		select {
		case err := <-done:
			if err == nil || strings.Count(err.Error(), "\n") != 1 {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(2 * time.Second):
			t.Errorf("%s: waits", path)
		}
	}
}

// A file in a keeper, by the real clock of files: rotation without restart.
func TestAKeeperFollowsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	replace(t, path, canary+"1")
	c := newClock()
	k := secret.NewKeeper(map[string]secret.Source{secret.File: secret.Files()}, secret.Options{Now: c.now, MaxStale: time.Hour})
	l, err := k.Live(t.Context(), reference(t, "file:"+path), "listen")
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, canary+"2")
	c.pass(3 * time.Second)
	k.Step(t.Context())
	reads(t, l, canary+"2")
	// A reload directly after a change sees it at once.
	replace(t, path, canary+"3")
	c.pass(time.Second)
	if l, err = k.Live(t.Context(), l.Ref(), "listen"); err != nil {
		t.Fatal(err)
	}
	reads(t, l, canary+"3")
	_ = os.Remove(path)
	for range 40 {
		c.pass(3 * time.Second)
		k.Step(t.Context())
	}
	reads(t, l, "")
	replace(t, path, canary+"4")
	for range 20 {
		c.pass(3 * time.Second)
		k.Step(t.Context())
	}
	reads(t, l, canary+"4")
}

// What never changes is read once and never ends.
func TestAKeeperKeepsAVariable(t *testing.T) {
	c := newClock()
	asked := 0
	k := secret.NewKeeper(map[string]secret.Source{secret.Env: secret.Environment(func(string) (string, bool) { asked++; return canary, true })}, secret.Options{Now: c.now})
	l, err := k.Live(t.Context(), reference(t, "env:KEY"), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		c.pass(24 * time.Hour)
		k.Step(t.Context())
	}
	reads(t, l, canary)
	if s := k.Statuses(); asked != 1 || len(s) != 1 || s[0].Ends != nil || !s[0].Usable || s[0].Ref != "env:KEY" {
		t.Errorf("asked %d times, %+v", asked, s)
	}
}
