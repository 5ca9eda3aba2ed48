package key_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
	"github.com/gatehouse-sec/gatehouse/store"
)

var _ store.Sealer = (*key.Ring)(nil)

var purposes = []string{"audit", "file", "store"}

// house is one installation on a disk.
type house struct {
	dir, configDir string
	exists         bool
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	return &house{dir: filepath.Join(dir, "state"), configDir: filepath.Join(dir, "config")}
}

func (h *house) place() key.File { return key.File{Path: filepath.Join(h.dir, "keyring.json")} }

func (h *house) options() key.Options {
	return key.Options{
		Place:     h.place(),
		Exists:    func(context.Context) (bool, error) { return h.exists, nil },
		Purposes:  purposes,
		ConfigDir: h.configDir,
		Now:       time.Now,
		Rand:      rand.Reader,
	}
}

func (h *house) open(t *testing.T, cfg key.Config) (*key.Ring, *key.FirstStart) {
	t.Helper()
	r, first, err := key.Open(t.Context(), cfg, h.options())
	if err != nil {
		t.Fatal(err)
	}
	return r, first
}

func seal(t *testing.T, r *key.Ring, purpose, text string) []byte {
	t.Helper()
	out, err := r.Seal(purpose, []byte(text), []byte("aad of "+text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func opens(t *testing.T, r *key.Ring, purpose, text string, sealed []byte) {
	t.Helper()
	got, err := r.Open(purpose, sealed, []byte("aad of "+text))
	if err != nil || string(got) != text {
		t.Errorf("%q: %q %v", text, got, err)
	}
}

func TestFilePlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "keyring.json")
	keytest.Place(t, func() key.Place { return key.File{Path: path} })
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	left, _ := filepath.Glob(path + "*")
	if len(left) != 2 { // the keyring and its lock
		t.Errorf("left behind: %v", left)
	}
}

func TestSealAndOpen(t *testing.T) {
	h := newHouse(t)
	r, first := h.open(t, key.Config{})
	if first == nil || first.Words.IsZero() || len(strings.Fields(string(first.Words.Reveal()))) != 24 {
		t.Fatalf("%+v", first)
	}
	sealed := seal(t, r, "store", "a value")
	if len(sealed) != len("a value")+key.Overhead || bytes.Contains(sealed, []byte("value")) {
		t.Errorf("%q", sealed)
	}
	opens(t, r, "store", "a value", sealed)
	if !r.Current("store", sealed) || r.Current("file", nil) {
		t.Error("Current is not right")
	}
	again, first := h.open(t, key.Config{})
	if first != nil {
		t.Error("the second start is a first start")
	}
	opens(t, again, "store", "a value", sealed)
	if bytes.Equal(sealed, seal(t, r, "store", "a value")) {
		t.Error("sealed twice it is the same: the nonce repeats (K8)")
	}
	for name, f := range map[string]func() ([]byte, error){
		"other purpose":   func() ([]byte, error) { return r.Open("file", sealed, []byte("aad of a value")) },
		"other aad":       func() ([]byte, error) { return r.Open("store", sealed, []byte("aad of another")) },
		"no aad":          func() ([]byte, error) { return r.Open("store", sealed, nil) },
		"unknown purpose": func() ([]byte, error) { return r.Open("nothing", sealed, []byte("aad of a value")) },
		"empty":           func() ([]byte, error) { return r.Open("store", nil, nil) },
		"short":           func() ([]byte, error) { return r.Open("store", sealed[:key.Overhead-1], []byte("aad of a value")) },
	} {
		if got, err := f(); err == nil || got != nil {
			t.Errorf("%s opens (K8)", name)
		}
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 0x10
		if _, err := r.Open("store", flipped, []byte("aad of a value")); err == nil {
			t.Errorf("it opens with byte %d flipped", i)
		}
	}
	if _, err := r.Seal("nothing", nil, nil); !errors.Is(err, key.ErrUnknown) {
		t.Error(err)
	}
	if _, err := (&key.Ring{}).Derive("file", ""); err == nil {
		t.Error("an empty ring derives keys")
	}
}

func TestDerive(t *testing.T) {
	h := newHouse(t)
	r, _ := h.open(t, key.Config{})
	seen := map[string]bool{}
	for _, purpose := range purposes {
		for _, label := range []string{"", "a", "b"} {
			k, err := r.Derive(purpose, label)
			if err != nil || len(k) != 32 || seen[string(k)] {
				t.Errorf("%s/%s: %v", purpose, label, err)
			}
			seen[string(k)] = true
			again, _ := h.open(t, key.Config{})
			if k2, _ := again.Derive(purpose, label); !bytes.Equal(k, k2) {
				t.Error("it changes with a restart")
			}
		}
	}
	if k, err := r.Derive("nothing", ""); err == nil || k != nil {
		t.Error("an unknown purpose gives a key")
	}
}

// Nothing of a ring is printed, and its keyring holds no key.
func TestNothingPrints(t *testing.T) {
	h := newHouse(t)
	r, first := h.open(t, key.Config{})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, r); got != "key.Ring" {
			t.Errorf("%s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, *first); strings.Contains(got, strings.Fields(string(first.Words.Reveal()))[0]+" ") {
			t.Errorf("%s prints the words", verb)
		}
	}
}

// K9, and the mission's first rule of keys: flip any byte and the keyring is refused by name.
func TestEveryByteOfTheKeyringCounts(t *testing.T) {
	h := newHouse(t)
	h.open(t, key.Config{})
	path := h.place().Path
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, o := &shelf{version: 1}, h.options()
	o.Place = s
	for i := range good {
		for _, bit := range []byte{0x01, 0x20, 0x80} {
			s.data = bytes.Clone(good)
			s.data[i] ^= bit
			_, _, err := key.Open(t.Context(), key.Config{}, o)
			if !errors.Is(err, key.ErrDamaged) || !strings.Contains(err.Error(), "open the keyring the shelf") || s.saves != 0 {
				t.Fatalf("byte %d ^ %02x: %v", i, bit, err)
			}
		}
	}
	for name, bad := range map[string][]byte{"empty": {}, "half": good[:len(good)/2], "twice": append(bytes.Clone(good), good...), "long": bytes.Repeat([]byte(" "), 2<<20), "newer": []byte(`{"format": 9}`)} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := key.Open(t.Context(), key.Config{}, h.options()); !errors.Is(err, key.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, bad) {
			t.Errorf("%s: it was touched", name)
		}
	}
}

// Many processes start at once for the first time: one keyring, one root key, and everybody reads everybody's values.
func TestFirstStartsAtOnce(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	rings, firsts := make([]*key.Ring, 8), make([]*key.FirstStart, 8)
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], firsts[i], err = key.Open(t.Context(), key.Config{}, h.options()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	winners := 0
	for i := range rings {
		if firsts[i] != nil {
			winners++
		}
		opens(t, rings[(i+1)%8], "store", "x", seal(t, rings[i], "store", "x"))
	}
	keys, _ := filepath.Glob(filepath.Join(h.configDir, "*"))
	if winners != 1 || len(keys) != 1 {
		t.Errorf("%d were first, root keys: %v", winners, keys)
	}
}

// Whoever changes the keyring on purpose can make its checksum right, but does not have the ring key.
func TestAForgedKeyringIsRefused(t *testing.T) {
	h := newHouse(t)
	r, _ := h.open(t, key.Config{})
	for _, purpose := range []string{"store", "file"} { // two versions each
		if _, err := r.Begin(t.Context(), purpose); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(h.place().Path)
	if err != nil {
		t.Fatal(err)
	}
	s, o := &shelf{version: 1, data: key.Resum(good)}, h.options()
	o.Place = s
	if _, _, err := key.Open(t.Context(), key.Config{}, o); err != nil {
		t.Fatalf("the right one: %v", err)
	}
	forge := func(change func(m map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return key.Resum(data)
	}
	keys := func(m map[string]any, i int) []any { return m["purposes"].([]any)[i].(map[string]any)["keys"].([]any) }
	for name, data := range map[string][]byte{
		"older generation":  forge(func(m map[string]any) { m["generation"] = 1 }),
		"newer generation":  forge(func(m map[string]any) { m["generation"] = 100 }),
		"a version removed": forge(func(m map[string]any) { p := m["purposes"].([]any)[2].(map[string]any); p["keys"] = keys(m, 2)[:1] }),
		"a purpose removed": forge(func(m map[string]any) { m["purposes"] = m["purposes"].([]any)[:2] }),
		"keys exchanged": forge(func(m map[string]any) {
			a, b := keys(m, 1)[0].(map[string]any), keys(m, 2)[0].(map[string]any)
			a["key"], b["key"] = b["key"], a["key"]
		}),
		"versions exchanged": forge(func(m map[string]any) {
			a, b := keys(m, 2)[0].(map[string]any), keys(m, 2)[1].(map[string]any)
			a["key"], b["key"] = b["key"], a["key"]
		}),
		"a time": forge(func(m map[string]any) { keys(m, 0)[0].(map[string]any)["created"] = "2020-01-01T00:00:00Z" }),
		"no MAC": forge(func(m map[string]any) { m["mac"] = nil }),
	} {
		s.data = data
		if _, _, err := key.Open(t.Context(), key.Config{}, o); !errors.Is(err, key.ErrDamaged) || s.saves != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{ // the root cannot open what was bound to something else
		"another installation": forge(func(m map[string]any) { m["installation"] = "other" }),
		"root's parameters":    forge(func(m map[string]any) { m["root"].(map[string]any)["parameters"] = map[string]any{"a": "b"} }),
	} {
		s.data = data
		if _, _, err := key.Open(t.Context(), key.Config{}, o); !errors.Is(err, key.ErrLost) && !errors.Is(err, key.ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
