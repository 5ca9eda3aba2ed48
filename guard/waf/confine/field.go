package confine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// Field is one place of values, and what the rules do with it.
type Field struct {
	In      string // path, query, header, cookie, json, form, text or xml
	Name    string // of the parameter or field, or the way to it in JSON: items.*.sku; * for a position or a name that is open
	Why     string // what its values look like
	Sink    string // what the contract says of where it goes: the kinds of rules that look at it, "" for all
	Pointer string // of the schema or parameter in the contract
	values  *Mask
	plain   *Mask
	sinks   *Mask
}

// Inspection is how a field is inspected under a paranoia level.
type Inspection struct {
	Rules int // how many rules look at its value, if it is no number that is written as 1e2 or 1.0
	Odd   int // how many look at such a number
	Of    int // how many would without a contract
}

// String says it in words.
func (i Inspection) String() string {
	said := fmt.Sprintf("inspected by %d of %d rules", i.Rules, i.Of)
	switch i.Rules {
	case 0:
		said = "not inspected"
	case i.Of:
		said = "inspected by all rules"
	}
	if i.Odd > i.Rules {
		said += fmt.Sprintf(" (by %d where a number is written as 1e2)", i.Odd)
	}
	return said
}

// mostFields bounds what is told of one operation; a schema that contains itself has no end.
const (
	mostFields = 2_000
	mostDepth  = 12
)

// Fields tells of all places that the contract knows, for gatehouse check. What the contract leaves open is always inspected
// and not told here.
func (s *Scope) Fields() []Field { return slices.Clone(s.fields) }

// Inspection tells how many rules of a paranoia level look at a field.
func (s *Scope) Inspection(f Field, paranoia int) (i Inspection) {
	bases := places[f.In]
	for place, rule := range s.rules.list {
		if s.rules.tests[place].chain < 0 || levelOf(rule) > paranoia || !reads(rule, bases) {
			continue
		}
		i.Of++
		if f.sinks.Has(place) {
			continue
		}
		if !f.values.Has(place) {
			i.Odd++
		}
		if !f.plain.Has(place) {
			i.Rules++
		}
	}
	return i
}

// levelOf is the paranoia level from which on a rule is asked.
func levelOf(rule *secrule.Rule) int {
	for _, tag := range rule.Tags {
		if level, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			if n, err := strconv.Atoi(level); err == nil {
				return n
			}
		}
	}
	return 1
}

// reads tells that a rule looks at all values of one of the variables.
func reads(rule *secrule.Rule, bases []variables.RuleVariable) bool {
	return slices.ContainsFunc(rule.Targets, func(t secrule.Target) bool {
		return !t.Count && t.Key == "" && t.KeyPattern == nil && !isNames(t.Variable) &&
			slices.ContainsFunc(basesOf(t.Variable), func(v variables.RuleVariable) bool { return slices.Contains(bases, v) })
	})
}

// tell adds the fields of a place.
func (s *Scope) tell(b *builder, p openapi.Place, d demand) {
	f := Field{In: p.In, Name: p.Name, Pointer: p.Pointer}
	if p.Rest {
		f.Name = "*"
	}
	if p.Rest && d == noValue {
		return
	}
	if p.Writing == openapi.Tree {
		f.Name = ""
		s.tellTree(b, f, d, map[demand]bool{})
		return
	}
	s.add(b, f, d)
}

// tellTree adds what stands in a JSON value.
func (s *Scope) tellTree(b *builder, f Field, d demand, above map[demand]bool) {
	if len(s.fields) >= mostFields || len(above) > mostDepth || above[d] {
		return
	}
	above[d] = true
	defer delete(above, d)
	v := b.of(d)
	hasItems, inner := v.has(body.Array) && b.item(d) != noValue, b.names(d)
	if v.others&^containers != 0 || !v.texts.isNone() || !v.numbers.isNone() {
		s.add(b, f, d)
	}
	if d == anyValue {
		return
	}
	below := func(name string, d demand) {
		if d == noValue {
			return
		}
		g := f
		g.Name = strings.TrimPrefix(f.Name+"."+name, ".")
		g.Pointer = cmp.Or(b.pointer(d), f.Pointer)
		s.tellTree(b, g, d, above)
	}
	if v.has(body.Object) {
		for _, name := range inner {
			below(name, b.member(d, name, false))
		}
		below("*", b.member(d, "", true))
	}
	if hasItems {
		below("*", b.item(d))
	}
}

// pointer gives the place of a demand's schema in the contract.
func (b *builder) pointer(d demand) string {
	n := b.nodes[d]
	if n.op == leaf {
		return n.outline.Pointer
	}
	for _, s := range n.subs {
		if p := b.pointer(s); p != "" {
			return p
		}
	}
	return ""
}

func (s *Scope) add(b *builder, f Field, d demand) {
	v := b.of(d)
	v.others &^= containers
	f.values, f.Why = s.rules.mask(v.all()), why(v)
	v.numbers = v.plain
	f.plain = s.rules.mask(v.all())
	if sink := b.sink(d); sink.said {
		f.sinks, f.Sink = s.rules.outside(sink.kinds), sink.words()
	}
	s.fields = append(s.fields, f)
}

func (s sink) words() string {
	var list []string
	for i, word := range openapi.Sinks() {
		if s.kinds&(1<<i) != 0 {
			list = append(list, word)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// why says what values look like.
func why(f facets) string {
	var list []string
	switch {
	case f.texts.any:
		return "free text"
	case f.texts.isNone():
	case f.texts.isList():
		list = append(list, fmt.Sprintf("one of %d texts", len(f.texts.list)))
	case f.texts.parts.bytes == everything().bytes:
		list = append(list, fmt.Sprintf("free text of at most %d bytes", f.texts.parts.most))
	default:
		w := "text " + f.texts.words()
		if f.texts.parts.most < unbounded {
			w += fmt.Sprintf(", at most %d bytes", f.texts.parts.most)
		}
		list = append(list, w)
	}
	if !f.numbers.isNone() {
		list = append(list, "number")
	}
	if f.has(body.True) || f.has(body.False) {
		list = append(list, "boolean")
	}
	if f.has(body.Null) {
		list = append(list, "null")
	}
	return strings.Join(list, " or ")
}
