package openapi

import (
	"maps"
	"slices"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Place is where a request of an operation has values, and how they are written there. Places are for those who ask
// beforehand what can stand in a request; see Outline.
type Place struct {
	In        string // path, query, header, cookie, json, form or text
	Name      string // of the parameter or field as it is written; "" for the body as a whole
	Rest      bool   // instead of one name: every name that no other place of the same In has
	Value     *Outline
	Member    []string // the value is this member of what Value describes; "*" at the end, with Rest, for one that is not declared
	Writing   Writing
	Separator string // of Joined
	Integers  bool   // numbers stand as plain integers: -0, 1.0 and 1e3 are refused
	Sink      string // x-gatehouse-sink at the parameter itself
	Pointer   string
}

// Writing is how a value is written at a place.
type Writing int

// The zero Writing says nothing of the text: any may stand there.
const (
	Unknown Writing = iota
	Whole           // the text is the value
	Each            // the text is the value or, of a list, one item
	Joined          // the text is the value or, of a list, all items with a separator between them
	Tree            // JSON, as the tree of a body
)

// Places gives all places of an operation where values may stand that are read as arguments, but for what nobody judges:
// bodies that are opaque, and header fields and cookies that nobody declares. It is nil for bodies of an operation that
// streams.
func (op *Operation) Places() []Place {
	var places []Place
	for _, p := range op.Parameters {
		places = append(places, p.places()...)
	}
	for _, name := range op.plan.credentials {
		if op.plan.find(name) < 0 {
			places = append(places, Place{In: "query", Name: name, Pointer: op.Pointer})
		}
	}
	if op.Stream != "" && op.Stream != "sse" {
		return places
	}
	for _, b := range op.Bodies {
		places = append(places, b.places()...)
	}
	return places
}

// outlined gives the outline of a value; nil demands nothing.
func (v *value) outlined() *Outline {
	if v == nil || v.entry == nil {
		return nil
	}
	return v.entry.outline
}

// integersOnly tells that a number can only be read as an integer in its plain form.
func (s *shape) integersOnly() bool { return s != nil && s.types&(1<<number) == 0 }

func (p *Parameter) places() []Place {
	if p.value == nil { // nothing is said of it
		return nil
	}
	at := Place{In: p.In, Name: p.Name, Value: p.value.outlined(), Pointer: p.Pointer, Sink: p.value.sink}
	shape := p.value.shape
	switch {
	case at.Value == nil, p.Style == "label":
	case p.Style == "" && p.media == body.Text:
		at.Writing = Whole
	case p.Style == "":
	case p.Style == "deepObject" || p.spreads():
		return p.members(at)
	case shape.types.has(object):
	case shape.types.has(list) && p.In == "query" && p.Explode:
		at.Writing, at.Integers = Each, shape.integersOnly() && shape.items.integersOnly()
	case shape.types.has(list):
		at.Writing, at.Integers = Joined, shape.integersOnly() && shape.items.integersOnly()
		at.Separator = map[string]string{"spaceDelimited": " ", "pipeDelimited": "|"}[p.Style]
		if at.Separator == "" {
			at.Separator = ","
		}
	default:
		at.Writing, at.Integers = Whole, shape.integersOnly()
	}
	return []Place{at}
}

// members are the places of an object whose properties are parameters of their own names.
func (p *Parameter) members(at Place) []Place {
	var places []Place
	shape := p.value.shape
	name := func(inner string) string {
		if p.Style == "deepObject" {
			return p.Name + "[" + inner + "]"
		}
		return inner
	}
	for _, f := range shape.properties {
		m := at
		m.Name, m.Member, m.Writing = name(f.name), []string{f.name}, Each
		m.Integers = f.shape.integersOnly() && (!f.shape.types.has(list) || f.shape.items.integersOnly())
		places = append(places, m)
	}
	rest := at
	rest.Name, rest.Rest, rest.Member, rest.Writing = "", true, []string{"*"}, Each
	places = append(places, rest)
	return places
}

func (b *Body) places() []Place {
	at := Place{Value: b.value.outlined(), Pointer: b.Pointer}
	switch b.Kind {
	case body.JSON:
		at.In, at.Writing = "json", Tree
	case body.Text:
		at.In, at.Name, at.Writing = "text", "text", Whole
		at.Integers = b.value.shape.integersOnly()
	case body.XML:
		at.In, at.Name = "xml", "xml.attribute"
	case body.Form, body.Multipart:
		return b.formPlaces(at)
	default:
		return nil
	}
	if at.Value == nil {
		at.Writing = Unknown
	}
	return []Place{at}
}

func (b *Body) formPlaces(at Place) []Place {
	at.In = "form"
	rest := at
	rest.Rest = true
	if at.Value == nil {
		return []Place{rest}
	}
	var places []Place
	for _, name := range slices.Sorted(maps.Keys(b.fields.named)) {
		places = append(places, b.fieldPlaces(at, name, b.fields.named[name])...)
	}
	rest.Member, rest.Writing = []string{"*"}, Whole
	return append(places, rest)
}

func (b *Body) fieldPlaces(at Place, name string, f *field) []Place {
	at.Name, at.Member = name, []string{name}
	isList := f.shape.types.has(list)
	switch {
	case f.style == "deepObject" && b.Kind == body.Form:
		var places []Place
		for _, inner := range f.shape.properties {
			m := at
			m.Name, m.Member, m.Writing = name+"["+inner.name+"]", []string{name, inner.name}, Whole
			places = append(places, m)
		}
		at.Name, at.Rest, at.Member, at.Writing = "", true, []string{name, "*"}, Whole
		return append(places, at)
	case f.json, b.Kind == body.Multipart && f.isFile():
	case isList && !f.explode && b.Kind == body.Form:
		at.Writing, at.Separator = Joined, f.separator
	default:
		at.Writing = Each
	}
	at.Integers = f.shape.integersOnly() && (!isList || f.shape.items.integersOnly())
	return []Place{at}
}
