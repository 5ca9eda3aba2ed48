package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// readTree parses text into nodes. The tree is nil when the text cannot be read at all.
//
// The library's lexer makes the tokens. Its parser is not used: its time grows with the square of the keys of a mapping
// (20,000 keys took 14 seconds), it recurses over them, and it points at the wrong line of a badly indented key.
func readTree(lines []string, text string) (tree *node, found mistake.List) {
	defer func() {
		// The lexer is not ours; whatever makes it panic is a document that cannot be read.
		if recover() != nil {
			tree, found = nil, mistake.List{placed("", 1, 1, "", "the document is no YAML that can be read")}
		}
	}()
	tokens := lexer.Tokenize(text)
	if found = checkTokens(tokens, lines); len(found) > 0 {
		return nil, found
	}
	b := &builder{words: placeTokens(tokens, lines)}
	if len(b.words) == 0 {
		return nil, mistake.List{placed("", 1, 1, "", "the document is empty")}
	}
	root := b.block(1)
	if rest, more := b.peek(); more && !b.stopped {
		b.stop(rest, strayWords(rest))
	}
	if b.stopped {
		return nil, b.found
	}
	if root.kind != kindMapping {
		b.refuse(root.line, root.column, "key: value", "the document must be a mapping of keys, found "+root.describe())
		return nil, b.found
	}
	return root, b.found
}

// word is a token that matters, with its place in characters.
type word struct {
	*token.Token
	line, column int
}

// placeTokens leaves out comments and the mark of the document's beginning, and corrects the places: the lexer counts a
// text's column too high when spaces follow it.
func placeTokens(tokens token.Tokens, lines []string) []word {
	words := make([]word, 0, len(tokens))
	at := cursor{lines: lines}
	block := false // the token before was | or >
	for _, t := range tokens {
		if t.Type == token.CommentType || t.Type == token.DocumentHeaderType {
			continue
		}
		w := word{Token: t, line: t.Position.Line, column: t.Position.Column}
		switch t.Type {
		case token.SingleQuoteType, token.DoubleQuoteType, token.LiteralType, token.FoldedType, token.InvalidType:
		default:
			if !block && t.Value != "" {
				w.column = at.find(w.line, w.column, t)
			}
		}
		block = isBlock(t.Type)
		words = append(words, w)
	}
	return words
}

// cursor turns columns into byte offsets, going forward only, so that a long line costs no more than its length.
type cursor struct {
	lines        []string
	line, column int // last place
	offset       int // in bytes
}

// find gives the column at which the token's text stands, near the given one.
func (c *cursor) find(line, column int, t *token.Token) int {
	if line < 1 || line > len(c.lines) {
		return column
	}
	text := c.seek(line, column)
	if strings.HasPrefix(text[c.offset:], t.Value) {
		return column
	}
	from := max(0, len(strings.TrimRight(text[:c.offset], " "))-len(t.Origin))
	near := text[from:min(len(text), c.offset+len(t.Value))]
	at := strings.LastIndex(near, t.Value)
	if at < 0 {
		return column
	}
	return c.column - runes(text[from+at:c.offset])
}

// seek goes to a place and gives its whole line.
func (c *cursor) seek(line, column int) string {
	if line != c.line || column < c.column {
		c.line, c.column, c.offset = line, 1, 0
	}
	text := c.lines[line-1]
	for c.column < column && c.offset < len(text) {
		_, size := utf8.DecodeRuneInString(text[c.offset:])
		c.column, c.offset = c.column+1, c.offset+size
	}
	return text
}

// builder makes nodes of words. What it cannot go on after stops it.
type builder struct {
	words   []word
	next    int
	found   mistake.List
	stopped bool
	lastEnd int // line on which the last word stood
}

func (b *builder) refuse(line, column int, write, what string) {
	b.found = append(b.found, placed("", line, column, write, what))
}

// stop ends the reading at a word.
func (b *builder) stop(at word, what string) {
	if !b.stopped {
		b.refuse(at.line, at.column, "", what)
	}
	b.stopped = true
	b.next = len(b.words)
}

func (b *builder) peek() (word, bool) {
	if b.next >= len(b.words) {
		return word{}, false
	}
	return b.words[b.next], true
}

func (b *builder) take() word {
	w := b.words[b.next]
	b.next++
	b.lastEnd = w.line
	return w
}

// follows tells that the word after the next one has a type and stands in the same line.
func (b *builder) follows(t token.Type) bool {
	i := b.next + 1
	return i < len(b.words) && b.words[i].Type == t && b.words[i].line == b.words[b.next].line
}

func isScalar(t token.Type) bool {
	switch t {
	case token.StringType, token.SingleQuoteType, token.DoubleQuoteType, token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType,
		token.HexIntegerType, token.FloatType, token.InfinityType, token.NanType, token.BoolType, token.NullType:
		return true
	}
	return false
}

func (w word) node() *node {
	n := &node{kind: kindScalar, text: w.Value, line: w.line, column: w.column, style: quoted}
	if w.Type != token.SingleQuoteType && w.Type != token.DoubleQuoteType {
		n.style = styleOf(w.Value)
	}
	if w.Type == token.NullType {
		n.kind = kindNull
	}
	return n
}

// key takes a word as a key.
func (b *builder) key() (pair, bool) {
	w := b.take()
	n := w.node()
	if runes(n.text) > maxKey {
		b.refuse(w.line, w.column, "", fmt.Sprintf("a key longer than %d characters", maxKey))
		return pair{}, false
	}
	if n.kind == kindNull || n.style != plain && n.style != quoted {
		b.refuse(w.line, w.column, `"`+w.Value+`"`, "a key that is no text; quote it")
		return pair{}, false
	}
	return pair{key: n.text, line: w.line, column: w.column}, true
}

// put hangs a value under a key. A mapping or list points at its key unless it begins beside it.
func (b *builder) put(n *node, p pair, value *node) {
	if value.line != p.line && value.kind != kindScalar && value.kind != kindNull {
		value.line, value.column = p.line, p.column
	}
	p.value = value
	if first, fresh := n.add(p); !fresh {
		b.refuse(p.line, p.column, "", fmt.Sprintf("key %s is written twice; the first is in line %d", show(p.key), first.line))
	}
}

// strayWords says why a word may not stand where it does.
func strayWords(w word) string {
	switch w.Type {
	case token.InvalidType:
		return invalidWords(w)
	case token.SequenceEndType, token.MappingEndType:
		return w.Value + " without the bracket that it closes"
	case token.MappingValueType:
		return "a colon without a key before it; a key is text, and quoted when it has brackets"
	case token.SequenceEntryType:
		return "an entry of a list (- ) does not belong here; check that it is indented exactly as its neighbours"
	}
	return "this does not belong here; check that it is indented exactly as its neighbours"
}

// invalidWords are what the lexer says of a token that is none.
func invalidWords(w word) string {
	if strings.Contains(w.Error, "could not find end character") {
		return "the quote that opens here is not closed"
	}
	if w.Error == "" {
		return "this is no YAML that can be read"
	}
	return w.Error
}

// afterColumn is the text of a line from a 1-based column on.
func afterColumn(line string, column int) string {
	for i := range line {
		if column--; column <= 0 {
			return line[i:]
		}
	}
	return ""
}

func runes(s string) int { return utf8.RuneCountInString(s) }
