package openapi

import (
	"encoding/json"
	"strconv"
	"strings"
)

// kind says what a node is.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

var kindNames = [...]string{"null", "a boolean", "a number", "a text", "a list", "an object"}

func (k kind) String() string { return kindNames[k] }

// node is a value of a document with its place. A node that an alias names twice exists once.
type node struct {
	kind    kind
	text    string // of a text; of a number its JSON literal
	truth   bool
	items   []*node
	members []member
	index   map[string]*node // of members, once there are many

	line, column int
	doc          *document
	parent       *node
	key          string // under which the parent has it
}

type member struct {
	name         string
	line, column int
	value        *node
}

// get gives the member of that name, or nil; it may be asked of any node, also of nil.
func (n *node) get(name string) *node {
	if n == nil || n.kind != object {
		return nil
	}
	if len(n.members) > 12 {
		if n.index == nil {
			n.index = make(map[string]*node, len(n.members))
			for _, m := range n.members {
				n.index[m.name] = m.value
			}
		}
		return n.index[name]
	}
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// step follows one token of a JSON pointer.
func (n *node) step(token string) *node {
	if n != nil && n.kind == list {
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(n.items) || strconv.Itoa(i) != token {
			return nil
		}
		return n.items[i]
	}
	return n.get(token)
}

// str is the value of a text member, "" when there is none.
func (n *node) str(name string) string {
	if m := n.get(name); m != nil && m.kind == text {
		return m.text
	}
	return ""
}

// yes tells that a member is the boolean true.
func (n *node) yes(name string) bool {
	m := n.get(name)
	return m != nil && m.kind == boolean && m.truth
}

// pointer is the node's place, such as "orders.yaml#/paths/~1orders/get".
func (n *node) pointer() string {
	var tokens []string
	for m := n; m.parent != nil; m = m.parent {
		tokens = append(tokens, escapeToken(m.key))
	}
	var b strings.Builder
	b.WriteString(n.doc.name)
	b.WriteByte('#')
	for i := len(tokens) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(tokens[i])
	}
	return b.String()
}

func escapeToken(token string) string {
	if strings.ContainsAny(token, "~/") {
		return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
	}
	return token
}

func unescapeToken(token string) string {
	if strings.Contains(token, "~") {
		return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return token
}

// value is the node as encoding/json would give it, numbers as json.Number.
func (n *node) value() any {
	switch n.kind {
	case boolean:
		return n.truth
	case number:
		return json.Number(n.text)
	case text:
		return n.text
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = item.value()
		}
		return items
	case object:
		members := make(map[string]any, len(n.members))
		for _, m := range n.members {
			members[m.name] = m.value.value()
		}
		return members
	}
	return nil
}
