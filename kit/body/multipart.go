package body

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// longestBoundary: RFC 2046 section 5.1.1.
const longestBoundary = 70

// parseMultipart reads multipart/form-data (RFC 7578) the one way that every reader agrees on: CRLF only, nothing before
// the first boundary nor after the last, no boundary inside data, and of each part a name, perhaps a file name and a
// media type, and no more. Everything else that RFC 2046 would allow has been used to show a gateway other parts than the
// server sees (G2 to G5).
func parseMultipart(raw []byte, params map[string]string, lim Limits) ([]Part, *Refusal) {
	boundary, refusal := boundaryOf(params)
	if refusal != nil {
		return nil, refusal
	}
	delimiter := []byte("--" + boundary)
	rest, ok := bytes.CutPrefix(raw, delimiter)
	if !ok {
		return nil, refuse(multipartPreamble, "the body does not begin with its boundary")
	}
	var parts []Part
	for !bytes.HasPrefix(rest, []byte("--")) {
		if rest, ok = bytes.CutPrefix(rest, []byte("\r\n")); !ok {
			return nil, refuse(multipartBoundary, "a boundary followed by something else than a line break, before part %d", len(parts)+1)
		}
		if len(parts) == lim.Parts {
			return nil, refuse(multipartTooMany, "more than %d parts", lim.Parts)
		}
		var content []byte
		if content, rest, ok = bytes.Cut(rest, delimiter); !ok {
			return nil, refuse(multipartEnd, "no boundary after part %d", len(parts)+1)
		}
		if content, ok = bytes.CutSuffix(content, []byte("\r\n")); !ok {
			return nil, refuse(multipartBoundary, "a boundary that does not begin its line, in part %d", len(parts)+1)
		}
		part, refusal := parsePart(content, len(parts)+1, lim)
		if refusal != nil {
			return nil, refusal
		}
		parts = append(parts, part)
	}
	if rest = rest[2:]; len(rest) > 0 && string(rest) != "\r\n" {
		return nil, refuse(multipartEnd, "%d bytes after the last boundary", len(rest))
	}
	if len(parts) == 0 {
		return nil, refuse(multipartEnd, "no part")
	}
	return parts, nil
}

// boundaryOf gives the one boundary, in the characters of RFC 2046 without the space.
func boundaryOf(params map[string]string) (string, *Refusal) {
	for name := range params {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "boundary") && name != "boundary" {
			return "", refuse(multipartBoundary, "the boundary in another form than boundary=")
		}
	}
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > longestBoundary {
		return "", refuse(multipartBoundary, "a boundary has 1 to %d characters", longestBoundary)
	}
	for i := range len(boundary) {
		if c := boundary[i]; !isAlnum(c) && strings.IndexByte("'()+_,-./:=?", c) < 0 {
			return "", refuse(multipartBoundary, "byte 0x%02x in the boundary", c)
		}
	}
	return boundary, nil
}

// parsePart reads the header and the data of part number n.
func parsePart(content []byte, n int, lim Limits) (Part, *Refusal) {
	var part Part
	header, data, ok := bytes.Cut(content, []byte("\r\n\r\n"))
	if !ok {
		return part, refuse(multipartHeader, "part %d has no empty line after its header", n)
	}
	if len(header) > lim.Header {
		return part, refuse(multipartHeader, "the header of part %d has more than %d bytes", n, lim.Header)
	}
	if !utf8.Valid(header) {
		return part, refuse(multipartHeader, "the header of part %d is not UTF-8", n)
	}
	part.Data = data
	var fields partFields
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if refusal := fields.read(line, n); refusal != nil {
			return part, refusal
		}
		part.Header = append(part.Header, line)
	}
	if refusal := fields.fill(&part, n); refusal != nil {
		return part, refusal
	}
	return part, checkPart(&part, n, lim)
}

// partFields are the lines of a part's header, by name.
type partFields struct{ disposition, mediaType, length *string }

func (f *partFields) read(line string, n int) *Refusal {
	for i := range len(line) {
		if c := line[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return refuse(multipartHeader, "byte 0x%02x in the header of part %d", c, n)
		}
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return refuse(multipartHeader, "a line without a field name in the header of part %d", n)
	}
	var to **string
	switch strings.ToLower(name) {
	case "content-disposition":
		to = &f.disposition
	case "content-type":
		to = &f.mediaType
	case "content-length":
		to = &f.length
	case "content-transfer-encoding":
		return refuse(multipartEncoding, "part %d has a transfer encoding", n)
	default:
		return refuse(multipartHeader, "an unknown field in the header of part %d", n)
	}
	if *to != nil {
		return refuse(multipartHeader, "a field stands twice in the header of part %d", n)
	}
	value = strings.Trim(value, " \t")
	*to = &value
	return nil
}

func (f *partFields) fill(part *Part, n int) *Refusal {
	if f.disposition == nil {
		return refuse(multipartDisp, "part %d has no Content-Disposition", n)
	}
	if f.length != nil && *f.length != strconv.Itoa(len(part.Data)) { // some clients send it; it may say nothing new
		return refuse(multipartHeader, "Content-Length differs from the length of part %d", n)
	}
	if f.mediaType != nil {
		mediaType, params, refusal := parseMediaType(*f.mediaType)
		if refusal != nil {
			return refusal
		}
		if strings.HasPrefix(mediaType, "multipart/") || strings.HasPrefix(mediaType, "message/") || params["boundary"] != "" {
			return refuse(multipartNested, "part %d would have parts of its own", n)
		}
		part.Type = mediaType
	}
	return parseDisposition(*f.disposition, part, n)
}

// parseDisposition reads form-data; name="..."; filename="...": each parameter at most once, in either order, and none in
// the extended form of RFC 5987, which wins over the plain one in some readers only (G2, G5).
func parseDisposition(value string, part *Part, n int) *Refusal {
	kind, rest, more := strings.Cut(value, ";")
	if !strings.EqualFold(strings.TrimRight(kind, " \t"), "form-data") {
		return refuse(multipartDisp, "part %d is not form-data", n)
	}
	var named, file bool
	for more {
		var name, text string
		var ok bool
		if name, text, rest, ok = cutParameter(strings.TrimLeft(rest, " \t")); !ok {
			return refuse(multipartDisp, "a malformed parameter in the disposition of part %d", n)
		}
		switch {
		case name == "name" && !named && text != "":
			named, part.Name = true, text
		case name == "filename" && !file:
			file, part.FileName = true, text
		default:
			return refuse(multipartDisp, "a parameter of the disposition of part %d is unknown, empty or there twice", n)
		}
		rest = strings.TrimLeft(rest, " \t")
		if more = rest != ""; more {
			if rest[0] != ';' {
				return refuse(multipartDisp, "text after a parameter in the disposition of part %d", n)
			}
			rest = rest[1:]
		}
	}
	switch {
	case !named:
		return refuse(multipartDisp, "part %d has no name", n)
	case part.Name == "_charset_":
		return refuse(bodyCharsetField, "part %d would choose the charset", n)
	case file && part.FileName == "" && len(part.Data) > 0: // what browsers send for "no file chosen" has no data
		return refuse(multipartFileName, "part %d is a file without a name", n)
	case strings.ContainsAny(part.FileName, "/") || part.FileName == "." || part.FileName == "..":
		return refuse(multipartFileName, "part %d has a path for a file name", n)
	}
	return nil
}

// checkPart: what is no file is text.
func checkPart(part *Part, n int, lim Limits) *Refusal {
	if part.FileName != "" || part.Type != "" && !strings.HasPrefix(part.Type, "text/") {
		return nil
	}
	if !utf8.Valid(part.Data) {
		return refuse(bodyUTF8, "part %d is not UTF-8", n)
	}
	if !lim.AllowNUL && bytes.IndexByte(part.Data, 0) >= 0 {
		return refuse(bodyNUL, "U+0000 in part %d", n)
	}
	return nil
}
