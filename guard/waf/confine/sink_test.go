package confine_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

const sinks = `openapi: 3.1.0
info: {title: t, version: "1"}
paths:
  /a:
    post:
      security: []
      parameters:
        - {name: page, in: query, x-gatehouse-sink: html, schema: {type: string}}
        - {name: tag, in: query, schema: {type: array, items: {type: string, x-gatehouse-sink: none}}}
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties:
                query: {type: string, x-gatehouse-sink: sql}
                either: {oneOf: [{type: string, x-gatehouse-sink: sql, maxLength: 5}, {type: string, minLength: 6}]}
                both: {allOf: [{type: string, x-gatehouse-sink: sql}, {type: string, x-gatehouse-sink: shell}]}
                number: {type: [integer, string], x-gatehouse-sink: none}
                subject: {allOf: [{type: string, x-gatehouse-sink: html}, {type: string, x-gatehouse-sink: header}]}
                link: {type: string, x-gatehouse-sink: url}
                ref: {$ref: '#/components/schemas/Text', x-gatehouse-sink: path}
              patternProperties: {"^(?i:query)$": {type: string}}
      responses: {"200": {description: x}}
components:
  schemas:
    Text: {type: string}
`

// TestSinks: a text with a declared sink is looked at by the rules of that kind and by those on the protocol.
func TestSinks(t *testing.T) {
	w := the(t)
	s := w.scope(t, load(t, strings.Replace(sinks, `              patternProperties: {"^(?i:query)$": {type: string}}`+"\n", "", 1)).Operations[0])
	const sqli, xss, rce, lfi, smuggled, split, meta, nul = 942100, 941100, 932230, 930120, 921110, 921120, 921130, 920270
	for _, x := range []struct {
		variable variables.RuleVariable
		key      string
		out      []int
	}{
		{variables.ArgsGet, "page", []int{sqli, rce, lfi, smuggled, split}},
		{variables.Args, "page", []int{sqli, rce, lfi, smuggled, split}},
		{variables.ArgsGet, "tag", []int{sqli, xss, rce, lfi, smuggled, split, meta}},
		{variables.Args, "json.query", []int{xss, rce, lfi, smuggled, split, meta}},
		{variables.Args, "json.either", nil},
		{variables.Args, "json.both", nil},
		{variables.Args, "json.number", []int{sqli, xss, rce, lfi, smuggled, split, meta}},
		{variables.Args, "json.ref", []int{sqli, xss, rce, smuggled, split, meta}},
		{variables.Args, "json.subject", []int{sqli, rce, lfi}},
		{variables.Args, "json.link", []int{sqli, xss, rce}},
		{variables.Args, "json.other", nil},
		{variables.ArgsNames, "json.query", nil},
		{variables.RequestBody, "", nil},
	} {
		for _, rule := range []int{sqli, xss, rce, lfi, smuggled, split, meta, nul} {
			if got := s.Except(rule, x.variable, x.key); got != slices.Contains(x.out, rule) {
				t.Errorf("%s %s: rule %d left out: %v", x.variable.Name(), x.key, rule, got)
			}
		}
	}
	for _, f := range s.Fields() {
		t.Log(f.In, f.Name, s.Inspection(f, 1), f.Why, f.Sink)
	}
}

// removed remembers what the engine was told.
type removed map[string][]int

func (r removed) RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, _ *regexp.Regexp) {
	r[variable.Name()+":"+key] = append(r[variable.Name()+":"+key], id)
}

// pairs are values of ARGS.
type pairs []view.Pair

func (p pairs) Of(v variables.RuleVariable) []view.Pair {
	if v == variables.Args || v == variables.ArgsPost {
		return p
	}
	return nil
}

// TestSinksInTheEngine: the engine does not tell letters apart, so a value of which nothing is said, under a name that
// differs in no more than that, keeps both inspected.
func TestSinksInTheEngine(t *testing.T) {
	w := the(t)
	contract := strings.Replace(sinks, `patternProperties: {"^(?i:query)$": {type: string}}`, `additionalProperties: {type: string}`, 1)
	s := w.scope(t, load(t, contract).Operations[0])
	told := removed{}
	s.Apply(told, pairs{{Key: "json.query", Text: "x"}, {Key: "json.ref", Text: "y"}})
	if len(told["ARGS:json.query"]) == 0 { // a name that the contract leaves open is never this one
		t.Error("json.query is not left out where other names are open")
	}
	told = removed{}
	s = w.scope(t, load(t, strings.Replace(sinks, `              patternProperties: {"^(?i:query)$": {type: string}}`+"\n", "                QUERY: {type: string}\n", 1)).Operations[0])
	s.Apply(told, pairs{{Key: "json.query", Text: "x"}, {Key: "json.QUERY", Text: "<script>"}, {Key: "json.ref", Text: "y"}})
	if list := told["ARGS:json.query"]; len(list) != 0 {
		t.Errorf("%d rules leave out json.QUERY together with json.query", len(list))
	}
	if list := told["ARGS:json.ref"]; !slices.Contains(list, 942100) || slices.Contains(list, 930120) {
		t.Errorf("json.ref is left out by %d", list)
	}
	told = removed{}
	s.Apply(told, pairs{{Key: "json.query", Text: "x"}})
	if list := told["ARGS:json.query"]; !slices.Contains(list, 941100) || slices.Contains(list, 942100) {
		t.Errorf("json.query is left out by %d", list)
	}
}
