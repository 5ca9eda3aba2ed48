package expression

import (
	"reflect"

	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// table is a map whose values are made when they are asked for: fields, pairs of a query, cookies, parts.
type table struct {
	names []string // each once, in order
	find  func(name string) (ref.Val, bool)
}

// Find gives the value of a name.
func (t *table) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(celtypes.String)
	if !ok {
		return nil, false
	}
	return t.find(string(name))
}

// Get gives the value of a name, or an error.
func (t *table) Get(key ref.Val) ref.Val { return found(t.Find(key))(key) }

// Contains tells whether there is such a name.
func (t *table) Contains(key ref.Val) ref.Val {
	_, ok := t.Find(key)
	return celtypes.Bool(ok)
}

// Size counts names.
func (t *table) Size() ref.Val { return celtypes.Int(len(t.names)) }

// Iterator gives the names.
func (t *table) Iterator() traits.Iterator { return &words{rest: t.names} }

// Equal compares with any other map.
func (t *table) Equal(other ref.Val) ref.Val { return sameMap(t, other) }

// ConvertToType gives what stays a map.
func (t *table) ConvertToType(to ref.Type) ref.Val { return same(t, celtypes.MapType, to) }

// ConvertToNative is asked for by nobody.
func (t *table) ConvertToNative(to reflect.Type) (any, error) { return nil, notNative(to) }

// Type is that of maps.
func (t *table) Type() ref.Type { return celtypes.MapType }

// Value is the value itself.
func (t *table) Value() any { return t }

// iterator is what no iterator is asked for.
type iterator struct{}

// ConvertToNative is asked for by nobody.
func (iterator) ConvertToNative(t reflect.Type) (any, error) { return nil, notNative(t) }

// ConvertToType is asked for by nobody.
func (iterator) ConvertToType(ref.Type) ref.Val {
	return celtypes.NewErr("an iterator is nothing else")
}

// Equal is true of no two iterators.
func (iterator) Equal(ref.Val) ref.Val { return celtypes.False }

// Type is that of iterators.
func (iterator) Type() ref.Type { return celtypes.IteratorType }

// Value is nothing.
func (iterator) Value() any { return nil }

// words goes over names.
type words struct {
	iterator
	rest []string
}

// HasNext tells whether there is more.
func (w *words) HasNext() ref.Val { return celtypes.Bool(len(w.rest) > 0) }

// Next gives a name.
func (w *words) Next() ref.Val {
	if len(w.rest) == 0 {
		return nil
	}
	word := w.rest[0]
	w.rest = w.rest[1:]
	return celtypes.String(word)
}

// found gives what Find gave, or the error that names the key.
func found(value ref.Val, ok bool) func(key ref.Val) ref.Val {
	return func(key ref.Val) ref.Val {
		if ok {
			return value
		}
		return celtypes.NewErr("no such key: %v", key)
	}
}

func same(v ref.Val, is *celtypes.Type, t ref.Type) ref.Val {
	switch t {
	case is:
		return v
	case celtypes.TypeType:
		return is
	}
	return celtypes.NewErr("a %s can't be made a %s", is.TypeName(), t.TypeName())
}

// sameMap: as many names, each with an equal value.
func sameMap(m traits.Mapper, other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return celtypes.False
	}
	for it := m.Iterator(); it.HasNext() == celtypes.True; {
		key := it.Next()
		mine, _ := m.Find(key)
		theirs, ok := o.Find(key)
		if !ok || celtypes.Equal(mine, theirs) != celtypes.True {
			return celtypes.False
		}
	}
	return celtypes.True
}

// sameList: as many elements, equal one by one.
func sameList(l traits.Lister, other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok || l.Size() != o.Size() {
		return celtypes.False
	}
	mine, theirs := l.Iterator(), o.Iterator()
	for mine.HasNext() == celtypes.True {
		if celtypes.Equal(mine.Next(), theirs.Next()) != celtypes.True {
			return celtypes.False
		}
	}
	return celtypes.True
}

func holds(l traits.Lister, value ref.Val) ref.Val {
	for it := l.Iterator(); it.HasNext() == celtypes.True; {
		if celtypes.Equal(it.Next(), value) == celtypes.True {
			return celtypes.True
		}
	}
	return celtypes.False
}

func joined(l traits.Lister, other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok {
		return celtypes.MaybeNoSuchOverloadErr(other)
	}
	var all []ref.Val
	for _, one := range []traits.Lister{l, o} {
		for it := one.Iterator(); it.HasNext() == celtypes.True; {
			all = append(all, it.Next())
		}
	}
	return celtypes.NewRefValList(celtypes.DefaultTypeAdapter, all)
}
