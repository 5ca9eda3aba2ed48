package upload

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/gabriel-vasile/mimetype"
	"golang.org/x/text/encoding/charmap"
)

// document is what a walk over bytes that begin as XML found.
type document struct {
	whole   bool // read to the end, as XML
	picture bool // its root is that of SVG
	page    bool // holds elements of XHTML
	runs    bool // a browser would run something of it
}

// Bounds of what is read as XML. Where deepest ends, readers of XML end too.
const (
	deepest        = 256
	longestDocType = 64 << 10
)

// walk reads XML as browsers do. A script by any prefix runs, and so does a style sheet that makes a page of the document. Elements
// that browsers draw are asked for more: those that hold pages, attributes for events, links to scripts, animations that would set
// one of those. Of a picture all elements are asked, and every instruction counts.
func walk(data []byte, picture bool) document {
	found := document{picture: picture}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = asciiAlike
	rooted, instructed, depth := false, false, 0
	for depth <= deepest {
		token, err := d.Token()
		if err != nil {
			found.whole = errors.Is(err, io.EOF) && rooted
			found.runs = found.runs || found.picture && instructed
			return found
		}
		switch t := token.(type) {
		case xml.ProcInst:
			instructed = instructed || t.Target != "xml"
			found.runs = found.runs || t.Target == "xml-stylesheet"
		case xml.Directive:
			entities, ok := plainEntities(t, data)
			if !ok || d.Entity != nil { // there is one declaration of a type
				return found
			}
			d.Entity = entities
		case xml.StartElement:
			found.picture = found.picture || !rooted && t.Name == xml.Name{Space: "http://www.w3.org/2000/svg", Local: "svg"}
			rooted = true
			depth++
			found.element(t)
		case xml.EndElement:
			depth--
		}
	}
	return found
}

// readXML looks into text that begins as XML, whatever it says it is. A page is judged as one, and not as XML.
func (f *finding) readXML(data []byte) {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n\f")
	if !bytes.HasPrefix(data, []byte("<")) {
		f.unread = true
		return
	}
	found := walk(data, f.kind.Is(svg))
	f.unread = !found.whole
	if found.picture {
		f.kind = mimetype.Lookup(svg)
	}
	if isA(f.kind, "text/html") {
		return
	}
	if found.runs {
		f.holds = append(f.holds, script)
	}
	if found.page && activeKind(f.kind) != xhtml {
		f.holds = append(f.holds, xhtml)
	}
	if f.unread && (found.picture || isA(f.kind, "text/xml")) {
		f.broken = "but it can't be read to its end"
	}
}

// claimsXML tells that a media type is read as XML.
func claimsXML(t string) bool {
	return strings.HasSuffix(t, "/xml") || strings.HasSuffix(t, "+xml") || isA(mimetype.Lookup(t), "text/xml")
}

// drawn are parts of the names of the spaces whose elements browsers draw.
var drawn = regexp.MustCompile(`(?i)xhtml|2000/svg|mathml`)

func (found *document) element(e xml.StartElement) {
	page := strings.Contains(strings.ToLower(e.Name.Space), "xhtml")
	found.page = found.page || page
	found.runs = found.runs || strings.EqualFold(e.Name.Local, "script") || found.picture && page ||
		(found.picture || drawn.MatchString(e.Name.Space)) && elementRuns(e)
}

// asciiAlike reads the encodings in which every sign of markup is its ASCII byte. Which signs the other bytes are doesn't matter
// here. What was sent in UTF-16 is UTF-8 by now, and keeps its label.
func asciiAlike(label string, input io.Reader) (io.Reader, error) {
	switch label = strings.ToLower(label); {
	case label == "utf8", strings.HasPrefix(label, "utf-16"):
		return input, nil
	case oneByte.MatchString(label):
		return charmap.ISO8859_1.NewDecoder().Reader(input), nil
	}
	return nil, errors.New("an encoding that is not read here")
}

var (
	oneByte   = regexp.MustCompile(`^(iso-8859-[0-9]+|latin[0-9]|windows-125[0-9]|(us-)?ascii|koi8-[ru]|macintosh)$`)
	docType   = regexp.MustCompile(`(?s)^DOCTYPE(?:[^\["'<>]|"[^"]*"|'[^']*')*(?:\[(.*)\]\s*)?$`)
	entity    = regexp.MustCompile(`<!ENTITY\s+([\pL_][\pL\pN_.-]*)\s+(?:"([^"<&%]*)"|'([^'<&%]*)')\s*>`)
	valueless = regexp.MustCompile(`^(\s|<!(ELEMENT|ATTLIST)[^"'<>%]*>)*$`)
)

// plainEntities reads the entities that a document declares, as drawing programs do: names for plain text. What else a declaration
// could set, such as an attribute that no element shows, needs quotes, and is not read; nor are entities that blow a document up.
func plainEntities(directive, data []byte) (map[string]string, bool) {
	if len(directive) > longestDocType {
		return nil, false
	}
	parts := docType.FindSubmatch(directive)
	if parts == nil {
		return nil, false
	}
	entities, longest := map[string]string{}, 0
	for _, e := range entity.FindAllSubmatch(parts[1], -1) {
		if _, twice := entities[string(e[1])]; !twice { // the first counts
			entities[string(e[1])] = string(e[2]) + string(e[3])
		}
		longest = max(longest, len(e[2])+len(e[3]))
	}
	return entities, valueless.Match(entity.ReplaceAll(parts[1], nil)) && longest*bytes.Count(data, []byte("&")) <= len(data)+1<<16
}

// runners are elements that hold scripts, or pages that may.
var runners = []string{"foreignobject", "iframe", "embed", "object", "handler", "listener", "audio", "video", "meta", "base", "link"}

func elementRuns(e xml.StartElement) bool {
	return slices.Contains(runners, strings.ToLower(e.Name.Local)) || slices.ContainsFunc(e.Attr, attributeRuns)
}

func attributeRuns(a xml.Attr) bool {
	name := strings.ToLower(a.Name.Local)
	value := strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1 // browsers leave these out of a scheme
		}
		return r
	}, a.Value))
	switch {
	case strings.HasPrefix(name, "on"):
		return true
	case name == "attributename":
		return strings.HasPrefix(value, "on") || strings.HasSuffix(value, "href")
	case strings.HasPrefix(value, "data:"):
		return !slices.ContainsFunc([]string{"png", "jpeg", "jpg", "gif", "webp"}, func(sub string) bool { return strings.HasPrefix(value, "data:image/"+sub) })
	}
	return strings.HasPrefix(value, "javascript:") || strings.HasPrefix(value, "vbscript:")
}
