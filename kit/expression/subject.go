package expression

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Caller is who asks, as conditions see it.
type Caller struct {
	Issuer, Subject, Client string
	Roles, Scopes           []string
	Claims                  map[string]any // verified
}

// Subject is one request, as conditions see it. It belongs to one goroutine; many conditions may be asked of it in turn.
type Subject struct {
	Request *canon.Request
	Params  []canon.Pair // of the path, decoded
	Body    *body.Tree   // nil when it was not read: then body is null
	Caller  *Caller      // nil: nobody is known to be calling
	Address netip.Addr   // whom the request is counted against

	Spent uint64 // steps that judging has taken so far, for who asks many times

	value  ref.Val
	tree   *tree
	read   ref.Val            // the body, once it was asked for
	claims ref.Val            // of Words
	fields map[*field]ref.Val // of variables, once they were asked for
}

// Value is what stands at a place of a request.
type Value struct{ is ref.Val }

// TextValue is a text: of a path, a query, a field, a cookie or a form.
func TextValue(text string) Value { return Value{celtypes.String(text)} }

// PartValue is one part of a multipart body.
func PartValue(p body.Part) Value { return Value{part(p)} }

// ListValue is a list of one value.
func ListValue(v Value) Value {
	return Value{celtypes.NewRefValList(celtypes.DefaultTypeAdapter, []ref.Val{v.is})}
}

// BodyValue is the whole body.
func (s *Subject) BodyValue() Value { return Value{s.bodyValue()} }

// NodeValue is the value of one node of the JSON body.
func (s *Subject) NodeValue(node int) Value { return Value{s.json().at(int32(node))} }

// Holds tells whether a condition is true of the request. An error, such as a property that isn't there, is neither true nor
// false.
func (c *Condition) Holds(s *Subject) (bool, error) { return c.HoldsFor(s, Value{}) }

// HoldsFor is Holds with what the variable value stands for.
func (c *Condition) HoldsFor(s *Subject, v Value) (bool, error) {
	s.value = v.is
	out, err := c.eval(s)
	if err != nil {
		return false, err
	}
	yes, ok := out.(celtypes.Bool)
	if !ok {
		return false, fmt.Errorf("the condition came to %s, not to true or false", out.Type().TypeName())
	}
	return bool(yes), nil
}

// eval gives what the expression comes to, and counts what that took.
func (c *Condition) eval(s *Subject) (ref.Val, error) {
	program := c.program
	if c.quick != nil && s.Spent < uncounted {
		program = c.quick
	}
	out, details, err := program.Eval(s)
	s.Spent += turnCost
	if details != nil && details.ActualCost() != nil {
		s.Spent += *details.ActualCost()
	}
	if err != nil {
		return nil, told(err)
	}
	return out, nil
}

// turnCost is what asking costs, in steps, whatever is asked.
const turnCost = 10

// uncounted is up to how many steps of a request conditions of which the bound is known are asked without counting theirs, which
// takes as long again: the first ten are. What is cheap once is not when it is asked of each of many values.
const uncounted = 10 * turnCost

// told keeps values of the request out of an error: a key that isn't there may be one that the request named.
func told(err error) error {
	text := err.Error()
	if strings.Contains(text, "cost limit exceeded") {
		return ErrCost
	}
	for _, known := range []string{"no such key", "no such overload", "index out of bounds", "index out of range", "there is no element", "division by zero", "modulus by zero",
		"integer overflow", "unsigned integer overflow", "type conversion error", "has no exact form", "NaN values", "longer than"} {
		if strings.Contains(text, known) {
			if key, ok := strings.CutPrefix(text, "no such key: "); ok && plain(key) {
				return fmt.Errorf("there is no %s", key)
			}
			return fmt.Errorf("%s", known)
		}
	}
	return fmt.Errorf("it can't be judged: a %T", err)
}

// plain tells that a name may stand in a log.
func plain(name string) bool {
	return len(name) <= 80 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	})
}

// ResolveName gives the variables to CEL.
func (s *Subject) ResolveName(name string) (any, bool) {
	switch name {
	case "value":
		return s.value, s.value != nil
	case "request", "caller", "params":
		return &view{s, name}, true
	case "body":
		return s.bodyValue(), true
	case "claims":
		return s.claims, s.claims != nil
	}
	return nil, false
}

// Parent is nobody.
func (s *Subject) Parent() cel.Activation { return nil }

// view is a variable with fields.
type view struct {
	subject *Subject
	name    string
}

// Find gives a path's parameter, for a scope that doesn't know their names.
func (v *view) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(celtypes.String)
	if !ok || v.name != "params" {
		return nil, false
	}
	value := v.subject.param(string(name))
	return value, !celtypes.IsError(value)
}

// Get gives a path's parameter, or an error.
func (v *view) Get(key ref.Val) ref.Val { return found(v.Find(key))(key) }

// Contains tells whether the path has such a parameter.
func (v *view) Contains(key ref.Val) ref.Val {
	_, ok := v.Find(key)
	return celtypes.Bool(ok)
}

// Size counts the path's parameters.
func (v *view) Size() ref.Val { return celtypes.Int(len(v.Iterator().(*words).rest)) }

// Iterator gives their names.
func (v *view) Iterator() traits.Iterator {
	w := &words{}
	for i := range v.subject.Params {
		if v.name == "params" {
			w.rest = append(w.rest, v.subject.Params[i].Name)
		}
	}
	return w
}

// ConvertToNative is asked for by nobody.
func (v *view) ConvertToNative(t reflect.Type) (any, error) { return nil, notNative(t) }

// ConvertToType is an error.
func (v *view) ConvertToType(ref.Type) ref.Val { return celtypes.NewErr("%s is nothing else", v.name) }

// Equal is true of itself.
func (v *view) Equal(other ref.Val) ref.Val {
	o, ok := other.(*view)
	return celtypes.Bool(ok && o.name == v.name && o.subject == v.subject)
}

// Type names the variable's type.
func (v *view) Type() ref.Type { return celtypes.NewObjectType("gatehouse." + v.name) }

// Value is the view itself: fields are read from it.
func (v *view) Value() any { return v }

// field gives a field of a variable. A map is made once: a condition may ask for it in every turn of a loop.
func (s *Subject) field(f *field) ref.Val {
	if f.is.Kind() != celtypes.MapKind {
		return f.get(s)
	}
	v, made := s.fields[f]
	if !made {
		if s.fields == nil {
			s.fields = map[*field]ref.Val{}
		}
		v = f.get(s)
		s.fields[f] = v
	}
	return v
}

func (s *Subject) param(name string) ref.Val {
	for i := range s.Params {
		if s.Params[i].Name == name {
			return celtypes.String(s.Params[i].Value)
		}
	}
	return celtypes.NewErr("no such key: %s", name)
}

func text(get func(*canon.Request) string) func(*Subject) ref.Val {
	return func(s *Subject) ref.Val { return celtypes.String(get(s.Request)) }
}

// requestFields is what request has.
func requestFields() []field {
	return []field{
		{"method", celtypes.StringType, text(func(r *canon.Request) string { return r.Method })},
		{"scheme", celtypes.StringType, text(func(r *canon.Request) string { return r.Scheme })},
		{"host", celtypes.StringType, text(func(r *canon.Request) string { return r.Host })},
		{"path", celtypes.StringType, text(func(r *canon.Request) string { return r.Path })},
		{"segments", textList, func(s *Subject) ref.Val { return texts(s.Request.Segments) }},
		{"query", listMap, func(s *Subject) ref.Val { return pairs(s.Request.Query) }},
		{"headers", listMap, func(s *Subject) ref.Val { return headers(s.Request.Fields) }},
		{"cookies", textMap, func(s *Subject) ref.Val { return cookies(s.Request.Cookies) }},
		{"length", celtypes.IntType, func(s *Subject) ref.Val { return celtypes.Int(s.Request.Length) }},
		{"address", celtypes.StringType, func(s *Subject) ref.Val {
			if !s.Address.IsValid() {
				return celtypes.String("")
			}
			return celtypes.String(s.Address.String())
		}},
	}
}

// callerFields is what caller has. Of nobody, known is false and everything else is empty.
func callerFields() []field {
	of := func(get func(*Caller) ref.Val) func(*Subject) ref.Val {
		return func(s *Subject) ref.Val {
			if s.Caller == nil {
				return get(&Caller{})
			}
			return get(s.Caller)
		}
	}
	return []field{
		{"known", celtypes.BoolType, func(s *Subject) ref.Val { return celtypes.Bool(s.Caller != nil) }},
		{"issuer", celtypes.StringType, of(func(c *Caller) ref.Val { return celtypes.String(c.Issuer) })},
		{"subject", celtypes.StringType, of(func(c *Caller) ref.Val { return celtypes.String(c.Subject) })},
		{"client", celtypes.StringType, of(func(c *Caller) ref.Val { return celtypes.String(c.Client) })},
		{"roles", textList, of(func(c *Caller) ref.Val { return texts(c.Roles) })},
		{"scopes", textList, of(func(c *Caller) ref.Val { return texts(c.Scopes) })},
		{"claims", anyMap, of(func(c *Caller) ref.Val { return claim(c.Claims) })},
	}
}

func texts(list []string) ref.Val { return celtypes.NewStringList(celtypes.DefaultTypeAdapter, list) }

// pairs is a query or a form: each name with all of its values.
func pairs(all []canon.Pair) ref.Val {
	return grouped(len(all), func(i int) (string, string) { return all[i].Name, all[i].Value }, texts)
}

// grouped is a map from each name, in the order in which they come, to the list of what has it.
func grouped[V any](n int, at func(int) (string, V), list func([]V) ref.Val) ref.Val {
	of := make(map[string][]V, n)
	t := &table{find: func(name string) (ref.Val, bool) {
		values, ok := of[name]
		return list(values), ok
	}}
	for i := range n {
		name, value := at(i)
		if _, twice := of[name]; !twice {
			t.names = append(t.names, name)
		}
		of[name] = append(of[name], value)
	}
	return t
}

// headers has each field under its name in lower case; any other spelling finds it too.
func headers(fields http.Header) ref.Val {
	t := &table{find: func(name string) (ref.Val, bool) {
		values := fields[http.CanonicalHeaderKey(name)]
		return texts(values), len(values) > 0
	}}
	for name := range fields {
		t.names = append(t.names, strings.ToLower(name))
	}
	slices.Sort(t.names)
	return t
}

func cookies(all []canon.Pair) ref.Val {
	t := &table{find: func(name string) (ref.Val, bool) {
		for i := range all {
			if all[i].Name == name {
				return celtypes.String(all[i].Value), true
			}
		}
		return nil, false
	}}
	for i := range all {
		t.names = append(t.names, all[i].Name)
	}
	return t
}

// claim is a verified claim. A number keeps all its digits.
func claim(v any) ref.Val {
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case map[string]any:
		made := map[string]ref.Val{} // once: an expression may ask for it in every turn of a loop
		t := &table{find: func(name string) (ref.Val, bool) {
			one, ok := v[name]
			if is := made[name]; is != nil || !ok {
				return is, ok
			}
			made[name] = claim(one)
			return made[name], true
		}}
		for name := range v {
			t.names = append(t.names, name)
		}
		slices.Sort(t.names)
		return t
	case []any:
		list := make([]ref.Val, len(v))
		for i := range v {
			list[i] = claim(v[i])
		}
		return celtypes.NewRefValList(celtypes.DefaultTypeAdapter, list)
	}
	return celtypes.DefaultTypeAdapter.NativeToValue(v)
}

func (s *Subject) json() *tree {
	if s.tree == nil {
		s.tree = &tree{nodes: s.Body.Nodes}
	}
	return s.tree
}

// bodyValue is the body: what JSON says; a map of lists for a form and for parts; a text; bytes; null for none.
func (s *Subject) bodyValue() ref.Val {
	if s.read == nil {
		s.read = s.wholeBody()
	}
	return s.read
}

func (s *Subject) wholeBody() ref.Val {
	if s.Body == nil {
		return celtypes.NullValue
	}
	switch s.Body.Kind {
	case body.JSON:
		if len(s.Body.Nodes) > 0 {
			return s.json().at(0)
		}
	case body.Form:
		return pairs(s.Body.Form)
	case body.Multipart:
		return parts(s.Body.Parts)
	case body.Text, body.XML:
		return celtypes.String(s.Body.Raw)
	case body.Opaque:
		return celtypes.Bytes(s.Body.Raw)
	}
	return celtypes.NullValue
}

func parts(all []body.Part) ref.Val {
	return grouped(len(all), func(i int) (string, ref.Val) { return all[i].Name, part(all[i]) }, func(list []ref.Val) ref.Val {
		return celtypes.NewRefValList(celtypes.DefaultTypeAdapter, list)
	})
}

// part is a map of filename, type and data; the data are a text when they are UTF-8, else bytes.
func part(p body.Part) ref.Val {
	return &table{names: []string{"data", "filename", "type"}, find: func(name string) (ref.Val, bool) {
		switch name {
		case "data":
			if utf8.Valid(p.Data) {
				return celtypes.String(p.Data), true
			}
			return celtypes.Bytes(p.Data), true
		case "filename":
			return celtypes.String(p.FileName), true
		case "type":
			return celtypes.String(p.Type), true
		}
		return nil, false
	}}
}
