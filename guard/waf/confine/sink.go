package confine

import (
	"regexp"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// kinds is a set of sinks, by the bit of each in openapi.Sinks.
type kinds uint8

// sink is what the contract says of where a text goes.
type sink struct {
	said  bool
	kinds kinds // of rules that look at it
}

func sinkOf(word string) sink {
	switch i := slices.Index(openapi.Sinks(), word); {
	case i < 0:
		return sink{}
	case word == "none":
		return sink{said: true}
	default:
		return sink{true, 1 << i}
	}
}

// also is what two sayings about the same value come to.
func (s sink) also(t sink) sink { return sink{s.said || t.said, s.kinds | t.kinds} }

// sink gives what is said of all texts that meet a demand: an alternative of which nothing is said takes it all back.
func (b *builder) sink(d demand) sink {
	n := b.nodes[d]
	switch n.op {
	case leaf:
		return b.sinkOf(n.outline, map[*openapi.Outline]bool{})
	case given:
		return n.sink
	case and:
		var s sink
		for _, sub := range n.subs {
			s = s.also(b.sink(sub))
		}
		return s
	case or:
		var list []sink
		for _, sub := range n.subs {
			if op := b.nodes[sub].op; op == named || op == tail || op == items || b.of(sub).texts.isNone() {
				continue // no text stands here by it
			}
			list = append(list, b.sink(sub))
		}
		return alternatives(list)
	}
	return sink{}
}

func alternatives(list []sink) sink {
	s := sink{said: len(list) > 0}
	for _, t := range list {
		if !t.said {
			return sink{}
		}
		s.kinds |= t.kinds
	}
	return s
}

func (b *builder) sinkOf(o *openapi.Outline, seen map[*openapi.Outline]bool) sink {
	if seen[o] {
		return sink{}
	}
	seen[o] = true
	defer delete(seen, o)
	s := sinkOf(o.Sink)
	for _, part := range o.All {
		s = s.also(b.sinkOf(part, seen))
	}
	var list []sink
	for _, part := range o.Any {
		if !b.outlines.of(part).texts.isNone() {
			list = append(list, b.sinkOf(part, seen))
		}
	}
	return s.also(alternatives(list))
}

// sinkAt gives what is said of a place whose value is written as a text.
func (b *builder) sinkAt(p openapi.Place, d demand) sink {
	list := []sink{}
	for _, part := range []demand{d, b.item(d)} {
		if part != noValue && !b.of(part).texts.isNone() {
			list = append(list, b.sink(part))
		}
	}
	return sinkOf(p.Sink).also(alternatives(list))
}

// tags are the tags of rules that look at a text of each sink. At what a shell or a template engine runs all of them look, since it
// may be anything; a URL may name a file, and a path may be included and then is code. Request smuggling and response splitting have the tags of CAPEC 33 and 34: they need a text that is
// written into the head of a message, as that of a URL is.
var tags = map[string][]string{
	"header": {smuggling, splitting},
	"html":   {"attack-xss"},
	"sql":    {"attack-sqli"},
	"shell":  {"attack-rce", "attack-injection-php", "attack-injection-java", "attack-injection-generic", "attack-ssti"},
	"path":   {"attack-lfi", "attack-rfi", "attack-injection-php"},
	"url":    {"attack-rfi", "attack-ssrf", "attack-lfi", smuggling, splitting},
}

const (
	smuggling = "capec/1000/210/272/220/33"
	splitting = "capec/1000/210/272/220/34"

	// markup is the core rule about <html and <meta. It is meant for what follows a head that was split, but a page is hurt by
	// them wherever they stand.
	markup = 921130
)

// readSinks sorts the rules by what they look for. A rule that looks for none of these kinds, such as those on the protocol,
// is never left out.
func (r *Rules) readSinks() {
	words := openapi.Sinks()
	for sum := range kinds(1 << len(words)) {
		m := r.newMask()
		for i, rule := range r.list {
			if k := kindsOf(rule); k != 0 && k&sum == 0 && r.tests[i].chain >= 0 {
				m.add(i)
			}
		}
		r.sinks[sum] = m
	}
}

func kindsOf(rule *secrule.Rule) (k kinds) {
	for i, word := range openapi.Sinks() {
		for _, tag := range tags[word] {
			if slices.ContainsFunc(rule.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) || word == "html" && rule.ID == markup {
				k |= 1 << i
			}
		}
	}
	if k != 0 {
		k |= sinkOf("shell").kinds
	}
	return k
}

// outside gives the rules that look only for what these sinks have no use for.
func (r *Rules) outside(k kinds) *Mask { return r.sinks[k] }

// Except tells that a rule and its chain are to leave out a value because the contract says that it goes elsewhere. This is
// policy: it changes verdicts, and is to be applied to the prefilter and to the engine alike. The variable is as rules name
// it.
func (s *Scope) Except(rule int, variable variables.RuleVariable, key string) bool {
	place, ok := s.rules.places[rule]
	return ok && rule != 0 && !isNames(variable) && s.sinkMask(variable, key).Has(place)
}

// sinkMask gives the rules that leave out a value. Where several values may have the key, all must leave it out.
func (s *Scope) sinkMask(variable variables.RuleVariable, key string) *Mask {
	var m *Mask
	found := false
	for _, base := range basesOf(variable) {
		switch at := s.at(base, key); {
		case at == nil:
		case !found:
			m, found = at.sinks, true
		default:
			m = s.rules.and(m, at.sinks)
		}
	}
	return m
}

// Inside gives the rules that leave out what lies under codings of a value, because the value goes where they have no business, and
// what is in it goes there too. Values of which the contract says the same have the same mask; it is nil where nothing is said, or
// where values of several variables may have the key and not the same is said of them. It holds for a request that is what its
// contract declares.
func (s *Scope) Inside(variable variables.RuleVariable, key string) *Mask {
	var m *Mask
	found := false
	for _, base := range basesOf(variable) {
		at := s.at(base, key)
		if at == nil {
			continue
		}
		if found && at.sinks != m {
			return nil
		}
		m, found = at.sinks, true
	}
	return m
}

// Numbers are those of the rules in a mask.
func (s *Scope) Numbers(m *Mask) []int {
	var list []int
	for i, rule := range s.rules.list {
		if m.Has(i) && rule.ID != 0 {
			list = append(list, rule.ID)
		}
	}
	return list
}

// Remover is a transaction of the engine.
type Remover interface {
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// Values are what the rules read of a request; a view.View is that.
type Values interface {
	Of(variables.RuleVariable) []view.Pair
}

// Apply tells the engine what Except says, for the values of one request. The engine does not tell letters of keys apart, so
// a value is left out only if every value whose key differs in no more than that is left out too.
func (s *Scope) Apply(tx Remover, v Values) {
	for _, variable := range []variables.RuleVariable{variables.Args, variables.ArgsGet, variables.ArgsPost, variables.ArgsPath, variables.RequestCookies, variables.RequestHeaders} {
		masks := map[string]*Mask{}
		for _, p := range v.Of(variable) {
			low, m := strings.ToLower(p.Key), s.sinkMask(variable, p.Key)
			if before, twice := masks[low]; twice {
				m = s.rules.and(before, m)
			}
			masks[low] = m
		}
		for key, m := range masks {
			if m.Len() > 0 {
				s.remove(tx, m, variable, key)
			}
		}
	}
}

// noName is the empty name, which the engine takes for every name where it is not an expression.
var noName = regexp.MustCompile(`\A\z`)

func (s *Scope) remove(tx Remover, m *Mask, variable variables.RuleVariable, key string) {
	var expression *regexp.Regexp
	if key == "" {
		expression = noName
	}
	for i, rule := range s.rules.list {
		if m.Has(i) && (names(rule, variable) || slices.ContainsFunc(rule.Links, func(x *secrule.Rule) bool { return names(x, variable) })) {
			tx.RemoveRuleTargetByID(rule.ID, variable, key, expression)
		}
	}
}

// names tells that a rule or link reads a variable by its own name.
func names(x *secrule.Rule, variable variables.RuleVariable) bool {
	return slices.ContainsFunc(x.Targets, func(t secrule.Target) bool { return t.Variable == variable })
}
