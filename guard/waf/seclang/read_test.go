package seclang

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
)

// Directives are split as the engine splits them, and know where they began.
func TestDirectives(t *testing.T) {
	f, wrong := Parse("own.conf", strings.Join([]string{
		`# SecRuleEngine Off \`,
		``,
		`  SecRuleEngine   On  `,
		`SecAction \`,
		`  # "id:9"`,
		``,
		`    "id:1,\`,
		`    phase:1,pass"`,
		"SecDataset a `",
		"  one \\",
		"# two",
		"three`",
		"`",
		`SECMARKER "END"`,
	}, "\r\n"))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	want := []Directive{
		{Name: "secruleengine", Args: "  On", Line: 3},
		{Name: "secaction", Args: `id:1,phase:1,pass`, Line: 4},
		{Name: "secdataset", Args: "a `\none \\\nthree`\n`", Line: 9},
		{Name: "secmarker", Args: "END", Line: 14},
	}
	if len(f.Directives) != len(want) {
		t.Fatalf("%+v", f.Directives)
	}
	for i, d := range f.Directives {
		if d.Name != want[i].Name || d.Args != want[i].Args || d.Line != want[i].Line || d.File != "own.conf" {
			t.Errorf("%+v, want %+v", d, want[i])
		}
	}
}

// What the engine would drop in silence at the end of a file, or not find, is a mistake (row G20).
func TestFilesThatAreCutOff(t *testing.T) {
	for want, text := range map[string]string{
		"own.conf:2:1: a line of more than 64 KiB":             "SecRuleEngine On\nSecAction \"" + strings.Repeat("x", 1<<16) + "\"\nSecRuleEngine On",
		"own.conf:2:1: the last line":                          "SecRuleEngine On\nSecAction \"id:1,pass\" \\\n",
		"own.conf:1:1: the block":                              "SecDataset a `\none\n",
		"own.conf:1:1: the file begins with a byte order mark": "\ufeffSecRuleEngine On",
		"own.conf:1:1: the core rule set is part":              "Include @owasp_crs/*.conf",
		"own.conf:2:1: read none.conf":                         "\nInclude none.conf",
		"own.conf:1:1: files are included from below":          "Include /etc/passwd",
		"../a.conf lies outside":                               "Include ../a.conf",
		"lies outside":                                         "Include sub/../../a.conf",
		"no file is named like *.none":                         "Include *.none",
		"a * stands for names":                                 "Include *",
		"a * stands for names of":                              "Include */a.conf",
		`"a?.conf" can't be`:                                   "Include a?.conf",
		`'a.conf'" can't be`:                                   "Include 'a.conf'",
		`can't be included`:                                    "Include https://example.org/a.conf",
		`"" can't be`:                                          "Include",
		"sub/in.conf:1:1: own.conf includes itself":            "Include sub/in.conf",
		"sub/glob.conf:1:1: a * stands for":                    "Include sub/glob.conf",
		"sub is no regular file":                               "Include sub",
	} {
		files := with(text)
		files["sub/in.conf"] = &fstest.MapFile{Data: []byte("Include ../own.conf")}
		files["sub/glob.conf"] = &fstest.MapFile{Data: []byte("Include *.conf")}
		_, wrong := Read(files, "own.conf")
		if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s: %v", want, wrong)
		}
	}
	for _, name := range []string{"/own.conf", "../own.conf", ".", "", "a//b"} {
		if _, wrong := Read(with(""), name); len(wrong) != 1 {
			t.Errorf("%q: %v", name, wrong)
		}
	}
	if _, wrong := Parse("x", "Include a.conf"); len(wrong) != 1 {
		t.Errorf("%v", wrong)
	}
}

// Files that include many files, many times, end.
func TestIncludesEnd(t *testing.T) {
	files := fstest.MapFS{"own.conf": {Data: []byte(strings.Repeat("Include b.conf\n", 60))}, "b.conf": {Data: []byte(strings.Repeat("Include c.conf\n", 60))}, "c.conf": {}}
	_, wrong := Read(files, "own.conf")
	if len(wrong) == 0 || !strings.Contains(wrong[0].Error(), "more than 100 files are included") {
		t.Errorf("%d %v", len(wrong), wrong[:min(1, len(wrong))])
	}
}

// Include keeps the order of the engine, and names files beside the one it stands in.
func TestInclude(t *testing.T) {
	files := fstest.MapFS{
		"own.conf": {Data: []byte("SecMarker a\nInclude sub/b.conf\nInclude r*.conf\nSecMarker z")}, "sub/b.conf": {Data: []byte("SecMarker b\nInclude c.conf")}, "sub/c.conf": {Data: []byte("SecMarker c")},
		"r2.conf": {Data: []byte("SecMarker r2")}, "r1.conf": {Data: []byte("SecMarker r1")}, "r3.data": {},
	}
	f, wrong := Read(files, "own.conf")
	got := ""
	for _, d := range f.Directives {
		got += d.Args + " "
	}
	if len(wrong) > 0 || got != "a b c r1 r2 z " {
		t.Error(got, wrong)
	}
}

// The file that Coraza recommends loads, but for what it says of itself: that it only detects.
func TestTheRecommendedFile(t *testing.T) {
	f, wrong := Read(coreruleset.FS, "@coraza.conf-recommended")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	r := Check(Set{Before: f, Core: core()})
	if len(r.Refused) > 0 || len(r.Insecure) != 1 || !strings.Contains(r.Insecure[0].What, "DetectionOnly") || len(r.Notes) < 10 {
		t.Errorf("%v\n%v\n%v", r.Refused, r.Insecure, r.Notes)
	}
	text, err := f.Text()
	if err != nil || text.Places[200002] == "" || strings.Contains(text.Directives, "Audit") {
		t.Error(text, err)
	}
	if _, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(text.Directives)); err != nil {
		t.Error(err)
	}
}

// A list that changed is a list that changed, also while a rule set with the old one is still in use; and a text that is
// longer than a line of the engine is the same text.
func TestTextIsWhatWasRead(t *testing.T) {
	long := strings.Repeat("abcdefgh ", 12_000)
	denies := func(words, value string) bool {
		files := fstest.MapFS{
			"own.conf":         {Data: []byte("Include rules/a.conf")},
			"rules/a.conf":     {Data: []byte("SecRuleEngine On\nSecDataset list `\n" + words + "\n`\nSecRule ARGS:a \"@pmFromFile words.data\" \"id:1,phase:2,deny\"\nSecRule ARGS:b \"!@pmFromDataset list\" \\\n  \"id:2,phase:2,deny,chain\"\n SecRule ARGS:b \"@rx .\"\nSecRule ARGS:c \"@pm x" + "\\\n" + strings.ReplaceAll(long, " ", " \\\n") + "end\" \"id:3,phase:2,deny\"")},
			"rules/words.data": {Data: []byte(words)},
		}
		f, wrong := Read(files, "own.conf")
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		if err := Check(Set{After: f}).Err(false); err != nil {
			t.Fatal(err)
		}
		text, err := f.Text()
		if err != nil {
			t.Fatal(err)
		}
		waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(text.Over(nil)).WithDirectives("SecRuleEngine On\nSecRequestBodyAccess On\n" + text.Directives))
		if err != nil {
			t.Fatal(err)
		}
		if text.Places[2] != "rules/a.conf:6" {
			t.Error(text.Places)
		}
		tx := waf.NewTransactionWithID("x")
		defer tx.Close()
		name, v, _ := strings.Cut(value, "=")
		tx.AddGetRequestArgument(name, v)
		tx.ProcessRequestHeaders()
		it, _ := tx.ProcessRequestBody()
		return it != nil
	}
	for value, want := range map[string][2]bool{"a=first": {true, false}, "a=second": {false, true}, "b=first": {false, true}, "b=second": {true, false}, "c=end": {true, true}, "c=none": {false, false}} {
		if got := [2]bool{denies("first", value), denies("second", value)}; got != want {
			t.Errorf("%s: %v, want %v", value, got, want)
		}
	}
}

// Files that are handed over by name are read like those of a folder, but for a *: nobody lists the folder.
func TestNamedFiles(t *testing.T) {
	files := with("Include sub/a.conf\nSecRule ARGS \"@pmFromFile words.data\" \"id:1,phase:2,deny\"")
	files["sub/a.conf"] = &fstest.MapFile{Data: []byte("SecMarker a")}
	named := Named(func(name string) ([]byte, error) { return fs.ReadFile(files, name) })
	f, wrong := Read(named, "own.conf")
	if err := Check(Set{After: f}).Err(false); len(wrong) > 0 || err != nil || len(f.Directives) != 2 {
		t.Fatal(wrong, err, f.Directives)
	}
	if text, err := f.Text(); err != nil || len(text.Data) != 1 {
		t.Error(text, err)
	}
	for text, want := range map[string]string{"Include *.conf": "folders are not listed", "Include none.conf": "read none.conf: file does not exist"} {
		files["own.conf"] = &fstest.MapFile{Data: []byte(text)}
		if _, wrong := Read(named, "own.conf"); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s: %v", text, wrong)
		}
	}
}
