package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mounted is a folder as Kubernetes mounts a ConfigMap: gatehouse.yaml -> ..data/gatehouse.yaml, ..data -> ..N.
type mounted struct {
	dir string
	n   int
}

// exchange does what kubelet does: write a new folder, exchange ..data atomically, remove the old one.
func (m *mounted) exchange(t testing.TB) {
	m.n++
	name, before := fmt.Sprintf("..%d", m.n), fmt.Sprintf("..%d", m.n-1)
	for _, f := range []string{"gatehouse.yaml", "orders.yaml", "common.yaml"} {
		file := filepath.Join(m.dir, name, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, fmt.Appendf(nil, "generation %d", m.n), 0o644)); err != nil {
			t.Error(err)
		}
		if m.n == 1 {
			must(t, os.Symlink("..data/"+f, filepath.Join(m.dir, f)))
		}
	}
	swap := filepath.Join(m.dir, "..data_tmp")
	if err := errors.Join(os.Symlink(name, swap), os.Rename(swap, filepath.Join(m.dir, "..data")), os.RemoveAll(filepath.Join(m.dir, before))); err != nil {
		t.Error(err)
	}
}

// A ConfigMap that is exchanged all the time is read a thousand times: document, contract and what the contract refers to
// are always of one generation, and always there.
func TestConfigMapIsOneGeneration(t *testing.T) {
	m := &mounted{dir: t.TempDir()}
	m.exchange(t)
	s := open(t, filepath.Join(m.dir, "gatehouse.yaml"), Options{})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				m.exchange(t)
			}
		}
	}()
	seen := map[string]bool{}
	began := time.Now()
	for reads := 0; reads < 1000 || len(seen) < 100 && time.Since(began) < 10*time.Second; reads++ {
		b, err := s.Read(context.Background())
		if errors.Is(err, ErrChanged) {
			reads-- // exchanged ten times within one reading
			continue
		}
		must(t, err)
		contract := filepath.Join(m.dir, "orders.yaml")
		orders, err := b.ReadFile(contract, contract)
		must(t, err)
		common, err := b.ReadFile(contract, filepath.Join(m.dir, "common.yaml"))
		must(t, err)
		if string(orders) != string(b.Data) || string(common) != string(b.Data) {
			t.Fatalf("%q with %q and %q", b.Data, orders, common)
		}
		must(t, b.Accept(context.Background()))
		seen[string(b.Data)] = true
	}
	close(stop)
	<-done
	if len(seen) < 100 {
		t.Errorf("only %d generations seen: this test shows nothing", len(seen))
	}
	if !changed(s, 5*time.Second) {
		m.exchange(t)
		if !changed(s, 5*time.Second) {
			t.Error("an exchange is not noticed")
		}
	}
}

// A release folder behind a link, as deployers exchange it; the old one stays.
func TestReleaseLinkIsFollowedOnce(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		write(t, filepath.Join(dir, v, "gatehouse.yaml"), v)
		write(t, filepath.Join(dir, v, "orders.yaml"), v)
	}
	current := filepath.Join(dir, "current")
	must(t, os.Symlink("v1", current))
	s := open(t, filepath.Join(current, "gatehouse.yaml"), Options{Poll: 10 * time.Millisecond})
	b, err := s.Read(context.Background())
	must(t, err)
	must(t, os.Symlink("v2", current+"2"))
	must(t, os.Rename(current+"2", current))
	path := filepath.Join(current, "orders.yaml")
	if orders, err := b.ReadFile(path, path); err != nil || string(orders) != "v1" || string(b.Data) != "v1" {
		t.Errorf("%q with %q, %v", b.Data, orders, err)
	}
	if !changed(s, 2*time.Second) {
		t.Error("the exchange is not noticed")
	}
	if d, c, err := both(s, "orders.yaml"); d != "v2" || c != "v2" || err != nil {
		t.Errorf("%q with %q, %v", d, c, err)
	}
}

// Files that are written one by one while they are read are not put in force.
func TestFilesThatChangeWhileReadAreRefused(t *testing.T) {
	dir := t.TempDir()
	document, contract := filepath.Join(dir, "gatehouse.yaml"), filepath.Join(dir, "orders.yaml")
	write(t, document, "1")
	write(t, contract, "1")
	s := open(t, document, Options{Poll: 10 * time.Millisecond})
	b, err := s.Read(context.Background())
	must(t, err)
	_, err = b.ReadFile(contract, contract)
	must(t, err)
	write(t, contract, "1 and more")
	if err := b.Accept(context.Background()); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), contract) {
		t.Errorf("%v", err)
	}
	if d, c, err := both(s, "orders.yaml"); d != "1" || c != "1 and more" || err != nil {
		t.Errorf("%q with %q, %v", d, c, err)
	}
}

func TestAChangeCountsOnceItHasRested(t *testing.T) {
	dir := t.TempDir()
	document, outside := filepath.Join(dir, "gatehouse.yaml"), filepath.Join(dir, "ca.pem")
	write(t, document, "1")
	s := open(t, document, Options{Poll: 150 * time.Millisecond})
	b, err := s.Read(context.Background())
	must(t, err)
	b.Watch(outside)
	if changed(s, 400*time.Millisecond) {
		t.Error("a change without a change")
	}
	stop := make(chan struct{})
	go func() { // an editor that does not come to an end
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				_ = os.WriteFile(document, fmt.Append(nil, strings.Repeat("x", i)), 0o600)
			}
		}
	}()
	if changed(s, 700*time.Millisecond) {
		t.Error("a document counts that is still being written")
	}
	close(stop)
	if !changed(s, 2*time.Second) {
		t.Error("the change does not count though it rests")
	}
	b, err = s.Read(context.Background())
	must(t, err)
	b.Watch(outside)
	write(t, outside, "now there")
	if !changed(s, 2*time.Second) {
		t.Error("a file that the document names has come, unnoticed")
	}
}

// A document that could not be read is read when it is there.
func TestWaitAfterAnError(t *testing.T) {
	document := filepath.Join(t.TempDir(), "gatehouse.yaml")
	s := open(t, document, Options{Poll: 10 * time.Millisecond})
	_, err := s.Read(context.Background())
	wants(t, err, document, "no such file", "document ")
	if errors.Is(err, os.ErrNotExist) == false || changed(s, 100*time.Millisecond) {
		t.Error(err)
	}
	write(t, document, "1")
	if !changed(s, 2*time.Second) {
		t.Error("the document has come, unnoticed")
	}
}

// What a contract refers to lies in its folder and is a plain file (row I11).
func TestContractReadsOnlyItsFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), "d")
	write(t, filepath.Join(dir, "secret"), "s")
	write(t, filepath.Join(dir, "c/orders.yaml"), "c")
	write(t, filepath.Join(dir, "c/sub/ok.yaml"), "ok")
	must(t, os.Symlink("../secret", filepath.Join(dir, "c/link.yaml")))
	must(t, os.Symlink("sub/ok.yaml", filepath.Join(dir, "c/inner.yaml")))
	must(t, os.Symlink("loop.yaml", filepath.Join(dir, "c/loop.yaml")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "c/pipe.yaml"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "c/large.yaml"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "c/large.yaml"), maxFile+1))
	s := open(t, filepath.Join(dir, "gatehouse.yaml"), Options{})
	b, err := s.Read(context.Background())
	must(t, err)
	contract := filepath.Join(dir, "c/orders.yaml")
	for name, want := range map[string]string{
		"c/sub/ok.yaml": "ok", "c/inner.yaml": "ok", "c/orders.yaml": "c",
		"c/../secret": "", "secret": "", "c/link.yaml": "", "c/loop.yaml": "", "c/pipe.yaml": "", "c/sub": "", "c/large.yaml": "", "c/none.yaml": "", "../../../../etc/passwd": "",
	} {
		data, err := b.ReadFile(contract, dir+"/"+name)
		if string(data) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	pipe := filepath.Join(dir, "c/pipe.yaml") // a contract itself is no pipe either: nobody would ever write into it
	if _, err := b.ReadFile(pipe, pipe); err == nil {
		t.Error("a contract that is a pipe is read")
	}
}

// The operator's own pipe is a document: gatehouse check --config <(make-document).
func TestDocumentFromAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	go func() { _ = os.WriteFile(pipe, []byte("piped"), 0o600) }()
	b, err := open(t, pipe, Options{}).Read(context.Background())
	if err != nil || string(b.Data) != "piped" {
		t.Errorf("%v, %v", b, err)
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), "d")
	write(t, filepath.Join(dir, "orders.yaml"), "1")
	s := open(t, filepath.Join(dir, "gatehouse.yaml"), Options{})
	state := func() State {
		b, err := s.Read(context.Background())
		must(t, err)
		contract := filepath.Join(dir, "orders.yaml")
		_, err = b.ReadFile(contract, contract)
		must(t, err)
		if got := strings.Join(b.Files(), " "); got != "gatehouse.yaml orders.yaml" {
			t.Errorf("files %q", got)
		}
		return b.State()
	}
	first, again := state(), state()
	write(t, filepath.Join(dir, "orders.yaml"), "2")
	other := state()
	if first.Generation != again.Generation || first.Generation == other.Generation || first.Digest != other.Digest || len(first.Digest) != 64 || first.Expired {
		t.Errorf("%+v\n%+v\n%+v", first, again, other)
	}
}
