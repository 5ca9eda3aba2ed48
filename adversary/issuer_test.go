package adversary

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"time"
)

// issuer is an identity provider whose key the tests hold.
type issuer struct {
	name string
	key  *rsa.PrivateKey
}

var (
	idp   = newIssuer("https://idp.test")
	other = newIssuer("https://other.test")
)

func newIssuer(name string) issuer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return issuer{name, key}
}

// keySet is the public half. Both issuers call their key by the same name (row E9).
func (i issuer) keySet() string {
	text, _ := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
		"n": b64(i.key.N.Bytes()), "e": b64(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
	return string(text)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

// claims are those of a good token, with changes; nil removes one.
func (i issuer) claims(change object) object {
	now := time.Now()
	c := object{"iss": i.name, "sub": "mallory", "aud": "shop", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "roles": []string{"customer"}}
	return with(c, change)
}

func (i issuer) header(change object) object {
	return with(object{"alg": "RS256", "typ": "at+jwt", "kid": "k1"}, change)
}

func with(o, change object) object {
	for k, v := range change {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
	return o
}

// sign makes a token whose signature holds, whatever it says.
func (i issuer) sign(header, claims object) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return i.signText(string(h), string(c))
}

func (i issuer) signText(header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return input + "." + b64(signature)
}
