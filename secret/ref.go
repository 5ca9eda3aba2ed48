package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Ref says where a secret lies. The zero Ref refers to nothing and never resolves. Refs can be compared.
type Ref struct {
	scheme string // one of the forms below
	name   string // what stands behind the colon
}

// The schemes of references: which source is asked.
const (
	File       = "file"       // file:/run/secrets/key
	Env        = "env"        // env:SHOP_KEY
	Credential = "credential" // credential:tls.key, a credential that systemd hands to the service
	Kept       = "store"      // store:shop/password or store:shop/password@3, in the gateway's own store
	Vault      = "vault"      // vault:secret/shop#password or vault:database/creds/shop#password, in OpenBao or Vault
	Kubernetes = "kubernetes" // kubernetes:shop/database#password, a Secret by namespace, name and key
)

// form is how the references of one scheme are written. Patterns are read by RE2 and ECMA 262 alike.
type form struct {
	scheme, pattern, example string
	longest                  int // of what stands behind the colon, in bytes
}

const (
	part     = `[A-Za-z0-9_][A-Za-z0-9._~+-]*` // of a path in OpenBao; never "." or ".."
	keptPart = `[a-z0-9]([a-z0-9._-]*[a-z0-9])?`
	label    = `[a-z0-9]([a-z0-9.-]*[a-z0-9])?`
	field    = `#[A-Za-z0-9_.-]+`
)

// forms is every scheme, in the order in which mistakes tell of them.
var forms = []form{
	{File, `[^\x00-\x1f\x7f]+`, "/path/to/it", 4096},
	{Env, `[A-Za-z_][A-Za-z0-9_]*`, "NAME", 255},
	{Credential, `[A-Za-z0-9_][A-Za-z0-9._-]*`, "NAME", 255},
	{Kept, keptPart + `(/` + keptPart + `)*(@[1-9][0-9]{0,8})?`, "NAME", 200},
	{Vault, part + `(/` + part + `)+` + field, "MOUNT/PATH#FIELD", 1024},
	{Kubernetes, label + `/` + label + field, "NAMESPACE/NAME#KEY", 600},
}

// written is the whole grammar as one expression.
var written = func() string {
	all := make([]string, len(forms))
	for i, f := range forms {
		all[i] = f.scheme + ":" + f.pattern
	}
	return `^(` + strings.Join(all, "|") + `)$`
}()

var grammar = regexp.MustCompile(written)

// UnmarshalText reads a reference. Anything else is refused without being repeated, since it may be the secret itself.
func (r *Ref) UnmarshalText(text []byte) error {
	scheme, name, _ := strings.Cut(string(text), ":")
	for _, f := range forms {
		if f.scheme != scheme {
			continue
		}
		if len(name) > f.longest || !grammar.Match(text) || strings.Contains(string(text), "\n") {
			return fmt.Errorf("a reference of this kind is written %s:%s", f.scheme, f.example)
		}
		*r = Ref{scheme: scheme, name: name}
		return nil
	}
	return errors.New("a secret is written as a reference; put the value in a file and write file:/path/to/it, or in a variable and write env:NAME (others: credential:NAME, store:NAME, vault:MOUNT/PATH#FIELD, kubernetes:NAMESPACE/NAME#KEY)")
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
func (Ref) Pattern() string { return written }

// Example is a reference as it is written.
func (Ref) Example() string { return "file:/run/secrets/NAME" }

// IsZero tells that nothing is referred to.
func (r Ref) IsZero() bool { return r == Ref{} }

// Scheme names the source that is asked: File, Env, Credential, Kept, Vault or Kubernetes.
func (r Ref) Scheme() string { return r.scheme }

// Place is what the source is asked for: all of the reference between scheme and field. What lies at one place is read
// together, so that a user's name and its password always belong to each other.
func (r Ref) Place() string {
	place, _ := r.split()
	return place
}

// Field is the part of what lies at the place, or "" where a place holds one value.
func (r Ref) Field() string {
	_, f := r.split()
	return f
}

func (r Ref) split() (place, field string) {
	if r.scheme != Vault && r.scheme != Kubernetes {
		return r.name, ""
	}
	place, field, _ = strings.Cut(r.name, "#")
	return place, field
}

// Path is the file that holds the secret, or "" when it lies elsewhere.
func (r Ref) Path() string {
	if r.scheme == File {
		return r.name
	}
	return ""
}

// Resolve reads the secret from where it lies, once, without a Keeper: what is needed to open the stores in which other
// secrets lie. A missing, unreadable or empty one is an error (row I6): an empty key or password is never a value. One
// line end at the end of a file is not part of the secret. Only file:, env: and credential: can be read like this.
func (r Ref) Resolve() (Value, error) {
	switch r.scheme {
	case File:
		return readWhole(r.name, r.String())
	case Env:
		return New([]byte(os.Getenv(r.name)), r.String())
	case Credential:
		folder := os.Getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return Value{}, fmt.Errorf("secret %s: the service was started without credentials; add LoadCredential=%s:/path/to/it to its unit", r, r.name)
		}
		return readWhole(filepath.Join(folder, r.name), r.String())
	case "":
		return Value{}, errors.New("no reference to a secret is given")
	}
	return Value{}, fmt.Errorf("secret %s is needed before %s: can be asked; here, write file:, env: or credential: (%w)", r, r.scheme, ErrElsewhere)
}

// ErrElsewhere says that a secret lies where only a process that serves can ask. A check of a document takes it for good.
var ErrElsewhere = errors.New("only a gateway that serves can ask for it")
