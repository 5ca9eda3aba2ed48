package expression_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/expression"
)

const order = `{"id": 9007199254740993, "huge": 18446744073709551617, "uint": 18446744073709551615, "third": 0.1, "thousand": 1e3, "edge": 18446744073709551616, "low": -9223372036854775809, "tiny": 4503599627370497.25, "far": 9007199254740993.0,
 "items": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": -5}], "note": "Grüße", "nothing": null, "on": true, "__proto__": {"admin": true},
 "many": {"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10}, "long": [0,1,2,3,4,5,6,7,8,9,10]}`

func environment(t testing.TB, s expression.Scope) *expression.Environment {
	t.Helper()
	e, err := expression.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func subject(t testing.TB, kind body.Kind, raw string) *expression.Subject {
	t.Helper()
	tree, refusal := body.Read(kind, nil, "", strings.NewReader(raw), body.Limits{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	return &expression.Subject{
		Request: &canon.Request{
			Method: "POST", Scheme: "https", Host: "shop.example", Path: "/orders/7", Segments: []string{"orders", "7"},
			Query:  []canon.Pair{{Name: "q", Value: "x"}, {Name: "q", Value: "y' OR 1=1"}, {Name: "Q", Value: "z"}},
			Fields: http.Header{"X-Trace": {"1", "2"}, "Content-Type": {"application/json"}}, Cookies: []canon.Pair{{Name: "sid", Value: "abc"}}, Length: int64(len(raw)),
		},
		Params: []canon.Pair{{Name: "id", Value: "7"}}, Body: tree, Address: netip.MustParseAddr("192.0.2.1"),
		Caller: &expression.Caller{Issuer: "idp", Subject: "ann", Roles: []string{"staff"}, Claims: map[string]any{
			"tenant": "blue", "level": json.Number("9007199254740993"), "of": map[string]any{"deep": []any{"x"}}}},
	}
}

func TestConditions(t *testing.T) {
	e := environment(t, expression.Scope{Params: []string{"id"}})
	s := subject(t, body.JSON, order)
	for text, want := range map[string]bool{
		`true`: true, `request.method == "POST" && request.path == "/orders/7" && request.host == "shop.example"`: true,
		`request.segments[1] == params.id`: true, `params.id == "8"`: false, `has(params.id)`: true,
		`request.query["q"].exists(v, v.contains("' OR "))`: true, `request.query.q[0] == "x" && size(request.query.q) == 2`: true,
		`"q" in request.query && !("p" in request.query)`: true, `has(request.query.p)`: false, `request.query.exists(name, name == "Q")`: true,
		`request.headers["x-trace"] == ["1", "2"]`: true, `request.headers["X-Trace"][0] == "1"`: true, `has(request.headers.host)`: false,
		`request.cookies.sid == "abc"`: true, `request.address == "192.0.2.1" && request.length > 10`: true,
		`caller.known && caller.subject == "ann" && "staff" in caller.roles && !("x" in caller.scopes)`: true,
		`caller.claims.tenant == "blue" && caller.claims.of.deep == ["x"]`:                              true,
		`caller.claims.level == 9007199254740993`:                                                       true,
		`body.items.exists(i, i.qty < 0)`:                                                               true, `body.items.all(i, i.qty < 0)`: false, `size(body.items) == 2`: true,
		`body.items[1].sku == "b"`: true, `has(body.items) && !has(body.other)`: true, `has(body.__proto__)`: true, `body.nothing == null`: true, `body.on == true`: true,
		`body.note == "Grüße" && size(body.note) == 5`: true, `body.note.matches("^Gr.*e$")`: true, `body.exists(k, k == "note")`: true,
		`body.many.j == 10 && body.long[10] == 10 && !has(body.many.k)`: true, `body == body && body.many == body.many && body.items == body.items`: true,
		`body.items[0] == {"sku": "a", "qty": 1}`: true, `{"sku": "a", "qty": 1} == body.items[0]`: true, `body.items[0] in body.items`: true,
		`type(body.items) == list && type(body) == map`: true, `body.items.map(i, i.sku) == ["a", "b"]`: true, `size(body.items + body.items) == 4`: true,
		// No integer is rounded, whatever is beside it (G8).
		`body.id == 9007199254740993`: true, `body.id == 9007199254740992`: false, `body.uint == 18446744073709551615u`: true,
		`body.huge > 18446744073709551615u`: true, `body.huge == 18446744073709551615u`: false, `body.huge == body.huge`: true,
		`body.third == 0.1`: true, `body.far == 9007199254740992`: false, `body.far == 9007199254740993`: true, `body.thousand + 1 == 1001`: true,
		`body.edge == 18446744073709551615u`: false, `body.edge > body.uint && body.edge < body.huge`: true, `body.low < -9223372036854775807`: true, `body.tiny > 0.0 && body.tiny != 0.0`: true,
		`body.huge > 5 && body.huge != 5`: true, `body.far >= body.far`: true,
	} {
		c, err := e.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// What can't be judged is an error, never false: below a negation too.
func TestErrorsAreNotFalse(t *testing.T) {
	e := environment(t, expression.Scope{})
	s := subject(t, body.JSON, order)
	for text, want := range map[string]string{
		`body.other == 1`: "there is no other", `!(body.other == 1)`: "there is no other", `body.items[2].sku == "x"`: "index out of bounds", `body.items[0].price > 1`: "there is no price",
		`body.note > 5`: "no such overload", `body.note.qty == 5`: "there is no qty", `int(body.note) == 5`: "type conversion error", `body.huge + 1 > 0`: "no such overload",
		`int(body.huge) > 0`: "no such overload", `string(body.huge) == ""`: "no such overload", `5 < body.huge`: "no such overload", `body.id * 9007199254740993 > 0`: "integer overflow",
		`1 / (body.items[0].qty - 1) == 0`: "division by zero", `params.other == ""`: "there is no other", `request.query.p[0] == ""`: "there is no p",
		`body["` + strings.Repeat("x", 100) + `"] == 1`: "no such key", `request.query[body.note][0] == ""`: "no such key", // a name that the request chose is not repeated
	} {
		c, err := e.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(s); got || err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestOtherBodies(t *testing.T) {
	e := environment(t, expression.Scope{})
	for _, c := range []struct {
		kind       body.Kind
		raw, holds string
	}{
		{body.Form, "q=a&q=b&p=", `body.q == ["a", "b"] && has(body.p) && !has(body.r) && size(body) == 2`},
		{body.Text, "hello", `body == "hello"`}, {body.XML, "<a/>", `body.contains("<a")`}, {body.Opaque, "\xff", `body == b"\xff"`}, {body.Empty, "", `body == null`},
		{body.JSON, `[1,2]`, `body == [1,2] && 2 in body`}, {body.JSON, `"x"`, `body == "x"`}, {body.JSON, `null`, `body == null`},
	} {
		s := subject(t, c.kind, c.raw)
		condition, err := e.Compile(c.holds)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := condition.Holds(s); err != nil || !got {
			t.Errorf("%s: %v, %v", c.holds, got, err)
		}
	}
	s := subject(t, body.Empty, "")
	s.Body, s.Caller = nil, nil
	for _, text := range []string{`body == null`, `!caller.known && caller.subject == "" && caller.roles == [] && !has(caller.claims)`} {
		if c, err := e.Compile(text); err != nil {
			t.Error(err)
		} else if yes, err := c.Holds(s); !yes || err != nil {
			t.Error(text, yes, err)
		}
	}
	s.Body = &body.Tree{Kind: body.Multipart, Parts: []body.Part{{Name: "f", FileName: "a.php", Type: "text/plain", Data: []byte("<?php")}}}
	s = &expression.Subject{Request: s.Request, Body: s.Body}
	if c, err := e.Compile(`body.f.exists(p, p.filename.endsWith(".php") && p.data.contains("<?") && p.type == "text/plain")`); err != nil {
		t.Error(err)
	} else if yes, err := c.Holds(s); !yes || err != nil {
		t.Error(yes, err)
	}
}

// Wrong uses: each is refused when it is loaded, with its place, and with what was probably meant.
func TestWrongExpressions(t *testing.T) {
	e := environment(t, expression.Scope{Params: []string{"id"}, Value: expression.Text})
	none := environment(t, expression.Scope{Params: []string{}})
	for _, c := range []struct{ text, want string }{
		{``, "line 1, column 1: the condition is empty"},
		{`request.metod == "GET"`, `line 1, column 8: request has no field "metod"; it has method, scheme`},
		{`request.metod == "GET"`, `(write: request.method)`},
		{"true &&\n  reqest.method == 'GET'", `line 2, column 3: there is no "reqest" here (write: request)`},
		{`params.idd == "1"`, `params has no field "idd"; it has id (write: params.id)`},
		{`caller.role == "x"`, `(write: caller.roles)`},
		{`value.contans("x")`, `there is no "contans" here (write: contains)`},
		{`whatever == 1`, `known are body, caller, params, request, value`},
		{`request.method == 5`, "line 1, column 16: == does not go with (string, int)"},
		{`request.method`, "the condition is of type string, not true or false"},
		{`body.admin`, "the condition is whatever stands in the request, not true or false (write: a comparison, such as body.admin == ...)"},
		{`value.matches("(")`, "line 1, column 15: "},
		{`value.matches(request.path)`, "line 1, column 22: a pattern must be written in the expression"},
		{`value == `, "this is no expression"}, {`value == "`, "this is no expression"}, {`value = "x"`, "this is no expression"}, {`a b`, "this is no expression"},
		{`gatehouse.request{method: "x"}.method == "x"`, "a condition makes no messages"},
		{`timestamp("yesterday") == timestamp("2026-01-01T00:00:00Z")`, "line 1, column 11: "},
		{strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "recursion"},
		{`"` + strings.Repeat("x", 5000) + `" == ""`, "4096"},
	} {
		if _, err := e.Compile(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s\n got  %v\n want %s", c.text, err, c.want)
		}
	}
	if _, err := none.Compile(`params.id == "1"`); err == nil || !strings.Contains(err.Error(), "the operation's path has no parameters") {
		t.Error(err)
	}
	if _, err := none.Compile(`value == "1"`); err == nil || !strings.Contains(err.Error(), `there is no "value" here`) {
		t.Error(err)
	}
	var faults expression.Faults
	if _, err := e.Compile(`request.a == request.b`); !errors.As(err, &faults) || len(faults) != 2 || len(faults.Mistakes("when")) != 2 || faults.Mistakes("when")[1].Path != "when" {
		t.Error(err)
	}
}

// A condition on the head has a bound that is known when it is loaded; one that walks over a body stops when it has cost enough.
func TestCost(t *testing.T) {
	e := environment(t, expression.Scope{Value: expression.Text, Cost: 20_000})
	head, err := e.Compile(`value.contains("' OR ") || request.method == "PUT"`)
	if err != nil || !head.Cost().Bounded || head.Reads("body") || !head.Reads("value") {
		t.Fatalf("%+v %v", head.Cost(), err)
	}
	walk, err := e.Compile(`body.all(a, body.all(b, a + b >= 0))`)
	if err != nil || walk.Cost().Bounded || !walk.Reads("body") {
		t.Fatalf("%+v %v", walk.Cost(), err)
	}
	if yes, err := walk.Holds(subject(t, body.JSON, `[1,2,3]`)); !yes || err != nil {
		t.Error(yes, err)
	}
	large := subject(t, body.JSON, "["+strings.Repeat("1,", 5000)+"1]")
	if yes, err := walk.Holds(large); yes || !errors.Is(err, expression.ErrCost) {
		t.Error(yes, err)
	}
	for text, want := range map[string]error{`body.contains("zz")`: nil, `body.matches("z+z")`: expression.ErrCost} { // a search is cheaper than steps, and not free
		long := subject(t, body.Text, strings.Repeat("a", 400_000))
		if c, err := e.Compile(text); err != nil {
			t.Error(err)
		} else if yes, err := c.Holds(long); yes || !errors.Is(err, want) {
			t.Errorf("%s: %v %v", text, yes, err)
		}
	}
	same, err := e.Compile(`body.all(a, body == body)`)
	if err != nil {
		t.Fatal(err)
	}
	if yes, err := same.Holds(large); yes || !errors.Is(err, expression.ErrCost) {
		t.Error("to compare all with all is not counted:", yes, err)
	}
	roomy := environment(t, expression.Scope{Cost: 1_000_000})
	for _, text := range []string{`body == body`, `[body] == [body]`, `{"a": body} != {"a": 1}`, `[body] in [[body]]`, `size(body + body) > 0`} {
		c, err := roomy.Compile(`body.all(a, ` + text + `)`)
		if err != nil {
			t.Fatal(err)
		}
		spent := func(n int) uint64 {
			s := subject(t, body.JSON, "["+strings.Repeat("1,", n)+"1]")
			if yes, err := c.Holds(s); !yes || err != nil {
				t.Error(text, yes, err)
			}
			return s.Spent
		}
		if few, many := spent(200), spent(400); many < 3*few {
			t.Errorf("%s goes over all for each: %d steps for 200, %d for twice as many", text, few, many)
		}
	}
	small := environment(t, expression.Scope{Cost: 3})
	if _, err := small.Compile(`[1,2,3,4].all(x, x > 0) && [1,2,3,4].all(x, x > 0)`); err == nil || !strings.Contains(err.Error(), "costs at least") {
		t.Error(err)
	}
}

// A condition that is cheap once is not, asked of each of many values: what it took is counted, though its bound is known.
func TestManyAreCounted(t *testing.T) {
	e := environment(t, expression.Scope{Value: expression.Anything})
	c, err := e.Compile(`request.segments.exists(s, size(s) > 30)`)
	if err != nil || !c.Cost().Bounded {
		t.Fatal(c, err)
	}
	s := subject(t, body.Empty, "")
	s.Request.Segments = strings.Split(strings.Repeat("a/", 99)+"a", "/")
	for range 100 {
		if yes, err := c.HoldsFor(s, expression.TextValue("x")); yes || err != nil {
			t.Fatal(yes, err)
		}
	}
	if s.Spent < 90*300 {
		t.Errorf("%d steps", s.Spent)
	}
}

// What a variable has is made once for a request, not in each turn of a loop.
func TestFieldsAreMadeOnce(t *testing.T) {
	e := environment(t, expression.Scope{Cost: 1_000_000})
	c, err := e.Compile(`body.all(n, size(request.query) == 256 && size(request.headers) == 2)`)
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t, body.JSON, "["+strings.Repeat("1,", 5000)+"1]")
	s.Request.Query = nil
	for i := range 256 {
		s.Request.Query = append(s.Request.Query, canon.Pair{Name: strconv.Itoa(i)})
	}
	if yes, err := c.Holds(s); !yes || err != nil {
		t.Fatal(yes, err)
	}
	if n := testing.AllocsPerRun(1, func() { _, _ = c.Holds(s) }); n > 100_000 { // some for each turn; not a table
		t.Errorf("%.0f allocations", n)
	}
}

// FuzzCompile: no text makes the loader panic or take long, a fault has its place, and what is loaded can be judged.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`true`, `body.items.exists(i, i.qty < 0)`, `request.metod == 1`, "a &&\n&& b", `[1,2].map(x, x * x)[0] == 1`, `{"a": body}.a == body`, `"\xff"`, "\x00", `value.matches("a{1000}{1000}")`,
		`has(body.a.b) ? body.a.b == 1u : false`, `gatehouse.request{}`, `b"\377" == b""`, `0x7fffffffffffffff + 1 == 0`, `duration("1h") > duration("x")`, `body[?"a"]`, "[\x10,2].map(.,0", `type(body) == map`} {
		f.Add(seed)
	}
	e := environment(f, expression.Scope{Params: []string{"id"}, Value: expression.Anything, Cost: 10_000})
	s := subject(f, body.JSON, order)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := e.Compile(text)
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
		yes, err := c.HoldsFor(s, s.BodyValue())
		if yes && err != nil {
			t.Errorf("%q is true and an error: %v", text, err)
		}
		again, err2 := c.HoldsFor(s, s.BodyValue())
		if yes != again || (err == nil) != (err2 == nil) {
			t.Errorf("%q: %v %v, then %v %v", text, yes, err, again, err2)
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	e := environment(b, expression.Scope{Value: expression.Anything})
	for name, text := range map[string]string{"value": `value == "x"`, "pattern": `value.matches("(?i)union\\s+select")`, "body": `body.items.exists(i, i.qty < 0)`, "head": `request.method == "POST" && "admin" in caller.roles`} {
		c, err := e.Compile(text)
		if err != nil {
			b.Fatal(err)
		}
		s := subject(b, body.JSON, order)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Spent = 0 // each is the first of its request
				_, _ = c.HoldsFor(s, expression.TextValue("some text that is looked at"))
			}
		})
	}
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			_, _ = e.Compile(`body.items.exists(i, i.qty < 0) && request.method == "POST"`)
		}
	})
	b.Run("environment", func(b *testing.B) {
		for b.Loop() {
			_, _ = expression.New(expression.Scope{Params: []string{"id"}})
		}
	})
}
