// Package secret holds values that must never be printed. A document never contains a secret, only a reference to where
// it lies: "file:/run/secrets/key" or "env:SHOP_KEY". A Value prints as [secret] in every format that Go knows; only
// Reveal gives its bytes, and nobody keeps a copy of them.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// mask stands wherever a secret would have been printed.
const mask = "[secret]"

// Ref says where a secret lies. The zero Ref refers to nothing and never resolves.
type Ref struct {
	scheme string // "file" or "env"
	name   string // path or variable
}

// UnmarshalText reads "file:PATH" or "env:NAME". Anything else is refused without being repeated, since it may be the
// secret itself.
func (r *Ref) UnmarshalText(text []byte) error {
	scheme, name, ok := strings.Cut(string(text), ":")
	if !ok || name == "" || scheme != "file" && scheme != "env" {
		return errors.New("a secret is written as a reference; put the value in a file and write file:/path/to/it, or in a variable and write env:NAME")
	}
	*r = Ref{scheme: scheme, name: name}
	return nil
}

// MarshalText writes the reference, which is no secret.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes the reference, such as "file:/run/secrets/key".
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.scheme + ":" + r.name
}

// Pattern and Example describe the written form for the document's schema.
func (Ref) Pattern() string { return "^(file|env):.+" }

// Example is a reference as it is written.
func (Ref) Example() string { return "file:/run/secrets/NAME" }

// IsZero tells that nothing is referred to.
func (r Ref) IsZero() bool { return r == Ref{} }

// Path is the file that holds the secret, or "" when it lies elsewhere; a file is watched for changes.
func (r Ref) Path() string {
	if r.scheme == "file" {
		return r.name
	}
	return ""
}

// Resolve reads the secret from where it lies. A missing, unreadable or empty one is an error (row I6): an empty key or
// password is never a value. One line end at the end of a file is not part of the secret.
func (r Ref) Resolve() (Value, error) {
	switch r.scheme {
	case "file":
		data, err := os.ReadFile(r.name)
		if err != nil {
			return Value{}, fmt.Errorf("read secret %s: %w", r, err)
		}
		return New(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")), r.String())
	case "env":
		return New([]byte(os.Getenv(r.name)), r.String())
	}
	return Value{}, errors.New("no reference to a secret is given")
}

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

// String, GoString, Format, MarshalText, MarshalJSON and LogValue all say [secret].
func (Value) String() string               { return mask }
func (Value) GoString() string             { return mask }
func (Value) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(mask)) }
func (Value) MarshalText() ([]byte, error) { return []byte(mask), nil }
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
func (Value) LogValue() slog.Value         { return slog.StringValue(mask) }
