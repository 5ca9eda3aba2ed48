package key

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// A keyring that was moved is used where it is now; a place that holds one already is not touched.
func TestMove(t *testing.T) {
	old, next := File{filepath.Join(t.TempDir(), "a.json")}, File{filepath.Join(t.TempDir(), "b.json")}
	o := Options{Place: old, Purposes: []string{"store"}, ConfigDir: t.TempDir(), Now: time.Now, Rand: rand.Reader,
		Exists: func(context.Context) (bool, error) { return false, nil }}
	ring, _, err := Open(t.Context(), Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ring.Seal("store", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Move(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Begin(t.Context(), "store"); err != nil {
		t.Fatal(err)
	}
	o.Place = next
	again, _, err := Open(t.Context(), Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("store", sealed, nil); err != nil || string(got) != "x" {
		t.Error(got, err)
	}
	if a, b := again.Status(), ring.Status(); a.Generation != b.Generation || a.Place != next.Path {
		t.Error(a, b)
	}
	if err := ring.Move(t.Context(), old); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if ring.Status().Place != next.Path {
		t.Error("it moved all the same")
	}
}
