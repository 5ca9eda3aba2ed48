package confine

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

const (
	upper    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters  = upper + "abcdefghijklmnopqrstuvwxyz"
	hexes    = "0123456789abcdefABCDEF"
	blanks   = "\t\n\v\f\r "
	sextets  = upper + "abcdefghijklmnopqrstuvwxyz0123456789+/"
	fillings = "\"'\\^" // what cmdLine takes out
)

// change gives what a transformation makes of texts; false when that is not known. The names are SecLang's, in lower case.
// What leaves the texts as they are gives just them. Tests hold each against the engine's own function.
func change(name string, p *parts) (*parts, bool) {
	switch name {
	case "none":
		return p, true
	case "lowercase":
		return p.mapped(lower), p.ascii()
	case "uppercase":
		return p.mapped(raise), p.ascii()
	case "urldecode", "urldecodeuni":
		return p.mapped(plusToBlank), !p.escapes()
	case "jsdecode", "cssdecode", "escapeseqdecode":
		return p, !p.has(`\`)
	case "htmlentitydecode":
		return p, !p.follows("&", letters+"#")
	case "utf8tounicode":
		return p, p.ascii()
	case "removenulls":
		return p.without(literal.Of("\x00")), true
	case "replacenulls":
		return p.mapped(nulToBlank), true
	case "base64decode":
		return decoded(p), true
	case "length":
		return shaped("", theDigits).parts, true
	}
	return squeeze(name, p)
}

// escapes tells that a percent sign may begin an escape.
func (p *parts) escapes() bool {
	for _, c := range []byte(hexes) {
		if p.pairs['%'].Has(c) && p.follows(string(c), hexes) {
			return true
		}
	}
	return p.follows("%", "uU") && p.follows("uU", hexes)
}

// squeeze is change for what takes out comments and blanks, and mends paths.
func squeeze(name string, p *parts) (*parts, bool) {
	switch name {
	case "cmdline":
		if !p.has(fillings+",;\t\r\n") && !p.follows(" ", " /(") {
			return p.mapped(lower), true
		}
		return p.mapped(commandBlank).without(literal.Of(fillings)).loose(" ", 0), true
	case "compresswhitespace":
		if p.bytes.Has(0x85) || p.bytes.Has(0xa0) {
			return p, false
		}
		return p.mapped(toBlank).compressed(), true
	case "removewhitespace":
		if p = p.without(literal.Of(blanks)); p.ascii() {
			return p, true
		}
		return p.tripled().loose("\ufffd", 0), true // what is no UTF-8 becomes U+FFFD; spaces beyond ASCII go
	case "removecomments":
		if !p.follows("/", "*") && !p.follows("-", "-") && !p.has("#") {
			return p, true
		}
		return p.loose(" \x00", 0), true
	case "removecommentschar":
		if !p.follows("/", "*") && !p.follows("*", "/") && !p.follows("-", "-") && !p.has("#") {
			return p, true
		}
		return p.loose("", 0), true
	case "replacecomments":
		if !p.follows("/", "*") {
			return p, true
		}
		return p.loose(" ", 0), true
	case "trim", "trimleft", "trimright":
		return p.parted(), true
	case "normalisepath", "normalizepath":
		if !p.has("/") {
			return p, true
		}
		return p.loose("/.", 1), true
	case "normalisepathwin", "normalizepathwin":
		if !p.has(`/\:`) {
			return p.parted(), true
		}
		return p.loose("/.", 1), true
	}
	return nil, false
}

// loose is any texts of the same bytes and some more.
func (p *parts) loose(more string, growth int) *parts {
	q := &parts{bytes: either(p.bytes, literal.Of(more)), most: min(p.most+growth, unbounded)}
	q.free()
	return q
}

// compressed is texts in which one blank stands for several: what goes a way of several goes it no longer.
func (p *parts) compressed() *parts {
	if p.way == nil || !p.follows(" ", " ") {
		return p
	}
	q := *p
	q.way = nil
	return &q
}

// tripled is texts that may have become three times as long.
func (p *parts) tripled() *parts {
	q := *p
	q.most, q.way = min(3*q.most, unbounded), nil
	return &q
}

// parted is any piece of the texts.
func (p *parts) parted() *parts {
	q := *p
	q.first, q.last, q.way = q.bytes, q.bytes, nil
	return &q
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func raise(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c + 'A' - 'a'
	}
	return c
}

func plusToBlank(c byte) byte {
	if c == '+' {
		return ' '
	}
	return c
}

func nulToBlank(c byte) byte {
	if c == 0 {
		return ' '
	}
	return c
}

func toBlank(c byte) byte {
	if strings.IndexByte(blanks, c) >= 0 {
		return ' '
	}
	return c
}

func commandBlank(c byte) byte {
	if strings.IndexByte(",;\t\r\n", c) >= 0 {
		return ' '
	}
	return lower(c)
}

// decoded is what Base64 may stand for. The decoder stops at what is not of its alphabet and passes over the ends of lines.
func decoded(p *parts) *parts {
	q := &parts{most: min(p.most, unbounded/4)/4*3 + 2}
	if p.most >= unbounded {
		q.most = unbounded
	}
	after := sextetPairs(p)
	var low [64]literal.ByteSet // third bytes by their last sextet
	for s3 := range byte(64) {
		for _, s4 := range after[s3] {
			low[s4].Add(s3<<6 | s4)
		}
	}
	for s1 := range byte(64) {
		for _, s2 := range after[s1] {
			one := s1<<2 | s2>>4
			q.bytes.Add(one)
			q.first.Add(one)
			for _, s3 := range after[s2] {
				two := s2<<4 | s3>>2
				q.bytes.Add(two)
				q.pairs[one].Add(two)
				for _, s4 := range after[s3] {
					q.bytes.Add(s3<<6 | s4)
					q.pairs[two].Add(s3<<6 | s4)
				}
			}
		}
	}
	for s4 := range byte(64) {
		var next literal.ByteSet
		for _, s5 := range after[s4] {
			for _, s6 := range after[s5] {
				next.Add(s5<<2 | s6>>4)
			}
		}
		for _, three := range members(low[s4]) {
			q.pairs[three] = either(q.pairs[three], next)
		}
	}
	q.last = q.bytes
	return q
}

// sextetPairs gives which six bits may follow which.
func sextetPairs(p *parts) (after [64][]byte) {
	if p.has("\r\n") {
		p = p.without(literal.Of("\r\n"))
	}
	for i := range len(sextets) {
		for k := range len(sextets) {
			if p.bytes.Has(sextets[i]) && p.pairs[sextets[i]].Has(sextets[k]) {
				after[i] = append(after[i], byte(k))
			}
		}
	}
	return after
}
