package backup

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
)

// Purpose is the key of the ring from which a gateway's own identity and signature come.
const Purpose = "backup"

// Keys gives keys that are derived from the ring; key.Ring is one.
type Keys interface {
	// Derive gives 32 bytes that depend on the newest key of the purpose and on the label.
	Derive(purpose, label string) ([]byte, error)
	// DeriveAll gives those of every key of the purpose that is still there.
	DeriveAll(purpose, label string) ([][]byte, error)
}

// own is what a gateway has of itself: it signs its backups, and opens them to prove them.
type own struct {
	ed25519.PrivateKey
}

// Public is the key by which others know the gateway's backups.
func (o own) Public() ed25519.PublicKey { return o.PrivateKey.Public().(ed25519.PublicKey) }

// Sign signs a manifest.
func (o own) Sign(message []byte) ([]byte, error) { return ed25519.Sign(o.PrivateKey, message), nil }

// signer gives the key that signs now.
func signer(keys Keys) (Signer, error) {
	seed, err := keys.Derive(Purpose, "sign")
	if err != nil {
		return nil, fmt.Errorf("key that signs backups: %w", err)
	}
	defer clear(seed)
	return ownKey(seed)
}

func ownKey(seed []byte) (own, error) {
	if len(seed) != ed25519.SeedSize {
		return own{}, errors.New("key that signs backups: a seed has 32 bytes")
	}
	return own{ed25519.NewKeyFromSeed(seed)}, nil
}

// PublicKeys are the keys that an installation has signed its backups with, as long as they are in its ring.
func PublicKeys(keys Keys) ([]ed25519.PublicKey, error) {
	seeds, err := keys.DeriveAll(Purpose, "sign")
	if err != nil {
		return nil, fmt.Errorf("keys that have signed backups: %w", err)
	}
	var all []ed25519.PublicKey
	for _, seed := range seeds {
		o, err := ownKey(seed)
		if err != nil {
			return nil, err
		}
		clear(seed)
		all = append(all, o.Public())
	}
	return all, nil
}

// identity is an age identity that knows its recipient.
type identity struct {
	age.Identity
	recipient age.Recipient
}

// identities gives the gateway's own identities, the newest first, of the kind that stands beside hybrid recipients or
// others.
func identities(keys Keys, hybrid bool) ([]identity, error) {
	newest, err := keys.Derive(Purpose, "age")
	if err != nil {
		return nil, fmt.Errorf("key that opens backups: %w", err)
	}
	seeds, err := keys.DeriveAll(Purpose, "age")
	if err != nil {
		return nil, fmt.Errorf("keys that open backups: %w", err)
	}
	var all []identity
	for _, seed := range append([][]byte{newest}, seeds...) {
		i, err := newIdentity(seed, hybrid)
		clear(seed)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

func newIdentity(seed []byte, hybrid bool) (identity, error) {
	if len(seed) != 32 {
		return identity{}, errors.New("key that opens backups: a seed has 32 bytes")
	}
	prefix := "AGE-SECRET-KEY-"
	if hybrid {
		prefix = "AGE-SECRET-KEY-PQ-"
	}
	raw, err := hkdf.Key(sha256.New, seed, nil, "gatehouse backup identity "+prefix, 32)
	if err != nil {
		return identity{}, err
	}
	text := bech32(prefix, raw)
	if hybrid {
		i, err := age.ParseHybridIdentity(text)
		if err != nil {
			return identity{}, errors.New("key that opens backups: the derived key is none")
		}
		return identity{i, i.Recipient()}, nil
	}
	i, err := age.ParseX25519Identity(text)
	if err != nil {
		return identity{}, errors.New("key that opens backups: the derived key is none")
	}
	return identity{i, i.Recipient()}, nil
}

// bech32 writes data in the upper-case form of BIP 173, which is how age writes its private keys; it has no other way to
// take one.
func bech32(prefix string, data []byte) string {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	var words []byte
	bits, held := 0, 0
	for _, b := range data {
		held, bits = held<<8|int(b), bits+8
		for ; bits >= 5; bits -= 5 {
			words = append(words, byte(held>>(bits-5)&31))
		}
		held &= 1<<bits - 1
	}
	if bits > 0 {
		words = append(words, byte(held<<(5-bits)&31))
	}
	low := strings.ToLower(prefix)
	var all []byte
	for i := range len(low) {
		all = append(all, low[i]>>5)
	}
	all = append(all, 0)
	for i := range len(low) {
		all = append(all, low[i]&31)
	}
	all = append(append(all, words...), 0, 0, 0, 0, 0, 0)
	sum := polymod(all) ^ 1
	out := low + "1"
	for _, w := range words {
		out += string(alphabet[w])
	}
	for i := range 6 {
		out += string(alphabet[sum>>(5*(5-i))&31])
	}
	return strings.ToUpper(out)
}

func polymod(values []byte) uint32 {
	sum := uint32(1)
	for _, v := range values {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	return sum
}
