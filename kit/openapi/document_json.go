package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader builds nodes from a token stream.
type jsonReader struct {
	doc     *document
	data    []byte
	decoder *json.Decoder
	starts  []int // offset of every line
}

// parseJSON reads JSON, strictly: no member twice, nothing after the value.
func parseJSON(d *document, data []byte) (*node, *fault) {
	r := jsonReader{doc: d, data: data, decoder: json.NewDecoder(bytes.NewReader(data)), starts: []int{0}}
	r.decoder.UseNumber()
	for i, c := range data {
		if c == '\n' {
			r.starts = append(r.starts, i+1)
		}
	}
	root, err := r.read(0)
	if err == nil {
		if _, err = r.decoder.Token(); errors.Is(err, io.EOF) {
			return root, nil
		}
		err = r.fail(int(r.decoder.InputOffset()), "something stands after the end of the document")
	}
	var f *fault
	if errors.As(err, &f) {
		return nil, f
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := int(syntax.Offset) - 1
		// the decoder counts up to the character between tokens, and past it inside one
		if at+1 < len(data) && strings.Contains(syntax.Error(), fmt.Sprintf("invalid character %q", rune(data[at+1]))) {
			at++
		}
		return nil, faultAt(data, at, "not JSON: "+syntax.Error())
	}
	return nil, faultAt(data, int(r.decoder.InputOffset()), "not JSON: "+err.Error())
}

func (r *jsonReader) fail(offset int, what string, args ...any) error {
	return faultAt(r.data, offset, fmt.Sprintf(what, args...))
}

// next gives the coming token and where it begins.
func (r *jsonReader) next() (json.Token, int, error) {
	before := int(r.decoder.InputOffset())
	token, err := r.decoder.Token()
	for before < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[before]) >= 0 {
		before++
	}
	return token, before, err
}

func (r *jsonReader) place(offset int) (line, column int) {
	line = sort.SearchInts(r.starts, offset+1)
	return line, utf8.RuneCount(r.data[r.starts[line-1]:min(offset, len(r.data))]) + 1
}

func (r *jsonReader) read(depth int) (*node, error) {
	token, offset, err := r.next()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, r.fail(offset, "nested deeper than %d", maxDepth)
	}
	n := &node{doc: r.doc}
	n.line, n.column = r.place(offset)
	switch token := token.(type) {
	case bool:
		n.kind, n.truth = boolean, token
	case string:
		n.kind, n.text = text, token
	case json.Number:
		if !isJSONNumber(string(token)) {
			return nil, r.fail(offset, "a number out of all bounds")
		}
		n.kind, n.text = number, string(token)
	case json.Delim:
		if token == '[' {
			return n, r.list(n, depth)
		}
		return n, r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n *node, depth int) error {
	n.kind = list
	for r.decoder.More() {
		item, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, adopt(n, item, strconv.Itoa(len(n.items))))
	}
	_, _, err := r.next()
	return err
}

func (r *jsonReader) object(n *node, depth int) error {
	n.kind = object
	names := map[string]bool{}
	for r.decoder.More() {
		token, offset, err := r.next()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok || names[name] {
			return r.fail(offset, "member %q is written twice", name)
		}
		names[name] = true
		value, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		line, column := r.place(offset)
		n.members = append(n.members, member{name, line, column, adopt(n, value, name)})
	}
	_, _, err := r.next()
	return err
}
