package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	other "github.com/oasdiff/yaml3"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var fuzzSeeds = []string{sample, "a: 1\nb: [c, {d: e}]\n", "a: |\n  x\nb: 'c'  \n", "a: \"\\u0061\"\n", "a:\n- b\n- - c\n", "{a: 1}", "a: &b *c\n",
	"{a\n:\n1}", "A: [{A: 0?}]", "{a?: 1}", "A: >\n  0\n  0", "{A:#\n0}", "---\na: 1\n...\n", "a: é  \nb:  c # d\n", "'a': 1\na: 2", "a: >+\n\n  b\n\n\nc: d", "? a", "!!a b", "%a", "a: 'b\n c'", "\ufeffa: 1", "a: 0x1f", "{A:0}", "{\"a\":1}", "a: \xff\xfe\x00", "a: ghp_16C7e42F292c6912E7710c838347Ae178B4a"}

// FuzzParse: nothing panics, a mistake always has its place within the file, and no excerpt is longer than a screen.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := checkSample("f.yaml", data)
		if err == nil {
			return
		}
		var list mistake.List
		if !errors.As(err, &list) {
			t.Fatalf("no list of mistakes: %v", err)
		}
		text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
		lines := strings.Split(text, "\n")
		for _, m := range list {
			if m.File != "f.yaml" || m.Line < 1 || m.Line > len(lines) || m.Column < 1 || m.What == "" {
				t.Fatalf("no place: %+v", m)
			}
			if m.Column > len([]rune(lines[m.Line-1]))+1 {
				t.Fatalf("column %d behind the end of line %q: %+v", m.Column, lines[m.Line-1], m)
			}
			if utf8.RuneCountInString(m.Excerpt) > 200 {
				t.Fatalf("excerpt of %d characters", utf8.RuneCountInString(m.Excerpt))
			}
		}
		if err := config.Print(new(strings.Builder), list, true); err != nil {
			t.Fatal(err)
		}
		if _, err := config.JSON(list); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzOneMeaning: what we accept, a reader of YAML that is not ours reads the same, key for key and at the same place. A
// document that two tools understand differently would be reviewed as one thing and served as another.
func FuzzOneMeaning(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := config.Parse("f.yaml", data)
		if d == nil || err != nil {
			return
		}
		var root other.Node
		if err := other.Unmarshal(data, &root); err != nil {
			t.Fatalf("accepted %q, the other reader says: %v", data, err)
		}
		ours, theirs := plainOf(d.Value("")), otherValue(t, &root)
		a, _ := json.Marshal(ours)
		b, _ := json.Marshal(theirs)
		if string(a) != string(b) {
			t.Fatalf("document %q\nours   %s\ntheirs %s", data, a, b)
		}
	})
}

// plainOf makes every scalar a text, since only the text is compared.
func plainOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainOf(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = plainOf(v[i])
		}
		return v
	}
	return fmt.Sprint(v)
}

func otherValue(t *testing.T, n *other.Node) any {
	switch n.Kind {
	case other.DocumentNode:
		return otherValue(t, n.Content[0])
	case other.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = otherValue(t, n.Content[i+1])
		}
		return m
	case other.SequenceNode:
		list := make([]any, 0)
		for _, c := range n.Content {
			list = append(list, otherValue(t, c))
		}
		return list
	case other.ScalarNode:
		return n.Value
	}
	t.Fatalf("the other reader sees a node of kind %d", n.Kind)
	return nil
}
