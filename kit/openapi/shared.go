package openapi

import "strings"

// Several parts of one value may each declare the same property: allOf of a base and a refinement, both with an object
// "data". Each of the two schemas of data knows only its own properties, so that each, closed by itself, would refuse those
// of the other. Such a property is passed over where it is declared, and judged and closed once, by all of its declarations together.

// maxJoined bounds how many such properties a contract may have.
const maxJoined = 10_000

// severalTimes is a property with its declarations.
type severalTimes struct {
	name         string
	declarations []*node
}

// findShared finds the properties of this value that need it, and marks them for the parts.
func (t *translation) findShared() []severalTimes {
	if len(t.s.inPlace(t.n)) == 0 {
		return nil
	}
	var order []string
	found := map[string][]*node{}
	t.s.declarations(t.n, map[*node]bool{}, func(name string, n *node) {
		if found[name] == nil {
			order = append(order, name)
		}
		found[name] = append(found[name], n)
	})
	var several []severalTimes
	for _, name := range order {
		if !t.s.needsJoining(found[name]) {
			continue
		}
		if t.shared == nil {
			t.shared = map[string]bool{}
		}
		t.shared[name] = true
		several = append(several, severalTimes{name, found[name]})
	}
	return several
}

// needsJoining tells that two declarations have properties of their own.
func (s *schemas) needsJoining(declarations []*node) bool {
	withProperties := 0
	for _, d := range declarations {
		if s.traitsOf(d, map[*node]bool{}).properties {
			withProperties++
		}
	}
	return withProperties > 1
}

// declarations visits the properties that always apply to a value, but for those that no request may have.
func (s *schemas) declarations(n *node, seen map[*node]bool, visit func(string, *node)) {
	if n == nil || n.kind != object || seen[n] {
		return
	}
	seen[n] = true
	if s.l.minor > 0 || n.get("$ref") == nil {
		for _, m := range n.get("properties").each() {
			if !s.isReadOnly(m.value, 0) {
				visit(m.name, m.value)
			}
		}
	}
	for _, p := range s.inPlace(n) {
		if p.always {
			s.declarations(p.node, seen, visit)
		}
	}
}

// join closes each shared property over all of its declarations.
func (t *translation) join(several []severalTimes) {
	for _, p := range several {
		e := t.s.use(t.s.joinedNode(p.declarations), closed, nil)
		if e == nil {
			continue
		}
		parts, _ := t.out["allOf"].([]any)
		t.out["allOf"] = append(parts, map[string]any{"properties": map[string]any{p.name: map[string]any{"$ref": e.url}}})
	}
}

// joinedNode is a schema that says all that the declarations say. It stands at the place of the first.
func (s *schemas) joinedNode(declarations []*node) *node {
	var name strings.Builder
	targets := make([]*node, 0, len(declarations))
	for _, d := range declarations {
		target := d
		for range maxReferences {
			if next := s.l.followed(target); next != nil && s.isPlainReference(target) {
				target = next
			}
		}
		targets = append(targets, target)
		name.WriteString(target.pointer() + "\x00")
	}
	if known := s.joined[name.String()]; known != nil {
		return known
	}
	first := targets[0]
	n := &node{kind: object, line: first.line, column: first.column, doc: first.doc, parent: first.parent, key: first.key}
	n.members = []member{{name: "allOf", value: &node{kind: list, items: targets, doc: n.doc, parent: n, key: "allOf"}}}
	if s.joined[name.String()] = n; len(s.joined) > maxJoined {
		s.l.fail(first, "", "too many schemas declare the same properties in different ways")
		n.members = nil
	}
	return n
}

// followed gives what a $ref names, nil for anything else.
func (l *loader) followed(n *node) *node {
	if ref := n.get("$ref"); ref != nil {
		return l.follow(ref)
	}
	return nil
}
