package referee

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Spot is where in a request a text stands.
type Spot string

// The spots.
const (
	InQuery  Spot = "query"
	InJSON   Spot = "json"
	InForm   Spot = "form"
	InPart   Spot = "part"
	InFile   Spot = "file name"
	InXML    Spot = "xml"
	InText   Spot = "text"
	InField  Spot = "field"
	InAgent  Spot = "user agent"
	InCookie Spot = "cookie"
	InPath   Spot = "path"
	InName   Spot = "name"
)

// Spots lists them.
func Spots() []Spot {
	return []Spot{InQuery, InJSON, InForm, InPart, InFile, InXML, InText, InField, InAgent, InCookie, InPath, InName}
}

// browser is what a client sends that rules find nothing in.
func browser() []Field {
	return []Field{{"Host", "localhost"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, {"Accept-Language", "en-GB,en;q=0.5"}}
}

const boundary = "----gatehouse4f1b"

// Message is a plain request with the text in its spot, encoded so that a server reads just that text.
func (s Spot) Message(text string) Message {
	m := Message{Method: "GET", Target: "/v1/items", Version: "HTTP/1.1", Fields: browser()}
	post := func(media, body string) {
		m.Method, m.Body = "POST", []byte(body)
		m.Fields = append(m.Fields, Field{"Content-Type", media}, Field{"Content-Length", fmt.Sprint(len(body))})
	}
	switch s {
	case InQuery:
		m.Target += "?page=2&q=" + url.QueryEscape(text)
	case InName:
		m.Target += "?" + url.QueryEscape(text) + "=1"
	case InPath:
		m.Target += "/" + strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	case InField:
		m.Fields = append(m.Fields, Field{"X-Text", text})
	case InAgent:
		m.Fields[1].Value = text
	case InCookie:
		m.Fields = append(m.Fields, Field{"Cookie", "theme=dark; note=" + text})
	case InForm:
		post("application/x-www-form-urlencoded", "name=Ann&text="+url.QueryEscape(text))
	case InJSON:
		post("application/json", `{"name":"Ann","tags":["a","b"],"text":`+quoted(text)+`}`)
	case InText:
		post("text/plain", text)
	case InXML:
		post("application/xml", "<a><b>"+strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(text)+"</b></a>")
	case InPart:
		post("multipart/form-data; boundary="+boundary, "--"+boundary+"\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n"+text+"\r\n--"+boundary+"--\r\n")
	case InFile:
		name := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ", "\n", " ").Replace(text)
		post("multipart/form-data; boundary="+boundary, "--"+boundary+"\r\nContent-Disposition: form-data; name=\"f\"; filename=\""+name+"\"\r\nContent-Type: text/plain\r\n\r\nx\r\n--"+boundary+"--\r\n")
	}
	return m
}

// quoted is a text as JSON. Bytes that are no UTF-8 stay what they are.
func quoted(text string) string {
	if utf8.ValidString(text) {
		b, _ := json.Marshal(text) // a string can always be written
		return string(b)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		switch {
		case c == '"', c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// Placed gives the collections of a text in a spot.
func (c *Collector) Placed(name, text string, spot Spot, s Settings) (Request, error) {
	r, err := c.Collect(spot.Message(text))
	r.Name, r.Settings = fmt.Sprintf("%s in %s", name, spot), s
	return r, err
}
