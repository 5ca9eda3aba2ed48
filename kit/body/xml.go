package body

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// checkXML refuses what makes an XML reader fetch, expand or decode on its own: a document type, hence every entity, and
// an encoding other than UTF-8. It looks for the marks anywhere, in comments too, since it does not parse.
func checkXML(raw []byte) *Refusal {
	if !utf8.Valid(raw) {
		return refuse(bodyUTF8, "the document is not UTF-8")
	}
	if bytes.IndexByte(raw, 0) >= 0 {
		return refuse(bodyNUL, "U+0000 in the document")
	}
	for at := 0; ; {
		mark := bytes.Index(raw[at:], []byte("<!"))
		if mark < 0 {
			break
		}
		at += mark + 2
		if !bytes.HasPrefix(raw[at:], []byte("--")) && !bytes.HasPrefix(raw[at:], []byte("[CDATA[")) {
			return refuse(xmlDoctype, "a document type or entity at byte %d", at-2)
		}
	}
	return checkXMLDeclaration(string(raw[:min(len(raw), 256)]))
}

// checkXMLDeclaration reads <?xml version="1.0" encoding="..."?> at the beginning.
func checkXMLDeclaration(head string) *Refusal {
	head = strings.TrimPrefix(head, "\ufeff")
	if !strings.HasPrefix(head, "<?xml") || len(head) > 5 && head[5] != ' ' && head[5] != '\t' && head[5] != '\r' && head[5] != '\n' {
		return nil
	}
	declaration, _, closed := strings.Cut(head, "?>")
	if !closed {
		return refuse(xmlEncoding, "the XML declaration does not end within 256 bytes")
	}
	if strings.Count(declaration, "encoding") == 0 {
		return nil
	}
	_, after, _ := strings.Cut(declaration, "encoding")
	after = strings.TrimLeft(after, " \t\r\n")
	after, ok := strings.CutPrefix(after, "=")
	after = strings.TrimLeft(after, " \t\r\n")
	if !ok || after == "" || after[0] != '"' && after[0] != '\'' || strings.Contains(after, "encoding") {
		return refuse(xmlEncoding, "a malformed encoding in the XML declaration")
	}
	name, _, ok := strings.Cut(after[1:], after[:1])
	if !ok || !isCharset(strings.ToLower(name)) {
		return refuse(xmlEncoding, "only utf-8 and us-ascii are read")
	}
	return nil
}
