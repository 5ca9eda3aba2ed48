package referee

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Field is one field of a head.
type Field struct{ Name, Value string }

// Message is a request as a client writes it, right or wrong.
type Message struct {
	Method, Target, Version string
	Fields                  []Field
	Body                    []byte
	Raw                     []byte // sent instead of all the others, if there is any
}

// field gives the first of a name.
func (m Message) field(name string) (string, bool) {
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// complete adds what the tests' own runner adds unless a test forbids it: the type of a body, its length, and that the
// connection ends.
func (m Message) complete() Message {
	m.Fields = slices.Clone(m.Fields)
	if _, ok := m.field("Content-Type"); !ok && len(m.Body) > 0 {
		m.Fields = append(m.Fields, Field{"Content-Type", "application/x-www-form-urlencoded"})
	}
	if media, _ := m.field("Content-Type"); media == "application/x-www-form-urlencoded" {
		m.Body = encodedForm(m.Body)
	}
	if _, ok := m.field("Connection"); !ok {
		m.Fields = append(m.Fields, Field{"Connection", "close"})
	}
	return m
}

// measured adds the length, after the body has its last form.
func (m Message) measured() Message {
	_, ok := m.field("Content-Length")
	if !ok && (len(m.Body) > 0 || slices.Contains([]string{"POST", "PUT", "PATCH", "DELETE"}, m.Method)) {
		m.Fields = append(m.Fields, Field{"Content-Length", strconv.Itoa(len(m.Body))})
	}
	return m
}

// encodedForm encodes names and values of a form that the test has written as they are read.
func encodedForm(body []byte) []byte {
	if plain, err := url.QueryUnescape(string(body)); err != nil || plain != string(body) || len(body) == 0 {
		return body
	}
	pairs := strings.Split(string(body), "&")
	for i, pair := range pairs {
		name, value, has := strings.Cut(pair, "=")
		pairs[i] = url.QueryEscape(name)
		if has {
			pairs[i] += "=" + url.QueryEscape(value)
		}
	}
	return []byte(strings.Join(pairs, "&"))
}

// lines makes every end of a line of a multipart body what it must be; the tests are written with bare line feeds.
func crlf(body []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// Bytes is the message as it goes over the wire.
func (m Message) Bytes() []byte {
	if m.Raw != nil {
		return m.Raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", m.Method, m.Target, m.Version)
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	b.Write(m.Body)
	return b.Bytes()
}

// parsed gives a message whose parts are filled in from Raw, read as forgivingly as can be.
func (m Message) parsed() Message {
	if m.Raw == nil {
		return m
	}
	head, body, found := bytes.Cut(m.Raw, []byte("\r\n\r\n"))
	if !found {
		head, body, _ = bytes.Cut(m.Raw, []byte("\n\n"))
	}
	lines := strings.Split(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	words := append(strings.SplitN(lines[0], " ", 3), "", "", "")
	m.Method, m.Target, m.Version, m.Body, m.Fields = words[0], words[1], words[2], body, nil
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		m.Fields = append(m.Fields, Field{name, strings.TrimSpace(value)})
	}
	return m
}

// Reply is what the server behind answers.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Reflect answers as the tests expect of the server behind: POST /reflect with a JSON text that says how, and nothing else
// with anything but an empty 200.
func Reflect(method, path string, body []byte) (Reply, error) {
	reply := Reply{Status: http.StatusOK, Header: http.Header{}}
	if method != http.MethodPost || path != "/reflect" {
		return reply, nil
	}
	var how struct {
		Status            int
		Headers           map[string]string
		Body, EncodedBody string
	}
	if err := json.Unmarshal(body, &how); err != nil {
		return Reply{Status: http.StatusBadRequest, Header: http.Header{}}, nil
	}
	if how.Status != 0 {
		reply.Status = how.Status
	}
	if reply.Status < 200 || reply.Status > 599 {
		return reply, errors.New("no such status")
	}
	for name, value := range how.Headers {
		reply.Header.Set(name, value)
	}
	reply.Body = []byte(how.Body)
	if how.Body == "" && how.EncodedBody != "" {
		plain, err := base64.StdEncoding.DecodeString(how.EncodedBody)
		if err != nil {
			return reply, err
		}
		reply.Body = plain
	}
	if reply.Header.Get("Content-Type") == "" && len(reply.Body) > 0 {
		reply.Header.Set("Content-Type", http.DetectContentType(reply.Body))
	}
	return reply, nil
}
