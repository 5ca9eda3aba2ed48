// Package binding demands that whoever shows a bound token is the one it was given to. A token says by its claim cnf (RFC
// 7800) what it is bound to: a key (cnf.jkt), for which each request brings a proof that it signed (DPoP, RFC 9449), or a
// client certificate (cnf.x5t#S256), which the client showed in the handshake of the connection (RFC 8705). It promises that
// a bound token without its proof is refused everywhere, whatever the scheme and the operation;
// that a proof counts for one request, on all nodes together; that nothing of a proof is remembered as proven; and that an
// API which demands bound tokens takes no others. What a thief of the token has is then worth nothing (adversary row E33).
package binding

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
)

// Demand is what an API demands of its callers' tokens.
type Demand string

// The demands.
const (
	Optional Demand = "optional" // a token that is bound is proven; one that isn't works for whoever holds it
	Required Demand = "required" // a token that isn't bound is refused
)

// Values are the words of a document.
func (Demand) Values() []string { return []string{string(Optional), string(Required)} }

// Once remembers which proofs were shown, on all nodes together; it is identity.Once.
type Once interface {
	First(ctx context.Context, key string, until time.Time) (bool, error)
}

// forgetful is identity.Forgetful.
type forgetful interface{ Since() time.Time }

// onceTime is how long a request waits to learn whether its proof is new.
const onceTime = 100 * time.Millisecond

// Check is the check of one API's tokens. The zero Check remembers nothing, and so admits no bound token.
type Check struct {
	Now      func() time.Time
	Once     Once         // nil: nobody knows which proofs were shown
	Nonces   *dpop.Nonces // nil: none are made and none counts
	Required bool         // a token that isn't bound is refused
	Nonced   bool         // every proof needs a nonce of ours
}

// Shown is a token as it was shown, after everything else about it was found good.
type Shown struct {
	Token  string         // as sent
	Proven bool           // with the scheme DPoP, which promises a proof
	Claims map[string]any // verified
}

// Verify demands what the token says it is bound to, and what the API demands of tokens. It is asked for every request.
func (c Check) Verify(ctx context.Context, x *gate.Exchange, s Shown) gate.Verdict {
	to, v := read(s.Claims)
	switch {
	case !v.Allowed():
		return v
	case to.key == "" && s.Proven:
		return bad(Unbound, "the scheme is DPoP, and the token is bound to no key")
	case to == confirmation{} && c.Required:
		return bad(Unbound, "the token is bound to nothing; here it would work for whoever steals it").At("bound").Fixed("bound: optional")
	case to.key != "" && !s.Proven:
		return bad(Bound, "the token is bound to a key; as a bearer token it proves nothing")
	}
	if to.certificate != "" {
		if v := c.certified(x, to.certificate); !v.Allowed() {
			return v
		}
	}
	if to.key != "" {
		return c.prove(ctx, x, s.Token, to.key)
	}
	return gate.Allow()
}

// confirmation is what a token is bound to, by thumbprints; where it names both, both are demanded.
type confirmation struct {
	key         string // cnf.jkt (RFC 9449 section 6.1)
	certificate string // cnf.x5t#S256 (RFC 8705 section 3.1)
}

// read reads the claim cnf. A way of binding that nobody here can check is a refusal, never a token without binding.
func read(claims map[string]any) (to confirmation, v gate.Verdict) {
	member, has := claims["cnf"]
	if !has {
		return to, gate.Allow()
	}
	methods, _ := member.(map[string]any)
	for name, value := range methods {
		thumbprint, _ := value.(string)
		switch {
		case name == "jkt" && thumbprint != "":
			to.key = thumbprint
		case name == "x5t#S256" && thumbprint != "":
			to.certificate = thumbprint
		default:
			return confirmation{}, unread()
		}
	}
	if to == (confirmation{}) {
		return to, unread()
	}
	return to, gate.Allow()
}

// ToKey tells that a token whose claims were found good is bound to a key, so that its requests bring proofs.
func ToKey(claims map[string]any) bool {
	to, v := read(claims)
	return v.Allowed() && to.key != ""
}

func unread() gate.Verdict {
	return bad(Bound, "the token is bound (cnf) in a way that can't be checked here; jkt and x5t#S256 can")
}

// certified demands that the client showed this very certificate in the handshake of the connection, and that it is not
// over since. The handshake has proven that the client holds its key, and that an authority of the document vouches for it.
func (c Check) certified(x *gate.Exchange, thumbprint string) gate.Verdict {
	if x.Source.TLS == nil || len(x.Source.TLS.PeerCertificates) == 0 {
		return bad(CertificateMissing, "the token is bound to a client certificate, and the client showed none to this gateway").
			Fixed("listen: {client_certificates: {ca: [clients-ca.pem]}}")
	}
	shown := x.Source.TLS.PeerCertificates[0]
	if sum := sha256.Sum256(shown.Raw); base64.RawURLEncoding.EncodeToString(sum[:]) != thumbprint {
		return bad(CertificateOther, "the token is bound to another client certificate than the one shown")
	}
	if c.Now == nil || c.Now().After(shown.NotAfter) {
		return bad(CertificateOther, "the client certificate was shown on this connection, and has ended since")
	}
	return gate.Allow()
}

// prove demands a proof that holds for this request and was not shown before.
func (c Check) prove(ctx context.Context, x *gate.Exchange, token, key string) gate.Verdict {
	r, proofs := x.Request, x.Request.Fields[field]
	if len(proofs) == 0 {
		return bad(ProofMissing, "the token is bound to a key, and there is no field DPoP")
	}
	if len(proofs) > 1 {
		return bad(ProofMalformed, "%d fields DPoP", len(proofs))
	}
	if c.Once == nil || c.Now == nil {
		return unknown("there is no memory of proofs")
	}
	now := c.Now()
	p, refusal := dpop.Verify(proofs[0], dpop.Want{
		Request: dpop.Request{Method: r.Method, Scheme: r.Scheme, Host: r.Host, Port: r.Port, Path: r.Path, Fronted: x.Source.Fronted},
		Token:   token, Key: key, Now: now, Nonces: c.Nonces, Nonced: c.Nonced,
	})
	if refusal != nil {
		v := bad(prefix+gate.Reason(refusal.Reason), "the proof: %s", refusal.Detail)
		if refusal.Reason == dpop.Nonce || refusal.Reason == dpop.Time { // a nonce takes the place of the client's clock
			return c.anew(v, now)
		}
		return v
	}
	return c.spend(ctx, p, key, now)
}

// spend accepts a proof once (RFC 9449 section 11.1), whoever shows it and wherever.
func (c Check) spend(ctx context.Context, p dpop.Proof, key string, now time.Time) gate.Verdict {
	ctx, cancel := context.WithTimeout(ctx, onceTime)
	defer cancel()
	first, err := c.Once.First(ctx, onceKey(key, p.ID), p.Ends.Add(dpop.Drift))
	if err != nil {
		return unknown(err.Error())
	}
	if !first {
		return bad(ProofReplayed, "the proof was shown before")
	}
	if f, ok := c.Once.(forgetful); ok {
		since, made, ahead := f.Since(), p.Since, dpop.Drift
		if made.IsZero() {
			made, ahead = p.Made, dpop.Ahead
		}
		if made.Before(since.Add(ahead)) {
			return c.anew(bad(ProofForgotten, "the proof may have been shown before %s, when the memory of proofs began anew", since.UTC().Format(time.RFC3339)), now)
		}
	}
	return gate.Allow()
}

// anew tells the client to make its proof with a nonce of ours (RFC 9449 section 9).
func (c Check) anew(v gate.Verdict, now time.Time) gate.Verdict {
	if c.Nonces == nil {
		return v
	}
	return v.With(nonceField, c.Nonces.New(now))
}

// onceKey names a proof by a digest of key and jti: two clients that choose the same jti don't meet, and another signature
// or header around the same jti is the same proof.
func onceKey(key, id string) string {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(key)))
	h := sha256.New()
	h.Write(length[:])
	h.Write([]byte(key))
	h.Write([]byte(id))
	return "proof/" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// The fields of RFC 9449, as net/http spells them.
const (
	field      = "Dpop"
	nonceField = "DPoP-Nonce"
)

// Fault is the word of RFC 9449 section 7.1 for a denial: whether the token is at fault or its proof, and when a nonce helps.
// The RFC demands that a client learns this, and it learns nothing more.
func Fault(denied gate.Verdict) string {
	switch {
	case denied.Header.Get(nonceField) != "":
		return "use_dpop_nonce"
	case strings.HasPrefix(string(denied.Reason), string(prefix)):
		return "invalid_dpop_proof"
	}
	return "invalid_token"
}

// Challenge asks for a bound token and its proof; realm is a quoted-string, fault "" for a caller without a credential.
func Challenge(realm, fault string) string {
	var algorithms []string
	for _, a := range dpop.Algorithms() {
		algorithms = append(algorithms, string(a))
	}
	if fault != "" {
		fault = `, error="` + fault + `"`
	}
	return "DPoP realm=" + realm + fault + `, algs="` + strings.Join(algorithms, " ") + `"`
}

// Scheme tells that the request shows its token with the scheme DPoP.
func Scheme(fields http.Header) bool {
	values := fields["Authorization"]
	if len(values) == 0 {
		return false
	}
	scheme, _, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "DPoP")
}

func bad(reason gate.Reason, format string, args ...any) gate.Verdict {
	return gate.Deny(gate.NoIdentity, reason, format, args...)
}

func unknown(why string) gate.Verdict {
	return gate.Deny(gate.Unavailable, ProofUnknown, "whether the proof was shown before is not known: %s", why).With("Retry-After", "1")
}
