package openapi

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// checkParts makes the object that a multipart form writes, and judges it. A part must be of the type that the contract's
// encoding names, or of the default for its property (OpenAPI 3.1, Encoding Object): JSON for an object, text for a scalar,
// any type for a file.
func (b *Body) checkParts(parts []body.Part) *Violation {
	o := &formObject{body: b, members: make(map[string]any, len(parts))}
	for i := range parts {
		part := &parts[i]
		f := b.fields.named[part.Name]
		if f == nil {
			if p := o.set(part.Name, b.fields.shape.additional.first(string(part.Data))); p != nil {
				return b.violation(p, badBody)
			}
			continue
		}
		if p := f.checkType(part, o); p != nil {
			return b.violation(p, badMediaType)
		}
		if p := f.addPart(part, o); p != nil {
			return b.violation(p, badBody)
		}
	}
	return b.decide(o.members)
}

// content is the shape of one part: that of the items when the property is a list, each in a part of its own.
func (f *field) content() *shape {
	if f.shape.types.has(list) && f.shape.items != nil {
		return f.shape.items
	}
	return f.shape
}

// isFile tells that a part holds bytes that nobody reads as text.
func (f *field) isFile() bool {
	if f.content().format == "binary" {
		return true
	}
	for _, m := range f.media {
		if kind, ok := kindOf(m); !ok || kind == body.Opaque || kind == body.XML {
			return true
		}
	}
	return false
}

func (f *field) checkType(part *body.Part, o *formObject) *problem {
	given := part.Type
	if given == "" {
		given = "text/plain"
	}
	if f.media != nil {
		for _, m := range f.media {
			if m == given || m == "*/*" || len(f.media) == 1 && saysNothing(m) || strings.HasSuffix(m, "/*") && strings.HasPrefix(given, m[:len(m)-1]) {
				return nil
			}
		}
		return o.problem(part.Name, "is of a media type that its encoding does not name")
	}
	kind, _ := kindOf(given)
	switch {
	case f.isFile():
		return nil
	case f.json && kind == body.JSON || kind == body.Text:
		return nil
	}
	return o.problem(part.Name, "is of a media type that its property does not have by default")
}

func (f *field) addPart(part *body.Part, o *formObject) *problem {
	switch {
	case f.isFile():
		return o.append(f, part.Name, string(part.Data))
	case part.FileName != "" && !f.json:
		// servers keep files apart from fields: what was judged as a field would arrive as a file that nobody declared
		return o.problem(part.Name, "is sent as a file, and declared as a text")
	case f.json:
		instance, err := readJSON(string(part.Data))
		if err != nil {
			return o.problem(part.Name, "is not JSON that can be read in one way only")
		}
		return o.append(f, part.Name, instance)
	case f.shape.types.has(list):
		return o.append(f, part.Name, f.content().first(string(part.Data)))
	}
	return o.set(part.Name, f.shape.first(string(part.Data)))
}
