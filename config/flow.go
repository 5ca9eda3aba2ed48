package config

import (
	"strings"

	"github.com/goccy/go-yaml/token"
)

// flow reads a value in brackets.
func (b *builder) flow(depth int) *node {
	open := b.take()
	n := &node{kind: kindList, line: open.line, column: open.column}
	end := token.SequenceEndType
	if open.Type == token.MappingStartType {
		n.kind, end = kindMapping, token.MappingEndType
	}
	if depth > maxDepth {
		b.stop(open, tooDeep())
		return n
	}
	for !b.stopped {
		w, ok := b.peek()
		switch {
		case !ok:
			b.stop(open, "the bracket that opens here is not closed")
			return n
		case w.Type == end:
			b.take()
			return n
		case n.kind == kindList:
			n.items = append(n.items, b.flowValue(depth))
		default:
			b.flowPair(n, depth)
		}
		b.separator(open, end)
	}
	return n
}

// separator takes the comma between two entries, or leaves the closing bracket.
func (b *builder) separator(open word, end token.Type) {
	w, ok := b.peek()
	switch {
	case b.stopped:
	case !ok:
		b.stop(open, "the bracket that opens here is not closed")
	case w.Type == token.CollectEntryType:
		b.take()
		if after, ok := b.peek(); ok && after.Type == token.CollectEntryType {
			b.stop(after, "a comma without anything before it")
		}
	case w.Type != end:
		b.stop(w, "a comma or the closing bracket is wanted here")
	}
}

func (b *builder) flowValue(depth int) *node {
	w, _ := b.peek()
	if isScalar(w.Type) {
		b.unquoted(w)
		return b.take().node()
	}
	if w.Type == token.SequenceStartType || w.Type == token.MappingStartType {
		return b.flow(depth + 1)
	}
	b.stop(w, strayWords(w))
	return &node{line: w.line, column: w.column}
}

func (b *builder) flowPair(n *node, depth int) {
	w, _ := b.peek()
	if !isScalar(w.Type) {
		b.stop(w, strayWords(w))
		return
	}
	b.unquoted(w)
	p, good := b.key()
	value := &node{line: p.line, column: p.column}
	if colon, ok := b.peek(); ok && colon.Type == token.MappingValueType {
		if colon.line != p.line { // readers differ on what that means
			b.stop(colon, "a key and its colon stand on one line")
			return
		}
		b.take()
		if after, ok := b.peek(); ok && after.Type != token.CollectEntryType && after.Type != token.MappingEndType {
			value = b.flowValue(depth)
		}
	}
	if good && !b.stopped {
		b.put(n, p, value)
	}
}

// unquoted refuses what readers take for different things in brackets when it isn't quoted.
func (b *builder) unquoted(w word) {
	if n := w.node(); n.style == plain && strings.Contains(w.Value, "?") {
		b.refuse(w.line, w.column, `"`+w.Value+`"`, "a question mark in brackets, which readers understand differently; quote the text")
	}
}
