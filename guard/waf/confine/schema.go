package confine

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// facets are the values that may stand at a place, by kind: which texts, which numbers as they are written, and whether
// there may be any of the others.
type facets struct {
	texts   texts
	numbers texts
	plain   texts         // numbers, when it is known that only plain integers are written there
	others  openapi.Kinds // of null, false, true, array, object; here 0 is none
}

const (
	containers = 1<<body.Array | 1<<body.Object
	otherKinds = 1<<body.Null | 1<<body.False | 1<<body.True | containers
)

func anything() facets {
	return facets{anyText(), shaped("number", anyNumber), shaped("number", anInteger), otherKinds}
}

func (f facets) has(k body.NodeKind) bool { return f.others&(1<<k) != 0 }

func (f facets) meet(g facets) facets {
	return facets{meet(f.texts, g.texts), meet(f.numbers, g.numbers), meet(f.plain, g.plain), f.others & g.others}
}

func (f facets) join(g facets) facets {
	return facets{join(f.texts, g.texts), join(f.numbers, g.numbers), join(f.plain, g.plain), f.others | g.others}
}

// all are the texts that stand for these values where the rules read them: a number as it is written, true and false, null
// as nothing, an array as its length.
func (f facets) all() texts {
	t := join(f.texts, f.numbers)
	for kind, text := range map[body.NodeKind]string{body.Null: "", body.False: "false", body.True: "true"} {
		if f.has(kind) && (text != "" || t.isList()) { // every other set holds the empty text
			t = join(t, listed(text))
		}
	}
	if f.has(body.Array) {
		t = join(t, shaped("number", theDigits))
	}
	return t
}

// shaped is what a grammar of our own lets pass.
func shaped(shape, expression string) texts {
	t, ok := fixed()[expression]
	if !ok {
		t = ofPattern(expression)
	}
	t.shape = shape
	return t
}

// fixed are our own grammars, read once.
var fixed = sync.OnceValue(func() map[string]texts {
	all := map[string]texts{}
	for _, expression := range slices.Concat([]string{anyNumber, anInteger, theDigits}, slices.Collect(maps.Values(grammars)), slices.Collect(maps.Values(numberFormats))) {
		all[expression] = ofPattern(expression)
	}
	return all
})

// outlines reads what schemas demand, each once.
type outlines struct {
	known    map[*openapi.Outline]facets
	reading  map[*openapi.Outline]bool
	patterns map[string]texts
}

func newOutlines() *outlines {
	return &outlines{map[*openapi.Outline]facets{}, map[*openapi.Outline]bool{}, map[string]texts{}}
}

func (s *outlines) of(o *openapi.Outline) facets {
	if f, ok := s.known[o]; ok {
		return f
	}
	if o == nil || s.reading[o] {
		return anything()
	}
	s.reading[o] = true
	defer delete(s.reading, o)
	f := s.own(o)
	for _, part := range o.All {
		f = f.meet(s.of(part))
	}
	if len(o.Any) > 0 {
		sum := facets{}
		for _, part := range o.Any {
			sum = sum.join(s.of(part))
		}
		f = f.meet(sum)
	}
	s.known[o] = f
	return f
}

// own is what a schema demands itself.
func (s *outlines) own(o *openapi.Outline) facets {
	if o.Never {
		return facets{}
	}
	f := anything()
	if !o.Kinds.Has(body.String) {
		f.texts = none()
	}
	if !o.Kinds.Has(body.Number) {
		f.numbers, f.plain = none(), none()
	}
	if o.Kinds != 0 {
		f.others &= o.Kinds
	}
	if o.Values != nil {
		f = f.meet(valuesOf(o.Values))
	}
	if o.Text.Pattern != nil {
		f.texts = meet(f.texts, s.pattern(o.Text.Pattern.String()))
	}
	if g := grammars[o.Text.Format]; g != "" {
		f.texts = meet(f.texts, shaped(shapes[o.Text.Format], g))
	}
	if o.Digits > 0 {
		f.plain = meet(f.plain, shaped("number", "^-?[0-9]{1,"+strconv.Itoa(o.Digits)+"}$"))
	}
	if g := numberFormats[o.Text.Format]; g != "" {
		f.plain = meet(f.plain, shaped("number", g))
		if f.numbers = meet(f.numbers, shaped("number", g)); g != anyNumber { // its judge takes plain integers only
			f.numbers = meet(f.numbers, f.plain)
		}
	}
	if o.Text.Most >= 0 {
		f.texts = atMost(f.texts, o.Text.Most)
	}
	return f
}

func (s *outlines) pattern(expression string) texts {
	t, ok := s.patterns[expression]
	if !ok {
		t = ofPattern(expression)
		s.patterns[expression] = t
	}
	return t
}

// valuesOf are the values that equal one of a list. A number equals others that are written otherwise: 1e2 is 100.
func valuesOf(values []any) facets {
	var f facets
	var words []string
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			f.others |= 1 << body.Null
		case bool:
			f.others |= map[bool]openapi.Kinds{false: 1 << body.False, true: 1 << body.True}[v]
		case json.Number:
			f.numbers, f.plain = shaped("number", anyNumber), shaped("number", anInteger)
		case string:
			words = append(words, v)
		case []any:
			f.others |= 1 << body.Array
		case map[string]any:
			f.others |= 1 << body.Object
		}
	}
	f.texts = listed(words...)
	return f
}
