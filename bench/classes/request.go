package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

// invented is a request with its class: method, kind of body, and whether there is a query.
type invented struct {
	firewall.Request
	class string
}

// requests invents n for each kind of body that the operation takes.
func (d *document) requests(op operation, n int) (list []invented) {
	kinds := slices.Sorted(maps.Keys(op.body))
	if len(kinds) == 0 {
		kinds = []string{""}
	}
	for _, kind := range kinds {
		for i := range n {
			v := inventor{d, draw(op.method, op.path, kind, i)}
			target, fields := v.head(op)
			fields = append(fields, [2]string{"User-Agent", "shop-app/4.2"}, [2]string{"Accept", "application/json"})
			class, body := "no body", []byte(nil)
			if kind != "" {
				media := v.object(op.body[kind])
				var ok bool
				if class, body, kind, ok = v.body(kind, media["schema"]); !ok {
					break
				}
				fields = append(fields, [2]string{"Content-Type", kind})
			}
			with := ""
			if strings.Contains(target, "?") {
				with = ", query"
			}
			list = append(list, invented{firewall.Request{Method: op.method, Target: target, Fields: fields, Body: body}, op.method + ", " + class + with})
		}
	}
	return list
}

// head invents path, query and fields. A parameter that is optional is there half of the time.
func (v inventor) head(op operation) (target string, fields [][2]string) {
	path, query := op.path, ""
	for _, p := range op.parameters {
		name, _ := p["name"].(string)
		required, _ := p["required"].(bool)
		if !required && v.IntN(2) == 0 {
			continue
		}
		schema := p["schema"]
		if content, ok := p["content"].(map[string]any); ok {
			for _, media := range content {
				schema = v.object(media)["schema"]
			}
		}
		value := v.value(schema, name, 3)
		if text, ok := value.(string); ok && p["in"] == "path" && v.object(schema)["pattern"] == nil {
			value = slug(text)
		}
		switch p["in"] {
		case "path":
			path = strings.ReplaceAll(path, "{"+name+"}", strings.ReplaceAll(url.PathEscape(plain(value)), "/", "%2F"))
		case "query":
			query += pairs(p, name, value)
		case "header":
			fields = append(fields, [2]string{name, plain(value)})
		case "cookie":
			fields = append(fields, [2]string{"Cookie", name + "=" + url.QueryEscape(plain(value))})
		}
	}
	if query != "" {
		path += "?" + query[1:]
	}
	return path, fields
}

// slug makes of a text what stands in paths: the first words, with hyphens between.
func slug(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return "one"
	}
	return strings.Join(words[:min(len(words), 5)], "-")
}

// pairs writes a query parameter as its style says, as far as documents in use differ: lists exploded or with commas,
// objects deep.
func pairs(p map[string]any, name string, value any) (query string) {
	explode, said := p["explode"].(bool)
	switch x := value.(type) {
	case []any:
		if said && !explode {
			return "&" + url.QueryEscape(name) + "=" + url.QueryEscape(plain(value))
		}
		for _, item := range x {
			query += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(plain(item))
		}
		return query
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(x)) {
			word := key
			if p["style"] == "deepObject" {
				word = name + "[" + key + "]"
			}
			query += "&" + url.QueryEscape(word) + "=" + url.QueryEscape(plain(x[key]))
		}
		return query
	}
	return "&" + url.QueryEscape(name) + "=" + url.QueryEscape(plain(value))
}

// plain writes a value as text.
func plain(value any) string {
	switch x := value.(type) {
	case string:
		return x
	case []any:
		var words []string
		for _, item := range x {
			words = append(words, plain(item))
		}
		return strings.Join(words, ",")
	case nil:
		return ""
	case map[string]any:
		text, _ := json.Marshal(x)
		return string(text)
	}
	return fmt.Sprint(value)
}

// body invents a body, and gives the class and the media type with which it is sent.
func (v inventor) body(kind string, schema any) (class string, body []byte, sent string, ok bool) {
	base := strings.TrimSpace(strings.SplitN(kind, ";", 2)[0])
	switch {
	case base == "application/json" || strings.HasSuffix(base, "+json") || base == "*/*":
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(v.value(schema, "", 6)) != nil {
			return "", nil, "", false
		}
		if strings.Contains(base, "*") {
			base = "application/json"
		}
		return "JSON", bytes.TrimSpace(b.Bytes()), base, true
	case base == "application/x-www-form-urlencoded":
		values := url.Values{}
		object, _ := v.value(schema, "", 3).(map[string]any)
		for name, value := range object {
			values.Set(name, plain(value))
		}
		return "form", []byte(values.Encode()), base, true
	case base == "multipart/form-data":
		var b bytes.Buffer
		object, _ := v.value(schema, "", 3).(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			fmt.Fprintf(&b, "--invented\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", name, plain(object[name]))
		}
		b.WriteString("--invented--\r\n")
		return "multipart", b.Bytes(), base + "; boundary=invented", true
	case strings.HasPrefix(base, "text/"):
		return "text", []byte(plain(v.value(schema, "text", 1))), base, true
	case base == "application/octet-stream":
		return "opaque", []byte(v.text("", 20, 2000)), base, true
	}
	return "", nil, "", false
}
