// Package keys holds the public keys with which issuers sign, and fetches them. It promises that a token is only ever
// verified with a key that the configured issuer published for signing, and only with an algorithm that fits this key: the
// header of a token chooses neither (adversary rows E1, E2, E5, E6). An empty, unreadable or unusable key set is never a
// set (E3): whoever asks for keys then gets ErrUnavailable, and the door stays shut.
package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Bounds of an RSA modulus in bits. Smaller keys can be factored; larger ones make every forged token expensive to refuse.
const (
	minRSA = 2048
	maxRSA = 8192
)

// maxSet is the largest key set that is read, in bytes.
const maxSet = 256 << 10

// maxSame is how many keys may share one id. RFC 7517 section 4.5 permits sharing between key types only.
const maxSame = 4

// Key is one public key that may verify signatures.
type Key struct {
	ID         string                    // kid, "" when the issuer gives none
	Public     any                       // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Algorithms []jose.SignatureAlgorithm // those that fit the key; never a symmetric one
}

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
		key, err := parseKey(raw)
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

// parseKey reads one JWK and decides what it may verify.
func parseKey(raw []byte) (Key, error) {
	var marks struct {
		Type       string          `json:"kty"`
		Use        string          `json:"use"`
		Operations []string        `json:"key_ops"`
		Symmetric  json.RawMessage `json:"k"`
		Private    json.RawMessage `json:"d"`
	}
	if err := json.Unmarshal(raw, &marks); err != nil {
		return Key{}, err
	}
	switch {
	case marks.Symmetric != nil || marks.Type == "oct":
		return Key{}, errors.New("it is symmetric: whoever can check with it can also sign")
	case marks.Private != nil:
		return Key{}, errors.New("it is a private key; publish the public half only, and replace it")
	case marks.Use != "" && marks.Use != "sig":
		return Key{}, fmt.Errorf("its use is %q, not sig", marks.Use)
	case len(marks.Operations) > 0 && !slices.Contains(marks.Operations, "verify"):
		return Key{}, errors.New("its key_ops do not include verify")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return Key{}, err
	}
	algorithms, err := fitting(jwk.Key)
	if err != nil {
		return Key{}, err
	}
	if jwk.Algorithm != "" {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(jwk.Algorithm)) {
			return Key{}, fmt.Errorf("its alg %q does not fit its type", jwk.Algorithm)
		}
		algorithms = []jose.SignatureAlgorithm{jose.SignatureAlgorithm(jwk.Algorithm)}
	}
	return Key{ID: jwk.KeyID, Public: jwk.Key, Algorithms: algorithms}, nil
}

// fitting lists the algorithms that a public key can verify (RFC 7518 section 3.1, RFC 8037 section 3.1).
func fitting(public any) ([]jose.SignatureAlgorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("its RSA modulus has %d bits; %d to %d are accepted", bits, minRSA, maxRSA)
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}, nil
	}
	return nil, fmt.Errorf("a %T is not a key that verifies signatures", public)
}

// Algorithms lists every algorithm that can be allowed: asymmetric signatures only.
func Algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
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
