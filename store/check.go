package store

import (
	"errors"
	"fmt"
	"time"
)

// ErrInvalid stands for a key, a value or a bound that no implementation takes, whatever it holds. Nothing was done, and
// asking again doesn't help.
var ErrInvalid = errors.New("store: this cannot be stored")

// MaxSealed is what an implementation takes as a value: MaxValue, and room for the envelope that Sealed lays around it.
const MaxSealed = MaxValue + 4096

// Millisecond is how exactly every implementation keeps Expires; what is finer may be cut off.
const Millisecond = time.Millisecond

// CheckKey tells what is wrong with a key: it has 1 to MaxKey visible ASCII characters, in parts divided by single slashes,
// none at either end. A key that doesn't fit is refused, never cut: two long keys must not become one.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: the key is empty; write parts divided by slashes, as in secret/shop/password", ErrInvalid)
	}
	if err := CheckPrefix(key); err != nil {
		return err
	}
	if key[0] == '/' || key[len(key)-1] == '/' {
		return fmt.Errorf("%w: key %q begins or ends with a slash", ErrInvalid, key)
	}
	for i := 1; i < len(key); i++ {
		if key[i] == '/' && key[i-1] == '/' {
			return fmt.Errorf("%w: key %q has an empty part", ErrInvalid, key)
		}
	}
	return nil
}

// CheckPrefix tells what is wrong with the beginning of a key, which may be empty and may end anywhere.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKey {
		return fmt.Errorf("%w: a key of %d bytes, at most %d are kept; it begins with %q", ErrInvalid, len(prefix), MaxKey, prefix[:32])
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("%w: key %q has byte 0x%02x at %d; keys are visible ASCII", ErrInvalid, prefix, c, i)
		}
	}
	return nil
}

// CheckList tells what is wrong with the arguments of List.
func CheckList(prefix, after string, limit int) error {
	if limit < 1 {
		return fmt.Errorf("%w: a list of at most %d records; ask for at least 1", ErrInvalid, limit)
	}
	if err := CheckPrefix(prefix); err != nil {
		return err
	}
	return CheckPrefix(after)
}

// CheckWrites tells what is wrong with changes: a bad key, a value over MaxSealed, a version below Any, a key twice.
func CheckWrites(all ...Write) error {
	for _, w := range all {
		if err := CheckKey(w.Key); err != nil {
			return err
		}
		if len(w.Value) > MaxSealed {
			return fmt.Errorf("%w: the value of %q has %d bytes, at most %d are kept", ErrInvalid, w.Key, len(w.Value), MaxValue)
		}
		if w.Version < Any {
			return fmt.Errorf("%w: version %d of %q; name the version that is replaced, 0 for a new record, or Any", ErrInvalid, w.Version, w.Key)
		}
	}
	if len(all) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(all))
	for _, w := range all {
		if seen[w.Key] {
			return twice(w.Key)
		}
		seen[w.Key] = true
	}
	return nil
}

func twice(key string) error {
	return fmt.Errorf("%w: %q stands twice among changes that are made together", ErrInvalid, key)
}
