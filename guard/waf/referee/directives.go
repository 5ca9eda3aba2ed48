package referee

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
)

// ReadDirectives takes the text of the constant of that name out of a Go file, so that the referee is given what the WAF is
// given although it may not import it.
func ReadDirectives(file, constant string) (string, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return "", err
	}
	text := ""
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || spec.Names[0].Name != constant {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err = strconv.Unquote(lit.Value)
		}
		return false
	})
	if err == nil && text == "" {
		err = fmt.Errorf("%s: there is no text constant %s", file, constant)
	}
	return text, err
}
