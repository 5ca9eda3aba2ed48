package bearer

import "github.com/gatehouse-sec/gatehouse/gate"

// Why a bearer token is refused. The client learns "no_identity" or "unavailable" and nothing else; these stand in the event.
const (
	Malformed       gate.Reason = "identity.malformed"        // not one field "Bearer" or "DPoP" with one strict compact JWS
	TooLong         gate.Reason = "identity.too_long"         // more than 8 KiB
	Encrypted       gate.Reason = "identity.encrypted"        // a JWE, where only a JWS is read
	Header          gate.Reason = "identity.header"           // a header that asks for what is not done: crit, b64, zip, nested
	Algorithm       gate.Reason = "identity.algorithm"        // not on the issuer's list, or none
	UnknownIssuer   gate.Reason = "identity.issuer"           // no configured issuer has this name
	KeyUnknown      gate.Reason = "identity.key_unknown"      // the issuer has no such key for this algorithm
	KeysUnavailable gate.Reason = "identity.keys_unavailable" // the issuer's keys could not be fetched: 503
	Signature       gate.Reason = "identity.signature"        // not signed by the key
	Type            gate.Reason = "identity.type"             // signed for another purpose: an ID token, a logout token
	WrongAudience   gate.Reason = "identity.audience"         // meant for another API
	Expired         gate.Reason = "identity.expired"          // over
	NotYet          gate.Reason = "identity.not_yet"          // begins later
	Claims          gate.Reason = "identity.claims"           // signed, but a claim is missing or of the wrong form
	Inactive        gate.Reason = "identity.inactive"         // its issuer says that it isn't good, or not known
	IssuerSilent    gate.Reason = "identity.issuer_silent"    // its issuer could not be asked: 503
)

// Reasons lists all of them.
func Reasons() []gate.Reason {
	return []gate.Reason{Malformed, TooLong, Encrypted, Header, Algorithm, UnknownIssuer, KeyUnknown, KeysUnavailable,
		Signature, Type, WrongAudience, Expired, NotYet, Claims, Inactive, IssuerSilent}
}
