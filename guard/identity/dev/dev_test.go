package dev

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func now() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "share", "gatehouse")
	first, err := Open(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, rand.Reader)
	if err != nil || idOf(t, first) != idOf(t, again) {
		t.Errorf("another key the second time: %v", err)
	}
	other, err := Open(t.TempDir(), rand.Reader)
	if err != nil || idOf(t, first) == idOf(t, other) {
		t.Errorf("two installations share a key: %v", err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

// idOf signs a token and gives the id of the key that the token names, which must be in the ring.
func idOf(t *testing.T, i *Issuer) string {
	t.Helper()
	token, err := i.Token("alice", nil, nil, now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	id := parsed.Signatures[0].Header.KeyID
	found, _, err := i.Ring().Find(context.Background(), now(), id, jose.ES256)
	if err != nil || len(found) != 1 {
		t.Fatalf("key %q: %v %v", id, found, err)
	}
	if _, err := parsed.Verify(found[0].Public); err != nil {
		t.Fatal(err)
	}
	return id
}

// Several commands that start at once share one key.
func TestConcurrentFirstUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var mu sync.Mutex
	var all sync.WaitGroup
	ids := map[string]bool{}
	for range 50 {
		all.Go(func() {
			i, err := Open(dir, rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			id := idOf(t, i)
			mu.Lock()
			ids[id] = true
			mu.Unlock()
		})
	}
	all.Wait()
	if len(ids) != 1 {
		t.Errorf("%d keys", len(ids))
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	write := func(content []byte, mode os.FileMode) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, fileName), mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	encode := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	big, _ := rsa.GenerateKey(rand.Reader, 2048)
	if _, err := Open(write(encode(p256), 0o600), rand.Reader); err != nil {
		t.Error(err)
	}
	for name, dir := range map[string]string{
		"readable by others": write(encode(p256), 0o644), "writable by the group": write(encode(p256), 0o620),
		"empty": write(nil, 0o600), "garbage": write([]byte("hello"), 0o600), "cut": write(encode(p256)[:100], 0o600),
		"another curve": write(encode(p384), 0o600), "another type": write(encode(big), 0o600),
		"two keys": write(append(encode(p256), encode(p256)...), 0o600), "no directory": "",
	} {
		if i, err := Open(dir, rand.Reader); err == nil || i != nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir(), nil); err == nil {
		t.Error("without randomness")
	}
}

type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestTokensThatAreNotMade(t *testing.T) {
	i, err := Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		subject string
		scope   string
		life    time.Duration
	}{
		"no subject": {"", "a", 0}, "life below zero": {"a", "a", -time.Second}, "a life of years": {"a", "a", 9999 * time.Hour},
		"empty scope": {"a", "", 0}, "two scopes in one": {"a", "b c", 0}, "scope with a line end": {"a", "b\n", 0}, "scope with a quote": {"a", `b"`, 0},
	} {
		if token, err := i.Token(c.subject, nil, []string{c.scope}, now(), c.life); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
	i.rand = noRandom{}
	if _, err := i.Token("alice", nil, nil, now(), 0); err == nil {
		t.Error("a token without a random id")
	}
}
