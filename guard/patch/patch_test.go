package patch

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

var (
	noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	day  = 24 * time.Hour
)

func shop() *gate.API {
	return &gate.API{Name: "shop", Operations: []*gate.Operation{
		{API: "shop", Key: "putOrder", Method: "PUT", Template: "/orders/{id}"},
		{API: "shop", Key: "listOrders", Method: "GET", Template: "/orders"},
		{API: "shop", Key: "feed", Method: "GET", Template: "/feed", Stream: gate.Stream{Kind: "websocket"}},
	}}
}

// made fills in what every patch must say.
func made(p Patch) Patch {
	if p.ID == "" {
		p.ID = "p-1"
	}
	if p.Until.IsZero() {
		p.Until = noon.Add(30 * day)
	}
	p.Author, p.Reason = "ann", "a hole"
	return p
}

func guard(t testing.TB, api *gate.API, list ...Patch) *Guard {
	t.Helper()
	for i := range list {
		list[i] = made(list[i])
	}
	g, err := New(Config{List: list}, api, nil, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// exchange is a request for an operation of the shop.
func exchange(t testing.TB, op *gate.Operation, kind body.Kind, raw string) *gate.Exchange {
	t.Helper()
	x := &gate.Exchange{Began: noon, Operation: op, Params: []canon.Pair{{Name: "id", Value: "7"}}, Request: &canon.Request{
		Method: op.Method, Path: "/orders/7", Query: []canon.Pair{{Name: "q", Value: "a"}, {Name: "q", Value: "1' OR 1=1"}, {Name: "sort", Value: "x"}},
		Fields: http.Header{"X-Debug": {"0", "1"}, "Accept": {"*/*"}}, Cookies: []canon.Pair{{Name: "sid", Value: "abc"}}, Length: int64(len(raw)),
	}}
	x.SetBody(func(context.Context) (*body.Tree, gate.Verdict) {
		tree, refusal := body.Read(kind, nil, "", strings.NewReader(raw), body.Limits{})
		if refusal != nil {
			return nil, gate.Deny(gate.BadRequest, gate.Reason(refusal.Reason), "%s", refusal.Detail)
		}
		return tree, gate.Allow()
	})
	return x
}

const cart = `{"items": [{"sku": "a", "qty": 1}, {"sku": "b' --", "qty": -5}], "note": "hi", "a/b": {"c~d": 1}, "list": [[1, 2], [3]], "id": 9223372036854775808}`

func TestWhatAPatchMatches(t *testing.T) {
	for _, c := range []struct {
		at, when string
		kind     body.Kind
		raw      string
		want     gate.Reason
	}{
		{"query.q", `value.contains("' OR")`, body.Empty, "", Denied},
		{"query.q", `value == "b"`, body.Empty, "", ""},
		{"query.Q", "", body.Empty, "", Denied}, // servers differ about the case of names
		{"query.sort", "", body.Empty, "", Denied},
		{"query.other", `true`, body.Empty, "", ""}, // nothing stands there
		{"query.*", `value.contains("OR")`, body.Empty, "", Denied},
		{"path.id", `!value.matches("^[0-9]+$")`, body.Empty, "", ""},
		{"path.id", `int(value) > 5`, body.Empty, "", Denied},
		{"path.*", `value == "7"`, body.Empty, "", Denied},
		{"path", `value.endsWith("/7")`, body.Empty, "", Denied},
		{"header.x-debug", `value == "1"`, body.Empty, "", Denied},
		{"header.X-DEBUG", `value == "2"`, body.Empty, "", ""},
		{"header.*", `value == "1"`, body.Empty, "", Denied},
		{"cookie.sid", `size(value) == 3`, body.Empty, "", Denied},
		{"cookie.*", `value == "x"`, body.Empty, "", ""},
		{"", `request.method == "PUT" && caller.known == false`, body.Empty, "", Denied},
		{"request", `params.id == "8"`, body.Empty, "", ""},
		{"body", `size(value.items) == 2`, body.JSON, cart, Denied},
		{"body/items/*/qty", `value < 0`, body.JSON, cart, Denied},
		{"body/items/0/qty", `value < 0`, body.JSON, cart, ""},
		{"body/items/1/qty", `value < 0`, body.JSON, cart, Denied},
		{"body/items/01/qty", `value < 0`, body.JSON, cart, ""}, // no JSON pointer writes an index so
		{"body/items/2", ``, body.JSON, cart, ""},
		{"body/*/*/sku", `value.contains("'")`, body.JSON, cart, Denied},
		{"body/list/*/*", `value == 3`, body.JSON, cart, Denied},
		{"body/a~1b/c~0d", `value == 1`, body.JSON, cart, Denied},
		{"body/note/x", ``, body.JSON, cart, ""},
		{"body/isAdmin", ``, body.JSON, cart, ""},
		{"body/note", ``, body.JSON, cart, Denied},
		{"body/id", `value == 9223372036854775807`, body.JSON, cart, ""},
		{"body/id", `value > 9223372036854775807`, body.JSON, cart, Denied},
		{"body/items/*", `value.qty < 0 && request.query.sort == ["x"] && body.note == "hi"`, body.JSON, cart, Denied},
		{"body/note", ``, body.Empty, "", ""},
		{"body", ``, body.Empty, "", ""},
		{"body", `value == null`, body.JSON, "null", Denied},
		{"body/q", `value == "2"`, body.Form, "q=1&q=2&p=3", Denied},
		{"body/*", `value == "3"`, body.Form, "q=1&q=2&p=3", Denied},
		{"body/q/0", ``, body.Form, "q=1", Denied}, // a list of one
		{"body/q/name", ``, body.Form, "q=1", ""},
		// What servers take for the same name is the same place.
		{"body/items/*/qty", `value < 0`, body.JSON, `{"items": [{"qty": 1, "Qty": -5}]}`, Denied},
		{"body/Items/1/QTY", `value < 0`, body.JSON, cart, Denied},
		{"body/kind", ``, body.JSON, `{"\u212aind": 1}`, Denied}, // the Kelvin sign is a k in another case
		{"header.x-debug", ``, body.Empty, "", Denied},
		{"header.x.debug", `value == "1"`, body.Empty, "", Denied},
		{"cookie.SID", ``, body.Empty, "", Denied},
		{"body/q", `value == "2"`, body.Form, "p=3&Q=2", Denied},
		// What JSON says by structure, forms say by names.
		{"body/items/*/qty", `int(value) < 0`, body.Form, "items[0][qty]=1&items[1][qty]=-5", Denied},
		{"body/items/*/qty", `int(value) < 0`, body.Form, "items[][qty]=-5", Denied},
		{"body/items/1/qty", `int(value) < 0`, body.Form, "items[][qty]=-5", Denied},
		{"body/items/1/qty", `int(value) < 0`, body.Form, "items.1.qty=-5", Denied},
		{"body/items/*/qty", `int(value) < 0`, body.Form, "items[0][sku]=-5&qty=-5&items[0][qty]=5", ""},
		{"body/tags/*", `value == "b"`, body.Form, "tags=a&tags=b", Denied},
		{"body/tags/*", `value == "b"`, body.Form, "tags[]=a&tags[]=b", Denied},
		{"body/password", ``, body.Form, "password[$ne]=x", Denied},
		{"body/password", `value.contains("'")`, body.Form, "password[$ne]=x", Failed}, // a list is no text
		{"body/password", `value.exists(v, v == "x")`, body.Form, "password[$ne]=x", Denied},
		{"body/a.b", ``, body.Form, "a.b=x", Denied},
		{"body", `value.contains("<b>")`, body.XML, "<a><b>1</b></a>", Denied},
		// What can't be judged is denied, wherever the reason lies.
		{"body/q", ``, body.XML, "<a/>", Failed},
		{"body/items/*", `value.price > 1`, body.JSON, cart, Failed},
		{"body/items/*", `has(value.price) && value.price > 1`, body.JSON, cart, ""},
		{"query.q", `int(value) > 5`, body.Empty, "", Failed},
		{"body/*", `value < 0`, body.JSON, "[" + strings.Repeat("1,", 20_000) + "1]", Failed}, // more values than a request may cost
		{"body/*", `value < 0`, body.JSON, "[" + strings.Repeat("1,", 2_000) + "1]", ""},
		{"body/items/*/qty", `10 / (value - 1) > 0`, body.JSON, cart, Failed},
		{"body/items/*", `value.qty < 0 || value.price > 1`, body.JSON, cart, Denied}, // the second item says it, whatever the first
		{"", `body.all(k, body.all(l, body.all(m, body.all(n, body.all(o, k + l + m + n + o != ""))))) && size(body) == 5`, body.JSON, wide, Failed},
	} {
		api := shop()
		g := guard(t, api, Patch{At: c.at, When: c.when, Operation: "putOrder"})
		v := g.Check(t.Context(), exchange(t, api.Operations[0], c.kind, c.raw))
		if v.Reason != c.want || v.Allowed() != (c.want == "") {
			t.Errorf("at %q when %q: %s %s", c.at, c.when, v.Reason, v.Detail)
		}
		if c.want != "" && (v.Code != gate.Attack || v.Rule != "patch p-1" || !strings.Contains(v.Fix, "remove it  # guards.patch.list, id p-1") || !strings.Contains(v.Detail, "a hole") || strings.Contains(v.Detail, "OR 1=1")) {
			t.Errorf("%+v", v)
		}
		if other := g.Check(t.Context(), exchange(t, api.Operations[1], c.kind, c.raw)); !other.Allowed() {
			t.Errorf("at %q: another operation is denied: %s", c.at, other.Detail)
		}
	}
}

// wide is an object that is expensive to walk over in five loops.
var wide = `{"` + strings.Join(strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z"), `":1,"`) + `":1}`

// A patch ends on its day by itself (the clock is the exchange's), one that only records denies nothing, and a body that can't
// be read is denied as what it is.
func TestEndModeAndBody(t *testing.T) {
	api := shop()
	g := guard(t, api, Patch{At: "query.q", Until: noon.Add(time.Hour)}, Patch{ID: "seen", At: "query.sort", Mode: Detect, Until: noon.Add(2 * time.Hour)})
	at := func(after time.Duration) gate.Verdict {
		x := exchange(t, api.Operations[1], body.Empty, "")
		x.Began = noon.Add(after)
		return g.Check(t.Context(), x)
	}
	if v := at(time.Hour - time.Second); v.Reason != Denied {
		t.Errorf("before its end: %+v", v)
	}
	v := at(time.Hour)
	if !v.Allowed() || len(v.Noted) != 1 || v.Noted[0].Reason != Denied || v.Noted[0].Rule != "patch seen" || v.Noted[0].Guard != "patch" {
		t.Errorf("at its end: %+v", v)
	}
	if v := at(2 * time.Hour); !v.Allowed() || len(v.Noted) != 0 {
		t.Errorf("when both have ended: %+v", v)
	}
	both := guard(t, api, Patch{ID: "seen", At: "query.sort", Mode: Detect}, Patch{ID: "closed", At: "query.q"})
	if v := both.Check(t.Context(), exchange(t, api.Operations[1], body.Empty, "")); v.Rule != "patch closed" || len(v.Noted) != 1 || v.Noted[0].Rule != "patch seen" {
		t.Errorf("what was seen before a denial is lost: %+v", v)
	}
	g = guard(t, api, Patch{At: "body/note"})
	if v := g.Check(t.Context(), exchange(t, api.Operations[0], body.JSON, `{"note": 1, "note": 2}`)); v.Allowed() || v.Reason != "body.duplicate_member" {
		t.Errorf("%+v", v)
	}
	if !g.NeedsBody(api.Operations[0]) || g.NeedsBody(api.Operations[2]) || guard(t, api, Patch{At: "query.q"}).NeedsBody(api.Operations[0]) {
		t.Error("which bodies are needed")
	}
	var zero Guard
	if v := zero.Check(t.Context(), exchange(t, api.Operations[0], body.Empty, "")); v.Allowed() {
		t.Error("the zero guard allows")
	}
}

// Wrong uses: each is refused when the document is loaded, with its place and what to write.
func TestWrongPatches(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Patch)
		want   string
	}{
		{"no id", func(p *Patch) { p.ID = "" }, "list[0].id: a patch needs a name"},
		{"odd id", func(p *Patch) { p.ID = "a b" }, "list[0].id: "},
		{"no author", func(p *Patch) { p.Author = " " }, "list[0].author: a patch says who wrote it"},
		{"no reason", func(p *Patch) { p.Reason = "" }, "list[0].reason: "},
		{"a line end", func(p *Patch) { p.Reason = "a\nb" }, "list[0].reason: has more than 500 bytes or is not printable"},
		{"no end", func(p *Patch) { p.Until = time.Time{} }, "list[0].until: a patch needs the day on which it ends (write: until: 2026-07-01)"},
		{"mode", func(p *Patch) { p.Mode = "blok" }, `list[0].mode: "blok" is neither block nor detect (write: block)`},
		{"operation", func(p *Patch) { p.Operation = "putOrdr" }, `list[0].operation: API "shop" has no operation "putOrdr" (write: putOrder)`},
		{"place", func(p *Patch) { p.At = "qeury.q" }, `list[0].at: "qeury.q" is no place in a request; there are path.NAME, query.NAME, header.NAME, cookie.NAME, body/POINTER and request (write: query.q)`},
		{"place without name", func(p *Patch) { p.At = "query" }, "list[0].at: which query? name one, or all (write: at: query.NAME, or at: query.*)"},
		{"pointer", func(p *Patch) { p.At = "body/a~2" }, "list[0].at: in a JSON pointer, ~ is written as ~0"},
		{"deep", func(p *Patch) { p.At = "body" + strings.Repeat("/a", 65) }, "list[0].at: a pointer of more than 64 parts"},
		{"bodyx", func(p *Patch) { p.At = "bodyx/a" }, `(write: body/a)`},
		{"path parameter", func(p *Patch) { p.At = "path.idd" }, `list[0].at: the path /orders/{id} has no parameter "idd" (write: at: path.id)`},
		{"everything", func(p *Patch) { p.At, p.When = "", "" }, "list[0].when: a patch without a place and without a condition would close the operation"},
		{"condition", func(p *Patch) { p.When = `value.contans("x")` }, `list[0].when: line 1, column 14: there is no "contans" here (write: contains)`},
		{"condition of another operation", func(p *Patch) { p.When = `params.di == "x"` }, `list[0].when: line 1, column 7: params has no field "di"; it has id (write: params.id)`},
		{"value of nothing", func(p *Patch) { p.At, p.When = "request", `value == "x"` }, `there is no "value" here`},
		{"type", func(p *Patch) { p.When = `value > 5` }, "does not go with (string, int)"},
		{"no truth", func(p *Patch) { p.At, p.When = "body/a", `value` }, "not true or false"},
		{"a field that never comes", func(p *Patch) { p.At = "header.host" }, `list[0].at: no server gets a field "host" from a client: it is refused or removed before (write: when: request.host == ...)`},
		{"a field of proxies", func(p *Patch) { p.At = "header.X-Forwarded-For" }, `list[0].at: no server gets a field "X-Forwarded-For"`},
		{"an underscore", func(p *Patch) { p.At = "header.x_debug" }, `list[0].at: no server gets a field "x_debug"`},
		{"no field name", func(p *Patch) { p.At = "header.x debug" }, `list[0].at: no server gets a field "x debug"`},
		{"stream", func(p *Patch) { p.Operation, p.At, p.When = "feed", "body/a", "" }, "list[0].at: feed is a websocket stream, whose body nobody reads"},
	} {
		p := made(Patch{Operation: "putOrder", At: "query.q", When: `value == "x"`})
		c.change(&p)
		if _, err := New(Config{List: []Patch{p}}, shop(), nil, func() time.Time { return noon }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got  %v\n want %s", c.name, err, c.want)
		}
	}
	p := made(Patch{At: "query.q"})
	if _, err := New(Config{List: []Patch{p, p}}, shop(), nil, time.Now); err == nil || !strings.Contains(err.Error(), `list[1].id: "p-1" is the name of list[0] too`) {
		t.Error(err)
	}
	if _, err := New(Config{}, nil, nil, time.Now); err == nil {
		t.Error("a guard without an API")
	}
	l, _ := NewLoader(0)
	p.Until = noon
	if _, err := l.Check(p, shop(), noon, true); err == nil || !strings.Contains(err.Error(), "until: 2026-06-01 is over") {
		t.Error(err)
	}
	p.Until = noon.Add(400 * day)
	if _, err := l.Check(p, shop(), noon, true); err == nil || !strings.Contains(err.Error(), "until: a patch lasts a year at most") {
		t.Error(err)
	}
	p.Until = noon
	if _, err := l.Check(p, shop(), noon, false); err != nil { // in a document it is told by check, and stops nobody from starting
		t.Error(err)
	}
}

// What check tells of the document's patches.
func TestFindings(t *testing.T) {
	g := guard(t, shop(), Patch{ID: "over", At: "query.a", Until: noon}, Patch{ID: "soon", At: "query.a", Until: noon.Add(3 * day)}, Patch{ID: "far", At: "query.a", Until: noon.Add(500 * day)},
		Patch{ID: "looks", At: "query.a", Mode: Detect, Until: noon.Add(30 * day)}, Patch{ID: "holds", At: "query.a", Operation: "GET /orders", Until: noon.Add(30 * day)})
	open, risk := g.Findings(noon)
	var told []string
	for _, f := range open {
		told = append(told, f.ID)
	}
	if got := strings.Join(told, " "); got != "patch.expired patch.ends_soon patch.endless patch.detects" || len(risk) != 1 || risk[0].Operation != "listOrders" || risk[0].Risk != "a hole" {
		t.Errorf("%s, %+v", got, risk)
	}
}

// What whoever adds a patch may not have meant is told: how wide it is, and where it can't look.
func TestNotes(t *testing.T) {
	loader, _ := NewLoader(0)
	api := shop()
	api.Operations[0].Contract = &openapi.Operation{Requests: openapi.Requests{Bodies: []*openapi.Body{{MediaType: "application/json", Kind: body.JSON}, {MediaType: "text/xml", Kind: body.XML}}}}
	c, err := loader.Check(made(Patch{At: "body/a", When: "value.exists(k, k == 1)"}), api, noon, true)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(c.Notes(api), "\n")
	for _, want := range []string{"every one of the 3 operations of shop", "feed is a websocket stream, whose body nobody reads", "putOrder also takes text/xml, which has no structure"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not told in %q", want, notes)
		}
	}
	if c.Costs() != "grows with what is sent; a request is denied after 100000 steps" {
		t.Error(c.Costs())
	}
	if c, err := loader.Check(made(Patch{At: "query.q", When: "value == 'x'", Operation: "putOrder"}), api, noon, true); err != nil || len(c.Notes(api)) != 0 || !strings.HasPrefix(c.Costs(), "at most ") {
		t.Error(err)
	}
}

// added is a list that changes.
type added struct{ list *List }

func (a *added) Patches() *List { return a.list }

// What is added while requests are served holds from the next request on, also one that this version can't load: it denies
// what it could be about.
func TestAddedAndLifted(t *testing.T) {
	api, from := shop(), &added{}
	g, err := New(Config{}, api, from, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	loader, _ := NewLoader(0)
	ask := func() gate.Verdict { return g.Check(t.Context(), exchange(t, api.Operations[1], body.Empty, "")) }
	if v := ask(); !v.Allowed() {
		t.Errorf("%+v", v)
	}
	one := loader.Added("shop", made(Patch{At: "query.q", Operation: "GET /orders"}))
	from.list = &List{By: map[string][]*Compiled{"shop": {one}, "other": {loader.Added("other", made(Patch{At: "query.sort"}))}}}
	if v := ask(); v.Reason != Denied || v.Fix != "gatehouse patch remove p-1 --api shop  # added by command" {
		t.Errorf("%+v", v)
	}
	from.list = &List{}
	if v := ask(); !v.Allowed() {
		t.Errorf("lifted: %+v", v)
	}
	from.list = &List{By: map[string][]*Compiled{"shop": {loader.Added("shop", made(Patch{When: "whatever(1)"}))}}}
	if v := ask(); v.Reason != Failed || !strings.Contains(v.Detail, "this version can't load it") {
		t.Errorf("broken: %+v", v)
	}
	from.list = &List{By: map[string][]*Compiled{"shop": {loader.Added("shop", made(Patch{At: "nowhere"}))}}}
	if v := ask(); v.Reason != Failed {
		t.Errorf("broken place: %+v", v)
	}
}

// FuzzLocation: no place makes the reader panic, and what is read can be looked at.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"", "request", "path.id", "query.*", "header.x-a", "body", "body/", "body/a/*/b", "body/~0~1", "body/~", "cookie.", "body//"} {
		f.Add(s)
	}
	api := shop()
	f.Fuzz(func(t *testing.T, at string) {
		loader, _ := NewLoader(0)
		c, err := loader.Compile(made(Patch{At: at, When: "true"}))
		if err != nil {
			return
		}
		if v := Judge(t.Context(), []*Compiled{c}, exchange(t, api.Operations[0], body.JSON, cart)); v.Reason == Failed {
			t.Errorf("%q: %s", at, v.Detail)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	api := shop()
	for name, p := range map[string]*Patch{"no patch": nil, "query": {At: "query.q", When: `value.contains("zzz")`}, "body": {At: "body/items/*/qty", When: `value < -100`}, "request": {When: `request.method == "GET"`}} {
		var list []Patch
		if p != nil {
			list = append(list, *p)
		}
		g := guard(b, api, list...)
		x := exchange(b, api.Operations[0], body.JSON, cart)
		_, _ = x.Body(b.Context())
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := g.Check(b.Context(), x); !v.Allowed() {
					b.Fatal(v.Detail)
				}
			}
		})
	}
}
