package key_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
)

// shelf is a Place in memory that several rings share and that can fail: before or after it has saved, at the n-th Save.
type shelf struct {
	mu      sync.Mutex
	data    []byte
	version int64
	saves   int
	failAt  int  // 0: never
	after   bool // fails, but has saved
	dead    bool // every operation fails
	loads   int
}

var errShelf = errors.New("the shelf is broken")

func (s *shelf) Where() string { return "the shelf" }

func (s *shelf) Load(context.Context) ([]byte, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.dead {
		return nil, 0, errShelf
	}
	return bytes.Clone(s.data), s.version, nil
}

func (s *shelf) Save(_ context.Context, data []byte, version int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	fails := s.dead || s.saves == s.failAt
	if fails && !s.after {
		return 0, errShelf
	}
	if version != s.version {
		return 0, key.ErrConflict
	}
	s.data, s.version = bytes.Clone(data), s.version+1
	if fails {
		return 0, errShelf
	}
	return s.version, nil
}

func TestShelf(t *testing.T) {
	s := &shelf{}
	keytest.Place(t, func() key.Place { return s })
}

// node is one process that shares a shelf.
func (h *house) node(t *testing.T, s *shelf, now func() time.Time) *key.Ring {
	t.Helper()
	o := h.options()
	o.Place = s
	if now != nil {
		o.Now = now
	}
	r, _, err := key.Open(t.Context(), key.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// table is what a store holds: sealed values.
type table map[string][]byte

func (tb table) reseal(r *key.Ring) key.Reseal {
	return func(ctx context.Context, rotation key.Rotation) error {
		for text, sealed := range tb {
			if r.Current(rotation.Purpose, sealed) {
				continue
			}
			plain, err := r.Open(rotation.Purpose, sealed, []byte("aad of "+text))
			if err != nil {
				return err
			}
			if tb[text], err = r.Seal(rotation.Purpose, plain, []byte("aad of "+text)); err != nil {
				return err
			}
		}
		return nil
	}
}

func (tb table) left(r *key.Ring) key.Left {
	return func(_ context.Context, rotation key.Rotation) (n int64, _ error) {
		for _, sealed := range tb {
			if !r.Current(rotation.Purpose, sealed) {
				n++
			}
		}
		return n, nil
	}
}

func TestRotate(t *testing.T) {
	h, s := newHouse(t), &shelf{}
	r := h.node(t, s, nil)
	tb := table{}
	for i := range 10 {
		tb[fmt.Sprint("record ", i)] = seal(t, r, "store", fmt.Sprint("record ", i))
	}
	old := bytes.Clone(tb["record 3"])
	oldSeed, _ := r.Derive("store", "seed")
	copyOfRing := bytes.Clone(s.data)
	rotation, err := r.Rotate(t.Context(), "store", tb.reseal(r), tb.left(r))
	if err != nil || !rotation.Done || rotation.To != 2 || len(rotation.From) != 1 || rotation.Resumed {
		t.Fatalf("%+v %v", rotation, err)
	}
	for text, sealed := range tb {
		opens(t, r, "store", text, sealed)
	}
	if _, err := r.Open("store", old, []byte("aad of record 3")); !errors.Is(err, key.ErrRetired) {
		t.Errorf("the old key still opens (K9): %v", err)
	}
	if _, err := h.node(t, s, nil).Open("store", old, []byte("aad of record 3")); !errors.Is(err, key.ErrRetired) {
		t.Errorf("the old key still opens after a restart (K9): %v", err)
	}
	if seed, _ := r.Derive("store", "seed"); bytes.Equal(seed, oldSeed) {
		t.Error("derived keys stay the same")
	}
	if all, _ := r.DeriveAll("store", "seed"); len(all) != 1 {
		t.Errorf("%d keys are alive", len(all))
	}
	if r.Status().Generation != 3 {
		t.Errorf("%+v", r.Status())
	}
	// an old keyring put over the new one is noticed while running
	s.data, s.version = copyOfRing, 99
	if _, err := r.Refresh(t.Context()); !errors.Is(err, key.ErrDamaged) || !strings.Contains(err.Error(), "older") {
		t.Error(err)
	}
	opens(t, r, "store", "record 3", tb["record 3"])
	if _, err := r.Rotate(t.Context(), "nothing", tb.reseal(r), tb.left(r)); err == nil {
		t.Error("a purpose that is not there was rotated")
	}
	data, err := json.Marshal(r.Status())
	if err != nil || !strings.Contains(string(data), `"purpose":"store","versions":[{"version":2`) {
		t.Errorf("%s %v", data, err)
	}
}

// Old versions stay as long as anything needs them.
func TestAnOldKeyIsKeptWhileNeeded(t *testing.T) {
	h, s := newHouse(t), &shelf{}
	r := h.node(t, s, nil)
	tb := table{"a": seal(t, r, "store", "a")}
	nothing := func(context.Context, key.Rotation) error { return nil }
	if _, err := r.Rotate(t.Context(), "store", nothing, tb.left(r)); err == nil || !strings.Contains(err.Error(), "1 still need") {
		t.Fatal(err)
	}
	opens(t, r, "store", "a", tb["a"])
	if keys, _ := r.DeriveAll("store", "x"); len(keys) != 2 {
		t.Fatal("the old key is gone")
	}
	failing := errors.New("disk full")
	if _, err := r.Rotate(t.Context(), "store", func(context.Context, key.Rotation) error { return failing }, tb.left(r)); !errors.Is(err, failing) {
		t.Fatal(err)
	}
	if _, err := r.Rotate(t.Context(), "store", nothing, func(context.Context, key.Rotation) (int64, error) { return 0, failing }); !errors.Is(err, failing) {
		t.Fatal(err)
	}
	rotation, err := r.Rotate(t.Context(), "store", tb.reseal(r), tb.left(r))
	if err != nil || !rotation.Resumed || rotation.To != 2 {
		t.Fatalf("%+v %v: a rotation that had not ended is not gone on with", rotation, err)
	}
}

// The n-th Save fails, before or after it has saved, for each n, until all passes: every record can be read at every moment,
// by this process and by one that starts now, and a rotation called again ends (K9).
func TestRotationOverAFailingPlace(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			h, s := newHouse(t), &shelf{}
			r := h.node(t, s, nil)
			tb := table{"a": seal(t, r, "store", "a"), "b": seal(t, r, "store", "b")}
			s.failAt, s.after = s.saves+n, after
			_, failed := r.Rotate(t.Context(), "store", tb.reseal(r), tb.left(r))
			for text, sealed := range tb {
				opens(t, r, "store", text, sealed)
				opens(t, h.node(t, s, nil), "store", text, sealed)
			}
			if failed == nil {
				if n < 3 {
					t.Fatalf("only %d saves", n-1)
				}
				break
			}
			r = h.node(t, s, nil)
			if rotation, err := r.Rotate(t.Context(), "store", tb.reseal(r), tb.left(r)); err != nil || !rotation.Done {
				t.Fatalf("save %d, after %v: %v", n, after, err)
			}
			if keys, _ := r.DeriveAll("store", "x"); len(keys) != 1 {
				t.Errorf("save %d, after %v: %d versions are left", n, after, len(keys))
			}
			for text, sealed := range tb {
				opens(t, r, "store", text, sealed)
			}
		}
	}
}

// The same for a change of the root.
func TestRekeyOverAFailingPlace(t *testing.T) {
	for _, after := range []bool{false, true} {
		h, s := newHouse(t), &shelf{}
		r := h.node(t, s, nil)
		sealed := seal(t, r, "store", "a")
		next, err := key.NewRoot(key.Config{}, r.Status().Installation, h.options())
		if err != nil {
			t.Fatal(err)
		}
		s.failAt, s.after = s.saves+1, after
		err = r.Rekey(t.Context(), next, func(key.Handout) error { return nil })
		if (err == nil) != after {
			t.Errorf("after %v: %v", after, err)
		}
		if keys := rootKeys(t, h); len(keys) != 1 {
			t.Errorf("after %v: %v", after, keys)
		}
		opens(t, r, "store", "a", sealed)
		opens(t, h.node(t, s, nil), "store", "a", sealed)
		if _, err := r.Begin(t.Context(), "store"); err != nil {
			t.Errorf("after %v: %v", after, err)
		}
	}
	// saved, and then nothing can be asked: both keys are kept, and whichever is needed is there
	h, s := newHouse(t), &shelf{}
	r := h.node(t, s, nil)
	sealed := seal(t, r, "store", "a")
	next, _ := key.NewRoot(key.Config{}, r.Status().Installation, h.options())
	err := r.Rekey(t.Context(), next, func(key.Handout) error { s.mu.Lock(); s.dead, s.after = true, true; s.mu.Unlock(); return nil })
	if err == nil || len(rootKeys(t, h)) != 2 {
		t.Errorf("%v %v", err, rootKeys(t, h))
	}
	s.dead = false
	opens(t, h.node(t, s, nil), "store", "a", sealed)
}

// Two nodes share a keyring: what one seals with a new key the other opens, by one look in the place.
func TestAnotherNodeRotates(t *testing.T) {
	h, s := newHouse(t), &shelf{}
	c := &clock{now: time.Now()}
	a, b := h.node(t, s, c.Now), h.node(t, s, c.Now)
	old := seal(t, b, "store", "old")
	if _, err := a.Begin(t.Context(), "store"); err != nil {
		t.Fatal(err)
	}
	opens(t, b, "store", "new", seal(t, a, "store", "new"))
	opens(t, a, "store", "old", old)
	if !b.Current("store", seal(t, a, "store", "x")) {
		t.Error("b has not learned")
	}
	// both begin at once: it is one rotation
	c.add(time.Minute)
	ra, err1 := a.Begin(t.Context(), "audit")
	rb, err2 := b.Begin(t.Context(), "audit")
	if err1 != nil || err2 != nil || ra.To != 2 || rb.To != 2 || !rb.Resumed {
		t.Errorf("%+v %v, %+v %v", ra, err1, rb, err2)
	}
	// forged versions make nobody look again and again
	forged := bytes.Clone(old)
	forged[4] = 200
	before := s.loads
	for range 1000 {
		if _, err := b.Open("store", forged, []byte("aad of old")); !errors.Is(err, key.ErrSealed) {
			t.Fatal(err)
		}
	}
	if s.loads-before > 1 {
		t.Errorf("%d loads for 1000 forged values", s.loads-before)
	}
	// the place is away: what is known goes on
	s.dead = true
	opens(t, b, "store", "old", old)
	if _, err := b.Refresh(t.Context()); !errors.Is(err, errShelf) {
		t.Error(err)
	}
	seal(t, b, "store", "still")
}

// Many seal, open and rotate at once; run with -race.
func TestAtOnce(t *testing.T) {
	h, s := newHouse(t), &shelf{}
	rings := []*key.Ring{h.node(t, s, nil), h.node(t, s, nil)}
	var wg sync.WaitGroup
	for i := range 4 {
		r := rings[i%2]
		wg.Go(func() {
			for range 50 {
				sealed := seal(t, r, "store", "x")
				opens(t, r, "store", "x", sealed)
				_ = r.Status()
			}
		})
	}
	for i := range 2 {
		wg.Go(func() {
			for range 5 {
				if _, err := rings[i].Begin(t.Context(), "store"); err != nil {
					t.Error(err)
				}
				if _, err := rings[i].Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
