package key_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/secret"
)

func value(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.New([]byte(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// files gives every file of a house with its content.
func (h *house) files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{h.dir, h.configDir} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") {
				data, _ := os.ReadFile(path)
				all[path] = string(data)
			}
			return nil
		})
	}
	return all
}

func rootKeys(t *testing.T, h *house) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(h.configDir, "*.root.key"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is lost or wrong is told with its place and its remedy, and nothing on the disk changes.
func TestLostAndWrongIsToldBeforeAnythingIsTouched(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var other string // a root key of another installation
	{
		h := newHouse(t)
		h.open(t, key.Config{})
		data, err := os.ReadFile(rootKeys(t, h)[0])
		must(err)
		other = string(data)
	}
	for name, c := range map[string]struct {
		do   func(h *house, rootKey string)
		want error
		says []string
	}{
		"root key lost":         {func(_ *house, k string) { must(os.Remove(k)) }, key.ErrLost, []string{".root.key", "is not there", "gatehouse key recover"}},
		"config directory lost": {func(h *house, _ string) { must(os.RemoveAll(h.configDir)) }, key.ErrLost, []string{".root.key", "recover"}},
		"another's root key":    {func(_ *house, k string) { must(os.WriteFile(k, []byte(other), 0o600)) }, key.ErrWrong, []string{"another key", "recover"}},
		"garbled root key":      {func(_ *house, k string) { must(os.WriteFile(k, []byte("x"), 0o600)) }, key.ErrWrong, []string{"no root key"}},
		"empty root key":        {func(_ *house, k string) { must(os.WriteFile(k, nil, 0o600)) }, key.ErrWrong, []string{"no root key"}},
		"root key for all":      {func(_ *house, k string) { must(os.Chmod(k, 0o644)) }, key.ErrWrong, []string{"chmod 600"}},
		"keyring lost":          {func(h *house, _ string) { must(os.Remove(h.place().Path)) }, key.ErrLost, []string{"keyring.json", "backup"}},
		"both lost":             {func(h *house, k string) { must(os.Remove(h.place().Path)); must(os.Remove(k)) }, key.ErrLost, []string{"keyring.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.open(t, key.Config{})
			h.exists = true // by now there is a store
			c.do(h, rootKeys(t, h)[0])
			before := h.files(t)
			r, first, err := key.Open(t.Context(), key.Config{}, h.options())
			if !errors.Is(err, c.want) || r != nil || first != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			after := h.files(t)
			if len(before) != len(after) {
				t.Errorf("files: %d before, %d after", len(before), len(after))
			}
			for path, data := range before {
				if after[path] != data {
					t.Errorf("%s was changed", path)
				}
			}
		})
	}
}

// The words open the keyring when the root key is lost, and the ring gets a root again; the old words then end.
func TestRecover(t *testing.T) {
	h := newHouse(t)
	r, first := h.open(t, key.Config{})
	h.exists = true
	sealed := seal(t, r, "store", "kept")
	if err := os.Remove(rootKeys(t, h)[0]); err != nil {
		t.Fatal(err)
	}
	root, err := key.FromWords(first.Words, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Root = root
	r, _, err = key.Open(t.Context(), key.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	opens(t, r, "store", "kept", sealed)
	if f := r.Findings(h.dir); len(f) != 1 || f[0].ID != "key.recovery" {
		t.Errorf("%+v", f)
	}
	next, err := key.NewRoot(key.Config{}, r.Status().Installation, h.options())
	if err != nil {
		t.Fatal(err)
	}
	var handed key.Handout
	if err := r.Rekey(t.Context(), next, func(out key.Handout) error { handed = out; return nil }); err != nil {
		t.Fatal(err)
	}
	r, _ = h.open(t, key.Config{})
	opens(t, r, "store", "kept", sealed)
	if _, _, err = key.Open(t.Context(), key.Config{}, o); !errors.Is(err, key.ErrWrong) {
		t.Errorf("the old words still open it: %v", err)
	}
	if o.Root, err = key.FromWords(handed.Words, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if r, _, err = key.Open(t.Context(), key.Config{}, o); err != nil {
		t.Fatal(err)
	}
	opens(t, r, "store", "kept", sealed)
	// words never make a keyring
	empty := newHouse(t).options()
	empty.Root = o.Root
	if _, _, err := key.Open(t.Context(), key.Config{}, empty); !errors.Is(err, key.ErrLost) {
		t.Error(err)
	}
}

// A change of the root key that breaks off leaves the old one, at every step.
func TestRekey(t *testing.T) {
	h := newHouse(t)
	r, _ := h.open(t, key.Config{})
	h.exists = true
	sealed := seal(t, r, "store", "kept")
	old := rootKeys(t, h)
	next := func() key.Root {
		root, err := key.NewRoot(key.Config{}, r.Status().Installation, h.options())
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	oldKey, _ := os.ReadFile(old[0])
	if err := r.Rekey(t.Context(), next(), func(key.Handout) error { return errors.New("no printer") }); err == nil || !strings.Contains(err.Error(), "was not changed") {
		t.Error(err)
	}
	if now := rootKeys(t, h); !slices.Equal(now, old) {
		t.Errorf("root keys: %v", now)
	}
	other, _ := h.open(t, key.Config{}) // another process, with the keyring open
	if err := r.Rekey(t.Context(), next(), func(key.Handout) error { return nil }); err != nil {
		t.Fatal(err)
	}
	now := rootKeys(t, h)
	if len(now) != 1 || now[0] == old[0] {
		t.Errorf("root keys: %v", now)
	}
	again, _ := h.open(t, key.Config{})
	opens(t, again, "store", "kept", sealed)
	opens(t, other, "store", "kept", sealed)
	if changed, err := other.Refresh(t.Context()); err != nil || !changed {
		t.Errorf("another process with the same root: %v %v", changed, err)
	}
	// the old key, put back, opens nothing
	if err := os.Remove(now[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old[0], oldKey, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := key.Open(t.Context(), key.Config{}, h.options()); !errors.Is(err, key.ErrWrong) {
		t.Errorf("the old root opens it: %v", err)
	}
}
