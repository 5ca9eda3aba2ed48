// Package mistake is how Gatehouse tells an operator what is wrong with a document: where it stands, what is wrong, and
// what to write instead. Every package that reads a part of the document collects all of its mistakes and returns them
// together, each with a path inside its own section; package config turns paths into file, line and column.
package mistake

import (
	"errors"
	"fmt"
	"strings"
)

// Mistake is one thing wrong with a document.
type Mistake struct {
	Path  string // place inside the section, such as "issuers[0].audience"; "" is the section itself
	What  string // what is wrong, lower case, no full stop
	Write string // what to write instead, ready to paste; "" when there is no single answer

	File    string // set by config: the file as the operator named it
	Line    int    // 1-based; 0 when unknown
	Column  int    // 1-based, in characters
	Excerpt string // the line of the file, without its end
}

// Error reads "file:line:column: path: what (write: ...)", leaving out what is not known.
func (m Mistake) Error() string {
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File)
		b.WriteByte(':')
	}
	if m.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", m.Line, m.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if m.Path != "" {
		b.WriteString(m.Path)
		b.WriteString(": ")
	}
	b.WriteString(m.What)
	if m.Write != "" {
		b.WriteString(" (write: ")
		b.WriteString(m.Write)
		b.WriteByte(')')
	}
	return b.String()
}

// List is every mistake found in one pass. It is an error when it is not empty.
type List []Mistake

// Error puts one mistake on each line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, m := range l {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Add appends one mistake. What is a format for args.
func (l *List) Add(path, write, what string, args ...any) {
	*l = append(*l, Mistake{Path: path, What: fmt.Sprintf(what, args...), Write: write})
}

// Under appends the mistakes of err, their paths moved below path. An error that is no List becomes one mistake at path.
// A nil error adds nothing.
func (l *List) Under(path string, err error) {
	if err == nil {
		return
	}
	var inner List
	if !errors.As(err, &inner) {
		var one Mistake
		if !errors.As(err, &one) {
			one = Mistake{What: err.Error()}
		}
		inner = List{one}
	}
	for _, m := range inner {
		m.Path = Join(path, m.Path)
		*l = append(*l, m)
	}
}

// Err is nil when there are no mistakes, else the list.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Join puts one path below another: Join("a", "b") is "a.b", Join("a", "[0]") is "a[0]".
func Join(outer, inner string) string {
	switch {
	case outer == "":
		return inner
	case inner == "":
		return outer
	case inner[0] == '[':
		return outer + inner
	}
	return outer + "." + inner
}
