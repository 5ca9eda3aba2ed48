package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
)

// TestParseRefuses: what is no part of the small YAML that we read, each with its place and a word of why.
func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, doc    string
		line, column int
		what         string
	}{
		{"empty", "", 1, 1, "empty"},
		{"comment only", "# nothing\n", 1, 1, "empty"},
		{"list", "- a\n", 1, 1, "must be a mapping"},
		{"text", "hello\n", 1, 1, "must be a mapping"},
		{"no space after colon", "a:1\n", 1, 1, "must be a mapping"},
		{"anchor", "a: &x 1\n", 1, 4, "anchor"},
		{"alias", "a: 1\nb: *a\n", 2, 4, "alias"},
		{"star of a host", "hosts: [*.example.com]\n", 1, 9, "alias"},
		{"merge key", "a:\n  <<: {b: 1}\n", 2, 3, "merge key"},
		{"tag", "a: !!str 5\n", 1, 4, "tag"},
		{"own tag", "a: !secret x\n", 1, 4, "tag"},
		{"directive", "%YAML 1.1\n---\na: 1\n", 1, 1, "directive"},
		{"second document", "a: 1\n---\nb: 2\n", 2, 1, "second document"},
		{"end of document", "a: 1\n...\n", 2, 1, "end of document"},
		{"after the end", "a: 1\n...\nb: 2\n", 2, 1, "end of document"},
		{"complex key", "? a\n: b\n", 1, 1, "complex key"},
		{"list as key", "[a]: 1\n", 1, 4, "key"},
		{"number as key", "a:\n  200: ok\n", 2, 3, "no text"},
		{"truth as key", "true: 1\n", 1, 1, "no text"},
		{"duplicate", "a: 1\nb: 2\na: 3\n", 3, 1, "written twice; the first is in line 1"},
		{"duplicate in quotes", "a: 1\n\"a\": 2\n", 2, 1, "written twice"},
		{"duplicate by escape", "a: 1\n\"\\u0061\": 2\n", 2, 1, "written twice"},
		{"duplicate in brackets", "a: {b: 1, b: 2}\n", 1, 11, "written twice"},
		{"duplicate deep", "x:\n  - a: 1\n    a: 2\n", 3, 5, "written twice"},
		{"tab", "a:\n\tb: 1\n", 2, 1, "tab"},
		{"tab in value", "a: b\tc\n", 1, 5, "tab"},
		{"no UTF-8", "a: \xff\n", 1, 4, "UTF-8"},
		{"Latin-1", "a: caf\xe9\n", 1, 7, "UTF-8"},
		{"NUL", "a: 1\n\x00b: 2\n", 2, 1, "control character U+0000"},
		{"lone carriage return", "a: 1\rb: 2\n", 1, 5, "carriage return"},
		{"next line", "a: 1\u0085b: 2\n", 1, 5, "control character"},
		{"line separator", "a: 1\u2028b: 2\n", 1, 5, "control character"},
		{"right-to-left override", "a: b\u202ec\n", 1, 5, "invisible"},
		{"zero-width space", "a\u200b: 1\n", 1, 2, "invisible"},
		{"byte order mark inside", "a: 1\n\ufeffb: 2\n", 2, 1, "invisible"},
		{"NUL by escape", "a: \"b\\x00\"\n", 1, 4, "control character U+0000"},
		{"NUL by its own escape", "a: \"b\\0\"\n", 1, 6, "backslash"},
		{"line end by escape", "a: \"b\\nc\"\n", 1, 4, "control character U+000A"},
		{"no value", "rate:\nb: 1\n", 1, 1, "no value"},
		{"null", "rate: null\n", 1, 7, "no value"},
		{"tilde", "a: {b: ~}\n", 1, 8, "no value"},
		{"empty entry", "a:\n  -\n  - b\n", 2, 3, "no value"},
		{"key only in brackets", "a: {b}\n", 1, 5, "no value"},
		{"two colons", "a: b: c\n", 1, 5, "second colon"},
		{"no space in brackets", "a: {b:1}\n", 1, 6, "without a space"},
		{"no space before bracket", "a: {b:[c]}\n", 1, 6, "without a space"},
		{"indentation of a block", "a: |2\n    b\n", 1, 4, "something behind"},
		{"junk behind a block's mark", "a: >'", 1, 4, "something behind"},
		{"empty block", "a: |", 1, 4, "nothing in it"},
		{"empty block before a key", "a: |\nb: 1\n", 2, 1, "or has none"},
		{"space in a block", "a: |\n  a\n  b \n", 3, 4, "spaces at the end"},
		{"text behind the mark of a document", "--- a: 1\n", 1, 5, "behind ---"},
		{"long key", "a" + strings.Repeat("b", 600) + ": 1\n", 1, 1, "longer than 512"},
		{"escape that is none", `a: "\uSa6p"` + "\n", 1, 5, "backslash"},
		{"half a pair", `a: "b\ud83d"` + "\n", 1, 6, "surrogate pair"},
		{"escape of another trade", `a: "\e[1m"` + "\n", 1, 5, "backslash"},
		{"two colons in brackets", "a: {b:  c: d}\n", 1, 9, "second colon"},
		{"lone question mark", "a: ?\n", 1, 4, "begins with ?"},
		{"unfinished tag at the end", "a: b\n!c'", 2, 1, "no YAML"},
		{"shallow value with spaces behind", "a:\nbd     \n", 2, 1, "colon"},
		{"text over lines", "a: b\n  c\n", 2, 3, "continues the value above"},
		{"too deep a line", "a: 1\n  b: 2\n", 2, 3, "continues the value above"},
		{"too deep a line after quotes", "a: 'x'\n  b: 2\n", 2, 3, "indented"},
		{"too shallow a line", "a:\n    b: 1\n  c: 2\n", 3, 3, "indented"},
		{"deeper entry", "a:\n  - b\n   - c\n", 3, 4, "continues the value above"},
		{"no colon", "a 1\nb: 2\n", 1, 1, "colon"},
		{"no colon inside", "a:\n  b 1\n  c: 2\n", 2, 3, "colon"},
		{"quote over lines", "a: \"b\nc: d\"\n", 1, 4, "quote that opens here"},
		{"single quote over lines", "a: 'b\n  c'\n", 1, 4, "quote that opens here"},
		{"open quote", "a: \"b\n", 1, 4, "quote that opens here"},
		{"open bracket", "a: [1, 2\n", 1, 4, "bracket that opens here"},
		{"closing bracket alone", "a: }\n", 1, 4, "begins with }"},
		{"comma alone", "a: [,]\n", 1, 5, "comma"},
		{"comma alone in braces", "a: {,}\n", 1, 5, "comma"},
		{"reserved", "a: @b\n", 1, 4, "reserved"},
		{"too deep", "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", 1, 36, "nested more than"},
		{"too many dashes", "a:\n  " + strings.Repeat("- ", 40) + "b\n", 2, 67, "nested more than"},
		{"too large", "a: " + strings.Repeat("x", 1<<20), 1, 1, "at most 1MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(test.doc))
			if err == nil {
				t.Fatal("accepted")
			}
			list := one(t, err)
			for _, m := range list {
				if m.Line == test.line && m.Column == test.column && strings.Contains(m.What, test.what) {
					return
				}
			}
			t.Errorf("want %d:%d %q, got\n%v", test.line, test.column, test.what, err)
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, doc := range []string{
		"a: 1", "\ufeffa: 1\n", "---\na: 1\n", "# c\n---\na: 1\n", "a: 1\r\nb: 2\r\n", "{a: 1, b: [c, d], }\n", "a: {}\nb: []\n", "a: ''\n",
		"a: \"*.example.com\"\n", "a: |\n  two\n  lines\nb: >-\n  x\n", "a: b#c # d\n", "ключ: значение\n", "a: 'it''s'\n", "a:\n- b\n- c: 1\n  d: 2\n",
		"a: [\n  b,\n  c,\n]\n", "a: {\n  b: 1,\n  c: 2\n}\n", "a: http://x:1/y?z\n", "a: 12:30\n", "a b: c d\n", "a: \"\\t\\u00e9\"\n",
	} {
		if _, err := config.Parse("f.yaml", []byte(doc)); err != nil && !strings.Contains(doc, `\t`) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

// TestParseIsBounded: no document within the size takes long or exhausts the stack (row D5's kind, from the operator's side).
func TestParseIsBounded(t *testing.T) {
	for name, doc := range map[string]string{
		"brackets": strings.Repeat("[", 1<<18), "braces": strings.Repeat("{a: ", 1<<16), "dashes": strings.Repeat("- ", 1<<17),
		"colons": strings.Repeat("a: ", 75000), "questions": strings.Repeat("? ", 1<<17), "quotes": strings.Repeat("'", 1<<18),
		"keys": strings.Repeat("a: b\n", 50000), "stairs": stairs(1000), "comments": strings.Repeat("#\n", 1<<17),
		"stars": "a: [" + strings.Repeat("*a,", 75000) + "]", "long line": "a: [" + strings.Repeat("b,", 1<<17) + "]",
		"nulls": strings.Repeat("a:\n", 75000), "block": "a: |\n" + strings.Repeat(" x\n", 75000), "dollars": "a: " + strings.Repeat("${", 1<<17),
		"keylike": "a: " + strings.Repeat("aB3", 85000), "folded": "a: >\n" + strings.Repeat(" x\n\n", 60000), "spaces": "a:" + strings.Repeat(" ", 1<<18),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			d, err := config.Parse("f.yaml", []byte(doc))
			if d != nil {
				_, _, _ = config.Section[map[string]string](d, "")
			}
			t.Logf("%v %d bytes of error", time.Since(began).Round(time.Millisecond), sizeOf(err))
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func sizeOf(err error) int {
	if err == nil {
		return 0
	}
	return len(err.Error())
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
