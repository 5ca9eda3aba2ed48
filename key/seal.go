package key

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A sealed value is: 1 byte format (1), 4 bytes version of the purpose's key, 24 bytes nonce, ciphertext, 16 bytes tag.
const (
	sealedFormat = 1
	sealedHead   = 5
)

// Overhead is how many bytes longer a sealed value is.
const Overhead = sealedHead + 24 + 16

// How often an unknown version makes the ring look for a newer keyring, and how long that may take.
const (
	askAgain = time.Second
	askTime  = 2 * time.Second
)

// Seal encrypts plain with the newest key of the purpose. The value opens only with the same purpose and aad.
func (r *Ring) Seal(purpose string, plain, aad []byte) ([]byte, error) {
	keys, err := r.living(purpose)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint32([]byte{sealedFormat}, keys[0].version)
	return keys[0].key.seal(r.random, "seal", head, plain, sealAAD(purpose, head, aad))
}

// Open decrypts what Seal made. ErrSealed: it was changed, or sealed for another purpose or aad; ErrRetired: its key was
// destroyed. A version that is not known yet makes the ring look once a second whether another node has rotated.
func (r *Ring) Open(purpose string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != sealedFormat {
		return nil, ErrSealed
	}
	head, version := sealed[:sealedHead], binary.BigEndian.Uint32(sealed[1:sealedHead])
	l, err := r.version(purpose, version)
	if errors.Is(err, errNewer) && r.lookForNewer() {
		l, err = r.version(purpose, version)
	}
	if err != nil {
		return nil, err
	}
	return l.key.open("seal", sealed[sealedHead:], sealAAD(purpose, head, aad))
}

// Current tells that sealed carries the version of the purpose's newest key.
func (r *Ring) Current(purpose string, sealed []byte) bool {
	keys, err := r.living(purpose)
	return err == nil && len(sealed) >= Overhead && sealed[0] == sealedFormat &&
		binary.BigEndian.Uint32(sealed[1:sealedHead]) == keys[0].version
}

// Derive gives 32 bytes from the newest key of the purpose, the same for the same label: a key for a file cipher, a seed to
// sign with. The caller clears them after use.
func (r *Ring) Derive(purpose, label string) ([]byte, error) {
	keys, err := r.living(purpose)
	if err != nil {
		return nil, err
	}
	return keys[0].key.derive("derive", label), nil
}

// DeriveAll gives what Derive gives, from all living keys of the purpose, newest first.
func (r *Ring) DeriveAll(purpose, label string) ([][]byte, error) {
	keys, err := r.living(purpose)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, len(keys))
	for i, l := range keys {
		all[i] = l.key.derive("derive", label)
	}
	return all, nil
}

// errNewer: the version is above all that are known here.
var errNewer = errors.New("its key is not known here")

// living gives the keys of a purpose, at least one, newest first.
func (r *Ring) living(purpose string) ([]living, error) {
	if s := r.state.Load(); s != nil && len(s.keys[purpose]) > 0 {
		return s.keys[purpose], nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknown, purpose)
}

func (r *Ring) version(purpose string, version uint32) (living, error) {
	keys, err := r.living(purpose)
	if err != nil {
		return living{}, err
	}
	for _, l := range keys {
		if l.version == version {
			return l, nil
		}
	}
	if version > keys[0].version {
		return living{}, fmt.Errorf("%w: version %d of the key for %q: %w", ErrSealed, version, purpose, errNewer)
	}
	return living{}, fmt.Errorf("%w: version %d of the key for %q", ErrRetired, version, purpose)
}

// lookForNewer refreshes at most once in askAgain, so that forged versions cost nobody anything.
func (r *Ring) lookForNewer() bool {
	r.change.Lock()
	defer r.change.Unlock()
	now := r.now()
	if wait := now.Sub(r.asked); wait >= 0 && wait < askAgain {
		return true // somebody has just looked: what was found is known by now
	}
	r.asked = now
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	_, err := r.refresh(ctx)
	return err == nil
}

// sealAAD binds a value to format, version and purpose beside what the caller binds.
func sealAAD(purpose string, head, aad []byte) []byte {
	out := make([]byte, 0, len(head)+1+len(purpose)+len(aad))
	out = append(out, head...)
	out = append(out, byte(len(purpose))) // names have at most 64 bytes
	out = append(out, purpose...)
	return append(out, aad...)
}
