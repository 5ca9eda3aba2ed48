package main

import (
	"crypto/rand"
	"time"
)

// crockford is Crockford's base 32: no I, L, O or U, so that an id can be read out over the telephone.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newID makes the id of an event: 26 characters, 10 for the time in milliseconds and 16 at random, so that ids sort by
// time and cannot be guessed (the ULID form).
func newID(now time.Time) string {
	var id [26]byte
	ms := now.UnixMilli()
	for i := 9; i >= 0; i-- {
		id[i] = crockford[ms&31]
		ms >>= 5
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	for i, b := range random {
		id[10+i] = crockford[b&31]
	}
	return string(id[:])
}
