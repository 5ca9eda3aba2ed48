package bearer

import (
	"encoding/base64"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// MaxToken is the longest token that is looked at, in bytes. Its length is checked before anything else, so that a
// megabyte of dots costs nothing (row E29).
const MaxToken = 8 << 10

// compact is a JWS in compact form (RFC 7515 section 7.1) in its one spelling.
type compact struct {
	raw             string
	header, payload []byte
}

// split takes a token apart. Only the alphabet of base64url counts, without padding, line ends or bits to spare: a token
// that can be spelled in two ways would slip past every list of tokens (row E26).
func split(token string) (compact, gate.Verdict) {
	if len(token) > MaxToken {
		return compact{}, bad(TooLong, "the token has %d bytes; %d are accepted", len(token), MaxToken)
	}
	dots := 0
	for i := range len(token) {
		switch c := token[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
		default:
			return compact{}, bad(Malformed, "byte %d of the token is not base64url", i+1)
		}
	}
	if dots == 4 {
		return compact{}, bad(Encrypted, "the token has five parts: it is encrypted, and encrypted tokens are not read")
	}
	if dots != 2 {
		return compact{}, bad(Malformed, "the token has %d parts instead of 3", dots+1)
	}
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	parts := [3][]byte{}
	for i, text := range []string{header, payload, signature} {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(decoded) == 0 {
			return compact{}, bad(Malformed, "part %d of the token is empty or not strict base64url", i+1)
		}
		parts[i] = decoded
	}
	return compact{raw: token, header: parts[0], payload: parts[1]}, gate.Allow()
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
