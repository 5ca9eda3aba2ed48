// Package route finds the operation that a canonical request asks for. It promises that the answer depends on the
// templates alone, never on how many there are or in which order they were written, and that nothing matches which was
// not written: no redirect, no cleaning, no trailing slash added or taken away. A matcher that is cleverer than the server
// behind it is a way round every rule that hangs on the match (adversary rows A1 to A24).
//
// At each segment a literal wins over a template, a template with more literal text around its value wins over one with
// less, and the search goes back to the next best when the rest of the path does not fit. The path is matched before the
// method: /orders/mine is never answered by /orders/{id} only because it lacks the method.
package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Entry is one operation to be found.
type Entry[T any] struct {
	Method   string // upper case; "*" is every method that is not declared for the same path
	Template string // such as /orders/{id}; the base path of the API belongs to it or is cut off before matching
	Below    bool   // matches Template and every path below it; Template has no variables then
	Value    T
	Place    string // where it is written, for mistakes
}

// Table finds entries. It never changes after New, and many goroutines may use it at once. The zero Table finds nothing.
type Table[T any] struct{ root *node[T] }

// New makes a table. Every mistake is returned, as a mistake.List whose paths are the entries' places: a template that no
// request can match, and two equal templates (equal but for the names of their variables) with the same method.
func New[T any](entries []Entry[T]) (*Table[T], error) {
	t := &Table[T]{root: &node[T]{}}
	var list mistake.List
	for _, e := range entries {
		segments, err := Parse(e.Template)
		if err != nil {
			list.Add(e.Place, "", "%s", err)
			continue
		}
		t.add(e, segments, &list)
	}
	t.root.finish()
	return t, list.Err()
}

func (t *Table[T]) add(e Entry[T], segments []Segment, list *mistake.List) {
	if e.Below && slices.ContainsFunc(segments, func(s Segment) bool { return s.Name != "" }) {
		list.Add(e.Place, "", "template %q admits every path below it and so has no variables", e.Template)
		return
	}
	if e.Below && segments[len(segments)-1] == (Segment{}) {
		segments = segments[:len(segments)-1] // "/" and everything below, "/files/" likewise
	}
	n := t.root
	var names []string
	for _, s := range segments {
		n = n.child(s)
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	if e.Below {
		n = n.everythingBelow()
	}
	if old := n.leaf(e.Method); old != nil {
		list.Add(e.Place, "", "%s %s is the same as %s %s at %s", e.Method, e.Template, e.Method, old.template, old.place)
		return
	}
	n.leaves = append(n.leaves, leaf[T]{method: e.Method, value: e.Value, names: names, template: e.Template, place: e.Place})
}

// Match finds the entry for a method and the decoded segments of a canonical path (see canon.Request). The values of the
// template's variables come in the order of the path and are never empty. When the path is known but not with this method,
// ok is false and allow lists the methods that are declared, sorted. HEAD is answered by a declared GET. Segments and
// allow are not to be changed.
func (t *Table[T]) Match(method string, segments []string) (value T, params []canon.Pair, allow []string, ok bool) {
	if t.root == nil {
		return value, nil, nil, false
	}
	var room [8]string
	n, values := t.root.find(segments, room[:0])
	if n == nil {
		return value, nil, nil, false
	}
	l := n.leaf(method)
	if l == nil && method == "HEAD" {
		l = n.leaf("GET")
	}
	if l == nil {
		l = n.leaf("*")
	}
	if l == nil {
		return value, nil, n.allow, false
	}
	if len(l.names) > 0 {
		params = make([]canon.Pair, len(l.names))
		for i, name := range l.names {
			params[i] = canon.Pair{Name: name, Value: values[i]}
		}
	}
	return l.value, params, nil, true
}

// node is a place in the tree of segments. The tree is as deep as the longest template, and a search visits each node at
// most once, so that no contract and no path makes it slow.
type node[T any] struct {
	literal literals[T]
	written map[string]*node[T] // the literals, until the table is finished
	partial []partial[T]        // the one with the most literal text first
	any     *node[T]            // a whole segment
	below   *node[T]            // everything below, the last choice
	leaves  []leaf[T]
	allow   []string
}

type partial[T any] struct {
	prefix, suffix string
	node           *node[T]
}

type leaf[T any] struct {
	method          string
	value           T
	names           []string
	template, place string
}

func (n *node[T]) child(s Segment) *node[T] {
	switch {
	case s.Name == "":
		if n.written == nil {
			n.written = map[string]*node[T]{}
		}
		if n.written[s.Prefix] == nil {
			n.written[s.Prefix] = &node[T]{}
		}
		return n.written[s.Prefix]
	case s.Prefix == "" && s.Suffix == "":
		if n.any == nil {
			n.any = &node[T]{}
		}
		return n.any
	}
	for _, p := range n.partial {
		if p.prefix == s.Prefix && p.suffix == s.Suffix {
			return p.node
		}
	}
	p := partial[T]{s.Prefix, s.Suffix, &node[T]{}}
	n.partial = append(n.partial, p)
	return p.node
}

func (n *node[T]) everythingBelow() *node[T] {
	if n.below == nil {
		n.below = &node[T]{}
	}
	return n.below
}

func (n *node[T]) leaf(method string) *leaf[T] {
	for i := range n.leaves {
		if n.leaves[i].method == method {
			return &n.leaves[i]
		}
	}
	return nil
}

// find gives the best node for the segments, and the values on the way to it.
func (n *node[T]) find(segments, values []string) (*node[T], []string) {
	if len(segments) == 0 {
		if len(n.leaves) > 0 {
			return n, values
		}
		if n.below != nil {
			return n.below, values
		}
		return nil, nil
	}
	s, rest := segments[0], segments[1:]
	if c := n.literal.find(s); c != nil {
		if found, v := c.find(rest, values); found != nil {
			return found, v
		}
	}
	for i := range n.partial {
		p := &n.partial[i]
		if len(s) > len(p.prefix)+len(p.suffix) && strings.HasPrefix(s, p.prefix) && strings.HasSuffix(s, p.suffix) {
			if found, v := p.node.find(rest, append(values, s[len(p.prefix):len(s)-len(p.suffix)])); found != nil {
				return found, v
			}
		}
	}
	if n.any != nil && s != "" {
		if found, v := n.any.find(rest, append(values, s)); found != nil {
			return found, v
		}
	}
	if n.below != nil {
		return n.below, values
	}
	return nil, nil
}

// finish puts everything into the order in which it is tried, so that it does not depend on the order of writing.
func (n *node[T]) finish() {
	if n == nil {
		return
	}
	slices.SortFunc(n.partial, func(a, b partial[T]) int {
		return cmp.Or(
			cmp.Compare(len(b.prefix)+len(b.suffix), len(a.prefix)+len(a.suffix)),
			cmp.Compare(len(b.prefix), len(a.prefix)),
			cmp.Compare(a.prefix, b.prefix),
			cmp.Compare(a.suffix, b.suffix))
	})
	for _, l := range n.leaves {
		n.allow = append(n.allow, l.method)
	}
	if n.leaf("GET") != nil && n.leaf("HEAD") == nil {
		n.allow = append(n.allow, "HEAD")
	}
	slices.Sort(n.allow)
	for _, c := range n.written {
		c.finish()
	}
	n.literal, n.written = newLiterals(n.written), nil
	for _, p := range n.partial {
		p.node.finish()
	}
	n.any.finish()
	n.below.finish()
}

// String tells what a segment matches, as it would be written in a template.
func (s Segment) String() string {
	if s.Name == "" {
		return s.Prefix
	}
	return fmt.Sprintf("%s{%s}%s", s.Prefix, s.Name, s.Suffix)
}
