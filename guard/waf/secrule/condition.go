package secrule

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// Condition is what a text needs for the rule's test to match it, as the test sees the text, behind the transformations. The
// zero Condition says nothing: so it is of a test that is negated, whose argument is made of the transaction, or whose
// operator is not known here. Files are those that rules name.
func (r *Rule) Condition(files fs.FS) (c literal.Condition, err error) {
	t := r.Test
	name := strings.ToLower(t.Name)
	if t.Negated || name != "rx" && strings.Contains(t.Argument, "%{") {
		return c, nil
	}
	switch name {
	case "rx":
		if c, err = literal.Expression(t.Argument); err != nil {
			return c, fmt.Errorf("its expression: %w", err)
		}
	case "pm":
		c = literal.Words(strings.Split(t.Argument, " "))
	case "pmfromfile", "pmf":
		list, err := r.words(files)
		if errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		c = literal.Words(list)
	case "contains", "streq", "beginswith", "endswith", "strmatch", "containsword":
		c = literal.Words([]string{t.Argument})
	case "validatebyterange": // it matches as soon as one byte is out of the range, and always when there is none
		if !t.Operator.Evaluate(Idle{}, "") {
			c.Bytes = []literal.ByteSet{bytesThat(func(b string) bool { return t.Operator.Evaluate(Idle{}, b) })}
		}
	case "validateurlencoding":
		c.Bytes = []literal.ByteSet{literal.Of("%")}
	case "validateutf8encoding":
		c.Bytes = []literal.ByteSet{bytesThat(func(b string) bool { return b[0] >= 0x80 })}
	case "detectxss": // a tag begins with <; an attribute without a value is none that it minds
		c.Bytes = []literal.ByteSet{literal.Of("<=")}
	}
	return c, nil
}

// bytesThat are those of which it holds.
func bytesThat(holds func(b string) bool) (set literal.ByteSet) {
	for i := range 256 {
		if holds(string([]byte{byte(i)})) {
			set.Add(byte(i))
		}
	}
	return set
}

// words reads the file that the test names, as the engine does: one in a line, without spaces around it; lines that begin
// with # are none.
func (r *Rule) words(files fs.FS) (list []string, err error) {
	if r.File == "" { // as is said of what follows an Include: then the folder is not known
		return nil, fs.ErrNotExist
	}
	name := r.Test.Argument
	if !path.IsAbs(name) {
		name = path.Join(path.Dir(r.File), name)
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, nil
}
