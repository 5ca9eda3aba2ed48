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
		if startsWith(rest[1:], name) {
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

// oldNames are the names of HTML that are read without a semicolon, in lower case, by their first letter and without it
// (HTML Living Standard, 13.5). The list is closed.
var oldNames = [26][]string{
	'a' - 'a': {"mp", "acute", "circ", "cute", "elig", "grave", "ring", "tilde", "uml"},
	'b' - 'a': {"rvbar"},
	'c' - 'a': {"opy", "cedil", "edil", "ent", "urren"},
	'd' - 'a': {"eg", "ivide"},
	'e' - 'a': {"acute", "circ", "grave", "th", "uml"},
	'f' - 'a': {"rac12", "rac14", "rac34"},
	'g' - 'a': {"t"},
	'i' - 'a': {"acute", "circ", "excl", "grave", "quest", "uml"},
	'l' - 'a': {"t", "aquo"},
	'm' - 'a': {"acr", "icro", "iddot"},
	'n' - 'a': {"bsp", "ot", "tilde"},
	'o' - 'a': {"acute", "circ", "grave", "rdf", "rdm", "slash", "tilde", "uml"},
	'p' - 'a': {"ara", "lusmn", "ound"},
	'q' - 'a': {"uot"},
	'r' - 'a': {"eg", "aquo"},
	's' - 'a': {"ect", "hy", "up1", "up2", "up3", "zlig"},
	't' - 'a': {"horn", "imes"},
	'u' - 'a': {"acute", "circ", "grave", "ml", "uml"},
	'y' - 'a': {"acute", "en", "uml"},
}
