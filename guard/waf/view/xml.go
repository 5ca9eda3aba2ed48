package view

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// The keys under which the engine has the texts between tags and the values of attributes.
const (
	texts     = "/*"
	attribute = "//@*"
)

// fillXML reads a document, which the tree has as bytes only, in the one way of the engine, and but once: what stands
// between tags, and the values of attributes. The latter are arguments too, named xml.attribute, since only few rules
// look at attributes. A document that breaks off is forgiven, as the engine does: what is left of it, when it is not to be
// read as anything, is one more value.
func (v *View) fillXML(raw []byte) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		before := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			v.endXML(raw[before:], err)
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			for _, a := range t.Attr {
				v.add(variables.XML, attribute, a.Value)
				v.arg(v.args.post, "xml.attribute", a.Value)
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(t)); text != "" {
				v.add(variables.XML, texts, text)
			}
		}
	}
}

// endXML is for a document that cannot be read on. But for one that breaks off, the engine then has none of it, and the
// error that is left refuses the request.
func (v *View) endXML(rest []byte, err error) {
	if len(rest) > 0 {
		v.arg(v.args.post, "xml.attribute", string(rest))
	}
	if syntax := new(xml.SyntaxError); errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" {
		return
	}
	clear(v.list[variables.XML])
	v.list[variables.XML] = v.list[variables.XML][:0]
	v.fail(err.Error())
}
