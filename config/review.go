package config

import (
	"fmt"
	"sort"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// reviewTree finds what is wrong wherever it stands: a key without a value, a control character made by an escape.
func reviewTree(root *node) mistake.List {
	var found mistake.List
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		switch n.kind {
		case kindNull:
			found = append(found, placed(path, n.line, n.column, "", "no value is given; write one, or leave the key out (an empty section is {}, an empty list [])"))
		case kindScalar:
			if r, bad := controlIn(n); bad {
				found = append(found, placed(path, n.line, n.column, "", fmt.Sprintf("the value contains the control character %U", r)))
			}
		}
		for _, p := range n.pairs {
			walk(p.value, joinKey(path, p.key))
			if looksSecret(p.key) {
				found = append(found, placed(path, p.line, p.column, "", "a key that looks like a secret; it is not repeated here"))
			}
		}
		for i, item := range n.items {
			walk(item, fmt.Sprintf("%s[%d]", path, i))
		}
	}
	walk(root, "")
	return found
}

func controlIn(n *node) (rune, bool) {
	for _, r := range n.text {
		if unicode.IsControl(r) && !(r == '\n' && n.style == block) {
			return r, true
		}
	}
	return 0, false
}

// sortByPlace orders mistakes as the document reads.
func sortByPlace(found mistake.List) {
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
}
