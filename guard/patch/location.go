package patch

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
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
	tokens []string // of a JSON pointer, decoded
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
	if k == inHeader {
		name = http.CanonicalHeaderKey(name)
	}
	return location{kind: k, name: name}, nil
}

func (location) wrong(at string) error {
	part, rest, _ := strings.Cut(at, ".")
	if i := strings.IndexByte(part, '/'); i >= 0 {
		part, rest = part[:i], ""
	}
	near := mistake.Nearest(part, []string{"path", "query", "header", "cookie", "body", "request"})
	if near != "" && rest != "" {
		near += "." + rest
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
// look there.
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
	case inQuery, inCookie:
		list := r.Query
		if l.kind == inCookie {
			list = r.Cookies
		}
		for i := range list {
			if (l.name == "*" || list[i].Name == l.name) && visit(expression.TextValue(list[i].Value)) {
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
	if l.name != "*" {
		for _, v := range fields[l.name] {
			if visit(expression.TextValue(v)) {
				return
			}
		}
		return
	}
	for _, values := range fields {
		for _, v := range values {
			if visit(expression.TextValue(v)) {
				return
			}
		}
	}
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
		if len(l.tokens) > 1 {
			return nil
		}
		for i := range tree.Form {
			if (l.every[0] || tree.Form[i].Name == l.tokens[0]) && visit(expression.TextValue(tree.Form[i].Value)) {
				return nil
			}
		}
	case body.Multipart:
		if len(l.tokens) > 1 {
			return nil
		}
		for i := range tree.Parts {
			if (l.every[0] || tree.Parts[i].Name == l.tokens[0]) && visit(expression.PartValue(tree.Parts[i])) {
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
		if !l.every[n] && (of.Kind == body.Array && number != wanted || of.Kind == body.Object && nodes[i].Name != l.tokens[n]) {
			continue
		}
		if l.nodes(nodes, i, n+1, visit) {
			return true
		}
		if !l.every[n] {
			return false
		}
	}
	return false
}
