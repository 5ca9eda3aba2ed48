package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store"
)

func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"", "a", "a/b", "/", "a//b", "a/", "ä", "a b", strings.Repeat("x", 513), "secret/shop/password"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := store.CheckKey(key)
		if err != nil {
			if !errors.Is(err, store.ErrInvalid) {
				t.Fatalf("%q: %v", key, err)
			}
			return
		}
		if len(key) == 0 || len(key) > store.MaxKey || store.CheckPrefix(key) != nil {
			t.Fatalf("%q was taken", key)
		}
		for _, part := range strings.Split(key, "/") {
			if part == "" {
				t.Fatalf("%q has an empty part", key)
			}
		}
		for _, c := range []byte(key) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q has byte %x", key, c)
			}
		}
	})
}
