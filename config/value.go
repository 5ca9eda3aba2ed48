package config

import "encoding/json"

// Value is what stands at path as encoding/json would have read it: nil, bool, json.Number, string, []any and
// map[string]any. It serves the schema, which judges JSON; a section is decoded with Section.
func (d *Document) Value(path string) any {
	n := d.find(path).node
	if n == nil {
		return nil
	}
	return n.value()
}

func (n *node) value() any {
	switch n.kind {
	case kindMapping:
		m := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			m[p.key] = p.value.value()
		}
		return m
	case kindList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.value()
		}
		return list
	case kindScalar:
		switch n.style {
		case whole, real:
			return json.Number(n.text)
		case truth:
			return n.text == "true"
		}
		return n.text
	}
	return nil
}
