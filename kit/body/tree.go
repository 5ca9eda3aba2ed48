// Package body reads a message body once, strictly and within bounds, into one tree that every guard shares. Two readers
// of the same bytes disagree sooner or later, and the disagreement is a bypass (adversary rows G2 to G15): a body that
// could be understood in two ways is refused here.
package body

import "github.com/gatehouse-sec/gatehouse/kit/canon"

// Kind says how a body is read.
type Kind int

// The zero Kind reads nothing and admits only an empty body.
const (
	Empty     Kind = iota
	JSON           // application/json and every +json type
	Form           // application/x-www-form-urlencoded
	Multipart      // multipart/form-data
	Text           // text/plain, UTF-8
	XML            // application/xml, text/xml, +xml: bytes only, until the SOAP work gives it a tree
	Opaque         // declared opaque: bytes only, size-limited
)

// Tree is a body as it was understood. Raw is what is sent on: the very bytes that were read, after at most one content
// coding was taken off.
type Tree struct {
	Kind  Kind
	Raw   []byte
	Nodes []Node       // JSON: the value and all that it holds; see Value
	Form  []canon.Pair // Form: decoded, in order
	Parts []Part       // Multipart: in order
	value any          // JSON: what Value has made
}

// Part is one part of a multipart/form-data body.
type Part struct {
	Name     string // of the field
	FileName string // "" when the part is no file
	Type     string // media type without parameters; "" means text/plain
	Data     []byte
	Header   []string // lines as they were sent, without their breaks: at most three, each name once
}

// Refusal is why a body is not read.
type Refusal = canon.Refusal
