package main

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/kit/dpop"
)

// holders are two who make proofs of possession in a story: the client, to whose key tokens are bound as $JKT, and a thief.
type holders struct {
	client, thief *ecdsa.PrivateKey
	made          int
}

func newHolders(t *testing.T) *holders { return &holders{client: stranger(t), thief: stranger(t)} }

func jwkOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// words replaces what stands for keys.
func (h *holders) words(t *testing.T, text string) string {
	t.Helper()
	if !strings.Contains(text, "$") {
		return text
	}
	sum, err := (&jose.JSONWebKey{Key: h.client.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("$JKT", base64.RawURLEncoding.EncodeToString(sum), "$THIEF", jwkOf(t, h.thief)).Replace(text)
}

// proof makes the field DPoP for a request, from "proof CLAIMS HEADER" or "theft CLAIMS HEADER" in a story: a good one, with
// the changes of claims and header that follow; null removes one. A theft is signed by the thief.
func (s *story) proof(part, method, path, token string) string {
	words := append(strings.Fields(part), "{}", "{}")
	key := s.holders.client
	if words[0] == "theft" {
		key = s.holders.thief
	}
	s.holders.made++
	claims := fmt.Sprintf(`{"jti":"p%d","htm":%q,"htu":"http://api.test%s","iat":%d,"ath":%q}`, s.holders.made, method, path, time.Now().Unix(), dpop.Digest(token))
	header := `{"typ":"dpop+jwt","alg":"ES256","jwk":` + jwkOf(s.t, key) + `}`
	change := strings.ReplaceAll(words[1], "$NONCE", s.node.kept.nonces.New(time.Now()))
	return "DPoP: " + sign(s.t, key, s.changed(header, words[2]), s.changed(claims, change)) + "\r\n"
}

// changed is a JSON object with changes.
func (s *story) changed(object, change string) string {
	all, changes := map[string]any{}, map[string]any{}
	if err := json.Unmarshal([]byte(object), &all); err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(change), &changes); err != nil {
		s.t.Fatalf("%s: %v", change, err)
	}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	if n, ok := all["iat"].(float64); ok {
		all["iat"] = int64(n)
	}
	text, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
