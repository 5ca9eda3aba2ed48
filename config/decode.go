package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Elsewhere is the type of a field that another section decodes: the key is allowed, its value is not looked at here. Its
// value tells whether the key is there.
type Elsewhere bool

// Section decodes the section at path, such as "guards.rate" or "apis[0].upstream", into a C. The bool tells whether it is
// there. The error is a mistake.List of everything wrong with it, placed. Type C is a struct whose fields carry
//
//	yaml:"name"            the key; a field without it, or with "-", is not part of the document
//	yaml:"name,required"   the key must be there, and text or list not empty
//	yaml:"name,nonempty"   the list or text, when written, is not empty
//	yaml:"name,public"     text that may look random without being a secret, such as a client's id; what is
//	                       known to be a credential, such as a private key or a signed token, is refused all the same
//	yaml:"name,min=1,max=65535"
//	yaml:",inline"         a struct whose keys are keys of this mapping
//
// or any type that a field may have: bool, whole numbers, float64, string, time.Duration (2s), time.Time (2026-12-31 or RFC
// 3339), url.URL, slices, maps with text keys, pointers, structs, Elsewhere, and every encoding.TextUnmarshaler, which
// reads a scalar; a struct or slice that is also a TextUnmarshaler reads its short form from a scalar. A text type with
// Values() []string takes only these words.
func Section[C any](d *Document, path string) (C, bool, error) {
	var value C
	at := d.find(path)
	if at.node == nil {
		return value, false, nil
	}
	dec := &decoder{doc: d}
	dec.value(at.node, reflect.ValueOf(&value).Elem(), path, rules{})
	return value, true, d.finish(dec.found)
}

// decoder collects mistakes while it fills values.
type decoder struct {
	doc   *Document
	found mistake.List
}

func (dec *decoder) refuse(n *node, path, write, what string, args ...any) {
	dec.found = append(dec.found, placed(path, n.line, n.column, write, fmt.Sprintf(what, args...)))
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// value decodes one node into v. A node without a value was refused by Parse already.
func (dec *decoder) value(n *node, v reflect.Value, path string, r rules) {
	switch {
	case v.Type() == reflect.TypeFor[Elsewhere]():
		v.SetBool(true)
		return
	case n.kind == kindNull:
		return
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		dec.value(n, target.Elem(), path, r)
		v.Set(target)
		return
	}
	if n.kind == kindScalar {
		dec.scalar(n, v, path, r)
		return
	}
	switch kind := shapeOf(v.Type()); {
	case n.kind == kindMapping && kind == reflect.Struct:
		dec.structure(n, v, path)
	case n.kind == kindMapping && kind == reflect.Map:
		dec.mapping(n, v, path, r)
	case n.kind == kindList && kind == reflect.Slice:
		dec.list(n, v, path, r)
	default:
		w := wantedOf(v.Type())
		dec.refuse(n, path, w.example, "found %s, wanted %s", n.describe(), w.words)
	}
}

// plainWord tells that a text needs no quotes inside a list on one line.
func plainWord(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != ':' && r != '/' && r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// shapeOf is the kind of mapping or list that a type can be decoded from, or Invalid when it is a scalar.
func shapeOf(t reflect.Type) reflect.Kind {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return t.Kind()
	case reflect.Struct:
		if isText(t) && len(fieldsOf(t)) == 0 || scalarStruct(t) {
			return reflect.Invalid
		}
		return reflect.Struct
	}
	return reflect.Invalid
}

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }

func (dec *decoder) structure(n *node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		known = append(known, f.name)
	}
	for _, p := range n.pairs {
		if m, bad := dec.doc.unknownKey(p, path, known); bad {
			dec.found = append(dec.found, m)
		}
	}
	for _, f := range fields {
		p, ok := n.get(f.name)
		if ok {
			dec.value(p.value, f.in(v), joinKey(path, f.name), f.rules)
			continue
		}
		if f.rules.required {
			dec.missing(n, path, f)
		}
	}
}

// missing points at the mapping that lacks a key.
func (dec *decoder) missing(n *node, path string, f field) {
	w := wantedOf(f.typ)
	write := f.name + ":"
	if w.example != "" {
		write += " " + w.example
	}
	dec.refuse(n, path, write, "key %s is missing", f.name)
}

// unknownKey tells of a key that is not among known. When the key may be a slip for the name of a secret, its value is
// hidden.
func (d *Document) unknownKey(p pair, path string, known []string) (mistake.Mistake, bool) {
	for _, k := range known {
		if k == p.key {
			return mistake.Mistake{}, false
		}
	}
	if p.value.kind == kindScalar && mistake.Nearest(strings.ToLower(p.key), secretWords) != "" {
		d.hide(p.value)
	}
	write, what := mistake.Nearest(p.key, known), "unknown key "+show(p.key)
	if write == "" {
		write = mistake.Nearest(strings.ToLower(strings.NewReplacer("-", "_", " ", "_").Replace(p.key)), known)
	}
	if write == "" && len(known) > 0 && len(known) <= 16 {
		what += "; known here: " + strings.Join(known, ", ")
	}
	return placed(joinKey(path, p.key), p.line, p.column, write, what), true
}

func (dec *decoder) mapping(n *node, v reflect.Value, path string, r rules) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic("config: " + t.String() + " has keys that are no text")
	}
	dec.size(n, len(n.pairs), path, r)
	v.Set(reflect.MakeMapWithSize(t, len(n.pairs)))
	for _, p := range n.pairs {
		keyNode := &node{kind: kindScalar, style: quoted, text: p.key, line: p.line, column: p.column}
		key := reflect.New(t.Key()).Elem()
		dec.scalar(keyNode, key, joinKey(path, p.key), rules{public: r.public})
		element := reflect.New(t.Elem()).Elem()
		dec.value(p.value, element, joinKey(path, p.key), rules{public: r.public})
		v.SetMapIndex(key, element)
	}
}

func (dec *decoder) list(n *node, v reflect.Value, path string, r rules) {
	dec.size(n, len(n.items), path, r)
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	inner := r
	inner.required, inner.nonempty = false, r.required || r.nonempty
	if shapeOf(v.Type().Elem()) != reflect.Invalid {
		inner = rules{public: r.public}
	}
	for i, item := range n.items {
		dec.value(item, v.Index(i), path+"["+strconv.Itoa(i)+"]", inner)
	}
}

func (dec *decoder) size(n *node, count int, path string, r rules) {
	if count == 0 && (r.required || r.nonempty) {
		dec.refuse(n, path, "", "at least one entry is needed")
	}
}
