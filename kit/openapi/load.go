package openapi

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// maxFiles bounds how many files one contract may be spread over.
const maxFiles = 500

// Load reads a contract. Read gives the bytes of a file; it is asked for file itself and then for the files that
// references name, always below the folder of file (as names, so read should not follow links out of it). The error is a
// mistake.List with file, line, column and excerpt of every mistake; then there is no contract.
func Load(file string, read func(path string) ([]byte, error)) (c *Contract, err error) {
	defer func() {
		if r := recover(); r != nil { // G23: whatever a library makes of a document, it is a mistake of that document
			c, err = nil, mistake.List{{What: fmt.Sprintf("the contract can't be read: %v", r), File: file}}
		}
	}()
	return loadContract(file, read)
}

func loadContract(file string, read func(path string) ([]byte, error)) (*Contract, error) {
	l := &loader{
		folder:   filepath.Dir(file),
		read:     read,
		docs:     map[string]*document{},
		contract: &Contract{File: file},
		warned:   map[string]bool{},
	}
	l.schemas = newSchemas(l)
	if l.root = l.open(filepath.Base(file), nil); l.root != nil {
		l.loadRoot(l.root.root)
		if len(l.list) == 0 {
			l.schemas.compile()
		}
	}
	if err := l.list.Err(); err != nil {
		return nil, err
	}
	return l.contract, nil
}

// loader is the state of one Load.
type loader struct {
	folder    string
	read      func(string) ([]byte, error)
	docs      map[string]*document // nil for a file that was tried in vain
	root      *document
	contract  *Contract
	schemas   *schemas
	list      mistake.List
	warned    map[string]bool
	operation string // ID of the operation being read
	minor     int    // 0, 1 or 2 of OpenAPI 3.x
}

// fail notes a mistake at a node.
func (l *loader) fail(n *node, write, what string, args ...any) {
	l.failAt(n, n.line, n.column, write, what, args...)
}

// failMember notes a mistake at the name of a member.
func (l *loader) failMember(n *node, name, write, what string, args ...any) {
	line, column := n.line, n.column
	for _, m := range n.members {
		if m.name == name {
			line, column = m.line, m.column
		}
	}
	l.failAt(n, line, column, write, what, args...)
}

func (l *loader) failAt(n *node, line, column int, write, what string, args ...any) {
	_, pointer, _ := strings.Cut(n.pointer(), "#")
	m := mistake.Mistake{Path: pointer, What: fmt.Sprintf(what, args...), Write: write,
		File: l.fileOf(n.doc.name), Line: line, Column: column, Excerpt: n.doc.excerpt(line)}
	for _, old := range l.list { // a shared component is read for every use
		if old.File == m.File && old.Line == m.Line && old.Column == m.Column && old.What == m.What {
			return
		}
	}
	l.list = append(l.list, m)
}

func (l *loader) fileOf(name string) string {
	if name == filepath.Base(l.contract.File) {
		return l.contract.File
	}
	return filepath.Join(l.folder, filepath.FromSlash(name))
}

// warn notes what stays open, once for each place.
func (l *loader) warn(n *node, id, fix, what string, args ...any) {
	pointer := n.pointer()
	if l.warned[id+" "+pointer] {
		return
	}
	l.warned[id+" "+pointer] = true
	l.contract.Warnings = append(l.contract.Warnings, Warning{ID: id, What: fmt.Sprintf(what, args...), Fix: fix,
		Pointer: pointer, Line: n.line, Column: n.column, Operation: l.operation})
}

// open reads a file, once. From is the reference that named it, nil for the contract itself.
func (l *loader) open(name string, from *node) *document {
	if d, known := l.docs[name]; known {
		return d
	}
	l.docs[name] = nil
	data, err := l.readFile(name)
	if err != nil {
		m := mistake.Mistake{What: fmt.Sprintf("read contract: %s", err), File: l.fileOf(name)}
		if from != nil {
			l.fail(from, "", "read %s: %s", name, err)
			return nil
		}
		l.list = append(l.list, m)
		return nil
	}
	d, f := parse(name, data)
	if f == nil && d.root.kind != object {
		f = &fault{d.root.line, d.root.column, fmt.Sprintf("a contract is an object, this is %s", d.root.kind)}
	}
	if f != nil {
		l.list = append(l.list, mistake.Mistake{What: f.what, File: l.fileOf(name), Line: f.line, Column: f.column,
			Excerpt: d.excerpt(f.line)})
		return nil
	}
	l.docs[name] = d
	return d
}

func (l *loader) readFile(name string) ([]byte, error) {
	if len(l.docs) > maxFiles {
		return nil, fmt.Errorf("the contract is spread over more than %d files", maxFiles)
	}
	return l.read(l.fileOf(name))
}

// maxReferences bounds a chain of references to references.
const maxReferences = 50

// resolve follows the $ref of anything but a schema until there is none. It gives nil, and has noted the mistake, when there
// is nothing at its end, or something beside it that would be ignored.
func (l *loader) resolve(n *node) *node {
	for range maxReferences {
		ref := n.get("$ref")
		if ref == nil {
			return n
		}
		for _, m := range n.members {
			if m.name != "$ref" && m.name != "summary" && m.name != "description" && !strings.HasPrefix(m.name, "x-") {
				l.failMember(n, m.name, "", "%q stands beside a $ref, where it would be ignored", m.name)
			}
		}
		if n = l.follow(ref); n == nil {
			return nil
		}
	}
	l.fail(n, "", "references run in a circle")
	return nil
}

// follow gives what one $ref names.
func (l *loader) follow(ref *node) *node {
	if ref.kind != text {
		l.fail(ref, "", "$ref is %s, not a text", ref.kind)
		return nil
	}
	file, fragment, _ := strings.Cut(ref.text, "#")
	d := ref.doc
	if file != "" {
		name, err := localName(ref.doc.name, file)
		if err != nil {
			l.fail(ref, "", "%s", err)
			return nil
		}
		if d = l.open(name, ref); d == nil {
			if len(l.list) == 0 {
				l.fail(ref, "", "%s can't be read", name)
			}
			return nil
		}
	}
	fragment, err := url.PathUnescape(fragment)
	if err != nil || fragment != "" && fragment[0] != '/' {
		l.fail(ref, "'#/components/schemas/Name'", "reference %q does not end in a JSON pointer", ref.text)
		return nil
	}
	n := d.root
	for _, token := range strings.Split(fragment, "/")[1:] {
		if n = n.step(unescapeToken(token)); n == nil {
			l.fail(ref, l.nearestPointer(d, fragment), "nothing stands at %q", ref.text)
			return nil
		}
	}
	return n
}

// nearestPointer suggests the sibling that was most likely meant.
func (l *loader) nearestPointer(d *document, fragment string) string {
	n, tokens := d.root, strings.Split(fragment, "/")[1:]
	for i, token := range tokens {
		next := n.step(unescapeToken(token))
		if next != nil {
			n = next
			continue
		}
		var names []string
		for _, m := range n.members {
			names = append(names, m.name)
		}
		near := mistake.Nearest(unescapeToken(token), names)
		if near == "" {
			return ""
		}
		tokens[i] = escapeToken(near)
		return fmt.Sprintf("'%s#/%s'", map[bool]string{true: "", false: d.name}[d == l.root], strings.Join(tokens, "/"))
	}
	return ""
}

// localName turns the file part of a reference into a name below the contract's folder, or refuses it (I11).
func localName(from, file string) (string, error) {
	file, err := url.PathUnescape(file)
	if err != nil {
		return "", fmt.Errorf("reference to %q is not percent-encoding", file)
	}
	if strings.Contains(file, ":") || strings.HasPrefix(file, "//") {
		return "", fmt.Errorf("reference to %q leaves this machine; copy the file beside the contract and refer to it by its name", file)
	}
	if strings.HasPrefix(file, "/") || strings.ContainsAny(file, "\\\x00?") {
		return "", fmt.Errorf("reference to %q is not a path below the contract's folder", file)
	}
	name := path.Join(path.Dir(from), file)
	if name == ".." || strings.HasPrefix(name, "../") || name == "." {
		return "", fmt.Errorf("reference to %q leads out of the contract's folder", file)
	}
	return name, nil
}
