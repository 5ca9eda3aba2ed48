package adversary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// prover is a client with a key to which tokens are bound. It makes its proofs by hand, as RFC 9449 and RFC 7638 say.
type prover struct{ key *ecdsa.PrivateKey }

var (
	victim = newProver()
	thief  = newProver()
)

func newProver() prover {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return prover{key}
}

func (p prover) jwk() string {
	public, err := p.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, b64(public[1:33]), b64(public[33:]))
}

func (p prover) thumbprint() string {
	sum := sha256.Sum256([]byte(p.jwk()))
	return b64(sum[:])
}

// token is bound to the client's key.
func (p prover) token() string {
	return idp.sign(idp.header(nil), idp.claims(object{"cnf": object{"jkt": p.thumbprint()}}))
}

// proof is good for GET https://api.test/any with the token, but for the changes.
func (p prover) proof(token string, change object) string {
	sum := sha256.Sum256([]byte(token))
	claims := with(object{"jti": rand.Text(), "htm": "GET", "htu": "https://api.test/any", "iat": time.Now().Unix(), "ath": b64(sum[:])}, change)
	payload, _ := json.Marshal(claims)
	input := b64([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+p.jwk()+`}`)) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature)
}

// forged carries the key of another.
func (p prover) forged(of prover, token string) string {
	good, own := of.proof(token, nil), p.proof(token, nil)
	return good[:strings.LastIndex(good, ".")] + own[strings.LastIndex(own, "."):]
}

// Rows E33: what somebody has who captured a token that is bound to a key, or a request with its proof.
func proofRows() []attack {
	token := victim.token()
	private := strings.Replace(victim.jwk(), "{", `{"d":"AAAA",`, 1)
	var rows []attack
	add := func(name, scheme, proof string, reason gate.Reason) {
		fields := []field{{"Authorization", scheme + " " + token}}
		if proof != "" {
			fields = append(fields, field{"DPoP", proof})
		}
		for _, target := range []string{"/any", "/public/x"} {
			rows = append(rows, attack{row: "E33", name: name + strings.ReplaceAll(target, "/", " at "), target: target, fields: fields,
				want: refused("identity", 401, gate.NoIdentity, reason)})
		}
	}
	add("as a bearer", "Bearer", "", "identity.bound")
	add("as a bearer with the victim's proof", "Bearer", victim.proof(token, nil), "identity.bound")
	add("without proof", "DPoP", "", "identity.proof_missing")
	add("with a proof of another key", "DPoP", thief.proof(token, nil), "identity.proof_holder")
	add("with the victim's key and the thief's signature", "DPoP", thief.forged(victim, token), "identity.proof_signature")
	add("with a proof for another method", "DPoP", victim.proof(token, object{"htm": "DELETE"}), "identity.proof_method")
	add("with a proof for another path", "DPoP", victim.proof(token, object{"htu": "https://api.test/other"}), "identity.proof_url")
	add("with a proof for another host", "DPoP", victim.proof(token, object{"htu": "https://evil.test/any"}), "identity.proof_url")
	add("with a proof for a host in front of ours", "DPoP", victim.proof(token, object{"htu": "https://api.test@evil.test/any"}), "identity.proof_url")
	add("with nonsense", "DPoP", "letmein", "identity.proof_malformed")
	add("with a private key in it", "DPoP", b64([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+private+`}`))+".e30.AAAA", "identity.proof_key")
	add("unsigned", "DPoP", b64([]byte(`{"typ":"dpop+jwt","alg":"none","jwk":`+victim.jwk()+`}`))+".e30.AAAA", "identity.proof_algorithm")
	once := func(name string, change object, reason gate.Reason) { // htu tells http and https apart
		rows = append(rows, attack{row: "E33", name: name, target: "/any", over: 2,
			fields: []field{{"Authorization", "DPoP " + token}, {"DPoP", victim.proof(token, change)}}, want: refused("identity", 401, gate.NoIdentity, reason)})
	}
	once("with a proof for another token", object{"ath": "AAAA"}, "identity.proof_token")
	once("with a proof made in advance", object{"iat": time.Now().Unix() + 3600}, "identity.proof_time")
	once("with an old proof", object{"iat": time.Now().Unix() - 3600}, "identity.proof_time")
	once("with a nonce of nobody", object{"nonce": "AAAA"}, "identity.proof_nonce")
	rows = append(rows, attack{row: "E33", name: "two proofs", target: "/any", want: canon400("field.duplicate"),
		fields: []field{{"Authorization", "DPoP " + token}, {"DPoP", victim.proof(token, nil)}, {"DPoP", victim.proof(token, nil)}}})
	return rows
}

func TestStolenTokens(t *testing.T) { bring(t, shared, proofRows()) }

// proven sends requests with fresh proofs until one gets through: the gateway may just have started, and like any client the
// victim then proves with the nonce that it is told.
func (p prover) proven(t *testing.T, token string, send func(proof string) *reply) (proof string) {
	t.Helper()
	proof = p.proof(token, nil)
	for end := time.Now().Add(patience); ; {
		r := send(proof)
		if r.status == 200 {
			return proof
		}
		challenge, nonce := r.fields.Get("Www-Authenticate"), r.fields.Get("Dpop-Nonce")
		if r.status != 401 || !strings.Contains(challenge, `error="use_dpop_nonce"`) || nonce == "" || time.Now().After(end) {
			t.Fatalf("status %d: challenge %q, nonce %q, event %+v", r.status, challenge, nonce, shared.events.id(t, r.problem.Event).Decision)
		}
		proof = p.proof(token, object{"nonce": nonce})
	}
}

// E33: a whole request is captured, with a proof that was good. It was good once.
func TestCapturedRequest(t *testing.T) {
	token := victim.token()
	var event gate.Event
	var requests []string
	send := func(proof string) *reply {
		from, before := source(), shared.server.mark()
		r := shared.send2(t, from, []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/any"},
			{"authorization", "DPoP " + token}, {"dpop", proof}}, "")
		_, requests, _ = shared.server.since(before)
		event = shared.events.of(t, r, requests, from)
		return r
	}
	proof := victim.proven(t, token, send)
	if len(requests) != 1 {
		t.Fatalf("at the server: %q", requests)
	}
	if head := strings.ToLower(requests[0]); strings.Contains(head, "\r\ndpop:") || strings.Contains(head, "\r\nauthorization:") || !strings.Contains(head, "gatehouse-subject: mallory") {
		t.Errorf("at the server: %q", requests[0])
	}
	for range 3 {
		if r := send(proof); r.status != 401 || event.Decision.Reason != "identity.proof_replayed" || len(requests) != 0 {
			t.Errorf("status %d: %s %s", r.status, event.Decision.Reason, event.Decision.Detail)
		}
	}
}

// A proof for https is good for what a trusted proxy brings as http, and for nobody else's http.
func TestProofBehindATerminator(t *testing.T) {
	token := victim.token()
	over := func(from string) func(string) *reply {
		return func(proof string) *reply {
			return shared.sendRaw(t, from, "GET /any HTTP/1.1\r\nHost: api.test\r\nAuthorization: DPoP "+token+"\r\nDPoP: "+proof+"\r\n\r\n", false, false)
		}
	}
	victim.proven(t, token, over(proxySource()))
	r := over(source())(victim.proof(token, nil))
	if e := shared.events.id(t, r.problem.Event); r.status != 401 || e.Decision.Reason != "identity.proof_url" {
		t.Errorf("status %d: %s", r.status, e.Decision.Reason)
	}
}
