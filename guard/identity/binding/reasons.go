package binding

import (
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/dpop"
)

// prefix begins every reason that is the proof's fault and not the token's.
const prefix gate.Reason = "identity.proof_"

// Why a bound token, its proof, or a token that is not bound is refused. The client learns which of the two is at fault, as
// RFC 9449 section 7.1 demands; these stand in the event.
const (
	Bound   gate.Reason = "identity.bound"   // bound to something that the request doesn't prove, or in a way that nobody here can check
	Unbound gate.Reason = "identity.unbound" // bound to nothing, where it must be

	CertificateMissing gate.Reason = "identity.certificate_missing" // bound to a client certificate, and none was shown
	CertificateOther   gate.Reason = "identity.certificate_other"   // bound to another than the one that was shown, or that one has ended

	ProofMissing   = prefix + "missing"   // bound to a key, and no field DPoP
	ProofReplayed  = prefix + "replayed"  // shown before
	ProofForgotten = prefix + "forgotten" // made before the memory of proofs began
	ProofUnknown   = prefix + "unknown"   // the memory of proofs can't be asked: 503

	ProofMalformed = prefix + gate.Reason(dpop.Malformed) // not one strict message with the claims of a proof
	ProofType      = prefix + gate.Reason(dpop.Type)      // signed for another purpose
	ProofAlgorithm = prefix + gate.Reason(dpop.Algorithm) // none, symmetric, or unfit for the key
	ProofKey       = prefix + gate.Reason(dpop.Key)       // carries no key, a private or a weak one
	ProofSignature = prefix + gate.Reason(dpop.Signature) // not signed by the key it carries
	ProofMethod    = prefix + gate.Reason(dpop.Method)    // made for another method
	ProofURL       = prefix + gate.Reason(dpop.URL)       // made for another URL
	ProofNonce     = prefix + gate.Reason(dpop.Nonce)     // without a nonce of ours, where one is demanded, or with one that is over
	ProofTime      = prefix + gate.Reason(dpop.Time)      // too old, or made in the future
	ProofToken     = prefix + gate.Reason(dpop.Token)     // made for another access token
	ProofHolder    = prefix + gate.Reason(dpop.Holder)    // signed by another key than the token is bound to
)

// Reasons lists all of them.
func Reasons() []gate.Reason {
	return []gate.Reason{Bound, Unbound, CertificateMissing, CertificateOther, ProofMissing, ProofReplayed, ProofForgotten, ProofUnknown, ProofMalformed,
		ProofType, ProofAlgorithm, ProofKey, ProofSignature, ProofMethod, ProofURL, ProofNonce, ProofTime, ProofToken, ProofHolder}
}
