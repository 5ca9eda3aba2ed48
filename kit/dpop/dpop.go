// Package dpop reads proofs of possession (RFC 9449): small signed messages by which a client shows, for one request, that
// it holds the key to which its access token is bound. It promises that a proof which holds was signed by the key it
// carries, with an asymmetric algorithm that fits the key, for this method, this URL, this access token and this time, and
// that nothing is said of its claims before the signature holds. That a proof counts once is for the caller to see to, who
// has a memory; until when it must last stands in the Proof.
package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
)

// Between when a proof may have been made, by its iat and our clock.
const (
	Age   = 60 * time.Second // so long ago at most
	Ahead = 30 * time.Second // a client's clock may be ahead by this
)

// Reason is the stable word for why a proof doesn't hold.
type Reason string

// Why a proof doesn't hold, by the checks of RFC 9449 section 4.3.
const (
	Malformed Reason = "malformed" // 2, 3: no strict compact JWS, a header that asks for what is not done, a claim missing or of the wrong form
	Type      Reason = "type"      // 4: signed for another purpose
	Algorithm Reason = "algorithm" // 5: symmetric, none, or one that does not fit the key
	Key       Reason = "key"       // 7: the key it carries is missing, private, symmetric or weak
	Signature Reason = "signature" // 6: not signed by the key it carries
	Method    Reason = "method"    // 8: made for another method
	URL       Reason = "url"       // 9: made for another URL
	Nonce     Reason = "nonce"     // 10: without the nonce that is asked for, or with one that is not ours or over
	Time      Reason = "time"      // 11: too old, or made in the future
	Token     Reason = "token"     // 12: made for another access token
	Holder    Reason = "holder"    // 12: signed by another key than the token is bound to
)

// Refusal is why a proof doesn't hold. It never repeats more than a few characters of what the client wrote.
type Refusal struct {
	Reason Reason
	Detail string
}

// Error makes a refusal an error.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}

// Want is what a proof must prove.
type Want struct {
	Request Request   // that it comes with
	Token   string    // the access token that is shown
	Key     string    // thumbprint of the key that the token is bound to: cnf.jkt
	Now     time.Time //
	Nonces  *Nonces   // that count; nil: none does
	Nonced  bool      // a nonce is demanded
}

// Proof is one that holds.
type Proof struct {
	ID    string    // jti; with the key it names the proof
	Since time.Time // it was not made before this, by our clock; zero when only the client's clock says so
	Made  time.Time // by the client's clock
	Ends  time.Time // from here on it is accepted no more
}

// Algorithms are those of which a proof's must be one: asymmetric signatures only.
func Algorithms() []jose.SignatureAlgorithm { return jws.Algorithms() }

// Verify judges a proof, the value of the field DPoP, by RFC 9449 section 4.3.
func Verify(text string, want Want) (Proof, *Refusal) {
	claims, key, refusal := open(text)
	if refusal != nil {
		return Proof{}, refusal
	}
	if refusal := want.holder(key); refusal != nil {
		return Proof{}, refusal
	}
	if refusal := want.request(claims); refusal != nil {
		return Proof{}, refusal
	}
	p, refusal := want.time(claims)
	if refusal != nil {
		return Proof{}, refusal
	}
	var ok bool
	if p.ID, ok = claims["jti"].(string); !ok || p.ID == "" {
		return Proof{}, refuse(Malformed, "jti is missing, empty or not a string")
	}
	return p, nil
}

// open gives the claims of a proof whose signature holds, and the key that signed it.
func open(text string) (map[string]any, jws.Key, *Refusal) {
	parts, err := jws.Split(text)
	if err != nil {
		return nil, jws.Key{}, refuse(Malformed, "%v", err)
	}
	head, err := jws.Object(parts.Header)
	if err != nil {
		return nil, jws.Key{}, refuse(Malformed, "its header: %v", err)
	}
	for _, name := range []string{"crit", "b64", "zip", "enc", "cty"} {
		if _, has := head[name]; has {
			return nil, jws.Key{}, refuse(Malformed, "its header has %s, which asks for what is not done", name)
		}
	}
	kind, _ := head["typ"].(string)
	if kind = strings.ToLower(kind); kind != "dpop+jwt" && kind != "application/dpop+jwt" {
		return nil, jws.Key{}, refuse(Type, "its typ is %.40q, not dpop+jwt", kind)
	}
	name, _ := head["alg"].(string)
	algorithm := jose.SignatureAlgorithm(name)
	if !slices.Contains(Algorithms(), algorithm) {
		return nil, jws.Key{}, refuse(Algorithm, "its algorithm is %.40q", name)
	}
	key, refusal := embedded(head["jwk"], algorithm)
	if refusal != nil {
		return nil, jws.Key{}, refusal
	}
	claims, err := jws.Object(parts.Payload)
	if err != nil {
		return nil, jws.Key{}, refuse(Malformed, "its payload: %v", err)
	}
	if err := key.Verify(parts, algorithm); err != nil {
		return nil, jws.Key{}, refuse(Signature, "it is not signed by the key that it carries")
	}
	return claims, key, nil
}

// embedded reads the key in the header and demands that the algorithm fits it.
func embedded(member any, algorithm jose.SignatureAlgorithm) (jws.Key, *Refusal) {
	object, ok := member.(map[string]any)
	if !ok {
		return jws.Key{}, refuse(Key, "its header carries no key (jwk)")
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return jws.Key{}, refuse(Key, "its key can't be read")
	}
	key, err := jws.ParseKey(raw)
	if err != nil {
		return jws.Key{}, refuse(Key, "its key: %.120v", err)
	}
	if !slices.Contains(key.Algorithms, algorithm) {
		return jws.Key{}, refuse(Algorithm, "%s does not fit the key that it carries", algorithm)
	}
	return key, nil
}

// holder demands that the key is the one to which the token is bound (RFC 9449 section 6.1).
func (w Want) holder(key jws.Key) *Refusal {
	thumbprint, err := key.Thumbprint()
	if err != nil || w.Key == "" || thumbprint != w.Key {
		return refuse(Holder, "it is signed by another key than the token is bound to")
	}
	return nil
}

// request demands method, URL and access token.
func (w Want) request(claims map[string]any) *Refusal {
	method, ok := claims["htm"].(string)
	if !ok {
		return refuse(Malformed, "htm is missing or not a string")
	}
	if method != w.Request.Method {
		return refuse(Method, "it is made for the method %.20q", method)
	}
	url, ok := claims["htu"].(string)
	if !ok {
		return refuse(Malformed, "htu is missing or not a string")
	}
	if !w.Request.is(url) {
		return refuse(URL, "it is made for another URL than %s", w.Request)
	}
	if digest, ok := claims["ath"].(string); !ok || w.Token == "" || digest != Digest(w.Token) {
		return refuse(Token, "ath is missing, or it is made for another access token")
	}
	return nil
}

// time judges when the proof was made: by the moment of its nonce, which is ours, else by its iat.
func (w Want) time(claims map[string]any) (p Proof, refusal *Refusal) {
	var ok bool
	if p.Made, ok = jws.Seconds(claims["iat"]); !ok {
		return p, refuse(Malformed, "iat is missing or not a whole number of seconds")
	}
	nonce, has := claims["nonce"]
	switch {
	case has:
		text, _ := nonce.(string)
		if p.Since, ok = w.Nonces.Made(text, w.Now); !ok {
			return p, refuse(Nonce, "its nonce is not one of ours, or over")
		}
		p.Ends = p.Since.Add(NonceLife)
	case w.Nonced:
		return p, refuse(Nonce, "it has no nonce, which is demanded")
	default:
		p.Ends = p.Made.Add(Age)
		if age := w.Now.Sub(p.Made); age < -Ahead || !w.Now.Before(p.Ends) {
			return p, refuse(Time, "it was made %s ago by the client's clock; %s is accepted, and %s ahead", age.Truncate(time.Second), Age, Ahead)
		}
	}
	return p, nil
}

// Digest names an access token as the claim ath does.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
