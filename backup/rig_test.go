package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// ring is Keys made of words; the last word is the newest key.
type ring []string

func (r ring) Derive(purpose, label string) ([]byte, error) {
	sum := sha256.Sum256([]byte(purpose + "\x00" + label + "\x00" + r[len(r)-1]))
	return sum[:], nil
}

func (r ring) DeriveAll(purpose, label string) (all [][]byte, err error) {
	for i := range slices.Backward(r) {
		seed, _ := r[:i+1].Derive(purpose, label)
		all = append(all, seed)
	}
	return all, nil
}

// memory is a Book.
type memory struct {
	mu      sync.Mutex
	entries map[string]Entry
}

func (m *memory) Save(_ context.Context, e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[e.Name] = e
	return nil
}

func (m *memory) All(context.Context) (all []Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		all = append(all, e)
	}
	return all, nil
}

func (m *memory) Forget(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, name)
	return nil
}

// rig is an installation that makes backups into a directory.
type rig struct {
	*Backups
	t       *testing.T
	root    string // everything lies below
	cfg     Config
	tools   Tools
	clock   time.Time
	parts   []Part
	offline *age.X25519Identity
	book    *memory

	mu      sync.Mutex
	notices []Notice
}

func recipientOf(t testing.TB, text string) Recipient {
	t.Helper()
	var r Recipient
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	offline, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, root: t.TempDir(), clock: noon, offline: offline, book: &memory{entries: map[string]Entry{}}}
	place := filepath.Join(r.root, "place")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	r.cfg = Config{To: Target{directory: place}, Recipients: []Recipient{recipientOf(t, offline.Recipient().String())}, MaxRate: unit.Size(1 << 40)}.Default(filepath.Join(r.root, "state"))
	for _, c := range change {
		c(&r.cfg)
	}
	store := make([]byte, 3<<20+17)
	_, _ = rand.Read(store)
	r.parts = []Part{Bytes("store.db", store), Bytes("keyring.json", []byte(`{"wrapped":"keys"}`)), Bytes("document/gatehouse.yaml", []byte("listen: {}\n")), Bytes("document/empty", nil)}
	r.tools = Tools{
		Collect: func(context.Context) (Content, error) {
			return Content{Maker: Maker{Installation: "inst", Node: "a", Version: "v1", Schema: 3}, Revision: 42, Parts: r.parts,
				Absent: []Absent{{Name: "history", Why: "PostgreSQL is backed up by its own tools"}}}, nil
		},
		Keys: ring{"one"}, Book: r.book, Now: func() time.Time { return r.clock }, Random: rand.Reader,
		Notify: func(n Notice) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notices = append(r.notices, n)
		},
	}
	r.reopen()
	return r
}

func (r *rig) reopen() {
	r.t.Helper()
	b, err := New(r.cfg, r.tools)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Backups = b
}

func (r *rig) create() Made {
	r.t.Helper()
	made, err := r.Create(r.t.Context(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

func (r *rig) file(name string) string { return filepath.Join(r.cfg.To.directory, name) }

func (r *rig) kinds() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		all = append(all, n.Kind)
	}
	r.notices = nil
	return all
}

func (r *rig) options() RestoreOptions {
	keys, _ := PublicKeys(r.tools.Keys)
	return RestoreOptions{
		Identities: []age.Identity{r.offline}, Keys: keys, Now: r.tools.Now,
		After: func(context.Context, Opened) ([]string, error) { return []string{"tokens from before 12:00"}, nil },
	}
}

// restore restores a file with the offline key.
func (r *rig) restore(name, into string, change ...func(*RestoreOptions)) (Restored, error) {
	r.t.Helper()
	file, err := os.Open(r.file(name))
	if err != nil {
		r.t.Fatal(err)
	}
	defer file.Close()
	o := r.options()
	o.Name = name
	for _, c := range change {
		c(&o)
	}
	return Restore(r.t.Context(), file, into, o)
}

// holds tells of every part that a directory does not hold as it was given.
func (r *rig) holds(directory string) error {
	var all error
	for _, p := range r.parts {
		var want bytes.Buffer
		_ = p.Write(r.t.Context(), &want)
		got, err := os.ReadFile(filepath.Join(directory, p.Name))
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			all = errors.Join(all, fmt.Errorf("%s: %d bytes, %d wanted, %w", p.Name, len(got), want.Len(), err))
		}
	}
	return all
}

// failing is a Destination that cannot be reached while it is down.
type failing struct {
	Destination
	down *bool
}

func (f failing) err() error {
	if *f.down {
		return errors.New("no route to host")
	}
	return nil
}

func (f failing) Put(ctx context.Context, name string, from io.ReadSeeker, size int64) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Destination.Put(ctx, name, from, size)
}

func (f failing) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Destination.Get(ctx, name)
}

func (f failing) List(ctx context.Context) ([]Object, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Destination.List(ctx)
}

var _ Signer = own{ed25519.PrivateKey{}}

// openHeld makes a file as a process does that is writing it.
func openHeld(name string) (*os.File, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return file, syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

func nowNever() time.Time { return noon }
