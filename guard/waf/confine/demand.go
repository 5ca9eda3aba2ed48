package confine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// operation of a demand
type op uint8

const (
	top    op = iota // any value
	bottom           // no value
	leaf             // what a schema demands
	and              // each of several demands
	or               // at least one of several demands
	tail             // not a value yet, but the beginning of a name that the contract leaves open: a value of a demand may follow
	named            // not a value yet, but the beginning of a declared name that holds dots
	given            // texts that are known
	items            // a list, whose items meet a demand
)

// demand is what is known of the values at a place: demands are numbers of a builder, equal ones have one number.
type demand int

// Numbers that every builder has.
const (
	anyValue demand = 0
	noValue  demand = 1
)

type node struct {
	op      op
	outline *openapi.Outline
	subs    []demand
	rest    string // named: what is still to come of the name
	texts   texts  // given
	sink    sink   // given
}

// builder makes demands.
type builder struct {
	outlines *outlines
	nodes    []node
	numbers  map[string]demand
	full     bool // too many: whatever is new is anyValue
	facets   map[demand]facets
	members  map[memberKey][2]demand
}

type memberKey struct {
	outline *openapi.Outline
	name    string
	fresh   bool
}

// mostNodes bounds what one operation may take.
const mostNodes = 100_000

func newBuilder() *builder {
	return &builder{outlines: newOutlines(), nodes: []node{{op: top}, {op: bottom}}, numbers: map[string]demand{},
		facets: map[demand]facets{}, members: map[memberKey][2]demand{}}
}

func (b *builder) number(key string, n node) demand {
	if d, ok := b.numbers[key]; ok {
		return d
	}
	if len(b.nodes) >= mostNodes {
		b.full = true
		return anyValue
	}
	d := demand(len(b.nodes))
	b.nodes = append(b.nodes, n)
	b.numbers[key] = d
	return d
}

func (b *builder) leaf(o *openapi.Outline) demand {
	switch {
	case o == nil:
		return anyValue
	case o.Never:
		return noValue
	}
	return b.number(fmt.Sprintf("leaf %p", o), node{op: leaf, outline: o})
}

func (b *builder) leaves(list []*openapi.Outline) []demand {
	out := make([]demand, len(list))
	for i, o := range list {
		out[i] = b.leaf(o)
	}
	return out
}

func (b *builder) and(list ...demand) demand { return b.several(and, list, anyValue, noValue) }
func (b *builder) or(list ...demand) demand  { return b.several(or, list, noValue, anyValue) }

// several joins demands: neutral ones are left out, and absorbing ones decide.
func (b *builder) several(o op, list []demand, neutral, absorbing demand) demand {
	var subs []demand
	for _, d := range list {
		switch {
		case d == absorbing:
			return absorbing
		case d == neutral:
		case b.nodes[d].op == o:
			subs = append(subs, b.nodes[d].subs...)
		default:
			subs = append(subs, d)
		}
	}
	slices.Sort(subs)
	subs = slices.Compact(subs)
	switch len(subs) {
	case 0:
		return neutral
	case 1:
		return subs[0]
	}
	return b.number(fmt.Sprint(o, subs), node{op: o, subs: subs})
}

func (b *builder) tail(d demand) demand {
	if d == noValue {
		return noValue
	}
	return b.number(fmt.Sprint("tail ", d), node{op: tail, subs: []demand{d}})
}

func (b *builder) items(d demand) demand {
	return b.number(fmt.Sprint("items ", d), node{op: items, subs: []demand{d}})
}

func (b *builder) named(rest string, d demand) demand {
	if d == noValue {
		return noValue
	}
	return b.number(fmt.Sprint("named ", d, " ", rest), node{op: named, subs: []demand{d}, rest: rest})
}

func (b *builder) given(t texts, s sink) demand {
	switch {
	case t.any && !s.said:
		return anyValue
	case t.isNone():
		return noValue
	}
	return b.number(fmt.Sprintf("given %v %v %x", t.any, s, fingerprint(t)), node{op: given, texts: t, sink: s})
}

// of gives the values that meet a demand.
func (b *builder) of(d demand) facets {
	if f, ok := b.facets[d]; ok {
		return f
	}
	n, f := b.nodes[d], facets{}
	switch n.op {
	case top:
		f = anything()
	case leaf:
		f = b.outlines.of(n.outline)
	case and:
		f = anything()
		for _, s := range n.subs {
			f = f.meet(b.of(s))
		}
	case or:
		for _, s := range n.subs {
			f = f.join(b.of(s))
		}
	case given:
		f.texts = n.texts
	case items:
		f.others = 1 << body.Array
	}
	b.facets[d] = f
	return f
}

// member gives what is demanded of a member of an object that meets a demand; fresh asks for one that nobody declares.
func (b *builder) member(d demand, name string, fresh bool) demand {
	n := b.nodes[d]
	switch n.op {
	case top:
		return anyValue
	case leaf:
		evaluated, not := b.evaluate(n.outline, name, fresh)
		return b.or(evaluated, not)
	case and, or:
		list := make([]demand, len(n.subs))
		for i, s := range n.subs {
			list[i] = b.member(s, name, fresh)
		}
		if n.op == and {
			return b.and(list...)
		}
		return b.or(list...)
	}
	return noValue
}

// holds tells that a schema itself lets values of a kind pass.
func holds(o *openapi.Outline, kind body.NodeKind) bool {
	if o.Never || !o.Kinds.Has(kind) {
		return false
	}
	return o.Values == nil || slices.ContainsFunc(o.Values, func(v any) bool {
		_, isObject := v.(map[string]any)
		_, isList := v.([]any)
		return kind == body.Object && isObject || kind == body.Array && isList
	})
}

// evaluate gives what is demanded of a member of an object, apart for the case that the schema or a part of it declares the
// member, and for the case that none does: unevaluatedProperties asks for the second.
func (b *builder) evaluate(o *openapi.Outline, name string, fresh bool) (evaluated, not demand) {
	key := memberKey{o, name, fresh}
	if known, ok := b.members[key]; ok {
		return known[0], known[1]
	}
	b.members[key] = [2]demand{anyValue, anyValue} // for a schema that contains itself
	evaluated, not = b.ownMember(o, name, fresh)
	if evaluated != noValue || not != noValue {
		for _, part := range o.All {
			e, n := b.evaluate(part, name, fresh)
			evaluated, not = b.or(b.and(evaluated, b.or(e, n)), b.and(not, e)), b.and(not, n)
		}
		if len(o.Any) > 0 {
			var es, ns []demand
			for _, part := range o.Any {
				e, n := b.evaluate(part, name, fresh)
				es, ns = append(es, e), append(ns, n)
			}
			e, n := b.or(es...), b.or(ns...)
			evaluated, not = b.or(b.and(evaluated, b.or(e, n)), b.and(not, e)), b.and(not, n)
		}
		if o.Loose {
			evaluated = b.or(evaluated, not)
		}
		if u := o.Object.Unevaluated; u != nil {
			evaluated, not = b.or(evaluated, b.and(not, b.leaf(u))), noValue
		}
	}
	b.members[key] = [2]demand{evaluated, not}
	return evaluated, not
}

func (b *builder) ownMember(o *openapi.Outline, name string, fresh bool) (evaluated, not demand) {
	if !holds(o, body.Object) {
		return noValue, noValue
	}
	if m, ok := o.Object.Members[name]; ok && !fresh {
		return b.leaf(m), noValue
	}
	byPattern := b.or(b.leaves(o.Object.ByPattern)...)
	if o.Object.Others != nil {
		return b.or(byPattern, b.leaf(o.Object.Others)), noValue
	}
	return byPattern, anyValue
}

// item gives what is demanded of an item of a list that meets a demand.
func (b *builder) item(d demand) demand {
	n := b.nodes[d]
	switch n.op {
	case top:
		return anyValue
	case leaf:
		return b.itemOf(n.outline, map[*openapi.Outline]bool{})
	case items:
		return n.subs[0]
	case and, or:
		list := make([]demand, len(n.subs))
		for i, s := range n.subs {
			list[i] = b.item(s)
		}
		if n.op == and {
			return b.and(list...)
		}
		return b.or(list...)
	}
	return noValue
}

func (b *builder) itemOf(o *openapi.Outline, reading map[*openapi.Outline]bool) demand {
	if reading[o] {
		return anyValue
	}
	reading[o] = true
	defer delete(reading, o)
	if !holds(o, body.Array) {
		return noValue
	}
	d := b.or(append(b.leaves(o.List.First), b.leaf(o.List.Items))...)
	for _, part := range o.All {
		d = b.and(d, b.itemOf(part, reading))
	}
	if len(o.Any) > 0 {
		var list []demand
		for _, part := range o.Any {
			list = append(list, b.itemOf(part, reading))
		}
		d = b.and(d, b.or(list...))
	}
	return d
}

// names gives the names of members that a demand's schemas declare.
func (b *builder) names(d demand) []string {
	found := map[string]bool{}
	b.addNames(d, found)
	return slices.Sorted(maps.Keys(found))
}

func (b *builder) addNames(d demand, found map[string]bool) {
	n := b.nodes[d]
	if n.op == leaf {
		addNames(n.outline, found, map[*openapi.Outline]bool{})
	}
	if n.op == and || n.op == or {
		for _, s := range n.subs {
			b.addNames(s, found)
		}
	}
}

func addNames(o *openapi.Outline, found map[string]bool, seen map[*openapi.Outline]bool) {
	if seen[o] {
		return
	}
	seen[o] = true
	for name := range o.Object.Members {
		found[name] = true
	}
	for _, part := range slices.Concat(o.All, o.Any) {
		addNames(part, found, seen)
	}
}

// step gives what may stand behind one more token of a key: a key is the names and positions on the way to a value, with
// dots between. Names may hold dots themselves, so that one key may be read in several ways; all are followed.
func (b *builder) step(d demand, token string, fresh bool) demand {
	n := b.nodes[d]
	switch n.op {
	case top:
		return anyValue
	case bottom, given:
		return noValue
	case tail:
		return b.or(n.subs[0], d)
	case named:
		before, rest, more := strings.Cut(n.rest, ".")
		switch {
		case fresh || before != token:
			return noValue
		case more:
			return b.named(rest, n.subs[0])
		}
		return n.subs[0]
	case or:
		list := make([]demand, len(n.subs))
		for i, s := range n.subs {
			list[i] = b.step(s, token, fresh)
		}
		return b.or(list...)
	}
	list := []demand{b.member(d, token, fresh)}
	if isIndex(token) {
		list = append(list, b.item(d))
	}
	if open := b.member(d, "", true); open != noValue {
		list = append(list, b.tail(open))
	}
	for _, name := range b.names(d) {
		if before, rest, more := strings.Cut(name, "."); more && before == token && !fresh {
			list = append(list, b.named(rest, b.member(d, name, false)))
		}
	}
	return b.or(list...)
}

// tokens gives the tokens behind a demand that are known.
func (b *builder) tokens(d demand, found map[string]bool) {
	n := b.nodes[d]
	switch n.op {
	case or:
		for _, s := range n.subs {
			b.tokens(s, found)
		}
	case named:
		before, _, _ := strings.Cut(n.rest, ".")
		found[before] = true
	default:
		for _, name := range b.names(d) {
			before, _, _ := strings.Cut(name, ".")
			found[before] = true
		}
	}
}

// isIndex tells that a token may be a position in a list.
func isIndex(token string) bool {
	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' {
			return false
		}
	}
	return token != ""
}
