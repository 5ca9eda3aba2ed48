package seclang

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// reader opens files below one folder and nothing else.
type reader struct{ fs fs.FS }

// Read reads the named files, one after the other, with the files that they include. Names are below root and have slashes.
// Root is best the FS of an os.Root, so that no link leads out of it. All mistakes are returned, each with its file and line;
// what could be read is returned beside them.
func Read(root fs.FS, names ...string) (*Files, mistake.List) {
	w := &walk{files: &Files{root: reader{root}}}
	for _, name := range names {
		w.file(name, place{})
	}
	return w.files, w.mistakes
}

// Parse reads directives from a text; they can't include files. The name stands in mistakes.
func Parse(name, text string) (*Files, mistake.List) {
	w := &walk{files: new(Files)}
	w.open = []string{name}
	w.text(name, []byte(text))
	return w.files, w.mistakes
}

// place is where something stands.
type place struct {
	file    string
	line    int
	excerpt string
}

func (p place) mistake(write, what string, args ...any) mistake.Mistake {
	m := mistake.Mistake{What: fmt.Sprintf(what, args...), Write: write, File: p.file, Line: p.line, Excerpt: cut(p.excerpt)}
	if p.line > 0 {
		m.Column = 1
	}
	return m
}

// cut bounds what is shown of a line.
func cut(s string) string {
	if len(s) > 160 {
		return strings.ToValidUTF8(s[:157], "") + "..."
	}
	return s
}

// walk is one reading of files and what they include.
type walk struct {
	files    *Files
	mistakes mistake.List
	open     []string // files that are being read, outermost first
	includes int
	read     int
}

func (w *walk) wrong(p place, write, what string, args ...any) {
	w.mistakes = append(w.mistakes, p.mistake(write, what, args...))
}

// file reads one file that was named at p.
func (w *walk) file(name string, p place) {
	if !fs.ValidPath(name) || name == "." {
		w.wrong(p, "", "%q is no file below the folder of the document", name)
		return
	}
	if slices.Contains(w.open, name) {
		w.wrong(p, "", "%s includes itself", name)
		return
	}
	if w.read++; w.read > mostFiles {
		w.wrong(p, "", "more than %d files", mostFiles)
		return
	}
	data, err := w.files.root.file(name)
	if err != nil {
		w.wrong(p, "", "%v", err)
		return
	}
	w.open = append(w.open, name)
	w.text(name, data)
	w.open = w.open[:len(w.open)-1]
}

// file returns a regular file that is not too large.
func (r reader) file(name string) ([]byte, error) {
	if r.fs == nil {
		return nil, fmt.Errorf("%s: there are no files here", name)
	}
	f, err := r.fs.Open(name)
	if err != nil {
		for inner := new(fs.PathError); errors.As(err, &inner); { // the name is said once
			err = inner.Err
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > largestFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, largestFile>>20)
	}
	return data, nil
}

// text splits the text of a file into directives. The rules are the engine's: white space around a line does not count; an
// empty line and one that begins with # are passed over, also between continued lines; a line that ends with ` opens a block
// that a line beginning with ` ends; a line that ends with \ goes on in the next.
func (w *walk) text(name string, data []byte) {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		w.wrong(place{file: name, line: 1}, "", "the file begins with a byte order mark, which the engine takes for a part of the first directive; save it without")
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(make([]byte, 0, 4096), longestLine)
	var joined strings.Builder
	number, first, block := 0, place{file: name}, false
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if joined.Len() == 0 {
			first = place{name, number, line}
		}
		switch {
		case !block && line[len(line)-1] == '`':
			block = true
		case block && line[0] == '`':
			block = false
		}
		if block {
			joined.WriteString(line + "\n")
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined.WriteString(rest)
			continue
		}
		joined.WriteString(line)
		w.directive(first, joined.String())
		joined.Reset()
		if len(w.files.Directives) > mostDirective {
			w.wrong(first, "", "more than %d directives", mostDirective)
			return
		}
	}
	switch {
	case lines.Err() != nil:
		w.wrong(place{name, number + 1, ""}, "", "a line of more than %d KiB: the engine would stop reading the file here; end lines with a backslash and go on in the next", longestLine>>10)
	case block:
		w.wrong(first, "`", "the block that begins here is never ended by a line with a single backtick")
	case joined.Len() > 0:
		w.wrong(first, "", "the last line of the file ends with a backslash, so the engine would drop this directive; take the backslash away")
	}
}

// directive takes one joined line apart. Include is carried out here.
func (w *walk) directive(p place, line string) {
	word, args, _ := strings.Cut(line, " ")
	if len(args) >= 3 && args[0] == '"' && args[len(args)-1] == '"' {
		args = strings.Trim(args, `"`)
	}
	d := Directive{Name: strings.ToLower(word), Args: args, File: p.file, Line: p.line, raw: line}
	if d.Name != "include" {
		if r, err := rule(d); err == nil {
			d.rule = &r
		}
		w.files.Directives = append(w.files.Directives, d)
		return
	}
	if w.includes++; w.includes > mostIncludes {
		w.wrong(p, "", "more than %d files are included", mostIncludes)
		return
	}
	for _, name := range w.included(p, args) {
		w.file(name, p)
	}
}

// included are the files that an Include names. It names files beside or below the file it stands in. A * may stand for
// names of one folder, in a file at the top only: elsewhere Coraza looks for the folder below the top and ModSecurity beside
// the file, and both find something.
func (w *walk) included(p place, name string) []string {
	switch {
	case strings.HasPrefix(name, "@"):
		w.wrong(p, "", "the core rule set is part of Gatehouse and loaded by itself; take this line away")
		return nil
	case name == "" || strings.ContainsAny(name, "?[]{}\\'\"") || strings.Contains(name, "://") || strings.TrimSpace(name) != name:
		w.wrong(p, "Include rules/first.conf", "%q can't be included: it must be the name of a local file, with * as the only sign that stands for others", name)
		return nil
	case path.IsAbs(name):
		w.wrong(p, "Include "+path.Base(name), "files are included from below the folder of the document only, not from %s", name)
		return nil
	}
	full := path.Join(path.Dir(p.file), name)
	if full == ".." || strings.HasPrefix(full, "../") {
		w.wrong(p, "", "%s lies outside the folder of the document", name)
		return nil
	}
	if !strings.Contains(name, "*") {
		return []string{full}
	}
	if path.Dir(p.file) != "." || strings.Contains(path.Dir(full), "*") || strings.Trim(path.Ext(full), ".*") == "" {
		w.wrong(p, "Include rules/*.conf", "a * stands for names of one folder, with their ending, in a file at the top of the document's folder; here write one Include for each file")
		return nil
	}
	if _, named := w.files.root.fs.(Named); named || w.files.root.fs == nil {
		w.wrong(p, "Include "+path.Join(path.Dir(name), "name.conf"), "folders are not listed here; write one Include for each file")
		return nil
	}
	names, err := fs.Glob(w.files.root.fs, full)
	if err != nil || len(names) == 0 {
		w.wrong(p, "", "no file is named like %s; the engine would go on in silence", name)
	}
	return names
}
