package seclang

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
)

// core are the rules that a Set has as its Core, read once.
var core = sync.OnceValue(func() *Files {
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		panic(err)
	}
	f, wrong := Read(coreruleset.FS, append([]string{"@crs-setup.conf.example"}, names...)...)
	if len(wrong) > 0 {
		panic(wrong)
	}
	return f
})

// renumbered is the core rule set with ids that an operator may use, as files of an operator.
func renumbered(t testing.TB) fstest.MapFS {
	t.Helper()
	files, number := fstest.MapFS{}, regexp.MustCompile(`([^-\d])9(\d{5})\b`)
	list, err := fs.ReadDir(coreruleset.FS, "@owasp_crs")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		data, err := fs.ReadFile(coreruleset.FS, "@owasp_crs/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".conf") {
			data = number.ReplaceAll(data, []byte("${1}19$2"))
		}
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	return files
}

func conf(files fstest.MapFS) (names []string) {
	for name := range files {
		if strings.HasSuffix(name, ".conf") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var bookkeeping = []string{"REQUEST-901-INITIALIZATION.conf", "REQUEST-949-BLOCKING-EVALUATION.conf", "RESPONSE-959-BLOCKING-EVALUATION.conf", "RESPONSE-980-CORRELATION.conf"}

// The largest rule set there is has nothing that is silently off, and is read rule by rule as the engine reads it.
func TestTheCoreRuleSetStands(t *testing.T) {
	files := renumbered(t)
	f, wrong := Read(files, conf(files)...)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	report := Check(Set{After: f, Phases: 5})
	for _, m := range report.Refused {
		if !strings.HasPrefix(m.What, "initcol: ") || m.File != "REQUEST-901-INITIALIZATION.conf" { // it asks for what the engine has not; no rule reads it
			t.Error(m)
		}
	}
	for _, m := range report.Insecure {
		if !strings.HasPrefix(m.What, "setvar:") || !slices.Contains(bookkeeping, m.File) {
			t.Error(m)
		}
	}
	text, err := f.Text()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(text.Over(nil)).WithDirectives(text.Directives))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(files).WithDirectives("Include *.conf"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := ours.(experimental.WAFWithRules).RulesCount(), theirs.(experimental.WAFWithRules).RulesCount()
	if a != b || a < 600 {
		t.Errorf("%d rules of our text, %d of the files", a, b)
	}
}
