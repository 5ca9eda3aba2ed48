package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Print writes mistakes for a person: place and what is wrong, the line of the file with a caret under the place, and what
// to write instead. Characters that a terminal would obey are replaced.
func Print(w io.Writer, list mistake.List, color bool) error {
	p := palette{}
	if color {
		p = palette{bold: "\x1b[1m", red: "\x1b[31m", green: "\x1b[32m", dim: "\x1b[2m", off: "\x1b[0m"}
	}
	var b strings.Builder
	for i, m := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		p.one(&b, m)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// palette holds terminal sequences, empty without color.
type palette struct{ bold, red, green, dim, off string }

func (p palette) one(b *strings.Builder, m mistake.Mistake) {
	if place := placeOf(m); place != "" {
		fmt.Fprintf(b, "%s%s:%s ", p.bold, place, p.off)
	}
	if m.Path != "" {
		fmt.Fprintf(b, "%s: ", tame(m.Path))
	}
	fmt.Fprintf(b, "%s%s%s\n", p.red, tame(m.What), p.off)
	if m.Line > 0 && m.Excerpt != "" {
		gutter := fmt.Sprintf("%6d", m.Line)
		fmt.Fprintf(b, "%s%s |%s %s\n", p.dim, gutter, p.off, tame(m.Excerpt))
		if m.Column >= 1 && m.Column <= len([]rune(m.Excerpt))+1 {
			fmt.Fprintf(b, "%s%s |%s %s%s^%s\n", p.dim, strings.Repeat(" ", len(gutter)), p.off, strings.Repeat(" ", m.Column-1), p.red, p.off)
		}
	}
	if m.Write != "" {
		fmt.Fprintf(b, "       %swrite: %s%s\n", p.green, tame(m.Write), p.off)
	}
}

func placeOf(m mistake.Mistake) string {
	switch {
	case m.Line > 0:
		return tame(m.File) + ":" + strconv.Itoa(m.Line) + ":" + strconv.Itoa(m.Column)
	case m.File != "":
		return tame(m.File)
	}
	return ""
}

// tame makes text safe for a terminal, one character for one.
func tame(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return '·'
		}
		return r
	}, text)
}

// JSON writes mistakes for a machine: an array of objects with file, line, column, path, what, write and excerpt, empty
// ones left out. No mistakes give an empty array.
func JSON(list mistake.List) ([]byte, error) {
	type record struct {
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Path    string `json:"path,omitempty"`
		What    string `json:"what"`
		Write   string `json:"write,omitempty"`
		Excerpt string `json:"excerpt,omitempty"`
	}
	records := make([]record, len(list))
	for i, m := range list {
		records[i] = record{m.File, m.Line, m.Column, m.Path, m.What, m.Write, m.Excerpt}
	}
	return json.MarshalIndent(records, "", "  ")
}
