// Package key holds the keys with which Gatehouse encrypts what it stores, under one root key. Every purpose ("store",
// "file", "audit", ...) has a key of its own in several versions: the newest seals, older ones still open what they sealed
// until all of it is sealed anew, then they are destroyed. All of them lie wrapped in the keyring; the root key that opens the
// keyring is never stored by us beside it. A stolen disk or backup is therefore noise.
//
// The order of trust: a Root (a file, a systemd credential, a passphrase, a TPM, OpenBao Transit, people with shares) wraps
// the ring key, the ring key wraps the purposes' keys and authenticates the whole keyring, each purpose's key gives one
// cipher and any number of derived keys by HKDF (RFC 5869).
//
// Nothing is ever made anew over what exists. A lost root key, a lost keyring, a wrong passphrase are told before anything is
// touched, with the places that were looked at and what to do.
package key

import "errors"

// What every operation answers; compare with errors.Is. The text around them has the place and the remedy.
var (
	// ErrConflict: the keyring was changed by another process since it was loaded. Places answer it.
	ErrConflict = errors.New("the keyring was changed by another process meanwhile")
	// ErrLost: the keyring or the root key is not where it was looked for, and something that needs it is there.
	ErrLost = errors.New("a key is lost")
	// ErrWrong: a root key is there and does not open the keyring.
	ErrWrong = errors.New("the root key does not open the keyring")
	// ErrDamaged: the keyring is not as Gatehouse wrote it.
	ErrDamaged = errors.New("the keyring is damaged")
	// ErrUnavailable: what keeps the root key cannot be asked at the moment.
	ErrUnavailable = errors.New("the root key cannot be reached now")
	// ErrWaiting: more shares of the root key are needed.
	ErrWaiting = errors.New("shares of the root key are missing")
	// ErrSealed: what is to be opened was not sealed by this purpose's key with these additional data.
	ErrSealed = errors.New("it was not sealed with this key for this place, or was changed")
	// ErrRetired: it was sealed by a key that has been destroyed since.
	ErrRetired = errors.New("the key that sealed it has been destroyed")
	// ErrUnknown: the purpose has no key.
	ErrUnknown = errors.New("the purpose has no key")
)
