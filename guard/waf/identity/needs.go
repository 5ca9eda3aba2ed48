package identity

import "strings"

// Needs gives the traits of which a text must have at least one for the transformation to change it. The name is the one
// of SecLang, in letters of any case, without "t:". It is false for a transformation that is never known to leave a text
// alone, such as base64Decode or length, and for one that is not known at all; the traits are then [Always], which every
// text has.
//
// A transformation that errs keeps its input, as in the engine: hexDecode leaves alone what is no hexadecimal number.
func Needs(name string) (t Traits, ok bool) {
	t, ok = needs(canonical(name))
	if !ok {
		return Always, false
	}
	return t, true
}

// ChainNeeds gives the traits of which a text must have at least one for the list to change it. If none of the
// transformations changes the text, none after it sees a changed one, so these are the needs of all together.
func ChainNeeds(names []string) (t Traits, ok bool) {
	ok = true
	for _, name := range names {
		n, known := Needs(name)
		t |= n
		ok = ok && known
	}
	return t, ok
}

// canonical makes one name of the names that mean the same.
func canonical(name string) string {
	name = strings.ToLower(name)
	switch name {
	case "normalizepath":
		return "normalisepath"
	case "normalizepathwin":
		return "normalisepathwin"
	}
	return name
}

// comment is what begins a comment in any of the notations that removeComments knows; <!-- holds --.
const comment = openComment | twoDashes | hash

func needs(name string) (Traits, bool) {
	switch name {
	case "none":
		return 0, true
	case "cmdline":
		return Upper | quote | backslash | caret | comma | line | twoSpaces | spaceBefore, true
	case "compresswhitespace":
		return line | feed | latinSpace | twoSpaces, true
	case "cssdecode", "escapeseqdecode", "jsdecode":
		return backslash, true
	case "hexdecode":
		return wholeHex, true
	case "htmlentitydecode":
		return entity, true
	case "lowercase": // what is not UTF-8 becomes U+FFFD
		return Upper | lowers | invalid, true
	case "uppercase":
		return Lower | raises | invalid, true
	case "normalisepath": // the engine makes // of /
		return twoSlashes | loneSlash | dotSegment, true
	case "normalisepathwin":
		return twoSlashes | loneSlash | backslash | stream | segmentTail, true // a dot segment is such a tail
	case "removecomments":
		return comment, true
	case "removecommentschar":
		return comment | shutComment, true
	case "replacecomments":
		return openComment, true
	case "removenulls", "replacenulls":
		return nul, true
	case "removewhitespace":
		return white | latinSpace | wideSpace | invalid, true
	case "trim":
		return leading | trailing, true
	case "trimleft":
		return leading, true
	case "trimright":
		return trailing, true
	case "urldecode":
		return plus | escape, true
	case "urldecodeuni":
		return plus | escape | wideEscape, true
	case "urlencode":
		return unplain, true
	case "utf8tounicode":
		return nonASCII, true
	}
	return 0, false
}
