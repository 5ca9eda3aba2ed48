package devca

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func clock() (func() time.Time, func(time.Duration)) {
	var mu sync.Mutex
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
}

func TestConcurrentCommandsShareOneRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	now, _ := clock()
	prints := make([]string, 8)
	var wg sync.WaitGroup
	for i := range prints {
		wg.Go(func() {
			ca, err := Open(dir, now, rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = ca.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] || p == "" {
			t.Fatalf("several roots: %v", prints)
		}
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, rootFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTwoInstallationsHaveTwoRoots(t *testing.T) {
	now, _ := clock()
	a, errA := Open(t.TempDir()+"/a", now, rand.Reader)
	b, errB := Open(t.TempDir()+"/b", now, rand.Reader)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("the same root twice")
	}
}

func TestClientTrustsLeafOverTLS13(t *testing.T) {
	now, _ := clock()
	ca, err := Open(t.TempDir()+"/s", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS13})
			_, _ = s.Write([]byte("ok"))
		}()
		c := tls.Client(client, &tls.Config{RootCAs: ca.Pool(), ServerName: name, Time: now})
		if got, err := io.ReadAll(io.LimitReader(c, 2)); string(got) != "ok" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		client.Close()
	}
}

func TestLeafIsRenewedInTime(t *testing.T) {
	now, pass := clock()
	ca, err := Open(t.TempDir()+"/s", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := ca.Certificate()
	pass(19 * 24 * time.Hour)
	if again, _ := ca.Certificate(); again != first {
		t.Error("renewed too early")
	}
	pass(24*time.Hour + time.Second)
	again, err := ca.Certificate()
	if err != nil || again == first {
		t.Fatalf("not renewed: %v", err)
	}
	if got := again.Leaf.NotAfter.Sub(now()); got != LeafLife {
		t.Errorf("lives for %v", got)
	}
}

func TestWrongUses(t *testing.T) {
	now, pass := clock()
	dir := t.TempDir() + "/s"
	ca, err := Open(dir, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"example.com", "localhost.example.com", "10.0.0.1", "evillocalhost", "::2"} {
		if _, err := ca.Certificate(name); err == nil {
			t.Errorf("signed %s", name)
		}
	}
	if strings.Contains(string(ca.PEM()), "PRIVATE") {
		t.Error("PEM holds the key")
	}

	path := filepath.Join(dir, rootFile)
	good, _ := os.ReadFile(path)
	for name, data := range map[string][]byte{"empty": nil, "garbled": []byte("x"), "key missing": ca.PEM(), "cut": good[:len(good)/2]} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, now, rand.Reader); err == nil {
			t.Errorf("%s: opened", name)
		}
		if left, _ := os.ReadFile(path); string(left) != string(data) {
			t.Errorf("%s: the file was replaced", name)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, now, rand.Reader); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory open to others: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pass(RootLife + time.Hour)
	if _, err := Open(dir, now, rand.Reader); err == nil {
		t.Error("an expired root was opened")
	}
}
