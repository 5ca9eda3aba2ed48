package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// usualTypes may be repeated: whoever writes them has said nothing of their own.
var usualTypes = []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "application/xml", "text/xml", "application/octet-stream"}

// BodyFor gives the declared body for the media type of a request, in lower case and without parameters: the exact one, else
// the narrowest range: type/*+suffix, type/*, */*. When none is declared for it the violation says 415, or 400 when the
// operation has no body at all.
func (op *Operation) BodyFor(mediaType string) (*Body, *Violation) {
	if len(op.Bodies) == 0 {
		return nil, &Violation{Reason: bodyUnexpected, Status: 400, Pointer: op.Pointer, Where: "body",
			What: "no body is declared", Fix: "requestBody: {content: {...}} at " + op.Pointer}
	}
	for _, b := range op.Bodies {
		if b.MediaType == mediaType && !strings.Contains(mediaType, "*") {
			return b, nil
		}
	}
	if b := op.rangeFor(mediaType); b != nil {
		return b, nil
	}
	names := make([]string, len(op.Bodies))
	for i, b := range op.Bodies {
		names[i] = b.MediaType
	}
	if !slices.Contains(usualTypes, mediaType) {
		mediaType = "TYPE" // a client's own words are not repeated
	}
	return nil, &Violation{Reason: badMediaType, Status: 415, Pointer: op.Pointer + "/requestBody/content", Where: "header.Content-Type",
		What: "the media type is not declared; declared: " + strings.Join(names, ", "), Value: mediaType,
		Fix: fmt.Sprintf("%q: {schema: {...}} at %s/requestBody/content", mediaType, op.Pointer)}
}

// rangeFor finds the narrowest range that holds a media type: type/*+suffix, type/*, */*.
func (op *Operation) rangeFor(mediaType string) *Body {
	top, sub, ok := strings.Cut(mediaType, "/")
	if !ok || top == "" || sub == "" || strings.Contains(mediaType, "*") {
		return nil
	}
	ranges := []string{top + "/*", "*/*"}
	if plus := strings.LastIndexByte(sub, '+'); plus >= 0 {
		ranges = append([]string{top + "/*" + sub[plus:]}, ranges...)
	}
	for _, wanted := range ranges {
		for _, b := range op.Bodies {
			if b.MediaType == wanted {
				return b
			}
		}
	}
	return nil
}

// CheckBody judges a body that was read as b.Kind. B is what BodyFor gave, or nil for a request without any body.
func (op *Operation) CheckBody(b *Body, t *body.Tree) *Violation {
	if t == nil || t.Kind == body.Empty || b == nil {
		if op.BodyRequired {
			return &Violation{Reason: bodyMissing, Status: 400, Pointer: op.Pointer + "/requestBody/required", Where: "body",
				What: "the body is missing", Fix: "required: false at " + op.Pointer + "/requestBody"}
		}
		return nil
	}
	if t.Kind != b.Kind {
		return b.violation(&problem{pointer: b.Pointer, what: "was read as another kind than is declared"}, badMediaType)
	}
	switch b.Kind {
	case body.JSON:
		if e := b.value.entry; e != nil && e.sure.isSure(t.Nodes) {
			return nil
		}
		return b.decide(t.Value())
	case body.Form:
		return b.checkForm(t.Form)
	case body.Multipart:
		return b.checkParts(t.Parts)
	case body.Text:
		return b.checkText(string(t.Raw))
	}
	return nil // XML and opaque bodies: their size was limited, and a warning says that no more is done
}

func (b *Body) decide(instance any) *Violation {
	if at, ok := numbersWithin(instance, 0); !ok {
		return b.violation(&problem{pointer: b.Pointer, at: at, what: "is a number of too many digits"}, badBody)
	}
	if p := b.value.judge(instance); p != nil {
		return b.violation(p, badBody)
	}
	return nil
}

// numbersWithin finds a number that would take long to calculate (G8). When ok is false, at is its place.
func numbersWithin(v any, depth int) (at []string, ok bool) {
	token := ""
	switch v := v.(type) {
	case json.Number:
		if !isJSONNumber(string(v)) {
			return make([]string, depth), false
		}
		return nil, true
	case []any:
		for i := range v {
			if at, ok = numbersWithin(v[i], depth+1); !ok {
				token = strconv.Itoa(i)
				break
			}
		}
	case map[string]any:
		for name := range v {
			if at, ok = numbersWithin(v[name], depth+1); !ok {
				token = name
				break
			}
		}
	}
	if at == nil {
		return nil, true
	}
	at[depth] = token
	return at, false
}

func (b *Body) violation(p *problem, reason string) *Violation {
	v := &Violation{Reason: reason, Status: 400, Pointer: p.pointer, Where: p.place(), What: p.place() + ": " + p.what,
		Value: show(p.value), Fix: fixKeyword(p.keyword, p.pointer)}
	switch {
	case reason == badMediaType:
		v.Status = 415
	case p.unknown != "":
		v.Reason = unknownProperty
		v.Fix = fmt.Sprintf("properties: {%q: {...}} at %s", clean(p.unknown), p.pointer)
	case p.missing != "":
		v.Reason, v.Value = missingProperty, ""
		v.Where += map[bool]string{true: " /", false: "/"}[len(p.at) == 0] + escapeToken(p.missing)
	case p.sealed:
		v.Reason, v.Fix = readOnlyProperty, "no readOnly at "+p.pointer
	}
	return v
}

func (b *Body) checkText(raw string) *Violation {
	var first *problem
	for _, reading := range b.value.shape.read(raw) {
		p := b.value.judge(reading)
		if p == nil {
			return nil
		}
		if first == nil {
			first = p
		}
	}
	return b.violation(first, badBody)
}

// checkForm makes the object that the form writes, and judges it.
func (b *Body) checkForm(form []canon.Pair) *Violation {
	o := &formObject{body: b, members: make(map[string]any, len(form))}
	for _, pair := range form {
		if p := o.add(pair); p != nil {
			return b.violation(p, badBody)
		}
	}
	return b.decide(o.members)
}

// formObject is an object on its way from text.
type formObject struct {
	body    *Body
	members map[string]any
}

func (o *formObject) problem(name, what string) *problem {
	return &problem{pointer: o.body.Pointer, at: []string{name}, what: what}
}

func (o *formObject) add(pair canon.Pair) *problem {
	f := o.body.fields.named[pair.Name]
	if f == nil {
		if name, inner, ok := cutDeep(pair.Name); ok {
			if deep := o.body.fields.named[name]; deep != nil && deep.style == "deepObject" {
				return o.deep(deep, name, inner, pair.Value)
			}
		}
		return o.set(pair.Name, o.body.fields.shape.additional.first(pair.Value))
	}
	switch {
	case f.style == "deepObject":
		return o.problem(pair.Name, "is not written as "+pair.Name+"[property]")
	case f.json:
		instance, err := readJSON(pair.Value)
		if err != nil {
			return o.problem(pair.Name, "is not JSON that can be read in one way only")
		}
		return o.append(f, pair.Name, instance)
	case f.shape.types.has(list) && !f.explode:
		items := []any{}
		for _, raw := range strings.Split(pair.Value, f.separator) {
			items = append(items, f.shape.items.first(raw))
		}
		return o.set(pair.Name, items)
	case f.shape.types.has(list):
		return o.append(f, pair.Name, f.shape.items.first(pair.Value))
	}
	return o.set(pair.Name, f.shape.first(pair.Value))
}

// append adds an item to a list, or sets a member that is none. JSON may write the whole list at once.
func (o *formObject) append(f *field, name string, item any) *problem {
	_, whole := item.([]any)
	if !f.shape.types.has(list) || whole && f.json && (f.shape.items == nil || !f.shape.items.types.has(list)) {
		return o.set(name, item)
	}
	before, set := o.members[name]
	items, ok := before.([]any)
	if set && !ok {
		return o.problem(name, "is given twice")
	}
	o.members[name] = append(items, item)
	return nil
}

func (o *formObject) set(name string, v any) *problem {
	if _, twice := o.members[name]; twice {
		return o.problem(name, "is given twice")
	}
	o.members[name] = v
	return nil
}

func (o *formObject) deep(f *field, name, inner, raw string) *problem {
	members, _ := o.members[name].(map[string]any)
	if members == nil {
		members = map[string]any{}
		o.members[name] = members
	}
	if _, twice := members[inner]; twice {
		return o.problem(name, fmt.Sprintf("has property %q twice", clean(inner)))
	}
	members[inner] = f.shape.member(inner).first(raw)
	return nil
}

// cutDeep takes name[inner] apart.
func cutDeep(s string) (name, inner string, ok bool) {
	name, rest, ok := strings.Cut(s, "[")
	if !ok {
		return "", "", false
	}
	inner, ok = strings.CutSuffix(rest, "]")
	return name, inner, ok && inner != "" && !strings.ContainsAny(inner, "[]")
}
