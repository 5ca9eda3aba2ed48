package pipeline

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// trace is a W3C trace context. The client's own is continued only when the peer is trusted: anybody else could tie
// requests together that do not belong together.
type trace struct {
	id      string // 32 hex digits
	parent  string // 16 hex digits of our own span
	sampled string // "00" or "01"
}

var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])$`)

func (t *trip) trace() trace {
	if t.traced.id != "" {
		return t.traced
	}
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	t.traced = trace{id: hex.EncodeToString(b[:16]), parent: hex.EncodeToString(b[16:]), sampled: "01"}
	if t.x.Source.Trusted {
		if m := traceparent.FindStringSubmatch(t.r.Header.Get("Traceparent")); m != nil {
			t.traced.id, t.traced.sampled = m[1], m[3]
		}
	}
	return t.traced
}

// next is the traceparent for the server behind.
func (t trace) next() string { return "00-" + t.id + "-" + t.parent + "-" + t.sampled }
