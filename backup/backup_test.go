package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

func TestABackupIsMadeProvenAndRestored(t *testing.T) {
	r := newRig(t)
	made := r.create()
	if made.Waiting || !made.Proof.OK || made.Parts != 4 || made.Revision != 42 || len(made.Absent) != 1 || made.Delivered.IsZero() {
		t.Errorf("%+v", made)
	}
	if info, err := os.Stat(r.file(made.Name)); err != nil || info.Size() != made.Size || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if got := r.kinds(); !slices.Equal(got, []string{"made", "proved"}) {
		t.Errorf("told %v", got)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != made.Name || all[0].Waiting || !all[0].Proof.OK || !all[0].Time.Equal(noon) {
		t.Errorf("%+v, %v", all, err)
	}
	left, _ := filepath.Glob(filepath.Join(r.cfg.Spool.Directory, ".*"))
	if rest, _ := os.ReadDir(r.cfg.Spool.Directory); len(rest) != 1 || len(left) != 1 { // the lock
		t.Errorf("left in the spool: %v", left)
	}
	into := filepath.Join(r.root, "new")
	restored, err := r.restore(made.Name, into)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.holds(into); err != nil {
		t.Error(err)
	}
	if restored.Revision != 42 || restored.Maker.Schema != 3 || len(restored.Void) != 1 || len(restored.Absent) != 1 {
		t.Errorf("%+v", restored)
	}
	if info, _ := os.Stat(into); info.Mode().Perm() != 0o700 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	if own, err := r.Restore(t.Context(), made.Name, filepath.Join(r.root, "again"), RestoreOptions{Now: r.tools.Now, After: r.options().After}); err != nil || own.Parts != 4 {
		t.Errorf("by the gateway itself: %+v, %v", own, err)
	}
}

// Nothing of what is in a backup lies readable in its place or in the spool.
func TestNothingLiesReadable(t *testing.T) {
	r := newRig(t)
	canary := []byte("canary-4f1d-in-the-store")
	r.parts = append(r.parts, Bytes("note", bytes.Repeat(canary, 1000)))
	seen := 0
	look := func() {
		_ = filepath.WalkDir(r.root, func(name string, d os.DirEntry, err error) error {
			if data, _ := os.ReadFile(name); bytes.Contains(data, canary) && !strings.Contains(name, ".proof-") {
				t.Errorf("%s shows it", name)
			}
			seen++
			return nil
		})
	}
	r.tools.Checks = []Check{{"look", func(context.Context, Opened) (string, error) { look(); return "", nil }}}
	r.reopen()
	r.create()
	look()
	if seen < 6 {
		t.Errorf("only %d files were seen", seen)
	}
	if left, _ := filepath.Glob(filepath.Join(r.cfg.Spool.Directory, ".proof-*")); len(left) > 0 {
		t.Errorf("the scratch directory is still there: %v", left)
	}
}

// What can happen to a backup in its place, each found by name (K11).
func TestABackupInItsPlaceIsDamaged(t *testing.T) {
	r := newRig(t)
	old := r.create()
	r.clock = r.clock.Add(time.Hour)
	made := r.create()
	whole, _ := os.ReadFile(r.file(made.Name))
	older, _ := os.ReadFile(r.file(old.Name))
	stranger := newRig(t, func(c *Config) { c.Recipients = r.cfg.Recipients })
	stranger.tools.Keys = ring{"another"}
	stranger.reopen()
	foreign := stranger.create()
	other, _ := os.ReadFile(stranger.file(foreign.Name))
	flipped := func(at int) []byte {
		data := bytes.Clone(whole)
		data[at] ^= 4
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
		want []Kind
	}{
		{"no bytes", nil, []Kind{Empty}},
		{"one byte", whole[:1], []Kind{Truncated}},
		{"within its head", whole[:100], []Kind{Truncated}},
		{"half", whole[:len(whole)/2], []Kind{Truncated}},
		{"one byte less", whole[:len(whole)-1], []Kind{Truncated}},
		{"whole chunks only", whole[:len(whole)-len(whole)%65552], []Kind{Truncated}},
		{"a bit of its intro", flipped(3), []Kind{NoBackup}},
		{"a bit of its head", flipped(60), []Kind{NoKey, Damaged}},
		{"a bit of its middle", flipped(len(whole) / 2), []Kind{Damaged}},
		{"its last bit", flipped(len(whole) - 1), []Kind{Damaged}},
		{"a byte more", append(bytes.Clone(whole), 0), []Kind{Damaged}},
		{"itself once more", append(bytes.Clone(whole), whole...), []Kind{Damaged}},
		{"an older one under its name", older, []Kind{Renamed, Truncated, Damaged}},
		{"a stranger's, made for the same recipients", other, []Kind{Foreign, NoKey}},
		{"something else", []byte("hello, this is no backup at all"), []Kind{NoBackup}},
	} {
		if err := os.WriteFile(r.file(made.Name), c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		r.kinds()
		proof, err := r.Verify(t.Context(), made.Name, nil)
		var f *Flaw
		if !errors.As(err, &f) || !slices.Contains(c.want, f.Kind) || f.Backup != made.Name || proof.OK || proof.Flaw != f {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
		if told := r.kinds(); !slices.Contains(told, "unproved") {
			t.Errorf("%s: told %v", c.name, told)
		}
		into := filepath.Join(r.root, "into")
		if _, err := r.restore(made.Name, into); !errors.As(err, &f) {
			t.Errorf("%s: restored: %v", c.name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(r.root, "*into*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", c.name, left)
		}
	}
	if err := os.WriteFile(r.file(made.Name), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Verify(t.Context(), made.Name, nil); err != nil {
		t.Error(err)
	}
}

// A file of the same size that this installation has really made, under another name and forgotten by the book, is known by
// the list in it.
func TestAnExchangedBackup(t *testing.T) {
	r := newRig(t)
	a := r.create()
	r.clock = r.clock.Add(time.Hour)
	b := r.create()
	data, _ := os.ReadFile(r.file(a.Name))
	id, _, _, _ := readName(b.Name)
	name := fileName(id, int64(len(data)))
	_ = os.Remove(r.file(b.Name))
	if err := os.WriteFile(r.file(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	var f *Flaw
	if _, err := r.Verify(t.Context(), name, nil); !errors.As(err, &f) || f.Kind != Renamed {
		t.Errorf("%v", err)
	}
}

func TestTheNewestIsTooOld(t *testing.T) {
	r := newRig(t)
	r.create()
	r.clock = r.clock.Add(47 * time.Hour)
	if p, err := r.Verify(t.Context(), "", nil); err != nil || !p.OK {
		t.Errorf("%v", err)
	}
	r.clock = r.clock.Add(2 * time.Hour)
	var f *Flaw
	if p, err := r.Verify(t.Context(), "", nil); !errors.As(err, &f) || f.Kind != Older || p.OK {
		t.Errorf("%v", err)
	}
	if _, err := r.Verify(t.Context(), "gatehouse-none", nil); !errors.Is(err, ErrNoBackup) {
		t.Errorf("%v", err)
	}
}

// A check that fails makes the proof fail, and is named.
func TestAFailedCheck(t *testing.T) {
	r := newRig(t)
	r.tools.Checks = []Check{
		{"store", func(_ context.Context, o Opened) (string, error) {
			if !o.Has("store.db") || o.Manifest.Revision != 42 {
				return "", errors.New("no store")
			}
			_, err := os.Stat(o.Path("store.db"))
			return "integrity, 42", err
		}},
		{"secret", func(context.Context, Opened) (string, error) { return "", errors.New("does not decrypt") }},
		{"never", func(context.Context, Opened) (string, error) { t.Error("asked"); return "", nil }},
	}
	r.reopen()
	made, err := r.Create(t.Context(), nil)
	var f *Flaw
	if !errors.As(err, &f) || f.Kind != Unsound || f.Part != "secret" || made.Name == "" || made.Proof.OK {
		t.Errorf("%v, %+v", err, made)
	}
	if p := made.Proof; len(p.Checks) != 3 || !p.Checks[1].OK || p.Checks[1].Said != "integrity, 42" || p.Checks[2].OK {
		t.Errorf("%+v", p.Checks)
	}
}

func TestRestoreWrongUses(t *testing.T) {
	r := newRig(t)
	made := r.create()
	full := filepath.Join(r.root, "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "store.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	another, _ := age.GenerateX25519Identity()
	strange, _ := PublicKeys(ring{"strange"})
	for _, c := range []struct {
		name, into, says string
		change           func(*RestoreOptions)
	}{
		{"over something", full, "store.db", nil},
		{"over a file", filepath.Join(full, "store.db"), "not a directory", nil},
		{"nowhere", filepath.Join(r.root, "no", "such"), "no such file", nil},
		{"nothing made void", "", "void", func(o *RestoreOptions) { o.After = nil }},
		{"no key", "", "private key", func(o *RestoreOptions) { o.Identities = nil }},
		{"whoever made it", "", "stranger", func(o *RestoreOptions) { o.Keys = nil }},
		{"another's key", "", "wrong_key", func(o *RestoreOptions) { o.Identities = []age.Identity{another} }},
		{"another installation", "", "foreign", func(o *RestoreOptions) { o.Keys = strange }},
		{"another installation, found later", "", "foreign", func(o *RestoreOptions) {
			o.Keys = nil
			o.KeysOf = func(context.Context, Opened) ([]ed25519.PublicKey, error) { return strange, nil }
		}},
		{"no root key", "", "no root key", func(o *RestoreOptions) {
			o.Keys = nil
			o.KeysOf = func(context.Context, Opened) ([]ed25519.PublicKey, error) { return nil, errors.New("no root key") }
		}},
		{"a check", "", "unsound", func(o *RestoreOptions) {
			o.Checks = []Check{{"x", func(context.Context, Opened) (string, error) { return "", errors.New("bad") }}}
		}},
		{"revoking fails", "", "disk full", func(o *RestoreOptions) {
			o.After = func(context.Context, Opened) ([]string, error) { return nil, errors.New("disk full") }
		}},
	} {
		into := c.into
		if into == "" {
			into = filepath.Join(r.root, "fresh")
		}
		change := c.change
		if change == nil {
			change = func(*RestoreOptions) {}
		}
		_, err := r.restore(made.Name, into, change)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(r.root, "*fresh*")); len(left) > 0 {
			t.Errorf("%s: left %v", c.name, left)
		}
	}
	empty := filepath.Join(r.root, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := r.restore(made.Name, empty, func(o *RestoreOptions) {
		keys := o.Keys
		o.Keys = nil
		o.KeysOf = func(_ context.Context, o Opened) ([]ed25519.PublicKey, error) {
			if !o.Has("keyring.json") {
				return nil, errors.New("no keyring")
			}
			return keys, nil
		}
	})
	if err != nil || r.holds(empty) != nil {
		t.Errorf("into an empty directory, keys from what is restored: %v, %v", err, r.holds(empty))
	}
}

// After the ring's key was rotated, older backups are still opened and believed.
func TestBackupsFromBeforeARotation(t *testing.T) {
	r := newRig(t)
	old := r.create()
	r.tools.Keys = ring{"one", "two"}
	r.reopen()
	r.clock = r.clock.Add(time.Hour)
	r.create()
	for _, name := range []string{old.Name, ""} {
		if p, err := r.Verify(t.Context(), name, nil); err != nil || !p.OK {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPostQuantumRecipients(t *testing.T) {
	offline, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.Recipients = []Recipient{recipientOf(t, offline.Recipient().String())} })
	made := r.create()
	if _, err := r.restore(made.Name, filepath.Join(r.root, "new"), func(o *RestoreOptions) { o.Identities = []age.Identity{offline} }); err != nil {
		t.Error(err)
	}
}

// An archive can be opened without this program, by the tools that its form names.
func TestAnArchiveOpensWithOrdinaryTools(t *testing.T) {
	r := newRig(t)
	made := r.create()
	file, err := os.Open(r.file(made.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := age.Decrypt(file, r.offline) // age -d
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Fatal("apt-get install zstd")
	}
	into := t.TempDir()
	command := exec.Command("sh", "-c", "zstd -dc | tar -x -C "+into+" && cat "+into+"/part/store.db/* > "+into+"/store.db")
	command.Stdin = packed
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want bytes.Buffer
	_ = r.parts[0].Write(t.Context(), &want)
	if got, err := os.ReadFile(filepath.Join(into, "store.db")); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestWhatABackupCannotHold(t *testing.T) {
	for name, part := range map[string]Part{
		"outside":    Bytes("../x", nil),
		"whole path": Bytes("/etc/passwd", nil),
		"no name":    Bytes("", nil),
		"hidden":     Bytes(".ssh", nil),
		"a newline":  Bytes("a\nb", nil),
		"twice":      Bytes("store.db", []byte("x")),
		"not there":  Files(map[string]string{"x": "/none/x"})[0],
	} {
		r := newRig(t)
		r.parts = append(r.parts, part)
		if made, err := r.Create(t.Context(), nil); err == nil {
			t.Errorf("%s: %+v", name, made)
		}
		if all, _ := r.List(t.Context()); len(all) > 0 {
			t.Errorf("%s: a backup that failed is listed: %v", name, all)
		}
		if left, _ := filepath.Glob(filepath.Join(r.cfg.Spool.Directory, partial+"*")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestOneBackupAtATime(t *testing.T) {
	r := newRig(t)
	other, err := New(r.cfg, r.tools)
	if err != nil {
		t.Fatal(err)
	}
	var inner, outer error
	r.parts = append(r.parts, Part{Name: "x", Write: func(ctx context.Context, _ io.Writer) error {
		_, inner = r.Create(ctx, nil)
		_, outer = other.Create(ctx, nil)
		return nil
	}})
	r.create()
	if !errors.Is(inner, ErrBusy) || !errors.Is(outer, ErrBusy) {
		t.Errorf("%v, %v", inner, outer)
	}
}

// What a crash has left of an earlier restore goes; what another process is restoring at this time stays.
func TestARestoreRemovesWhatACrashHasLeft(t *testing.T) {
	r := newRig(t)
	made := r.create()
	into := filepath.Join(r.root, "new")
	old := filepath.Join(r.root, ".new.restoring-1")
	if err := os.MkdirAll(filepath.Join(old, "document"), 0o700); err != nil {
		t.Fatal(err)
	}
	live, err := newScratch(filepath.Join(r.root, ".new.restoring-"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.remove()
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.restore(made.Name, into); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(r.root, ".new.restoring-*"))
	if !slices.Equal(left, []string{live.path}) {
		t.Errorf("%v", left)
	}
}
