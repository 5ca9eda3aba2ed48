package mutate

import (
	"fmt"
	"strings"
)

// wrongFor are values that a scalar cannot have, by the example that the schema gives for its kind.
var wrongFor = map[string]struct {
	class  string
	values []string
}{
	"5s":                {"bad duration", []string{"5", "5 parsecs", "-5s", "soon", "1d", "five", "5S", "1h-5m", "0x5s", "s"}},
	"16KiB":             {"bad size", []string{"16kB", "1.5MiB", "-1", "big", "16 KB", "KiB", "1e9", "99999999999GiB"}},
	"192.0.2.0/24":      {"bad prefix", []string{"192.0.2.0/33", "192.0.2.300/24", "192.0.2.0", "2001:db8::/129", "10/8", "all", "192.0.2.0/", "192.000.002.0/24", "::g/64"}},
	"192.0.2.1":         {"bad address", []string{"192.0.2", "192.0.2.256", "localhost", "::1::", "192.0.2.1:80"}},
	"https://host/path": {"bad URL", []string{"example.com", "https//example.com", "http://", "'://x'", `"http://exa mple.com"`, "http://[::1", "/only/path", "https:example.com", "http://a:port/", "https://user:pass@example.com"}},
	"2026-12-31":        {"bad date", []string{"31.12.2026", "2026-13-01", "2026-02-30", "tomorrow", "2026-1-1", "20261231"}},
}

func (m *maker) valueClasses(e *entry, add func(string, change)) {
	place := [2]int{e.line, e.at}
	replace := func(class string, values ...string) {
		add(class, func() Mutation {
			return m.with(e.line, place, "", m.lines[e.line][:e.at]+pick(m.random.Intn, values...))
		})
	}
	add("unclosed quote", func() Mutation {
		return m.with(e.line, place, "", m.lines[e.line][:e.at]+`"`+strings.Trim(e.value, `"`))
	})
	add("alias", func() Mutation { return m.with(e.line, place, "", m.lines[e.line][:e.at]+"*other") })
	secrets := []string{"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIA3XH7QLPZ5RTN2WVB", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl"}
	if !isPublic(e.node) {
		secrets = append(secrets, "q7Zk3vX9bT2mN8cR4wL6yH1sD5fG0jPaUeIoQz", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
	}
	replace("secret", secrets...)
	if example := exampleOf(e.node); example != "" {
		if wrong, ok := wrongFor[example]; ok {
			replace(wrong.class, wrong.values...)
		}
	}
	if words, ok := e.node["enum"].([]any); ok {
		m.enumClasses(e, words, add)
		return
	}
	types := typesOf(e.node)
	switch {
	case len(types) == 0:
	case types["boolean"]:
		replace("wrong type", "yes", "no", "on", "off", "True", "1", "'true'", "maybe")
	case types["integer"] && !types["string"]:
		replace("wrong type", "many", "1.5", "'7'", "1_000", "0x10", "010", "true", "1e3")
		if high, ok := e.node["maximum"].(float64); ok {
			replace("out of bounds", fmt.Sprintf("%.0f", high*2+1e3), "-99999999999999999999")
		}
	case types["number"]:
		replace("wrong type", "many", "'0.5'", ".inf", ".nan", "true", "0.5.1")
	case types["string"]:
		if e.node["pattern"] == nil && e.node["anyOf"] == nil && !types["integer"] {
			replace("wrong type", "5", "true", "1.5", "-3")
			replace("expansion", "${HOME}", "$(id)", "'{env.SECRET}'", "a-${X:-y}", "'{{ .Env }}'", "env:SHOP_KEY")
		}
		replace("wrong type", "{a: b}")
		if !types["array"] {
			replace("wrong type", "[a, b]")
		}
	}
}

func exampleOf(node map[string]any) string {
	if choices, ok := node["anyOf"].([]any); ok && len(choices) > 0 {
		return exampleOf(long(map[string]any{"anyOf": choices[:1]}))
	}
	list, _ := node["examples"].([]any)
	if len(list) == 0 {
		return ""
	}
	text, _ := list[0].(string)
	return text
}

// enumClasses misspell a word of a closed list, or write another.
func (m *maker) enumClasses(e *entry, words []any, add func(string, change)) {
	right := strings.Trim(e.value, `"'`)
	isWord := func(s string) bool {
		for _, w := range words {
			if w == s {
				return true
			}
		}
		return false
	}
	put := func(value, word string) Mutation {
		quoted := fmt.Sprintf("%q", value)
		return m.with(e.line, [2]int{e.line, e.at}, word, m.lines[e.line][:e.at]+quoted)
	}
	add("bad word", func() Mutation {
		wrong := m.misspell(right)
		if isWord(wrong) || wrong == "" {
			return Mutation{}
		}
		if len(right) < 4 {
			return put(wrong, "")
		}
		return put(wrong, right)
	})
	add("bad word", func() Mutation { return put(pick(m.random.Intn, "none", "Whatever", "*", "0"), "") })
}

// isPublic tells that random text is no mistake at a place: by its schema, or by that of one of its forms.
func isPublic(node map[string]any) bool {
	if node["x-public"] != nil {
		return true
	}
	forms, _ := node["anyOf"].([]any)
	for _, f := range forms {
		if form, ok := f.(map[string]any); ok && form["x-public"] != nil {
			return true
		}
	}
	return false
}
