package key

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Root is what keeps the key to everything, outside of what we store. It wraps 32 bytes, seldom.
type Root interface {
	// Wrap encrypts plain so that only this root opens it, and only with the same aad.
	Wrap(ctx context.Context, plain, aad []byte) (Envelope, error)
	// Unwrap opens what Wrap made. ErrLost: the key is not there; ErrWrong: it is another; ErrUnavailable: ask again later.
	Unwrap(ctx context.Context, e Envelope, aad []byte) ([]byte, error)
	// Describe says what it is, for people.
	Describe() Description
}

// Description of a root holds no secret.
type Description struct {
	Kind  string `json:"kind"`  // the word of the document: "file", "tpm", ...
	Where string `json:"where"` // where the key is looked for, in words
	File  string `json:"-"`     // the file that the key or passphrase is read from, when it is one: a Finding looks where it lies
}

// Minter is a Root that makes its key itself when it wraps, and may have something to hand out once: words or shares.
type Minter interface {
	Root
	// Handout gives what the last Wrap made and people must keep. It is given once.
	Handout() Handout
	// Settle is called when the keyring that the last Wrap was made for is saved for good (true), or is not (false).
	Settle(saved bool) error
}

// Handout is what people must write down or carry away. It is never shown again.
type Handout struct {
	Words     secret.Value   // 24 words that open the keyring when the root is lost; none for some roots
	Shares    []secret.Value // shares of the root key, one for each person
	Threshold int            // how many of the shares are needed
}

// Envelope is the ring key as a root wrapped it, with what the root needs to open it again.
type Envelope struct {
	Kind       string            `json:"kind"` // how it is wrapped: "key", "passphrase", "tpm", "transit", "shares"
	Parameters map[string]string `json:"parameters,omitempty"`
	Check      []byte            `json:"check,omitempty"` // recognises the key that wrapped it
	Data       []byte            `json:"data"`
}

// aad binds the envelope's own fields beside what the caller binds.
func (e Envelope) aad(aad []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "gatehouse envelope\x00%q", e.Kind)
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		fmt.Fprintf(&b, "\x00%q=%q", name, e.Parameters[name])
	}
	return fmt.Appendf(nil, "%s\x00%d\x00%s", b.String(), len(aad), aad)
}

// wrapWith fills an envelope by a key that the root holds.
func wrapWith(random io.Reader, kek material, e Envelope, plain, aad []byte) (Envelope, error) {
	data, err := kek.seal(random, "root", nil, plain, e.aad(aad))
	if err != nil {
		return Envelope{}, err
	}
	e.Check, e.Data = kek.check(), data
	return e, nil
}

// unwrapWith opens an envelope by a key that the root holds.
func unwrapWith(kek material, e Envelope, aad []byte) ([]byte, error) {
	plain, err := kek.open("root", e.Data, e.aad(aad))
	if err != nil {
		return nil, ErrWrong
	}
	return plain, nil
}

// expect refuses an envelope of another kind of root than the document names.
func expect(e Envelope, kind string) error {
	if e.Kind == kind {
		return nil
	}
	return fmt.Errorf("%w: it is wrapped by a root of kind %q, and the document names one of kind %q; name the old one again, then change it with: gatehouse key rekey", ErrWrong, e.Kind, kind)
}
