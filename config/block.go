package config

import "github.com/goccy/go-yaml/token"

// block reads the value that begins with the next word, and goes on as long as its indentation says. A mapping or a list
// is known by the column of its first key or dash; whatever stands deeper belongs to an entry of it, whatever stands less
// deep ends it, and whoever called judges that.
func (b *builder) block(depth int) *node {
	w, ok := b.peek()
	if !ok {
		return &node{line: 1, column: 1}
	}
	switch {
	case depth > maxDepth:
		b.stop(w, tooDeep())
	case w.Type == token.SequenceEntryType:
		return b.blockList(depth)
	case isScalar(w.Type) && b.follows(token.MappingValueType):
		return b.blockMapping(depth)
	default:
		return b.inline(depth)
	}
	return &node{line: w.line, column: w.column}
}

// inline reads a value that has an end of its own: a scalar, a block of text or a bracket.
func (b *builder) inline(depth int) *node {
	w, _ := b.peek()
	switch {
	case isScalar(w.Type):
		return b.take().node()
	case isBlock(w.Type):
		b.take()
		n := &node{kind: kindScalar, style: block, line: w.line, column: w.column}
		if content, ok := b.peek(); ok {
			n.text = content.Value
			b.take()
		}
		b.lastEnd = w.line
		return n
	case w.Type == token.SequenceStartType, w.Type == token.MappingStartType:
		return b.flow(depth)
	}
	b.stop(w, strayWords(w))
	return &node{line: w.line, column: w.column}
}

func (b *builder) blockMapping(depth int) *node {
	first, _ := b.peek()
	n := &node{kind: kindMapping, line: first.line, column: first.column}
	for {
		w, ok := b.peek()
		if !ok || w.column < first.column || w.line == b.lastEnd && w != first {
			return n
		}
		if w.column > first.column || !isScalar(w.Type) || !b.follows(token.MappingValueType) {
			b.strayKey(w, first)
			return n
		}
		p, good := b.key()
		b.take() // the colon
		value := b.entry(first.column, p.line, p.column, true, depth)
		if good {
			b.put(n, p, value)
		}
	}
}

// strayKey stops at a word where a key of a mapping should be.
func (b *builder) strayKey(w, first word) {
	if w.column == first.column && isScalar(w.Type) {
		b.stop(w, "a key is followed directly by a colon and a space; there is none in this line")
		return
	}
	b.stop(w, strayWords(w))
}

func (b *builder) blockList(depth int) *node {
	first, _ := b.peek()
	n := &node{kind: kindList, line: first.line, column: first.column}
	for {
		w, ok := b.peek()
		if !ok || w.column < first.column || w.line == b.lastEnd && w != first {
			return n
		}
		if w.column > first.column {
			b.stop(w, strayWords(w))
			return n
		}
		if w.Type != token.SequenceEntryType {
			return n // the next key of a mapping whose list is indented as itself
		}
		b.take()
		n.items = append(n.items, b.entry(first.column, w.line, w.column, false, depth))
	}
}

// entry reads what belongs to a key or dash at a column. Below a key, a list may be indented as the key is.
func (b *builder) entry(column, line, markColumn int, isKey bool, depth int) *node {
	w, ok := b.peek()
	switch {
	case !ok:
	case w.line == line && isKey:
		value := b.inline(depth + 1)
		b.nothingAfter()
		return value
	case w.line == line:
		value := b.block(depth + 1)
		b.nothingAfter()
		return value
	case w.column > column:
		value := b.block(depth + 1)
		b.nothingAfter()
		return value
	case isKey && w.column == column && w.Type == token.SequenceEntryType:
		return b.blockList(depth + 1)
	}
	return &node{line: line, column: markColumn}
}

// nothingAfter stops at a word behind a value in its line.
func (b *builder) nothingAfter() {
	if w, ok := b.peek(); ok && w.line == b.lastEnd {
		b.stop(w, strayWords(w))
	}
}
