package openapi

import (
	"net/url"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/route"
)

const dialect = "https://spec.openapis.org/oas/3.1/dialect/base"

func (l *loader) loadRoot(n *node) {
	version := n.get("openapi")
	switch {
	case version == nil && n.get("swagger") != nil:
		l.fail(n.get("swagger"), "openapi: 3.1.0", "Swagger 2.0 is not read; convert the contract to OpenAPI 3")
		return
	case version == nil:
		l.fail(n, "openapi: 3.1.0", "no version of OpenAPI is given")
		return
	}
	word := version.text
	switch {
	case word == "3.0" || strings.HasPrefix(word, "3.0."):
		l.minor = 0
	case word == "3.1" || strings.HasPrefix(word, "3.1."):
		l.minor = 1
	case word == "3.2" || strings.HasPrefix(word, "3.2."):
		l.minor = 2
	default:
		l.fail(version, "openapi: 3.1.0", "OpenAPI %q is not read; 3.0, 3.1 and 3.2 are", word)
		return
	}
	l.keys(n, "openapi", "info", "servers", "paths", "components", "security", "tags", "externalDocs", "webhooks",
		"jsonSchemaDialect", "$self")
	if d := n.get("jsonSchemaDialect"); d != nil && d.text != schemaDialect && !strings.HasPrefix(d.text, "https://spec.openapis.org/oas/3.") {
		l.fail(d, dialect, "schemas of dialect %q are not read", d.text)
	}
	if self := n.get("$self"); self != nil {
		l.fail(self, "", "$self changes what references mean and is not read; leave it out")
	}
	l.contract.Title, l.contract.Version = n.get("info").str("title"), n.get("info").str("version")
	l.contract.Base = l.base(n.get("servers"))
	l.loadSchemes(n)
	l.loadPaths(n)
}

// keys notes a mistake for every member that is neither known nor an extension: a typo would switch something off.
func (l *loader) keys(n *node, known ...string) {
	for _, m := range n.members {
		if strings.HasPrefix(m.name, "x-") && !strings.HasPrefix(m.name, "x-gatehouse-") {
			continue
		}
		found := false
		for _, k := range known {
			found = found || k == m.name
		}
		if !found {
			l.failMember(n, m.name, mistake.Nearest(m.name, known), "unknown member %q", m.name)
		}
	}
}

// base is the canonical path of the first server. Its host never is a target.
func (l *loader) base(servers *node) string {
	if servers == nil {
		return ""
	}
	if servers.kind != list {
		l.fail(servers, "", "servers is %s, not a list", servers.kind)
		return ""
	}
	if len(servers.items) == 0 {
		return ""
	}
	first := servers.items[0]
	address := first.get("url")
	if address == nil || address.kind != text {
		l.fail(first, "url: https://api.example.com/v1", "a server has no url")
		return ""
	}
	word := address.text
	for _, v := range first.get("variables").each() {
		word = strings.ReplaceAll(word, "{"+v.name+"}", v.value.str("default"))
	}
	u, err := url.Parse(word)
	if err != nil || strings.ContainsAny(word, "{}?#") {
		l.fail(address, "https://api.example.com/v1", "%q is not the address of a server", address.text)
		return ""
	}
	return l.canonicalBase(address, u.EscapedPath())
}

func (l *loader) canonicalBase(address *node, path string) string {
	path = strings.TrimSuffix(path, "/")
	if path == "" || path == "." {
		return ""
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + strings.TrimPrefix(path, "./")
	}
	segments, err := route.Parse(path)
	if err != nil {
		l.fail(address, "", "path of the server: %s", err)
		return ""
	}
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(escapeSegment(s.Prefix))
	}
	return b.String()
}

// each gives the members of an object, none of anything else.
func (n *node) each() []member {
	if n == nil || n.kind != object {
		return nil
	}
	return n.members
}

func (l *loader) loadSchemes(n *node) {
	for _, m := range n.get("components").get("securitySchemes").each() {
		s := l.resolve(m.value)
		if s == nil {
			continue
		}
		scheme := Scheme{Name: m.name, Type: s.str("type")}
		switch scheme.Type {
		case "apiKey":
			scheme.In, scheme.Key = s.str("in"), s.str("name")
			if scheme.Key == "" || scheme.In != "query" && scheme.In != "header" && scheme.In != "cookie" {
				l.fail(s, "in: header", "an apiKey scheme needs a name and in: query, header or cookie")
			}
		case "http":
			scheme.Key = strings.ToLower(s.str("scheme"))
		case "openIdConnect":
			scheme.URL = s.str("openIdConnectUrl")
		case "oauth2", "mutualTLS":
		default:
			l.fail(s, "type: oauth2", "security scheme %q has no known type", m.name)
		}
		l.contract.Schemes = append(l.contract.Schemes, scheme)
	}
}

func (l *loader) scheme(name string) *Scheme {
	for i := range l.contract.Schemes {
		if l.contract.Schemes[i].Name == name {
			return &l.contract.Schemes[i]
		}
	}
	return nil
}

// escapeSegment writes a decoded path segment as RFC 3986 section 3.3 allows, escaping nothing that may stand bare.
func escapeSegment(s string) string {
	const bare = "-._~!$&'()*+,;=:@"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(bare, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
