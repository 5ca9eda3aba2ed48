package openapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Outline is what a schema demands of values, for those who ask beforehand what can't occur in a request. It is made of the
// very document by which values are judged: whatever is judged to be valid keeps all that stands here. It may keep more:
// keywords that are not here (not, if, contains, bounds of numbers) only ever admit less. An Outline never changes, and may
// contain itself.
type Outline struct {
	Pointer string // of the schema in the contract
	Never   bool   // no value is valid
	Loose   bool   // a property may be declared in a way that is not told here, such as by then or dependentSchemas
	Kinds   Kinds  // 0 admits any
	Values  []any  // one of these, by enum or const; nil admits any. Made as by encoding/json with json.Number
	Text    TextOutline
	List    ListOutline
	Object  ObjectOutline
	All     []*Outline // each of them demands too
	Any     []*Outline // at least one of them holds, if there are any; oneOf stands here too when there is no anyOf
	Digits  int        // a number that is written as a plain integer has at most so many digits; 0 for any number
	Sink    string     // x-gatehouse-sink: what the text becomes part of, "" when nothing is said
}

// TextOutline is what is demanded of a text, if the value is one.
type TextOutline struct {
	Most    int            // characters (runes; a byte that is no UTF-8 counts as one); -1 for any number
	Pattern *regexp.Regexp // the compiled one that is asked; nil for none
	Format  string         // one of those that are judged, "" for none. int32 and the like say something of numbers
}

// ListOutline is what is demanded of the items of a list, if the value is one.
type ListOutline struct {
	First []*Outline // of the first items, in order
	Items *Outline   // of all others; nil demands nothing
}

// ObjectOutline is what is demanded of the members of an object, if the value is one.
type ObjectOutline struct {
	Members     map[string]*Outline
	ByPattern   []*Outline // of members whose name matches a pattern
	Others      *Outline   // of those that neither of these declare; nil demands nothing
	Unevaluated *Outline   // of those that nothing that applies to the value has declared; nil demands nothing
}

// Kinds is a set of kinds of values.
type Kinds uint8

// Has tells that the set holds a kind. The empty set holds all.
func (k Kinds) Has(kind body.NodeKind) bool { return k == 0 || k&(1<<kind) != 0 }

// HasSink tells that the contract says, of a value or of one inside it, where it goes.
func (o *Outline) HasSink() bool { return o.hasSink(map[*Outline]bool{}) }

func (o *Outline) hasSink(seen map[*Outline]bool) bool {
	if o == nil || seen[o] {
		return false
	}
	seen[o] = true
	has := func(x *Outline) bool { return x.hasSink(seen) }
	return o.Sink != "" || slices.ContainsFunc(o.All, has) || slices.ContainsFunc(o.Any, has) || slices.ContainsFunc(o.List.First, has) || has(o.List.Items) ||
		slices.ContainsFunc(slices.Collect(maps.Values(o.Object.Members)), has) || slices.ContainsFunc(o.Object.ByPattern, has) || has(o.Object.Others) || has(o.Object.Unevaluated)
}

// Sinks are the words of x-gatehouse-sink.
func Sinks() []string { return []string{"header", "html", "none", "path", "shell", "sql", "url"} }

const sinkKeyword = "x-gatehouse-sink"

// sink reads x-gatehouse-sink, which stands at a schema or at a parameter.
func (l *loader) sink(n *node) string {
	v := n.get(sinkKeyword)
	if v == nil {
		return ""
	}
	if v.kind != text || !slices.Contains(Sinks(), v.text) {
		l.fail(v, "sql", "a sink is one of %s", strings.Join(Sinks(), ", "))
		return ""
	}
	return v.text
}

// outliner makes an outline of every document that the library compiles.
type outliner struct {
	docs    map[string]*entry
	made    map[*entry]*Outline
	pattern func(written string) *regexp.Regexp
}

// makeOutlines is called before schemas on circles are made to count.
func (s *schemas) makeOutlines() {
	o := &outliner{docs: make(map[string]*entry, len(s.order)), made: make(map[*entry]*Outline, len(s.order)),
		pattern: func(written string) *regexp.Regexp { return s.pattern(written).re }}
	for _, e := range s.order {
		o.docs[e.url] = e
	}
	for _, e := range s.order {
		e.outline = o.of(e)
	}
}

// of gives the outline of an entry. It may not be finished yet: schemas lie on circles.
func (o *outliner) of(e *entry) *Outline {
	if known := o.made[e]; known != nil {
		return known
	}
	made := &Outline{}
	o.made[e] = made
	o.fill(made, e.doc, e.pointer)
	return made
}

func (o *outliner) make(doc any, pointer string) *Outline {
	made := &Outline{}
	o.fill(made, doc, pointer)
	return made
}

func (o *outliner) list(doc any, pointer string) []*Outline {
	items, _ := doc.([]any)
	var list []*Outline
	for _, item := range items {
		list = append(list, o.make(item, pointer))
	}
	return list
}

func (o *outliner) fill(made *Outline, doc any, pointer string) {
	made.Pointer, made.Text.Most = pointer, -1
	members, isObject := doc.(map[string]any)
	if !isObject {
		made.Never = doc == false
		return
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		o.member(made, name, members[name], pointer+"/"+name)
	}
	made.Digits = digitsWithin(members)
}

// digitsWithin gives how many digits an integer between the bounds has, 0 when it is not bounded by integers on both sides.
func digitsWithin(members map[string]any) int {
	most := 0
	for _, names := range [][2]string{{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}} {
		least := 0
		for _, name := range names {
			if n, ok := members[name].(json.Number); ok {
				if i, err := n.Int64(); err == nil && isInteger(string(n)) {
					if length := len(strings.TrimPrefix(strconv.FormatInt(i, 10), "-")); least == 0 || length < least {
						least = length
					}
				}
			}
		}
		if least == 0 {
			return 0
		}
		most = max(most, least)
	}
	return most
}

// member reads one keyword. What it does not know demands nothing.
func (o *outliner) member(made *Outline, name string, v any, pointer string) {
	switch name {
	case "type":
		made.readKinds(v)
	case "const":
		made.admit([]any{v})
	case "enum":
		if values, ok := v.([]any); ok {
			made.admit(values)
		}
	case "format":
		made.Text.Format, _ = v.(string)
	case "pattern":
		if written, ok := v.(string); ok {
			made.Text.Pattern = o.pattern(written)
		}
	case "maxLength":
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err == nil && i >= 0 {
				made.Text.Most = int(i)
			}
		}
	case sinkKeyword:
		made.Sink, _ = v.(string)
	case "$ref":
		if e := o.docs[textOf(v)]; e != nil {
			made.All = append(made.All, o.of(e))
		}
	case "allOf":
		made.All = append(made.All, o.list(v, pointer)...)
	case "anyOf", "oneOf":
		o.alternatives(made, o.list(v, pointer), pointer)
	case "if", "then", "else", "dependentSchemas", "not":
		made.Loose = true
	default:
		o.inner(made, name, v, pointer)
	}
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// alternatives takes in anyOf or oneOf. Where both are given, one of them becomes a part of its own.
func (o *outliner) alternatives(made *Outline, list []*Outline, pointer string) {
	if made.Any == nil {
		made.Any = list
		return
	}
	made.All = append(made.All, &Outline{Pointer: pointer, Text: TextOutline{Most: -1}, Any: list})
}

// inner reads what is said of members and items.
func (o *outliner) inner(made *Outline, name string, v any, pointer string) {
	switch name {
	case "prefixItems":
		made.List.First = o.list(v, pointer)
	case "items":
		made.List.Items = o.make(v, pointer)
	case "properties":
		made.Object.Members = map[string]*Outline{}
		members, _ := v.(map[string]any)
		for _, member := range slices.Sorted(maps.Keys(members)) {
			made.Object.Members[member] = o.make(members[member], pointer+"/"+escapeToken(member))
		}
	case "patternProperties":
		members, _ := v.(map[string]any)
		for _, written := range slices.Sorted(maps.Keys(members)) {
			made.Object.ByPattern = append(made.Object.ByPattern, o.make(members[written], pointer+"/"+escapeToken(written)))
		}
	case "additionalProperties":
		made.Object.Others = o.make(v, pointer)
	case "unevaluatedProperties":
		made.Object.Unevaluated = o.make(v, pointer)
	}
}

func (o *Outline) readKinds(v any) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	bits := map[string]Kinds{"null": 1 << body.Null, "boolean": 1<<body.False | 1<<body.True, "number": 1 << body.Number, "integer": 1 << body.Number,
		"string": 1 << body.String, "array": 1 << body.Array, "object": 1 << body.Object}
	var kinds Kinds
	for _, word := range list {
		b, known := bits[textOf(word)]
		if !known {
			return
		}
		kinds |= b
	}
	o.Kinds = kinds
}

// admit reads enum or const; where both are given, the second becomes a part of its own.
func (o *Outline) admit(values []any) {
	if values == nil {
		values = []any{}
	}
	if o.Values == nil {
		o.Values = values
		return
	}
	o.All = append(o.All, &Outline{Pointer: o.Pointer, Text: TextOutline{Most: -1}, Values: values})
}
