package upload

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
)

// xmlRuns tells that a browser would run something of an XML document: a script by any prefix, a style sheet that makes a page of
// it. Of a picture it asks for more: elements that hold pages, attributes for events, links to scripts, animations that would
// set one of those, entities; and that it can be read at all.
func xmlRuns(data []byte, picture bool) bool {
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return picture
		}
		switch t := token.(type) {
		case xml.ProcInst:
			if t.Target != "xml" && (picture || t.Target == "xml-stylesheet") {
				return true
			}
		case xml.Directive:
			if picture && bytes.IndexByte(t, '[') >= 0 {
				return true
			}
		case xml.StartElement:
			if strings.EqualFold(t.Name.Local, "script") || picture && elementRuns(t) {
				return true
			}
		}
	}
}

// runners are elements that hold scripts, or pages that may.
var runners = []string{"foreignobject", "iframe", "embed", "object", "handler", "listener", "audio", "video", "meta", "base", "link"}

func elementRuns(e xml.StartElement) bool {
	if slices.Contains(runners, strings.ToLower(e.Name.Local)) || strings.Contains(strings.ToLower(e.Name.Space), "xhtml") {
		return true
	}
	return slices.ContainsFunc(e.Attr, attributeRuns)
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
