// Package identity knows when a rule's transformations leave a text exactly as it is.
//
// Every rule rewrites a value before it looks at it: percent escapes are decoded, comments dropped, blanks squeezed. Most
// values of most requests hold nothing that any of this reacts to. [Of] reads a text once and notes its [Traits];
// [Needs] says which traits a text must have for a transformation to change it. If a text has none of them, what the rule
// sees is the text itself, and one look at the text serves all such rules.
//
// The promise is one-sided. "Unchanged" is certain; were it wrong, an attack could hide behind a transformation that was
// taken for idle. "May change" costs a little time and is sometimes wrong. The conditions are those of Coraza 3.8.1, tried
// in the tests against its own functions; a transformation that is not known here is taken to change everything.
//
// What does change is transformed by the engine's own functions, each shared beginning of two lists once: see [Tree].
package identity

import "strings"

// Traits is what one pass over a text learns: a bit for each thing that some transformation reacts to. The zero Traits
// says nothing and is the traits of no text; [Of] always sets at least [Always].
type Traits uint64

// Traits of single bytes.
const (
	// Upper: the text holds an ASCII upper-case letter.
	Upper Traits = 1 << iota
	// Lower: the text holds an ASCII lower-case letter.
	Lower
	quote     // " or '
	backslash // \
	caret     // ^
	comma     // , or ;
	space     // the blank itself, U+0020
	line      // tab, LF or CR
	feed      // VT or FF
	nul       // NUL
	plus      // +
	hash      // #
	nonASCII  // a byte from 0x80 on
	unplain   // a byte that is not an ASCII letter, a digit or *
	colon     // :, only to look closer
	unhex     // a byte that is not a hexadecimal digit, only to look closer
)

// Traits of two bytes in a row.
const (
	twoSpaces   Traits = 1 << (pairs + iota)
	spaceBefore        // a blank before / or (
	openComment        // /*
	shutComment        // */
	twoDashes          // --
	twoSlashes         // //
	segmentTail        // a dot or blank before / or at the end
	percent            // % before a hexadecimal digit or u, only to look closer
	ampersand          // & before a letter or #, only to look closer
	slashDot           // /., only to look closer
)

// Traits that take a closer look.
const (
	lowers     Traits = 1 << (48 + iota) // a letter beyond ASCII that has another lower case
	raises                               // a letter beyond ASCII that has another upper case
	invalid                              // bytes that are not UTF-8
	latinSpace                           // U+0085, U+00A0 or a stray byte 0xA0
	wideSpace                            // any other space beyond ASCII
	leading                              // begins with ASCII white space
	trailing                             // ends with ASCII white space
	escape                               // % and two hexadecimal digits
	wideEscape                           // %u and four hexadecimal digits
	entity                               // what may be an HTML character reference, in letters of any case
	dotSegment                           // a path segment that is . or ..
	loneSlash                            // the text is /
	stream                               // a colon in the last path segment
	wholeHex                             // not empty, an even number of hexadecimal digits and nothing else
	_                                    //
	Always                               // every text has this one: what is never known to be unchanged needs it
)

// Case is what an upper-case or lower-case letter of ASCII sets. No other trait depends on the case of a letter. So if what
// scans the text afterwards folds ASCII case, Case may be left out of the question: a text that has no other trait that a
// list of transformations needs comes out of it the same up to ASCII case.
const Case = Upper | Lower

const (
	pairs   = 32                                             // the first bit of the traits of two bytes
	single  = Traits(1)<<pairs - 1                           // all traits of single bytes
	private = colon | unhex | percent | ampersand | slashDot // the candidates, of no meaning outside
)

// Of learns the traits of a text in one pass, and in further ones only over what holds candidates: bytes beyond ASCII,
// percent signs, ampersands, dots after slashes.
func Of(text string) Traits {
	if text == "" {
		return Always
	}
	var seen, both, before uint64
	for i := range len(text) {
		v := table[text[i]]
		seen |= v
		both |= before & v
		before = v << firstToSecond
	}
	t := Always | Traits(seen)&single | Traits(both>>second)<<pairs
	if Traits(table[text[0]])&white != 0 {
		t |= leading
	}
	last := text[len(text)-1]
	if Traits(table[last])&white != 0 {
		t |= trailing
	}
	if last == ' ' || last == '.' {
		t |= segmentTail
	}
	if t&unhex == 0 && len(text)%2 == 0 {
		t |= wholeHex
	}
	if t&(nonASCII|colon|percent|ampersand|slashDot) != 0 || text[0] == '.' || text == "/" {
		t |= closer(text, t)
	}
	return t &^ private
}

// white is ASCII white space.
const white = space | line | feed

// closer looks again where the pass saw a candidate.
func closer(text string, t Traits) (more Traits) {
	if t&nonASCII != 0 {
		more |= beyond(text)
	}
	if t&percent != 0 {
		more |= escapes(text)
	}
	if t&ampersand != 0 && hasReference(text) {
		more |= entity
	}
	if (t&slashDot != 0 || text[0] == '.') && hasDotSegment(text) {
		more |= dotSegment
	}
	if t&colon != 0 && hasStream(text) {
		more |= stream
	}
	if text == "/" {
		more |= loneSlash
	}
	return more
}

// escapes finds the percent escapes that a decoder takes: %41, %u0041.
func escapes(text string) (t Traits) {
	for i := range len(text) {
		if text[i] != '%' {
			continue
		}
		if hexes(text, i+1, 2) {
			t |= escape
		}
		if i+1 < len(text) && text[i+1]|0x20 == 'u' && hexes(text, i+2, 4) {
			t |= wideEscape
		}
	}
	return t
}

// hexes tells whether n hexadecimal digits stand at that place.
func hexes(text string, at, n int) bool {
	if at+n > len(text) {
		return false
	}
	for i := at; i < at+n; i++ {
		if !isHex(text[i]) {
			return false
		}
	}
	return true
}

// hasDotSegment tells whether a segment of the path is . or .. .
func hasDotSegment(text string) bool {
	for i := range len(text) {
		if text[i] != '.' || i > 0 && text[i-1] != '/' {
			continue
		}
		end := i + 1
		if end < len(text) && text[end] == '.' {
			end++
		}
		if end == len(text) || text[end] == '/' {
			return true
		}
	}
	return false
}

// hasStream tells whether the last segment of the path, a slash at the end left out, holds a colon: what Windows takes for
// the name of a stream within the file.
func hasStream(text string) bool {
	text = strings.TrimSuffix(text, "/")
	return strings.IndexByte(text[strings.LastIndexByte(text, '/')+1:], ':') >= 0
}
