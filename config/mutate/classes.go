package mutate

import (
	"fmt"
	"slices"
	"strings"
)

// classes lists, for each kind of mistake, the changes that the document has room for.
func (m *maker) classes() map[string][]change {
	c := map[string][]change{}
	add := func(name string, f change) { c[name] = append(c[name], f) }
	for _, e := range m.entries {
		if e.key != "" {
			m.keyClasses(e, add)
		}
		if e.isScalar() {
			m.valueClasses(e, add)
		}
	}
	return c
}

// isScalar tells that the entry's value is a scalar on its line.
func (e *entry) isScalar() bool {
	return e.value != "" && !strings.ContainsAny(e.value[:1], "[{|>#") && e.end == e.line+1
}

func (m *maker) keyClasses(e *entry, add func(string, change)) {
	here := [2]int{e.line, e.indent}
	if !e.free() {
		add("typo", func() Mutation { return m.typo(e) })
		add("unknown key", func() Mutation {
			return m.with(e.line, here, "", m.rekeyed(e, pick(m.random.Intn, "zzz_unheard", "x9_nothing", "wibble_wobble", "qqqqqqqq")))
		})
	}
	if e.required() {
		add("missing required", func() Mutation { return m.without(e) })
	}
	add("no value", func() Mutation { return m.replaceBlock(e, here, m.head(e)) })
	add("duplicate key", func() Mutation { return m.duplicate(e) })
	if !e.dash && m.scalarAbove(e) {
		add("bad indentation", func() Mutation {
			return m.with(e.line, [2]int{e.line, e.indent + 1}, "", " "+m.lines[e.line])
		})
	}
	if e.value != "" && e.isScalar() {
		add("tab", func() Mutation {
			line := m.lines[e.line]
			return m.with(e.line, [2]int{e.line, e.at - 1}, "", line[:e.at-1]+"\t"+line[e.at:])
		})
		add("missing colon", func() Mutation {
			line := m.lines[e.line]
			return m.with(e.line, here, "", strings.Replace(line[:e.at], ":", "", 1)+line[e.at:])
		})
	}
	if typesOf(e.node)["array"] && isNeeded(e.node) && e.key != "" {
		add("empty list", func() Mutation { return m.replaceBlock(e, [2]int{e.line, e.valueColumn(m)}, m.head(e)+" []") })
	}
	if only := typesOf(e.node); only["object"] && len(only) == 1 {
		add("wrong type", func() Mutation { return m.replaceBlock(e, [2]int{e.line, e.valueColumn(m)}, m.head(e)+" 5") })
	}
}

// valueColumn is where a value put behind the bare key stands.
func (e *entry) valueColumn(m *maker) int { return len([]rune(m.head(e))) + 1 }

// head is the line of the entry up to the colon.
func (m *maker) head(e *entry) string {
	line := m.lines[e.line]
	if e.value == "" {
		return strings.TrimRight(line, " ")
	}
	return strings.TrimRight(line[:e.at], " ")
}

func (m *maker) rekeyed(e *entry, key string) string {
	line := m.lines[e.line]
	return line[:e.indent] + key + line[e.indent+len(e.key):]
}

// replaceBlock puts one line in the place of an entry and all that belongs to it.
func (m *maker) replaceBlock(e *entry, place [2]int, line string) Mutation {
	lines := append(slices.Clone(m.lines[:e.line]), line)
	lines = append(lines, m.lines[e.end:]...)
	return Mutation{Doc: []byte(strings.Join(lines, "\n") + "\n"), Line: place[0] + 1, Column: place[1] + 1}
}

// typo changes one letter of a key, so that it is no other key.
func (m *maker) typo(e *entry) Mutation {
	wrong := m.misspell(e.key)
	if _, exists := properties(e.within)[wrong]; exists || wrong == e.key || wrong == "" {
		return Mutation{}
	}
	return m.with(e.line, [2]int{e.line, e.indent}, e.key, m.rekeyed(e, wrong))
}

// misspell makes one of the four slips of a typist.
func (m *maker) misspell(word string) string {
	letters := []byte(word)
	i := m.random.Intn(len(letters))
	stray := byte('a' + m.random.Intn(26))
	switch m.random.Intn(4) {
	case 0:
		return string(slices.Delete(letters, i, i+1))
	case 1:
		return string(slices.Insert(letters, i, stray))
	case 2:
		letters[i] = stray
	default:
		if i+1 < len(letters) {
			letters[i], letters[i+1] = letters[i+1], letters[i]
		}
	}
	return string(letters)
}

// without leaves out a key and what belongs to it. A reader must point at the mapping's own key, or at the start of the
// list entry.
func (m *maker) without(e *entry) Mutation {
	if e.dash {
		return m.withoutFirst(e)
	}
	lines := append(slices.Clone(m.lines[:e.line]), m.lines[e.end:]...)
	place, left := m.home(e)
	if !left {
		return Mutation{}
	}
	return Mutation{Doc: []byte(strings.Join(lines, "\n") + "\n"), Line: place[0] + 1, Column: place[1] + 1}
}

// home is the place of the mapping that has the entry; false when the entry is alone in it.
func (m *maker) home(e *entry) ([2]int, bool) {
	siblings := m.siblings(e)
	if len(siblings) < 2 {
		return [2]int{}, false
	}
	if siblings[0].dash {
		return [2]int{siblings[0].line, siblings[0].indent}, true
	}
	if e.parent == nil {
		return [2]int{siblings[0].line, 0}, siblings[0] != e
	}
	return [2]int{e.parent.line, e.parent.indent}, true
}

// siblings are the keys of the mapping that has the entry.
func (m *maker) siblings(e *entry) []*entry {
	var list []*entry
	for _, other := range m.entries {
		if other.indent != e.indent || other.parent != e.parent || other.key == "" {
			continue
		}
		if other.dash && other.line > e.line {
			break
		}
		if other.dash {
			list = nil
		}
		list = append(list, other)
	}
	return list
}

// withoutFirst leaves out the first key of a list entry, whose second key then begins it.
func (m *maker) withoutFirst(e *entry) Mutation {
	siblings := m.siblings(e)
	if len(siblings) < 2 {
		return Mutation{}
	}
	next := siblings[1]
	lines := slices.Clone(m.lines)
	lines[next.line] = m.lines[e.line][:e.indent] + lines[next.line][next.indent:]
	lines = append(lines[:e.line], lines[next.line:]...)
	return Mutation{Doc: []byte(strings.Join(lines, "\n") + "\n"), Line: e.line + 1, Column: e.indent + 1}
}

// duplicate writes an entry's key once more behind it.
func (m *maker) duplicate(e *entry) Mutation {
	block := slices.Clone(m.lines[e.line:e.end])
	block[0] = strings.Repeat(" ", e.indent) + block[0][e.indent:]
	lines := append(slices.Clone(m.lines[:e.end]), block...)
	lines = append(lines, m.lines[e.end:]...)
	return Mutation{Doc: []byte(strings.Join(lines, "\n") + "\n"), Line: e.end + 1, Column: e.indent + 1}
}

// scalarAbove tells that the line above is a key of the same mapping with a scalar.
func (m *maker) scalarAbove(e *entry) bool {
	for _, other := range m.entries {
		if other.line == e.line-1 {
			return other.key != "" && other.indent == e.indent && other.isScalar()
		}
	}
	return false
}

func isNeeded(node map[string]any) bool { return long(node)["minItems"] != nil }

// typesOf are the JSON types that a schema takes.
func typesOf(node map[string]any) map[string]bool {
	types := map[string]bool{}
	if choices, ok := node["anyOf"].([]any); ok {
		for _, c := range choices {
			inner, _ := c.(map[string]any)
			for t := range typesOf(inner) {
				types[t] = true
			}
		}
		return types
	}
	switch t := node["type"].(type) {
	case string:
		types[t] = true
	case []any:
		for _, one := range t {
			types[fmt.Sprint(one)] = true
		}
	}
	return types
}

func pick(random func(int) int, words ...string) string { return words[random(len(words))] }
