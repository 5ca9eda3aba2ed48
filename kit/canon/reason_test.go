package canon

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReasons: every constant that looks like a reason id is listed, once.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(s, ".") {
						declared = append(declared, s)
					}
				}
			}
		}
		return true
	})
	slices.Sort(declared)
	if got := Reasons(); len(declared) == 0 || !slices.Equal(got, declared) {
		t.Errorf("listed %q\ndeclared %q", got, declared)
	}
}
