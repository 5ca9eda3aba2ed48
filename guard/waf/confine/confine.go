// Package confine knows which rules can't match which values of a request, because the contract says what the values look
// like. A number holds no tag, a UUID no quotation mark, a word of a list is none of those that the rules look for: to
// inspect such values costs time and finds nothing but false alarms.
//
// Nothing is taken on trust. A value is confined by the judgement of our own validator (kit/openapi), which runs on every
// request before the rules, on the same bytes that the rules read and that are sent on. What it lets pass is worked out from
// the compiled form of the schema: of a pattern from the program that the regexp package runs, over every way through it, so
// that one without anchors, with an alternative that lacks one, or with a class that takes any byte confines nothing; of a
// format from the grammar of our own judge; over every alternative by which a value may be accepted. What comes out is a set
// of texts that is never smaller than the real one: a list, or which bytes may stand where. The transformations of a rule are
// followed on that set, and the rule is passed over only if its necessary condition (package literal) can't be met in what
// comes out, or if the engine's own operator says no to each text of a list.
//
// The second thing here is policy and no proof: a contract may say where a free text goes (x-gatehouse-sink), and then rules
// against other kinds of injection are left out for it.
package confine

import (
	"fmt"
	"net/textproto"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// Scope is what is known of the values of one operation. It never changes; many goroutines may use it.
type Scope struct {
	rules  *Rules
	keys   map[variables.RuleVariable]*keys // of ARGS_GET, ARGS_PATH, ARGS_POST, REQUEST_HEADERS, REQUEST_COOKIES
	fields []Field
}

// places says in which variables the values of a place stand.
var places = map[string][]variables.RuleVariable{
	"path": {variables.ArgsPath}, "query": {variables.ArgsGet}, "header": {variables.ArgsGet, variables.RequestHeaders}, "cookie": {variables.RequestCookies},
	"json": {variables.ArgsPost}, "form": {variables.ArgsPost}, "text": {variables.ArgsPost}, "xml": {variables.ArgsPost},
}

// New derives the scope of an operation. An operation without a contract, nil, has one that knows nothing.
func New(op *openapi.Operation, rules *Rules) (*Scope, error) {
	if rules == nil {
		return nil, fmt.Errorf("no rules to derive a scope for")
	}
	s := &Scope{rules: rules, keys: map[variables.RuleVariable]*keys{}}
	if op == nil {
		return s, nil
	}
	b := newBuilder()
	roots := map[variables.RuleVariable][]demand{}
	for _, p := range op.Places() {
		d := b.valueOf(p)
		for _, v := range places[p.In] {
			roots[v] = append(roots[v], b.key(p, v, d))
		}
		s.tell(b, p, d)
	}
	for v, list := range roots {
		k := b.build(b.or(list...))
		s.keys[v] = k
		s.settle(b, k)
	}
	return s, nil
}

// settle asks which rules can't match what is known of each state.
func (s *Scope) settle(b *builder, k *keys) {
	seen, waiting := map[*state]bool{nil: true}, []*state{k.start}
	for len(waiting) > 0 {
		at := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		at.values, at.plain = s.rules.mask(at.texts), s.rules.mask(at.plains)
		if at != k.start {
			at.called = s.rules.nameMask(at.names)
		}
		if sink := b.sink(at.demand); sink.said {
			at.sinks = s.rules.outside(sink.kinds)
		}
		for _, n := range at.next {
			waiting = append(waiting, n)
		}
		waiting = append(waiting, at.index, at.other)
	}
}

// Find gives the rules whose first test can't match the value with that key and text, and those that can't match the key
// itself, by their places in the list that NewRules was given. The variable is one that holds values: ARGS_GET, ARGS_POST,
// ARGS_PATH, REQUEST_COOKIES or REQUEST_HEADERS. Both are nil when nothing is known. It is for values that the validator
// judged, and so for none that were decoded out of one, and it says nothing of the links of a chain.
//
// The text is asked for one thing only: most integers are written plainly, but JSON may write 1e2, and then more rules look.
func (s *Scope) Find(variable variables.RuleVariable, key, text string) (values, names *Mask) {
	at := s.at(variable, key)
	switch {
	case at == nil:
		return nil, nil
	case isPlain(text):
		return at.plain, at.called
	}
	return at.values, at.called
}

// isPlain tells that a text is an integer in its plain form.
func isPlain(text string) bool {
	if text != "" && text[0] == '-' {
		text = text[1:]
	}
	return isIndex(text) && len(text) <= mostDigits
}

func (s *Scope) at(variable variables.RuleVariable, key string) *state {
	k := s.keys[variable]
	if k == nil {
		return nil
	}
	return k.at(key)
}

// Skips tells that the first test of a rule can't match the value with that key, exactly as the view spells it, whatever
// its text is. The rule is given by its number, the variable as rules name it: ARGS holds for its parts.
func (s *Scope) Skips(rule int, variable variables.RuleVariable, key string) bool {
	place, ok := s.rules.places[rule]
	if !ok || rule == 0 {
		return false
	}
	values, names := s.joined(variable, key)
	if isNames(variable) {
		return names.Has(place)
	}
	return values.Has(place)
}

// joined is Find, of any text, for every variable that rules name, also those that join others: ARGS and the names of each.
func (s *Scope) joined(variable variables.RuleVariable, key string) (values, names *Mask) {
	found := false
	for _, base := range basesOf(variable) {
		at := s.at(base, key)
		if at == nil {
			continue
		}
		if !found {
			values, names, found = at.values, at.called, true
			continue
		}
		values, names = s.rules.and(values, at.values), s.rules.and(names, at.called)
	}
	return values, names
}

func isNames(v variables.RuleVariable) bool {
	switch v {
	case variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames, variables.RequestCookiesNames, variables.RequestHeadersNames:
		return true
	}
	return false
}

// basesOf gives the variables in which the values of a variable stand.
func basesOf(v variables.RuleVariable) []variables.RuleVariable {
	switch v {
	case variables.Args, variables.ArgsNames:
		return []variables.RuleVariable{variables.ArgsGet, variables.ArgsPath, variables.ArgsPost}
	case variables.ArgsGetNames:
		return []variables.RuleVariable{variables.ArgsGet}
	case variables.ArgsPostNames:
		return []variables.RuleVariable{variables.ArgsPost}
	case variables.RequestCookiesNames:
		return []variables.RuleVariable{variables.RequestCookies}
	case variables.RequestHeadersNames:
		return []variables.RuleVariable{variables.RequestHeaders}
	}
	return []variables.RuleVariable{v}
}

// key gives the demand of all keys that the values of a place have in a variable.
func (b *builder) key(p openapi.Place, v variables.RuleVariable, d demand) demand {
	switch {
	case v == variables.RequestHeaders:
		return b.named(textproto.CanonicalMIMEHeaderKey(p.Name), d)
	case p.Rest:
		return b.tail(d)
	case p.In == "json":
		if f := b.of(d); !f.texts.isNone() || !f.numbers.isNone() || f.others&^containers != 0 {
			d = b.or(d, b.items(d)) // a value alone is read as a list of one
		}
		return b.named("json", d)
	}
	return b.named(p.Name, d)
}

// isSpecial tells of header fields that rules look at in particular, or that the view writes anew: they are always inspected.
func isSpecial(name string) bool {
	switch name {
	case "Referer", "User-Agent", "Cookie", "Host", "Content-Length", "Content-Encoding", "Transfer-Encoding":
		return true
	}
	return false
}

// valueOf gives what is demanded of the values of a place.
func (b *builder) valueOf(p openapi.Place) demand {
	d := b.leaf(p.Value)
	if p.Writing == openapi.Unknown || p.Value == nil || p.In == "header" && isSpecial(textproto.CanonicalMIMEHeaderKey(p.Name)) {
		return anyValue
	}
	for i, name := range p.Member {
		last := p.Rest && i == len(p.Member)-1
		d = b.member(d, name, last)
	}
	if d == noValue || p.Writing == openapi.Tree {
		return d
	}
	return b.given(b.textsAt(p, d), b.sinkAt(p, d))
}

// textsAt gives the texts that stand at a place of which the value is written as a text.
func (b *builder) textsAt(p openapi.Place, d demand) texts {
	of := func(d demand) texts {
		f := b.of(d)
		f.others &^= containers
		if p.Integers {
			f.numbers = f.plain
		}
		return f.all()
	}
	t := of(d)
	if item := b.item(d); item != noValue && p.Writing != openapi.Whole {
		t = join(t, of(item))
		if p.Writing == openapi.Joined {
			separators := p.Separator
			if p.In == "header" {
				separators += " \t"
			}
			t = texts{any: t.any, parts: t.made()}
			t = repeated(t, separators)
		}
	}
	if p.In == "header" {
		t = repeated(t, " \t") // what is around the value is not judged
	}
	if t.isList() { // an empty text may be no value at all
		t = join(t, listed(""))
	}
	return t
}
