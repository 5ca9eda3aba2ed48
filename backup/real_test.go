package backup_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// installation is a real store, a real keyring and a real event log in one state directory.
type installation struct {
	t       *testing.T
	state   string
	keys    string // where the root key lies
	ring    *key.Ring
	db      *sqlite.DB
	records store.Durable
	log     *audit.Log
	signed  *audit.Checkpointer
	newest  string
	offline *age.X25519Identity
}

// pen signs checkpoints as the program does.
type pen struct{ ed25519.PrivateKey }

func (p pen) Public() ed25519.PublicKey           { return p.PrivateKey.Public().(ed25519.PublicKey) }
func (p pen) Sign(message []byte) ([]byte, error) { return ed25519.Sign(p.PrivateKey, message), nil }

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func openRing(t *testing.T, state, keys string) *key.Ring {
	t.Helper()
	ring, _, err := key.Open(t.Context(), key.Config{}, key.Options{
		Place: key.File{Path: filepath.Join(state, "keyring.json")}, Purposes: []string{"store", "records", backup.Purpose, "audit"},
		Exists:    func(context.Context) (bool, error) { return false, nil },
		ConfigDir: keys, Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func fileKey(t *testing.T, ring *key.Ring) secret.Value {
	t.Helper()
	return must(secret.New(must(ring.Derive("store", "file"))(t), "ring"))(t)
}

func openStore(t *testing.T, path string, ring *key.Ring, share float64) *sqlite.DB {
	t.Helper()
	file := fileKey(t, ring)
	db := must(sqlite.Open(t.Context(), sqlite.Options{Path: path, Now: time.Now, Share: share, Key: func() (secret.Value, []secret.Value) { return file, nil }}))(t)
	return db
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, state: t.TempDir(), keys: t.TempDir(), offline: must(age.GenerateX25519Identity())(t)}
	i.ring = openRing(t, i.state, i.keys)
	i.db = openStore(t, filepath.Join(i.state, "store.db"), i.ring, 0)
	t.Cleanup(func() { _ = i.db.Close() })
	i.records = store.Sealed(i.db, i.ring, "records")
	cfg := audit.Config{}.Default(i.state)
	file, at, err := audit.OpenFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	i.log = audit.New(file, at, time.Now)
	t.Cleanup(func() { _ = i.log.Close() })
	i.signed = must(audit.NewCheckpointer(i.log, cfg, audit.Signing{
		Node: "a", Signer: i.pen(), Now: time.Now, Told: func(_ audit.Checkpoint, line []byte) { i.newest = string(line) },
	}))(t)
	return i
}

func (i *installation) pen() pen {
	return pen{ed25519.NewKeyFromSeed(must(i.ring.Derive("audit", "checkpoint"))(i.t))}
}

// collect is what the program hands to backups.
func (i *installation) collect(ctx context.Context) (backup.Content, error) {
	c := backup.Content{Maker: backup.Maker{Installation: "test", Node: "a", Version: "test"}, Absent: []backup.Absent{{Name: "root key", Why: "a backup never holds it"}}}
	var err error
	if c.Revision, err = backup.Mark(ctx, i.records); err != nil {
		return c, err
	}
	if c.Facts, err = backup.Sample(ctx, i.records, "secret/", "revocation/"); err != nil {
		return c, err
	}
	dir, err := os.MkdirTemp(i.state, "copy-")
	if err != nil {
		return c, err
	}
	copied := filepath.Join(dir, "store.db")
	file, err := secret.New(must(i.ring.Derive("store", "file"))(i.t), "ring")
	if err == nil {
		err = i.db.Snapshot(ctx, copied, file, nil)
	}
	c.End = func() { _ = os.RemoveAll(dir) }
	if err != nil {
		return c, err
	}
	if i.newest != "" {
		c.Checkpoints = []string{i.newest}
	}
	events, end, err := backup.Events(filepath.Join(i.state, "events"))
	if err != nil {
		return c, err
	}
	c.End = func() { end(); _ = os.RemoveAll(dir) }
	c.Parts = append(backup.Files(map[string]string{"store.db": copied, "keyring.json": filepath.Join(i.state, "keyring.json")}), events...)
	return c, nil
}

// checks are what the program has done to a restored copy: another ring from the copied keyring and the root key, another
// store from the copied file.
func (i *installation) checks() []backup.Check {
	return []backup.Check{{Name: "store", Run: func(ctx context.Context, o backup.Opened) (said string, err error) {
		ring := openRing(i.t, o.Directory, i.keys)
		db := openStore(i.t, o.Path("store.db"), ring, 1)
		defer func() { err = errors.Join(err, db.Close()) }()
		if err := db.Check(ctx); err != nil {
			return "", err
		}
		if i.records == store.Durable(i.db) {
			return backup.Compare(ctx, db, o.Manifest)
		}
		return backup.Compare(ctx, store.Sealed(db, ring, "records"), o.Manifest)
	}}}
}

func (i *installation) backups(place string, rate unit.Size) *backup.Backups {
	var to backup.Target
	var who backup.Recipient
	if err := errors.Join(to.UnmarshalText([]byte(place)), who.UnmarshalText([]byte(i.offline.Recipient().String()))); err != nil {
		i.t.Fatal(err)
	}
	return must(backup.New(backup.Config{To: to, Recipients: []backup.Recipient{who}, MaxRate: rate}.Default(i.state), backup.Tools{
		Collect: i.collect, Keys: i.ring, Book: backup.Records{Store: i.records}, Checks: i.checks(),
		EventKeys: func() []ed25519.PublicKey { return []ed25519.PublicKey{i.pen().Public()} },
		Now:       time.Now, Random: rand.Reader,
	}))(i.t)
}

func (i *installation) event() {
	i.t.Helper()
	written := i.log.Written()
	if err := i.log.Record(gate.Event{ID: "E", Kind: gate.KindSystem, Time: time.Now().UTC()}); err != nil {
		i.t.Fatal(err)
	}
	for i.log.Written() == written {
		time.Sleep(time.Millisecond)
	}
}

func (i *installation) put(key, value string) {
	i.t.Helper()
	if _, err := i.records.Write(i.t.Context(), store.Write{Key: key, Value: []byte(value), Version: store.Any}); err != nil {
		i.t.Fatal(err)
	}
}

// The drill: everything is lost but the backup, the offline key and the root key. What was revoked after the backup does not
// come back to life (K13).
func TestTheDrill(t *testing.T) {
	i := install(t)
	place := t.TempDir()
	i.put("secret/shop/password", "canary-hunter2")
	i.put("revocation/1", "before the backup")
	for range 20 {
		i.event()
	}
	if _, err := i.signed.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	b := i.backups(place, unit.Size(1<<40))
	made, err := b.Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range made.Proof.Checks {
		t.Logf("%s: %s", c.Name, c.Said)
	}
	if all, err := b.List(t.Context()); err != nil || len(all) != 1 || !all[0].Proof.OK {
		t.Errorf("%+v, %v", all, err)
	}
	i.put("revocation/2", "after the backup")

	id := filepath.Join(t.TempDir(), "offline.txt")
	if err := os.WriteFile(id, []byte("# offline\n"+i.offline.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := must(os.Open(filepath.Join(place, made.Name)))(t)
	defer file.Close()
	into := filepath.Join(t.TempDir(), "state")
	done, err := backup.Restore(t.Context(), file, into, backup.RestoreOptions{
		Name: made.Name, Identities: must(backup.ReadIdentities(id))(t), Now: time.Now, Checks: i.checks(),
		KeysOf: func(_ context.Context, o backup.Opened) ([]ed25519.PublicKey, error) {
			return backup.PublicKeys(openRing(t, o.Directory, i.keys))
		},
		After: func(ctx context.Context, o backup.Opened) ([]string, error) {
			ring := openRing(t, o.Directory, i.keys)
			db := openStore(t, o.Path("store.db"), ring, 0)
			defer db.Close()
			_, err := store.Sealed(db, ring, "records").Write(ctx, store.Write{Key: "revocation/before", Value: []byte(time.Now().UTC().Format(time.RFC3339)), Version: store.Any})
			return []string{"every token from before now"}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Void) != 1 || done.Parts < 4 {
		t.Errorf("%+v", done)
	}
	ring := openRing(t, into, i.keys)
	db := openStore(t, filepath.Join(into, "store.db"), ring, 0)
	defer db.Close()
	records := store.Sealed(db, ring, "records")
	if r, err := records.Get(t.Context(), "secret/shop/password"); err != nil || string(r.Value) != "canary-hunter2" {
		t.Errorf("%s, %v", r.Value, err)
	}
	if _, err := records.Get(t.Context(), "revocation/before"); err != nil {
		t.Error(err)
	}
	if r, err := audit.VerifyDirectory(t.Context(), filepath.Join(into, "events"), audit.Options{Keys: []ed25519.PublicKey{i.pen().Public()}, Node: "a"}); err != nil || !r.OK || r.Entries != 20 || !r.Anchored() {
		t.Errorf("%+v, %v", r, err)
	}
}

// Neither the root key nor anything that was sealed lies readable in a backup, not even for those who can open it; and
// nothing of it lies readable on the disk while it is proven.
func TestTheRootKeyIsInNoBackup(t *testing.T) {
	i := install(t)
	i.put("secret/shop/password", "canary-hunter2")
	i.event()
	b := i.backups(t.TempDir(), unit.Size(1<<40))
	roots, _ := filepath.Glob(filepath.Join(i.keys, "*.root.key"))
	if len(roots) != 1 {
		t.Fatalf("root keys: %v", roots)
	}
	root := bytes.TrimSpace(must(os.ReadFile(roots[0]))(t))
	into := filepath.Join(t.TempDir(), "state")
	made, err := b.Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Restore(t.Context(), made.Name, into, backup.RestoreOptions{Now: time.Now, After: func(context.Context, backup.Opened) ([]string, error) { return nil, nil }}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	_ = filepath.WalkDir(into, func(name string, d os.DirEntry, err error) error {
		data, _ := os.ReadFile(name)
		seen += len(data)
		for _, secret := range [][]byte{root, []byte("canary-hunter2")} {
			if len(secret) > 8 && bytes.Contains(data, secret) {
				t.Errorf("%s holds %d bytes of a secret", name, len(secret))
			}
		}
		return nil
	})
	if seen < 4096 {
		t.Errorf("only %d bytes were looked at", seen)
	}
}

// A copy without the end of the store's log is older than it says (K11).
func TestAStoreThatIsOlderThanItsBackup(t *testing.T) {
	i := install(t)
	place := t.TempDir()
	i.put("secret/a", "one")
	b := i.backups(place, unit.Size(1<<40))
	first, err := b.Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := backup.Manifest{Revision: first.Revision + 1}
	if _, err := backup.Compare(t.Context(), i.records, m); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("%v", err)
	}
	m.Revision = first.Revision
	m.Facts = must(backup.Sample(t.Context(), i.records, "secret/"))(t)
	if said, err := backup.Compare(t.Context(), i.records, m); err != nil || !strings.Contains(said, "1 of 1") {
		t.Errorf("%s, %v", said, err)
	}
	i.put("secret/a", "two")
	i.put("secret/b", "x")
	m.Facts["record secret/b"] = "1 " + strings.Repeat("0", 64)
	if _, err := backup.Compare(t.Context(), i.records, m); err == nil || !strings.Contains(err.Error(), "secret/b") {
		t.Errorf("%v", err)
	}
}

// One GiB is backed up and proven in under a minute; in the short form, 32 MiB.
func TestOneGiB(t *testing.T) {
	size := 32 << 20
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		size = 1 << 30
	}
	i := install(t)
	i.event()
	if _, err := i.signed.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	const record = 64 << 10
	random := mathrand.NewChaCha8([32]byte{1})
	for n := 0; n < size/record; n += 16 {
		var all []store.Write
		for k := range 16 {
			value := make([]byte, record)
			_, _ = random.Read(value)
			all = append(all, store.Write{Key: fmt.Sprintf("secret/%08d", n+k), Value: value})
		}
		if err := i.db.WriteAll(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
	}
	// What was written is no sealed value; the samples are taken of the file itself.
	i.records = i.db
	b := i.backups(t.TempDir(), 0)
	before, began := usage(), time.Now()
	phase := ""
	made, err := b.Create(t.Context(), func(done, _ int64, what string) {
		if what != phase {
			t.Logf("%s: %s begins at %d", time.Since(began).Round(time.Millisecond), what, done)
			phase = what
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	took, cpu := time.Since(began), usage()-before
	t.Logf("%d MiB backed up in %s, of which proving %s; %s of processor, %.0f %% of one", size>>20, took.Round(time.Millisecond), made.Proof.Took.Round(time.Millisecond), cpu.Round(time.Millisecond), 100*cpu.Seconds()/took.Seconds())
	if limit := time.Duration(float64(time.Minute) * max(0.3, float64(size)/(1<<30))); took > limit {
		t.Errorf("%d MiB took %s", size>>20, took)
	}
}

func usage() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
