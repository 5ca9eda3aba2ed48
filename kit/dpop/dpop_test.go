package dpop

import (
	"bytes"
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
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

const token = "an-access-token"

type object = map[string]any

// client is who makes proofs.
type client struct {
	key        *ecdsa.PrivateKey
	jwk        object
	thumbprint string
}

func newClient(t testing.TB) client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := client{key: key, jwk: jwkOf(t, key.Public())}
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c.thumbprint = b64(sum)
	return c
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkOf(t testing.TB, key any) object {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func with(o, change object) object {
	for name, value := range change {
		if o[name] = value; value == nil {
			delete(o, name)
		}
	}
	return o
}

func text(t testing.TB, o object) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (c client) header(change object) object {
	return with(object{"typ": "dpop+jwt", "alg": "ES256", "jwk": c.jwk}, change)
}

func claims(change object) object {
	return with(object{"jti": "one", "htm": "GET", "htu": "https://api.test/orders/1", "iat": noon().Unix(), "ath": Digest(token)}, change)
}

// sign signs any header and payload, as no library would.
func (c client) sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature)
}

func (c client) proof(t testing.TB, head, body object) string {
	t.Helper()
	return c.sign(t, text(t, c.header(head)), text(t, claims(body)))
}

func (c client) want() Want {
	return Want{Request: Request{Method: "GET", Scheme: "https", Host: "api.test", Path: "/orders/1"}, Token: token, Key: c.thumbprint, Now: noon()}
}

// The examples of RFC 9449, sections 4.1 and 7.1, to the letter.
func TestExamplesOfTheRFC(t *testing.T) {
	const header = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
		"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
	const atResource = header + "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z" +
		"WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9." +
		"2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	const atTokenEndpoint = header + "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia" +
		"WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	want := Want{
		Request: Request{Method: "GET", Scheme: "https", Host: "resource.example.org", Path: "/protectedresource"},
		Token:   "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", Key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", Now: time.Unix(1562262620, 0),
	}
	p, refusal := Verify(atResource, want)
	if refusal != nil || p.ID != "e1j3V_bKic8-LAEB" || p.Made.Unix() != 1562262618 {
		t.Fatalf("%+v %v", p, refusal)
	}
	if Digest(want.Token) != "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" {
		t.Error(Digest(want.Token))
	}
	// The one for the token endpoint has no ath: it opens no resource.
	want.Request = Request{Method: "POST", Scheme: "https", Host: "server.example.com", Path: "/token"}
	if _, refusal := Verify(atTokenEndpoint, want); refusal == nil || refusal.Reason != Token {
		t.Error(refusal)
	}
}

// A row for each check of RFC 9449 section 4.3, and for each way of failing it that is known.
func TestRefusals(t *testing.T) {
	c, thief := newClient(t), newClient(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := jwkOf(t, c.key)
	good := c.proof(t, nil, nil)
	head := func(change object) string { return c.proof(t, change, nil) }
	body := func(change object) string { return c.proof(t, nil, change) }
	parts := strings.Split(good, ".")
	shared := func() string {
		input := b64([]byte(text(t, c.header(object{"alg": "HS256", "jwk": object{"kty": "oct", "k": "AAAA"}})))) + "." + parts[1]
		mac := hmac.New(sha256.New, []byte{0, 0, 0})
		mac.Write([]byte(input))
		return input + "." + b64(mac.Sum(nil))
	}
	twice := func(object string) string { return strings.Replace(object, "{", `{"jti":"two",`, 1) }
	for _, row := range []struct {
		name   string
		proof  string
		reason Reason // "" for one that holds
	}{
		{"good", good, ""},
		{"application/ in front of its type, any case", head(object{"typ": "application/DPoP+jwt"}), ""},
		{"a claim more", body(object{"extra": true}), ""},
		{"60 s ahead is too far", body(object{"iat": noon().Unix() + 60}), Time},
		{"30 s ahead", body(object{"iat": noon().Unix() + 30}), ""},
		{"59 s old", body(object{"iat": noon().Unix() - 59}), ""},
		{"60 s old", body(object{"iat": noon().Unix() - 60}), Time},
		{"a year old", body(object{"iat": noon().Unix() - 365*24*3600}), Time},

		{"nothing", "", Malformed},
		{"dots", strings.Repeat(".", 9000), Malformed},
		{"long", body(object{"pad": strings.Repeat("a", 9000)}), Malformed},
		{"two parts", parts[0] + "." + parts[1], Malformed},
		{"five parts", good + ".AA.AA", Malformed},
		{"two proofs in one field", good + ", " + good, Malformed},
		{"padding", good + "==", Malformed},
		{"spare bits", good[:len(good)-1] + spare(good[len(good)-1]), Malformed},
		{"header is a list", b64([]byte("[]")) + "." + parts[1] + "." + parts[2], Malformed},
		{"claims are null", parts[0] + "." + b64([]byte("null")) + "." + parts[2], Malformed},
		{"jti twice", c.sign(t, text(t, c.header(nil)), twice(text(t, claims(nil)))), Malformed},
		{"crit", head(object{"crit": []string{"x"}, "x": 1}), Malformed},
		{"b64", head(object{"b64": false}), Malformed},
		{"no jti", body(object{"jti": nil}), Malformed},
		{"empty jti", body(object{"jti": ""}), Malformed},
		{"jti is a number", body(object{"jti": 1}), Malformed},
		{"no htm", body(object{"htm": nil}), Malformed},
		{"no htu", body(object{"htu": nil}), Malformed},
		{"no iat", body(object{"iat": nil}), Malformed},
		{"iat is a text", body(object{"iat": "1"}), Malformed},
		{"iat is a fraction", body(object{"iat": 1.5}), Malformed},
		{"iat is negative", body(object{"iat": -1}), Malformed},

		{"no type", head(object{"typ": nil}), Type},
		{"an access token's type", head(object{"typ": "at+jwt"}), Type},
		{"type is a list", head(object{"typ": []string{"dpop+jwt"}}), Type},

		{"E1 none", b64([]byte(text(t, c.header(object{"alg": "none"})))) + "." + parts[1] + ".AA", Algorithm},
		{"E1 nOnE", head(object{"alg": "nOnE"}), Algorithm},
		{"no algorithm", head(object{"alg": nil}), Algorithm},
		{"E2 shared key", shared(), Algorithm},
		{"algorithm of another key", head(object{"alg": "RS256"}), Algorithm},
		{"algorithm of another curve", head(object{"alg": "ES384"}), Algorithm},
		{"encryption", head(object{"alg": "RSA-OAEP"}), Algorithm},

		{"no key", head(object{"jwk": nil}), Key},
		{"key is a text", head(object{"jwk": "x"}), Key},
		{"key is empty", head(object{"jwk": object{}}), Key},
		{"private key", head(object{"jwk": private}), Key},
		{"private part of another kind", head(object{"jwk": with(jwkOf(t, c.key.Public()), object{"p": "AQAB"})}), Key},
		{"shared key", head(object{"jwk": object{"kty": "oct", "k": "AAAA"}}), Key},
		{"for encryption", head(object{"jwk": with(jwkOf(t, c.key.Public()), object{"use": "enc"})}), Key},
		{"point off the curve", head(object{"jwk": with(jwkOf(t, c.key.Public()), object{"x": b64(make([]byte, 32))})}), Key},
		{"point at infinity", head(object{"jwk": with(jwkOf(t, c.key.Public()), object{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})}), Key},
		{"unknown curve", head(object{"jwk": object{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}}), Key},
		{"RSA of 1024 bits", head(object{"alg": "RS256", "jwk": object{"kty": "RSA", "e": "AQAB", "n": b64(append([]byte{0x80}, make([]byte, 127)...))}}), Key},
		{"RSA with exponent 1", head(object{"alg": "RS256", "jwk": with(jwkOf(t, rsaKey.Public()), object{"e": "AQ"})}), Key},
		{"RSA with exponent 2", head(object{"alg": "RS256", "jwk": with(jwkOf(t, rsaKey.Public()), object{"e": "Ag"})}), Key},
		{"RSA with an even modulus", head(object{"alg": "RS256", "jwk": with(jwkOf(t, rsaKey.Public()),
			object{"n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())})}), Key},
		{"Ed25519 of order 1", head(object{"alg": "EdDSA", "jwk": object{"kty": "OKP", "crv": "Ed25519", "x": b64(append([]byte{1}, make([]byte, 31)...))}}), Key},
		{"Ed25519, short", head(object{"alg": "EdDSA", "jwk": object{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}), Key},
		{"X25519", head(object{"alg": "EdDSA", "jwk": object{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}}), Key},

		{"E36 signed by nobody", good[:len(good)-86] + strings.Repeat("A", 86), Signature},
		{"signed by a thief with the client's key in it", thief.sign(t, text(t, c.header(nil)), text(t, claims(nil))), Signature},
		{"changed after it was signed", parts[0] + "." + b64([]byte(text(t, claims(object{"jti": "two"})))) + "." + parts[2], Signature},
		{"signature in ASN.1", parts[0] + "." + parts[1] + "." + b64(asn1(t, c, parts[0]+"."+parts[1])), Signature},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), Signature},

		{"E33 a thief's own proof", thief.proof(t, nil, nil), Holder},
		{"another method", body(object{"htm": "POST"}), Method},
		{"method in lower case", body(object{"htm": "get"}), Method},
		{"another path", body(object{"htu": "https://api.test/orders/2"}), URL},
		{"no ath", body(object{"ath": nil}), Token},
		{"ath of another token", body(object{"ath": Digest("another")}), Token},
		{"ath is the token", body(object{"ath": token}), Token},
		{"a nonce, and none is ours", body(object{"nonce": "x"}), Nonce},
		{"a nonce that is no text", body(object{"nonce": 7}), Nonce},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, refusal := Verify(row.proof, c.want())
			switch {
			case row.reason == "" && (refusal != nil || p.ID != "one"):
				t.Errorf("%+v, %v", p, refusal)
			case row.reason != "" && (refusal == nil || refusal.Reason != row.reason || p != Proof{}):
				t.Errorf("%v, want %s", refusal, row.reason)
			case refusal != nil && len(refusal.Detail) > 200:
				t.Errorf("%d characters of detail", len(refusal.Detail))
			}
		})
	}
	// The zero Want is met by nothing.
	if _, refusal := Verify(good, Want{}); refusal == nil {
		t.Error("the zero Want is met")
	}
}

// spare changes the last character of base64url within the bits that don't count.
func spare(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func asn1(t *testing.T, c client, input string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(input))
	signature, err := ecdsa.SignASN1(rand.Reader, c.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// Keys of every kind that is accepted make proofs that hold.
func TestEveryKindOfKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[jose.SignatureAlgorithm]crypto.Signer{jose.EdDSA: ed}
	for algorithm, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()} {
		if keys[algorithm], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for _, algorithm := range Algorithms() {
		key := keys[algorithm]
		if key == nil {
			key = rsaKey
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(text(t, claims(nil))))
		if err != nil {
			t.Fatal(err)
		}
		proof, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		sum, _ := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
		want := newClient(t).want()
		want.Key = b64(sum)
		if _, refusal := Verify(proof, want); refusal != nil {
			t.Errorf("%s: %v", algorithm, refusal)
		}
	}
}

func TestURLs(t *testing.T) {
	plain := Request{Scheme: "https", Host: "api.test", Path: "/a/b"}
	at := func(change func(*Request)) Request {
		r := plain
		change(&r)
		return r
	}
	port := at(func(r *Request) { r.Port = "8443" })
	http := at(func(r *Request) { r.Scheme = "http" })
	fronted := at(func(r *Request) { r.Scheme, r.Fronted = "http", true })
	written := at(func(r *Request) { r.Scheme, r.Fronted, r.Port = "http", true, "443" })
	root := at(func(r *Request) { r.Path = "/" })
	six := at(func(r *Request) { r.Host = "2001:db8::1" })
	for _, c := range []struct {
		url  string
		r    Request
		same bool
	}{
		{"https://api.test/a/b", plain, true},
		{"HTTPS://API.test:443/a/b", plain, true},
		{"https://api.test./a/b", plain, true},
		{"https://api.test/%61/b", plain, true},
		{"https://api.test/a/b?q=1#f", plain, true},
		{"https://api.test/a/b#f?q", plain, true},
		{"https://api.test/a/b/", plain, false},
		{"https://api.test/a/./b", plain, false},
		{"https://api.test/x/../a/b", plain, false},
		{"https://api.test//a/b", plain, false},
		{"https://api.test/A/b", plain, false},
		{"https://api.test/a%2Fb", plain, false},
		{"https://api.test", plain, false},
		{"https://api.test.evil/a/b", plain, false},
		{"https://api.test@evil/a/b", plain, false},
		{"https://evil@api.test/a/b", plain, false},
		{"https://api.test\\@evil/a/b", plain, false},
		{"https://api.test:8443/a/b", plain, false},
		{"https://api.test:0/a/b", plain, false},
		{"http://api.test/a/b", plain, false},
		{"wss://api.test/a/b", plain, false},
		{"//api.test/a/b", plain, false},
		{"/a/b", plain, false},
		{"", plain, false},
		{"https://", plain, false},
		{"https:///a/b", plain, false},
		{" https://api.test/a/b", plain, false},
		{"https://api.test:8443/a/b", port, true},
		{"https://api.test/a/b", port, false},
		{"http://api.test:80/a/b", http, true},
		{"https://api.test/a/b", http, false},
		{"https://api.test/a/b", fronted, true},
		{"http://api.test/a/b", fronted, true},
		{"https://api.test:8443/a/b", fronted, false},
		{"https://api.test/a/b", written, true},
		{"https://evil/a/b", fronted, false},
		{"https://api.test", root, true},
		{"https://api.test?x", root, true},
		{"https://api.test/", root, true},
		{"https://[2001:DB8:0::1]/a/b", six, true},
	} {
		if got := c.r.is(c.url); got != c.same {
			t.Errorf("%q for %s: %t", c.url, c.r, got)
		}
	}
}

func TestNonces(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	n, same, other := NewNonces(key), NewNonces(bytes.Clone(key)), NewNonces(make([]byte, 32))
	nonce := n.New(noon())
	for _, c := range []struct {
		name  string
		of    *Nonces
		nonce string
		after time.Duration
		good  bool
	}{
		{"at once", n, nonce, 0, true},
		{"at another node", same, nonce, time.Second, true},
		{"at a node whose clock is behind", same, nonce, -Drift, true},
		{"from the future", same, nonce, -Drift - time.Second, false},
		{"at its end", n, nonce, NonceLife - 1, true},
		{"over", n, nonce, NonceLife, false},
		{"of another key", other, nonce, 0, false},
		{"cut", n, nonce[:31], 0, false},
		{"longer", n, nonce + "A", 0, false},
		{"of an earlier moment, with this code", n, n.New(noon().Add(-time.Second))[:11] + nonce[11:], 0, false},
		{"nothing", n, "", 0, false},
		{"nil knows none", nil, nonce, 0, false},
	} {
		if made, ok := c.of.Made(c.nonce, noon().Add(c.after)); ok != c.good || ok && !made.Equal(noon()) {
			t.Errorf("%s: %s %t", c.name, made, ok)
		}
	}
	if (*Nonces)(nil).New(noon()) != "" {
		t.Error("nil makes one")
	}
	c := newClient(t)
	want := c.want()
	want.Nonces, want.Nonced = n, true
	// With a nonce the client's clock doesn't matter; without, the proof is refused where one is demanded.
	p, refusal := Verify(c.proof(t, nil, object{"nonce": nonce, "iat": 1}), want)
	if refusal != nil || !p.Since.Equal(noon()) || !p.Ends.Equal(noon().Add(NonceLife)) {
		t.Errorf("%+v %v", p, refusal)
	}
	if _, refusal := Verify(c.proof(t, nil, nil), want); refusal == nil || refusal.Reason != Nonce {
		t.Error(refusal)
	}
	want.Now = noon().Add(NonceLife)
	if _, refusal := Verify(c.proof(t, nil, object{"nonce": nonce, "iat": want.Now.Unix()}), want); refusal == nil || refusal.Reason != Nonce {
		t.Error(refusal)
	}
}

// FuzzProof feeds whole fields. Nothing that the fuzzer writes is signed with the client's key, so nothing but the seed holds.
func FuzzProof(f *testing.F) {
	c := newClient(f)
	good := c.proof(f, nil, nil)
	f.Add(good)
	f.Add(newClient(f).proof(f, nil, nil))
	f.Add(strings.Repeat(".", 3))
	f.Add(b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`)) + ".e30.AA")
	f.Fuzz(func(t *testing.T, value string) {
		if _, refusal := Verify(value, c.want()); refusal == nil && value != good {
			t.Fatalf("believed %q", value)
		}
	})
}

// FuzzClaims feeds payloads that are signed by the right key: whatever holds is for this request and has a name and an end.
func FuzzClaims(f *testing.F) {
	c := newClient(f)
	f.Add(text(f, claims(nil)))
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, payload string) {
		if payload == "" || len(payload) > 4096 {
			return
		}
		p, refusal := Verify(c.sign(t, text(t, c.header(nil)), payload), c.want())
		if refusal != nil {
			return
		}
		var said object
		if json.Unmarshal([]byte(payload), &said) != nil || said["htm"] != "GET" || said["ath"] != Digest(token) || p.ID == "" || !p.Ends.After(noon()) {
			t.Fatalf("believed %q as %+v", payload, p)
		}
	})
}

// FuzzURL: whatever counts as the request's URL names its host and nothing before it.
func FuzzURL(f *testing.F) {
	r := Request{Scheme: "https", Host: "api.test", Path: "/a/b"}
	for _, seed := range []string{"https://api.test/a/b", "https://api.test:443/%61/b?x", "https://x@api.test/a/b", "https://api.test\t/a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if r.is(url) && !strings.HasPrefix(strings.ToLower(url), "https://") {
			t.Fatalf("%q", url)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c := newClient(b)
	proof, want := c.proof(b, nil, nil), c.want()
	b.ReportAllocs()
	for b.Loop() {
		if _, refusal := Verify(proof, want); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
