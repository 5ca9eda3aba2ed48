package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func check(t *testing.T, c Config, a gate.Access, p *gate.Principal) gate.Verdict {
	t.Helper()
	op := &gate.Operation{Key: "getOrder", Access: a}
	g, err := New(c, &gate.API{Name: "orders", Operations: []*gate.Operation{op}})
	if err != nil {
		t.Fatal(err)
	}
	x := &gate.Exchange{Operation: op}
	if p != nil {
		x.Identify(*p)
	}
	return g.Check(context.Background(), x)
}

func one(needs ...gate.Need) gate.Access { return gate.Access{Rules: []gate.Rule{{AnyOf: needs}}} }

// Whatever nobody wrote admits nobody.
func TestZeroValuesDeny(t *testing.T) {
	everything := &gate.Principal{Issuer: "i", Subject: "s", Roles: []string{"admin", ""}, Scopes: []string{"all", ""}}
	for name, a := range map[string]gate.Access{
		"no access":              {},
		"no rules":               {Rules: []gate.Rule{}},
		"a rule without needs":   {Rules: []gate.Rule{{}}},
		"an empty need":          one(gate.Need{}),
		"an empty role list":     one(gate.Need{Roles: []string{}}),
		"an empty scope list":    one(gate.Need{Scopes: []string{}}),
		"empty roles, a scope":   one(gate.Need{Roles: []string{}, Scopes: []string{"all"}}),
		"a role, empty scopes":   one(gate.Need{Roles: []string{"admin"}, Scopes: []string{}}),
		"the role without name":  one(gate.Need{Roles: []string{""}}),
		"the scope without name": one(gate.Need{Scopes: []string{""}}),
		"one rule of two empty":  {Rules: []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}}, {}}},
	} {
		if v := check(t, Config{}, a, everything); v.Allowed() || v.Code != gate.NotAllowed {
			t.Errorf("%s: %+v", name, v)
		} else if strings.Contains(name, "empty") && v.Reason != Nobody {
			t.Errorf("%s: %s, though the operation admits no caller at all", name, v.Reason)
		}
		if v := check(t, Config{}, a, nil); v.Allowed() || v.Code != gate.NoIdentity || v.Reason != NoCaller {
			t.Errorf("%s, nobody calling: %+v", name, v)
		}
	}
	var zero Guard
	if v := zero.Check(context.Background(), &gate.Exchange{Operation: &gate.Operation{Access: gate.Access{Public: true}}}); v.Allowed() {
		t.Error("the zero guard allows")
	}
}

func TestWhoMay(t *testing.T) {
	customer := &gate.Principal{Roles: []string{"customer"}, Scopes: []string{"orders:read"}}
	for _, c := range []struct {
		name   string
		access gate.Access
		caller *gate.Principal
		reason gate.Reason // "" when admitted
		fix    string
	}{
		{"public, nobody", gate.Access{Public: true}, nil, "", ""},
		{"public, somebody", gate.Access{Public: true}, customer, "", ""},
		{"any caller", one(gate.Need{AnyCaller: true}), customer, "", ""},
		{"any caller, nobody", one(gate.Need{AnyCaller: true}), nil, NoCaller, ""},
		{"role", one(gate.Need{Roles: []string{"support", "customer"}}), customer, "", ""},
		{"other role", one(gate.Need{Roles: []string{"support"}}), customer, Role, "roles: [customer]  # apis[orders].operations.getOrder"},
		{"role in another case", one(gate.Need{Roles: []string{"Customer"}}), customer, Role, "roles: [customer]"},
		{"part of a role", one(gate.Need{Roles: []string{"custom"}}), customer, Role, "roles: [customer]"},
		{"scope", one(gate.Need{Scopes: []string{"orders:read"}}), customer, "", ""},
		{"scopes, one missing", one(gate.Need{Scopes: []string{"orders:read", "orders:write"}}), customer, Scope, "scopes: [orders:read]  # apis[orders].operations.getOrder"},
		{"role and scope", one(gate.Need{Roles: []string{"customer"}, Scopes: []string{"orders:read"}}), customer, "", ""},
		{"role without scope", one(gate.Need{Roles: []string{"customer"}, Scopes: []string{"x"}}), customer, Scope, ""},
		{"scope without role", one(gate.Need{Roles: []string{"support"}, Scopes: []string{"orders:read"}}), customer, Role, "roles: [customer]"},
		{"one of two needs", one(gate.Need{Roles: []string{"support"}}, gate.Need{Scopes: []string{"orders:read"}}), customer, "", ""},
		{"the closer of two needs", one(gate.Need{Roles: []string{"support"}}, gate.Need{Scopes: []string{"x"}}), customer, Scope, ""},
		{"all rules", gate.Access{Rules: []gate.Rule{{AnyOf: []gate.Need{{Scopes: []string{"orders:read"}}}}, {AnyOf: []gate.Need{{Roles: []string{"support"}}}, Place: "gatehouse.yaml#/x"}}},
			customer, Role, "roles: [customer]  # gatehouse.yaml#/x"},
		{"a caller without roles", one(gate.Need{Roles: []string{"support"}}), &gate.Principal{}, Role, ""},
		{"nobody", one(gate.Need{}), customer, Nobody, "roles: [customer]  # apis"},
		{"no rule", gate.Access{}, customer, Nobody, "callers: any  # apis[orders].operations.getOrder"},
		{"role in the contract", gate.Access{Rules: []gate.Rule{{AnyOf: []gate.Need{{Roles: []string{"support"}}}, Place: "orders.yaml#/paths/~1/get/x-gatehouse-roles"}}},
			customer, Role, "x-gatehouse-roles: [customer]  # orders.yaml#/paths/~1/get/x-gatehouse-roles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := check(t, Config{}, c.access, c.caller)
			if v.Allowed() != (c.reason == "") || v.Reason != c.reason || !strings.HasPrefix(v.Fix, c.fix) || c.fix == "" && v.Fix != "" {
				t.Errorf("%+v", v)
			}
			if c.reason == NoCaller && v.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no challenge")
			}
			if place := c.access.Rules; c.reason == Role && len(place) > 1 && v.Rule != place[1].Place {
				t.Errorf("rule %q", v.Rule)
			}
		})
	}
}

func TestOperationOfAnotherAPI(t *testing.T) {
	g, err := New(Config{}, &gate.API{Name: "orders", Operations: []*gate.Operation{nil, {Access: gate.Access{Public: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []*gate.Operation{nil, {Access: gate.Access{Public: true}}} {
		if v := g.Check(context.Background(), &gate.Exchange{Operation: op}); v.Allowed() || v.Reason != Unknown {
			t.Errorf("%+v", v)
		}
	}
}

func TestHierarchy(t *testing.T) {
	c := Config{Hierarchy: map[string][]string{"admin": {"support", "audit"}, "support": {"customer"}}}
	for role, may := range map[string]string{"admin": "admin support audit customer", "support": "support customer", "audit": "audit", "customer": "customer", "guest": "guest"} {
		for _, wanted := range []string{"admin", "support", "audit", "customer", "guest"} {
			v := check(t, c, one(gate.Need{Roles: []string{wanted}}), &gate.Principal{Roles: []string{role}})
			if v.Allowed() != slices.Contains(strings.Fields(may), wanted) {
				t.Errorf("%s as %s: %t", role, wanted, v.Allowed())
			}
		}
	}
}

func TestWrongDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		hierarchy map[string][]string
		path      string
	}{
		"circle of one":   {map[string][]string{"a": {"a"}}, "hierarchy.a"},
		"circle of three": {map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}, "hierarchy.a"},
		"empty list":      {map[string][]string{"a": {}}, "hierarchy.a"},
		"empty name":      {map[string][]string{"": {"b"}}, "hierarchy"},
		"name with space": {map[string][]string{"a ": {"b"}}, "hierarchy"},
		"empty role":      {map[string][]string{"a": {"b", ""}}, "hierarchy.a[1]"},
	} {
		g, err := New(Config{Hierarchy: c.hierarchy}, &gate.API{Name: "orders"})
		var list mistake.List
		if g != nil || !errors.As(err, &list) || list[0].Path != c.path {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g, err := New(Config{}, nil); g != nil || err == nil {
		t.Error("without an API")
	}
}

// reference decides like gate.Access says, slowly and without cleverness; see A24 for why there are two.
func reference(hierarchy map[string][]string, a gate.Access, p *gate.Principal) bool {
	if a.Public {
		return true
	}
	if p == nil || len(a.Rules) == 0 {
		return false
	}
	has := map[string]bool{}
	var grant func(role string)
	grant = func(role string) {
		has[role] = true
		for _, lower := range hierarchy[role] {
			grant(lower)
		}
	}
	for _, role := range p.Roles {
		grant(role)
	}
	for _, r := range a.Rules {
		met := false
		for _, n := range r.AnyOf {
			if n.AnyCaller {
				met = true
				continue
			}
			if n.Roles == nil && n.Scopes == nil {
				continue
			}
			role, scope := n.Roles == nil, n.Scopes == nil || len(n.Scopes) > 0
			for _, name := range n.Roles {
				role = role || has[name]
			}
			for _, name := range n.Scopes {
				scope = scope && slices.Contains(p.Scopes, name)
			}
			met = met || role && scope
		}
		if !met {
			return false
		}
	}
	return true
}

// A24: every pair of rules from every pair of needs of a small world, against every caller of that world.
func TestSmallWorldAgreesWithReference(t *testing.T) {
	lists := [][]string{nil, {}, {"a"}, {"b"}, {"a", "b"}}
	var needs []gate.Need
	for _, roles := range lists {
		for _, scopes := range lists {
			needs = append(needs, gate.Need{Roles: roles, Scopes: scopes})
		}
	}
	needs = append(needs, gate.Need{AnyCaller: true}, gate.Need{AnyCaller: true, Roles: []string{}})
	rules := []gate.Rule{{}}
	for i, n := range needs {
		rules = append(rules, gate.Rule{AnyOf: []gate.Need{n}})
		for _, m := range needs[i+1:] {
			rules = append(rules, gate.Rule{AnyOf: []gate.Need{n, m}})
		}
	}
	var accesses []gate.Access
	for i, r := range rules {
		accesses = append(accesses, gate.Access{Rules: []gate.Rule{r}}, gate.Access{Public: true, Rules: []gate.Rule{r}})
		for j := i; j < len(rules); j += 7 {
			accesses = append(accesses, gate.Access{Rules: []gate.Rule{r, rules[j]}})
		}
	}
	accesses = append(accesses, gate.Access{}, gate.Access{Public: true})
	callers := []*gate.Principal{nil}
	for _, roles := range lists {
		for _, scopes := range lists {
			callers = append(callers, &gate.Principal{Roles: roles, Scopes: scopes})
		}
	}
	decided, allowed := 0, 0
	for _, hierarchy := range []map[string][]string{nil, {"a": {"b"}}} {
		api := &gate.API{Name: "orders"}
		for i, a := range accesses {
			api.Operations = append(api.Operations, &gate.Operation{Key: fmt.Sprint(i), Access: a})
		}
		g, err := New(Config{Hierarchy: hierarchy}, api)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range api.Operations {
			for _, p := range callers {
				x := &gate.Exchange{Operation: op}
				if p != nil {
					x.Identify(*p)
				}
				v, want := g.Check(context.Background(), x), reference(hierarchy, op.Access, p)
				if v.Allowed() != want {
					t.Fatalf("%+v\ncaller %+v, hierarchy %v: %t (%s), the reference says %t", op.Access, p, hierarchy, v.Allowed(), v.Detail, want)
				}
				if decided++; want {
					allowed++
				} else if !slices.Contains(Reasons(), v.Reason) {
					t.Fatalf("reason %q is not listed", v.Reason)
				}
			}
		}
	}
	if allowed == 0 || allowed == decided {
		t.Errorf("%d of %d allowed: the world is too small", allowed, decided)
	}
}

func BenchmarkCheck(b *testing.B) {
	op := &gate.Operation{Key: "getOrder", Access: one(gate.Need{Roles: []string{"support", "customer"}, Scopes: []string{"orders:read"}})}
	g, err := New(Config{}, &gate.API{Name: "orders", Operations: []*gate.Operation{op}})
	if err != nil {
		b.Fatal(err)
	}
	x := &gate.Exchange{Operation: op}
	x.Identify(gate.Principal{Roles: []string{"guest", "customer"}, Scopes: []string{"orders:write", "orders:read"}})
	b.ReportAllocs()
	for b.Loop() {
		if v := g.Check(context.Background(), x); !v.Allowed() {
			b.Fatal(v.Reason)
		}
	}
}
