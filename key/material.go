package key

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"golang.org/x/crypto/chacha20poly1305"
)

// size is the length in bytes of every key here.
const size = 32

// material is a key in memory. As with secret.Value its bytes lie behind a function, so that no way of printing shows them;
// unlike one it is ours alone and is wiped, as well as a garbage collected language can: at once where its use is over in
// sight, else when nothing refers to it any more.
type material struct{ bytes func() []byte }

// take moves key into material: the caller's bytes are cleared, and the material's when nothing uses it any more.
func take(key []byte) (material, error) {
	if len(key) != size {
		return material{}, fmt.Errorf("a key has %d bytes, not %d", size, len(key))
	}
	kept := (*[size]byte)(bytes.Clone(key))
	clear(key)
	runtime.SetFinalizer(kept, func(gone *[size]byte) { clear(gone[:]) })
	return material{bytes: func() []byte { return kept[:] }}, nil
}

// fresh makes a random key.
func fresh(random io.Reader) (material, error) {
	key := make([]byte, size)
	if _, err := io.ReadFull(random, key); err != nil {
		return material{}, fmt.Errorf("read randomness for a key: %w", err)
	}
	return take(key)
}

// wipe overwrites the key at once. Nobody else may be using it.
func (m material) wipe() {
	if m.bytes != nil {
		clear(m.bytes())
	}
}

// derive gives a key for one use, by HKDF with SHA-256. Different uses and labels give unrelated keys.
func (m material) derive(use, label string) []byte {
	out, err := hkdf.Key(sha256.New, m.bytes(), nil, fmt.Sprintf("gatehouse %s\x00%s", use, label), size)
	if err != nil {
		panic("key: " + err.Error()) // HKDF refuses only lengths that are not ours
	}
	return out
}

// check is what a keyring keeps to recognise a key by: 8 bytes that tell nothing else about it.
func (m material) check() []byte { return m.derive("check", "")[:8] }

// mac authenticates data.
func (m material) mac(data []byte) []byte {
	key := m.derive("keyring", "")
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// aead is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under a key derived for this use. Its nonces have 192 bits: drawn
// at random for 2^80 records, two are equal with a chance below 2^-32.
func (m material) aead(use string) (cipher.AEAD, error) {
	key := m.derive(use, "")
	defer clear(key)
	return chacha20poly1305.NewX(key)
}

// seal encrypts as nonce, ciphertext, tag.
func (m material) seal(random io.Reader, use string, prefix, plain, aad []byte) ([]byte, error) {
	c, err := m.aead(use)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(prefix)+chacha20poly1305.NonceSizeX, len(prefix)+chacha20poly1305.NonceSizeX+len(plain)+c.Overhead())
	copy(out, prefix)
	nonce := out[len(prefix):]
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("read randomness to encrypt: %w", err)
	}
	return c.Seal(out, nonce, plain, aad), nil
}

// open is the reverse of seal without its prefix.
func (m material) open(use string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, ErrSealed
	}
	c, err := m.aead(use)
	if err != nil {
		return nil, err
	}
	nonce, rest := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := c.Open(nil, nonce, rest, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// Nothing prints a key.
func (material) String() string             { return "[secret]" }
func (material) GoString() string           { return "[secret]" }
func (material) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }
func (material) LogValue() slog.Value       { return slog.StringValue("[secret]") }
