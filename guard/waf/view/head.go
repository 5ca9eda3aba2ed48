package view

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// fillLine reads the connection and the request line, as the server gets it.
func (v *View) fillLine(x *gate.Exchange) {
	r := x.Request
	query := canon.EncodeQuery(r.Query)
	uri := r.Path
	if query != "" {
		uri += "?" + query
	}
	protocol := "HTTP/1.1"
	if r.Major == 2 {
		protocol = "HTTP/2.0"
	}
	path := decoded(r)
	v.single[variables.UniqueID].Text = x.ID
	v.single[variables.RemoteAddr].Text = x.Source.Client.String()
	v.single[variables.ServerName].Text = r.Host
	v.single[variables.RequestMethod].Text = r.Method
	v.single[variables.RequestProtocol].Text = protocol
	v.single[variables.RequestLine].Text = r.Method + " " + uri + " " + protocol
	v.single[variables.RequestURI].Text = uri
	v.single[variables.RequestURIRaw].Text = uri
	v.single[variables.RequestFilename].Text = path
	v.single[variables.RequestBasename].Text = basename(path)
	v.single[variables.QueryString].Text = query
}

// decoded is the path without its escapes. No segment holds a slash, so the joined segments say the same.
func decoded(r *canon.Request) string {
	if strings.IndexByte(r.Path, '%') < 0 {
		return r.Path
	}
	return "/" + strings.Join(r.Segments, "/")
}

// basename is what follows the last slash or backslash, and the whole path where nothing does.
func basename(path string) string {
	if at := strings.LastIndexAny(path, `/\`); at+1 < len(path) {
		return path[at+1:]
	}
	return path
}

// fillArguments reads the values of the query, of declared fields and of the path. A declared field is a value like any
// other, and the rules look at few fields by themselves. Where no template says which parts of the path are values, all
// are.
func (v *View) fillArguments(x *gate.Exchange) {
	r, contract := x.Request, x.Operation.Contract
	for _, p := range r.Query {
		v.arg(0, p.Name, p.Value)
	}
	if contract != nil {
		for _, p := range contract.Parameters {
			if p.In != "header" {
				continue
			}
			for _, value := range r.Fields.Values(p.Name) {
				v.arg(0, p.Name, value)
			}
		}
	}
	from := len(v.args.pairs)
	v.args.path = from
	for _, p := range x.Params {
		v.arg(from, p.Name, p.Value)
	}
	if contract == nil {
		for i, s := range r.Segments {
			v.arg(from, "path."+strconv.Itoa(i+1), s)
		}
	}
	v.args.post = len(v.args.pairs)
}

// fillFields reads the fields and cookies as the server gets them: the coding of a body that was read has been taken off,
// and its length is the length with which it goes on. The canonical form has no such field, and rules count a POST
// without one as suspicious. A body that streams past unread is no body to the rules.
func (v *View) fillFields(r *canon.Request, tree *body.Tree) {
	v.field("Host", r.Host)
	for name, values := range r.Fields {
		if name == "" || name == "Content-Encoding" && len(tree.Raw) > 0 {
			continue
		}
		for _, value := range values {
			v.field(name, value)
		}
	}
	v.fillCookies(r)
	length := max(r.Length, 0)
	if len(tree.Raw) > 0 {
		length = int64(len(tree.Raw))
	}
	v.field("Content-Length", strconv.FormatInt(length, 10))
}

func (v *View) field(name, value string) {
	v.add(variables.RequestHeaders, name, value)
	v.add(variables.RequestHeadersNames, name, name)
}

// fillCookies takes the cookies that canon has read. Should the field say anything else, which it cannot in a canonical
// request, then what it says counts.
func (v *View) fillCookies(r *canon.Request) {
	lines := r.Fields[http.CanonicalHeaderKey("Cookie")]
	if len(lines) == 0 && len(r.Cookies) > 0 {
		v.field("Cookie", canon.EncodeCookies(r.Cookies))
	}
	if len(lines) == 0 || len(lines) == 1 && spells(lines[0], r.Cookies) {
		for _, c := range r.Cookies {
			v.cookie(c.Name, c.Value)
		}
		return
	}
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimFunc(part, isBlank), "=")
			name, value = strings.TrimFunc(name, isBlank), strings.TrimFunc(value, isBlank)
			if name != "" || value != "" {
				v.cookie(name, value)
			}
		}
	}
}

func (v *View) cookie(name, value string) {
	v.add(variables.RequestCookies, name, value)
	v.add(variables.RequestCookiesNames, name, name)
}

func isBlank(c rune) bool { return c <= ' ' || c == 0x7f }

// spells tells that a Cookie field is just these cookies in canonical form.
func spells(line string, cookies []canon.Pair) bool {
	for i, c := range cookies {
		ok := true
		if i > 0 {
			line, ok = strings.CutPrefix(line, "; ")
		}
		if ok {
			line, ok = strings.CutPrefix(line, c.Name)
		}
		if ok {
			line, ok = strings.CutPrefix(line, "=")
		}
		if ok {
			line, ok = strings.CutPrefix(line, c.Value)
		}
		if !ok {
			return false
		}
	}
	return line == ""
}
