package expression

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Fault is one thing wrong with an expression.
type Fault struct {
	Line, Column int // 1-based, in characters
	What         string
	Write        string // the word that was probably meant, or what to write instead; "" when there is no single answer
}

// Error reads "line 1, column 9: what (write: ...)".
func (f Fault) Error() string {
	text := fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, f.What)
	if f.Write != "" {
		text += " (write: " + f.Write + ")"
	}
	return text
}

// Faults are all that was found in one expression.
type Faults []Fault

// Error puts one fault on each line.
func (l Faults) Error() string {
	lines := make([]string, len(l))
	for i, f := range l {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Mistakes gives the faults as mistakes of a document, at the place of the expression.
func (l Faults) Mistakes(path string) (list mistake.List) {
	for _, f := range l {
		list.Add(path, f.Write, "line %d, column %d: %s", f.Line, f.Column, f.What)
	}
	return list
}

// What the checker says, in its words.
var (
	undefinedField = regexp.MustCompile(`^undefined field '([^']*)'`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
)

// faults puts what the checker found into our words.
func (e *Environment) faults(issues *cel.Issues) (list Faults) {
	for _, i := range issues.Errors() {
		f := Fault{Line: max(1, i.Location.Line()), Column: max(1, i.Location.Column()+1), What: strings.TrimSpace(i.Message)}
		if m := undefinedField.FindStringSubmatch(f.What); m != nil {
			f.What, f.Write = e.types.noField(m[1])
		} else if m := undeclared.FindStringSubmatch(f.What); m != nil {
			name := strings.TrimPrefix(m[1], ".")
			f.What, f.Write = fmt.Sprintf("there is no %q here", name), mistake.Nearest(name, e.words())
			if f.Write == "" {
				f.What += "; known are " + strings.Join(e.types.names(), ", ")
			}
		} else if m := noOverload.FindStringSubmatch(f.What); m != nil {
			f.What = fmt.Sprintf("%s does not go with %s", operator(m[1]), m[2])
		} else if m := strings.Index(f.What, "Syntax error: "); m >= 0 {
			f.What = "this is no expression: " + f.What[m+len("Syntax error: "):]
		}
		f.What = oneLine(f.What)
		list = append(list, f)
		if len(list) == 10 {
			break
		}
	}
	return list
}

// words are all names that an expression may use at its top: variables and functions.
func (e *Environment) words() []string {
	list := e.types.names()
	for name := range e.env.Functions() {
		if !strings.ContainsAny(name, "_@!-") && !slices.Contains(growing(), name) {
			list = append(list, name)
		}
	}
	for _, m := range e.env.Macros() {
		list = append(list, m.Function())
	}
	return list
}

// operator gives the sign of an operator, or the name of a function.
func operator(name string) string {
	return strings.ReplaceAll(strings.Trim(name, "_"), "@", "")
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// abridged is an expression cut to what fits into a sentence.
func abridged(text string) string {
	r := []rune(oneLine(text))
	if len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return string(r)
}

func article(t *cel.Type) string {
	if t.IsExactType(cel.DynType) {
		return "whatever stands in the request"
	}
	return "of type " + t.String()
}
