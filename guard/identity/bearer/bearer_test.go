package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/binding"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestGoodTokens(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	for name, token := range map[string]string{
		"ES256":                 forge(t, s.ec, ecHeader, claims(nil)),
		"RS256":                 forge(t, s.rsa, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, claims(nil)),
		"PS256":                 forge(t, s.rsa, `{"alg":"PS256","kid":"rsa","typ":"application/at+jwt"}`, claims(nil)),
		"EdDSA":                 forge(t, s.ed, `{"alg":"EdDSA","kid":"ed","typ":"AT+JWT"}`, claims(nil)),
		"no kid, one key fits":  forge(t, s.ec, `{"alg":"ES256","typ":"jwt"}`, claims(nil)),
		"audience in a list":    forge(t, s.ec, ecHeader, claims(map[string]any{"aud": []string{"other", shopAudience}})),
		"within the skew":       forge(t, s.ec, ecHeader, claims(map[string]any{"exp": noon().Unix() - 29, "nbf": noon().Unix() + 30, "iat": noon().Unix() + 30})),
		"addresses in a header": forge(t, s.ec, `{"alg":"ES256","kid":"ec","typ":"JWT","jku":"https://evil.example.com","x5u":"http://169.254.169.254"}`, claims(nil)),
	} {
		t.Run(name, func(t *testing.T) { expect(t, r, token, "") })
	}
	p, _, _ := read(r, forge(t, s.ec, ecHeader, claims(nil)))
	p.Claims = nil
	want := &gate.Principal{Issuer: shopIssuer, Subject: "alice", Client: "web", Roles: []string{"customer"},
		Scopes: []string{"orders:read", "orders:write"}, Token: "t1", Expires: time.Unix(noon().Unix()+300, 0)}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

// E1, E2, E4, E5, E6, E30: what a header may not do.
func TestHeaders(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	pkix, _ := x509.MarshalPKIXPublicKey(s.rsa.Public())
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	embedded, _ := jose.JSONWebKey{Key: stranger.Public()}.MarshalJSON()
	good := claims(nil)
	for _, c := range []struct {
		name   string
		key    any
		header string
		reason gate.Reason
	}{
		{"E1 none", s.ec, `{"alg":"none","typ":"JWT"}`, Algorithm},
		{"E1 None", s.ec, `{"alg":"None","typ":"JWT"}`, Algorithm},
		{"E1 nOnE", s.ec, `{"alg":"nOnE","kid":"ec"}`, Algorithm},
		{"E1 empty algorithm", s.ec, `{"alg":"","kid":"ec"}`, Algorithm},
		{"E1 no algorithm", s.ec, `{"kid":"ec"}`, Malformed},
		{"E1 null algorithm", s.ec, `{"alg":null,"kid":"ec"}`, Malformed},
		{"E1 list of algorithms", s.ec, `{"alg":["ES256"],"kid":"ec"}`, Malformed},
		{"E2 the RSA key as a secret", asPEM, `{"alg":"HS256","kid":"rsa"}`, Algorithm},
		{"E2 the RSA key as a secret, bare", pkix, `{"alg":"HS256","kid":"rsa"}`, Algorithm},
		{"E3 empty secret", []byte{}, `{"alg":"HS256","kid":"rsa"}`, Algorithm},
		{"lower case algorithm", s.ec, `{"alg":"es256","kid":"ec"}`, Algorithm},
		{"algorithm of another key", s.ec, `{"alg":"RS256","kid":"ec"}`, KeyUnknown},
		{"RSA key, EC algorithm", s.rsa, `{"alg":"ES256","kid":"rsa"}`, KeyUnknown},
		{"E5 path", s.ec, `{"alg":"ES256","kid":"../../dev/null"}`, KeyUnknown},
		{"E5 SQL", s.ec, `{"alg":"ES256","kid":"' UNION SELECT 'k"}`, KeyUnknown},
		{"E5 URL", s.ec, `{"alg":"ES256","kid":"http://169.254.169.254/"}`, KeyUnknown},
		{"E5 long", s.ec, `{"alg":"ES256","kid":"` + strings.Repeat("k", 5000) + `"}`, KeyUnknown},
		{"kid of no string", s.ec, `{"alg":"ES256","kid":7}`, Malformed},
		{"E6 own key in the header", stranger, `{"alg":"ES256","typ":"JWT","kid":"ec","jwk":` + string(embedded) + `}`, Signature},
		{"E4 nested", s.ec, `{"alg":"ES256","kid":"ec","cty":"JWT"}`, Header},
		{"E4 nested, long form", s.ec, `{"alg":"ES256","kid":"ec","cty":"application/jwt"}`, Header},
		{"crit", s.ec, `{"alg":"ES256","kid":"ec","crit":["exp"],"exp":1}`, Header},
		{"crit empty", s.ec, `{"alg":"ES256","kid":"ec","crit":[]}`, Header},
		{"crit null", s.ec, `{"alg":"ES256","kid":"ec","crit":null}`, Header},
		{"b64", s.ec, `{"alg":"ES256","kid":"ec","b64":false}`, Header},
		{"E30 zip", s.ec, `{"alg":"ES256","kid":"ec","zip":"DEF"}`, Header},
		{"E30 PBES2", s.ec, `{"alg":"PBES2-HS256+A128KW","p2c":1000000000,"enc":"A128GCM"}`, Header},
		{"E30 PBES2 alone", s.ec, `{"alg":"PBES2-HS256+A128KW","p2c":1000000000}`, Algorithm},
		{"E4 logout token", s.ec, `{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`, Type},
		{"E4 long form", s.ec, `{"alg":"ES256","kid":"ec","typ":"application/logout+jwt"}`, Type},
		{"E4 DPoP proof", s.ec, `{"alg":"ES256","kid":"ec","typ":"dpop+jwt"}`, Type},
		{"no typ", s.ec, `{"alg":"ES256","kid":"ec"}`, Type},
		{"empty typ", s.ec, `{"alg":"ES256","kid":"ec","typ":""}`, Type},
		{"typ of no string", s.ec, `{"alg":"ES256","kid":"ec","typ":["JWT"]}`, Malformed},
		{"algorithm twice", s.ec, `{"alg":"none","alg":"ES256","kid":"ec","typ":"JWT"}`, Malformed},
		{"twice by escape", s.ec, `{"alg":"none","\u0061lg":"ES256","kid":"ec","typ":"JWT"}`, Malformed},
		{"another case is another member", s.ec, `{"Alg":"ES256","kid":"ec","typ":"JWT"}`, Malformed},
		{"not UTF-8", s.ec, "{\"alg\":\"ES256\",\"kid\":\"\xff\"}", Malformed},
		{"half a character", s.ec, `{"alg":"ES256","kid":"\ud800"}`, Malformed},
		{"after the object", s.ec, `{"alg":"ES256","kid":"ec","typ":"JWT"} {}`, Malformed},
		{"no object", s.ec, `["ES256"]`, Malformed},
		{"no JSON", s.ec, `alg=ES256`, Malformed},
		{"deep", s.ec, `{"alg":"ES256","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, r, forge(t, c.key, c.header, good), c.reason) })
	}
}

// E4, E7, E8, E9 and their kin: what claims may not say. All of these are signed with the right key.
func TestClaims(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	now := noon().Unix()
	for _, c := range []struct {
		name   string
		change map[string]any
		reason gate.Reason
	}{
		{"E7 no audience", map[string]any{"aud": nil}, WrongAudience},
		{"E7 other audience", map[string]any{"aud": "payments"}, WrongAudience},
		{"E7 other audiences", map[string]any{"aud": []string{"payments", "stock"}}, WrongAudience},
		{"E7 empty list", map[string]any{"aud": []string{}}, WrongAudience},
		{"E7 empty", map[string]any{"aud": ""}, WrongAudience},
		{"E7 in another case", map[string]any{"aud": "Orders"}, WrongAudience},
		{"E7 with a space", map[string]any{"aud": "orders "}, WrongAudience},
		{"E7 two in one", map[string]any{"aud": "orders payments"}, WrongAudience},
		{"E7 number in the list", map[string]any{"aud": []any{"orders", 7}}, Claims},
		{"E7 an object", map[string]any{"aud": map[string]string{"orders": ""}}, Claims},
		{"E8 no exp", map[string]any{"exp": nil}, Claims},
		{"E8 exp as text", map[string]any{"exp": fmt.Sprint(now + 300)}, Claims},
		{"E8 exp with a fraction", map[string]any{"exp": float64(now) + 300.5}, Claims},
		{"E8 exp of 2^63", map[string]any{"exp": uint64(1) << 63}, Claims},
		{"E8 exp beyond the calendar", map[string]any{"exp": uint64(int64(253402300799)) + 1}, Claims},
		{"E8 exp below zero", map[string]any{"exp": -1}, Claims},
		{"E8 exp zero", map[string]any{"exp": 0}, Claims},
		{"E8 exp null", map[string]any{"exp": jsonNull{}}, Claims},
		{"E8 exp with an exponent", map[string]any{"exp": raw("99e8")}, Claims},
		{"E8 exp true", map[string]any{"exp": true}, Claims},
		{"E8 expired", map[string]any{"exp": now - 30}, Expired},
		{"E8 long expired", map[string]any{"exp": 1}, Expired},
		{"E8 nbf in the future", map[string]any{"nbf": now + 31}, NotYet},
		{"E8 nbf as text", map[string]any{"nbf": "0"}, Claims},
		{"E8 iat in the future", map[string]any{"iat": now + 3600}, NotYet},
		{"E8 iat as a list", map[string]any{"iat": []int{1}}, Claims},
		{"no subject", map[string]any{"sub": nil}, Claims},
		{"empty subject", map[string]any{"sub": ""}, Claims},
		{"subject of no string", map[string]any{"sub": 7}, Claims},
		{"subject with a line end", map[string]any{"sub": "alice\r\nGatehouse-Roles: admin"}, Claims},
		{"subject with NUL", map[string]any{"sub": "alice\x00"}, Malformed},
		{"subject written backwards", map[string]any{"sub": "alice\u202e"}, Claims},
		{"subject too long", map[string]any{"sub": strings.Repeat("a", 256)}, Claims},
		{"jti of no string", map[string]any{"jti": 7}, Claims},
		{"client of no string", map[string]any{"client_id": []string{"a"}}, Claims},
		{"roles in an object", map[string]any{"roles": map[string]bool{"admin": true}}, Claims},
		{"role of no string", map[string]any{"roles": []any{"customer", true}}, Claims},
		{"empty role", map[string]any{"roles": []string{""}}, Claims},
		{"role with a line end", map[string]any{"roles": []string{"a\nb"}}, Claims},
		{"scope of no string", map[string]any{"scope": 7}, Claims},
		{"scope with a quote", map[string]any{"scope": `a"b`}, Claims},
		{"scope with a space in the list", map[string]any{"scope": []string{"a b"}}, Claims},
		{"no issuer", map[string]any{"iss": nil}, UnknownIssuer},
		{"E9 another issuer", map[string]any{"iss": "https://evil.example.com"}, UnknownIssuer},
		{"E9 issuer with a slash more", map[string]any{"iss": shopIssuer + "/"}, UnknownIssuer},
		{"E9 issuers in a list", map[string]any{"iss": []string{shopIssuer}}, UnknownIssuer},
		{"bound to a certificate", map[string]any{"cnf": map[string]string{"x5t#S256": "abc"}}, binding.CertificateMissing},
		{"bound to nothing", map[string]any{"cnf": jsonNull{}}, binding.Bound},
		{"bound to a key", map[string]any{"cnf": map[string]string{"jkt": "abc"}}, binding.Bound},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, r, forge(t, s.ec, ecHeader, claims(c.change)), c.reason) })
	}
	for _, c := range []struct {
		name   string
		change map[string]any
	}{
		{"ID token by at_hash", map[string]any{"at_hash": "x"}},
		{"ID token by c_hash", map[string]any{"c_hash": "x"}},
		{"ID token by its word", map[string]any{"token_use": "id"}},
		{"ID token by the other word", map[string]any{"typ": "ID"}},
		{"refresh token", map[string]any{"typ": "Refresh"}},
		{"logout token", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}},
	} {
		t.Run("E4 "+c.name, func(t *testing.T) {
			expect(t, r, forge(t, s.ec, `{"alg":"ES256","kid":"ec","typ":"JWT"}`, claims(c.change)), Type)
		})
	}
	for name, payload := range map[string]string{
		"audience twice": `{"aud":"payments",` + claims(nil)[1:], "issuer twice": `{"iss":"x",` + claims(nil)[1:],
		"no object": `"alice"`, "empty": "{", "after": claims(nil) + "x", "twice below": `{"a":{"b":1,"b":2},` + claims(nil)[1:],
	} {
		t.Run(name, func(t *testing.T) { expect(t, r, forge(t, s.ec, ecHeader, payload), Malformed) })
	}
}

type jsonNull struct{}

func (jsonNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// E36: of a token that isn't signed by the issuer, nothing is said but that.
func TestSignatureComesBeforeClaims(t *testing.T) {
	s, stranger := newSmith(t), newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	for _, change := range []map[string]any{
		{"exp": noon().Unix() - 9999, "sub": "canary"}, {"aud": "canary"}, {"sub": nil, "jti": "canary"}, {"cnf": "canary"}, {"exp": "canary"}, nil,
	} {
		v := expect(t, r, forge(t, stranger.ec, ecHeader, claims(change)), Signature)
		if text := fmt.Sprintf("%+v", v); strings.Contains(text, "canary") || strings.Contains(text, "alice") {
			t.Errorf("the verdict exposes a claim: %s", text)
		}
	}
}

// E9: two issuers with a key of the same name; neither can speak for the other.
func TestTwoIssuersWithTheSameKeyID(t *testing.T) {
	a, b := newSmith(t), newSmith(t)
	const second = "https://idp.example.com/staff"
	r, err := New([]Issuer{Given(shopIssuer, shopAudience, a.ring), Given(second, "backoffice", b.ring)}, Tools{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, forge(t, a.ec, ecHeader, claims(nil)), "")
	expect(t, r, forge(t, b.ec, ecHeader, claims(map[string]any{"iss": second, "aud": "backoffice"})), "")
	expect(t, r, forge(t, a.ec, ecHeader, claims(map[string]any{"iss": second, "aud": "backoffice"})), Signature)
	expect(t, r, forge(t, b.ec, ecHeader, claims(nil)), Signature)
	expect(t, r, forge(t, b.ec, ecHeader, claims(map[string]any{"iss": second})), WrongAudience) // nor is the audience shared
}

// E26, E29, E30: a token has one spelling and a bounded size.
func TestSpelling(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	good := forge(t, s.ec, ecHeader, claims(nil))
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, signature[len(signature)-1])
	for _, c := range []struct {
		name, token string
		reason      gate.Reason
	}{
		{"E26 spare bits", good[:len(good)-1] + letters[last^1:last^1+1], Malformed},
		{"E26 line end", head + "." + payload[:8] + "\n" + payload[8:] + "." + signature, Malformed},
		{"E26 carriage return at the end", good + "\r", Malformed},
		{"padding", good + "=", Malformed},
		{"standard alphabet", head + "." + payload + "." + "+/" + signature[2:], Malformed},
		{"space", good + " ", Malformed},
		{"letter that isn't ASCII", good + "é", Malformed},
		{"E1 empty signature", head + "." + payload + ".", Malformed},
		{"empty payload", head + ".." + signature, Malformed},
		{"empty header", "." + payload + "." + signature, Malformed},
		{"two parts", head + "." + payload, Malformed},
		{"one part", head, Malformed},
		{"four parts", good + "." + signature, Malformed},
		{"six parts", good + "...", Malformed},
		{"E4 five parts", head + ".." + payload + "." + payload + "." + signature, Encrypted},
		{"JSON form", `{"payload":"` + payload + `"}`, Malformed},
		{"E25 cut", good[:len(good)-2], Signature},
		{"one bit changed", head + "." + payload + "." + flip(signature), Signature},
		{"signature of nothing", head + "." + payload + "." + strings.Repeat("A", 86), Signature},
		{"as DER", head + "." + payload + "." + b64("0\x06\x02\x01\x01\x02\x01\x01"), Signature},
		{"E29 a megabyte of dots", strings.Repeat(".", 1<<20), TooLong},
		{"E29 a byte too long", good + strings.Repeat("A", MaxToken+1-len(good)), TooLong},
		{"E29 as long as may be", good + strings.Repeat("A", MaxToken-len(good)), Signature},
		{"E29 8 KiB of dots", strings.Repeat(".", MaxToken), Malformed},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, r, c.token, c.reason) })
	}
	expect(t, r, good, "")
}

func flip(signature string) string {
	if signature[0] == 'A' {
		return "B" + signature[1:]
	}
	return "A" + signature[1:]
}

// E29: refusing is cheap.
func TestRefusingALongTokenCostsNothing(t *testing.T) {
	r := newSmith(t).reader(t, Issuer{}, NewCache(0))
	fields := http.Header{"Authorization": {"Bearer " + strings.Repeat(".", 1<<20)}}
	const times = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range times {
		readFields(r, fields)
	}
	took := time.Since(began) / times
	runtime.ReadMemStats(&after)
	if bytes := (after.TotalAlloc - before.TotalAlloc) / times; took > time.Millisecond || bytes > 16<<10 {
		t.Errorf("%s and %d bytes for each", took, bytes)
	}
}

// A token anywhere but in the one field is no credential.
func TestTokenElsewhereIsNoCredential(t *testing.T) {
	s := newSmith(t)
	r := s.reader(t, Issuer{}, nil)
	good := forge(t, s.ec, ecHeader, claims(nil))
	x := &gate.Exchange{Request: &canon.Request{Fields: http.Header{"X-Access-Token": {good}, "Proxy-Authorization": {"Bearer " + good}},
		Query: []canon.Pair{{Name: "access_token", Value: good}}, Cookies: []canon.Pair{{Name: "access_token", Value: good}}}}
	if p, found, v := r.Read(context.Background(), x); found || p != nil || !v.Allowed() {
		t.Errorf("%v %t %+v", p, found, v)
	}
}

func TestSettings(t *testing.T) {
	s := newSmith(t)
	old := noon().Unix() - 45
	for _, c := range []struct {
		name    string
		setting Issuer
		header  string
		change  map[string]any
		reason  gate.Reason
	}{
		{"typ absent permitted", Issuer{Kinds: []string{"absent"}}, `{"alg":"ES256","kid":"ec"}`, nil, ""},
		{"only absent", Issuer{Kinds: []string{"absent"}}, ecHeader, nil, Type},
		{"only at+jwt", Issuer{Kinds: []string{"at+jwt"}}, `{"alg":"ES256","kid":"ec","typ":"JWT"}`, nil, Type},
		{"algorithm not listed", Issuer{Algorithms: []string{"RS256"}}, ecHeader, nil, Algorithm},
		{"algorithm listed", Issuer{Algorithms: []string{"ES256"}}, ecHeader, nil, ""},
		{"more skew", Issuer{ClockSkew: time.Minute}, ecHeader, map[string]any{"exp": old}, ""},
		{"less skew", Issuer{ClockSkew: time.Second}, ecHeader, map[string]any{"exp": noon().Unix() - 2}, Expired},
		{"roles elsewhere", Issuer{Roles: "realm_access.roles"}, ecHeader, map[string]any{"realm_access": map[string]any{"roles": []string{"customer"}}, "roles": nil}, ""},
		{"roles under a URL", Issuer{Roles: "https://shop.example.com/roles"}, ecHeader, map[string]any{"https://shop.example.com/roles": "customer", "roles": nil}, ""},
		{"scopes elsewhere", Issuer{Scopes: "permissions"}, ecHeader, map[string]any{"permissions": []string{"orders:read", "orders:write"}, "scope": nil}, ""},
		{"scp", Issuer{}, ecHeader, map[string]any{"scp": []string{"orders:read", "orders:write"}, "scope": nil}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.reader(t, c.setting, nil)
			token := forge(t, s.ec, c.header, claims(c.change))
			expect(t, r, token, c.reason)
			if p, _, _ := read(r, token); p != nil && (fmt.Sprint(p.Roles) != "[customer]" || fmt.Sprint(p.Scopes) != "[orders:read orders:write]") {
				t.Errorf("%v %v", p.Roles, p.Scopes)
			}
		})
	}
}

// I6, I7: an issuer without keys is 503, for its tokens and for no others.
func TestKeysUnavailable(t *testing.T) {
	s := newSmith(t)
	r, err := New([]Issuer{Given(shopIssuer, shopAudience, keys.Fixed(nil)), Given("https://other.example.com", "a", s.ring)}, Tools{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	v := expect(t, r, forge(t, s.ec, ecHeader, claims(nil)), KeysUnavailable)
	if v.Code != gate.Unavailable || v.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", v)
	}
	expect(t, r, forge(t, s.ec, ecHeader, claims(map[string]any{"iss": "https://other.example.com", "aud": "a"})), "")
	expect(t, r, "a.b", Malformed)
}

func TestWithoutIssuersEverythingIsRefused(t *testing.T) {
	s := newSmith(t)
	r, err := New(nil, Tools{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, forge(t, s.ec, ecHeader, claims(nil)), UnknownIssuer)
	if _, err := New(nil, Tools{}); err == nil {
		t.Error("a reader without a clock")
	}
}
