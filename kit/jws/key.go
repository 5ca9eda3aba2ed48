package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Bounds of an RSA modulus in bits. Smaller keys can be factored; larger ones make every forged token expensive to refuse.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Key is one public key that may verify signatures.
type Key struct {
	ID         string                    // kid, "" when none is given
	Public     any                       // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Algorithms []jose.SignatureAlgorithm // those that fit the key; never a symmetric one
}

// ParseKey reads one JSON Web Key and decides what it may verify. Refused are symmetric keys, keys with any private part,
// keys for encryption, unknown types, RSA keys below 2048 or above 8192 bits, and keys with which anybody can sign.
func ParseKey(raw []byte) (Key, error) {
	var marks struct {
		Type       string          `json:"kty"`
		Use        string          `json:"use"`
		Operations []string        `json:"key_ops"`
		Symmetric  json.RawMessage `json:"k"`
		D          json.RawMessage `json:"d"`
		P          json.RawMessage `json:"p"`
		Q          json.RawMessage `json:"q"`
		DP         json.RawMessage `json:"dp"`
		DQ         json.RawMessage `json:"dq"`
		QI         json.RawMessage `json:"qi"`
		Others     json.RawMessage `json:"oth"`
	}
	if err := json.Unmarshal(raw, &marks); err != nil {
		return Key{}, err
	}
	private := func(part json.RawMessage) bool { return part != nil }
	switch {
	case marks.Symmetric != nil || marks.Type == "oct":
		return Key{}, errors.New("it is symmetric: whoever can check with it can also sign")
	case slices.ContainsFunc([]json.RawMessage{marks.D, marks.P, marks.Q, marks.DP, marks.DQ, marks.QI, marks.Others}, private):
		return Key{}, errors.New("it is a private key; show the public half only, and replace it")
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
		if key.E < 3 || key.E%2 == 0 || key.N.Bit(0) == 0 {
			return nil, errors.New("its RSA exponent or modulus is even or its exponent is 1: anybody could sign for it")
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
		if len(key) != ed25519.PublicKeySize || smallOrder(key) {
			return nil, errors.New("its point has a small order: anybody could sign for it")
		}
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

// Verify checks the signature of a message.
func (k Key) Verify(c Compact, algorithm jose.SignatureAlgorithm) error {
	if !slices.Contains(k.Algorithms, algorithm) {
		return fmt.Errorf("the key does not fit %.20q", algorithm)
	}
	signed, err := jose.ParseSignedCompact(c.Text, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return err
	}
	_, err = signed.Verify(k.Public)
	return err
}

// Thumbprint names the key by a digest of what it is and nothing else (RFC 7638, SHA-256), in base64url.
func (k Key) Thumbprint() (string, error) {
	sum, err := (&jose.JSONWebKey{Key: k.Public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}
