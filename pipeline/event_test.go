package pipeline

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// K2: an event repeats a value only when the contract declares the parameter and nothing about it looks secret.
func TestWhichValuesEventsRepeat(t *testing.T) {
	contract, err := openapi.Load("a.yaml", func(string) ([]byte, error) {
		return []byte(`openapi: 3.0.3
info: {title: a, version: "1"}
paths:
  /a/{id}:
    get:
      security: []
      parameters:
        - {name: id, in: path, required: true, schema: {type: string, maxLength: 50}}
        - {name: q, in: query, schema: {type: string}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: note, in: query, schema: {type: string, format: password}}
        - {name: reset_token, in: query, schema: {type: string}}
        - {name: X-API-Key, in: query, schema: {type: string}}
        - {name: sessionId, in: query, schema: {type: string}}
        - {name: plain, in: header, schema: {type: string}}
      responses: {"200": {description: ok}}
`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	op := contract.Operations[0]
	const jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"
	for _, c := range []struct {
		name, in, param, value string
		repeated               bool
	}{
		{"declared", "query", "q", "shoes, size 43", true},
		{"declared in the path", "path", "id", "1001", true},
		{"a UUID", "path", "id", "0af76519-16cd-43dd-8448-eb211c80319c", true},
		{"a date", "query", "q", "2026-11-22T15:00:00Z", true},
		{"undeclared", "query", "debug", "shoes", false},
		{"a number", "query", "n", "42", true},
		{"not what is declared", "query", "n", "hunter2", false},
		{"declared elsewhere", "query", "id", "1001", false},
		{"declared as a field", "query", "plain", "shoes", false},
		{"another case", "query", "Q", "shoes", false},
		{"declared secret", "query", "note", "shoes", false},
		{"a secret's name", "query", "reset_token", "shoes", false},
		{"a secret's name, upper case", "query", "X-API-Key", "shoes", false},
		{"a session's name", "query", "sessionId", "shoes", false},
		{"a token", "query", "q", jwt, false},
		{"a token inside", "query", "q", "Bearer " + jwt, false},
		{"a key in hexadecimal", "path", "id", strings.Repeat("0123456789abcdef", 2), false},
		{"an API key", "query", "q", "ghk_a-b", false},
		{"a key behind a word", "path", "id", "sk-live-" + strings.Repeat("0123456789abcdef", 2), false},
		{"a key in base64", "query", "q", strings.Repeat("aB3+", 8) + "==", false},
	} {
		got := params(nil, c.in, []canon.Pair{{Name: c.param, Value: c.value}}, op)
		if len(got) != 1 || got[0].In != c.in || got[0].Name != c.param || (got[0].Value == c.value) != c.repeated {
			t.Errorf("%s: %+v", c.name, got)
		}
		if !c.repeated && len(c.value) > 12 && strings.Contains(got[0].Value, c.value[3:len(c.value)-3]) {
			t.Errorf("%s is not masked: %s", c.name, got[0].Value)
		}
	}
	if got := params(nil, "query", []canon.Pair{{Name: "q", Value: "shoes"}}, nil); got[0].Value != gate.Mask("shoes") {
		t.Errorf("without a contract nothing is declared: %+v", got)
	}
	for _, name := range []string{jwt, "ghk_abcdefgh_" + strings.Repeat("x", 48), strings.Repeat("0123456789abcdef", 2)} {
		for _, pair := range []canon.Pair{{Name: name}, {Name: name, Value: "x"}, {Name: "x" + name}} {
			if got := params(nil, "query", []canon.Pair{pair}, op); strings.Contains(got[0].Name, name[3:len(name)-3]) {
				t.Errorf("a secret that is sent as a name is told: %s", got[0].Name)
			}
		}
	}
}

func FuzzCut(f *testing.F) {
	for _, s := range []string{"", "short", strings.Repeat("x", longest), strings.Repeat("x", longest+1), strings.Repeat("é", longest), strings.Repeat("x", longest-1) + "é", "\xff" + strings.Repeat("\x80", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := cut(s)
		if len(s) <= longest && got != s {
			t.Errorf("%q was cut to %q", s, got)
		}
		text, marked := strings.CutSuffix(got, "…[cut]")
		if len(s) > longest && (!marked || len(text) > longest || !strings.HasPrefix(s, text)) {
			t.Errorf("%d bytes became %q", len(s), got)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q was cut inside a letter: %q", s, got)
		}
	})
}
