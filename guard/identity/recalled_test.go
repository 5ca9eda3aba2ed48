package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

const vouches = "https://idp.example.com"

// minted is an issuer whose tokens say what a test wants.
type minted struct {
	t    *testing.T
	sign jose.Signer
	file string
}

func mint(t *testing.T) *minted {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &minted{t: t, file: filepath.Join(t.TempDir(), "keys.json")}
	if m.sign, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType("at+jwt")); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err == nil {
		err = os.WriteFile(m.file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *minted) token(times string) string {
	m.t.Helper()
	signed, err := m.sign.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"or\"ders","sub":"ann","jti":"stolen",%s}`, vouches, times))
	if err != nil {
		m.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		m.t.Fatal(err)
	}
	return text
}

// A token that was called back never comes back: not when its revocation is forgotten, whatever times it names.
func TestWhatWasCalledBackStaysSo(t *testing.T) {
	const day = 24 * time.Hour
	start := noon()
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for name, times := range map[string]string{
		"90 days":                    fmt.Sprintf(`"iat":%d,"exp":%d`, at(0), at(90*day)),
		"held back by nbf":           fmt.Sprintf(`"iat":%d,"nbf":%d,"exp":%d`, at(0), at(60*day), at(89*day)),
		"the longest that there is":  fmt.Sprintf(`"iat":%d,"exp":%d`, at(0), at(30*day)),
		"by a clock that is ahead":   fmt.Sprintf(`"iat":%d,"exp":%d`, at(time.Minute), at(30*day+time.Minute)),
		"a day, iat a text":          fmt.Sprintf(`"iat":"x","exp":%d`, at(day)),
		"a day, iat with a fraction": fmt.Sprintf(`"iat":%d.5,"exp":%d`, at(0), at(day)),
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			clock := func() time.Time { return now }
			key, err := secret.New(make([]byte, 32), "key")
			if err != nil {
				t.Fatal(err)
			}
			db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "s.db"), Now: clock,
				Key: func() (secret.Value, []secret.Value) { return key, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			revocations := func() *fleet.Revocations { // as after a restart, which forgets what has ended
				r := fleet.NewRevocations(fleet.RevocationConfig{}, fleet.RevocationTools{Durable: db, Now: clock})
				if err := r.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				return r
			}
			m := mint(t)
			source := keys.NewSource(clock, keys.System(), nil)
			defer source.Close()
			guard := func() *identity.Guard {
				r := revocations()
				cfg := identity.Config{Issuers: []bearer.Issuer{{Issuer: vouches, Audience: bearer.Names{`or"ders`}, Keys: m.file, ClockSkew: time.Minute}}}
				g, err := identity.New(cfg, shop(), identity.Tools{Now: clock, Keys: source, Revocations: r, Longest: r.Longest()})
				if err != nil {
					t.Fatal(err)
				}
				return g
			}
			if _, err := revocations().Revoke(t.Context(), fleet.Revocation{Kind: fleet.ByToken, Issuer: vouches, Token: "stolen"}); err != nil {
				t.Fatal(err)
			}
			token := m.token(times)
			for _, after := range []time.Duration{0, day, 29 * day, 30 * day, 30*day + 59*time.Second, 30*day + 61*time.Second, 30*day + 119*time.Second, 31 * day, 61 * day, 62 * day, 89 * day} {
				now = start.Add(after)
				var v gate.Verdict
				if v = guard().Check(context.Background(), exchange(private, "Bearer "+token)); v.Allowed() {
					t.Errorf("let in after %s", after)
				} else if v.Code != gate.NoIdentity {
					t.Fatalf("%+v", v)
				}
			}
		})
	}
}
