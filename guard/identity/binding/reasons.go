package binding

import "github.com/gatehouse-sec/gatehouse/gate"

// prefix begins every reason that is the proof's fault and not the token's. Behind it stand the words of kit/dpop, and more.
const prefix gate.Reason = "identity.proof_"

// Why a bound token, its proof, or a token that is not bound is refused. The client learns which of the two is at fault, as
// RFC 9449 section 7.1 demands; these stand in the event.
const (
	Bound   gate.Reason = "identity.bound"   // bound to something that the request doesn't prove, or in a way that nobody here can check
	Unbound gate.Reason = "identity.unbound" // bound to nothing, where it must be

	CertificateMissing gate.Reason = "identity.certificate_missing" // bound to a client certificate, and none was shown
	CertificateOther   gate.Reason = "identity.certificate_other"   // bound to another than the one that was shown, or that one has ended

	ProofMissing   gate.Reason = "identity.proof_missing"   // bound to a key, and no field DPoP
	ProofReplayed  gate.Reason = "identity.proof_replayed"  // shown before
	ProofForgotten gate.Reason = "identity.proof_forgotten" // made before the memory of proofs began
	ProofUnknown   gate.Reason = "identity.proof_unknown"   // the memory of proofs can't be asked: 503

	ProofMalformed gate.Reason = "identity.proof_malformed" // not one strict message with the claims of a proof
	ProofType      gate.Reason = "identity.proof_type"      // signed for another purpose
	ProofAlgorithm gate.Reason = "identity.proof_algorithm" // none, symmetric, or unfit for the key
	ProofKey       gate.Reason = "identity.proof_key"       // carries no key, a private or a weak one
	ProofSignature gate.Reason = "identity.proof_signature" // not signed by the key it carries
	ProofMethod    gate.Reason = "identity.proof_method"    // made for another method
	ProofURL       gate.Reason = "identity.proof_url"       // made for another URL
	ProofNonce     gate.Reason = "identity.proof_nonce"     // without a nonce of ours, where one is demanded, or with one that is over
	ProofTime      gate.Reason = "identity.proof_time"      // too old, or made in the future
	ProofToken     gate.Reason = "identity.proof_token"     // made for another access token
	ProofHolder    gate.Reason = "identity.proof_holder"    // signed by another key than the token is bound to
)

// Reasons lists all of them.
func Reasons() []gate.Reason {
	return []gate.Reason{Bound, Unbound, CertificateMissing, CertificateOther, ProofMissing, ProofReplayed, ProofForgotten, ProofUnknown, ProofMalformed,
		ProofType, ProofAlgorithm, ProofKey, ProofSignature, ProofMethod, ProofURL, ProofNonce, ProofTime, ProofToken, ProofHolder}
}
