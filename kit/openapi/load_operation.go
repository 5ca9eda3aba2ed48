package openapi

import (
	"errors"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/route"
)

var (
	methods    = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}
	streams    = []string{"websocket", "sse", "grpc", "upload"}
	itemKeys   = append([]string{"$ref", "summary", "description", "servers", "parameters", "additionalOperations"}, methods...)
	methodKeys = []string{"tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody", "responses",
		"callbacks", "deprecated", "security", "servers", "x-gatehouse-roles", "x-gatehouse-stream"}
)

func (l *loader) loadPaths(root *node) {
	paths := root.get("paths")
	if paths == nil {
		return
	}
	if paths.kind != object {
		l.fail(paths, "", "paths is %s, not an object", paths.kind)
		return
	}
	var entries []route.Entry[*node]
	ids := map[string]bool{}
	for _, m := range paths.members {
		if strings.HasPrefix(m.name, "x-") {
			continue
		}
		segments, err := route.Parse(m.name)
		if err != nil {
			l.failMember(paths, m.name, "", "%s", err)
			continue
		}
		item := l.resolve(m.value)
		if item == nil {
			continue
		}
		if item.kind != object {
			l.fail(item, "", "a path item is %s, not an object", item.kind)
			continue
		}
		before := len(l.contract.Operations)
		p := pathItem{template: m.name, item: item, segments: segments}
		l.loadItem(p, ids)
		for _, op := range l.contract.Operations[before:] {
			entries = append(entries, route.Entry[*node]{Method: op.Method, Template: m.name, Value: m.value, Place: op.Pointer})
		}
	}
	l.refuseEqual(entries)
}

// refuseEqual finds templates that differ only in the names of their variables.
func (l *loader) refuseEqual(entries []route.Entry[*node]) {
	_, err := route.New(entries)
	var equal mistake.List
	errors.As(err, &equal)
	for _, m := range equal {
		for _, e := range entries {
			if e.Place == m.Path {
				l.fail(e.Value, "", "%s", m.What)
				break
			}
		}
	}
}

// pathItem is one entry of paths.
type pathItem struct {
	template string
	item     *node
	segments []route.Segment
}

func (l *loader) loadItem(p pathItem, ids map[string]bool) {
	l.keys(p.item, itemKeys...)
	l.otherServers(p.item)
	for _, m := range p.item.members {
		if slices.Contains(methods, m.name) && (m.name != "query" || l.minor >= 2) {
			l.loadMethod(p, strings.ToUpper(m.name), m, ids)
		}
	}
	if extra := p.item.get("additionalOperations"); extra != nil {
		for _, m := range extra.each() {
			if l.minor < 2 || slices.Contains(methods, strings.ToLower(m.name)) || !isToken(m.name) {
				l.failMember(extra, m.name, "", "%q is no further method that this version of OpenAPI has", m.name)
				continue
			}
			l.loadMethod(p, m.name, m, ids)
		}
	}
}

// otherServers warns of servers that would put an operation elsewhere.
func (l *loader) otherServers(n *node) {
	if s := n.get("servers"); s != nil {
		l.warn(s, "operation.servers", "servers: of the whole contract", "servers of a path or an operation are not used: it is served below %q like all others", l.contract.Base+"/")
	}
}

// isToken tells that s is a token as RFC 9110 section 5.6.2 writes it.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

func (l *loader) loadMethod(p pathItem, method string, m member, ids map[string]bool) {
	n := m.value
	op := &Operation{Method: method, Template: p.template, Pointer: n.pointer(), Line: m.line, Column: m.column}
	if n.kind != object {
		l.fail(n, "", "an operation is %s, not an object", n.kind)
		return
	}
	l.keys(n, methodKeys...)
	l.otherServers(n)
	op.ID = method + " " + p.template
	if id := n.get("operationId"); id != nil {
		if id.kind != text || id.text == "" || ids[id.text] {
			l.fail(id, "", "an operationId is a text that no other operation has")
		} else {
			op.ID = id.text
		}
	}
	ids[op.ID] = true
	l.operation = op.ID
	op.Deprecated = n.yes("deprecated")
	op.Security = l.security(n)
	op.Roles = l.roles(n.get("x-gatehouse-roles"))
	if s := n.get("x-gatehouse-stream"); s != nil {
		if op.Stream = s.text; s.kind != text || !slices.Contains(streams, s.text) {
			l.fail(s, mistake.Nearest(s.text, streams), "a stream is one of %s", strings.Join(streams, ", "))
		}
	}
	l.loadParameters(p, n, op)
	l.loadBodies(n, op)
	l.operation = ""
	l.contract.Operations = append(l.contract.Operations, op)
}

func (l *loader) roles(n *node) *[]string {
	if n == nil {
		return nil
	}
	roles := []string{}
	if n.kind != list {
		l.fail(n, "[customer]", "x-gatehouse-roles is %s, not a list", n.kind)
	}
	for _, item := range n.items {
		if item.kind != text || strings.TrimSpace(item.text) == "" || slices.Contains(roles, item.text) {
			l.fail(item, "", "a role is a text, written once")
			continue
		}
		roles = append(roles, item.text)
	}
	return &roles
}

func (l *loader) security(n *node) Security {
	said, written := "operation", n.get("security")
	if written == nil {
		if said, written = "inherited", l.root.root.get("security"); written == nil {
			return Security{Said: "absent"}
		}
	}
	s := Security{Said: said}
	if written.kind != list {
		l.fail(written, "[]", "security is %s, not a list", written.kind)
		return s
	}
	s.Public = said == "operation" && len(written.items) == 0
	for _, item := range written.items {
		if item.kind != object {
			l.fail(item, "", "a security requirement is %s, not an object", item.kind)
			continue
		}
		if len(item.members) == 0 {
			s.Optional = true
			continue
		}
		s.AnyOf = append(s.AnyOf, l.need(item))
	}
	return s
}

func (l *loader) need(item *node) SecurityNeed {
	var need SecurityNeed
	for _, m := range item.members {
		if l.scheme(m.name) == nil {
			var names []string
			for _, s := range l.contract.Schemes {
				names = append(names, s.Name)
			}
			l.failMember(item, m.name, mistake.Nearest(m.name, names), "security scheme %q is not declared", m.name)
			continue
		}
		need.Schemes = append(need.Schemes, m.name)
		if m.value.kind != list {
			l.fail(m.value, "[]", "the scopes of a security requirement are %s, not a list", m.value.kind)
			continue
		}
		for _, scope := range m.value.items {
			if scope.kind != text || scope.text == "" {
				l.fail(scope, "", "a scope is a text")
				continue
			}
			need.Scopes = append(need.Scopes, scope.text)
		}
	}
	slices.Sort(need.Schemes)
	slices.Sort(need.Scopes)
	need.Scopes = slices.Compact(need.Scopes)
	return need
}
