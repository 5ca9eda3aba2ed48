// Package apikey reads API keys: 256 random bits in a field of their own, for callers that can't get tokens. It promises
// that a key is believed only whole and to the letter, only at the APIs that it was made for, and only until its end or until
// it is revoked; that a wrong secret and a key that never was take the same way and are answered alike; and that a key in
// an address is refused, since addresses are written down everywhere. Only a digest of a key is kept. A key works for
// whoever holds it, so it is off unless a document asks for it. What it stops stands in the adversary rows E23 to E25, E32
// and E35.
package apikey

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Issuer vouches for the owners of API keys: with the owner's name it names the caller. No token can have it as its iss, since
// issuers of tokens are addresses.
const Issuer = "gatehouse:apikey"

// Why an API key is refused. The client learns "no_identity" or "unavailable" and nothing else; these stand in the event.
const (
	Malformed gate.Reason = "identity.api_key_malformed" // cut, mistyped, or several
	InURL     gate.Reason = "identity.api_key_in_url"    // in path or query, where it is written down
	Unknown   gate.Reason = "identity.api_key_unknown"   // no such key, or not with this secret
	Unsure    gate.Reason = "identity.api_keys_unsure"   // no such key here, and the store was not heard of: 503
	Revoked   gate.Reason = "identity.api_key_revoked"   // revoked, or replaced without overlap
	Ended     gate.Reason = "identity.api_key_ended"     // over
	Elsewhere gate.Reason = "identity.api_key_elsewhere" // for other APIs
)

// Reasons lists all of them.
func Reasons() []gate.Reason {
	return []gate.Reason{Malformed, InURL, Unknown, Unsure, Revoked, Ended, Elsewhere}
}

// Key is what is known of an API key. The key itself is known to its owner alone.
type Key struct {
	ID       string    `json:"id"`
	Owner    string    `json:"owner"`
	Scopes   []string  `json:"scopes"`
	Roles    []string  `json:"roles,omitempty"`
	APIs     []string  `json:"apis"` // that it opens
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	By       string    `json:"by"`                 // who made it
	Why      string    `json:"why,omitempty"`      // what it is for
	Replaces string    `json:"replaces,omitempty"` // id of the key in whose place it was made
	Next     string    `json:"next,omitempty"`     // id of the key that was made in its place
	Revoked  *Revoking `json:"revoked,omitempty"`  //
}

// Revoking is why a key was revoked before its end.
type Revoking struct {
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

// Entry is a key as it is looked up: what is judged, and the caller that it stands for, made once.
type Entry struct {
	Key
	digest Digest
	caller gate.Principal
	used   atomic.Int64 // last use in seconds
}

// NewEntry makes the entry of a key.
func NewEntry(k Key, digest Digest) *Entry {
	return &Entry{Key: k, digest: digest, caller: gate.Principal{
		Issuer: Issuer, Subject: k.Owner, Roles: k.Roles, Scopes: k.Scopes, Token: k.ID, Expires: k.Expires,
		Claims: map[string]any{"iss": Issuer, "sub": k.Owner, "jti": k.ID, "iat": json.Number(strconv.FormatInt(k.Created.Unix(), 10)),
			"exp": json.Number(strconv.FormatInt(k.Expires.Unix(), 10))},
	}}
}

// Digest is the key's.
func (e *Entry) Digest() Digest { return e.digest }

// Used is when the key last opened something on this node, zero for never.
func (e *Entry) Used() time.Time {
	if at := e.used.Load(); at > 0 {
		return time.Unix(at, 0)
	}
	return time.Time{}
}

// Note notes a use.
func (e *Entry) Note(at time.Time) { e.used.Store(at.Unix()) }

// Keys knows the keys of this installation. It is asked for every request that shows one, so it must not wait.
type Keys interface {
	// Find gives the key of a digest, nil when there is none. It is not asked by the id, so that a known one with another secret
	// is as unknown as any.
	Find(d Digest) *Entry
	// Heard tells that the store was heard of lately: a key that isn't known here is none.
	Heard() bool
}

// Reader reads the API keys of one API.
type Reader struct {
	api   string
	field string
	keys  Keys
	now   func() time.Time
}

// New makes the reader of keys in a field, given by its canonical name. Without keys, as in a command that serves nothing,
// every key is refused.
func New(api, field string, keys Keys, now func() time.Time) *Reader {
	return &Reader{api: api, field: field, keys: keys, now: now}
}

// Read looks for a key and judges it.
func (r *Reader) Read(_ context.Context, x *gate.Exchange) (*gate.Principal, bool, gate.Verdict) {
	if d, found := inURL(x); found {
		v := bad(InURL, "an API key in the address: send it in the field %s", r.field)
		if e := r.find(d); e != nil { // anybody can make up one of a known id
			v.Detail += "; this one has been written down on the way, so replace it: gatehouse apikey rotate " + e.ID + " --overlap 0s"
		}
		return nil, true, v
	}
	values := x.Request.Fields[r.field]
	switch len(values) {
	case 0:
		return nil, false, gate.Allow()
	case 1:
	default:
		return nil, true, bad(Malformed, "%d fields %s", len(values), r.field)
	}
	id, err := Parse(values[0])
	if err != nil {
		return nil, true, bad(Malformed, "%v", err)
	}
	e, v := r.judge(id, DigestOf(values[0]))
	if !v.Allowed() {
		return nil, true, v
	}
	return &e.caller, true, v
}

// find gives the entry of a key, by the digest of the whole of it (row E25); nil when there is none.
func (r *Reader) find(d Digest) *Entry {
	if r.keys == nil {
		return nil
	}
	return r.keys.Find(d)
}

// judge takes the same way for an id that isn't there and for another secret (row E35), and says nothing of a key before its
// secret was right.
func (r *Reader) judge(id string, d Digest) (*Entry, gate.Verdict) {
	heard := r.keys != nil && r.keys.Heard()
	e, now := r.find(d), r.now()
	switch {
	case e == nil && !heard:
		return nil, gate.Deny(gate.Unavailable, Unsure, "no API key %s holds here, and the store was not heard of lately: it may have been made elsewhere", id).With("Retry-After", "5")
	case e == nil:
		return nil, bad(Unknown, "no API key %s, or not with this secret", id)
	case e.Revoked != nil:
		return nil, bad(Revoked, "API key %s of %s was revoked by %s", id, e.Owner, e.Revoked.By)
	case !now.Before(e.Expires):
		return nil, bad(Ended, "API key %s of %s has ended on %s", id, e.Owner, e.Expires.UTC().Format(time.RFC3339))
	case !slices.Contains(e.APIs, r.api):
		return nil, bad(Elsewhere, "API key %s of %s is for other APIs", id, e.Owner)
	}
	e.Note(now)
	return e, gate.Allow()
}

// inURL finds a key in path or query.
func inURL(x *gate.Exchange) (d Digest, found bool) {
	if _, d, found = In(x.Request.Path); found {
		return d, true
	}
	for _, p := range x.Request.Query {
		for _, text := range []string{p.Name, p.Value} {
			if _, d, found = In(text); found {
				return d, true
			}
		}
	}
	return Digest{}, false
}

func bad(reason gate.Reason, format string, args ...any) gate.Verdict {
	return gate.Deny(gate.NoIdentity, reason, format, args...)
}
