package mutate

import "strings"

// entry is one key of the document, or one scalar entry of a list, with what the schema says of it.
type entry struct {
	line   int // 0-based, as are columns here
	indent int // column of the key, or of the value of a list entry
	key    string
	quoted bool
	dash   bool // the key is the first of a list entry, or the value is one
	value  string
	at     int // column of the value
	end    int // first line after all that belongs to the entry
	parent *entry
	node   map[string]any // schema of the value
	within map[string]any // schema of the mapping that has the key; nil for list entries
}

// free tells that the document's author chooses the key.
func (e *entry) free() bool {
	if e.key == "" || e.within == nil {
		return true
	}
	_, fixed := properties(e.within)[e.key]
	return !fixed
}

func properties(schema map[string]any) map[string]any {
	p, _ := schema["properties"].(map[string]any)
	return p
}

// required tells that the key may not be left out.
func (e *entry) required() bool {
	if e.within == nil {
		return false
	}
	list, _ := e.within["required"].([]any)
	for _, k := range list {
		if k == e.key {
			return true
		}
	}
	return false
}

// scan finds the entries of a document in block style.
func scan(lines []string, schema any) []*entry {
	root, _ := schema.(map[string]any)
	var entries []*entry
	type level struct {
		indent int
		owner  *entry
		schema map[string]any // of the mapping or of the list's entries
	}
	stack := []level{{-1, nil, root}}
	for i, line := range lines {
		text := strings.TrimLeft(line, " ")
		indent := len(line) - len(text)
		if text == "" || text[0] == '#' {
			continue
		}
		dash := false
		if rest, ok := strings.CutPrefix(text, "- "); ok {
			for len(stack) > 1 && stack[len(stack)-1].indent >= indent {
				stack = stack[:len(stack)-1]
			}
			top := stack[len(stack)-1]
			items, _ := long(top.schema)["items"].(map[string]any)
			stack = append(stack, level{indent, top.owner, items})
			dash, text, indent = true, rest, indent+2
		} else {
			for len(stack) > 1 && stack[len(stack)-1].indent >= indent {
				stack = stack[:len(stack)-1]
			}
		}
		top := stack[len(stack)-1]
		e := &entry{line: i, indent: indent, dash: dash, end: len(lines), parent: top.owner}
		closeEntries(entries, e)
		entries = append(entries, e)
		key, value, isKey := cutKey(text)
		if !isKey {
			e.value, e.at, e.node = text, indent, top.schema
			continue
		}
		e.quoted = text[0] == '"'
		e.key, e.value, e.at = key, value, indent+len(text)-len(value)
		e.within = long(top.schema)
		e.node, _ = properties(e.within)[key].(map[string]any)
		if e.node == nil {
			e.node, _ = e.within["additionalProperties"].(map[string]any)
		}
		stack = append(stack, level{indent, e, e.node})
	}
	return entries
}

// closeEntries ends those that do not contain the new one.
func closeEntries(entries []*entry, e *entry) {
	begin := e.indent
	if e.dash {
		begin -= 2
	}
	for _, old := range entries {
		inside := begin > old.indent && old.key != "" || e.dash && begin == old.indent && !old.dash
		if old.end > e.line && !inside {
			old.end = e.line
		}
	}
}

// long is the form of a schema that is not the short form of the same.
func long(schema map[string]any) map[string]any {
	choices, ok := schema["anyOf"].([]any)
	if !ok {
		return schema
	}
	last, _ := choices[len(choices)-1].(map[string]any)
	return last
}

// cutKey splits "key: value" or "key:".
func cutKey(text string) (key, value string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		end := strings.Index(text[1:], `"`)
		if end < 0 || !strings.HasPrefix(text[end+2:], ":") {
			return "", "", false
		}
		return text[1 : end+1], strings.TrimLeft(text[end+3:], " "), true
	}
	if word, found := strings.CutSuffix(text, ":"); found && !strings.ContainsAny(word, " [{\"") {
		return word, "", true
	}
	word, rest, found := strings.Cut(text, ": ")
	if !found || strings.ContainsAny(word, " [{\"") {
		return "", "", false
	}
	return word, strings.TrimLeft(rest, " "), true
}
