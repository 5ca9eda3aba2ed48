package openapi

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/oasdiff/yaml3"
)

// parseYAML reads YAML by the rules of YAML 1.2: yes, no, on and off are texts, and so is a date.
func parseYAML(d *document, data []byte) (root *node, f *fault) {
	defer func() {
		if r := recover(); r != nil {
			root, f = nil, &fault{what: "the file is no YAML that can be read"}
		}
	}()
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var first, second yaml.Node
	if err := decoder.Decode(&first); err != nil {
		if err.Error() == "EOF" {
			return nil, &fault{line: 1, column: 1, what: "the file is empty"}
		}
		return nil, yamlFault(err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, &fault{second.Line, max(second.Column, 1), "the file has a second document"}
	} else if err.Error() != "EOF" {
		return nil, yamlFault(err)
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 {
		return nil, &fault{line: 1, column: 1, what: "the file is empty"}
	}
	r := yamlReader{doc: d, done: map[*yaml.Node]*node{}}
	root = r.read(first.Content[0], 0)
	return root, r.fault
}

// yamlFault takes the line out of the library's words.
func yamlFault(err error) *fault {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	f := &fault{what: what}
	if rest, ok := strings.CutPrefix(what, "line "); ok {
		if number, words, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				f.line, f.column, f.what = line, 1, words
			}
		}
	}
	f.what = "not YAML: " + f.what
	return f
}

type yamlReader struct {
	doc   *document
	done  map[*yaml.Node]*node // nil while a node is being read
	fault *fault
}

func (r *yamlReader) fail(y *yaml.Node, what string, args ...any) *node {
	if r.fault == nil {
		r.fault = &fault{y.Line, y.Column, fmt.Sprintf(what, args...)}
	}
	return &node{doc: r.doc, line: y.Line, column: y.Column}
}

func (r *yamlReader) read(y *yaml.Node, depth int) *node {
	if depth > maxDepth {
		return r.fail(y, "nested deeper than %d", maxDepth)
	}
	if y.Kind == yaml.AliasNode {
		return r.alias(y)
	}
	anchored := y.Anchor != ""
	if anchored {
		r.done[y] = nil
	}
	n := &node{doc: r.doc, line: y.Line, column: y.Column}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = object
		r.mapping(n, y, depth)
	case yaml.SequenceNode:
		n.kind = list
		for i, c := range y.Content {
			n.items = append(n.items, adopt(n, r.read(c, depth+1), strconv.Itoa(i)))
		}
	case yaml.ScalarNode:
		r.scalar(n, y)
	default:
		return r.fail(y, "not YAML")
	}
	if anchored {
		r.done[y] = n
	}
	return n
}

func (r *yamlReader) alias(y *yaml.Node) *node {
	n, known := r.done[y.Alias]
	switch {
	case !known:
		return r.fail(y, "alias *%s before its anchor", y.Value)
	case n == nil:
		return r.fail(y, "alias *%s inside its own anchor", y.Value)
	}
	return n
}

func (r *yamlReader) mapping(n *node, y *yaml.Node, depth int) {
	names := make(map[string]bool, len(y.Content)/2)
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			r.fail(k, "the name of a member is not a text")
			return
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, r.read(v, depth+1))
			continue
		}
		if names[k.Value] {
			r.fail(k, "member %q is written twice", k.Value)
			return
		}
		names[k.Value] = true
		value := adopt(n, r.read(v, depth+1), k.Value)
		n.members = append(n.members, member{k.Value, k.Line, k.Column, value})
	}
	for _, m := range merged {
		r.merge(n, m, names)
	}
}

// merge adds the members of "<<: *anchor" that aren't written.
func (r *yamlReader) merge(n, from *node, names map[string]bool) {
	if from.kind == list {
		for _, item := range from.items {
			r.merge(n, item, names)
		}
		return
	}
	for _, m := range from.members {
		if !names[m.name] {
			names[m.name] = true
			n.members = append(n.members, m)
		}
	}
}

func (r *yamlReader) scalar(n *node, y *yaml.Node) {
	switch y.ShortTag() {
	case "!!null":
		n.kind = null
	case "!!bool":
		n.kind, n.truth = boolean, strings.EqualFold(y.Value, "true")
	case "!!int":
		n.kind, n.text = number, integerLiteral(y.Value)
	case "!!float":
		n.kind, n.text = number, floatLiteral(y.Value)
	case "!!binary":
		r.fail(y, "a binary value has no place in a contract")
	default:
		n.kind, n.text = text, y.Value
		return
	}
	if n.kind == number && n.text == "" {
		r.fail(y, "%q is not a number that JSON has", y.Value)
	}
}

// integerLiteral writes a YAML integer (0x1F, 0o17, 1_000, +5) as JSON does, or gives "".
func integerLiteral(s string) string {
	if isJSONNumber(s) {
		return s
	}
	if i, ok := new(big.Int).SetString(s, 0); ok && len(s) <= 100 {
		return i.String()
	}
	return ""
}

// floatLiteral writes a YAML float (1., .5, +1.5) as JSON does, or gives "" for .inf and .nan.
func floatLiteral(s string) string {
	if isJSONNumber(s) {
		return s
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil {
		return ""
	}
	literal := strconv.FormatFloat(f, 'g', -1, 64)
	if !isJSONNumber(literal) {
		return ""
	}
	return literal
}
