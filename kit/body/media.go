package body

import (
	"net/http"
	"strings"
)

// MediaType reads the Content-Type field strictly (RFC 9110 section 8.3): the type in lower case, and its parameters with
// lower-case names, or "" when there is no field. A charset other than utf-8 and us-ascii is refused, since a server that
// honours it would read other characters than we did (G3); so are a parameter twice, and RFC 2231's name* forms.
func MediaType(fields http.Header) (mediaType string, params map[string]string, refusal *Refusal) {
	lines := fields["Content-Type"]
	switch len(lines) {
	case 0:
		return "", nil, nil
	case 1:
		return parseMediaType(lines[0])
	}
	return "", nil, refuse(mediaMalformed, "Content-Type stands %d times", len(lines))
}

// KindOf says how a media type in lower case is read. It is false for a type that nobody here can read, unless a document
// declares it opaque. No type at all admits only an empty body (G14).
func KindOf(mediaType string) (Kind, bool) {
	switch mediaType {
	case "":
		return Empty, true
	case "application/json":
		return JSON, true
	case "application/x-www-form-urlencoded":
		return Form, true
	case "multipart/form-data":
		return Multipart, true
	case "application/xml", "text/xml":
		return XML, true
	case "application/octet-stream", "application/pdf", "application/zip", "application/gzip":
		return Opaque, true
	}
	top, sub, ok := strings.Cut(mediaType, "/")
	switch {
	case !ok || sub == "" || strings.Contains(sub, "*"):
		return Empty, false
	case strings.HasSuffix(sub, "+json"):
		return JSON, true
	case strings.HasSuffix(sub, "+xml"):
		return XML, true
	case top == "text":
		return Text, true
	case top == "image" || top == "audio" || top == "video" || top == "font":
		return Opaque, true
	}
	return Empty, false
}

// parseMediaType reads type "/" subtype *( OWS ";" OWS [ parameter ] ).
func parseMediaType(s string) (mediaType string, params map[string]string, refusal *Refusal) {
	essence, rest, more := strings.Cut(s, ";")
	if more {
		essence = strings.TrimRight(essence, " \t")
	}
	top, sub, ok := strings.Cut(essence, "/")
	if !ok || !isToken(top) || !isToken(sub) {
		return "", nil, refuse(mediaMalformed, "no media type of the form type/subtype")
	}
	mediaType = strings.ToLower(essence)
	for more {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			break
		}
		if rest[0] == ';' { // the grammar admits an empty parameter
			rest = rest[1:]
			continue
		}
		var name, value string
		if name, value, rest, ok = cutParameter(rest); !ok {
			return "", nil, refuse(mediaParameter, "a malformed parameter of the media type")
		}
		if strings.Contains(name, "*") {
			return "", nil, refuse(mediaParameter, "an extended parameter of the media type (RFC 2231)")
		}
		if _, twice := params[name]; twice {
			return "", nil, refuse(mediaParameter, "a parameter of the media type stands twice")
		}
		if name == "charset" {
			if value = strings.ToLower(value); !isCharset(value) {
				return "", nil, refuse(mediaCharset, "only utf-8 and us-ascii are read")
			}
		}
		if params == nil {
			params = make(map[string]string, 1)
		}
		params[name] = value
		rest = strings.TrimLeft(rest, " \t")
		if more = rest != ""; more {
			if rest[0] != ';' {
				return "", nil, refuse(mediaParameter, "text after a parameter of the media type")
			}
			rest = rest[1:]
		}
	}
	return mediaType, params, nil
}

func isCharset(lower string) bool { return lower == "utf-8" || lower == "us-ascii" }

// cutParameter takes name "=" ( token / quoted-string ) off the front of s; the name comes in lower case. Quoted pairs
// are refused: browsers do not write them, and readers differ about the backslash.
func cutParameter(s string) (name, value, rest string, ok bool) {
	name, rest, ok = strings.Cut(s, "=")
	if !ok || !isToken(name) || rest == "" {
		return "", "", "", false
	}
	name = strings.ToLower(name)
	if rest[0] == '"' {
		value, rest, ok = strings.Cut(rest[1:], `"`)
		if !ok {
			return "", "", "", false
		}
		for i := range len(value) {
			if c := value[i]; c < 0x20 || c == 0x7f || c == '\\' {
				return "", "", "", false
			}
		}
		return name, value, rest, true
	}
	end := 0
	for end < len(rest) && isTokenByte(rest[end]) {
		end++
	}
	return name, rest[:end], rest[end:], end > 0
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenByte: RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool {
	if isAlnum(c) {
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
