package expression

import (
	"fmt"
	"reflect"

	celtypes "cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// few is how many members or elements are looked through; more are indexed when one is first looked for, so that an
// adversary's large object doesn't make each look a walk.
const few = 8

// tree is a JSON body as conditions see it: the nodes that every guard reads, nothing copied.
type tree struct {
	nodes   []body.Node
	members map[int32]map[string]int32 // of large objects
	starts  map[int32][]int32          // of large arrays
}

// at gives the value of a node.
func (t *tree) at(i int32) ref.Val {
	switch n := &t.nodes[i]; n.Kind {
	case body.False:
		return celtypes.False
	case body.True:
		return celtypes.True
	case body.Number:
		return number(n.Text)
	case body.String:
		return celtypes.String(n.Text)
	case body.Array:
		return array{t, i}
	case body.Object:
		return mapping{t, i}
	}
	return celtypes.NullValue
}

// member finds a member of an object.
func (t *tree) member(of int32, name string) (int32, bool) {
	n := &t.nodes[of]
	if n.Size > few {
		index := t.members[of]
		if index == nil {
			index = make(map[string]int32, n.Size)
			for i := of + 1; i < n.Next; i = t.nodes[i].Next {
				index[t.nodes[i].Name] = i
			}
			if t.members == nil {
				t.members = map[int32]map[string]int32{}
			}
			t.members[of] = index
		}
		i, ok := index[name]
		return i, ok
	}
	for i := of + 1; i < n.Next; i = t.nodes[i].Next {
		if t.nodes[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// element gives the place of an element of an array, which must be there.
func (t *tree) element(of, number int32) int32 {
	n := &t.nodes[of]
	if n.Size > few {
		starts := t.starts[of]
		if starts == nil {
			starts = make([]int32, 0, n.Size)
			for i := of + 1; i < n.Next; i = t.nodes[i].Next {
				starts = append(starts, i)
			}
			if t.starts == nil {
				t.starts = map[int32][]int32{}
			}
			t.starts[of] = starts
		}
		return starts[number]
	}
	i := of + 1
	for ; number > 0; number-- {
		i = t.nodes[i].Next
	}
	return i
}

// mapping is a JSON object: a map of CEL.
type mapping struct {
	in *tree
	i  int32
}

// Find gives a member.
func (o mapping) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(celtypes.String)
	if !ok {
		return nil, false // no other key is in a JSON object
	}
	i, ok := o.in.member(o.i, string(name))
	if !ok {
		return nil, false
	}
	return o.in.at(i), true
}

// Get gives a member or an error.
func (o mapping) Get(key ref.Val) ref.Val { return found(o.Find(key))(key) }

// Contains tells whether there is such a member.
func (o mapping) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return celtypes.Bool(ok)
}

// Size counts members.
func (o mapping) Size() ref.Val { return celtypes.Int(o.in.nodes[o.i].Size) }

// Iterator gives the names, in the order of the text.
func (o mapping) Iterator() traits.Iterator {
	return &steps{in: o.in, next: o.i + 1, end: o.in.nodes[o.i].Next, names: true}
}

// Equal compares with any other map.
func (o mapping) Equal(other ref.Val) ref.Val { return sameMap(o, other) }

// ConvertToType gives what stays a map.
func (o mapping) ConvertToType(t ref.Type) ref.Val { return same(o, celtypes.MapType, t) }

// ConvertToNative is asked for by nobody.
func (o mapping) ConvertToNative(t reflect.Type) (any, error) { return nil, notNative(t) }

// Type is that of maps.
func (o mapping) Type() ref.Type { return celtypes.MapType }

// Value is the value itself.
func (o mapping) Value() any { return o }

// array is a JSON array: a list of CEL.
type array struct {
	in *tree
	i  int32
}

// Get gives an element or an error.
func (l array) Get(index ref.Val) ref.Val {
	n, err := celtypes.GetOrError(index)
	if err != nil {
		return celtypes.ValOrErr(index, "%v", err)
	}
	if n < 0 || n >= int(l.in.nodes[l.i].Size) {
		return celtypes.NewErr("there is no element %d", n)
	}
	return l.in.at(l.in.element(l.i, int32(n)))
}

// Add joins two lists.
func (l array) Add(other ref.Val) ref.Val { return joined(l, other) }

// Contains looks for an equal element.
func (l array) Contains(value ref.Val) ref.Val { return holds(l, value) }

// Size counts elements.
func (l array) Size() ref.Val { return celtypes.Int(l.in.nodes[l.i].Size) }

// Iterator gives the elements in order.
func (l array) Iterator() traits.Iterator {
	return &steps{in: l.in, next: l.i + 1, end: l.in.nodes[l.i].Next}
}

// Equal compares with any other list.
func (l array) Equal(other ref.Val) ref.Val { return sameList(l, other) }

// ConvertToType gives what stays a list.
func (l array) ConvertToType(t ref.Type) ref.Val { return same(l, celtypes.ListType, t) }

// ConvertToNative is asked for by nobody.
func (l array) ConvertToNative(t reflect.Type) (any, error) { return nil, notNative(t) }

// Type is that of lists.
func (l array) Type() ref.Type { return celtypes.ListType }

// Value is the value itself.
func (l array) Value() any { return l }

// steps goes over what an object or an array holds.
type steps struct {
	iterator
	in        *tree
	next, end int32
	names     bool
}

// HasNext tells whether there is more.
func (s *steps) HasNext() ref.Val { return celtypes.Bool(s.next < s.end) }

// Next gives a name or an element.
func (s *steps) Next() ref.Val {
	if s.next >= s.end {
		return nil
	}
	i := s.next
	s.next = s.in.nodes[i].Next
	if s.names {
		return celtypes.String(s.in.nodes[i].Name)
	}
	return s.in.at(i)
}

func notNative(t reflect.Type) error { return fmt.Errorf("a part of a request has no form as %v", t) }
