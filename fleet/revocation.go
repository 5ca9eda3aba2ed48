package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Kind is what a revocation names.
type Kind string

// The kinds.
const (
	ByToken   Kind = "token"   // one token, by the issuer that signed it and its jti
	BySubject Kind = "subject" // every token of one caller that was issued before a time
	ByTime    Kind = "before"  // every token of one issuer, or of all, that was issued before a time
)

// Revocation calls tokens back before they end by themselves.
type Revocation struct {
	Kind    Kind      `json:"kind"`
	Issuer  string    `json:"issuer,omitempty"`  // to the letter, as in the tokens; "" with ByTime: every issuer
	Subject string    `json:"subject,omitempty"` // with BySubject
	Token   string    `json:"token,omitempty"`   // jti, with ByToken
	Before  time.Time `json:"before,omitzero"`   // with BySubject and ByTime: tokens issued before; zero: before now
	Until   time.Time `json:"until,omitzero"`    // when it may be forgotten, since what it names has ended, such as exp of the one token; zero: by the longest life of a token
	Made    time.Time `json:"made,omitzero"`     // filled in
	By      string    `json:"by,omitempty"`      // who called back
	Why     string    `json:"why,omitempty"`     // in words
}

// What is wrong with a revocation, or with asking for it.
var (
	ErrRevocation = errors.New("fleet: this is no revocation")
	// ErrNotKept: the nodes that could be reached refuse the tokens from now on, but the store has not got it. While this
	// process runs it tries again.
	ErrNotKept = errors.New("fleet: the revocation is in force, but not kept")
	// ErrFull: as many revocations are held as may be.
	ErrFull = errors.New("fleet: too many revocations; call back by subject or by time, which is one for many tokens, or raise fleet.revocations.most")
)

const (
	revocationPrefix = "revocation/"
	maxWord          = 1024            // bytes of an issuer, a subject, a token's id
	ahead            = 5 * time.Minute // how far in the future a time may lie, for issuers whose clocks do
	// allowance is how long after its life a token may still be accepted: its iat may be ahead of our clock and our clock behind
	// its exp, each by identity's largest clock_skew.
	allowance = 2 * 60 * time.Second
	// longestKept bounds what a caller says of the end of one token.
	longestKept = 10 * 365 * 24 * time.Hour
)

// complete checks a revocation and fills in what follows from the rest.
func (v Revocation) complete(now time.Time, longest time.Duration) (Revocation, error) {
	wrong := func(format string, args ...any) (Revocation, error) {
		return Revocation{}, fmt.Errorf("%w: "+format, append([]any{ErrRevocation}, args...)...)
	}
	for _, w := range []struct{ name, word string }{{"issuer", v.Issuer}, {"subject", v.Subject}, {"token id", v.Token}, {"name of who asks", v.By}, {"reason", v.Why}} {
		if len(w.word) > maxWord || strings.IndexFunc(w.word, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			return wrong("the %s has more than %d bytes or is not printable", w.name, maxWord)
		}
	}
	switch v.Kind {
	case ByToken:
		if v.Issuer == "" || v.Token == "" || v.Subject != "" || !v.Before.IsZero() {
			return wrong("one token is named by its issuer and its id, and by nothing else")
		}
	case BySubject:
		if v.Issuer == "" || v.Subject == "" || v.Token != "" {
			return wrong("a caller is named by issuer and subject, and by nothing else")
		}
	case ByTime:
		if v.Subject != "" || v.Token != "" {
			return wrong("by time, nothing but an issuer can be named")
		}
	default:
		return wrong("%q is not one of token, subject, before", v.Kind)
	}
	v.Made = now.UTC().Truncate(time.Millisecond)
	last := now
	if v.Kind != ByToken {
		if v.Before.IsZero() {
			v.Before = now
		}
		if v.Before.Sub(now) > ahead {
			return wrong("%s lies more than %s in the future", v.Before.UTC().Format(time.RFC3339), ahead)
		}
		v.Before = v.Before.UTC()
		last = v.Before
	}
	end := last.Add(longest + allowance).UTC()
	switch {
	case v.Until.IsZero(), v.Kind != ByToken && v.Until.After(end):
		v.Until = end
	case v.Until.Sub(now) > longestKept:
		return wrong("%s lies more than %d years in the future", v.Until.UTC().Format(time.RFC3339), longestKept/(365*24*time.Hour))
	}
	if !v.Until.After(now) {
		return wrong("what it names has ended by %s", v.Until.UTC().Format(time.RFC3339))
	}
	return v, nil
}

// merge joins two revocations under one key so that neither loses what it calls back.
func (v Revocation) merge(other Revocation) Revocation {
	if other.Before.After(v.Before) {
		v.Before = other.Before
	}
	if other.Until.After(v.Until) {
		v.Until = other.Until
	}
	return v
}

// key is where a revocation is kept. Keys are not encrypted, so a digest stands there, under a secret where there is one:
// who reads the keys learns how many were called back, not who.
func (v Revocation) key(secret []byte) string {
	h := hmac.New(sha256.New, secret)
	var length [8]byte
	for _, part := range []string{string(v.Kind), v.Issuer, v.Subject, v.Token} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return revocationPrefix + string(v.Kind) + "/" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// record writes a revocation in the form in which it is kept.
func (v Revocation) record(secret []byte) (store.Record, error) {
	value, err := json.Marshal(v)
	return store.Record{Key: v.key(secret), Value: value, Expires: v.Until}, err
}

// readRevocation reads what record wrote. One that this program does not understand is an error and never nothing.
func readRevocation(value []byte) (Revocation, error) {
	var v Revocation
	if err := json.Unmarshal(value, &v); err != nil {
		return Revocation{}, errors.New("fleet: a revocation is kept in a form that this program cannot read")
	}
	switch {
	case v.Kind == ByToken && v.Issuer != "" && v.Token != "" && !v.Until.IsZero():
	case v.Kind == BySubject && v.Issuer != "" && v.Subject != "" && !v.Before.IsZero() && !v.Until.IsZero():
	case v.Kind == ByTime && !v.Before.IsZero() && !v.Until.IsZero():
	default:
		return Revocation{}, fmt.Errorf("fleet: a revocation of kind %q is kept that this program does not understand; is another version running?", v.Kind)
	}
	return v, nil
}
