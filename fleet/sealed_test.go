package fleet

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/store"
)

// K9: after the key of what nodes share was rotated, tokens are still accepted once, and none twice. The moment since which
// everything is remembered has no end, so it lies there under a key that is destroyed; it begins anew.
func TestOnceAfterARotation(t *testing.T) {
	dir := t.TempDir()
	ring, _, err := key.Open(t.Context(), key.Config{}, key.Options{
		Place: key.File{Path: filepath.Join(dir, "keyring.json")}, Exists: func(context.Context) (bool, error) { return false, nil },
		Purposes: []string{"store"}, ConfigDir: filepath.Join(dir, "config"), Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	shared := newShelf(time.Now)
	node := func() *Once { return NewOnce(store.SealedRecords(shared, ring, "store"), time.Now) }
	o, until := node(), time.Now().Add(time.Hour)
	if first, err := o.First(t.Context(), "before", until); !first || err != nil {
		t.Fatal(first, err)
	}
	none := func(context.Context, key.Rotation) error { return nil }
	rotated := time.Now()
	if _, err := ring.Rotate(t.Context(), "store", none, func(context.Context, key.Rotation) (int64, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*Once{"the same process": o, "another": node()} {
		if first, err := o.First(t.Context(), "after "+name, until); !first || err != nil {
			t.Errorf("%s: nothing is accepted any more: %v %v", name, first, err)
		}
		if first, _ := o.First(t.Context(), "before", until); first {
			t.Errorf("%s: accepted twice", name)
		}
		if o.Since().Before(rotated) {
			t.Errorf("%s: remembers since %s, before the rotation at %s, which it can't know", name, o.Since(), rotated)
		}
	}
}
