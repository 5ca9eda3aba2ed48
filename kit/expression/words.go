package expression

import (
	"fmt"

	"cel.dev/cel-go/cel"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
)

// Words is a loaded expression that makes a list of words, such as roles, of the claims of a verified token. Many goroutines
// may use it.
type Words struct{ list *Condition }

// CompileWords loads an expression over claims that comes to a list of texts, or gives all of its Faults. The Scope must be one
// of Claims. Where only a token can tell whether it is a list of texts, Of tells.
func (e *Environment) CompileWords(text string) (*Words, error) {
	if !e.scope.Claims {
		return nil, Faults{{Line: 1, Column: 1, What: "this is no place for a list of words"}}
	}
	if text == "" {
		return nil, Faults{{Line: 1, Column: 1, What: "the expression is empty", Write: "[], for no words"}}
	}
	c, err := e.load(text, func(is *cel.Type) Faults {
		if is.Kind() == celtypes.DynKind || is.Kind() == celtypes.ListKind && mayBeText(is.Parameters()[0]) {
			return nil
		}
		f := Fault{Line: 1, Column: 1, What: fmt.Sprintf("the expression is %s, not a list of words", article(is))}
		switch is.Kind() {
		case celtypes.BoolKind:
			f.Write = abridged(text) + ` ? ["word"] : []`
		case celtypes.StringKind:
			f.Write = "[" + abridged(text) + "]"
		}
		return Faults{f}
	})
	if err != nil {
		return nil, err
	}
	return &Words{c}, nil
}

// mayBeText tells that what is in a list is a text, or only known when it is seen; an empty list holds what nobody knows.
func mayBeText(is *cel.Type) bool {
	return is.Kind() == celtypes.StringKind || is.Kind() == celtypes.DynKind || is.Kind() == celtypes.TypeParamKind
}

// String gives the expression as it was written.
func (w *Words) String() string { return w.list.String() }

// Of gives the words. An error, such as a claim that isn't there, is no empty list: who asks decides.
func (w *Words) Of(claims map[string]any) ([]string, error) {
	out, err := w.list.eval(&Subject{claims: claim(claims)})
	if err != nil {
		return nil, err
	}
	list, ok := out.(traits.Lister)
	if !ok {
		return nil, fmt.Errorf("the expression came to %s, not to a list of words", out.Type().TypeName())
	}
	var words []string
	for it := list.Iterator(); it.HasNext() == celtypes.True; {
		next := it.Next()
		word, ok := next.(celtypes.String)
		if !ok {
			return nil, fmt.Errorf("item %d of the list is %s, not a word", len(words)+1, next.Type().TypeName())
		}
		if word == "" {
			return nil, fmt.Errorf("item %d of the list is empty", len(words)+1)
		}
		words = append(words, string(word))
	}
	return words, nil
}

// growing are functions on texts that multiply what they are given before its cost is known.
func growing() []string { return []string{"replace", "join", "format", "strings.quote", "reverse"} }
