package openapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	failed "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// problem is why a value isn't what its schema says.
type problem struct {
	keyword string   // last token of the pointer: required, maximum, ...; "" when the schema as a whole fails
	pointer string   // of the failing keyword
	at      []string // where in the value
	what    string
	unknown string // name of a property that nobody declares
	missing string // name of a property that must be there
	sealed  bool   // the property at the end of at is readOnly
	value   any    // the offending value
}

// judge gives nil when v is what the schema says. V is made of nil, bool, json.Number, string, []any and map[string]any.
func (v *value) judge(instance any) *problem {
	if v.entry == nil || v.entry.sure.isSure(nodesOf(nil, "", instance)) { // no schema is a warning
		return nil
	}
	return v.ask(instance)
}

// ask has the library judge.
func (v *value) ask(instance any) *problem {
	e := v.entry
	var err error
	if e.counted {
		var within bool
		if err, within = e.all.judges.validate(e, instance); !within {
			return &problem{pointer: e.pointer, what: budgetExceeded}
		}
	} else {
		err = e.schema.Validate(instance)
	}
	if err == nil {
		return nil
	}
	var found *jsonschema.ValidationError
	if !errors.As(err, &found) {
		return &problem{pointer: v.entry.pointer, what: "can't be judged"}
	}
	p := describe(nearest(found), v.entry)
	p.value = lookup(instance, p.at)
	return p
}

// nearest finds the error that tells most: not that none of two forms fits, but what is wrong with the form that fits
// nearly. The library reports in the random order of maps, so the choice is made by place and keyword.
func nearest(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return e
	}
	best := nearest(e.Causes[0])
	for _, c := range e.Causes[1:] {
		if leaf := nearest(c); compare(leaf, best) < 0 {
			best = leaf
		}
	}
	switch e.ErrorKind.(type) {
	case *failed.OneOf, *failed.AnyOf, *failed.Contains, *failed.MinContains:
		deepest := slices.MaxFunc(e.Causes, func(a, b *jsonschema.ValidationError) int {
			return cmp.Compare(len(nearest(a).InstanceLocation), len(nearest(b).InstanceLocation))
		})
		if leaf := nearest(deepest); len(leaf.InstanceLocation) > len(e.InstanceLocation) {
			return leaf
		}
		if len(e.Causes) > 1 {
			return e
		}
	case *failed.PropertyNames:
		return e
	}
	return best
}

// compare puts what is left over by another failure last: when a part of a schema fails, its properties count as undeclared.
func compare(a, b *jsonschema.ValidationError) int {
	return cmp.Or(
		cmp.Compare(leftOver(a), leftOver(b)),
		slices.Compare(a.InstanceLocation, b.InstanceLocation),
		cmp.Compare(a.SchemaURL, b.SchemaURL),
		slices.Compare(a.ErrorKind.KeywordPath(), b.ErrorKind.KeywordPath()),
	)
}

func leftOver(e *jsonschema.ValidationError) int {
	if strings.HasSuffix(e.SchemaURL, "/unevaluatedProperties") {
		return 1
	}
	return 0
}

func describe(e *jsonschema.ValidationError, root *entry) *problem {
	p := &problem{at: e.InstanceLocation}
	schema := root.all.pointer(e.SchemaURL)
	switch k := e.ErrorKind.(type) {
	case *failed.FalseSchema:
		name := ""
		if len(p.at) > 0 {
			name = p.at[len(p.at)-1]
		}
		switch {
		case strings.HasSuffix(schema, "/unevaluatedProperties"):
			schema, p.unknown = strings.TrimSuffix(schema, "/unevaluatedProperties"), name
			p.what = fmt.Sprintf("property %q is not declared", clean(name))
		case strings.HasSuffix(schema, "/properties/"+escapeToken(name)):
			p.sealed, p.what = true, fmt.Sprintf("property %q may not be sent", clean(name))
		default:
			p.what = "no value is admitted here"
		}
	case *failed.AdditionalProperties:
		p.unknown = slices.Min(k.Properties)
		p.at = append(slices.Clone(p.at), p.unknown)
		p.what = fmt.Sprintf("property %q is not declared", clean(p.unknown))
	case *failed.Required:
		p.keyword, p.missing = "required", k.Missing[0]
		p.what = fmt.Sprintf("property %q is missing", p.missing)
	default:
		if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
			p.keyword = path[0]
		}
		p.what = words(e.ErrorKind)
	}
	p.pointer = schema
	if p.keyword != "" {
		p.pointer += "/" + p.keyword
	}
	return p
}

// words says what is wrong without saying the value.
func words(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *failed.Type:
		return fmt.Sprintf("is of type %s, not %s", k.Got, strings.Join(k.Want, " or "))
	case *failed.Enum, *failed.Const:
		return "is not one of the declared values"
	case *failed.Format:
		return k.Err.Error()
	case *failed.Pattern:
		return "does not match the pattern"
	case *failed.MinLength:
		return fmt.Sprintf("has fewer than %d characters", k.Want)
	case *failed.MaxLength:
		return fmt.Sprintf("has more than %d characters", k.Want)
	case *failed.Minimum:
		return "is less than " + k.Want.RatString()
	case *failed.Maximum:
		return "is greater than " + k.Want.RatString()
	case *failed.ExclusiveMinimum:
		return "is not greater than " + k.Want.RatString()
	case *failed.ExclusiveMaximum:
		return "is not less than " + k.Want.RatString()
	case *failed.MultipleOf:
		return "is not a multiple of " + k.Want.RatString()
	case *failed.MinItems:
		return fmt.Sprintf("has fewer than %d items", k.Want)
	case *failed.MaxItems:
		return fmt.Sprintf("has more than %d items", k.Want)
	case *failed.MinProperties:
		return fmt.Sprintf("has fewer than %d properties", k.Want)
	case *failed.MaxProperties:
		return fmt.Sprintf("has more than %d properties", k.Want)
	case *failed.UniqueItems:
		return fmt.Sprintf("has equal items at %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *failed.OneOf:
		if len(k.Subschemas) > 0 {
			return fmt.Sprintf("fits form %d and form %d, and must fit exactly one", k.Subschemas[0]+1, k.Subschemas[1]+1)
		}
		return "fits none of the declared forms"
	case *failed.AnyOf:
		return "fits none of the declared forms"
	case *failed.DependentRequired:
		return fmt.Sprintf("has property %q but not %q", k.Prop, k.Missing[0])
	}
	return "is not what the schema declares"
}

// pointer turns the library's name for a schema into its place in the contract.
func (d *directory) pointer(schemaURL string) string {
	name, fragment, _ := strings.Cut(strings.TrimPrefix(schemaURL, resourceBase), "#")
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i >= len(d.pointers) {
		return ""
	}
	if decoded, err := url.PathUnescape(fragment); err == nil {
		fragment = decoded
	}
	return d.pointers[i] + fragment
}

// lookup gives the value at a place, nil when there is none.
func lookup(instance any, at []string) any {
	for _, token := range at {
		switch v := instance.(type) {
		case map[string]any:
			instance = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			instance = v[i]
		default:
			return nil
		}
	}
	return instance
}

// show writes a value for an event: scalars as they are, cut; of lists and objects only what they are.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v[:min(len(v), 256)]
	case json.Number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return fmt.Sprintf("(a list of %d)", len(v))
	case map[string]any:
		return fmt.Sprintf("(an object of %d)", len(v))
	}
	return ""
}

// place writes where in a body: "body /items/0/price".
func (p *problem) place() string {
	var b strings.Builder
	b.WriteString("body")
	for i, token := range p.at {
		if i == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('/')
		b.WriteString(escapeToken(clean(token)))
	}
	return b.String()
}

// clean cuts a name that a client chose, and writes what can't be printed in the manner of Go.
func clean(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "..."
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strings.Trim(strconv.QuoteToASCII(name), `"`)
	}
	return name
}
