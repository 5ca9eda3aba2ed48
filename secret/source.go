package secret

import (
	"context"
	"errors"
	"time"
)

// What sources answer beside faults that may pass; compare with errors.Is.
var (
	// ErrGone: the source was asked and answered that there is no such secret, or no longer.
	ErrGone = errors.New("there is no such secret")
	// ErrLost: a lease can't be prolonged; its end stands, and a new one must be taken.
	ErrLost = errors.New("the lease can't be prolonged")
)

// Source is a place where secrets lie: the machine's files, OpenBao, the gateway's own store. It is asked by a Keeper, one
// question for each place at a time but many places at once. Errors say what to do and never contain a value.
type Source interface {
	// Fetch reads what lies at a place. An answer with the version that is known already may leave out its fields. ErrGone
	// says that nothing lies there; any other error may pass.
	Fetch(ctx context.Context, place, known string) (Answer, error)
}

// Answer is what lies at one place.
type Answer struct {
	Fields  map[string]Value // by field; a place that holds one value has it under ""
	Version string           // as the source counts, for people; "" where it doesn't
	Lease   *Lease           // nil when the answer has no end of its own
}

// Lease is how long an answer may be used.
type Lease struct {
	ID        string        // for the source; never shown
	TTL       time.Duration // from the moment of the question
	Full      time.Duration // what the lease itself would last, where something else ends it earlier; 0: TTL
	Renewable bool
}

func (l Lease) full() time.Duration {
	if l.Full > 0 {
		return l.Full
	}
	return l.TTL
}

// Leaser may be implemented by a Source whose answers have leases.
type Leaser interface {
	// Renew prolongs a lease and gives what is left of it, or ErrLost.
	Renew(ctx context.Context, lease Lease) (Lease, error)
	// Revoke ends a lease that nobody needs any more.
	Revoke(ctx context.Context, lease Lease) error
}

// Paced may be implemented by a Source that is near and cheap to ask: how often it is looked at, instead of the Keeper's
// own interval. 0 says that it never changes.
type Paced interface{ Pace() time.Duration }

// Restricted may be implemented by a Source that knows who may use a secret. Reader is the part of the document in which
// the reference stands, such as "listen" or "apis.shop".
type Restricted interface {
	MayRead(ctx context.Context, place, reader string) error
}

// Recorder may be implemented by a Source that remembers when its secrets were used last. It is told in the background,
// about once a minute.
type Recorder interface {
	RecordUse(ctx context.Context, used map[string]time.Time) error
}

// Ender may be implemented by a Source that has something to give back at the very end, such as its own login. All tells
// that every lease ended with it.
type Ender interface {
	End(ctx context.Context) (all bool, err error)
}
