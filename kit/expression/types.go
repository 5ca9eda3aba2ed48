package expression

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// field is one field of a variable that has fields.
type field struct {
	name string
	is   *celtypes.Type
	get  func(s *Subject) ref.Val
}

// record is a variable that has fields, and nothing but these: another name is a mistake.
type record struct {
	variable string
	is       *celtypes.Type
	fields   []field
}

func (r *record) find(name string) *field {
	if i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return &r.fields[i]
	}
	return nil
}

// types knows what the names of a Scope stand for: CEL asks it while it checks an expression.
type types struct {
	*celtypes.Registry
	records []*record
	scope   Scope
	missing []missing // fields that were looked for, in the order of the expression
}

type missing struct{ variable, field string }

var (
	textList = celtypes.NewListType(celtypes.StringType)
	anyMap   = celtypes.NewMapType(celtypes.StringType, celtypes.DynType)
	textMap  = celtypes.NewMapType(celtypes.StringType, celtypes.StringType)
	listMap  = celtypes.NewMapType(celtypes.StringType, textList)
)

func newTypes(s Scope) *types {
	t := &types{Registry: celtypes.NewEmptyRegistry(), scope: s}
	_ = t.RegisterType(celtypes.BoolType, celtypes.BytesType, celtypes.DoubleType, celtypes.DurationType, celtypes.IntType, celtypes.ListType,
		celtypes.MapType, celtypes.NullType, celtypes.StringType, celtypes.TimestampType, celtypes.TypeType, celtypes.UintType) // fails for a name twice only
	if s.Claims {
		return t
	}
	t.add("request", requestFields())
	t.add("caller", callerFields())
	if s.Params != nil {
		fields := make([]field, len(s.Params))
		for i, name := range s.Params {
			fields[i] = field{name, celtypes.StringType, func(s *Subject) ref.Val { return s.param(name) }}
		}
		t.add("params", fields)
	}
	return t
}

func (t *types) add(variable string, fields []field) {
	r := &record{variable: variable, is: celtypes.NewObjectType("gatehouse." + variable), fields: fields}
	t.records = append(t.records, r)
}

func (t *types) record(typeName string) *record {
	for _, r := range t.records {
		if r.is.TypeName() == typeName {
			return r
		}
	}
	return nil
}

// variables declares the names of the Scope.
func (t *types) variables() []cel.EnvOption {
	if t.scope.Claims {
		return []cel.EnvOption{cel.Variable("claims", anyMap)}
	}
	list := []cel.EnvOption{cel.Variable("body", cel.DynType)}
	for _, r := range t.records {
		list = append(list, cel.Variable(r.variable, r.is))
	}
	if t.scope.Params == nil {
		list = append(list, cel.Variable("params", textMap))
	}
	switch t.scope.Value {
	case Text:
		list = append(list, cel.Variable("value", cel.StringType))
	case Anything:
		list = append(list, cel.Variable("value", cel.DynType))
	}
	return list
}

// names lists the variables.
func (t *types) names() []string {
	if t.scope.Claims {
		return []string{"claims"}
	}
	list := []string{"body", "caller", "params", "request"}
	if t.scope.Value != Nothing {
		list = append(list, "value")
	}
	return list
}

// FindStructType knows the records.
func (t *types) FindStructType(name string) (*celtypes.Type, bool) {
	if r := t.record(name); r != nil {
		return celtypes.NewTypeTypeWithParam(r.is), true
	}
	return t.Registry.FindStructType(name)
}

// FindStructFieldNames lists the fields of a record.
func (t *types) FindStructFieldNames(name string) ([]string, bool) {
	r := t.record(name)
	if r == nil {
		return t.Registry.FindStructFieldNames(name)
	}
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.name
	}
	return names, true
}

// FindStructFieldType gives a field of a record, and how it is read.
func (t *types) FindStructFieldType(name, wanted string) (*celtypes.FieldType, bool) {
	r := t.record(name)
	if r == nil {
		return t.Registry.FindStructFieldType(name, wanted)
	}
	f := r.find(wanted)
	if f == nil {
		t.missing = append(t.missing, missing{r.variable, wanted})
		return nil, false
	}
	return &celtypes.FieldType{
		Type:  f.is,
		IsSet: func(of any) bool { v, ok := of.(*view); return ok && !isEmpty(v.subject.field(f)) },
		GetFrom: func(of any) (any, error) {
			v, ok := of.(*view)
			if !ok {
				return nil, fmt.Errorf("%s has no field %s", r.variable, f.name)
			}
			return v.subject.field(f), nil
		},
	}, true
}

// noField says that a field was looked for that isn't there, and which was probably meant.
func (t *types) noField(name string) (what, write string) {
	for i, m := range t.missing {
		if m.field != name {
			continue
		}
		t.missing = slices.Delete(t.missing, i, i+1)
		known, _ := t.FindStructFieldNames("gatehouse." + m.variable)
		if write = mistake.Nearest(name, known); write != "" {
			write = m.variable + "." + write
		}
		if len(known) == 0 {
			return fmt.Sprintf("%s has no field %q: the operation's path has no parameters", m.variable, name), ""
		}
		return fmt.Sprintf("%s has no field %q; it has %s", m.variable, name, strings.Join(known, ", ")), write
	}
	return fmt.Sprintf("there is no field %q", name), ""
}

// NativeToValue lets through what is a value already: requests are given as such.
func (t *types) NativeToValue(v any) ref.Val {
	if known, ok := v.(ref.Val); ok {
		return known
	}
	return celtypes.DefaultTypeAdapter.NativeToValue(v)
}

// isEmpty tells that has() is false of a field: nothing was sent.
func isEmpty(v ref.Val) bool {
	switch v := v.(type) {
	case celtypes.String:
		return v == ""
	case interface{ Size() ref.Val }:
		return v.Size() == celtypes.IntZero
	case celtypes.Bool:
		return !bool(v)
	}
	return celtypes.IsError(v)
}
