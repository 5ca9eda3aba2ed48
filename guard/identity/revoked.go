package identity

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
)

// Revocations knows which tokens were called back before they ended. It is asked for every request, also for a token that
// was verified before, so it must neither wait nor allocate. An error says that it is not known; then nobody is let in.
type Revocations interface {
	// Revoked judges a token by who signed it, for whom, its id ("" without one) and when it was issued (zero: unknown,
	// which counts as before any time).
	Revoked(issuer, subject, id string, issued time.Time) (yes bool, err error)
}

// Watcher is what Revocations may be besides, for streams: what goes on after its head ends when its caller is called back.
type Watcher interface {
	// Watch calls ended once, from another goroutine, when the token is called back; stop ends the watch.
	Watch(issuer, subject, id string, issued time.Time, ended func()) (stop func())
}

// Watch calls ended, from another goroutine, when the caller's token is called back or the caller's session ends. Stop ends the
// watch. Without a caller or without a Watcher it does nothing.
func (t Tools) Watch(p *gate.Principal, ended func()) (stop func()) {
	if p == nil {
		return func() {}
	}
	stop = t.watchToken(p, ended)
	sessions, ok := t.Sessions.(session.Watcher)
	if id, has := session.Of(p); ok && has {
		also := sessions.Watch(id, ended)
		return func() { stop(); also() }
	}
	return stop
}

func (t Tools) watchToken(p *gate.Principal, ended func()) (stop func()) {
	w, ok := t.Revocations.(Watcher)
	if !ok {
		return func() {}
	}
	return w.Watch(p.Issuer, p.Subject, p.Token, issued(p), ended)
}

// recall refuses a caller whose token was called back, or who may have been.
func (t Tools) recall(p *gate.Principal) gate.Verdict {
	if t.Revocations == nil {
		return gate.Allow()
	}
	if v := t.short(p); !v.Allowed() {
		return v
	}
	yes, err := t.Revocations.Revoked(p.Issuer, p.Subject, p.Token, issued(p))
	switch {
	case yes:
		return gate.Deny(gate.NoIdentity, Revoked, "the token was called back")
	case err != nil:
		return gate.Deny(gate.Unavailable, RevocationsUnknown, "%v", err).With("Retry-After", "5")
	}
	return gate.Allow()
}

// short refuses a token whose whole life is longer than a revocation is remembered: called back early, it would be refused
// for being long until little of it is left, and be good again then. Its life counts from iat: nbf may lie far after the day
// on which it was issued and stolen. Of a token without iat only what is left of its life is known, and counts: here
// availability wins, since many issuers leave iat out. An API key may live longer: that it was revoked stands in its record.
func (t Tools) short(p *gate.Principal) gate.Verdict {
	if t.Longest <= 0 || p.Expires.IsZero() || p.Issuer == apikey.Issuer {
		return gate.Allow()
	}
	from := issued(p)
	if from.IsZero() {
		from = t.Now()
	}
	if life := p.Expires.Sub(from); life > t.Longest {
		return gate.Deny(gate.NoIdentity, LongLived, "the token lives for %s; one that lives longer than %s could not be called back", life, t.Longest).
			At("fleet.revocations.longest_token")
	}
	return gate.Allow()
}

// issued is the token's iat, zero when it has none. It was judged with the other claims.
func issued(p *gate.Principal) time.Time {
	number, _ := p.Claims["iat"].(json.Number)
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
