// Package secret holds values that must never be printed, and follows them where they lie. A document never contains a
// secret, only a reference to one: "file:/run/secrets/key", "vault:secret/shop#password". A Keeper resolves references when
// a document is loaded and follows them afterwards, so that a rotated password needs no restart and a withdrawn one closes
// what was built on it (row I6). A Value prints as [secret] in every format that Go knows; only Reveal gives its bytes, and
// nobody keeps a copy of them.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// mask stands wherever a secret would have been printed.
const mask = "[secret]"

// Value is a secret held in memory. The zero Value is no secret: Reveal panics on it. The bytes lie behind a function, of
// which fmt prints the address at most: it asks no method of a Value in an unexported field, and follows pointers.
type Value struct{ bytes func() []byte }

// New makes a value of data, read from the named source. Empty data is refused.
func New(data []byte, source string) (Value, error) {
	if len(data) == 0 {
		return Value{}, fmt.Errorf("secret %s is empty", source)
	}
	return Value{bytes: func() []byte { return data }}, nil
}

// Reveal gives the bytes for immediate use; the caller neither keeps nor changes them.
func (v Value) Reveal() []byte {
	if v.IsZero() {
		panic("secret: reveal of a value that was never resolved")
	}
	return v.bytes()
}

// IsZero tells that there is no secret.
func (v Value) IsZero() bool { return v.bytes == nil }

// Equal compares two values in constant time; two that are no secret are not equal.
func (v Value) Equal(w Value) bool {
	return !v.IsZero() && !w.IsZero() && subtle.ConstantTimeCompare(v.bytes(), w.bytes()) == 1
}

// String, GoString, Format, MarshalText, MarshalJSON and LogValue all say [secret].
func (Value) String() string               { return mask }
func (Value) GoString() string             { return mask }
func (Value) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(mask)) }
func (Value) MarshalText() ([]byte, error) { return []byte(mask), nil }
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
func (Value) LogValue() slog.Value         { return slog.StringValue(mask) }
