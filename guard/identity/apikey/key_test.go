package apikey_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

func fresh(t testing.TB) (id, key string) {
	t.Helper()
	id, key, err := apikey.Make(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id, key
}

// A key says what it is: to whoever scans for secrets, and to the reader, without a look-up.
func TestForm(t *testing.T) {
	for range 200 {
		id, key := fresh(t)
		if got, err := apikey.Parse(key); err != nil || got != id || len(key) != apikey.Length || !apikey.IsID(id) {
			t.Fatalf("%q: %q %v", key, got, err)
		}
		if found := leak.Find("x-api-key: "+key, true); len(found) != 1 || found[0].Kind != "gatehouse api key" || found[0].End-found[0].Begin != apikey.Length {
			t.Fatalf("kit/leak finds %v in %s", found, key)
		}
		if !leak.Credential(key) {
			t.Fatalf("kit/leak doesn't know %s", key)
		}
		if got, d, found := apikey.In("https://shop.example/?k=" + key + "&x=1"); !found || got != id || d != apikey.DigestOf(key) {
			t.Fatalf("%q %v", got, found)
		}
	}
}

// E25: nothing but the whole key to the letter is one. Each letter that differs is told by the checksum, before any look-up.
func TestNoOtherSpelling(t *testing.T) {
	_, key := fresh(t)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range key {
		if _, err := apikey.Parse(key[:i]); err == nil {
			t.Errorf("the first %d letters are taken", i)
		}
		if _, err := apikey.Parse(key[i+1:]); err == nil {
			t.Errorf("without the first %d letters it is taken", i+1)
		}
		for _, letter := range letters + " =+/\n\x00é" {
			other := key[:i] + string(letter) + key[i+1:]
			if other == key {
				continue
			}
			if _, err := apikey.Parse(other); err == nil {
				t.Errorf("letter %d as %q is taken", i, letter)
			} else if strings.Contains(err.Error(), key[20:30]) {
				t.Error("the key stands in the error")
			}
		}
	}
	for _, other := range []string{"", apikey.Prefix, key + "A", key + "\n", " " + key, key + key, strings.ToUpper(key), strings.ToLower(key) + "=", "Bearer " + key} {
		if _, err := apikey.Parse(other); err == nil {
			t.Errorf("%q is taken", other)
		}
	}
}

func TestNoRandomness(t *testing.T) {
	if _, key, err := apikey.Make(strings.NewReader("too short")); err == nil || key != "" {
		t.Errorf("%q %v", key, err)
	}
}

// FuzzParse: what is taken is one spelling of one key, and In finds just that.
func FuzzParse(f *testing.F) {
	_, key := fresh(f)
	for _, seed := range []string{"", key, key[:60], key + "A", "ghk_ghk_", strings.Repeat("ghk_", 20), "ghk_aaaaaaaa_" + strings.Repeat("A", 48)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := apikey.Parse(text)
		if err == nil && (len(text) != apikey.Length || !strings.HasPrefix(text, apikey.Prefix+id+"_")) {
			t.Errorf("%q is taken as %q", text, id)
		}
		if found, d, ok := apikey.In("x" + text + "y"); err == nil && (!ok || found != id || d != apikey.DigestOf(text)) {
			t.Errorf("%q is not found in a text", text)
		}
	})
}
