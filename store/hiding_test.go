package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// A hidden record is there for nobody, in lists of any length, and nobody can make it.
func TestHiding(t *testing.T) {
	raw, err := secret.New(make([]byte, 32), "test")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "s", "store.db"), Now: time.Now, Key: func() (secret.Value, []secret.Value) { return raw, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range 9 {
		if _, err := d.Write(t.Context(), store.Write{Key: fmt.Sprintf("k/%d", i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	for hidden := range 9 {
		key := fmt.Sprintf("k/%d", hidden)
		h := store.Hiding(d, key)
		for limit := 1; limit <= 10; limit++ {
			n, after := 0, ""
			for {
				list, err := h.List(t.Context(), "k/", after, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					if r.Key == key {
						t.Fatal("listed")
					}
				}
				n += len(list)
				if len(list) < limit {
					break
				}
				after = list[len(list)-1].Key
			}
			if n != 8 {
				t.Errorf("%s hidden, %d at a time: %d listed", key, limit, n)
			}
		}
		changed, _, err := h.Since(t.Context(), "k/", "")
		if err != nil || len(changed) != 8 {
			t.Error(len(changed), err)
		}
		if _, err := h.Get(t.Context(), key); !errors.Is(err, store.ErrNone) {
			t.Error(err)
		}
		if _, err := h.Write(t.Context(), store.Write{Key: key, Value: []byte("w"), Version: store.Any}); err == nil {
			t.Error("written")
		}
		if err := h.WriteAll(t.Context(), store.Write{Key: "k/x", Value: []byte("w")}, store.Write{Key: key, Version: store.Any}); err == nil {
			t.Error("removed")
		}
	}
}
