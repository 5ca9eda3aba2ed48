// Package gatehouse holds the rules of the house as tests: who may import whom, that every package is explained, and that
// every guard stands on the pipeline. The program is in cmd/gatehouse.
package gatehouse

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-sec/gatehouse/"

// mayImport says which of our folders the code of a folder may import. What is not listed is forbidden. The longest
// folder that fits counts; "guard/*" is any one guard, and a guard may always import its own subfolders.
var mayImport = map[string][]string{
	"kit":       {"kit"},
	"secret":    {"kit", "secret"},
	"config":    {"kit", "config"},
	"gate":      {"kit"},
	"store":     {"gate", "secret", "kit", "store"},
	"key":       {"gate", "secret", "kit", "key"},
	"fleet":     {"gate", "secret", "kit", "store"},
	"backup":    {"gate", "config", "pipeline", "audit", "store", "key", "secret", "kit"},
	"audit":     {"gate", "secret", "kit"},
	"telemetry": {"gate", "secret", "kit"},
	"listen":    {"gate", "secret", "kit", "listen"},
	"upstream":  {"gate", "secret", "kit"},
	"guard/*":   {"gate", "secret", "kit"},
	"pipeline":  {"gate", "config", "kit", "guard", "upstream"},
	"portal":    {"gate", "secret", "kit", "guard/identity/session", "guard/identity/keys", "portal"},
	"cmd":       {"*"},
	"examples":  {"examples"},
	"bench":     {"bench", "kit/loopback"},
}

// source is one parsed Go file that is not a test.
type source struct {
	folder string // below the module, with slashes
	file   string
	tree   *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		list = append(list, source{path.Dir(filepath.ToSlash(name)), name, tree})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("only %d files found", len(list))
	}
	return list
}

func TestWhoMayImportWhom(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.tree.Imports {
			target, ours := strings.CutPrefix(strings.Trim(imported.Path.Value, `"`), module)
			if ours && !allowed(s.folder, target) {
				t.Errorf("%s imports %s, which the table in layers_test.go forbids", s.file, target)
			}
		}
	}
}

func allowed(folder, target string) bool {
	parts := strings.SplitN(folder, "/", 3)
	rule := parts[0]
	if rule == "guard" {
		if own := "guard/" + parts[1]; target == own || strings.HasPrefix(target, own+"/") {
			return true
		}
		rule = "guard/*"
	}
	for _, ok := range mayImport[rule] {
		if ok == "*" || target == ok || strings.HasPrefix(target, ok+"/") {
			return true
		}
	}
	return false
}

func TestTheTableForbids(t *testing.T) {
	for _, c := range []struct {
		folder, target string
		want           bool
	}{
		{"guard/waf", "guard/identity", false},
		{"guard/identity/bearer", "guard/identity/keys", true},
		{"guard/rate", "store/memory", false},
		{"gate", "config", false},
		{"kit/body", "gate", false},
		{"examples/shop", "gate", false},
		{"pipeline", "audit", false},
		{"cmd/gatehouse", "audit", true},
		{"nowhere", "kit", false},
	} {
		if got := allowed(c.folder, c.target); got != c.want {
			t.Errorf("%s imports %s: allowed %v, want %v", c.folder, c.target, got, c.want)
		}
	}
}

func TestEveryPackageIsExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, s := range sources(t) {
		if doc := s.tree.Doc.Text(); len(doc) > 60 {
			explained[s.folder] = true
		} else if !explained[s.folder] {
			explained[s.folder] = false
		}
	}
	for folder, ok := range explained {
		if !ok {
			t.Errorf("package %s has no comment that a newcomer could read aloud", folder)
		}
	}
}

// Every exported name outside of tests is documented.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.tree.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !standard(d.Name.Name) {
					t.Errorf("%s: %s has no comment", s.file, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: type %s has no comment", s.file, ts.Name.Name)
					}
				}
			}
		}
	}
}

// standard names are explained by the interface that they satisfy.
func standard(name string) bool {
	return slices.Contains([]string{"String", "Error", "Unwrap", "Read", "Write", "Close", "MarshalText", "UnmarshalText",
		"MarshalJSON", "GoString", "Format", "LogValue", "Len", "Less", "Swap", "LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline"}, name)
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

// Nothing is registered from afar: no init functions, so that all wiring is in sight.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.file)
			}
		}
	}
}

// A guard is a folder, a line of order.go, a README with the five parts, and a key of the document: the same list.
func TestEveryGuardStandsOnThePipeline(t *testing.T) {
	order, err := os.ReadFile("pipeline/order.go")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir("guard")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !strings.Contains(string(order), `"`+f.Name()+`", func(c `+f.Name()+`.Config`) {
			t.Errorf("guard/%s has no line in pipeline/order.go", f.Name())
		}
		readme, err := os.ReadFile(filepath.Join("guard", f.Name(), "README.md"))
		if err != nil {
			t.Errorf("guard/%s has no README.md", f.Name())
			continue
		}
		for _, part := range []string{"What it stops", "Configuration", "What it records", "What it does not do", "See also"} {
			if !strings.Contains(string(readme), part) {
				t.Errorf("guard/%s/README.md has no part %q", f.Name(), part)
			}
		}
	}
}

// A crash inside a request must be a denial, never the end of the process (row G18).
func TestNothingEndsTheProcess(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.folder, "cmd/") || strings.HasPrefix(s.folder, "examples/") || strings.HasPrefix(s.folder, "bench") || s.tree.Name.Name == "main" {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "os" && sel.Sel.Name == "Exit" || pkg.Name == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal")) {
					t.Errorf("%s calls %s.%s", s.file, pkg.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}
