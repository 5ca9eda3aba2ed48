package adversary

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Rows E: who calls. Each token goes to an operation that any caller may use, and to one that is public, where a credential
// that does not hold is refused all the same.
func tokenRows() []attack {
	good := func() (object, object) { return idp.header(nil), idp.claims(nil) }
	var rows []attack
	add := func(row, name, token string, reason gate.Reason) {
		for _, target := range []string{"/any", "/public/x"} {
			rows = append(rows, attack{
				row: row, name: name + strings.ReplaceAll(target, "/", " at "), target: target, fields: []field{{"Authorization", "Bearer " + token}},
				want: refused("identity", 401, gate.NoIdentity, reason),
			})
		}
	}
	head := func(change object) string { return idp.sign(idp.header(change), idp.claims(nil)) }
	body := func(change object) string { return idp.sign(idp.header(nil), idp.claims(change)) }
	unsigned := func(alg string) string {
		h, c := good()
		h["alg"] = alg
		ht, _ := json.Marshal(h)
		ct, _ := json.Marshal(c)
		return b64(ht) + "." + b64(ct) + "."
	}
	for _, alg := range []string{"none", "None", "nOnE"} {
		add("E1", alg, unsigned(alg), "identity.malformed")
	}
	add("E1", "empty signature", unsigned("RS256"), "identity.malformed")
	add("E1", "none with a signature", unsigned("none")+"AAAA", "identity.algorithm")
	public, _ := x509.MarshalPKIXPublicKey(&idp.key.PublicKey)
	add("E2", "public key as secret", shared256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), "identity.algorithm")
	add("E3", "empty secret", shared256(nil), "identity.algorithm")
	add("E4", "five parts", "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA", "identity.encrypted")
	add("E4", "nested", head(object{"cty": "JWT"}), "identity.header")
	add("E4", "logout token", head(object{"typ": "logout+jwt"}), "identity.type")
	add("E4", "no type", head(object{"typ": nil}), "identity.type")
	add("E5", "path", head(object{"kid": "../../dev/null"}), "identity.key_unknown")
	add("E5", "sql", head(object{"kid": "k1' OR '1'='1"}), "identity.key_unknown")
	add("E5", "url", head(object{"kid": "http://169.254.169.254/keys"}), "identity.key_unknown")
	add("E5", "long", head(object{"kid": strings.Repeat("k", 3000)}), "identity.key_unknown")
	forged := issuer{idp.name, other.key}
	add("E6", "jku", forged.sign(forged.header(object{"jku": "https://evil.test/keys"}), forged.claims(nil)), "identity.signature")
	var key object
	_ = json.Unmarshal([]byte(other.keySet()), &key)
	add("E6", "jwk", forged.sign(forged.header(object{"jwk": key["keys"].([]any)[0]}), forged.claims(nil)), "identity.signature")
	add("E6", "x5u", forged.sign(forged.header(object{"x5u": "http://127.0.0.1/cert"}), forged.claims(nil)), "identity.signature")
	add("E7", "missing", body(object{"aud": nil}), "identity.audience")
	add("E7", "other", body(object{"aud": "bank"}), "identity.audience")
	add("E7", "list without us", body(object{"aud": []string{"bank", "shop2"}}), "identity.audience")
	add("E7", "prefix", body(object{"aud": "shop.evil.test"}), "identity.audience")
	add("E8", "no end", body(object{"exp": nil}), "identity.claims")
	add("E8", "text", body(object{"exp": fmt.Sprint(time.Now().Unix() + 300)}), "identity.claims")
	add("E8", "float", idp.signText(jsonText(idp.header(nil)), strings.Replace(jsonText(idp.claims(nil)), `"exp":`, `"exp":9999999999.5,"x":`, 1)), "identity.claims")
	add("E8", "2^63", idp.signText(jsonText(idp.header(nil)), strings.Replace(jsonText(idp.claims(nil)), `"exp":`, `"exp":9223372036854775808,"x":`, 1)), "identity.claims")
	add("E8", "expired", body(object{"exp": time.Now().Add(-2 * time.Minute).Unix()}), "identity.expired")
	add("E8", "not before", body(object{"nbf": time.Now().Add(5 * time.Minute).Unix()}), "identity.not_yet")
	add("E8", "issued later", body(object{"iat": time.Now().Add(5 * time.Minute).Unix()}), "identity.not_yet")
	add("E9", "key of the other issuer", other.sign(other.header(nil), idp.claims(nil)), "identity.signature")
	add("E9", "nobody's", idp.sign(idp.header(nil), idp.claims(object{"iss": "https://idp.test.evil"})), "identity.issuer")
	add("E9", "slash", idp.sign(idp.header(nil), idp.claims(object{"iss": "https://idp.test/"})), "identity.issuer")
	token := body(nil)
	add("E26", "spare bits", token[:len(token)-1]+spare(token[len(token)-1]), "identity.malformed")
	add("E26", "padding", token+"==", "identity.malformed")
	add("E26", "claims twice", idp.signText(jsonText(idp.header(nil)), strings.Replace(jsonText(idp.claims(nil)), `{`, `{"sub":"admin",`, 1)), "identity.malformed")
	add("E29", "dots", strings.Repeat(".", 9000), "identity.too_long")
	add("E29", "8 kB", head(object{"pad": strings.Repeat("a", 9000)}), "identity.too_long")
	add("E30", "zip", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiemlwIjoiREVGIn0..AAAA.AAAA.AAAA", "identity.encrypted")
	add("E30", "p2c", "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJwMmMiOjEwMDAwMDAwMDB9.AAAA.AAAA.AAAA.AAAA", "identity.encrypted")
	add("E30", "zip in a signed one", head(object{"zip": "DEF"}), "identity.header")
	add("E30", "crit", head(object{"crit": []string{"b64"}, "b64": false}), "identity.header")
	for i, text := range []string{"a.b.c", "..", "...", "a", "e30.e30.e30", "bnVsbA.bnVsbA.AAAA", "W10.W10.AAAA", "!!!.###.$$$", "eyJhbGciOm51bGx9.e30.AA"} {
		add("E31", fmt.Sprint("corpus ", i), text, "identity.malformed")
	}
	add("E32", "any word", "anything", "identity.malformed")
	add("E36", "expired and forged", forged.sign(forged.header(nil), forged.claims(object{"exp": 1, "sub": canary})), "identity.signature")
	for name, value := range map[string]string{"basic": "Basic eDp5", "no scheme": token, "two spaces": "Bearer  " + token, "comma": "Bearer " + token + ", Bearer " + token} {
		reason := gate.Reason("identity.malformed")
		if name == "basic" || name == "no scheme" {
			reason = "identity.scheme"
		}
		rows = append(rows, attack{row: "E32", name: name, target: "/any", fields: []field{{"Authorization", value}}, want: refused("identity", 401, gate.NoIdentity, reason)})
	}
	rows = append(rows,
		attack{row: "E7", name: "good", target: "/any", fields: []field{{"Authorization", "Bearer " + body(object{"aud": []string{"bank", "shop"}})}},
			want: passes("GET /any HTTP/1.1", "Gatehouse-Subject: mallory", "Gatehouse-Issuer: https://idp.test", "Gatehouse-Roles: customer")},
		attack{row: "E27", name: "65 cookies", target: "/any", fields: []field{{"Cookie", cookies(65)}}, want: want{status: 431, code: gate.HeadTooLarge, guard: "canon", reason: "cookie.too_many", close: true}},
		attack{row: "E27", name: "3001 cookies", raw: "GET /any HTTP/1.1\r\nHost: api.test\r\nCookie: " + cookies(3001) + "\r\n\r\n", want: wire(431, gate.HeadTooLarge, "framing.head_size")},
		attack{row: "E27", name: "8 kB", target: "/public/x", fields: []field{{"Cookie", "a=" + strings.Repeat("b", 8200)}}, want: want{status: 431, code: gate.HeadTooLarge, guard: "canon", reason: "cookie.too_many", close: true}},
		attack{row: "E29", name: "1 MB", raw: "GET /any HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer " + strings.Repeat(".", 1<<20) + "\r\n\r\n", want: wire(431, gate.HeadTooLarge, "framing.head_size")},
	)
	return rows
}

func cookies(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "c%d=1; ", i)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func jsonText(o object) string {
	text, _ := json.Marshal(o)
	return string(text)
}

// shared256 is a token of the good issuer signed with HMAC.
func shared256(secret []byte) string {
	input := b64([]byte(jsonText(idp.header(object{"alg": "HS256"})))) + "." + b64([]byte(jsonText(idp.claims(nil))))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// spare changes only bits that base64 does not use: 256 bytes leave four in the last letter.
func spare(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)|1])
}

func TestTokens(t *testing.T) { bring(t, shared, tokenRows()) }

// A24: for every caller and operation of a small world, the program decides as the table does.
func TestWhoMay(t *testing.T) {
	callers := map[string][]string{
		"nobody": nil, "a1": {"--role", "customer"}, "a2": {"--role", "admin"}, "a3": {"--role", "customer,admin"}, "a4": {"--scope", "orders:read"},
		"a5": {"--role", "Admin"}, "a6": {"--role", "admin2"}, "a7": {"--scope", "orders:readall"}, "a8": {"--role", "customer", "--scope", "orders:write,orders:read"},
	}
	has := func(list []string, flag, word string) bool {
		for i := 0; i+1 < len(list); i += 2 {
			if list[i] == flag {
				for _, w := range strings.Split(list[i+1], ",") {
					if w == word {
						return true
					}
				}
			}
		}
		return false
	}
	operations := map[string]func(list []string) bool{
		"/public/x": func([]string) bool { return true },
		"/any":      func(list []string) bool { return list != nil },
		"/admin/x":  func(list []string) bool { return has(list, "--role", "admin") },
		"/orders/7": func(list []string) bool { return has(list, "--role", "customer") },
		"/scoped":   func(list []string) bool { return has(list, "--scope", "orders:read") },
	}
	for name, list := range callers {
		for target, may := range operations {
			raw := "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n"
			status := 200
			if !may(list) {
				status = 403
			}
			if list != nil {
				raw += "Authorization: Bearer " + shared.token(t, name, list...) + "\r\n"
			} else if status == 403 {
				status = 401
			}
			before := shared.server.mark()
			r := shared.sendRaw(t, source(), raw+"\r\n", true, false)
			if _, requests, _ := shared.server.since(before); r.status != status || len(requests) == 1 != (status == 200) {
				t.Errorf("%s %v at %s: %d, want %d; %d requests at the server", name, list, target, r.status, status, len(requests))
			}
		}
	}
}
