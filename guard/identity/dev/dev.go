// Package dev is the development issuer: it signs short-lived tokens for whoever can read this installation's state
// directory, so that the first request with a token works within a minute. Its key is random for each installation, lies in
// a file that only its owner may read, and never leaves it; no default key exists that an attacker could know (adversary
// row I4). Whoever wants it beyond the own machine accepts that risk in writing.
package dev

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/go-jose/go-jose/v4"
)

// What tokens of the development issuer say. The host can't exist (RFC 2606), so that no real issuer has this name.
const (
	Name     = "https://gatehouse.invalid/dev"
	Audience = "gatehouse-dev"
)

// Life is how long a token is valid unless another time is asked for, and Longest the longest time that can be.
const (
	Life    = 15 * time.Minute
	Longest = 24 * time.Hour
)

const (
	fileName  = "development-issuer.pem"
	blockType = "PRIVATE KEY"
	maxFile   = 16 << 10
)

// Issuer signs development tokens.
type Issuer struct {
	rand   io.Reader
	signer jose.Signer
	ring   *keys.Ring
}

// Open reads the issuer's key from the state directory, or makes it on first use: of several commands that do so at once,
// one wins and all use its key. The directory is created with mode 0700, the file with 0600; a file that others may read is
// refused.
func Open(dir string, rand io.Reader) (*Issuer, error) {
	if dir == "" || rand == nil {
		return nil, errors.New("development issuer: no state directory or no randomness is given")
	}
	path := filepath.Join(dir, fileName)
	key, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(dir, path, rand); err == nil {
			key, err = read(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	return fromKey(key, rand)
}

func fromKey(key *ecdsa.PrivateKey, rand io.Reader) (*Issuer, error) {
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	print, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	public.KeyID = hex.EncodeToString(print[:8])
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		return nil, err
	}
	set, err := keys.Parse(document)
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", public.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		return nil, err
	}
	return &Issuer{rand: rand, signer: signer, ring: keys.Fixed(set)}, nil
}

// read gives the key, fs.ErrNotExist when there is none yet.
func read(path string) (*ecdsa.PrivateKey, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (%v): whoever read it can sign tokens; delete it, and a new key is made", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s is not a key; delete it, and a new one is made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not a key; delete it, and a new one is made", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not a P-256 key; delete it, and a new one is made", path)
	}
	return key, nil
}

// create writes a new key beside its place and links it there, so that it appears whole or not at all; it is no error when
// another command was first.
func create(dir, path string, rand io.Reader) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "."+fileName+"-*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already when it was linked
	if err := pem.Encode(file, &pem.Block{Type: blockType, Bytes: der}); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Ring is the public half, for whoever verifies.
func (i *Issuer) Ring() *keys.Ring { return i.ring }

// Token signs that subject has these roles and scopes from now for as long as life, 15 minutes when life is 0.
func (i *Issuer) Token(subject string, roles, scopes []string, now time.Time, life time.Duration) (string, error) {
	if life == 0 {
		life = Life
	}
	if subject == "" || life < time.Second || life > Longest {
		return "", fmt.Errorf("development token: it needs a subject and a life of 1s to %s", Longest)
	}
	for _, s := range scopes {
		if s == "" || strings.ContainsAny(s, " \t\r\n\"\\") {
			return "", fmt.Errorf("development token: %q is not a scope", s)
		}
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(i.rand, id); err != nil {
		return "", fmt.Errorf("development token: %w", err)
	}
	claims, err := json.Marshal(struct {
		Issuer   string   `json:"iss"`
		Subject  string   `json:"sub"`
		Audience string   `json:"aud"`
		ID       string   `json:"jti"`
		Issued   int64    `json:"iat"`
		Expires  int64    `json:"exp"`
		Roles    []string `json:"roles,omitempty"`
		Scope    string   `json:"scope,omitempty"`
	}{Name, subject, Audience, hex.EncodeToString(id), now.Unix(), now.Add(life).Unix(), roles, strings.Join(scopes, " ")})
	if err != nil {
		return "", err
	}
	signed, err := i.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
