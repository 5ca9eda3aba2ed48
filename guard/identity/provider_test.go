package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/go-jose/go-jose/v4"
)

// provider is an OpenID provider on loopback: discovery, keys, rotation, and outages on demand.
type provider struct {
	*httptest.Server
	mu   sync.Mutex
	down bool
	id   string
	key  *ecdsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.rotate(t, "one")
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) rotate(t *testing.T, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.key = id, key
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	down, id, key := p.down, p.id, p.key
	p.mu.Unlock()
	switch {
	case down:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/jwks")
	default:
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: id}}})
	}
}

func (p *provider) token(t *testing.T, subject string) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", p.id))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"orders","sub":%q,"exp":%d}`, p.URL, subject, noon().Unix()+60))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAgainstAProvider(t *testing.T) {
	p := newProvider(t)
	p.setDown(true)
	source := keys.NewSource(noon, keys.System(), nil)
	defer source.Close()
	config := identity.Config{Issuers: []bearer.Issuer{{Issuer: p.URL, Audience: bearer.Names{"orders"}}}}
	tools := identity.Tools{Now: noon, Keys: source, Verified: bearer.NewCache(0), Policy: "1"}
	began := time.Now()
	g, err := identity.New(config, shop(), tools)
	if err != nil || time.Since(began) > time.Second {
		t.Fatalf("New after %s: %v", time.Since(began), err)
	}
	check := func(token string, op *gate.Operation) (gate.Verdict, *gate.Principal) {
		x := exchange(op, "Bearer "+token)
		return g.Check(context.Background(), x), x.Principal()
	}
	// Down from the start: 503, on public operations too, and never open.
	for _, op := range []*gate.Operation{private, public} {
		if v, who := check(p.token(t, "alice"), op); v.Code != gate.Unavailable || v.Reason != bearer.KeysUnavailable || who != nil {
			t.Fatalf("while down: %+v", v)
		}
	}
	// Back, without a restart.
	p.setDown(false)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v, who := check(p.token(t, "alice"), private); v.Allowed() && who.Subject == "alice" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after recovery: %+v", v)
		}
	}
	old := p.token(t, "alice")
	// A rotated key is found at once; a reload keeps the keys even while the provider is down.
	p.rotate(t, "two")
	if v, _ := check(p.token(t, "bob"), private); !v.Allowed() {
		t.Errorf("after rotation: %+v", v)
	}
	if v, _ := check(old, private); v.Reason != bearer.KeyUnknown {
		t.Errorf("a token of the withdrawn key: %+v", v)
	}
	p.setDown(true)
	tools.Policy = "2"
	if g, err = identity.New(config, shop(), tools); err != nil {
		t.Fatal(err)
	}
	if v, _ := check(p.token(t, "carol"), private); !v.Allowed() {
		t.Errorf("after a reload while down: %+v", v)
	}
}
