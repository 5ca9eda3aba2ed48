package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

// inventor makes values of schemas.
type inventor struct {
	*document
	*rand.Rand
}

// draw gives chance that is the same for the same request every time.
func draw(method, path, kind string, i int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, method, path, kind, i)
	return rand.New(rand.NewPCG(h.Sum64(), 3))
}

// value makes one. Name is that of the property, of which texts take their kind.
func (v inventor) value(schema any, name string, depth int) any {
	s := v.object(schema)
	if s == nil {
		return "x"
	}
	if value, ok := v.given(s); ok {
		return value
	}
	if list, ok := s["allOf"].([]any); ok {
		return v.value(v.merged(s, list), name, depth)
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if list, ok := s[word].([]any); ok && len(list) > 0 {
			rest := maps.Clone(s)
			delete(rest, word)
			return v.value(v.merged(rest, []any{list[v.IntN(len(list))]}), name, depth)
		}
	}
	switch v.kind(s) {
	case "object":
		return v.record(s, depth)
	case "array":
		return v.list(s, name, depth)
	case "integer":
		return json.Number(strconv.FormatInt(int64(v.number(s, true)), 10))
	case "number":
		return json.Number(strconv.FormatFloat(v.number(s, false), 'f', -1, 64))
	case "boolean":
		return v.IntN(2) == 0
	case "null":
		return nil
	}
	return v.string(s, name)
}

// given is a value that the schema itself names.
func (v inventor) given(s map[string]any) (any, bool) {
	if list, ok := s["enum"].([]any); ok && len(list) > 0 {
		return list[v.IntN(len(list))], true
	}
	if value, ok := s["const"]; ok {
		return value, true
	}
	if value, ok := s["example"]; ok && v.IntN(3) == 0 {
		return value, true
	}
	return nil, false
}

func (v inventor) kind(s map[string]any) string {
	switch x := s["type"].(type) {
	case string:
		return x
	case []any:
		for _, t := range x {
			if t != "null" {
				return fmt.Sprint(t)
			}
		}
		return "null"
	}
	if s["properties"] != nil || s["additionalProperties"] != nil {
		return "object"
	}
	if s["items"] != nil {
		return "array"
	}
	return "string"
}

// merged is one schema for all of several, as far as their keywords are of different parts.
func (v inventor) merged(s map[string]any, list []any) map[string]any {
	out := maps.Clone(s)
	delete(out, "allOf")
	for _, part := range list {
		for key, value := range v.object(part) {
			switch key {
			case "properties":
				both := map[string]any{}
				old, _ := out[key].(map[string]any)
				maps.Copy(both, old)
				now, _ := value.(map[string]any)
				maps.Copy(both, now)
				out[key] = both
			case "required", "allOf":
				old, _ := out[key].([]any)
				now, _ := value.([]any)
				out[key] = slices.Concat(old, now)
			default:
				out[key] = value
			}
		}
	}
	return out
}

func (v inventor) record(s map[string]any, depth int) any {
	out := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	short := int(bound(s, "minProperties", 0))
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		inner := v.object(properties[name])
		if only, _ := inner["readOnly"].(bool); only {
			continue
		}
		if slices.Contains(required, any(name)) || len(out) < short || depth > 1 && v.IntN(3) > 0 {
			out[name] = v.value(properties[name], name, depth-1)
		}
	}
	if more, ok := s["additionalProperties"].(map[string]any); ok && depth > 1 {
		for i := range v.IntN(3) {
			out["key"+strconv.Itoa(i)] = v.value(more, "", depth-1)
		}
	}
	return out
}

func (v inventor) list(s map[string]any, name string, depth int) any {
	least, most := bound(s, "minItems", 0), bound(s, "maxItems", 4)
	n := int(least)
	if depth > 1 && most > least {
		n += v.IntN(int(min(most-least, 4)) + 1)
	}
	out := []any{}
	for range n {
		item := v.value(s["items"], name, depth-1)
		if unique, _ := s["uniqueItems"].(bool); unique && slices.ContainsFunc(out, func(o any) bool { return plain(o) == plain(item) }) {
			continue
		}
		out = append(out, item)
	}
	return out
}

func (v inventor) number(s map[string]any, whole bool) float64 {
	least, most := bound(s, "minimum", 0), bound(s, "maximum", 10_000)
	if x, ok := float(s["exclusiveMinimum"]); ok {
		least = x + 1
	}
	if most < least {
		most = least + 100
	}
	x := least + math.Floor(v.Float64()*(most-least))
	if step, ok := float(s["multipleOf"]); ok && step > 0 {
		return math.Ceil(least/step)*step + step*float64(v.IntN(3))
	}
	if !whole && x+0.5 <= most {
		x += 0.5
	}
	return x
}

func bound(s map[string]any, name string, otherwise float64) float64 {
	if x, ok := float(s[name]); ok {
		return x
	}
	return otherwise
}

func float(value any) (float64, bool) {
	if value == nil {
		return 0, false
	}
	x, err := strconv.ParseFloat(fmt.Sprint(value), 64)
	return x, err == nil
}

func (v inventor) string(s map[string]any, name string) any {
	least, most := int(bound(s, "minLength", 0)), int(bound(s, "maxLength", 400))
	if pattern, ok := s["pattern"].(string); ok {
		if text, ok := v.matching(pattern, least, most); ok {
			return text
		}
	}
	n := v.IntN(1 << 30)
	switch s["format"] {
	case "date":
		return fmt.Sprintf("20%02d-%02d-%02d", n%30, n%12+1, n%28+1)
	case "date-time":
		return fmt.Sprintf("20%02d-%02d-%02dT%02d:%02d:00Z", n%30, n%12+1, n%28+1, n%24, n%60)
	case "time":
		return fmt.Sprintf("%02d:%02d:00Z", n%24, n%60)
	case "uuid":
		return fmt.Sprintf("%08x-1b2c-4d3e-8f4a-%012x", n, n)
	case "email":
		return fmt.Sprintf("ann.miller%d@example.com", n%1000)
	case "uri", "url", "uri-reference":
		return fmt.Sprintf("https://shop.example/products/%d?colour=blue", n%1000)
	case "hostname":
		return fmt.Sprintf("host%d.example.com", n%1000)
	case "ipv4", "ip":
		return fmt.Sprintf("192.0.2.%d", n%250)
	case "ipv6":
		return fmt.Sprintf("2001:db8::%x", n%65535)
	case "byte":
		return base64.StdEncoding.EncodeToString([]byte(v.text(name, 4, 60)))
	case "password":
		return "correct horse battery " + strconv.Itoa(n)
	}
	if s["format"] != nil && s["example"] != nil {
		return s["example"]
	}
	return v.text(name, least, most)
}

// text is a piece of what people write, of a length between two numbers of characters: the longer the place, the longer the
// text. A name that says identifier gets one.
func (v inventor) text(name string, least, most int) string {
	lower := strings.ToLower(name)
	var t string
	switch {
	case lower == "id" || strings.HasSuffix(lower, "_id") || strings.HasSuffix(name, "Id"):
		t = strconv.Itoa(v.IntN(1 << 20))
	case most >= 200 && v.IntN(4) == 0:
		list := slices.Concat(traffic.Paragraphs(), traffic.Talk())
		t = list[v.IntN(len(list))]
	default:
		list := traffic.Values()
		t = list[v.IntN(len(list))]
	}
	for utf8.RuneCountInString(t) < least {
		t += " and more"
	}
	runes := []rune(t)
	return string(runes[:min(len(runes), max(most, 0))])
}

// matching makes a text that a pattern accepts.
func (v inventor) matching(pattern string, least, most int) (string, bool) {
	whole, err := regexp.Compile(pattern)
	if err != nil {
		return "", false
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	for i := range 20 {
		var b strings.Builder
		v.walk(&b, tree, 4+2*i)
		if t := b.String(); whole.MatchString(t) && utf8.RuneCountInString(t) >= least && utf8.RuneCountInString(t) <= most {
			return t, true
		}
	}
	return "", false
}

// walk writes what an expression stands for; what may be repeated without end is repeated so often at most.
func (v inventor) walk(b *strings.Builder, re *syntax.Regexp, often int) {
	times := func(least, most int) {
		if most < 0 || most > least+often {
			most = least + often
		}
		for range least + v.IntN(most-least+1) {
			v.walk(b, re.Sub[0], often)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		k := 2 * v.IntN(len(re.Rune)/2)
		from, to := re.Rune[k], min(re.Rune[k+1], max(re.Rune[k], '~'))
		b.WriteRune(from + v.Int32N(to-from+1))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteRune('a' + v.Int32N(26))
	case syntax.OpStar:
		times(0, -1)
	case syntax.OpPlus:
		times(1, -1)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpRepeat:
		times(re.Min, re.Max)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			v.walk(b, sub, often)
		}
	case syntax.OpAlternate:
		v.walk(b, re.Sub[v.IntN(len(re.Sub))], often)
	}
}
