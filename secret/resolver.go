package secret

import (
	"context"
	"reflect"
	"sync"
)

// Resolver serves packages that ask by reference, each time they need a value: a pool that shows its certificate for every
// new connection. The first question for a reference resolves and follows it, within the load that ctx stands for; every
// later one gives the current value without waiting for anybody.
func (k *Keeper) Resolver(ctx context.Context, reader string) func(Ref) (Value, error) {
	var mu sync.RWMutex
	lives := map[Ref]*Live{}
	return func(ref Ref) (Value, error) {
		mu.RLock()
		l := lives[ref]
		mu.RUnlock()
		if l == nil {
			var err error
			if l, err = k.Live(ctx, ref, reader); err != nil {
				return Value{}, err
			}
			mu.Lock()
			lives[ref] = l
			mu.Unlock()
		}
		return l.Value()
	}
}

// Refs gives every reference that stands in configurations, each once, in the order in which they stand: what Keep wants to
// know of a document, whether or not a part of it was built anew. It looks into exported fields, lists, mappings and pointers.
func Refs(configurations ...any) []Ref {
	var all []Ref
	seen := map[Ref]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if !v.IsValid() {
			return
		}
		if v.Type() == reflect.TypeFor[Ref]() {
			if r := v.Interface().(Ref); !r.IsZero() && !seen[r] {
				seen[r] = true
				all = append(all, r)
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			walk(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for entry := v.MapRange(); entry.Next(); {
				walk(entry.Value())
			}
		}
	}
	for _, c := range configurations {
		walk(reflect.ValueOf(c))
	}
	return all
}
