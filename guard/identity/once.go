package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Once remembers which tokens were shown, on all nodes together.
type Once interface {
	// First tells that nobody has shown key before, and remembers it until a time. An error says that it is not known,
	// now or for this key; the token is then refused and may count as shown.
	First(ctx context.Context, key string, until time.Time) (bool, error)
}

// Forgetful is what Once may be besides: a memory that begins anew when its process or server does.
type Forgetful interface {
	// Since tells from when on everything is remembered. It is asked after First, and may move. A token that was issued
	// before, by a clock that may be ahead of ours, may have been shown to the memory that is lost.
	Since() time.Time
}

// onceTime is how long a request waits to learn whether its token is new.
const onceTime = 100 * time.Millisecond

// spend accepts a token once (RFC 7519 section 4.1.7): the second time it is a replay, whoever shows it. One memory serves
// all APIs that ask, so that a token spent at one of them is spent at the others too.
func (g *Guard) spend(ctx context.Context, p *gate.Principal) gate.Verdict {
	if p.Token == "" || p.Expires.IsZero() {
		return gate.Deny(gate.NoIdentity, NoID, "the token has no id (jti) or no end, and here each is accepted once").At("single_use")
	}
	ctx, cancel := context.WithTimeout(ctx, onceTime)
	defer cancel()
	first, err := g.tools.Once.First(ctx, onceKey(p), p.Expires.Add(g.skew))
	if err != nil {
		return gate.Deny(gate.Unavailable, ReplayUnknown, "whether the token was shown before is not known: %v", err).With("Retry-After", "1")
	}
	if !first {
		return gate.Deny(gate.NoIdentity, Replayed, "the token was shown before, and here each is accepted once").At("single_use")
	}
	if f, ok := g.tools.Once.(Forgetful); ok {
		if since := f.Since(); issued(p).Before(since.Add(g.skew)) {
			return gate.Deny(gate.NoIdentity, ReplayForgotten, "the token may have been shown before %s, when the memory of tokens began anew",
				since.UTC().Format(time.RFC3339)).At("single_use")
		}
	}
	return gate.Allow()
}

// onceKey names a token by a digest, so that no id of a token stands anywhere else.
func onceKey(p *gate.Principal) string {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(p.Issuer)))
	h := sha256.New()
	h.Write(length[:])
	h.Write([]byte(p.Issuer))
	h.Write([]byte(p.Token))
	return "token/" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
