package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// spot is where a path leads.
type spot struct {
	node         *node // nil when there is nothing at the path
	line, column int   // of the node, or of the nearest thing above it that exists
}

// find follows a path such as "apis[0].operations[\"GET /a.b\"].roles". Where a key has dots or brackets of its own and
// is not quoted, the longest key that fits is taken.
func (d *Document) find(path string) spot {
	at := spot{node: d.root, line: 1, column: 1}
	if d.root != nil {
		at.line, at.column = d.root.line, d.root.column
	}
	for rest := path; rest != ""; {
		next, after, ok := step(at, rest)
		if !ok {
			return spot{line: at.line, column: at.column}
		}
		at, rest = next, after
	}
	return at
}

// step follows the first part of a path.
func step(at spot, path string) (next spot, rest string, ok bool) {
	path = strings.TrimPrefix(path, ".")
	if at.node == nil {
		return spot{}, "", false
	}
	if inner, found := strings.CutPrefix(path, "["); found {
		if strings.HasPrefix(inner, `"`) {
			return stepQuoted(at, inner)
		}
		number, after, found := strings.Cut(inner, "]")
		i, err := strconv.Atoi(number)
		if !found || err != nil || i < 0 || i >= len(at.node.items) {
			return spot{}, "", false
		}
		item := at.node.items[i]
		return spot{node: item, line: item.line, column: item.column}, after, true
	}
	best := -1
	for i, p := range at.node.pairs {
		after, found := strings.CutPrefix(path, p.key)
		if found && p.key != "" && (after == "" || after[0] == '.' || after[0] == '[') && (best < 0 || len(p.key) > len(at.node.pairs[best].key)) {
			best = i
		}
	}
	if best < 0 {
		return spot{}, "", false
	}
	p := at.node.pairs[best]
	return spot{node: p.value, line: p.value.line, column: p.value.column}, path[len(p.key):], true
}

func stepQuoted(at spot, inner string) (next spot, rest string, ok bool) {
	word, err := strconv.QuotedPrefix(inner)
	if err != nil || !strings.HasPrefix(inner[len(word):], "]") {
		return spot{}, "", false
	}
	key, err := strconv.Unquote(word)
	p, found := at.node.get(key)
	if err != nil || !found {
		return spot{}, "", false
	}
	return spot{node: p.value, line: p.value.line, column: p.value.column}, inner[len(word)+1:], true
}

// joinKey puts a key of the document below a path, quoted when it is more than a word.
func joinKey(path, key string) string {
	if looksSecret(key) {
		return path
	}
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Sprintf("%s[%q]", path, key)
	}
	return mistake.Join(path, key)
}

// Place puts file, line, column and excerpt on mistakes whose paths are within a section, and makes their paths whole. A
// path to something that is not there gets the place of the nearest thing above it that is. An error that is no mistake
// becomes one, at the section itself. One that names another file has its place there and keeps it. Nil stays nil.
func (d *Document) Place(err error, section string) error {
	if err == nil {
		return nil
	}
	var all, found, elsewhere mistake.List
	all.Under("", err)
	for _, one := range all {
		if one.File != "" && one.File != d.File {
			elsewhere = append(elsewhere, one)
			continue
		}
		one.Path = mistake.Join(section, one.Path)
		at := d.find(one.Path)
		one.Line, one.Column = at.line, at.column
		found = append(found, one)
	}
	_ = d.finish(found) // fills them in
	return append(found, elsewhere...).Err()
}

// Merge joins what several calls found, in the order of the document. It is nil when nothing was found.
func Merge(errs ...error) error {
	var all mistake.List
	for _, err := range errs {
		all.Under("", err)
	}
	sortByPlace(all)
	return all.Err()
}
