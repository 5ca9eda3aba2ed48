// Package store says what it means to remember. A record is a value under a key, with a version that each change must name
// and perhaps a time when it ends; two writers can therefore never undo each other unseen. What must survive a restart is
// Durable: one encrypted SQLite file (sqlite) or PostgreSQL (postgres). What nodes share quickly and may forget is in
// memory or in Redis or Valkey (redis). One suite, storetest, holds all of them to what stands here.
package store

import (
	"context"
	"errors"
	"time"
)

// What every implementation answers; compare with errors.Is.
var (
	ErrNone     = errors.New("store: there is no such record")
	ErrConflict = errors.New("store: the record has another version by now")
	// ErrUnavailable stands for everything that may pass: not reachable, full, locked, too slow. What was asked for may or
	// may not have been done, as with every network; a version tells which.
	ErrUnavailable = errors.New("store: not available")
)

// Any as the version of a Write replaces or removes whatever is there.
const Any int64 = -1

// Bounds of a record, in bytes. A key is made of visible ASCII, its parts divided by slashes: "secret/shop/password".
const (
	MaxKey   = 512
	MaxValue = 1 << 20
)

// Record is a value under a key.
type Record struct {
	Key     string
	Value   []byte
	Version int64     // 1 at first, one more with each change; a record that was removed or has expired begins again at 1
	Expires time.Time // from then on the record is not there; zero: it stays
}

// Write is one change of one record.
type Write struct {
	Key     string
	Value   []byte    // nil removes the record
	Version int64     // the version that is replaced, 0 for a record that must not be there yet, or Any
	Expires time.Time // zero: it stays
}

// Records keeps versioned, expiring values: sessions, single-use identifiers, locks, and everything durable. Safe for use
// by many goroutines; what is handed in and out is the caller's own copy.
type Records interface {
	// Get gives a record that is there, or ErrNone.
	Get(ctx context.Context, key string) (Record, error)
	// Write changes one record and gives its new version (0 when removed), or ErrConflict. Removing what is not there with
	// Any is no error.
	Write(ctx context.Context, w Write) (int64, error)
}

// Durable keeps records over restarts: a write that returned without an error is still there after a loss of power.
type Durable interface {
	Records
	// WriteAll makes all changes or none; a key stands in it once. ErrConflict says that one of the versions was another.
	WriteAll(ctx context.Context, all ...Write) error
	// List gives records whose keys begin with prefix and are greater than after ("" from the first), in the order of their
	// bytes, at most limit of them.
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)
	// Since gives the records under prefix that were written after mark ("" for all) and the mark for the next call.
	// It never misses one, whatever order transactions end in, and may give one twice. Removed records are not told.
	Since(ctx context.Context, prefix, mark string) (changed []Record, next string, err error)
	// Ping tells whether records can be written now.
	Ping(ctx context.Context) error
	Close() error
}

// Feed carries messages to every node in about the time of one network round trip. It is a doorbell, not a memory: messages
// may be lost, and are kept about a minute.
type Feed interface {
	// Publish adds a message to a topic.
	Publish(ctx context.Context, topic string, message []byte) error
	// Read waits for messages after a position ("" from now on) until ctx ends, and gives at least one, or an error.
	Read(ctx context.Context, topic, after string) (messages [][]byte, next string, err error)
}

// Sealer encrypts with authentication. key.Ring is one. The purpose chooses the key; aad must be the same at both ends.
type Sealer interface {
	Seal(purpose string, plain, aad []byte) ([]byte, error)
	// Open fails for anything that was not sealed with the same purpose and aad, and for a key that is no longer there.
	Open(purpose string, sealed, aad []byte) ([]byte, error)
	// Current tells that sealed was made with the newest key of the purpose, so that it need not be sealed again.
	Current(purpose string, sealed []byte) bool
}
