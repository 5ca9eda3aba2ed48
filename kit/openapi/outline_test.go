package openapi

import (
	"strings"
	"testing"
)

const placed = `openapi: 3.1.0
info: {title: t, version: "1"}
components:
  securitySchemes: {key: {type: apiKey, in: query, name: api_key}}
paths:
  /a/{id}:
    post:
      security: [{key: []}]
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
        - {name: l, in: query, schema: {type: array, items: {type: integer}}}
        - {name: p, in: query, explode: false, style: pipeDelimited, schema: {type: array, items: {type: string}}}
        - {name: d, in: query, style: deepObject, explode: true, schema: {type: object, properties: {x: {type: string}}}}
        - {name: j, in: query, content: {application/json: {schema: {type: object, properties: {x: {type: string}}}}}}
        - {name: s, in: query, x-gatehouse-sink: sql, schema: {type: string}}
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {a: {type: string, x-gatehouse-sink: html}}}}
          application/x-www-form-urlencoded: {schema: {type: object, properties: {f: {type: number}, o: {type: object, properties: {x: {type: string}}}}}}
          application/xml: {}
          image/png: {}
      responses: {"200": {description: x}}
`

// TestPlaces: every place where a value may stand is told, and how it is written there; what nobody judges is Unknown.
func TestPlaces(t *testing.T) {
	op := load(t, placed).Operations[0]
	var got []string
	for _, p := range op.Places() {
		words := []string{p.In, p.Name, map[Writing]string{Unknown: "unknown", Whole: "whole", Each: "each", Joined: "joined" + p.Separator, Tree: "tree"}[p.Writing]}
		if p.Rest {
			words = append(words, "rest")
		}
		if p.Integers {
			words = append(words, "integers")
		}
		got = append(got, strings.Join(append(words, p.Member...), " ")+p.Sink)
	}
	want := []string{"path id whole integers", "query l each integers", "query p joined| integers", "query d[x] each integers x", "query  each rest *", "query j unknown", "query s whole integerssql",
		"query api_key unknown", "json  tree", "form f each f", "form o unknown integers o", "form  whole rest *", "xml xml.attribute unknown"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if sink := op.Bodies[0].value.outlined().Object.Members["a"].Sink; sink != "html" {
		t.Errorf("the sink of a is %q", sink)
	}
}

// TestSinkWords: a sink that is none is a mistake, and beside a $ref the sink counts, which makes the reference a schema of
// its own.
func TestSinkWords(t *testing.T) {
	list := mistakes(t, strings.Replace(placed, "x-gatehouse-sink: html", "x-gatehouse-sink: htm", 1))
	if len(list) != 1 || !strings.Contains(list[0].What, "a sink is one of") {
		t.Errorf("%v", list)
	}
	list = mistakes(t, strings.Replace(placed, "x-gatehouse-sink: sql", "x-gatehouse-sink: [sql]", 1))
	if len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// TestDigitsWithin: only bounds on both sides bound the digits of an integer.
func TestDigitsWithin(t *testing.T) {
	for text, want := range map[string]int{"minimum: 1, maximum: 100": 3, "minimum: -1000, maximum: 5": 4, "minimum: 1": 0, "maximum: 9": 0, "minimum: 0, exclusiveMaximum: 10": 2, "minimum: 0.5, maximum: 3": 0, "minimum: 0, maximum: 1e3": 0} {
		c := load(t, strings.Replace(placed, "id, in: path, required: true, schema: {type: integer}", "id, in: path, required: true, schema: {type: integer, "+text+"}", 1))
		if got := c.Operations[0].Places()[0].Value.Digits; got != want {
			t.Errorf("%s: %d digits, want %d", text, got, want)
		}
	}
}
