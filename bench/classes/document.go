package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// document is an OpenAPI document as plain maps.
type document struct {
	root       map[string]any
	operations []operation
}

// operation is one of it.
type operation struct {
	method, path string
	parameters   []map[string]any
	body         map[string]any // content by media type; nil without a body
}

// read reads a document, and makes every operation public and free of servers: neither is what is measured.
func read(file string) (*document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &document{}
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		return nil, err
	}
	delete(d.root, "servers")
	delete(d.root, "security")
	paths, _ := d.root["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := d.object(paths[path])
		delete(item, "servers")
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			op, ok := item[method].(map[string]any)
			if !ok {
				continue
			}
			delete(op, "servers")
			delete(op, "callbacks")
			delete(op, "x-gatehouse-roles")
			op["security"] = []any{}
			o := operation{method: strings.ToUpper(method), path: path, parameters: d.parameters(item["parameters"], op["parameters"])}
			if body := d.object(op["requestBody"]); body != nil {
				o.body, _ = body["content"].(map[string]any)
			}
			d.operations = append(d.operations, o)
		}
	}
	return d, nil
}

func (d *document) write(file string) error {
	text, err := json.Marshal(d.root)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// parameters are those of the path and of the operation, which come later and count.
func (d *document) parameters(lists ...any) []map[string]any {
	byName := map[string]map[string]any{}
	for _, list := range lists {
		items, _ := list.([]any)
		for _, item := range items {
			if p := d.object(item); p != nil {
				byName[fmt.Sprint(p["in"], " ", p["name"])] = p
			}
		}
	}
	var out []map[string]any
	for _, key := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[key])
	}
	return out
}

// object follows references inside the document.
func (d *document) object(value any) map[string]any {
	for range 20 {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		value = d.at(ref)
	}
	return nil
}

func (d *document) at(ref string) any {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	var value any = d.root
	for word := range strings.SplitSeq(pointer, "/") {
		m, _ := value.(map[string]any)
		value = m[strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}").Replace(word)]
	}
	return value
}
