package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Reference makes the reference page, in Markdown: every key of every part with its type, default and comment.
func Reference(parts []Part, manual Manual) string {
	var b strings.Builder
	b.WriteString("# Reference of the document\n\nEvery key that a document may have. Made from the source by `go generate`; do not edit.\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "\n## %s\n\n", p.Name)
		if p.Doc != "" {
			fmt.Fprintf(&b, "%s\n\n", p.Doc)
		}
		if words := typeWords(p.Type); shapeOf(p.Type) == reflect.Invalid {
			fmt.Fprintf(&b, "Takes %s.\n", words)
			continue
		}
		b.WriteString("| key | takes | default | meaning |\n|---|---|---|---|\n")
		writeRows(&b, p.Type, "", manual)
	}
	return b.String()
}

// writeRows writes a row for each key at and below a type.
func writeRows(b *strings.Builder, t reflect.Type, prefix string, manual Manual) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch shapeOf(t) {
	case reflect.Slice:
		writeRows(b, t.Elem(), prefix+"[]", manual)
	case reflect.Map:
		writeRows(b, t.Elem(), prefix+".*", manual)
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			name := strings.TrimPrefix(prefix+"."+f.name, ".")
			comment := oneParagraph(manual.of(f))
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, cell(typeWords(f.typ)), cell(defaultOf(comment, f)), cell(comment))
			writeRows(b, f.typ, name, manual)
		}
	}
}

func typeWords(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Elsewhere]() {
		return "a section of its own, see below"
	}
	w := wantedOf(t)
	switch shapeOf(t) {
	case reflect.Slice:
		return "a list of: " + typeWords(t.Elem())
	case reflect.Map:
		return "a mapping; each value: " + typeWords(t.Elem())
	case reflect.Struct:
		return "a mapping of keys"
	}
	if w.pattern != "" && w.example != "" && !strings.Contains(w.words, w.example) {
		return w.words + ", such as `" + w.example + "`"
	}
	return w.words
}

var defaultWords = regexp.MustCompile(`(?i)\b(?:the )?default(?:(?: and [a-z ]+)?:\s+([^;()]*?)(?:,? so that |[;()]|\.(?:\s|$)|$)|(?:s to| is)?\s+("[^"]*"|[^;,()]*?)(?:[;,()]|\.(?:\s|$)|$))`)

// defaultOf takes the default from a field's comment, where it stands as "default 5s", or as "Default: one, two." when it has commas.
func defaultOf(comment string, f field) string {
	if f.rules.required || strings.Contains(comment, "Required, no default") {
		return "required"
	}
	if parts := defaultWords.FindStringSubmatch(comment); parts != nil {
		return strings.TrimSpace(parts[1] + parts[2])
	}
	return ""
}

func oneParagraph(text string) string { return strings.Join(strings.Fields(text), " ") }

// cell makes text safe inside a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
