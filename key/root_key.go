package key

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/words"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// kindKey is the envelope of every root whose 32 bytes are read from somewhere. Where they lie may change (a file becomes a
// systemd credential) without changing the keyring.
const kindKey = "key"

// keyRoot reads its key from the first of its sources that has the right one.
type keyRoot struct {
	description Description
	sources     []source
	random      io.Reader
}

// source is one place where a root key may lie. An error that is fs.ErrNotExist says that it does not.
type source struct {
	where string
	read  func() ([]byte, error)
}

// Describe says what it is.
func (k *keyRoot) Describe() Description { return k.description }

// Wrap encrypts by the key of the first source.
func (k *keyRoot) Wrap(_ context.Context, plain, aad []byte) (Envelope, error) {
	kek, err := k.sources[0].key()
	if err != nil {
		return Envelope{}, err
	}
	defer kek.wipe()
	return wrapWith(k.random, kek, Envelope{Kind: kindKey}, plain, aad)
}

// Unwrap looks through all sources.
func (k *keyRoot) Unwrap(_ context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindKey); err != nil {
		return nil, err
	}
	return search(k.sources, e, aad)
}

// search opens an envelope by the first source whose key it is.
func search(sources []source, e Envelope, aad []byte) ([]byte, error) {
	var looked []string
	kind := ErrLost
	for _, s := range sources {
		kek, err := s.key()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			looked = append(looked, s.where+" (is not there)")
			continue
		case err != nil:
			kind = ErrWrong
			looked = append(looked, fmt.Sprintf("%s (%v)", s.where, err))
			continue
		}
		defer kek.wipe()
		if bytes.Equal(kek.check(), e.Check) {
			return unwrapWith(kek, e, aad)
		}
		kind = ErrWrong
		looked = append(looked, s.where+" (is another key)")
	}
	return nil, fmt.Errorf("%w; looked for the root key in %s; put the right one back, or restore it from the recovery words with: gatehouse key recover", kind, strings.Join(looked, ", "))
}

func (s source) key() (material, error) {
	data, err := s.read()
	if err != nil {
		return material{}, err
	}
	defer clear(data)
	return readKey(data)
}

// readKey reads a root key as 32 random bytes, 64 hexadecimal digits, base64, or 24 words.
func readKey(data []byte) (material, error) {
	plain := make([]byte, 0, 2*size)
	defer func() { clear(plain[:cap(plain)]) }()
	text := bytes.TrimSpace(data)
	switch {
	case len(data) == size && !printable(data):
		plain = append(plain, data...)
	case len(text) == hex.EncodedLen(size):
		plain, _ = hex.AppendDecode(plain, text)
	case len(text) == base64.StdEncoding.EncodedLen(size):
		plain, _ = base64.StdEncoding.Strict().AppendDecode(plain, text)
	case bytes.Count(text, []byte(" "))+bytes.Count(text, []byte("\n")) >= words.Count-1:
		read, err := words.Parse(string(text))
		if err != nil {
			return material{}, err
		}
		plain = append(plain, read...)
		clear(read)
	}
	if len(plain) != size {
		return material{}, errors.New("it is no root key: 32 random bytes, 64 hexadecimal digits, base64 of 32 bytes, or 24 words; make one with: openssl rand -hex 32; for a passphrase name the root passphrase")
	}
	if distinct(plain) < 8 {
		return material{}, errors.New("it is no random key; make one with: openssl rand -hex 32")
	}
	return take(plain)
}

func printable(data []byte) bool {
	for _, c := range data {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// distinct counts different bytes; 32 random ones have fewer than 8 with a chance of 2^-100.
func distinct(data []byte) int {
	seen := map[byte]bool{}
	for _, c := range data {
		seen[c] = true
	}
	return len(seen)
}

// fileRoot reads the key by a reference to a file or a variable.
func fileRoot(ref secret.Ref, resolve func(secret.Ref) (secret.Value, error), random io.Reader) *keyRoot {
	read := func() ([]byte, error) {
		v, err := resolve(ref)
		if err != nil {
			return nil, err
		}
		return bytes.Clone(v.Reveal()), nil
	}
	return &keyRoot{Description{Kind: "file", Where: ref.String(), File: ref.Path()}, []source{{ref.String(), read}}, random}
}

// credentialRoot reads the key from a systemd credential, a file below $CREDENTIALS_DIRECTORY (systemd.exec(5)).
func credentialRoot(dir, name string, random io.Reader) *keyRoot {
	return &keyRoot{Description{Kind: "credential", Where: "the systemd credential " + name}, []source{credential(dir, name)}, random}
}

func credential(dir, name string) source {
	if dir == "" {
		return source{"the systemd credential " + name, func() ([]byte, error) {
			return nil, fmt.Errorf("$CREDENTIALS_DIRECTORY is not set; start by systemd with LoadCredentialEncrypted=%s: %w", name, fs.ErrNotExist)
		}}
	}
	path := filepath.Join(dir, name)
	return source{"the systemd credential " + path, func() ([]byte, error) { return readBounded(path, 4096) }}
}

func fileSource(path string) source {
	return source{path, func() ([]byte, error) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return nil, fmt.Errorf("others may read it (mode %04o): chmod 600 %s", mode, path)
		}
		return readBounded(path, 4096)
	}}
}
