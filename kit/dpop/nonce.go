package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// NonceLife is how long a nonce counts.
const NonceLife = 2 * time.Minute

// Drift is how far the clocks of nodes that share a key may differ.
const Drift = 2 * time.Second

// Nonces makes nonces and knows its own again without remembering any (RFC 9449 section 9): a nonce is the moment at which
// it was made, with a code that only who has the key can make. Nodes with the same key know each other's. The nil Nonces
// makes none and knows none.
type Nonces struct{ key []byte }

// NewNonces needs a key of 32 bytes that nobody else has.
func NewNonces(key []byte) *Nonces { return &Nonces{key} }

const momentSize, codeSize = 8, 16

// New makes one.
func (n *Nonces) New(now time.Time) string {
	if n == nil {
		return ""
	}
	moment := binary.BigEndian.AppendUint64(make([]byte, 0, momentSize+codeSize), uint64(now.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(moment, n.code(moment)...))
}

// Made tells when a nonce was made, if it is one of ours and not over.
func (n *Nonces) Made(nonce string, now time.Time) (time.Time, bool) {
	if n == nil || len(nonce) != base64.RawURLEncoding.EncodedLen(momentSize+codeSize) {
		return time.Time{}, false
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || !hmac.Equal(data[momentSize:], n.code(data[:momentSize])) {
		return time.Time{}, false
	}
	made := time.UnixMicro(int64(binary.BigEndian.Uint64(data)))
	return made, !made.After(now.Add(Drift)) && now.Before(made.Add(NonceLife))
}

func (n *Nonces) code(moment []byte) []byte {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte("gatehouse dpop nonce\x00"))
	mac.Write(moment)
	return mac.Sum(nil)[:codeSize]
}
