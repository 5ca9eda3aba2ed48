package openapi

import (
	"regexp"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// sure is a schema in a form that can say of most valid values, at a twentieth of the library's cost, that they are valid.
// It never says that a value is not: then, and whenever a schema has a keyword or a value a form that it doesn't know, the
// library decides and says why. So it can be wrong in one direction only, which FuzzSure and TestSureSuite look for.
//
// It is made of the very document that the library compiles, so that both have read the same contract.
type sure struct {
	never  bool  // nothing is known of any value
	types  uint8 // a bit for each body.NodeKind
	whole  bool  // a number must be an integer
	enum   *sureEnum
	format func(any) error
	text   *sureText
	number *sureNumber
	list   *sureList
	object *sureObject
	parts  sureParts
}

// sureParts are schemas for the same value.
type sureParts struct {
	all, any, one []*sure
	unevaluated   *sure // for members that no part has looked at
}

type sureEnum struct {
	kinds   uint8 // of null, true and false that are listed
	texts   []string
	numbers []decimal
}

type sureText struct {
	min, max int // characters
	pattern  *regexp.Regexp
}

type sureNumber struct {
	low, high    *decimal // inclusive
	above, below *decimal // exclusive
	multiple     int64    // of which the value times 10^digits is a multiple; 0 for none
	digits       int
}

type sureList struct {
	min, max int
	first    []*sure // prefixItems
	items    *sure   // nil admits anything
	unique   bool
}

type sureObject struct {
	min, max   int
	properties []sureProperty
	numbers    map[string]int // of properties, when there are many
	patterns   []surePattern
	additional *sure // nil when nothing is said
	required   uint64
}

type sureProperty struct {
	name   string
	schema *sure  // nil when it is required and not declared
	bit    uint64 // its place in required, 0 when it may be left out
}

type surePattern struct {
	name   *regexp.Regexp
	schema *sure
}

const (
	manyProperties = 8       // from where on a map is faster than a look at each
	sureSteps      = 64      // for each node of a body, before the library is left to decide
	sureMost       = 500_000 // for the whole body: some milliseconds
)

// sureJudge is one body being judged.
type sureJudge struct {
	nodes []body.Node
	left  int // steps
}

// isSure tells that a value is valid for certain. False says nothing.
func (s *sure) isSure(nodes []body.Node) bool {
	if s == nil || s.never || len(nodes) == 0 {
		return false
	}
	for i := range nodes {
		if nodes[i].Kind == body.Number && !isJSONNumber(nodes[i].Text) {
			return false
		}
	}
	j := sureJudge{nodes: nodes, left: min(sureSteps*len(nodes)+1000, sureMost)}
	return j.holds(s, 0, nil)
}

// holds judges the value at a node. The members that a schema has looked at are marked in seen, when somebody around asks.
// There is room for 64: what comes later counts as not looked at.
func (j *sureJudge) holds(s *sure, at int, seen *uint64) bool {
	if j.left--; s.never || j.left < 0 {
		return false
	}
	n := &j.nodes[at]
	if s.types != 0 && s.types&(1<<n.Kind) == 0 || s.enum != nil && !s.enum.has(n) {
		return false
	}
	var own uint64
	mine := seen
	if s.parts.unevaluated != nil && n.Kind == body.Object {
		mine = &own
	}
	if !j.own(s, at, mine) || !j.parts(&s.parts, at, mine) {
		return false
	}
	if mine == &own {
		if seen != nil {
			*seen = ^uint64(0)
		}
		return j.rest(s.parts.unevaluated, at, own)
	}
	return true
}

// own judges by the schema's own keywords for a kind of value.
func (j *sureJudge) own(s *sure, at int, seen *uint64) bool {
	n := &j.nodes[at]
	switch n.Kind {
	case body.String:
		return (s.text == nil || s.text.holds(n.Text)) && (s.format == nil || s.format(n.Text) == nil)
	case body.Number:
		return s.holdsNumber(n.Text)
	case body.Array:
		return s.list == nil || j.list(s.list, at)
	case body.Object:
		return s.object == nil || j.object(s.object, at, seen)
	}
	return true
}

func (j *sureJudge) parts(p *sureParts, at int, seen *uint64) bool {
	for _, s := range p.all {
		if !j.holds(s, at, seen) {
			return false
		}
	}
	if len(p.any) > 0 && !j.some(p.any, at, seen) {
		return false
	}
	return len(p.one) == 0 || j.exactly(p.one, at, seen)
}

// some finds one alternative that holds. The library may find more, which can only mark more members.
func (j *sureJudge) some(alternatives []*sure, at int, seen *uint64) bool {
	for _, s := range alternatives {
		var marks uint64
		if j.holds(s, at, &marks) {
			if seen != nil {
				*seen |= marks
			}
			return true
		}
	}
	return false
}

// exactly finds the one alternative that is not refuted, and that one holds.
func (j *sureJudge) exactly(alternatives []*sure, at int, seen *uint64) bool {
	var left *sure
	for _, s := range alternatives {
		if j.refutes(s, at) {
			continue
		}
		if left != nil {
			return false
		}
		left = s
	}
	return left != nil && j.holds(left, at, seen)
}

// rest judges the members that nobody has looked at.
func (j *sureJudge) rest(s *sure, at int, seen uint64) bool {
	for i := at + 1; i < int(j.nodes[at].Next); i = int(j.nodes[i].Next) {
		if seen&1 == 0 && !j.holds(s, i, nil) {
			return false
		}
		seen >>= 1
	}
	return true
}

func (j *sureJudge) list(l *sureList, at int) bool {
	n := &j.nodes[at]
	if int(n.Size) < l.min || int(n.Size) > l.max || l.unique && !j.distinct(at) {
		return false
	}
	place := 0
	for i := at + 1; i < int(n.Next); i = int(j.nodes[i].Next) {
		s := l.items
		if place < len(l.first) {
			s = l.first[place]
		}
		if s != nil && !j.holds(s, i, nil) {
			return false
		}
		place++
	}
	return true
}

// distinct tells that the elements are texts, each once.
func (j *sureJudge) distinct(at int) bool {
	n := &j.nodes[at]
	known := make(map[string]struct{}, n.Size)
	for i := at + 1; i < int(n.Next); i = int(j.nodes[i].Next) {
		if j.nodes[i].Kind != body.String {
			return n.Size == 1
		}
		known[j.nodes[i].Text] = struct{}{}
	}
	return len(known) == int(n.Size)
}

func (j *sureJudge) object(o *sureObject, at int, seen *uint64) bool {
	n := &j.nodes[at]
	if int(n.Size) < o.min || int(n.Size) > o.max {
		return false
	}
	var found uint64
	mark := uint64(1)
	for i := at + 1; i < int(n.Next); i = int(j.nodes[i].Next) {
		looked := false
		if p := o.property(j.nodes[i].Name); p >= 0 {
			found |= o.properties[p].bit
			if s := o.properties[p].schema; s != nil {
				if looked = true; !j.holds(s, i, nil) {
					return false
				}
			}
		}
		for _, p := range o.patterns {
			if p.name.MatchString(j.nodes[i].Name) {
				if looked = true; !j.holds(p.schema, i, nil) {
					return false
				}
			}
		}
		if !looked && o.additional != nil {
			if looked = true; !j.holds(o.additional, i, nil) {
				return false
			}
		}
		if looked && seen != nil {
			*seen |= mark
		}
		mark <<= 1
	}
	return found == o.required
}

// property gives the number of a property, -1 when there is none of this name.
func (o *sureObject) property(name string) int {
	if o.numbers != nil {
		if i, ok := o.numbers[name]; ok {
			return i
		}
		return -1
	}
	for i := range o.properties {
		if o.properties[i].name == name {
			return i
		}
	}
	return -1
}

// refutes tells that a value is certainly not valid, by what tells alternatives apart: a type, a listed value, a property
// that must be there. False says nothing.
func (j *sureJudge) refutes(s *sure, at int) bool {
	if j.left--; j.left < 0 {
		return false
	}
	n := &j.nodes[at]
	if s.types != 0 && s.types&(1<<n.Kind) == 0 || s.enum != nil && n.Kind != body.Number && n.Kind < body.Array && !s.enum.has(n) {
		return true
	}
	if s.object != nil && n.Kind == body.Object && j.refutesMembers(s.object, at) {
		return true
	}
	for _, part := range s.parts.all {
		if j.refutes(part, at) {
			return true
		}
	}
	return j.refutesEach(s.parts.any, at) || j.refutesEach(s.parts.one, at)
}

func (j *sureJudge) refutesEach(alternatives []*sure, at int) bool {
	for _, s := range alternatives {
		if !j.refutes(s, at) {
			return false
		}
	}
	return len(alternatives) > 0
}

func (j *sureJudge) refutesMembers(o *sureObject, at int) bool {
	var found uint64
	for i := at + 1; i < int(j.nodes[at].Next); i = int(j.nodes[i].Next) {
		p := o.property(j.nodes[i].Name)
		if p < 0 {
			continue
		}
		found |= o.properties[p].bit
		if s := o.properties[p].schema; s != nil && j.refutes(s, i) {
			return true
		}
	}
	return found != o.required
}
