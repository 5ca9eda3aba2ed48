package openapi

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of one document. They stop what is no contract: a file of many megabytes, or aliases that unfold into billions.
const (
	maxFile  = 32 << 20
	maxDepth = 500
	maxNodes = 5_000_000
)

// document is one file.
type document struct {
	name string // relative to the contract's folder, with forward slashes
	data []byte
	root *node
}

// fault is a mistake in the form of a document, before it has nodes.
type fault struct {
	line, column int
	what         string
}

func (f *fault) Error() string { return f.what }

// parse reads a document: JSON when its first character is a brace, else YAML.
func parse(name string, data []byte) (*document, *fault) {
	d := &document{name: name, data: data}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > maxFile:
		return d, &fault{what: fmt.Sprintf("the file has more than %d MiB", maxFile>>20)}
	case !utf8.Valid(data):
		return d, faultAt(data, invalidAt(data), "the file is not UTF-8")
	}
	var f *fault
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		d.root, f = parseJSON(d, data)
	} else {
		d.root, f = parseYAML(d, data)
	}
	if f == nil && unfolded(d.root, map[*node]int{}) > maxNodes {
		f = &fault{what: "the file's aliases unfold into too many values"}
	}
	return d, f
}

// unfolded counts nodes as often as aliases repeat them, without walking them as often.
func unfolded(n *node, known map[*node]int) int {
	if n.kind < list {
		return 1
	}
	if sum, ok := known[n]; ok {
		return sum
	}
	sum := 1
	for _, item := range n.items {
		sum = min(sum+unfolded(item, known), maxNodes+1)
	}
	for _, m := range n.members {
		sum = min(sum+unfolded(m.value, known), maxNodes+1)
	}
	known[n] = sum
	return sum
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

// faultAt turns a byte offset into a line and a column.
func faultAt(data []byte, offset int, what string) *fault {
	line, column := placeOf(data, min(max(offset, 0), len(data)))
	return &fault{line, column, what}
}

func placeOf(data []byte, offset int) (line, column int) {
	before := data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

// excerpt is one line of the file, without its end.
func (d *document) excerpt(line int) string {
	rest := d.data
	for range line - 1 {
		_, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return ""
		}
		rest = after
	}
	row, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.TrimSuffix(string(row), "\r")
}

// adopt gives a node its place under a parent. A node that already has one keeps it.
func adopt(parent, child *node, key string) *node {
	if child.parent == nil {
		child.parent, child.key = parent, key
	}
	return child
}
