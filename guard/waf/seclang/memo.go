package seclang

import (
	"fmt"
	"strings"
)

// use is what the engine keeps under a text, and who asked first.
type use struct {
	kind string
	at   place
}

// remember notes under which texts the engine will keep compiled forms of a rule, and refuses two of different kinds under
// one text: the engine has one table for words, expressions and patterns of bytes, and ends the process when it finds one
// where it wants the other.
func (c *check) remember(d Directive, r Rule) {
	note := func(key, kind string) {
		switch u, there := c.memo[key]; {
		case !there:
			c.memo[key] = use{kind, at(d)}
		case u.kind != kind && c.own != c.set.Core:
			c.refuse(d, "(?:"+key+")", "the engine would end the process at start: it keeps %s %q and %s of %s:%d under the same text", kind, cut(key), u.kind, u.at.file, u.at.line)
		}
	}
	for _, t := range r.Targets {
		if pattern, ok := inSlashes(t.Key); ok && t.Name != "XML" {
			if folds(strings.ToUpper(t.Name)) {
				pattern = strings.ToLower(pattern)
			}
			note(pattern, "the expression of a name")
		}
	}
	switch o := r.Operator; o.Name {
	case "pm":
		note(strings.ToLower(o.Args), "the words")
	case "rx":
		if bytesOnly(o.Args) {
			note(o.Args, "the pattern of bytes")
		}
	case "restpath":
		note(strings.ReplaceAll(o.Args, "/", `\/`), "the expression of a name")
	case "validateNid":
		_, pattern, _ := strings.Cut(o.Args, " ")
		note(pattern, "the expression of a name")
	}
	for _, a := range r.Actions {
		if _, target, ok := strings.Cut(a.Value, ";"); ok && a.Name == "ctl" {
			_, key, _ := strings.Cut(target, ":")
			if pattern, ok := inSlashes(strings.TrimSpace(key)); ok {
				note(pattern, "the expression of a name")
			}
		}
	}
}

// bytesOnly tells whether an expression may name bytes that are no UTF-8, as \xff does, and so may be kept as it is written.
func bytesOnly(pattern string) bool {
	for i := 0; i+3 < len(pattern); i++ {
		var n int
		rest := strings.TrimPrefix(pattern[i+2:], "{")
		if strings.HasPrefix(pattern[i:], `\x`) {
			if _, err := fmt.Sscanf(rest[:min(2, len(rest))], "%x", &n); err == nil && n >= 0x80 {
				return true
			}
		}
	}
	return false
}
