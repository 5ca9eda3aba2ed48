package patch

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/expression"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// kind is the part of a request in which a patch looks.
type kind int

const (
	inRequest kind = iota // all of it: there is one value, and it is none
	inPath
	inQuery
	inHeader
	inCookie
	inBody
)

// location is a place in a request, read from its written form.
type location struct {
	kind   kind
	name   string   // of a parameter, field or cookie; "*" for each; "" for the path itself
	tokens []string // of a JSON pointer, decoded; of a query the name alone
	every  []bool   // which tokens are *
}

var kinds = map[string]kind{"path": inPath, "query": inQuery, "header": inHeader, "cookie": inCookie}

// mostTokens bounds a pointer: kit/body reads nothing deeper.
const mostTokens = 64

// readLocation reads what At says.
func readLocation(at string) (l location, err error) {
	if at == "" || at == "request" {
		return location{}, nil
	}
	if pointer, ok := strings.CutPrefix(at, "body"); ok && (pointer == "" || pointer[0] == '/') {
		return readPointer(pointer)
	}
	part, name, named := strings.Cut(at, ".")
	k, ok := kinds[part]
	switch {
	case !ok:
		return l, location{}.wrong(at)
	case at == "path":
		return location{kind: inPath}, nil
	case !named || name == "" || len(name) > 200:
		return l, mistake.Mistake{What: fmt.Sprintf("which %s? name one, or all", part), Write: "at: " + part + ".NAME, or at: " + part + ".*"}
	}
	return location{kind: k, name: name, tokens: []string{name}, every: []bool{name == "*"}}, nil
}

// unseen lists why nothing ever stands at the place: a field that no guard is shown.
func (l location) unseen() (list mistake.List) {
	if l.kind != inHeader || l.name == "*" || canon.Kept(l.name) {
		return nil
	}
	write := map[string]string{"Host": "when: request.host == ...", "Content-Length": "when: request.length > ..."}[http.CanonicalHeaderKey(l.name)]
	list.Add("at", write, "no server gets a field %q from a client: it is refused or removed before", l.name)
	return list
}

func (location) wrong(at string) error {
	part, rest := at, ""
	if i := strings.IndexAny(at, "./"); i >= 0 {
		part, rest = at[:i], at[i:]
	}
	near := mistake.Nearest(part, []string{"path", "query", "header", "cookie", "body", "request"})
	if rest != "" && (near == "body") == (rest[0] == '/') {
		near += rest
	}
	return mistake.Mistake{What: fmt.Sprintf("%q is no place in a request; there are path.NAME, query.NAME, header.NAME, cookie.NAME, body/POINTER and request", at), Write: near}
}

// readPointer reads a JSON pointer (RFC 6901), in which * stands for every element or member.
func readPointer(pointer string) (location, error) {
	l := location{kind: inBody}
	if pointer == "" {
		return l, nil
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		for i := range len(token) {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return l, mistake.Mistake{What: "in a JSON pointer, ~ is written as ~0 and / as ~1", Write: strings.ReplaceAll(token, "~", "~0")}
			}
		}
		l.every = append(l.every, token == "*")
		l.tokens = append(l.tokens, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	if len(l.tokens) > mostTokens {
		return l, mistake.Mistake{What: fmt.Sprintf("a pointer of more than %d parts reaches deeper than any body that is read", mostTokens)}
	}
	return l, nil
}

// typed says what a condition may take the value for.
func (l location) typed() expression.Type {
	switch l.kind {
	case inRequest:
		return expression.Nothing
	case inBody:
		return expression.Anything
	}
	return expression.Text
}

// values gives what stands at the place, one after another, until visit says that it is enough. An error says that nobody can
// look there. Names are taken as the most lenient server takes them, so that a patch isn't walked round by writing QTY for qty:
// in any case, and fields of a head whatever signs stand in them.
func (l location) values(x *gate.Exchange, s *expression.Subject, visit func(expression.Value) bool) error {
	r := x.Request
	switch l.kind {
	case inRequest:
		visit(expression.Value{})
	case inPath:
		if l.name == "" {
			visit(expression.TextValue(r.Path))
			return nil
		}
		for i := range x.Params {
			if (l.name == "*" || x.Params[i].Name == l.name) && visit(expression.TextValue(x.Params[i].Value)) {
				return nil
			}
		}
	case inQuery:
		l.pairs(r.Query, visit)
	case inCookie:
		for i := range r.Cookies {
			if (l.name == "*" || strings.EqualFold(r.Cookies[i].Name, l.name)) && visit(expression.TextValue(r.Cookies[i].Value)) {
				return nil
			}
		}
	case inHeader:
		l.fields(r.Fields, visit)
	case inBody:
		return l.inside(s, visit)
	}
	return nil
}

func (l location) fields(fields http.Header, visit func(expression.Value) bool) {
	for name, values := range fields {
		if l.name != "*" && !canon.Alike(name, l.name) {
			continue
		}
		for _, v := range values {
			if visit(expression.TextValue(v)) {
				return
			}
		}
	}
}

// pairs gives the values of a query or a form.
func (l location) pairs(all []canon.Pair, visit func(expression.Value) bool) {
	for i := range all {
		there, below := l.named(all[i].Name)
		v := expression.TextValue(all[i].Value)
		if below {
			v = expression.ListValue(v)
		}
		if there && visit(v) {
			return
		}
	}
}

// unbracketed writes items[0][qty] as items.0.qty.
var unbracketed = strings.NewReplacer("]", "", "[", ".")

// named tells whether a field of this name stands at the place, or below it: what JSON says by structure, forms say by names
// such as items[0][qty], items[][qty] or items.0.qty, or by a name that stands several times.
func (l location) named(name string) (there, below bool) {
	if len(l.tokens) == 1 && (l.every[0] || strings.EqualFold(name, l.tokens[0])) {
		return true, false
	}
	parts := strings.Split(unbracketed.Replace(name), ".")
	for i, token := range l.tokens {
		switch {
		case l.every[i]:
		case i >= len(parts):
			if _, err := strconv.Atoi(token); err != nil {
				return false, false
			}
		case !strings.EqualFold(parts[i], token) && (i == 0 || parts[i] != ""):
			return false, false
		}
	}
	return true, len(parts) > len(l.tokens)
}

// inside gives what stands at the pointer in the body. A form has fields, parts have names; what has no structure can't be
// looked into, unless it is asked for as a whole.
func (l location) inside(s *expression.Subject, visit func(expression.Value) bool) error {
	tree := s.Body
	if tree == nil || tree.Kind == body.Empty || tree.Kind == body.JSON && len(tree.Nodes) == 0 {
		return nil
	}
	if len(l.tokens) == 0 {
		visit(s.BodyValue())
		return nil
	}
	switch tree.Kind {
	case body.JSON:
		l.nodes(tree.Nodes, 0, 0, func(i int) bool { return visit(s.NodeValue(i)) })
	case body.Form:
		l.pairs(tree.Form, visit)
	case body.Multipart:
		for i := range tree.Parts {
			there, below := l.named(tree.Parts[i].Name)
			v := expression.PartValue(tree.Parts[i])
			if below {
				v = expression.ListValue(v)
			}
			if there && visit(v) {
				return nil
			}
		}
	default:
		return errUnread
	}
	return nil
}

// errUnread says that a body has no structure that anybody here knows.
var errUnread = mistake.Mistake{What: "this kind of body has no structure to look into"}

// nodes follows the pointer from its part n on, below node at. It tells whether it was enough.
func (l location) nodes(nodes []body.Node, at, n int, visit func(int) bool) bool {
	if n == len(l.tokens) {
		return visit(at)
	}
	of := &nodes[at]
	if of.Kind != body.Array && of.Kind != body.Object {
		return false
	}
	wanted := -1
	if of.Kind == body.Array && !l.every[n] {
		i, err := strconv.Atoi(l.tokens[n])
		if err != nil || i < 0 || l.tokens[n] != strconv.Itoa(i) {
			return false
		}
		wanted = i
	}
	for i, number := at+1, 0; i < int(of.Next); i, number = int(nodes[i].Next), number+1 {
		if !l.every[n] && (of.Kind == body.Array && number != wanted || of.Kind == body.Object && !strings.EqualFold(nodes[i].Name, l.tokens[n])) {
			continue
		}
		if l.nodes(nodes, i, n+1, visit) {
			return true
		}
	}
	return false
}
