package body

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Leaves walks over everything in the tree that is text, in an order that is the same each time, for whoever looks at
// texts and not at structure. The path says where it stands: json.a.0.b, form.q, part.photo, part.photo.filename, text,
// xml. Numbers and booleans come as they are written; null and an empty array or object as "", for the sake of the names
// in its path. A JSON object's names come in sorted order. An opaque body has no leaves.
func (t *Tree) Leaves(visit func(path, value string)) {
	switch t.Kind {
	case JSON:
		w := walker{path: append(make([]byte, 0, 64), "json"...), visit: visit}
		w.walk(t.Value())
	case Form:
		for _, p := range t.Form {
			visit("form."+p.Name, p.Value)
		}
	case Multipart:
		for _, p := range t.Parts {
			visit("part."+p.Name, string(p.Data))
			if p.FileName != "" {
				visit("part."+p.Name+".filename", p.FileName)
			}
		}
	case Text:
		visit("text", string(t.Raw))
	case XML:
		visit("xml", string(t.Raw))
	}
}

type walker struct {
	path  []byte
	visit func(path, value string)
}

func (w *walker) leaf(value string) { w.visit(string(w.path), value) }

func (w *walker) walk(value any) {
	size := len(w.path)
	switch v := value.(type) {
	case nil:
		w.leaf("")
	case bool:
		w.leaf(strconv.FormatBool(v))
	case json.Number:
		w.leaf(string(v))
	case string:
		w.leaf(v)
	case []any:
		if len(v) == 0 {
			w.leaf("")
		}
		for i, element := range v {
			w.path = strconv.AppendInt(append(w.path[:size], '.'), int64(i), 10)
			w.walk(element)
		}
	case map[string]any:
		if len(v) == 0 {
			w.leaf("")
		}
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			w.path = append(append(w.path[:size], '.'), name...)
			w.walk(v[name])
		}
	}
	w.path = w.path[:size]
}
