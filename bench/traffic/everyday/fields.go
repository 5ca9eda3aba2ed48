package everyday

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Declared is what the contract says of a field.
type Declared struct {
	Field
	Sink string // x-gatehouse-sink, "" when nothing is said
	Free bool   // a text of which its schema says no more than how long it may be
}

// Kind tells what the contract says becomes of a text: the sink, "unsaid" where nothing is, or "confined" where the schema says
// what the value looks like and nothing else.
func (d Declared) Kind() string {
	switch {
	case d.Sink != "":
		return d.Sink
	case d.Free:
		return "unsaid"
	}
	return "confined"
}

// Fields reads them from the contract.
func Fields() ([]Declared, error) {
	var root map[string]any
	if err := yaml.Unmarshal([]byte(Contract()), &root); err != nil {
		return nil, err
	}
	c := contract{root: root}
	paths := member(root, "paths")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := member(paths, path)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			c.read(member(item, method))
		}
	}
	return c.found, nil
}

// contract is the document as plain maps.
type contract struct {
	root  map[string]any
	found []Declared
}

func member(m map[string]any, name string) map[string]any {
	sub, _ := m[name].(map[string]any)
	return sub
}

func (c *contract) read(op map[string]any) {
	name, _ := op["operationId"].(string)
	parameters, _ := op["parameters"].([]any)
	for _, one := range parameters {
		p, _ := one.(map[string]any)
		called, _ := p["name"].(string)
		sink, _ := p["x-gatehouse-sink"].(string)
		c.schema(Field{name, called}, member(p, "schema"), sink)
	}
	for _, media := range member(member(op, "requestBody"), "content") {
		m, _ := media.(map[string]any)
		c.schema(Field{name, ""}, member(m, "schema"), "")
	}
}

// schema finds the values below a schema.
func (c *contract) schema(at Field, s map[string]any, sink string) {
	if ref, ok := s["$ref"].(string); ok {
		at := c.root
		for word := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			at = member(at, word)
		}
		s = at
	}
	below := func(name string) Field {
		return Field{at.Operation, strings.TrimPrefix(at.Name+"."+name, ".")}
	}
	switch s["type"] {
	case "object":
		properties := member(s, "properties")
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			c.schema(below(name), member(properties, name), "")
		}
	case "array":
		c.schema(below("*"), member(s, "items"), "")
	default:
		if said, ok := s["x-gatehouse-sink"].(string); ok {
			sink = said
		}
		free := s["type"] == "string"
		for _, word := range []string{"enum", "pattern", "format"} {
			free = free && s[word] == nil
		}
		c.found = append(c.found, Declared{at, sink, free})
	}
}
