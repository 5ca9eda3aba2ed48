package config

import (
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"sort"
	"strings"
)

// Part is one section of the document and the type it is decoded into.
type Part struct {
	// Name is the section's path. "[]" stands for every entry of a list and ".*" for every key of a mapping, as in
	// "guards.rate", "apis[].guards.rate" or "profile".
	Name string
	Type reflect.Type
	Doc  string // what the section is for, one or two sentences
}

// Manual gives the comment of a field or type by its Go name: "rate.Config.PerAddress". Package config/manual makes it.
type Manual map[string]string

// object is a JSON Schema.
type object map[string]any

// Schema makes the JSON Schema (2020-12) of a whole document that consists of parts. Every object is closed. It panics on
// parts that contradict each other, which is a mistake of ours.
func Schema(parts []Part, manual Manual) ([]byte, error) {
	s := &schemer{manual: manual}
	root := object{"type": "object", "additionalProperties": false, "properties": object{}}
	ordered := append([]Part(nil), parts...)
	sort.SliceStable(ordered, func(i, j int) bool { return len(steps(ordered[i].Name)) < len(steps(ordered[j].Name)) })
	for _, p := range ordered {
		if err := s.put(root, steps(p.Name), p); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", p.Name, err)
		}
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "gatehouse.yaml"
	return json.MarshalIndent(root, "", "  ")
}

// steps cuts "apis[].guards.rate" into apis, [], guards, rate.
func steps(name string) []string {
	return strings.FieldsFunc(strings.ReplaceAll(name, "[]", ".[]"), func(r rune) bool { return r == '.' })
}

type schemer struct {
	manual Manual
}

// put hangs a part's schema into the tree of objects, making the ones on the way.
func (s *schemer) put(at object, way []string, p Part) error {
	for i, word := range way {
		last := i == len(way)-1
		var here object
		switch word {
		case "[]":
			at["type"] = "array"
			here = childOf(at, "items")
		case "*":
			at["type"] = "object"
			delete(at, "properties")
			here = childOf(at, "additionalProperties")
		default:
			at["type"] = "object"
			if at["additionalProperties"] == nil {
				at["additionalProperties"] = false
			}
			here = childOf(childOf(at, "properties"), word)
		}
		if last {
			return s.fill(here, p)
		}
		at = here
	}
	return fmt.Errorf("no name")
}

func childOf(at object, key string) object {
	if inner, ok := at[key].(object); ok {
		return inner
	}
	inner := object{}
	at[key] = inner
	return inner
}

func (s *schemer) fill(here object, p Part) error {
	delete(here, "description") // of the Elsewhere that stands for the part
	if len(here) > 0 {
		return fmt.Errorf("two parts have this name")
	}
	for k, v := range s.typed(p.Type, rules{}, nil) {
		here[k] = v
	}
	if p.Doc != "" {
		here["description"] = p.Doc
	}
	return nil
}

// typed is the schema of a type. Outer are the struct types it stands in, so that a type inside itself is found.
func (s *schemer) typed(t reflect.Type, r rules, outer []reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		return s.typed(t.Elem(), r, outer)
	}
	if t == reflect.TypeFor[Elsewhere]() {
		return object{}
	}
	long := s.shaped(t, r, outer)
	if long == nil {
		return s.scalar(t, r)
	}
	if isText(t) {
		return object{"anyOf": []object{s.scalar(t, r), long}}
	}
	return long
}

// shaped is the schema of a mapping or list, nil for scalars.
func (s *schemer) shaped(t reflect.Type, r rules, outer []reflect.Type) object {
	switch shapeOf(t) {
	case reflect.Struct:
		return s.structure(t, outer)
	case reflect.Map:
		o := object{"type": "object", "additionalProperties": s.typed(t.Elem(), rules{}, outer)}
		if words := wordsOf(t.Key()); words != nil {
			o["propertyNames"] = object{"enum": words}
		}
		if r.required || r.nonempty {
			o["minProperties"] = 1
		}
		return o
	case reflect.Slice:
		inner := r
		inner.required, inner.nonempty = false, r.required || r.nonempty
		if shapeOf(t.Elem()) != reflect.Invalid {
			inner = rules{}
		}
		o := object{"type": "array", "items": s.typed(t.Elem(), inner, outer)}
		if r.required || r.nonempty {
			o["minItems"] = 1
		}
		return o
	}
	return nil
}

func (s *schemer) structure(t reflect.Type, outer []reflect.Type) object {
	for _, o := range outer {
		if o == t {
			panic("config: " + t.String() + " contains itself")
		}
	}
	outer = append(outer[:len(outer):len(outer)], t)
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		o := s.typed(f.typ, f.rules, outer)
		if text := s.manual.of(f); text != "" {
			o["description"] = text
		}
		properties[f.name] = o
		if f.rules.required {
			required = append(required, f.name)
		}
	}
	o := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// of is the comment of a field.
func (m Manual) of(f field) string { return m[goName(f.owner)+"."+f.ident] }

// goName is "rate.Config" for the type Config of a package rate.
func goName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return path.Base(t.PkgPath()) + "." + name
}

func wordsOf(t reflect.Type) []string {
	if e, ok := reflect.New(t).Interface().(interface{ Values() []string }); ok {
		return e.Values()
	}
	return nil
}

func (s *schemer) scalar(t reflect.Type, r rules) object {
	if words := wordsOf(t); words != nil && shapeOf(t) == reflect.Invalid {
		return object{"enum": words}
	}
	o := object{}
	w := wantedOf(t)
	switch {
	case w.pattern != "":
		o["type"] = "string"
		o["pattern"] = w.pattern
		o["examples"] = []string{w.example}
		if takesNumber(w) {
			o["type"] = []string{"string", "integer"}
			o["minimum"] = 0
		}
	case isText(t):
		o["type"] = []string{"string", "integer"}
	default:
		s.basic(o, t, r)
	}
	if r.public {
		o["x-public"] = true // for those who make test documents: random text is no mistake here
	}
	if (r.required || r.nonempty) && o["type"] == "string" {
		o["minLength"] = 1
	}
	return o
}

// takesNumber tells that a text may be written as a plain whole number, as sizes may.
func takesNumber(w wanted) bool {
	return strings.HasSuffix(w.pattern, ")?$") && strings.HasPrefix(w.pattern, "^[0-9]+")
}

func (s *schemer) basic(o object, t reflect.Type, r rules) {
	switch t.Kind() {
	case reflect.Bool:
		o["type"] = "boolean"
	case reflect.String:
		o["type"] = "string"
	case reflect.Float64:
		o["type"] = "number"
		boundNumber(o, r)
	default:
		o["type"] = "integer"
		low, high := bounds(reflect.New(t).Elem(), r)
		o["minimum"], o["maximum"] = json.Number(low.String()), json.Number(high.String())
	}
}

func boundNumber(o object, r rules) {
	if r.min != nil {
		o["minimum"] = *r.min
	}
	if r.max != nil {
		o["maximum"] = *r.max
	}
}
