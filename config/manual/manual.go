// Package manual reads the comments of struct fields from Go source, so that what a field's author wrote beside it is what
// an operator reads in the reference page and in the editor's completion. It is run when the product is built, never by it.
package manual

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// Document gives the comments of every type that stands in the document, as the JSON that the program embeds. Root is the
// root of the source.
func Document(root string) ([]byte, error) {
	var dirs []string
	for _, f := range []string{"audit", "backup", "fleet", "gate", "guard/*", "guard/identity/*", "guard/waf/response", "guard/waf/seclang", "key", "listen", "pipeline", "secret/*", "store", "upstream"} {
		found, err := filepath.Glob(filepath.Join(root, f))
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			if info, err := os.Stat(d); err == nil && info.IsDir() {
				dirs = append(dirs, d)
			}
		}
	}
	comments, err := Extract(dirs...)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(comments, "", "  ")
	return append(text, '\n'), err
}

// Extract reads the Go files of directories, without tests, and gives the comment of every struct type and of every
// exported field that has one: "rate.Config" and "rate.Config.PerAddress". A comment above a field comes before one behind
// it. The package's name in its source counts, not that of its folder. Two packages with one name that declare one type
// are an error, for their comments could not be told apart.
func Extract(dirs ...string) (map[string]string, error) {
	comments, owner := map[string]string{}, map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() || !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, fmt.Errorf("read source: %w", err)
			}
			if err := readTypes(file, dir, comments, owner); err != nil {
				return nil, err
			}
		}
	}
	return comments, nil
}

func readTypes(file *ast.File, dir string, comments, owner map[string]string) error {
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			name := file.Name.Name + "." + spec.Name.Name
			if other, taken := owner[name]; taken && other != dir {
				return fmt.Errorf("%s is declared in %s and in %s; rename one", name, other, dir)
			}
			owner[name] = dir
			doc := spec.Doc.Text()
			if doc == "" && len(decl.Specs) == 1 {
				doc = decl.Doc.Text()
			}
			keep(comments, name, doc)
			readFields(structure, name, comments)
		}
	}
	return nil
}

func readFields(structure *ast.StructType, owner string, comments map[string]string) {
	for _, f := range structure.Fields.List {
		text := f.Doc.Text()
		if text == "" {
			text = f.Comment.Text()
		}
		for _, n := range f.Names {
			if n.IsExported() {
				keep(comments, owner+"."+n.Name, text)
			}
		}
	}
}

func keep(comments map[string]string, name, text string) {
	if text = strings.Join(strings.Fields(text), " "); text != "" {
		comments[name] = text
	}
}
