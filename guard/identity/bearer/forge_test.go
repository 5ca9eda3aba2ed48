package bearer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/go-jose/go-jose/v4"
)

const (
	shopIssuer   = "https://idp.example.com/shop"
	shopAudience = "orders"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge signs any header and payload with any key, as no library would.
func forge(t testing.TB, key any, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, k, digest[:])
		err = e
		signature = make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
	case *rsa.PrivateKey:
		if strings.Contains(header, "PS256") {
			signature, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// oneRSA is made once, since that takes long; what tells two smiths apart are their other keys.
var oneRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// smith is an issuer in a test.
type smith struct {
	ec   *ecdsa.PrivateKey
	rsa  *rsa.PrivateKey
	ed   ed25519.PrivateKey
	ring *keys.Ring
}

func newSmith(t testing.TB) *smith {
	t.Helper()
	s := &smith{}
	var err1, err2, err3 error
	s.ec, err1 = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.rsa, err2 = oneRSA()
	_, s.ed, err3 = ed25519.GenerateKey(rand.Reader)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	s.ring = keys.Fixed(parse(t, jose.JSONWebKey{Key: s.ec.Public(), KeyID: "ec"}, jose.JSONWebKey{Key: s.rsa.Public(), KeyID: "rsa"},
		jose.JSONWebKey{Key: s.ed.Public(), KeyID: "ed"}))
	return s
}

func parse(t testing.TB, list ...jose.JSONWebKey) *keys.Set {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: list})
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// reader trusts the smith under the given settings.
func (s *smith) reader(t testing.TB, c Issuer, cache *Cache) *Reader {
	t.Helper()
	if c.Issuer == "" {
		c.Issuer = shopIssuer
	}
	if c.Audience == nil {
		c.Audience = Names{shopAudience}
	}
	c.ring = s.ring
	r, err := New([]Issuer{c}, Tools{Now: noon, API: "orders", Policy: "1", Verified: cache})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// claims writes a good payload with changes: a nil value removes a claim.
func claims(changes map[string]any) string {
	all := map[string]any{"iss": shopIssuer, "aud": shopAudience, "sub": "alice", "exp": noon().Unix() + 300, "iat": noon().Unix(),
		"jti": "t1", "client_id": "web", "roles": []string{"customer"}, "scope": "orders:read orders:write"}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprint("test data: ", err))
	}
	return string(data)
}

const ecHeader = `{"alg":"ES256","kid":"ec","typ":"at+jwt"}`

func read(r *Reader, token string) (*gate.Principal, bool, gate.Verdict) {
	return readFields(r, http.Header{"Authorization": {"Bearer " + token}})
}

func readFields(r *Reader, fields http.Header) (*gate.Principal, bool, gate.Verdict) {
	return r.Read(context.Background(), exchangeOf(fields))
}

// expect fails unless the token is refused with the reason, or accepted when it is "".
func expect(t *testing.T, r *Reader, token string, reason gate.Reason) gate.Verdict {
	t.Helper()
	p, found, v := read(r, token)
	switch {
	case !found:
		t.Error("no credential is seen")
	case reason == "" && (!v.Allowed() || p == nil):
		t.Errorf("refused: %s: %s", v.Reason, v.Detail)
	case reason != "" && (v.Allowed() || p != nil || v.Reason != reason):
		t.Errorf("allowed %t, caller %v, reason %q (%s); want %s", v.Allowed(), p, v.Reason, v.Detail, reason)
	}
	if reason != "" && reason != KeysUnavailable && v.Code != gate.NoIdentity {
		t.Errorf("code %s", v.Code)
	}
	return v
}
