package view

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types/variables"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Bound says how much Extra may find. A zero field means its default.
type Bound struct {
	Values int // default 1000
	Bytes  int // of keys and texts together; default 256 KiB
}

func (b Bound) withDefaults() Bound {
	if b.Values <= 0 {
		b.Values = 1000
	}
	if b.Bytes <= 0 {
		b.Bytes = 256 << 10
	}
	return b
}

// levels is how many codings inside each other are taken off a value.
const levels = 2

// Extra gives what lies in the values of arguments and cookies under one more coding, or two: the strings of JSON inside
// a text, text in Base64, text as Unicode's compatibility form has it (row G16: full-width signs, long s, signs without
// width inside a word), and names that the engine does not show since they lead to empty arrays and objects only. No rule
// of the engine reads these by itself, so they are no part of Of: a guard may inspect them as further arguments, and must
// tell what is found there apart. Only, unless it is nil, chooses the values whose codings are taken off, by their variable and
// key; it is asked about those that have any. What was found in no value has the variable Unknown.
//
// The key says where a text was found: that of the value, and behind it what was taken off: json.a.base64,
// q.json.b.0.nfkc, json.c.empty. No sign stands between them that a rule would mind in a name, as it would a bar. Extra
// appends to dst and is false when there was more than the bound admits; what is there then is not all.
func (v *View) Extra(dst []Pair, bound Bound, only func(variables.RuleVariable, string) bool) ([]Pair, bool) {
	p := peeler{found: dst, left: bound.withDefaults(), whole: true, only: only}
	for _, variable := range [...]variables.RuleVariable{variables.Args, variables.RequestCookies} {
		for _, pair := range v.Of(variable) {
			p.begin(variable, pair.Key)
			p.peel(pair.Key, pair.Text, levels)
		}
	}
	if v.tree != nil && v.tree.Kind == body.JSON && len(v.tree.Nodes) > 0 {
		p.begin(variables.Unknown, "")
		p.empty(v.tree.Nodes, 0, []byte("json"))
	}
	return p.found, p.whole
}

type peeler struct {
	found []Pair
	left  Bound
	whole bool

	only          func(variables.RuleVariable, string) bool
	variable      variables.RuleVariable // of the value that is peeled
	key           string
	asked, wanted bool
}

// begin goes on to another value.
func (p *peeler) begin(variable variables.RuleVariable, key string) {
	p.variable, p.key, p.asked, p.wanted = variable, key, p.only == nil, true
}

// isWanted tells whether what lies in this value is asked for.
func (p *peeler) isWanted() bool {
	if !p.asked {
		p.asked, p.wanted = true, p.only(p.variable, p.key)
	}
	return p.wanted
}

// put keeps a text that was found, and is false when there is no room, or when it is not wanted.
func (p *peeler) put(key, text string) bool {
	if !p.isWanted() {
		return false
	}
	if p.left.Values--; p.left.Values < 0 {
		p.whole = false
		return false
	}
	if p.left.Bytes -= len(key) + len(text); p.left.Bytes < 0 {
		p.whole = false
		return false
	}
	p.found = append(p.found, Pair{key, text})
	return true
}

// peel looks for codings in a text, and in what it finds.
func (p *peeler) peel(key, text string, room int) {
	if !p.whole {
		return
	}
	if plain, ok := compatible(text); ok && !p.put(key+".nfkc", plain) {
		return
	}
	if room == 0 {
		return
	}
	if holdsJSON(text) {
		p.strings(key+".json", text, room-1)
	} else if plain, ok := fromBase64(text); ok {
		if room == 1 || !holdsJSON(plain) || !json.Valid([]byte(plain)) { // otherwise its strings and names are all there is to say
			ok = p.put(key+".base64", plain)
		}
		if ok {
			p.peel(key+".base64", plain, room-1)
		}
	}
}

// compatible is a text in normalization form KC, without the signs that have no width; false when that changes nothing.
func compatible(text string) (string, bool) {
	at := 0
	for at < len(text) && text[at] < utf8.RuneSelf {
		at++
	}
	if at == len(text) || !utf8.ValidString(text) {
		return "", false
	}
	plain := norm.NFKC.String(text)
	if strings.IndexFunc(plain, hasNoWidth) >= 0 {
		plain = strings.Map(func(c rune) rune {
			if hasNoWidth(c) {
				return -1
			}
			return c
		}, plain)
	}
	return plain, plain != text
}

// hasNoWidth: joiners, marks of direction, the soft hyphen, variation selectors, tags.
func hasNoWidth(c rune) bool {
	return c >= 0xad && (unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Variation_Selector, c) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c))
}

func holdsJSON(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return text != "" && (text[0] == '{' || text[0] == '[')
}

// Texts shorter than this are words more often than they are Base64.
const shortestBase64 = 8

// fromBase64 reads a text in either alphabet, with or without padding, or what follows "base64," in a data URL. What it
// gives is text: anything else is what a file, a key or a picture looks like, and no rule reads that.
func fromBase64(text string) (string, bool) {
	if strings.HasPrefix(text, "data:") {
		_, text, _ = strings.Cut(text, "base64,")
	}
	text = strings.TrimRight(strings.Trim(text, " \t\r\n"), "=")
	if len(text) < shortestBase64 {
		return "", false
	}
	coding := base64.RawStdEncoding
	for i := range len(text) { // most texts end here, before anything is made room for
		switch c := text[i]; {
		case c == '-' || c == '_':
			coding = base64.RawURLEncoding
		case c >= utf8.RuneSelf || c == ' ' || c == '.' || c == ',' || c == ':':
			return "", false
		}
	}
	plain, err := coding.DecodeString(text)
	if err != nil || !utf8.Valid(plain) {
		return "", false
	}
	for _, c := range string(plain) {
		if !unicode.IsPrint(c) && c != '\t' && c != '\r' && c != '\n' {
			return "", false
		}
	}
	return string(plain), true
}

// strings finds the strings of JSON in a text. Unlike the reader of bodies it forgives: a server behind us may read this
// text with any reader, so a name that stands twice counts twice, and where the text cannot be read on, what came before
// it counts.
func (p *peeler) strings(path, text string, room int) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var stack []level
	for p.whole {
		token, err := d.Token()
		if err != nil {
			return
		}
		top := len(stack) - 1
		if c, ok := token.(json.Delim); ok && (c == ']' || c == '}') {
			stack = stack[:top]
			continue
		}
		at := path
		if top >= 0 {
			s := &stack[top]
			if s.object && !s.named {
				s.name, s.named = token.(string), true
				continue
			}
			at = s.next()
		}
		switch t := token.(type) {
		case json.Delim:
			stack = append(stack, level{path: at, object: t == '{'})
			if p.left.Bytes -= len(at); p.left.Bytes < 0 { // paths grow with depth
				p.whole = false
			}
		case string:
			if !p.put(at, t) {
				return
			}
			p.peel(at, t, room)
		}
	}
}

// level is an array or object that is being read.
type level struct {
	path          string
	name          string // of the member whose value comes next
	index         int
	object, named bool
}

// next is the path of the value that comes.
func (l *level) next() string {
	if l.object {
		l.named = false
		return l.path + "." + l.name
	}
	l.index++
	return l.path + "." + strconv.Itoa(l.index-1)
}

// empty finds the arrays and objects that hold nothing, and gives their whole path as a text.
func (p *peeler) empty(nodes []body.Node, at int, path []byte) {
	n := &nodes[at]
	if n.Size == 0 && at > 0 {
		p.put(string(path)+".empty", string(path))
		return
	}
	size, index := len(path), 0
	for i := at + 1; i < int(n.Next) && p.whole; i = int(nodes[i].Next) {
		if kind := nodes[i].Kind; kind == body.Array || kind == body.Object {
			path = append(path[:size], '.')
			if n.Kind == body.Array {
				path = strconv.AppendInt(path, int64(index), 10)
			} else {
				path = append(path, nodes[i].Name...)
			}
			p.empty(nodes, i, path)
		}
		index++
	}
}
