package canon

import (
	"strings"
	"unicode/utf8"
)

// Query reads the part of a target after its question mark, as HTML forms write it: pairs between '&', '+' for a space,
// percent encodings in UTF-8. A pair without '=' has an empty value, an empty pair is left out. Refused are a raw ';',
// which some servers take for '&' (A25), bad escapes, NUL, control characters in names, raw bytes that no client may
// send, and more pairs than limit (A26); a limit of zero or less means 256.
func Query(raw string, limit int) ([]Pair, *Refusal) {
	limit = orDefault(limit, defaultQuery)
	if raw == "" {
		return nil, nil
	}
	count := 1 + strings.Count(raw, "&")
	if count > limit {
		return nil, refuse(queryTooMany, "%d parameters, at most %d are read", count, limit)
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == ';' || c == '#' || c == '"' || c == '<' || c == '>' {
			return nil, refuse(queryMalformed, "byte %d (0x%02x) must be percent-encoded in a query", i, c)
		}
	}
	pairs := make([]Pair, 0, count)
	for at, rest, more := 0, raw, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "&")
		if part != "" {
			pair, refusal := readPair(part, at)
			if refusal != nil {
				return nil, refusal
			}
			pairs = append(pairs, pair)
		}
		at += len(part) + 1
	}
	return pairs, nil
}

// readPair decodes "name=value" that stands at offset at.
func readPair(part string, at int) (pair Pair, refusal *Refusal) {
	name, value, _ := strings.Cut(part, "=")
	if pair.Name, refusal = readQueryPart(name, at); refusal != nil {
		return Pair{}, refusal
	}
	if pair.Value, refusal = readQueryPart(value, at+len(name)+1); refusal != nil {
		return Pair{}, refusal
	}
	if hasControl(pair.Name) {
		return Pair{}, refuse(queryControl, "a control character in the parameter name at byte %d", at)
	}
	if strings.IndexByte(pair.Value, 0) >= 0 {
		return Pair{}, refuse(queryControl, "NUL in the value at byte %d", at+len(name)+1)
	}
	return pair, nil
}

func readQueryPart(raw string, at int) (string, *Refusal) {
	if !strings.ContainsAny(raw, "%+") {
		return raw, nil
	}
	decoded, bad := decodeEscapes(raw, true)
	if bad >= 0 {
		return "", refuse(queryMalformed, "bad percent encoding at byte %d", at+bad)
	}
	if !utf8.ValidString(decoded) {
		return "", refuse(queryUTF8, "the text at byte %d is not UTF-8", at)
	}
	return decoded, nil
}

// EncodeQuery writes pairs so that Query reads the same pairs back, and so that every reader agrees: each pair has its
// '=', a space is %20 and never '+', and delimiters of lists (',') stay bare because they were split after decoding.
func EncodeQuery(pairs []Pair) string {
	if len(pairs) == 0 {
		return ""
	}
	size := 0
	for _, p := range pairs {
		size += len(p.Name) + len(p.Value) + 8
	}
	out := make([]byte, 0, size)
	for i, p := range pairs {
		if i > 0 {
			out = append(out, '&')
		}
		out = appendEscaped(out, p.Name, isQueryCharacter)
		out = appendEscaped(append(out, '='), p.Value, isQueryCharacter)
	}
	return string(out)
}

func isQueryCharacter(c byte) bool {
	return isUnreserved(c) || c == ',' || c == ':' || c == '/' || c == '@'
}
