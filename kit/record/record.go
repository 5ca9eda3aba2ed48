// Package record is what parts of the gateway need of a durable store, so that none of them knows one: records with a version
// and an end, changes of them that name the version they replace, and a Follower, which keeps all records under a prefix in
// memory, as every node needs them that asks for something with each request and must not wait.
package record

import "time"

// Record is a value under a key.
type Record struct {
	Key     string
	Value   []byte
	Version int64
	Expires time.Time // zero: never
}

// Write is one change of one record: Version is the one that is replaced, 0 when there is none yet.
type Write struct {
	Key     string
	Value   []byte
	Version int64
	Expires time.Time
}

// Errors are what a store answers with, compared by errors.Is.
type Errors struct {
	None     error // there is no such record
	Conflict error // the record has another version by now
	Invalid  error // the mark of Since is not one of this store's
}
