// Package jws reads signed messages (RFC 7515) and public keys (RFC 7517) in the one way in which they can be read. It
// promises that a message has one spelling, that its header and payload are objects in which no member stands twice, and
// that a key verifies only with algorithms that fit it, never with a shared secret. What a message says is for others to
// judge; what it stops stands in the adversary rows E1 to E3, E26 and E29 to E31.
package jws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Max is the longest message that is read, in bytes. Its length is checked before anything else, so that a megabyte of
// dots costs nothing (row E29).
const Max = 8 << 10

// What Split tells apart from a message that is merely malformed.
var (
	ErrTooLong   = fmt.Errorf("it is longer than %d bytes", Max)
	ErrEncrypted = errors.New("it has five parts: it is encrypted, and encrypted messages are not read")
)

// Compact is a message in compact form (RFC 7515 section 7.1) in its one spelling.
type Compact struct {
	Text            string
	Header, Payload []byte
}

// Split takes a message apart. Only the alphabet of base64url counts, without padding, line ends or bits to spare: a token
// that can be spelled in two ways would slip past every list of tokens (row E26).
func Split(text string) (Compact, error) {
	if len(text) > Max {
		return Compact{}, ErrTooLong
	}
	dots := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
		default:
			return Compact{}, fmt.Errorf("byte %d is not base64url", i+1)
		}
	}
	if dots == 4 {
		return Compact{}, ErrEncrypted
	}
	if dots != 2 {
		return Compact{}, fmt.Errorf("it has %d parts instead of 3", dots+1)
	}
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	parts := [3][]byte{}
	for i, part := range []string{header, payload, signature} {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || len(decoded) == 0 {
			return Compact{}, fmt.Errorf("part %d is empty or not strict base64url", i+1)
		}
		parts[i] = decoded
	}
	return Compact{Text: text, Header: parts[0], Payload: parts[1]}, nil
}
