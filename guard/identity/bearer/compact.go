package bearer

import (
	"errors"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
)

// MaxToken is the longest token that is looked at, in bytes (row E29).
const MaxToken = jws.Max

// split takes a token apart, which has one spelling only (row E26).
func split(token string) (jws.Compact, gate.Verdict) {
	parts, err := jws.Split(token)
	switch {
	case errors.Is(err, jws.ErrTooLong):
		return parts, bad(TooLong, "the token: %v", err)
	case errors.Is(err, jws.ErrEncrypted):
		return parts, bad(Encrypted, "the token: %v", err)
	case err != nil:
		return parts, bad(Malformed, "the token: %v", err)
	}
	return parts, gate.Allow()
}

// bad refuses a credential.
func bad(reason gate.Reason, format string, args ...any) gate.Verdict {
	return gate.Deny(gate.NoIdentity, reason, format, args...)
}

// cut shortens what a client wrote before it enters a detail.
func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
