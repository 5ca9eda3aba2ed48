package kept_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/kept"
	"github.com/gatehouse-sec/gatehouse/secret/sourcetest"
)

const canary = "canary-c0ffee"

var (
	errNone     = errors.New("none")
	errConflict = errors.New("conflict")
	errDown     = errors.New("not available")
)

// records is a durable store in memory that can fail at its N-th operation.
type records struct {
	mu    sync.Mutex
	all   map[string]kept.Record
	down  bool
	calls int
	nth   int  // the operation that fails, 0 none
	after bool // it fails after it was done
	gets  map[string]int
	hook  func() // called once, after the next head was read
}

func newRecords() *records { return &records{all: map[string]kept.Record{}, gets: map[string]int{}} }

func (r *records) fails() (before, after bool) {
	r.calls++
	hit := r.down || r.nth > 0 && r.calls == r.nth
	return hit && !r.after, hit && r.after
}

func (r *records) Get(_ context.Context, key string) (kept.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gets[key]++
	if b, a := r.fails(); b || a {
		return kept.Record{}, errDown
	}
	rec, ok := r.all[key]
	if hook := r.hook; hook != nil && strings.HasSuffix(key, "/head") {
		r.hook = nil
		r.mu.Unlock()
		hook()
		r.mu.Lock()
	}
	if !ok {
		return kept.Record{}, fmt.Errorf("get: %w", errNone)
	}
	rec.Value = slices.Clone(rec.Value)
	return rec, nil
}

func (r *records) WriteAll(_ context.Context, all ...kept.Write) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, after := r.fails()
	if before {
		return errDown
	}
	seen := map[string]bool{}
	for _, w := range all {
		if seen[w.Key] || len(w.Key) > 512 || len(w.Value) > 1<<20 {
			panic("a key twice, or too long: " + w.Key)
		}
		seen[w.Key] = true
		if w.Version != kept.Any && w.Version != r.all[w.Key].Version {
			return fmt.Errorf("write: %w", errConflict)
		}
	}
	for _, w := range all {
		if w.Value == nil {
			delete(r.all, w.Key)
			continue
		}
		r.all[w.Key] = kept.Record{Key: w.Key, Value: slices.Clone(w.Value), Version: r.all[w.Key].Version + 1}
	}
	if after {
		return errDown
	}
	return nil
}

func (r *records) List(_ context.Context, prefix, after string, limit int) ([]kept.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, a := r.fails(); b || a {
		return nil, errDown
	}
	var list []kept.Record
	for key, rec := range r.all {
		if strings.HasPrefix(key, prefix) && key > after {
			list = append(list, rec)
		}
	}
	slices.SortFunc(list, func(a, b kept.Record) int { return strings.Compare(a.Key, b.Key) })
	return list[:min(len(list), limit)], nil
}

func open(keep int) (*kept.Store, *records) {
	r := newRecords()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return kept.New(r, kept.Errors{None: errNone, Conflict: errConflict}, kept.Options{Now: func() time.Time { return at }, Rand: rand.Reader, Keep: keep}), r
}

func TestIsASource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		s, r := open(0)
		return sourcetest.World{Source: s.Source(), Place: "shop/db", Missing: "shop/none",
			Set: func(v string) {
				if _, err := s.Set(t.Context(), "shop/db", []byte(v), kept.Any, "ann"); err != nil {
					t.Fatal(err)
				}
			},
			Remove: func() {
				if err := s.Remove(t.Context(), "shop/db", 0, kept.Any, "ann"); err != nil {
					t.Fatal(err)
				}
			},
			Break: func(down bool) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.down = down
			}}
	})
}

func TestVersions(t *testing.T) {
	s, r := open(3)
	ctx := t.Context()
	set := func(value string, expected, want int64) {
		t.Helper()
		v, err := s.Set(ctx, "a/b", []byte(value), expected, "ann")
		if want == 0 && !errors.Is(err, kept.ErrConflict) || want != 0 && (err != nil || v != want) {
			t.Errorf("set %s over %d: %d, %v; want %d", value, expected, v, err, want)
		}
	}
	get := func(version int64, want string) {
		t.Helper()
		v, _, err := s.Get(ctx, "a/b", version)
		if want == "" && !errors.Is(err, secret.ErrGone) || want != "" && (err != nil || string(v.Reveal()) != want) {
			t.Errorf("version %d: %v, want %q", version, err, want)
		}
	}
	set("x", 1, 0)
	set("v1", 0, 1)
	set("x", 0, 0)
	set("v2", 1, 2)
	set("x", 1, 0)
	set("v3", kept.Any, 3)
	set("v4", 3, 4)
	get(0, "v4")
	get(4, "v4")
	get(2, "v2")
	get(1, "") // three are kept
	get(9, "")
	if err := s.Remove(ctx, "a/b", 4, 3, "bob"); !errors.Is(err, kept.ErrConflict) {
		t.Error(err)
	}
	if err := s.Remove(ctx, "a/b", 4, 4, "bob"); err != nil {
		t.Error(err)
	}
	get(0, "v3") // the one before is the current one again
	get(4, "")
	set("v5", 3, 5)
	if err := s.Remove(ctx, "a/b", 0, kept.Any, "bob"); err != nil {
		t.Error(err)
	}
	get(0, "")
	if err := s.Remove(ctx, "a/b", 0, kept.Any, "bob"); !errors.Is(err, secret.ErrGone) {
		t.Error(err)
	}
	for key := range r.all {
		if !strings.HasSuffix(key, "/head") {
			t.Errorf("%s is still there", key)
		}
	}
	set("v6", 0, 6) // numbers are never used again
	get(0, "v6")
	list, err := s.List(ctx)
	if err != nil || len(list) != 1 || list[0].Current != 6 || list[0].Latest != 6 || len(list[0].Versions) != 3 || list[0].Versions[0].Removed == nil || list[0].Versions[0].Remover != "bob" || list[0].Versions[2].By != "ann" {
		t.Errorf("%+v, %v", list, err)
	}
	if text, _ := json.Marshal(list); strings.Contains(string(text), "v6") {
		t.Errorf("a list tells values: %s", text)
	}
}

// Of many who name the same version, one wins; of many who say Any, all do.
func TestCompareAndSet(t *testing.T) {
	s, _ := open(100)
	var under sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 20 {
		under.Go(func() {
			_, err := s.Set(t.Context(), "a", []byte(fmt.Sprint("v", i)), 0, "ann")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, kept.ErrConflict):
				t.Error(err)
			}
		})
	}
	under.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
	for range 5 {
		under.Go(func() {
			if _, err := s.Set(t.Context(), "a", []byte("w"), kept.Any, "ann"); err != nil {
				t.Error(err)
			}
		})
	}
	under.Wait()
	if _, v, err := s.Get(t.Context(), "a", 0); err != nil || v != 6 {
		t.Errorf("version %d, %v", v, err)
	}
}

// Somebody is faster between reading and writing: nothing of theirs is lost.
func TestSomebodyIsFaster(t *testing.T) {
	s, r := open(0)
	ctx := t.Context()
	_, _ = s.Set(ctx, "a", []byte("v1"), 0, "ann")
	allow := func() { _ = s.MayRead(ctx, "a", []string{"listen"}) }
	r.hook = allow
	if _, err := s.Set(ctx, "a", []byte("v2"), 1, "bob"); !errors.Is(err, kept.ErrConflict) {
		t.Errorf("set: %v", err)
	}
	r.hook = func() { _, _ = s.Set(ctx, "a", []byte("v2"), 1, "bob") }
	if err := s.MayRead(ctx, "a", []string{"apis.shop"}); err != nil {
		t.Errorf("may read: %v", err) // it depends on no version, and is tried again
	}
	r.hook = allow
	if err := s.Remove(ctx, "a", 0, 2, "bob"); !errors.Is(err, kept.ErrConflict) {
		t.Errorf("remove: %v", err)
	}
	list, _ := s.List(ctx)
	if v, n, err := s.Get(ctx, "a", 0); err != nil || n != 2 || string(v.Reveal()) != "v2" || !slices.Equal(list[0].MayRead, []string{"listen"}) {
		t.Errorf("version %d, %v, %v", n, err, list)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "shop/db", "shop.eu/db-1_x", "0a", "a/b/c/d", strings.Repeat("a", 180)} {
		if err := kept.CheckName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, r := open(0)
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "A", "a b", "..", "a/../b", ".a", "a.", "-a", "a/1", "1", "a/000000001", "1/a", "a@1", "a\n", "ü", strings.Repeat("a", 181), canary + " " + canary} {
		_, err := s.Set(t.Context(), name, []byte("x"), kept.Any, "ann")
		if !errors.Is(err, kept.ErrName) || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", name, err)
		}
		if _, _, err := s.Get(t.Context(), name, 0); err == nil {
			t.Errorf("%q was read", name)
		}
	}
	if len(r.all) != 0 {
		t.Error("something was written")
	}
	for _, c := range []struct{ value, who string }{{"", "ann"}, {strings.Repeat("a", kept.MaxValue+1), "ann"}, {"x", ""}, {"x", "a\nb"}, {"x", strings.Repeat("a", 200)}} {
		if _, err := s.Set(t.Context(), "a", []byte(c.value), 0, c.who); err == nil {
			t.Errorf("%.20q by %.20q was written", c.value, c.who)
		}
	}
}

// Nobody may read a secret until somebody has allowed it; the refusal says how.
func TestReaders(t *testing.T) {
	s, _ := open(0)
	ctx := t.Context()
	_, _ = s.Set(ctx, "shop/db", []byte(canary), 0, "ann")
	source := s.Source()
	may := func(reader string, want bool) {
		t.Helper()
		err := source.MayRead(ctx, "shop/db@1", reader)
		if (err == nil) != want || err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %t", reader, err, want)
		}
	}
	may("apis.shop", false)
	may("", false)
	if err := source.MayRead(ctx, "shop/db", "apis.shop"); !strings.Contains(err.Error(), "gatehouse secret allow shop/db --reader ") {
		t.Error(err)
	}
	for _, wrong := range [][]string{{"a b"}, {""}, {"**"}, {"a\n"}, slices.Repeat([]string{"a"}, 65)} {
		if err := s.MayRead(ctx, "shop/db", wrong); err == nil {
			t.Errorf("%q is a reader", wrong)
		}
	}
	if err := s.MayRead(ctx, "none", nil); !errors.Is(err, secret.ErrGone) {
		t.Error(err)
	}
	if err := s.MayRead(ctx, "shop/db", []string{"apis.shop", "listen", "listen"}); err != nil {
		t.Error(err)
	}
	may("apis.shop", true)
	may("listen", true)
	may("apis.shop2", false)
	may("apis", false)
	may("", false)
	_ = s.MayRead(ctx, "shop/db", []string{"*"})
	may("anything", true)
	_ = s.MayRead(ctx, "shop/db", nil)
	may("listen", false)

	k := secret.NewKeeper(map[string]secret.Source{secret.Kept: source}, secret.Options{})
	var ref secret.Ref
	_ = ref.UnmarshalText([]byte("store:shop/db"))
	if _, err := k.Live(ctx, ref, "listen"); err == nil || strings.Contains(err.Error(), canary) {
		t.Error("a keeper gives what its reader may not read")
	}
	_ = s.MayRead(ctx, "shop/db", []string{"listen"})
	if l, err := k.Live(ctx, ref, "listen"); err != nil {
		t.Error(err)
	} else if v, err := l.Value(); err != nil || string(v.Reveal()) != canary {
		t.Error(err)
	}
}

func TestLastUse(t *testing.T) {
	s, _ := open(0)
	_, _ = s.Set(t.Context(), "a", []byte("x"), 0, "ann")
	_, _ = s.Set(t.Context(), "b", []byte("x"), 0, "ann")
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	if err := s.Source().RecordUse(t.Context(), map[string]time.Time{"a": at, "a@1": at.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(t.Context(), "a", []byte("y"), 1, "ann"); err != nil {
		t.Errorf("a use stands in the way of a change: %v", err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].LastUse == nil || !list[0].LastUse.Equal(at.Add(time.Minute)) || list[1].LastUse != nil {
		t.Errorf("%+v %v", list, err)
	}
}

// Looking at a secret that has not changed reads its small head only.
func TestAnUnchangedValueIsNotRead(t *testing.T) {
	s, r := open(0)
	_, _ = s.Set(t.Context(), "a", []byte("x"), 0, "ann")
	var a secret.Answer
	for range 11 {
		var err error
		if a, err = s.Source().Fetch(t.Context(), "a", a.Version); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.gets["secret/a/000000001"]; n != 1 {
		t.Errorf("read %d times", n)
	}
	// A pinned version is not moved by a newer one.
	_, _ = s.Set(t.Context(), "a", []byte("y"), 1, "ann")
	if a, err := s.Source().Fetch(t.Context(), "a@1", ""); err != nil || string(a.Fields[""].Reveal()) != "x" || a.Version != "1" {
		t.Error(err)
	}
}

func TestRotate(t *testing.T) {
	s, _ := open(0)
	ctx := t.Context()
	seen := map[string]bool{}
	for i, c := range []struct {
		spec    kept.Spec
		length  int
		letters string
	}{
		{kept.Spec{}, 32, ""}, {kept.Spec{Length: 64, Alphabet: "hex"}, 64, "0123456789abcdef"}, {kept.Spec{Length: 40, Alphabet: "base64url"}, 40, ""},
		{kept.Spec{Length: 200, Alphabet: "0123456789"}, 200, "0123456789"}, {kept.Spec{Alphabet: "symbols"}, 32, ""},
	} {
		v, err := s.Rotate(ctx, "a", c.spec, int64(i), "ann")
		if err != nil || v != int64(i+1) {
			t.Fatalf("%+v: %d, %v", c.spec, v, err)
		}
		value, _, _ := s.Get(ctx, "a", 0)
		text := string(value.Reveal())
		if len(text) != c.length || c.letters != "" && strings.Trim(text, c.letters) != "" || seen[text] {
			t.Errorf("%+v made %d characters", c.spec, len(text))
		}
		seen[text] = true
	}
	for _, spec := range []kept.Spec{{Length: 8}, {Length: 31, Alphabet: "hex"}, {Length: -1}, {Length: 5000}, {Alphabet: "aa"}, {Alphabet: "a"}, {Alphabet: "ab cd"}, {Alphabet: "aü"}, {Alphabet: "0123456789"}} {
		if _, err := s.Rotate(ctx, "a", spec, kept.Any, "ann"); err == nil {
			t.Errorf("%+v was taken", spec)
		}
	}
	if _, err := s.Rotate(ctx, "a", kept.Spec{}, 1, "ann"); !errors.Is(err, kept.ErrConflict) {
		t.Error(err)
	}
	// Every letter comes about as often as every other.
	count := map[byte]int{}
	for range 300 {
		v, _ := s.Rotate(ctx, "b", kept.Spec{Length: 400}, kept.Any, "ann")
		value, _, _ := s.Get(ctx, "b", v)
		for _, c := range value.Reveal() {
			count[c]++
		}
	}
	for c, n := range count {
		if want := 300 * 400 / 62; n < want*85/100 || n > want*115/100 {
			t.Errorf("%c came %d times, want about %d", c, n, want)
		}
	}
	if len(count) != 62 {
		t.Errorf("%d letters", len(count))
	}
}

// The N-th operation fails, before or after it was done, for each N: what was acknowledged is there, and the versions that
// are listed can be read (I14).
func TestTheNthOperationFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; n <= 14; n++ {
			s, r := open(2)
			r.nth, r.after = n, after
			var acknowledged int64
			for i := range 6 {
				if v, err := s.Set(t.Context(), "a", []byte(fmt.Sprint("v", i)), kept.Any, "ann"); err == nil {
					acknowledged = v
				} else if strings.Contains(err.Error(), fmt.Sprint("v", i)) {
					t.Error(err)
				}
			}
			list, err := s.List(t.Context())
			if err != nil {
				list, err = s.List(t.Context())
			}
			if err != nil || len(list) != 1 || list[0].Current < acknowledged {
				t.Fatalf("operation %d: %+v, %v; %d was acknowledged", n, list, err, acknowledged)
			}
			for _, v := range list[0].Versions {
				if _, _, err := s.Get(t.Context(), "a", v.Version); err != nil && !errors.Is(err, errDown) {
					t.Errorf("operation %d: version %d: %v", n, v.Version, err)
				}
			}
			values := 0
			for key := range r.all {
				if !strings.HasSuffix(key, "head") {
					values++
				}
			}
			if values > 2 {
				t.Errorf("operation %d: %d values are kept", n, values)
			}
		}
	}
}

func TestADamagedHead(t *testing.T) {
	s, r := open(0)
	r.all["secret/a/head"] = kept.Record{Key: "secret/a/head", Value: []byte("{" + canary), Version: 1}
	if _, err := s.Set(t.Context(), "a", []byte("x"), kept.Any, "ann"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	if _, err := s.List(t.Context()); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

func TestManySecretsAreListed(t *testing.T) {
	s, _ := open(3)
	for i := range 150 {
		for range 3 {
			if _, err := s.Set(t.Context(), fmt.Sprintf("shop/s%03d", i), []byte("x"), kept.Any, "ann"); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 150 || list[0].Name != "shop/s000" || list[149].Name != "shop/s149" || list[77].Current != 3 {
		t.Errorf("%d, %v", len(list), err)
	}
}
