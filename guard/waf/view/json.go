package view

import (
	"slices"
	"strconv"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// The names of JSON values repeat the whole path for each leaf. The engine lets names and values together grow to so many
// times the body, and to so much in any case.
const (
	growth = 8
	ground = 4096
)

// flattener writes a JSON value as the engine has it: each leaf under its path, json.a.0.b; each array that is not empty
// as its length, after what it holds; null as "". All paths are written into one buffer, which becomes one string.
type flattener struct {
	nodes  []body.Node
	path   []byte // of the value that is read
	paths  []byte // of all values so far, without anything between
	ends   []int  // where each path ends in paths
	pairs  []Pair // the values, still without their paths, behind those that were there before
	leaves int
	arrays int
	left   int // bytes that paths and texts may still take
	fault  string
}

func (f *flattener) reset() {
	if cap(f.paths) > 64*keep || cap(f.ends) > keep {
		*f = flattener{}
		return
	}
	*f = flattener{path: f.path[:0], paths: f.paths[:0], ends: f.ends[:0]}
}

// fillJSON stops where the engine stops: at the argument limit, or when the paths outgrow the body.
func (v *View) fillJSON(tree *body.Tree) {
	if len(tree.Nodes) == 0 {
		return
	}
	f := &v.json
	f.nodes, f.pairs, f.left = tree.Nodes, v.args.pairs, max(growth*len(tree.Raw), ground)
	f.path = append(f.path[:0], "json"...)
	cut := false
	if kind := f.nodes[0].Kind; kind == body.Array || kind == body.Object {
		cut = f.container(0, mostDepth)
	} else { // a value alone is read as an array of one
		f.path = append(f.path, ".0"...)
		f.leaf(&f.nodes[0])
		f.path = f.path[:len("json")]
		f.length(1)
	}
	if cut {
		v.overflow()
	}
	if f.fault != "" {
		v.tooMany = true
		v.fail(f.fault)
	}
	v.args.pairs = f.pairs
	paths, begin := string(f.paths), 0
	v.args.names = slices.Grow(v.args.names, len(f.ends))
	for i, end := range f.ends {
		name := paths[begin:end]
		f.pairs[v.args.post+i].Key = name
		v.args.names = append(v.args.names, Pair{name, name})
		begin = end
	}
}

// container reads what an array or object holds; room is how many more levels there may be. It tells whether something
// was left out because of the argument limit.
func (f *flattener) container(at, room int) (cut bool) {
	n := &f.nodes[at]
	if room == 0 {
		f.fault = "nested too deep"
		return false
	}
	size, index := len(f.path), 0
	for i := at + 1; i < int(n.Next); i = int(f.nodes[i].Next) {
		if f.leaves >= mostArguments {
			cut = true
			break
		}
		child := &f.nodes[i]
		f.path = append(f.path, '.')
		if n.Kind == body.Array {
			f.path = strconv.AppendInt(f.path, int64(index), 10)
			index++
		} else {
			f.path = append(f.path, child.Name...)
		}
		if child.Kind == body.Array || child.Kind == body.Object {
			cut = f.container(i, room-1) || cut
		} else {
			f.leaf(child)
		}
		if f.fault != "" {
			return cut
		}
		f.path = f.path[:size]
	}
	if index == 0 || cut {
		return cut
	}
	if f.arrays >= mostArguments {
		return true
	}
	f.length(index)
	return false
}

func (f *flattener) leaf(n *body.Node) {
	text := n.Text
	switch n.Kind {
	case body.True:
		text = "true"
	case body.False:
		text = "false"
	}
	f.put(text)
	f.leaves++
}

// length writes an array as how many elements it has.
func (f *flattener) length(n int) {
	f.put(strconv.Itoa(n))
	f.arrays++
}

func (f *flattener) put(text string) {
	if f.left -= len(f.path) + len(text); f.left < 0 {
		f.fault = "the names of its values outgrow the body"
		return
	}
	f.paths = append(f.paths, f.path...)
	f.ends = append(f.ends, len(f.paths))
	f.pairs = append(f.pairs, Pair{Text: text})
}
