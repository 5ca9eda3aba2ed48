package bearer

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/jws"
	"github.com/go-jose/go-jose/v4"
)

// header is what a token's header may decide: which of the issuer's keys, and that the algorithm is one of those that fit
// it. Addresses and keys in the header (jku, x5u, jwk, x5c: row E6) decide nothing and are not looked at.
type header struct {
	algorithm jose.SignatureAlgorithm
	key       string
	kind      string // media type of the token in lower case, without "application/"; "" when absent
}

func readHeader(data []byte) (header, gate.Verdict) {
	members, err := jws.Object(data)
	if err != nil {
		return header{}, bad(Malformed, "the token's header: %v", err)
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, has := members[name]; has {
			return header{}, bad(Header, "the token's header has %s, which asks for what is not done", name)
		}
	}
	if content, has := members["cty"]; has {
		if text, ok := content.(string); !ok || strings.EqualFold(plain(text), "jwt") {
			return header{}, bad(Header, "the token wraps another token")
		}
	}
	algorithm, ok := members["alg"].(string)
	if !ok {
		return header{}, bad(Malformed, "the token's header names no algorithm")
	}
	key, ok := text(members, "kid")
	if !ok {
		return header{}, bad(Malformed, "the token's kid is not a string")
	}
	kind, ok := text(members, "typ")
	if !ok {
		return header{}, bad(Malformed, "the token's typ is not a string")
	}
	return header{algorithm: jose.SignatureAlgorithm(algorithm), key: key, kind: plain(kind)}, gate.Allow()
}

// text gives a member that must be a string where it is present.
func text(members map[string]any, name string) (string, bool) {
	value, has := members[name]
	if !has {
		return "", true
	}
	s, ok := value.(string)
	return s, ok
}

// plain is a media type in lower case, without the prefix that RFC 7515 section 4.1.9 lets an issuer leave out.
func plain(kind string) string {
	kind = strings.ToLower(kind)
	if rest, ok := strings.CutPrefix(kind, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return kind
}
