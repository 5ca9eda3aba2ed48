// Package config reads the document: one YAML file in which an operator says everything about a gateway. It knows no part
// of it. It reads strictly, decodes a section into the type that the section's own package declares, puts file, line and
// column on mistakes, and makes the JSON schema and the reference page from the same types.
//
// What it promises: nothing in the document is ever silently ignored. An unknown key, a key written twice, a key without
// a value, a wrong type, a number without its unit is a mistake, and all mistakes are told in one pass, each with what to
// write instead. Configuration that fails open is the worst bug of this kind of product.
//
// What it reads is a small part of YAML, in which a document has one meaning for every reader: no anchors, aliases, merge
// keys, tags or directives, no second document, no tabs, no invisible characters, no text that runs on over lines unless
// it is a block (| or >), no octal or hexadecimal numbers, true and false and no yes or no. Nothing in a value is
// expanded. A value that looks like a secret is refused and never repeated, neither in a message nor in an excerpt.
package config

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Document is one document, read but not yet understood. It does not change, except that it learns which values must not
// be shown, so it belongs to one goroutine at a time.
type Document struct {
	File string // as the operator named it

	root   *node
	lines  []string    // without line ends
	masked map[int]int // line -> column from which on it must not be shown, found while decoding
}

// Parse reads a document. When the error is a mistake.List and the document is not nil, the document is whole enough to
// look for further mistakes in it with Section, but not to be served.
func Parse(file string, data []byte) (*Document, error) {
	d := &Document{File: file, masked: map[int]int{}}
	text, found := readText(data)
	d.lines = strings.Split(text, "\n")
	if len(found) > 0 {
		return nil, d.finish(found)
	}
	tree, found := readTree(d.lines, text)
	if tree == nil {
		return nil, d.finish(found)
	}
	d.root = tree
	found = append(found, reviewTree(tree)...)
	return d, d.finish(found)
}

// finish puts file and excerpt on mistakes that have their line and column.
func (d *Document) finish(found mistake.List) error {
	excerpts := map[int]string{}
	for i := range found {
		found[i].File = d.File
		found[i].Line = min(max(found[i].Line, 1), len(d.lines))
		found[i].Column = max(found[i].Column, 1)
		text, known := excerpts[found[i].Line]
		if !known {
			text = d.excerpt(found[i].Line)
			excerpts[found[i].Line] = text
		}
		found[i].Excerpt = text
	}
	sortByPlace(found)
	return found.Err()
}

// hide keeps a scalar out of every excerpt from now on.
func (d *Document) hide(n *node) {
	if column, ok := d.masked[n.line]; !ok || n.column < column {
		d.masked[n.line] = n.column
	}
}

// Keys lists the keys of the mapping at path, in the order of the document.
func (d *Document) Keys(path string) []string {
	n := d.find(path).node
	if n == nil {
		return nil
	}
	keys := make([]string, 0, len(n.pairs))
	for _, p := range n.pairs {
		keys = append(keys, p.key)
	}
	return keys
}

// Len is the number of entries of the list at path, or 0 when there is no list.
func (d *Document) Len(path string) int {
	n := d.find(path).node
	if n == nil {
		return 0
	}
	return len(n.items)
}

// Unknown tells of every key of the mapping at path that is not among known, with the nearest known word. It is nil when
// there is nothing at path; something that is no mapping is one mistake.
func (d *Document) Unknown(path string, known []string) error {
	at := d.find(path)
	if at.node == nil || at.node.kind == kindNull {
		return nil
	}
	var found mistake.List
	if at.node.kind != kindMapping {
		found = append(found, placed(path, at.line, at.column, "", "a mapping of keys is wanted here, found "+at.node.describe()))
		return d.finish(found)
	}
	for _, p := range at.node.pairs {
		if m, bad := d.unknownKey(p, path, known); bad {
			found = append(found, m)
		}
	}
	return d.finish(found)
}

// placed makes a mistake that knows its place.
func placed(path string, line, column int, write, what string) mistake.Mistake {
	return mistake.Mistake{Path: path, What: what, Write: write, Line: line, Column: column}
}
