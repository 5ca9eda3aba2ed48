package canon

import (
	"strings"
	"unicode/utf8"
)

// Path reads an escaped path (RFC 3986 section 3.3, absolute) and gives its one canonical spelling and its decoded
// segments. The spelling is a function of the segments alone, so whoever matches the segments has matched what is sent.
// What two readers could understand in two ways is refused, not repaired: dot segments, empty segments, slashes and
// backslashes in disguise, path parameters, control characters, bytes that are not UTF-8 (A1 to A11). Escapes are taken
// off once (A6).
func Path(escaped string) (canonical string, segments []string, refusal *Refusal) {
	if escaped == "" || escaped[0] != '/' {
		return "", nil, refuse(targetForm, "the path does not begin with a slash")
	}
	count, plain := 0, true
	for i := range len(escaped) {
		switch c := escaped[i]; {
		case c == '/':
			count++
		case isPathCharacter(c):
		case c == '%' || isForgiven(c):
			plain = false
		default:
			return "", nil, badPathByte(escaped, i)
		}
	}
	segments = make([]string, 0, count)
	for start, last := 1, false; !last; {
		end := strings.IndexByte(escaped[start:], '/')
		if last = end < 0; last {
			end = len(escaped)
		} else {
			end += start
		}
		segment, refusal := readSegment(escaped[start:end], start, last)
		if refusal != nil {
			return "", nil, refusal
		}
		segments = append(segments, segment)
		start = end + 1
	}
	if plain {
		return escaped, segments, nil
	}
	return joinSegments(segments, len(escaped)), segments, nil
}

// EncodeSegment writes a decoded segment as it stands in a canonical path.
func EncodeSegment(segment string) string {
	return string(appendEscaped(make([]byte, 0, len(segment)+8), segment, isPathCharacter))
}

func joinSegments(segments []string, size int) string {
	out := make([]byte, 0, size+8)
	for _, s := range segments {
		out = appendEscaped(append(out, '/'), s, isPathCharacter)
	}
	return string(out)
}

// readSegment decodes one segment that stands at offset at, and refuses what it should not hold.
func readSegment(raw string, at int, last bool) (string, *Refusal) {
	if raw == "" {
		if last {
			return "", nil // a trailing slash is another path, and a legal one
		}
		return "", refuse(pathEmptySegment, "two slashes in a row at byte %d", at-1)
	}
	segment := raw
	if strings.IndexByte(raw, '%') >= 0 {
		decoded, bad := decodeEscapes(raw, false)
		if bad >= 0 {
			return "", refuse(pathPercent, "bad percent encoding at byte %d", at+bad)
		}
		if !utf8.ValidString(decoded) {
			return "", refuse(pathUTF8, "the segment at byte %d is not UTF-8", at)
		}
		for i := range len(decoded) {
			if reason, what := suspect(decoded[i]); reason != "" {
				return "", refuse(reason, "an encoded %s in the segment at byte %d", what, at)
			}
		}
		segment = decoded
	}
	if segment == "." || segment == ".." {
		return "", refuse(pathDotSegment, "a dot segment at byte %d", at)
	}
	return segment, nil
}

// suspect names what a byte in a decoded segment could be taken for by another reader; "" means it is harmless.
func suspect(c byte) (reason, what string) {
	switch {
	case c == '/':
		return pathEncodedSlash, "slash"
	case c == '\\':
		return pathBackslash, "backslash"
	case c == ';':
		return pathMatrixParam, "semicolon"
	case isControl(c):
		return pathControl, "control character"
	}
	return "", ""
}

// badPathByte says why a raw byte has no place in a path.
func badPathByte(escaped string, i int) *Refusal {
	c := escaped[i]
	switch {
	case c == '#':
		return refuse(pathFragment, "a fragment at byte %d", i)
	case c >= utf8.RuneSelf && !utf8.ValidString(escaped):
		return refuse(pathUTF8, "the path is not UTF-8 at byte %d or after", i)
	}
	if reason, what := suspect(c); reason != "" {
		return refuse(reason, "a %s at byte %d", what, i)
	}
	return refuse(pathCharacter, "byte %d (0x%02x) must be percent-encoded in a path", i, c)
}

// isPathCharacter is pchar of RFC 3986 without '%' and without ';', which begins a path parameter.
func isPathCharacter(c byte) bool {
	if isUnreserved(c) {
		return true
	}
	switch c {
	case '!', '$', '&', '\'', '(', ')', '*', '+', ',', '=', ':', '@':
		return true
	}
	return false
}

// isForgiven is what browsers send raw against RFC 3986. It means nothing to anybody and is sent on encoded.
func isForgiven(c byte) bool {
	switch c {
	case '[', ']', '{', '}', '|', '^':
		return true
	}
	return false
}
