package jws

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// For each point on the list anybody signs: a signature that is the point itself or its like, and zeros, verifies for some of
// a few messages. So the list is of keys that must be refused, and none stands on it by mistake.
func TestAnybodySignsForASmallOrder(t *testing.T) {
	points := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	}
	zero := make([]byte, 64)
	zero[0] = 1 // R is the neutral element, S is zero
	for _, point := range points {
		key, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		for _, sign := range []byte{0, 0x80} {
			key[31] = key[31]&0x7f | sign
			raw := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64.RawURLEncoding.EncodeToString(key))
			if _, err := ParseKey([]byte(raw)); err == nil {
				t.Errorf("%x is a key", key)
			}
		}
		key[31] &= 0x7f
		signed := 0
		for i := range 200 {
			if ed25519.Verify(key, fmt.Append(nil, "message ", i), zero) {
				signed++
			}
		}
		if signed == 0 {
			t.Errorf("nobody signs for %s", point)
		}
	}
	good, _, err := ed25519.GenerateKey(strings.NewReader(strings.Repeat("x", 64)))
	if err != nil || smallOrder(good) {
		t.Error("a good key is refused", err)
	}
}

// RFC 7638 section 3.1 and RFC 8037 appendix A.3.
func TestThumbprintsOfTheRFCs(t *testing.T) {
	for want, raw := range map[string]string{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst` +
			`n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		key, err := ParseKey([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := key.Thumbprint(); err != nil || got != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}
