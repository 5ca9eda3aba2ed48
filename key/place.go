package key

import "context"

// Place is where the keyring lies: a File, or a record of the store that several nodes share. It keeps the bytes as they are
// given; it need not keep them secret.
type Place interface {
	// Load gives the keyring and the version that a Save must name, or nil and 0 when there is none.
	Load(ctx context.Context) (data []byte, version int64, err error)
	// Save replaces the version that was loaded (0: there must be none yet) and gives the new version, or ErrConflict. It
	// returns without an error only when the keyring survives a loss of power; after any other error than ErrConflict it
	// may have been saved or not, wholly.
	Save(ctx context.Context, data []byte, version int64) (int64, error)
	// Where says in words where the keyring lies, for messages: "/var/lib/gatehouse/keyring.json".
	Where() string
}
