package body

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func readJSON(text string, lim Limits) (any, *Refusal) {
	t, refusal := Read(JSON, nil, "", strings.NewReader(text), lim)
	if refusal != nil {
		return nil, refusal
	}
	return t.Value(), nil
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		row, in string
		want    any
	}{
		{"", `null`, nil},
		{"", ` true `, true},
		{"", "\t\r\n\"a\"", "a"},
		{"", `{}`, map[string]any{}},
		{"", `[]`, []any{}},
		{"", `{"a":[1,{"b":null},"\n\u00e9\ud83d\ude00\/"]}`, map[string]any{"a": []any{json.Number("1"), map[string]any{"b": nil}, "\né😀/"}}},
		{"G7", `{"role":"user","ROLE":"admin"}`, map[string]any{"role": "user", "ROLE": "admin"}},
		{"G8", `9007199254740993`, json.Number("9007199254740993")},
		{"G8", `-0`, json.Number("-0")},
		{"G8", `1E2`, json.Number("1E2")},
		{"G8", `1.7976931348623157e308`, json.Number("1.7976931348623157e308")},
		{"G8", `1e-308`, json.Number("1e-308")},
	} {
		if got, refusal := readJSON(c.in, Limits{}); refusal != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: %#v %v, want %#v", c.row, c.in, got, refusal, c.want)
		}
	}
}

func TestJSONRefused(t *testing.T) {
	members := `{"k0":0`
	for i := 1; i <= 10_000; i++ {
		members += `,"` + strings.Repeat("k", i%7) + itoa(i) + `":0`
	}
	for _, c := range []struct{ row, in, reason string }{
		{"G6", `{"role":"user","role":"admin"}`, bodyDuplicate},
		{"G6", `{"role":"user","r\u006fle":"admin"}`, bodyDuplicate},
		{"G6", `[{"a":{"b":1,"b":1}}]`, bodyDuplicate},
		{"G8", `1e400`, bodyNumber},
		{"G8", `2e308`, bodyNumber},
		{"G8", `1e-400`, bodyNumber},
		{"G8", `1e99999999999999999999`, bodyNumber},
		{"G8", strings.Repeat("9", 401), bodyNumber},
		{"G8", strings.Repeat("9", 310), bodyNumber},
		{"G9", "\"\xff\"", bodyUTF8},
		{"G9", "\"\xed\xa0\x80\"", bodyUTF8},
		{"G9", `"\ud800"`, bodySurrogate},
		{"G9", `"\udc00\ud800"`, bodySurrogate},
		{"G9", `"\ud800\u0041"`, bodySurrogate},
		{"G9", `{"\ud800":1}`, bodySurrogate},
		{"G9", `"\u0000"`, bodyNUL},
		{"G9", `{"a\u0000":1}`, bodyNUL},
		{"G9", "\"a\x00\"", bodyJSON},
		{"G9", "\xef\xbb\xbf{}", bodyBOM},
		{"G9", "\xff\xfe{\x00}\x00", bodyBOM},
		{"G9", "\xfe\xff\x00{\x00}", bodyBOM},
		{"G9", "{\x00}\x00", bodyJSON},
		{"G10", `{"a":1}{"a":2}`, bodyTrailing},
		{"G10", `{"a":1} x`, bodyTrailing},
		{"G11", strings.Repeat("[", 33) + strings.Repeat("]", 33), bodyDepth},
		{"G11", strings.Repeat("[", 10_000), bodyDepth},
		{"G11", strings.Repeat(`{"a":`, 33), bodyDepth},
		{"G11", members + "}", bodyMembers},
		{"G11", "[0" + strings.Repeat(",0", 100_000) + "]", bodyValues},
		{"G11", `"` + strings.Repeat("x", 1<<20) + `"`, bodyTooLarge},
		{"", ``, bodyJSON},
		{"", `[1,]`, bodyJSON},
		{"", `{"a":1,}`, bodyJSON},
		{"", `{a:1}`, bodyJSON},
		{"", `{'a':1}`, bodyJSON},
		{"", `[01]`, bodyJSON},
		{"", `[1.]`, bodyJSON},
		{"", `[.1]`, bodyJSON},
		{"", `[+1]`, bodyJSON},
		{"", `[-]`, bodyJSON},
		{"", `[1e]`, bodyJSON},
		{"", `[NaN]`, bodyJSON},
		{"", `[Infinity]`, bodyJSON},
		{"", `[tru]`, bodyJSON},
		{"", "[\"a\nb\"]", bodyJSON},
		{"", `["\x"]`, bodyJSON},
		{"", `["\u12"]`, bodyJSON},
		{"", `["\`, bodyJSON},
		{"", `["a`, bodyJSON},
		{"", `/**/{}`, bodyJSON},
		{"", "\u00a0{}", bodyJSON},
	} {
		got, refusal := readJSON(c.in, Limits{})
		if refusal == nil {
			t.Errorf("%s %.60q: accepted as %.60v, want %s", c.row, c.in, got, c.reason)
		} else if refusal.Reason != c.reason {
			t.Errorf("%s %.60q: %v, want %s", c.row, c.in, refusal, c.reason)
		}
	}
	if got, refusal := readJSON(`"\u0000"`, Limits{AllowNUL: true}); refusal != nil || got != "\x00" {
		t.Errorf("U+0000 admitted: %q %v", got, refusal)
	}
	if _, refusal := readJSON(strings.Repeat("[", 32)+strings.Repeat("]", 32), Limits{}); refusal != nil {
		t.Errorf("depth 32: %v", refusal)
	}
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }

// TestJSONCorpus runs over nst/JSONTestSuite, found through GATEHOUSE_CORPORA: n_ is refused, y_ is accepted, except
// for what RFC 8259 leaves free and we refuse for safety.
func TestJSONCorpus(t *testing.T) {
	free := map[string]string{
		"y_object_duplicated_key.json":           bodyDuplicate,
		"y_object_duplicated_key_and_value.json": bodyDuplicate,
		"y_object_escaped_null_in_key.json":      bodyNUL,
		"y_string_null_escape.json":              bodyNUL,
	}
	root := os.Getenv("GATEHOUSE_CORPORA")
	if root == "" {
		t.Log("NOT RUN: GATEHOUSE_CORPORA does not name the folder of the corpora; TestJSON and TestJSONRefused hold an extract")
		return
	}
	files, err := filepath.Glob(filepath.Join(root, "json-parsing", "test_parsing", "*.json"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d documents under json-parsing/test_parsing, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		_, refusal := readJSON(string(data), Limits{})
		switch {
		case free[name] != "":
			if refusal == nil || refusal.Reason != free[name] {
				t.Errorf("%s: %v, want %s", name, refusal, free[name])
			}
		case name[0] == 'y' && refusal != nil:
			t.Errorf("%s: %v", name, refusal)
		case name[0] == 'n' && refusal == nil:
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestNodes: what stands where, and where each value ends.
func TestNodes(t *testing.T) {
	tree, refusal := Read(JSON, nil, "", strings.NewReader(`{"a":[1,{"b":null}],"c\n":"\u0041","d":{},"e":[true,false]}`), Limits{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := []Node{
		{Kind: Object, Next: 10, Size: 4},
		{Kind: Array, Name: "a", Next: 5, Size: 2},
		{Kind: Number, Text: "1", Next: 3},
		{Kind: Object, Next: 5, Size: 1},
		{Kind: Null, Name: "b", Next: 5},
		{Kind: String, Name: "c\n", Text: "A", Next: 6},
		{Kind: Object, Name: "d", Next: 7},
		{Kind: Array, Name: "e", Next: 10, Size: 2},
		{Kind: True, Next: 9},
		{Kind: False, Next: 10},
	}
	if !reflect.DeepEqual(tree.Nodes, want) {
		t.Errorf("got %+v", tree.Nodes)
	}
	if first, again := tree.Value(), tree.Value(); reflect.ValueOf(first).Pointer() != reflect.ValueOf(again).Pointer() {
		t.Error("the value is made twice")
	}
	if (&Tree{Kind: Form}).Value() != nil {
		t.Error("a form has a JSON value")
	}
}

// TestManyMembers: G6, a name that stands twice is found among few members and among many.
func TestManyMembers(t *testing.T) {
	for _, n := range []int{1, 2, fewMembers - 1, fewMembers, fewMembers + 1, 100} {
		var b strings.Builder
		for i := range n {
			b.WriteString(`"` + itoa(i) + `":{"x":1},`)
		}
		for _, twice := range []int{0, n / 2, n - 1} {
			if _, refusal := readJSON("{"+b.String()+`"`+itoa(twice)+`":1}`, Limits{}); refusal == nil || refusal.Reason != bodyDuplicate {
				t.Errorf("member %d of %d stands twice: %v", twice, n, refusal)
			}
		}
		if _, refusal := readJSON("{"+b.String()+`"x":1}`, Limits{}); refusal != nil {
			t.Errorf("%d members: %v", n, refusal)
		}
	}
}

// FuzzJSON: what we accept, encoding/json reads as the same value.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `[1,2.5e3,-0]`, `"\ud83d\ude00\n"`, `{"a":{"b":[true,null,"x"]}}`, `1e400`, "\xef\xbb\xbf1", `{"a":1,"a":2}`, `"\u0000"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		ours, refusal := readJSON(in, Limits{AllowNUL: true})
		decoder := json.NewDecoder(strings.NewReader(in))
		decoder.UseNumber()
		var theirs any
		err := decoder.Decode(&theirs)
		if refusal != nil {
			if refusal.Reason == bodyJSON && json.Valid([]byte(in)) {
				t.Fatalf("%q: %v, yet encoding/json reads it", in, refusal)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: we read %#v, encoding/json %#v, %v", in, ours, theirs, err)
		}
		if _, err := decoder.Token(); err != io.EOF {
			t.Fatalf("%q: more to come", in)
		}
		(&Tree{Kind: JSON, value: ours}).Leaves(func(string, string) {})
	})
}

func document(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"customer":{"id":"c-1029","name":"Zoë Ångström","vip":true},"items":[`)
	for i := 0; b.Len() < size-80; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"sku":"SKU-` + itoa(i) + `","quantity":` + itoa(i%7+1) + `,"price":19.99,"note":"gift \"wrap\""}`)
	}
	b.WriteString(`],"currency":"EUR"}`)
	return b.Bytes()
}

func benchmarkJSON(b *testing.B, size int) {
	doc := document(size)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	reader := bytes.NewReader(doc)
	for b.Loop() {
		reader.Reset(doc)
		if _, refusal := Read(JSON, nil, "", reader, Limits{Declared: int64(len(doc))}); refusal != nil {
			b.Fatal(refusal)
		}
	}
}

func BenchmarkJSON1K(b *testing.B)  { benchmarkJSON(b, 1<<10) }
func BenchmarkJSON10K(b *testing.B) { benchmarkJSON(b, 10<<10) }

// BenchmarkStdlibJSON10K is the measure beside ours: encoding/json into the same kind of value, without our checks.
func BenchmarkStdlibJSON10K(b *testing.B) {
	doc := document(10 << 10)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		decoder := json.NewDecoder(bytes.NewReader(doc))
		decoder.UseNumber()
		var v any
		if err := decoder.Decode(&v); err != nil {
			b.Fatal(err)
		}
	}
}
