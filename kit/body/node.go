package body

import "encoding/json"

// NodeKind says what a Node is.
type NodeKind uint8

// The kinds of RFC 8259, with true and false apart.
const (
	Null NodeKind = iota
	False
	True
	Number
	String
	Array
	Object
)

// Node is one value of a JSON text. The nodes of a text stand in one slice in the order of the text, an array or object
// right before what it holds: the first thing that node i holds is node i+1, what follows it is node Next. One slice
// costs a tenth of the maps and boxes that the same value takes as an any.
type Node struct {
	Text string // of a string, without its escapes; of a number, as it was written
	Name string // of the member, when the value stands in an object
	Next int32  // the first node after this one and all that it holds
	Size int32  // how many elements or members it holds
	Kind NodeKind
}

// Value is a JSON body as nil, bool, json.Number, string, []any and map[string]any; nil for any other body. It is made
// when it is first asked for, and then stays the same.
func (t *Tree) Value() any {
	if t.value == nil && len(t.Nodes) > 0 {
		t.value = value(t.Nodes, 0)
	}
	return t.value
}

func value(nodes []Node, at int) any {
	n := &nodes[at]
	switch n.Kind {
	case False, True:
		return n.Kind == True
	case Number:
		return json.Number(n.Text)
	case String:
		return n.Text
	case Array:
		list := make([]any, 0, n.Size)
		for i := at + 1; i < int(n.Next); i = int(nodes[i].Next) {
			list = append(list, value(nodes, i))
		}
		return list
	case Object:
		object := make(map[string]any, n.Size)
		for i := at + 1; i < int(n.Next); i = int(nodes[i].Next) {
			object[nodes[i].Name] = value(nodes, i)
		}
		return object
	}
	return nil
}
