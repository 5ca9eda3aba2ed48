package seclang

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3"
)

// Text is what the engine is given: directives that need no further file but those in Data.
type Text struct {
	Directives string            // for coraza.WAFConfig.WithDirectives
	Data       map[string][]byte // lists of words and addresses, by the absolute names that Directives use
	Places     map[int]string    // rule id to "file:line", for events
}

// folder is where lists of data are found, by the hash of their content. The engine keeps compiled lists under their name,
// for all rule sets of the process: under its own name, a list that changed would go on as it was until the last user of the
// old one is gone.
const folder = "/gatehouse/"

// Text gives the directives of the files as one text. Call it on what Check has no objection to: what Gatehouse does itself
// is left out, the rest is handed on as it was read. An error tells of a file of data that can't be read.
func (f *Files) Text() (Text, error) {
	t := Text{Data: map[string][]byte{}, Places: map[int]string{}}
	table, names := directives(), map[string]string{}
	var b strings.Builder
	for _, d := range f.Directives {
		if e := table[d.Name]; e.effect == ours || !(&check{table: table}).setting(d) {
			continue
		}
		line, err := f.line(d, t.Data, names)
		if err != nil {
			return Text{}, fmt.Errorf("%s:%d: %w", d.File, d.Line, err)
		}
		fmt.Fprintf(&b, "# %q line %d\n%s\n", d.File, d.Line, line)
		if r, err := rule(d); err == nil && isRule(d) {
			if id, ok := r.find("id"); ok {
				n, _ := strconv.Atoi(id)
				t.Places[n] = fmt.Sprintf("%s:%d", d.File, d.Line)
			}
		}
	}
	t.Directives = b.String()
	return t, nil
}

// line is one directive with its lists renamed: files into data, datasets by names.
func (f *Files) line(d Directive, data map[string][]byte, names map[string]string) (string, error) {
	if d.Name == "secdataset" {
		name, block, _ := strings.Cut(d.Args, " ")
		list := strings.Join(words(strings.Trim(block, "`")), "\n")
		names[name] = name + "-" + hash([]byte(list))[:16]
		return "SecDataset " + names[name] + " `\n" + list + "\n`", nil
	}
	if d.Name != "secrule" {
		return folded(d.raw)
	}
	r, err := rule(d)
	if err != nil {
		return "", err
	}
	var args string
	switch r.Operator.Name {
	case "pmFromFile", "pmf", "ipMatchFromFile", "ipMatchF":
		name, err := beside(d, r.Operator.Args)
		if err != nil {
			return "", fmt.Errorf("%s: %w", r.Operator.Args, err)
		}
		list, err := f.root.file(name)
		if err != nil {
			return "", err
		}
		args = folder + hash(list) + ".data"
		data[args] = list
	case "pmFromDataset", "ipMatchFromDataset":
		if args = names[r.Operator.Args]; args == "" {
			return "", fmt.Errorf("there is no dataset %q", r.Operator.Args)
		}
	default:
		return folded(d.raw)
	}
	targets, rest, _ := strings.Cut(strings.Trim(d.Args, " "), " ")
	_, rest, err = quoted(strings.TrimLeft(rest, " "))
	not := map[bool]string{true: "!"}[r.Operator.Not]
	if err != nil {
		return "", err
	}
	return folded(fmt.Sprintf(`SecRule %s "%s@%s %s"%s`, targets, not, r.Operator.Name, args, rest))
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// folded breaks a line that is longer than the engine reads.
func folded(line string) (string, error) {
	const most = longestLine - 4096
	var b strings.Builder
	for len(line) > most {
		i := most
		for i > 0 && !(plain(line[i-1]) && plain(line[i])) {
			i--
		}
		if i == 0 {
			return "", errors.New("the directive is too long, and can't be broken")
		}
		b.WriteString(line[:i] + "\\\n")
		line = line[i:]
	}
	b.WriteString(line)
	return b.String(), nil
}

// plain bytes can stand at the end and at the beginning of a line without changing how it is read.
func plain(c byte) bool { return c > ' ' && c < 0x7f && c != '\\' && c != '#' && c != '`' }

// unitText is the text of a rule with its links and the datasets it names, for a trial.
func (f *Files) unitText(unit []Directive, c *check) (string, map[string][]byte) {
	data, names := map[string][]byte{}, map[string]string{}
	var lines []string
	for name, list := range c.data {
		if line, err := f.line(Directive{Name: "secdataset", Args: name + " `" + strings.Join(list, "\n") + "`"}, data, names); err == nil && len(list) > 0 {
			lines = append(lines, line)
		}
	}
	for _, d := range unit {
		line, err := f.line(d, data, names)
		if err != nil {
			c.refuse(d, "", "%v", err)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), data
}

// compile lets the engine have the last word on what nothing else is wrong with.
func (c *check) compile(d Directive, text string, data map[string][]byte) {
	if err := compiles(text, data); err != nil {
		c.refuse(d, "", "the engine can't compile this: %s", reworded(err))
	}
}

// reworded takes away what the engine says around every error.
func reworded(err error) string {
	s := strings.TrimPrefix(err.Error(), "invalid WAF config from string: ")
	if strings.HasPrefix(s, "failed to compile the directive") {
		if _, rest, ok := strings.Cut(s, ": "); ok {
			s = rest
		}
	}
	return cut(s)
}

// compiles tells what the engine says of some directives. A panic of the engine is an error of the directives.
func compiles(text string, data map[string][]byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the engine breaks off: %v", r)
		}
	}()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(Text{Data: data}.Over(nil)).WithDirectives(text))
	if err != nil {
		return err
	}
	if c, ok := waf.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Over is a file system that has the data of the text, and behind it what base has: for coraza.WAFConfig.WithRootFS. Base may
// be nil.
func (t Text) Over(base fs.FS) fs.FS { return overlay{t.Data, base} }

type overlay struct {
	data map[string][]byte
	base fs.FS
}

// ReadFile is what the engine uses for lists.
func (o overlay) ReadFile(name string) ([]byte, error) {
	if data, ok := o.data[name]; ok {
		return bytes.Clone(data), nil
	}
	if o.base == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return fs.ReadFile(o.base, name)
}

// Open is what the engine uses for Include.
func (o overlay) Open(name string) (fs.File, error) {
	if data, ok := o.data[name]; ok {
		return &list{bytes.NewReader(data), name}, nil
	}
	if o.base == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.base.Open(name)
}

// Glob is what the engine uses for Include with a *.
func (o overlay) Glob(pattern string) ([]string, error) {
	if o.base == nil {
		return nil, nil
	}
	return fs.Glob(o.base, pattern)
}

// Named is a file system of files that are asked for by name, such as those of a document; it can't be listed.
type Named func(name string) ([]byte, error)

// Open opens a file.
func (n Named) Open(name string) (fs.File, error) {
	data, err := n(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &list{bytes.NewReader(data), name}, nil
}

// list is one file of data, and its own description.
type list struct {
	*bytes.Reader
	name string
}

func (l *list) Stat() (fs.FileInfo, error) { return l, nil }
func (l *list) Close() error               { return nil }
func (l *list) Name() string               { return l.name }
func (l *list) Mode() fs.FileMode          { return 0o444 }
func (l *list) ModTime() time.Time         { return time.Time{} }
func (l *list) IsDir() bool                { return false }
func (l *list) Sys() any                   { return nil }
