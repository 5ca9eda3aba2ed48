package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// rules are what a field's tag asks for beside its type.
type rules struct {
	required, nonempty, public bool
	min, max                   *int64
}

// field is one key that a struct type has, its own or of a struct inline.
type field struct {
	name  string
	typ   reflect.Type
	rules rules
	path  []int        // of reflect.Value.Field
	owner reflect.Type // the struct that declares it
	ident string       // its name in Go
}

// in gives the field of a struct value, making the inline structs on the way.
func (f field) in(v reflect.Value) reflect.Value {
	for _, i := range f.path {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// fieldsOf lists the keys of a struct type in the order of its source. It panics on a type that no document can fill,
// which is a mistake of ours that the first test finds.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := 0; i < t.NumField(); i++ {
		tag, tagged := t.Field(i).Tag.Lookup("yaml")
		name, options, _ := strings.Cut(tag, ",")
		if !tagged || name == "-" || !t.Field(i).IsExported() {
			continue
		}
		if options == "inline" {
			inner := t.Field(i).Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			for _, f := range fieldsOf(inner) {
				f.path = append([]int{i}, f.path...)
				fields = append(fields, f)
			}
			continue
		}
		fields = append(fields, field{name: name, typ: t.Field(i).Type, rules: rulesOf(t, name, options), path: []int{i}, owner: t, ident: t.Field(i).Name})
	}
	seen := map[string]bool{}
	for _, f := range fields {
		if f.name == "" || seen[f.name] {
			panic(fmt.Sprintf("config: %s has key %q twice or without a name", t, f.name))
		}
		seen[f.name] = true
	}
	return fields
}

func rulesOf(t reflect.Type, name, options string) rules {
	var r rules
	for _, option := range strings.Split(options, ",") {
		word, number, _ := strings.Cut(option, "=")
		switch word {
		case "", "omitempty":
		case "required":
			r.required = true
		case "nonempty":
			r.nonempty = true
		case "public":
			r.public = true
		case "min", "max":
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				panic(fmt.Sprintf("config: %s.%s: %s is no bound", t, name, option))
			}
			if word == "min" {
				r.min = &n
			} else {
				r.max = &n
			}
		default:
			panic(fmt.Sprintf("config: %s.%s: unknown option %q", t, name, option))
		}
	}
	return r
}
