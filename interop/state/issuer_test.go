//go:build linux

package state

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const issuerName = "https://idp.test"

// issuer makes tokens whose keys lie in a file that the gateways read.
type issuer struct {
	file string
	key  ed25519.PrivateKey
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := issuer{filepath.Join(t.TempDir(), "jwks.json"), private}
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"1","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	if err := os.WriteFile(i.file, []byte(set), 0o644); err != nil {
		t.Fatal(err)
	}
	return i
}

// token names a caller and itself. It was issued some seconds ago, since a revocation by time means whole seconds.
func (i issuer) token(subject, id string) string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	text := part(map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": "1"}) + "." + part(map[string]any{
		"iss": issuerName, "aud": "orders", "sub": subject, "jti": id, "client_id": "test", "iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix(),
	})
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text)))
}
