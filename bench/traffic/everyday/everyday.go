// Package everyday is the benign traffic of an everyday API: what a company gets that sells things, keeps appointments and
// helps its customers, in eight languages, with names, addresses, searches, letters, stack traces, markdown, tables and mail
// as people write them. Its contract says of each value what it may look like, and of most texts what becomes of them.
//
// Nothing is drawn by chance that isn't drawn from one seed. The texts are split by hash into the half to build on and the
// half that is only opened for reports; what is made of a half holds no text of the other.
package everyday

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

//go:embed contract.yaml texts/*.txt
var files embed.FS

// Contract is the API's OpenAPI document.
func Contract() string { return read("contract.yaml") }

// WithoutSinks is the same document from somebody who has not said what becomes of the texts.
func WithoutSinks() string { return saying.ReplaceAllString(Contract(), "") }

var saying = regexp.MustCompile(`, x-gatehouse-sink: [a-z]+`)

// Field is a place of the contract where a value stands.
type Field struct {
	Operation string
	Name      string // of the parameter, or the way to it in JSON: items.*.sku
}

// Value is a text in a field.
type Value struct {
	Field
	Text string
}

// Request is one of the traffic.
type Request struct {
	firewall.Request
	Operation string
}

// Requests gives so many requests, of each operation in turn, made of the texts of a half.
func Requests(odd bool, n int) []Request {
	all := operations()
	var list []Request
	for i := range n {
		op := all[i%len(all)]
		h := &hand{r: rand.New(rand.NewPCG(uint64(i), 7)), odd: odd}
		list = append(list, Request{h.request(op), op.name})
	}
	return list
}

// Values gives each text of a half in each field where such texts stand.
func Values(odd bool) []Value {
	var list []Value
	for _, op := range operations() {
		for name, t := range op.texts() {
			for _, one := range half(t.pool, odd) {
				list = append(list, Value{Field{op.name, name}, t.written(one)})
			}
		}
	}
	slices.SortFunc(list, func(a, b Value) int {
		return strings.Compare(a.Operation+" "+a.Name+" "+a.Text, b.Operation+" "+b.Name+" "+b.Text)
	})
	return list
}

// With is a request that nobody could mind, but for the text in one field.
func With(f Field, text string) firewall.Request {
	for _, op := range operations() {
		if op.name == f.Operation {
			h := &hand{r: rand.New(rand.NewPCG(0, 7)), plain: true, field: f.Name, text: text}
			return h.request(op)
		}
	}
	return firewall.Request{}
}

// half gives the texts of a pool whose hash is odd, or even.
func half(pool string, odd bool) []string {
	var list []string
	for _, text := range texts(pool) {
		if sum := sha256.Sum256([]byte(text)); sum[0]%2 == 1 == odd {
			list = append(list, text)
		}
	}
	return list
}

// texts gives the texts of a file: those between lines that hold a per cent sign alone, or else its lines.
func texts(pool string) []string {
	all := strings.TrimSuffix(read(path.Join("texts", pool+".txt")), "\n")
	if strings.Contains(all, "\n%\n") {
		return strings.Split(all, "\n%\n")
	}
	return strings.Split(all, "\n")
}

func read(name string) string {
	text, _ := files.ReadFile(name) // it is in the program
	return string(text)
}

// hand makes requests.
type hand struct {
	r           *rand.Rand
	odd         bool
	plain       bool // no text is drawn, every one is harmless
	field, text string
}

func (h *hand) request(op operation) firewall.Request {
	r := firewall.Request{Method: op.method, Target: op.path, Fields: [][2]string{
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"},
		{"Accept", "application/json"}, {"Accept-Language", "en-GB,en;q=0.9,de;q=0.8"}, {"Origin", "https://app.example"}, {"Referer", "https://app.example/"},
	}}
	query := url.Values{}
	for _, name := range op.parameters.names() {
		value, _ := h.value(name, op.parameters[name]).(string)
		if place := "{" + name + "}"; strings.Contains(op.path, place) {
			r.Target = strings.ReplaceAll(r.Target, place, url.PathEscape(value))
		} else {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		r.Target += "?" + query.Encode()
	}
	if op.body != nil {
		r.Fields = append(r.Fields, [2]string{"Content-Type", op.media})
		r.Body = h.json(op.body)
	}
	return r
}

func (h *hand) json(n any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)       // a client sends < as it is
	_ = e.Encode(h.value("", n)) // of texts and numbers, which can always be written
	return bytes.TrimSpace(b.Bytes())
}

// value makes what stands at a way. Members are made in the order of their names, so that it is the same every time.
func (h *hand) value(way string, n any) any {
	if way == h.field && way != "" {
		return h.text
	}
	switch n := n.(type) {
	case tree:
		out := map[string]any{}
		for _, name := range n.names() {
			out[name] = h.value(strings.TrimPrefix(way+"."+name, "."), n[name])
		}
		return out
	case list:
		out := []any{}
		for range n.least + h.r.IntN(n.most-n.least+1) {
			out = append(out, h.value(strings.TrimPrefix(way+".*", "."), n.of))
		}
		return out
	case text:
		if h.plain {
			return n.written(n.plain)
		}
		pool := half(n.pool, h.odd)
		return n.written(pool[h.r.IntN(len(pool))])
	case form:
		return n(h.r)
	}
	return n
}

// written is the text as it stands in the field.
func (t text) written(s string) string {
	if t.base64 {
		return base64.StdEncoding.EncodeToString([]byte(s))
	}
	return s
}
