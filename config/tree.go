package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// readTree parses text into nodes. The tree is nil when the text cannot be read at all.
func readTree(lines []string, text string) (tree *node, found mistake.List) {
	defer func() {
		// The parser is not ours; whatever makes it panic is a document that cannot be read.
		if recover() != nil {
			tree, found = nil, mistake.List{placed("", 1, 1, "", "the document is no YAML that can be read")}
		}
	}()
	tokens := lexer.Tokenize(text)
	if found = checkTokens(tokens, lines); len(found) > 0 {
		return nil, found
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, mistake.List{syntaxMistake(err)}
	}
	b := &builder{lines: lines}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, mistake.List{placed("", 1, 1, "", "the document is empty")}
	}
	root := b.node(file.Docs[0].Body, 0)
	if root == nil || root.kind != kindMapping {
		b.found = append(b.found, placed("", root.line, root.column, "key: value", "the document must be a mapping of keys, found "+root.describe()))
		return nil, b.found
	}
	return root, b.found
}

// syntaxMistake takes place and words from the parser's error.
func syntaxMistake(err error) mistake.Mistake {
	var where yaml.Error
	if !errors.As(err, &where) || where.GetToken() == nil || where.GetToken().Position == nil {
		return placed("", 1, 1, "", "the document is no YAML that can be read")
	}
	p := where.GetToken().Position
	what := where.GetMessage()
	switch {
	case strings.HasPrefix(what, "value is not allowed in this context"), strings.HasPrefix(what, "mapping value is not allowed"):
		what = "this does not belong here; check that it is indented exactly as its neighbours"
	case strings.HasPrefix(what, "unexpected key name"):
		what = "a key is followed directly by a colon and a space"
	case strings.HasPrefix(what, "could not find end character"):
		what = "the quote that opens here is not closed"
	}
	return placed("", p.Line, p.Column, "", what)
}

// builder turns the parser's tree into ours.
type builder struct {
	lines []string
	found mistake.List
}

func (b *builder) refuse(n *node, write, what string, args ...any) {
	b.found = append(b.found, placed("", n.line, n.column, write, fmt.Sprintf(what, args...)))
}

// node never gives nil.
func (b *builder) node(from ast.Node, depth int) *node {
	n := &node{}
	if from == nil || from.GetToken() == nil {
		n.line, n.column = 1, 1
		return n
	}
	n.line, n.column = b.place(from.GetToken())
	if depth > maxDepth {
		b.refuse(n, "", "%s", tooDeep())
		return n
	}
	switch from := from.(type) {
	case *ast.NullNode:
		n.kind = kindNull
	case *ast.MappingNode:
		n.kind = kindMapping
		for _, v := range from.Values {
			b.pair(n, v, depth)
		}
		b.begin(n, from.Start)
	case *ast.MappingValueNode:
		n.kind = kindMapping
		b.pair(n, from, depth)
		b.begin(n, nil)
	case *ast.SequenceNode:
		n.kind = kindList
		for _, v := range from.Values {
			n.items = append(n.items, b.node(v, depth+1))
		}
	case *ast.LiteralNode:
		n.kind, n.style = kindScalar, block
		if from.Value != nil {
			n.text = from.Value.Value
		}
	case ast.ScalarNode:
		b.scalar(n, from.GetToken())
	default:
		b.refuse(n, "", "%s is not read in this document", from.Type())
	}
	return n
}

// begin moves a mapping's place from its first colon to where it starts.
func (b *builder) begin(n *node, start *token.Token) {
	if start != nil && start.Type == token.MappingStartType {
		n.line, n.column = b.place(start)
	} else if len(n.pairs) > 0 {
		n.line, n.column = n.pairs[0].line, n.pairs[0].column
	}
}

func (b *builder) scalar(n *node, t *token.Token) {
	n.kind, n.text = kindScalar, t.Value
	switch t.Type {
	case token.SingleQuoteType, token.DoubleQuoteType:
		n.style = quoted
	default:
		n.style = styleOf(n.text)
	}
}

func (b *builder) pair(n *node, from *ast.MappingValueNode, depth int) {
	p := pair{value: b.node(from.Value, depth+1)}
	key := b.node(from.Key, depth+1)
	p.line, p.column, p.key = key.line, key.column, key.text
	if p.value.kind == kindNull {
		p.value.line, p.value.column = p.line, p.column
	}
	if key.kind != kindScalar || key.style != plain && key.style != quoted {
		if key.kind == kindScalar {
			b.refuse(key, fmt.Sprintf("%q", key.text), "a key that is no text; quote it")
		} else {
			b.refuse(key, "", "a key that is no text")
		}
		return
	}
	if first, fresh := n.add(p); !fresh {
		b.refuse(key, "", "key %s is written twice; the first is in line %d", show(p.key), first.line)
	}
}

// place is where a token stands. The lexer counts a text's column too high when spaces follow it, so the text is looked
// up in its line.
func (b *builder) place(t *token.Token) (line, column int) {
	line, column = t.Position.Line, t.Position.Column
	if line < 1 || line > len(b.lines) {
		return 1, 1
	}
	if t.Type != token.SingleQuoteType && t.Type != token.DoubleQuoteType && t.Value != "" {
		text := b.lines[line-1]
		if !strings.HasPrefix(afterColumn(text, column), t.Value) {
			if at := strings.LastIndex(text, t.Value); at >= 0 {
				column = runes(text[:at]) + 1
			}
		}
	}
	return line, column
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// afterColumn is the text of a line from a 1-based column on.
func afterColumn(line string, column int) string {
	for i := range line {
		if column--; column <= 0 {
			return line[i:]
		}
	}
	return ""
}
