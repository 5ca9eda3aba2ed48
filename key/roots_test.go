package key_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
	"github.com/gatehouse-sec/gatehouse/kit/words"
	"github.com/gatehouse-sec/gatehouse/secret"
)

func choice(t *testing.T, text string) key.Config {
	t.Helper()
	var c key.Choice
	if err := c.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return key.Config{Root: c}
}

func ref(t *testing.T, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func newRoot(t *testing.T, cfg key.Config, o key.Options) func() key.Root {
	t.Helper()
	o.Rand = rand.Reader
	return func() key.Root {
		root, err := key.NewRoot(cfg, "testhouse", o)
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func random(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 32)
	_, _ = rand.Read(data)
	return data
}

func TestFileRoot(t *testing.T) {
	data := random(t)
	phrase, _ := words.Of(data)
	forms := map[string][]byte{
		"hex": []byte(hex.EncodeToString(data)), "large hex with a line end": []byte(strings.ToUpper(hex.EncodeToString(data)) + "\n"),
		"base64": []byte(base64.StdEncoding.EncodeToString(data) + "\n"), "words": []byte(phrase), "lines of words": []byte(strings.ReplaceAll(phrase, " ", "\n")), "raw": data,
	}
	other := newRoot(t, choice(t, "file:"+write(t, []byte(hex.EncodeToString(random(t))))), key.Options{})
	var e key.Envelope
	for name, form := range forms {
		if name == "raw" && (data[31] == '\n' || data[31] == '\r') {
			continue // a line end at the end of a file is not part of a secret
		}
		open := newRoot(t, choice(t, "file:"+write(t, form)), key.Options{})
		keytest.Root(t, open, other)
		if e.Kind == "" {
			e, _ = open().Wrap(t.Context(), make([]byte, 32), nil)
		} else if _, err := open().Unwrap(t.Context(), e, nil); err != nil {
			t.Errorf("%s is another key than the same in another form: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing": " \n", "a password": "correct horse battery staple", "32 letters": strings.Repeat("correct horse ba", 2), "zeros": strings.Repeat("00", 32),
		"raw zeros": strings.Repeat("\x00", 32), "short": "abcd", "long": strings.Repeat("ab", 33), "31 bytes": strings.Repeat("\xab\x01", 16)[1:], "base64 of 31 bytes": base64.StdEncoding.EncodeToString(data[1:]),
		"24 words that are none": strings.Repeat("zoo ", 24), "hex with a slip": "g" + hex.EncodeToString(data)[1:],
	} {
		open := newRoot(t, choice(t, "file:"+write(t, []byte(bad))), key.Options{})
		if _, err := open().Wrap(t.Context(), make([]byte, 32), nil); err == nil {
			t.Errorf("%s was taken for a root key", name)
		} else if strings.Contains(err.Error(), strings.TrimSpace(bad)) && strings.TrimSpace(bad) != "" {
			t.Errorf("%s: the error repeats it: %v", name, err)
		}
	}
	gone := newRoot(t, choice(t, "file:/nowhere/key"), key.Options{})
	if _, err := gone().Unwrap(t.Context(), e, nil); !errors.Is(err, key.ErrLost) || !strings.Contains(err.Error(), "/nowhere/key") {
		t.Error(err)
	}
	t.Setenv("GATEHOUSE_TEST_ROOT", hex.EncodeToString(data))
	if _, err := newRoot(t, choice(t, "env:GATEHOUSE_TEST_ROOT"), key.Options{})().Unwrap(t.Context(), e, nil); err != nil {
		t.Error(err)
	}
}

func TestCredentialRoot(t *testing.T) {
	dir, otherDir := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, otherDir} {
		if err := os.WriteFile(filepath.Join(d, key.DefaultCredential), random(t), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	keytest.Root(t, newRoot(t, choice(t, "credential"), key.Options{Credentials: dir}), newRoot(t, choice(t, "credential"), key.Options{Credentials: otherDir}))
	keytest.Root(t, newRoot(t, choice(t, "credential"), key.Options{Credentials: dir}), newRoot(t, choice(t, "credential:other"), key.Options{Credentials: otherDir}))
	if _, err := newRoot(t, choice(t, "credential"), key.Options{})().Wrap(t.Context(), make([]byte, 32), nil); err == nil || !strings.Contains(err.Error(), "LoadCredentialEncrypted") {
		t.Error(err)
	}
	// with no configuration a credential is taken where there is one, and no key is made
	h := newHouse(t)
	o := h.options()
	o.Credentials = dir
	r, first, err := key.Open(t.Context(), key.Config{}, o)
	if err != nil || first == nil || !first.Words.IsZero() || len(rootKeys(t, h)) != 0 {
		t.Fatalf("%v %+v", err, first)
	}
	if d := r.Status().Root; d.Kind != "credential" {
		t.Errorf("%+v", d)
	}
	if _, _, err := key.Open(t.Context(), key.Config{}, h.options()); !errors.Is(err, key.ErrLost) {
		t.Errorf("without the credential: %v", err)
	}
}

func TestOwnRoot(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(t, key.Config{}, key.Options{ConfigDir: dir})
	keytest.Root(t, root, newRoot(t, key.Config{}, key.Options{ConfigDir: t.TempDir()}))
	info, err := os.Stat(filepath.Join(dir, "testhouse.root.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(err)
	}
	if _, err := key.NewRoot(key.Config{}, "a", key.Options{}); err == nil || !strings.Contains(err.Error(), "XDG_CONFIG_HOME") {
		t.Error(err)
	}
}

func TestPassphraseRoot(t *testing.T) {
	cheap := func(phrase string) key.Config {
		cfg := choice(t, "passphrase:file:"+write(t, []byte(phrase+"\n")))
		cfg.Root.Passphrase.Memory, cfg.Root.Passphrase.Time = 19<<20, 1
		return cfg
	}
	right := newRoot(t, cheap("a long enough phrase"), key.Options{})
	keytest.Root(t, right, newRoot(t, cheap("another long phrase"), key.Options{}))
	e, err := right().Wrap(t.Context(), make([]byte, 32), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Parameters["kdf"] != "argon2id" || len(e.Parameters["salt"]) != 32 || e.Parameters["memory_kib"] != "19456" {
		t.Errorf("%v", e.Parameters)
	}
	// what it costs stands in the keyring; what a forged one asks for is bounded
	for name, change := range map[string][2]string{
		"all memory": {"memory_kib", "4294967295"}, "no memory": {"memory_kib", "1"}, "forever": {"time", "100000"}, "no passes": {"time", "0"}, "no salt": {"salt", ""},
		"another function": {"kdf", "md5"}, "threads": {"threads", "255"}, "weaker": {"time", "2"}, "other salt": {"salt", strings.Repeat("00", 16)},
	} {
		forged := e
		forged.Parameters = map[string]string{}
		for k, v := range e.Parameters {
			forged.Parameters[k] = v
		}
		forged.Parameters[change[0]] = change[1]
		if _, err := right().Unwrap(t.Context(), forged, nil); err == nil {
			t.Errorf("%s opens", name)
		}
	}
	if _, err := newRoot(t, cheap("too short"), key.Options{})().Wrap(t.Context(), make([]byte, 32), nil); err == nil || strings.Contains(err.Error(), "too short") {
		t.Errorf("a passphrase of 9 characters: %v", err)
	}
	h := newHouse(t)
	if _, first := h.open(t, cheap("a long enough phrase")); !first.Words.IsZero() {
		t.Error("a passphrase has words")
	}
	if _, _, err := key.Open(t.Context(), cheap("not this phrase!"), h.options()); !errors.Is(err, key.ErrWrong) || !strings.Contains(err.Error(), "another passphrase") {
		t.Error(err)
	}
	if _, _, err := key.Open(t.Context(), key.Config{}, h.options()); !errors.Is(err, key.ErrWrong) || !strings.Contains(err.Error(), "rekey") {
		t.Errorf("no section key any more: %v", err)
	}
	gone := cheap("a long enough phrase")
	gone.Root.Passphrase.From = ref(t, "file:/nowhere/phrase")
	if _, _, err := key.Open(t.Context(), gone, h.options()); !errors.Is(err, key.ErrLost) || !strings.Contains(err.Error(), "/nowhere/phrase") {
		t.Error(err)
	}
}

func TestWordsRoot(t *testing.T) {
	of := func() func() key.Root {
		text, _ := words.Of(random(t))
		return func() key.Root {
			root, err := key.FromWords(value(t, text), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return root
		}
	}
	root := of()
	plain := bytes.Repeat([]byte{1}, 32)
	e, err := root().Wrap(context.Background(), plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := root().Unwrap(t.Context(), e, nil); err != nil || !bytes.Equal(got, plain) {
		t.Error(err)
	}
	if _, err := of()().Unwrap(t.Context(), e, nil); !errors.Is(err, key.ErrWrong) {
		t.Error(err)
	}
	if _, err := key.FromWords(secret.Value{}, rand.Reader); err == nil {
		t.Error("no words are words")
	}
}
