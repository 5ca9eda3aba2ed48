package expression_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/expression"
)

// claims are those of a token, as kit/jws reads them.
func claims(t testing.TB) map[string]any {
	t.Helper()
	var c map[string]any
	d := json.NewDecoder(strings.NewReader(`{"sub":"ann","groups":["shop-admin","shop-customer","admin","other"],"realm_access":{"roles":["a","b"]},"level":9007199254740993,"small":3,
		"role":"one two","none":[],"null":null,"mixed":["a",1],"https://shop.example/roles":["x"],"on":true}`))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWords(t *testing.T) {
	e := environment(t, expression.Scope{Claims: true})
	c := claims(t)
	for text, want := range map[string][]string{
		`claims.groups`: {"shop-admin", "shop-customer", "admin", "other"}, `claims.groups.filter(g, g.startsWith("shop-"))`: {"shop-admin", "shop-customer"},
		`claims.groups.filter(g, g.startsWith("shop-")).map(g, g.substring(5))`: {"admin", "customer"}, `claims.groups.filter(g, g.matches("^shop-[a-z]+$")).map(g, "role:" + g.substring(5))`: {"role:admin", "role:customer"},
		`has(claims.realm_access) ? claims.realm_access.roles : []`: {"a", "b"}, `has(claims.other) ? claims.other.roles : []`: nil, `"admin" in claims.groups ? ["support"] : []`: {"support"},
		`"root" in claims.groups ? ["support"] : []`: nil, `[]`: nil, `claims.none`: nil, `["a"] + claims.groups.filter(g, g == "admin")`: {"a", "admin"}, `[claims.sub]`: {"ann"}, `claims.role.split(" ")`: {"one", "two"},
		`claims["https://shop.example/roles"]`: {"x"}, `claims.level == 9007199254740993 && claims.level != 9007199254740992 && claims.small > 2 ? ["exact"] : []`: {"exact"}, `claims.on ? ["on"] : ["off"]`: {"on"},
		`[claims.sub.upperAscii()]`: {"ANN"}, `claims.filter(name, name.startsWith("r"))`: {"realm_access", "role"},
	} {
		w, err := e.CompileWords(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := w.Of(c); err != nil || !slices.Equal(got, want) || w.String() != text {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

// What can't be told is an error, never an empty list.
func TestWordsThatAreNone(t *testing.T) {
	e := environment(t, expression.Scope{Claims: true, Cost: 5_000})
	for text, want := range map[string]string{
		`claims.other`: "there is no other", `claims.realm_access.other`: "there is no other", `claims.sub`: "came to string, not to a list", `claims.role`: "came to string", `claims.on`: "came to bool", `claims["null"]`: "came to null",
		`claims.realm_access`: "came to map", `claims.mixed`: "item 2 of the list is int", `claims.groups.map(g, g.substring(5))`: "item 3 of the list is empty", `claims.on + claims.groups`: "no such overload", `[claims.small]`: "item 1 of the list is int",
		`claims.none + [claims["null"]]`: "item 1 of the list is null", `claims.groups.map(g, g.substring(5, 6))`: "index out of range", `claims.groups.filter(g, g.a)`: "there is no a", `claims.groups.map(g, claims.groups)`: "item 1 of the list is list",
		`claims.groups.filter(a, claims.groups.all(b, claims.groups.all(c, claims.groups.all(d, claims.groups.all(e, true)))))`: "cost too much",
	} {
		w, err := e.CompileWords(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := w.Of(claims(t)); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
		if got, err := w.Of(nil); got != nil || err == nil {
			t.Errorf("%s of nothing: %q, %v", text, got, err)
		}
	}
}

// Wrong uses, refused when they are loaded.
func TestWrongWords(t *testing.T) {
	e := environment(t, expression.Scope{Claims: true})
	for _, c := range []struct{ text, want string }{
		{``, "line 1, column 1: the expression is empty (write: [], for no words)"},
		{`"admin" in claims.groups`, `the expression is of type bool, not a list of words (write: "admin" in claims.groups ? ["word"] : [])`},
		{`"admin"`, `of type string, not a list of words (write: ["admin"])`},
		{`[1]`, "of type list(int), not a list of words"}, {`1`, "of type int"}, {`claims`, "of type map(string, dyn)"}, {`{"a": "b"}`, "of type map"}, {`[null]`, "of type list(null"}, {`[["a"]]`, "of type list(list(string))"},
		{`clams.groups`, `there is no "clams" here (write: claims)`}, {`request.path`, `there is no "request" here; known are claims`}, {`caller.roles`, `there is no "caller" here`}, {`body.x`, `there is no "body" here`}, {`params.x`, `there is no "params" here`},
		{`claims.groups.filter(g, g.startWith("a"))`, "(write: startsWith)"}, {`claims.groups.filter(g, g.matches(claims.sub))`, "a pattern must be written in the expression"},
		{`[claims.sub.replace("a", claims.sub)]`, "line 1, column 20: replace can make a long text of short ones"}, {`[claims.groups.join()]`, "join can make"}, {`["%s".format([1])]`, "format can make"},
		{`[claims.sub.replac("a", "b")]`, `there is no "replac" here; known`}, {`claims.groups.`, "this is no expression"}, {strings.Repeat("[", 100) + strings.Repeat("]", 100), "recursion"}, {`["` + strings.Repeat("x", 5000) + `"]`, "4096"},
	} {
		if _, err := e.CompileWords(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s\n got  %v\n want %s", c.text, err, c.want)
		}
	}
	var faults expression.Faults
	if _, err := environment(t, expression.Scope{}).CompileWords(`["a"]`); !errors.As(err, &faults) {
		t.Error(err)
	}
	if _, err := environment(t, expression.Scope{}).Compile(`request.path.substring(1) == ""`); err == nil { // what is here for words is here for words only
		t.Error("conditions take texts apart")
	}
}

// A long list that is asked for in every turn of a loop is made once.
func TestClaimsAreMadeOnce(t *testing.T) {
	e := environment(t, expression.Scope{Claims: true, Cost: 1_000_000})
	w, err := e.CompileWords(`claims.groups.filter(g, size(claims.groups) != 3000)`)
	if err != nil {
		t.Fatal(err)
	}
	var groups []any
	for range 3000 {
		groups = append(groups, "g")
	}
	c := map[string]any{"groups": groups}
	if n := testing.AllocsPerRun(1, func() { _, _ = w.Of(c) }); n > 100_000 {
		t.Errorf("%.0f allocations", n)
	}
}

// FuzzCompileWords: no text makes the loader panic or take long, a fault has its place, and what is loaded gives the same words
// twice, or an error.
func FuzzCompileWords(f *testing.F) {
	for _, seed := range []string{`claims.groups`, `claims.groups.filter(g, g.startsWith("shop-")).map(g, g.substring(5))`, `has(claims.a) ? claims.a.roles : []`, `"admin" in claims.groups ? ["support"] : []`,
		`claims.role.split("")`, `[claims.sub.charAt(9)]`, `claims.sub.trim().lowerAscii().split(",", -1)`, `claims.level`, `[type(claims)]`, `claims.map(k, string(claims[k]))`, `[claims.sub.replace("", claims.role)]`, `["\xff"]`, "a &&\n&& b"} {
		f.Add(seed)
	}
	e := environment(f, expression.Scope{Claims: true, Cost: 10_000})
	c := claims(f)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := e.CompileWords(text)
		if err != nil {
			var faults expression.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			for _, one := range faults {
				if one.Line < 1 || one.Column < 1 || one.What == "" || strings.Contains(one.What, "\n") {
					t.Errorf("%q: %+v", text, one)
				}
			}
			return
		}
		words, err := w.Of(c)
		again, err2 := w.Of(c)
		if words != nil && err != nil || !slices.Equal(words, again) || (err == nil) != (err2 == nil) {
			t.Errorf("%q: %q %v, then %q %v", text, words, err, again, err2)
		}
	})
}
