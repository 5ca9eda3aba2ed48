package openapi

import (
	"mime"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var (
	bodyKeys     = []string{"description", "content", "required"}
	mediaKeys    = []string{"schema", "example", "examples", "encoding", "x-gatehouse-opaque"}
	encodingKeys = []string{"contentType", "headers", "style", "explode", "allowReserved"}
)

func (l *loader) loadBodies(n *node, op *Operation) {
	written := n.get("requestBody")
	if written == nil {
		return
	}
	request := l.resolve(written)
	if request == nil {
		return
	}
	if request.kind != object {
		l.fail(request, "", "requestBody is %s, not an object", request.kind)
		return
	}
	l.keys(request, bodyKeys...)
	op.BodyRequired = request.yes("required")
	content := request.get("content")
	if content == nil || content.kind != object || len(content.members) == 0 {
		l.fail(request, "content: {application/json: {schema: {type: object}}}", "a body has no content")
		return
	}
	for _, m := range content.members {
		b := l.loadBody(content, m, op)
		if b == nil {
			continue
		}
		if slices.ContainsFunc(op.Bodies, func(o *Body) bool { return o.MediaType == b.MediaType }) {
			l.failMember(content, m.name, "", "media type %q is declared twice", b.MediaType)
			continue
		}
		op.Bodies = append(op.Bodies, b)
	}
}

func (l *loader) loadBody(content *node, m member, op *Operation) *Body {
	mediaType, ok := rangeOf(m.name)
	if !ok {
		l.failMember(content, m.name, "application/json", "%q is no media type", m.name)
		return nil
	}
	media := l.resolve(m.value)
	if media == nil {
		return nil
	}
	if media.kind != object {
		l.fail(media, "", "a media type is %s, not an object", media.kind)
		return nil
	}
	l.keys(media, mediaKeys...)
	b := &Body{MediaType: mediaType, Pointer: media.pointer()}
	var known bool
	b.Kind, known = kindOf(mediaType)
	opaque := media.get("x-gatehouse-opaque")
	switch {
	case opaque != nil:
		b.Kind, b.Unseen = body.Opaque, true
		l.acceptOpaque(media, opaque)
	case op.Stream == "grpc" || op.Stream == "upload":
		if !known {
			b.Kind = body.Opaque
		}
	case !known:
		l.failMember(content, m.name, "x-gatehouse-opaque: {accept_risk: why nobody needs to look inside}",
			"media type %q can't be parsed", m.name)
		return nil
	case b.Kind == body.XML:
		l.warn(media, "body.xml", "", "the content of a body of %s is not judged by its schema", mediaType)
	}
	switch b.Kind {
	case body.Opaque:
		b.largest = l.schemas.shape(media.get("schema")).largest
	case body.JSON, body.Text:
		b.value = l.newValue(media.get("schema"), media)
	case body.Form, body.Multipart:
		b.value = l.newValue(media.get("schema"), media)
		b.fields = l.fields(media, b)
	}
	return b
}

func (l *loader) acceptOpaque(media, opaque *node) {
	if strings.TrimSpace(opaque.str("accept_risk")) == "" {
		l.fail(opaque, "{accept_risk: why nobody needs to look inside}", "x-gatehouse-opaque needs its reason")
		return
	}
	for _, m := range opaque.members {
		if m.name != "accept_risk" {
			l.failMember(opaque, m.name, mistake.Nearest(m.name, []string{"accept_risk"}), "unknown member %q", m.name)
		}
	}
	l.warn(media, "body.opaque", "", "a body is limited in size and not looked into: %s", opaque.str("accept_risk"))
}

// rangeOf reads a media type or range as contracts write it. Its parameters say nothing that is judged.
func rangeOf(s string) (string, bool) {
	mediaType, _, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(mediaType, "/") {
		return "", false
	}
	return mediaType, true
}

// kindOf is body.KindOf for ranges too: image/* is as opaque as all that it stands for.
func kindOf(mediaType string) (body.Kind, bool) {
	switch mediaType {
	case "image/*", "audio/*", "video/*", "font/*":
		return body.Opaque, true
	case "text/*":
		return body.Text, true
	case "application/*+json", "text/json":
		return body.JSON, true
	case "":
		return body.Empty, false
	}
	return body.KindOf(mediaType)
}

// fields is how the members of a form are written.
type fields struct {
	named map[string]*field
	shape *shape
}

// field is one member of a form.
type field struct {
	shape     *shape
	style     string
	explode   bool
	media     []string // admitted types of a part; nil for the default
	json      bool     // written as JSON
	separator string
}

func (l *loader) fields(media *node, b *Body) *fields {
	f := &fields{named: map[string]*field{}, shape: b.value.shape}
	if !f.shape.types.has(object) {
		l.fail(media, "schema: {type: object, properties: {...}}", "the schema of a form is not that of an object")
		return f
	}
	encoding := media.get("encoding")
	for _, p := range f.shape.properties {
		f.named[p.name] = l.field(p.shape, encoding.get(p.name), b.Kind)
	}
	for _, m := range encoding.each() {
		if f.named[m.name] == nil {
			l.failMember(encoding, m.name, "", "encoding of %q, which is no declared property", m.name)
		}
	}
	return f
}

func (l *loader) field(s *shape, encoding *node, kind body.Kind) *field {
	f := &field{shape: s, explode: true, style: "form"}
	content := s
	if s.types.has(list) && s.items != nil {
		content = s.items
	}
	f.json = content.types.has(object) || content.types.has(list)
	if kind, ok := kindOf(content.media); content.media != "" && (content.format == "binary" || !ok || kind == body.Opaque) {
		f.media = []string{content.media}
	}
	if encoding == nil {
		return f
	}
	l.keys(encoding, encodingKeys...)
	if style := encoding.get("style"); style != nil {
		f.style = style.text
		if !slices.Contains(styles["query"], f.style) {
			l.fail(style, "style: form", "a form has no style %q", style.text)
		}
		f.explode, f.json = f.style == "form", false
		if f.style == "form" && s.types.has(object) {
			l.fail(style, "contentType: application/json", "an object in style form would lose its name; write it as JSON or in style deepObject")
		}
	}
	if e := encoding.get("explode"); e != nil {
		f.explode = e.truth
	}
	f.separator = map[string]string{"spaceDelimited": " ", "pipeDelimited": "|"}[f.style]
	if f.separator == "" {
		f.separator = ","
	}
	if c := encoding.get("contentType"); c != nil {
		l.fieldTypes(f, c)
	}
	return f
}

func (l *loader) fieldTypes(f *field, c *node) {
	f.media = nil
	for _, word := range strings.Split(c.text, ",") {
		mediaType, ok := rangeOf(strings.TrimSpace(word))
		if !ok {
			l.fail(c, "contentType: application/json", "%q is no media type", word)
			continue
		}
		f.media = append(f.media, mediaType)
		kind, _ := kindOf(mediaType)
		f.json = kind == body.JSON
	}
}
