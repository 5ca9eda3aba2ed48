package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/access"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// said is one way in which an author may write who may call: as OpenAPI has it (nil: the key is not there; an empty
// alternative is {}) or in the document.
type said struct {
	root, operation [][]string // alternatives of scopes; {"-"} is {}
	rootThere, here bool
	contractRoles   *[]string
	document        OperationConfig
}

// reference is issue 2's paragraph, word by word, and shares nothing with accessOf.
func (s said) reference(roles, scopes []string, known bool) (admitted, unsaid bool) {
	silent := !s.document.Public && s.document.Callers == "" && s.document.Roles == nil && s.document.Scopes == nil && s.contractRoles == nil
	if s.document.Public {
		return true, false
	}
	if s.here && len(s.operation) == 0 && silent {
		return true, false
	}
	alternatives, there := s.operation, s.here
	if !s.here {
		alternatives, there = s.root, s.rootThere
	}
	optional := slices.ContainsFunc(alternatives, func(a []string) bool { return slices.Equal(a, none) })
	unsaid = silent && (!there || len(alternatives) == 0 || optional)
	if !known {
		return false, unsaid
	}
	real := slices.DeleteFunc(slices.Clone(alternatives), func(a []string) bool { return slices.Equal(a, none) })
	admitted = len(real) == 0
	for _, a := range real {
		admitted = admitted || subset(a, scopes)
	}
	for _, list := range []*[]string{s.contractRoles, s.document.Roles} {
		admitted = admitted && (list == nil || slices.ContainsFunc(*list, func(r string) bool { return slices.Contains(roles, r) }))
	}
	if list := s.document.Scopes; list != nil {
		admitted = admitted && len(*list) > 0 && subset(*list, scopes)
	}
	return admitted, unsaid
}

var none = []string{"-"}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(w string) bool { return !slices.Contains(b, w) })
}

// contract writes the said as a contract.
func (s said) contract() string {
	write := func(there bool, list [][]string) string {
		if !there {
			return ""
		}
		var words []string
		for _, a := range list {
			if slices.Equal(a, none) {
				words = append(words, "{}")
			} else {
				words = append(words, "{token: ["+strings.Join(a, ", ")+"]}")
			}
		}
		return "security: [" + strings.Join(words, ", ") + "]"
	}
	roles := ""
	if s.contractRoles != nil {
		roles = "x-gatehouse-roles: [" + strings.Join(*s.contractRoles, ", ") + "]"
	}
	return fmt.Sprintf(`openapi: 3.0.3
info: {title: t, version: "1"}
%s
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
paths:
  /x:
    get:
      operationId: getX
      %s
      %s
      responses: {"200": {description: ok}}
`, write(s.rootThere, s.root), write(s.here, s.operation), roles)
}

func list(words ...string) *[]string {
	l := append([]string{}, words...)
	return &l
}

// TestWhoMayCall goes through every combination of contract and document, and asks the real guard about callers of every
// kind (rows F1, F2, G1): nobody is admitted whom the reference turns away, nor the other way round.
func TestWhoMayCall(t *testing.T) {
	type requirement struct {
		there bool
		list  [][]string
	}
	securities := []requirement{
		{}, {true, [][]string{}}, {true, [][]string{none}}, {true, [][]string{{}}}, {true, [][]string{{"read"}}},
		{true, [][]string{none, {"read"}}}, {true, [][]string{{"read"}, {"write", "admin"}}},
	}
	documents := map[string]OperationConfig{
		"": {}, "public": {Public: true}, "any": {Callers: "any"}, "roles []": {Roles: list()}, "roles": {Roles: list("staff", "boss")},
		"scopes []": {Scopes: list()}, "scopes": {Scopes: list("write")}, "both": {Roles: list("staff"), Scopes: list("write")},
		"roles, no scope": {Roles: list("staff"), Scopes: list()},
	}
	combinations, unsaidOnes := 0, 0
	for _, root := range securities {
		for _, here := range securities {
			for _, roles := range []*[]string{nil, list(), list("customer")} {
				for name, document := range documents {
					s := said{root.list, here.list, root.there, here.there, roles, document}
					if judge(t, s, name) {
						unsaidOnes++
					}
					combinations++
				}
			}
		}
	}
	if combinations != 7*7*3*9 || unsaidOnes < 10 {
		t.Errorf("%d combinations, %d of them unsaid", combinations, unsaidOnes)
	}
}

func judge(t *testing.T, s said, name string) (silent bool) {
	t.Helper()
	text := s.contract()
	contract, err := openapi.Load("c.yaml", func(string) ([]byte, error) { return []byte(text), nil })
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var m mistake.List
	o := contract.Operations[0]
	op := &gate.Operation{Key: o.ID, Contract: o}
	op.Access, op.Open = accessOf(o, s.document, "operations.getX", &m)
	if len(m) > 0 {
		t.Fatalf("%q: %v\n%s", name, m, text)
	}
	guard, err := access.New(access.Config{}, &gate.API{Name: "t", Operations: []*gate.Operation{op}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(known bool, roles, scopes []string) bool {
		x := &gate.Exchange{Operation: op}
		if known {
			x.Identify(gate.Principal{Issuer: "i", Subject: "s", Roles: roles, Scopes: scopes})
		}
		got := guard.Check(t.Context(), x).Allowed()
		want, unsaid := s.reference(roles, scopes, known)
		if got != want {
			t.Errorf("document %q, caller known %v, roles %v, scopes %v: admitted %v, want %v\n%s", name, known, roles, scopes, got, want, text)
		}
		if has := slices.ContainsFunc(op.Open, func(f gate.Finding) bool { return f.ID == unsaidID }); has != unsaid {
			t.Errorf("document %q: unsaid %v, want %v\n%s", name, has, unsaid, text)
		}
		silent = unsaid
		return got
	}
	stranger, plain, every := ask(false, nil, nil), ask(true, nil, nil), false
	for _, roles := range [][]string{{"customer"}, {"staff"}, {"boss", "customer"}, {"customer", "staff"}} {
		for _, scopes := range [][]string{nil, {"read"}, {"write"}, {"read", "write"}, {"read", "write", "admin"}} {
			every = ask(true, roles, scopes) || every
		}
	}
	words := (&site{}).callers(op.Access, time.Now())
	want := map[bool]string{true: "nobody", false: words}[!every]
	switch {
	case stranger:
		want = "public"
	case plain:
		want = "any caller"
	case every && (words == "public" || words == "any caller" || words == "nobody"):
		want = "a role or scope"
	}
	if words != want {
		t.Errorf("document %q: the table says %q, want %q\n%s", name, words, want, text)
	}
	return silent
}

const unsaidID = "operation.unsaid" // in other words than the code's, as scripts read it

// TestContradictions: what cannot all be meant is a mistake, at its place.
func TestContradictions(t *testing.T) {
	for path, document := range map[string]OperationConfig{
		"operations.x.public":  {Public: true, Roles: list("a")},
		"operations.x.callers": {Callers: "any", Scopes: list("a")},
	} {
		var m mistake.List
		accessOf(nil, document, "operations.x", &m)
		if len(m) != 1 || m[0].Path != path || m[0].What == "" {
			t.Errorf("%s: %v", path, m)
		}
	}
}

// TestOpenedByTheDocument: the document may open what the contract shuts, but the table says so.
func TestOpenedByTheDocument(t *testing.T) {
	var m mistake.List
	roles := []string{"admin"}
	_, open := accessOf(&openapi.Operation{ID: "x", Roles: &roles}, OperationConfig{Public: true}, "operations.x", &m)
	if len(open) != 1 || open[0].ID != "operation.opened" {
		t.Errorf("%v", open)
	}
	if _, open = accessOf(&openapi.Operation{ID: "x"}, OperationConfig{Public: true}, "operations.x", &m); len(open) != 0 {
		t.Errorf("%v", open)
	}
}

// TestWordsOfRules: two rules are both needed, and what is "or" inside one stands in brackets.
func TestWordsOfRules(t *testing.T) {
	for want, a := range map[string]gate.Access{
		"nobody":     {},
		"public":     {Public: true},
		"any caller": {Rules: []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}}}},
		"(scope a or scope b+c) and role x|y": {Rules: []gate.Rule{
			{AnyOf: []gate.Need{{Scopes: []string{"a"}}, {Scopes: []string{"b", "c"}}}}, {AnyOf: []gate.Need{{Roles: []string{"x", "y"}}}}}},
		"scope a": {Rules: []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}}, {AnyOf: []gate.Need{{Scopes: []string{"a"}}, {Roles: []string{}}}}}},
	} {
		if got := (&site{}).callers(a, time.Now()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	empty := gate.Access{Rules: []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}}, {AnyOf: []gate.Need{{Roles: []string{}}}}}}
	if got := (&site{}).callers(empty, time.Now()); got != "nobody" {
		t.Errorf("one empty list: %q", got)
	}
}
