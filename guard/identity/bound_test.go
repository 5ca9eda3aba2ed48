package identity_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
)

// client holds a key, to which tokens are bound.
type client struct {
	t    *testing.T
	sign jose.Signer
	jkt  string
}

func newClient(t *testing.T) client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c := client{t: t, jkt: base64.RawURLEncoding.EncodeToString(sum)}
	if c.sign, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")); err != nil {
		t.Fatal(err)
	}
	return c
}

// proof makes a proof for the request that shown makes.
func (c client) proof(token, id, more string) string {
	c.t.Helper()
	payload := fmt.Appendf(nil, `{"jti":%q,"htm":"GET","htu":"https://api.test/orders","ath":%q%s}`, id, dpop.Digest(token), more)
	if !bytes.Contains(payload, []byte(`"iat"`)) {
		payload = fmt.Appendf(payload[:len(payload)-1], `,"iat":%d}`, noon().Unix())
	}
	signed, err := c.sign.Sign(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// bound is a token of minted that is bound to the client's key.
func (m *minted) bound(c client) string {
	return m.token(fmt.Sprintf(`"exp":%d,"cnf":{"jkt":%q}`, noon().Unix()+60, c.jkt))
}

// request is one that shows a token with a scheme, and proofs.
func request(op *gate.Operation, authorization string, proofs ...string) *gate.Exchange {
	x := exchange(op, authorization)
	x.Request.Scheme, x.Request.Host, x.Request.Path = "https", "api.test", "/orders"
	if len(proofs) > 0 {
		x.Request.Fields["Dpop"] = proofs
	}
	return x
}

func guardOf(t *testing.T, m *minted, cfg identity.Config, tools identity.Tools) *identity.Guard {
	t.Helper()
	source := keys.NewSource(noon, keys.System(), nil)
	t.Cleanup(source.Close)
	cfg.Issuers = []bearer.Issuer{{Issuer: vouches, Audience: bearer.Names{`or"ders`}, Keys: m.file}}
	tools.Now, tools.Keys, tools.Verified, tools.Policy = noon, source, bearer.NewCache(0), "1"
	g, err := identity.New(cfg, shop(), tools)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What the client learns is what RFC 9449 section 7.1 demands: which of token and proof is at fault, and when a nonce helps.
func TestChallengesOfBoundTokens(t *testing.T) {
	m, c := mint(t), newClient(t)
	nonces := dpop.NewNonces(make([]byte, 32))
	memory := &shown{keys: map[string]time.Time{}}
	bound, plain := m.bound(c), m.token(fmt.Sprintf(`"exp":%d`, noon().Unix()+60))
	const algs = `algs="RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"`
	const bearers, offer = `Bearer realm="or\"ders"`, `DPoP realm="or\"ders", ` + algs
	dpopFault := func(word string) string { return `DPoP realm="or\"ders", error="` + word + `", ` + algs }
	for _, row := range []struct {
		name       string
		demand     binding.Demand
		value      string
		proofs     []string
		reason     gate.Reason
		challenges []string
	}{
		{"nothing", "", "", nil, identity.Missing, []string{bearers, offer}},
		{"nothing, where tokens must be bound", binding.Required, "", nil, identity.Missing, []string{offer}},
		{"as a bearer", "", "Bearer " + bound, nil, binding.Bound, []string{bearers + `, error="invalid_token"`, offer}},
		{"as a bearer with a proof", "", "Bearer " + bound, []string{c.proof(bound, "a", "")}, binding.Bound, []string{bearers + `, error="invalid_token"`, offer}},
		{"as a bearer, where tokens must be bound", binding.Required, "Bearer " + bound, nil, binding.Bound, []string{dpopFault("invalid_token")}},
		{"unbound, where tokens must be bound", binding.Required, "Bearer " + plain, nil, binding.Unbound, []string{dpopFault("invalid_token")}},
		{"unbound, with a proof", "", "DPoP " + plain, []string{c.proof(plain, "b", "")}, binding.Unbound, []string{dpopFault("invalid_token")}},
		{"no proof", "", "DPoP " + bound, nil, binding.ProofMissing, []string{dpopFault("invalid_dpop_proof")}},
		{"two proofs", "", "DPoP " + bound, []string{c.proof(bound, "c", ""), c.proof(bound, "d", "")}, binding.ProofMalformed, []string{dpopFault("invalid_dpop_proof")}},
		{"of another key", "", "DPoP " + bound, []string{newClient(t).proof(bound, "e", "")}, binding.ProofHolder, []string{dpopFault("invalid_dpop_proof")}},
		{"for another token", "", "DPoP " + bound, []string{c.proof(plain, "f", "")}, binding.ProofToken, []string{dpopFault("invalid_dpop_proof")}},
		{"old", "", "DPoP " + bound, []string{c.proof(bound, "g", `,"iat":1`)}, binding.ProofTime, []string{dpopFault("use_dpop_nonce")}},
		{"nonce of somebody", "", "DPoP " + bound, []string{c.proof(bound, "h", `,"nonce":"x"`)}, binding.ProofNonce, []string{dpopFault("use_dpop_nonce")}},
		{"no token", "", "DPoP", nil, bearer.Malformed, []string{dpopFault("invalid_token")}},
		{"nonsense", "", "DPoP x", []string{"x"}, bearer.Malformed, []string{dpopFault("invalid_token")}},
		{"two schemes at once", "", "DPoP " + bound + ", Bearer " + plain, nil, bearer.Malformed, []string{dpopFault("invalid_token")}},
		{"good", "", "DPoP " + bound, []string{c.proof(bound, "i", "")}, "", nil},
		{"good, scheme in any case", binding.Required, "dPoP " + bound, []string{c.proof(bound, "j", "")}, "", nil},
		{"good, with a nonce", "", "DPoP " + bound, []string{c.proof(bound, "k", `,"iat":1,"nonce":"`+nonces.New(noon())+`"`)}, "", nil},
		{"plain", "", "Bearer " + plain, nil, "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := guardOf(t, m, identity.Config{Bound: row.demand}, identity.Tools{Once: memory, Nonces: nonces})
			for _, op := range []*gate.Operation{private, public} {
				x := request(op, row.value, row.proofs...)
				if row.value == "" {
					delete(x.Request.Fields, "Authorization")
				}
				v := g.Check(context.Background(), x)
				if op == public && (row.value == "" || row.reason == "") { // nobody needs a credential; a proof was shown before
					continue
				}
				if v.Reason != row.reason || v.Allowed() != (row.reason == "") || v.Allowed() == (x.Principal() == nil) {
					t.Fatalf("%s: %+v", op.Key, v)
				}
				if got := v.Header["Www-Authenticate"]; strings.Join(got, "\n") != strings.Join(row.challenges, "\n") {
					t.Errorf("%s: challenges\n%s\nwant\n%s", op.Key, strings.Join(got, "\n"), strings.Join(row.challenges, "\n"))
				}
				_, known := nonces.Made(v.Header.Get("DPoP-Nonce"), noon())
				if wanted := strings.Contains(strings.Join(row.challenges, ""), "use_dpop_nonce"); known != wanted {
					t.Errorf("%s: nonce %q", op.Key, v.Header.Get("DPoP-Nonce"))
				}
				if strings.Contains(v.Detail+v.Shown+v.Fix, bound[20:40]) {
					t.Error("the token stands in the verdict")
				}
			}
		})
	}
}

// E23, E33: what is remembered of a token is never that it was proven. Each proof counts once, on all nodes together.
func TestEachRequestIsProvenAnew(t *testing.T) {
	m, c := mint(t), newClient(t)
	memory := &shown{keys: map[string]time.Time{}}
	one, two := guardOf(t, m, identity.Config{}, identity.Tools{Once: memory}), guardOf(t, m, identity.Config{}, identity.Tools{Once: memory})
	token := m.bound(c)
	check := func(g *identity.Guard, want gate.Reason, value string, proofs ...string) {
		t.Helper()
		if v := g.Check(context.Background(), request(private, value, proofs...)); v.Reason != want || v.Allowed() != (want == "") {
			t.Errorf("%+v, want %q", v, want)
		}
	}
	proof := c.proof(token, "a", "")
	check(one, "", "DPoP "+token, proof)
	check(one, binding.ProofMissing, "DPoP "+token)
	check(one, binding.Bound, "Bearer "+token)
	check(one, binding.ProofReplayed, "DPoP "+token, proof)
	check(two, binding.ProofReplayed, "DPoP "+token, proof)
	check(one, binding.ProofReplayed, "DPoP "+token, c.proof(token, "a", "")) // signed again: the same proof
	check(two, "", "DPoP "+token, c.proof(token, "b", ""))
	other := newClient(t)
	theirs := m.bound(other)
	check(one, "", "DPoP "+theirs, other.proof(theirs, "a", "")) // two clients may choose the same jti
	for key, until := range memory.keys {
		if !strings.HasPrefix(key, "proof/") || len(key) > 60 || until.Before(noon().Add(dpop.Age)) {
			t.Errorf("remembered as %q until %s", key, until)
		}
	}
	// 50 at once: one.
	same, wins := c.proof(token, "c", ""), 0
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 50 {
		all.Go(func() {
			if v := one.Check(context.Background(), request(private, "DPoP "+token, same)); v.Allowed() {
				mu.Lock()
				wins++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if wins != 1 {
		t.Errorf("%d of 50 were first", wins)
	}
}

// I7: without the memory of proofs nobody is let in, and one that began anew is helped over by a nonce.
func TestMemoryOfProofs(t *testing.T) {
	m, c := mint(t), newClient(t)
	token := m.bound(c)
	memory := &shown{keys: map[string]time.Time{}}
	nonces := dpop.NewNonces(make([]byte, 32))
	g := guardOf(t, m, identity.Config{}, identity.Tools{Once: memory, Nonces: nonces})
	id := 0
	check := func(g *identity.Guard, want gate.Reason, more string) gate.Verdict {
		t.Helper()
		id++
		v := g.Check(context.Background(), request(private, "DPoP "+token, c.proof(token, fmt.Sprint(id), more)))
		if v.Reason != want || v.Allowed() != (want == "") {
			t.Errorf("%+v, want %q", v, want)
		}
		return v
	}
	check(guardOf(t, m, identity.Config{}, identity.Tools{}), binding.ProofUnknown, "")
	memory.err = errors.New("gone")
	if v := check(g, binding.ProofUnknown, ""); v.Code != gate.Unavailable || v.Header.Get("Retry-After") == "" || v.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%+v", v)
	}
	memory.err, memory.hangs = nil, true
	check(g, binding.ProofUnknown, "")
	memory.hangs = false
	for _, row := range []struct {
		began time.Duration // of the memory, before now
		want  gate.Reason
	}{{0, binding.ProofForgotten}, {dpop.Ahead - time.Second, binding.ProofForgotten}, {dpop.Ahead, ""}} {
		memory.since = noon().Add(-row.began)
		v := check(g, row.want, "")
		if _, ok := nonces.Made(v.Header.Get("DPoP-Nonce"), noon()); ok != (row.want != "") {
			t.Errorf("nonce %q", v.Header.Get("DPoP-Nonce"))
		}
	}
	// The nonce says that the proof is younger than the memory; an older nonce does not.
	memory.since = noon().Add(-dpop.Drift)
	check(g, "", `,"nonce":"`+nonces.New(noon())+`"`)
	check(g, binding.ProofForgotten, `,"nonce":"`+nonces.New(noon().Add(-time.Second))+`"`)
	// Demanded of all.
	strict := guardOf(t, m, identity.Config{ProofNonce: true}, identity.Tools{Once: memory, Nonces: nonces})
	check(strict, binding.ProofNonce, "")
	check(strict, "", `,"nonce":"`+nonces.New(noon())+`"`)
	// Where every proof needs one, answers bring the next; nobody else is told of nonces.
	plain := m.token(fmt.Sprintf(`"exp":%d`, noon().Unix()+60))
	for _, row := range []struct {
		g    *identity.Guard
		x    *gate.Exchange
		want bool
	}{
		{strict, request(private, "DPoP "+token, c.proof(token, "next", `,"nonce":"`+nonces.New(noon())+`"`)), true},
		{strict, request(private, "Bearer "+plain), false},
		{g, request(private, "DPoP "+token, c.proof(token, "none", `,"nonce":"`+nonces.New(noon())+`"`)), false},
	} {
		a := &gate.Answer{Status: 200, Fields: http.Header{}}
		if v := row.g.Check(context.Background(), row.x); !v.Allowed() || !row.g.Review(context.Background(), row.x, a).Allowed() {
			t.Errorf("%+v", v)
		}
		if _, ok := nonces.Made(a.Fields.Get("DPoP-Nonce"), noon()); ok != row.want {
			t.Errorf("answered with %v", a.Fields)
		}
	}
	if _, err := identity.New(identity.Config{ProofNonce: true}, shop(), identity.Tools{Now: noon}); err == nil || !strings.Contains(err.Error(), "proof_nonce") {
		t.Error(err)
	}
}

// A token can be bound in two ways that are checked here; every other is a refusal, with or without a good proof.
func TestUnknownWaysOfBinding(t *testing.T) {
	m, c := mint(t), newClient(t)
	g := guardOf(t, m, identity.Config{}, identity.Tools{Once: &shown{keys: map[string]time.Time{}}})
	for i, cnf := range []string{
		`null`, `{}`, `[]`, `"` + c.jkt + `"`, `{"jkt":""}`, `{"jkt":null}`, `{"jkt":["` + c.jkt + `"]}`, `{"x5t#S256":""}`, `{"kid":"1"}`,
		`{"jkt":"` + c.jkt + `","x5t":"abc"}`, `{"jwk":{"kty":"EC"}}`, `{"JKT":"` + c.jkt + `"}`,
	} {
		token := m.token(fmt.Sprintf(`"exp":%d,"cnf":%s`, noon().Unix()+60, cnf))
		for _, scheme := range []string{"Bearer ", "DPoP "} {
			v := g.Check(context.Background(), request(private, scheme+token, c.proof(token, fmt.Sprint(scheme, i), "")))
			if v.Reason != binding.Bound || v.Code != gate.NoIdentity {
				t.Errorf("%s%s: %+v", scheme, cnf, v)
			}
		}
	}
}

// RFC 8705: the certificate of the connection must be the one that the token is bound to, whatever else is proven.
func TestTokensBoundToACertificate(t *testing.T) {
	m, c := mint(t), newClient(t)
	own, theirs := clientCertificate(t, noon().Add(time.Minute)), clientCertificate(t, noon().Add(time.Minute))
	over := clientCertificate(t, noon().Add(-time.Second))
	thumbprint := func(cert *x509.Certificate) string {
		sum := sha256.Sum256(cert.Raw)
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	to := func(cnf string, args ...any) string {
		return m.token(fmt.Sprintf(`"exp":%d,"cnf":`, noon().Unix()+60) + fmt.Sprintf(cnf, args...))
	}
	certified, ended := to(`{"x5t#S256":%q}`, thumbprint(own)), to(`{"x5t#S256":%q}`, thumbprint(over))
	both := to(`{"x5t#S256":%q,"jkt":%q}`, thumbprint(own), c.jkt)
	plain := m.token(fmt.Sprintf(`"exp":%d`, noon().Unix()+60))
	g := guardOf(t, m, identity.Config{Bound: binding.Required}, identity.Tools{Once: &shown{keys: map[string]time.Time{}}})
	for _, row := range []struct {
		name   string
		value  string
		proof  string
		tls    *tls.ConnectionState
		reason gate.Reason
	}{
		{"its own", "Bearer " + certified, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own, theirs}}, ""},
		{"another's", "Bearer " + certified, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{theirs}}, binding.CertificateOther},
		{"another's, with its own behind", "Bearer " + certified, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{theirs, own}}, binding.CertificateOther},
		{"none", "Bearer " + certified, "", &tls.ConnectionState{}, binding.CertificateMissing},
		{"no TLS", "Bearer " + certified, "", nil, binding.CertificateMissing},
		{"ended since the handshake", "Bearer " + ended, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{over}}, binding.CertificateOther},
		{"with the scheme DPoP", "DPoP " + certified, c.proof(certified, "a", ""), &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}}, binding.Unbound},
		{"a certificate, and a token bound to none", "Bearer " + plain, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}}, binding.Unbound},
		{"both", "DPoP " + both, c.proof(both, "b", ""), &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}}, ""},
		{"both, without certificate", "DPoP " + both, c.proof(both, "c", ""), nil, binding.CertificateMissing},
		{"both, without proof", "DPoP " + both, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}}, binding.ProofMissing},
		{"both, as a bearer", "Bearer " + both, "", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}}, binding.Bound},
	} {
		for range 2 { // from the cache the second time: nothing of it is remembered as proven
			x := request(private, row.value)
			if row.proof != "" {
				x.Request.Fields["Dpop"] = []string{row.proof}
			}
			x.Source.TLS = row.tls
			v := g.Check(context.Background(), x)
			if v.Reason != row.reason && v.Reason != binding.ProofReplayed || v.Allowed() == (x.Principal() == nil) {
				t.Errorf("%s: %+v, want %q", row.name, v, row.reason)
			}
		}
	}
}

func clientCertificate(t *testing.T, until time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// Behind a trusted proxy that takes TLS off, clients have asked by https.
func TestProofBehindAProxy(t *testing.T) {
	m, c := mint(t), newClient(t)
	g := guardOf(t, m, identity.Config{}, identity.Tools{Once: &shown{keys: map[string]time.Time{}}})
	token := m.bound(c)
	for i, row := range []struct {
		trusted bool
		want    gate.Reason
	}{{true, ""}, {false, binding.ProofURL}} {
		x := request(private, "DPoP "+token, c.proof(token, fmt.Sprint(i), ""))
		x.Request.Scheme, x.Source.Fronted = "http", row.trusted
		if v := g.Check(context.Background(), x); v.Reason != row.want {
			t.Errorf("trusted %t: %+v", row.trusted, v)
		}
	}
}

// What a document may say of binding.
func TestWordsOfBinding(t *testing.T) {
	issuer, err := dev.Open(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := identity.Config{Bound: binding.Required, Development: gate.Risk{AcceptRisk: "a test"}}
	if _, err := identity.New(cfg, shop(), identity.Tools{Now: noon, Dev: issuer}); err == nil || !strings.Contains(err.Error(), "bound to nothing") {
		t.Error(err)
	}
	if words := binding.Demand("").Values(); len(words) != 2 {
		t.Error(words)
	}
	for _, r := range []dpop.Reason{dpop.Malformed, dpop.Type, dpop.Algorithm, dpop.Key, dpop.Signature, dpop.Method, dpop.URL, dpop.Nonce, dpop.Time, dpop.Token, dpop.Holder} {
		if !slices.Contains(binding.Reasons(), "identity.proof_"+gate.Reason(r)) {
			t.Errorf("%s is no reason of ours", r)
		}
	}
}
