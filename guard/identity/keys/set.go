// Package keys holds the public keys with which issuers sign, and fetches them. It promises that a token is only ever
// verified with a key that the configured issuer published for signing, and only with an algorithm that fits this key: the
// header of a token chooses neither (adversary rows E1, E2, E5, E6). An empty, unreadable or unusable key set is never a
// set (E3): whoever asks for keys then gets ErrUnavailable, and the door stays shut.
package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// maxSet is the largest key set that is read, in bytes.
const maxSet = 256 << 10

// maxSame is how many keys may share one id. RFC 7517 section 4.5 permits sharing between key types only.
const maxSame = 4

// Key is one public key that may verify signatures.
type Key = jws.Key

// Set is an issuer's keys: never empty, never changed.
type Set struct {
	keys   []Key
	digest [sha256.Size]byte
}

// Parse reads a JWK Set (RFC 7517 section 5). Keys that can't or mustn't verify a signature are left out: symmetric and
// private keys, keys for encryption, unknown types, RSA below 2048 or above 8192 bits. A set in which nothing remains is an
// error that says why each key was left out.
func Parse(data []byte) (*Set, error) {
	if len(data) > maxSet {
		return nil, fmt.Errorf("key set is larger than %d KiB", maxSet>>10)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("key set is not UTF-8")
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("key set is not a JSON object with keys: %w", err)
	}
	set := &Set{digest: sha256.Sum256(data)}
	var left []error
	for i, raw := range document.Keys {
		key, err := jws.ParseKey(raw)
		if err != nil {
			left = append(left, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		set.keys = append(set.keys, key)
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("key set has no key that can verify a signature: %w", errors.Join(append(left, fmt.Errorf("%d keys in all", len(document.Keys)))...))
	}
	return set, nil
}

// Find gives the keys with exactly this id that fit the algorithm; kid has no other meaning, it is no path and no pattern.
// Without an id, a key is found only when the set has a single one for the algorithm.
func (s *Set) Find(id string, algorithm jose.SignatureAlgorithm) []Key {
	var found []Key
	for _, k := range s.keys {
		if (id == "" || k.ID == id) && slices.Contains(k.Algorithms, algorithm) && len(found) < maxSame {
			found = append(found, k)
		}
	}
	if id == "" && len(found) != 1 {
		return nil
	}
	return found
}

// Has tells that some key has this id, whatever it fits.
func (s *Set) Has(id string) bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return id != "" && k.ID == id })
}

// Len is the number of usable keys, at least 1.
func (s *Set) Len() int { return len(s.keys) }
