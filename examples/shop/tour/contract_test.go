package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contracts loads all six as another reader of OpenAPI understands them.
func contracts(t *testing.T) []routers.Router {
	t.Helper()
	files, err := filepath.Glob("../contracts/*.yaml")
	if err != nil || len(files) != 6 {
		t.Fatalf("%d contracts, %v", len(files), err)
	}
	var all []routers.Router
	for _, f := range files {
		doc, err := openapi3.NewLoader().LoadFromFile(f)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		router, err := legacy.NewRouter(doc)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, router)
	}
	return all
}

// check says what the contracts think of a request: "" fine, "match" not declared, "contract" declared but not like this.
func check(t *testing.T, all []routers.Router, raw []byte) (string, *openapi3.Operation) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for _, router := range all {
		route, params, err := router.FindRoute(r)
		if err != nil {
			continue
		}
		input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			t.Logf("%s %s: %.200s", r.Method, r.URL, err)
			return "contract", route.Operation
		}
		for name, values := range r.URL.Query() { // the library lets undeclared parameters pass; we don't
			if p := route.Operation.Parameters.GetByInAndName("query", name); p == nil || len(values) > 1 {
				return "contract", route.Operation
			}
		}
		return "", route.Operation
	}
	return "match", nil
}

// builder makes the bytes that the tour would send.
func builder() message {
	return message{host: "localhost:8443", token: gatehouse{}.tokens(), inside: "7001"}
}

// Every operation says who it is for: an id, a written security requirement, and roles unless it is public or for any caller.
func TestContractsSayWho(t *testing.T) {
	files, err := filepath.Glob("../contracts/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ids, versions := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		doc, err := openapi3.NewLoader().LoadFromFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Validate(context.Background()); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		versions[doc.OpenAPI[:3]] = true
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				where := f + " " + method + " " + path
				if op.OperationID == "" || ids[op.OperationID] {
					t.Errorf("%s: operationId %q is missing or used twice", where, op.OperationID)
				}
				ids[op.OperationID] = true
				if op.Security == nil {
					t.Errorf("%s: no security requirement of its own", where)
					continue
				}
				_, roles := op.Extensions["x-gatehouse-roles"]
				if public := len(*op.Security) == 0; public == roles && !strings.HasSuffix(path, "/profile") {
					t.Errorf("%s: public %v and roles %v", where, public, roles)
				}
				for _, word := range []string{"admin", "debug", "internal"} {
					if strings.Contains(path, word) {
						t.Errorf("%s: this must not be declared", where)
					}
				}
			}
		}
	}
	if len(ids) != 22 || !versions["3.0"] || !versions["3.1"] {
		t.Errorf("%d operations, versions %v", len(ids), versions)
	}
}

// The contracts admit every good request, whose caller holds a role and the scopes that the operation asks for.
func TestContractsAdmitGoods(t *testing.T) {
	all := contracts(t)
	for _, g := range goods() {
		raw, err := g.write(builder())
		if err != nil {
			t.Fatal(err)
		}
		verdict, op := check(t, all, raw)
		if verdict != "" {
			t.Errorf("%s: %s", g.Name, verdict)
			continue
		}
		if why := missing(op, g.User); why != "" {
			t.Errorf("%s: %s", g.Name, why)
		}
	}
}

// missing says what a person lacks for an operation.
func missing(op *openapi3.Operation, user string) string {
	if len(*op.Security) == 0 {
		return ""
	}
	who, ok := people()[user]
	if !ok {
		return "no token"
	}
	if roles, ok := op.Extensions["x-gatehouse-roles"].([]any); ok && !slices.Contains(roles, any(who.role)) {
		return "role " + who.role
	}
	for _, scopes := range (*op.Security)[0] {
		for _, s := range scopes {
			if !slices.Contains(who.scopes, s) {
				return "scope " + s
			}
		}
	}
	return ""
}

// An attack is credited to the one guard that stops it: the contracts refuse exactly what is credited to contract and match,
// roles and scopes exactly what is credited to access. So taking a guard away lets its own attacks through and no others.
func TestCreditIsExclusive(t *testing.T) {
	all := contracts(t)
	for _, a := range append(attacks(), open()...) {
		if a.Guard == "wire" || a.Guard == "canon" || a.Guard == "cors" || a.Hole == "ALL-09" || a.Hole == "ALL-10" {
			continue // not for a contract to judge, judged while the body is read (media type), or unreadable to the library (gzip)
		}
		messages, err := a.Write(builder())
		if err != nil {
			t.Fatal(err)
		}
		verdict, op := check(t, all, messages[0])
		want := ""
		if a.Guard == "match" || a.Guard == "contract" {
			want = a.Guard
		}
		if verdict != want {
			t.Errorf("%s %s: contracts say %q, want %q", a.Hole, a.Name, verdict, want)
		}
		if op == nil || a.Guard == "identity" {
			continue
		}
		head, _, _ := bytes.Cut(messages[0], []byte("\r\n\r\n"))
		if why := missing(op, holder(t, head)); (why != "") != (a.Guard == "access") {
			t.Errorf("%s %s: lacks %q", a.Hole, a.Name, why)
		}
	}
}

// holder finds whose token a request carries.
func holder(t *testing.T, head []byte) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	for name, who := range people() {
		if r.Header.Get("Authorization") == "Bearer "+unsigned(name, who.role, who.scopes...) {
			return name
		}
	}
	return ""
}
