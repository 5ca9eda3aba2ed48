package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// jwk writes the public half of a key.
func jwk(t testing.TB, key any, id, algorithm, use string) string {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: id, Algorithm: algorithm, Use: use})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func jwks(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func ec(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseKeepsOnlyKeysThatVerify(t *testing.T) {
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, p384, p521 := ec(t, elliptic.P256()), ec(t, elliptic.P384()), ec(t, elliptic.P521())
	edwards, _, _ := ed25519.GenerateKey(rand.Reader)
	small := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 170) + `"}`
	huge := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 1400) + `"}`
	for _, c := range []struct {
		name string
		key  string
		fits string // "" when the key is left out
	}{
		{"RSA", jwk(t, big.Public(), "a", "", ""), "[RS256 RS384 RS512 PS256 PS384 PS512]"},
		{"RSA bound to one", jwk(t, big.Public(), "a", "PS256", "sig"), "[PS256]"},
		{"P-256", jwk(t, p256.Public(), "a", "", "sig"), "[ES256]"},
		{"P-384", jwk(t, p384.Public(), "a", "ES384", ""), "[ES384]"},
		{"P-521", jwk(t, p521.Public(), "a", "", ""), "[ES512]"},
		{"Ed25519", jwk(t, edwards, "a", "", ""), "[EdDSA]"},
		{"E2 shared key", `{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}`, ""},
		{"E3 empty shared key", `{"kty":"oct","k":""}`, ""},
		{"shared key in other clothes", `{"kty":"RSA","k":"c2VjcmV0","n":"AQAB","e":"AQAB"}`, ""},
		{"private key", jwk(t, p256, "a", "", ""), ""},
		{"for encryption", jwk(t, big.Public(), "a", "", "enc"), ""},
		{"algorithm of another type", jwk(t, big.Public(), "a", "ES256", ""), ""},
		{"E2 HMAC on an RSA key", jwk(t, big.Public(), "a", "HS256", ""), ""},
		{"E1 none", jwk(t, big.Public(), "a", "none", ""), ""},
		{"encryption algorithm", jwk(t, big.Public(), "a", "RSA-OAEP", ""), ""},
		{"RSA too small", small, ""},
		{"RSA too large", huge, ""},
		{"key_ops without verify", `{"key_ops":["encrypt"],` + jwk(t, big.Public(), "a", "", "")[1:], ""},
		{"key_ops with verify", `{"key_ops":["verify"],` + jwk(t, big.Public(), "a", "", "")[1:], "[RS256 RS384 RS512 PS256 PS384 PS512]"},
		{"point off the curve", `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`, ""},
		{"unknown type", `{"kty":"new"}`, ""},
		{"member twice", `{"kty":"oct",` + jwk(t, big.Public(), "a", "", "")[1:], ""},
		{"no object", `7`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := Parse(jwks(c.key))
			if c.fits == "" {
				if err == nil {
					t.Fatalf("accepted: %+v", set)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(set.keys[0].Algorithms); got != c.fits || set.Len() != 1 {
				t.Errorf("fits %s, want %s", got, c.fits)
			}
			beside, err := Parse(jwks(`{"kty":"oct","k":"c2VjcmV0"}`, c.key))
			if err != nil || beside.Len() != 1 {
				t.Errorf("beside a bad key: %v %v", beside, err)
			}
		})
	}
}

// E3, I5: nothing of this is a key set.
func TestParseRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "null": "null", "empty object": "{}", "empty list": `{"keys":[]}`, "null list": `{"keys":null}`,
		"list": "[]", "text": "<html>", "keys twice": `{"keys":[],"keys":[]}`, "case": `{"Keys":[{"kty":"oct"}]}`,
		"not UTF-8": "{\"keys\":[{\"kid\":\"\xff\"}]}", "cut": `{"keys":[{`, "large": `{"keys":[` + strings.Repeat(" ", maxSet) + `]}`,
	} {
		if set, err := Parse([]byte(data)); err == nil || set != nil {
			t.Errorf("%s: %v", name, set)
		}
	}
}

func TestFindByIDAndAlgorithm(t *testing.T) {
	one, two, other := ec(t, elliptic.P256()), ec(t, elliptic.P256()), ec(t, elliptic.P384())
	set, err := Parse(jwks(jwk(t, one.Public(), "k", "", ""), jwk(t, two.Public(), "k", "", ""), jwk(t, other.Public(), "z", "", "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id        string
		algorithm jose.SignatureAlgorithm
		found     int
	}{
		{"k", jose.ES256, 2}, {"k", jose.ES384, 0}, {"z", jose.ES384, 1}, {"z", jose.ES256, 0},
		{"", jose.ES256, 0}, {"", jose.ES384, 1}, // without id only when there is no choice
		{"K", jose.ES256, 0}, {"k ", jose.ES256, 0}, {"../../dev/null", jose.ES256, 0}, {"' OR 1=1", jose.ES256, 0},
		{strings.Repeat("k", 1<<20), jose.ES256, 0}, {"k", "none", 0}, {"k", "HS256", 0}, {"k", "", 0},
	} {
		if got := len(set.Find(c.id, c.algorithm)); got != c.found {
			t.Errorf("%.20q %s: %d keys, want %d", c.id, c.algorithm, got, c.found)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(jwks(jwk(f, ec(f, elliptic.P256()).Public(), "a", "", "sig")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-521","x":"AAAA","y":"AAAA","x5c":["AAAA"],"x5t":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse(data)
		if (set == nil) != (err != nil) {
			t.Fatal("neither a set nor an error, or both")
		}
		if set == nil {
			return
		}
		if set.Len() == 0 {
			t.Fatal("an empty set was accepted")
		}
		for _, k := range set.keys {
			if len(k.Algorithms) == 0 || k.Public == nil {
				t.Fatalf("a key that fits nothing: %+v", k)
			}
		}
	})
}
