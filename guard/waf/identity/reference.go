package identity

// hasReference tells whether a text holds what may be an HTML character reference: a number, any name that ends in a
// semicolon, or one of the old names that need none. Old names count in letters of any case, although &Lt is not &lt:
// a transformation before may have changed the case of the text, and then its traits would no longer hold.
func hasReference(text string) bool {
	for i := range len(text) {
		if text[i] == '&' && isReference(text[i+1:]) {
			return true
		}
	}
	return false
}

func isReference(rest string) bool {
	if len(rest) < 2 {
		return false
	}
	if rest[0] == '#' {
		return rest[1] >= '0' && rest[1] <= '9' || rest[1]|0x20 == 'x'
	}
	if !isLetter(rest[0]) {
		return false
	}
	for _, name := range oldNames[rest[0]|0x20-'a'] {
		if startsWith(rest, name) {
			return true
		}
	}
	for i := range len(rest) {
		if !isAlphanumeric(rest[i]) {
			return rest[i] == ';'
		}
	}
	return false
}

// startsWith tells whether a text starts with the lower-case name, in letters of any case. It folds digits too, to signs
// that never matter here.
func startsWith(text, name string) bool {
	if len(text) < len(name) {
		return false
	}
	for i := range len(name) {
		if text[i]|0x20 != name[i] {
			return false
		}
	}
	return true
}

// oldNames are the names of HTML that are read without a semicolon, in lower case, by their first letter (HTML Living
// Standard, 13.5). The list is closed.
var oldNames = [26][]string{
	0:         {"amp", "aacute", "acirc", "acute", "aelig", "agrave", "aring", "atilde", "auml"},
	'b' - 'a': {"brvbar"},
	'c' - 'a': {"copy", "ccedil", "cedil", "cent", "curren"},
	'd' - 'a': {"deg", "divide"},
	'e' - 'a': {"eacute", "ecirc", "egrave", "eth", "euml"},
	'f' - 'a': {"frac12", "frac14", "frac34"},
	'g' - 'a': {"gt"},
	'i' - 'a': {"iacute", "icirc", "iexcl", "igrave", "iquest", "iuml"},
	'l' - 'a': {"lt", "laquo"},
	'm' - 'a': {"macr", "micro", "middot"},
	'n' - 'a': {"nbsp", "not", "ntilde"},
	'o' - 'a': {"oacute", "ocirc", "ograve", "ordf", "ordm", "oslash", "otilde", "ouml"},
	'p' - 'a': {"para", "plusmn", "pound"},
	'q' - 'a': {"quot"},
	'r' - 'a': {"reg", "raquo"},
	's' - 'a': {"sect", "shy", "sup1", "sup2", "sup3", "szlig"},
	't' - 'a': {"thorn", "times"},
	'u' - 'a': {"uacute", "ucirc", "ugrave", "uml", "uuml"},
	'y' - 'a': {"yacute", "yen", "yuml"},
}
