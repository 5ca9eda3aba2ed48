package view

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

func filled(t testing.TB, s sample) *View {
	t.Helper()
	x, tree, ok := s.exchange()
	if !ok {
		t.Fatalf("refused: %q", s.target)
	}
	v := new(View)
	v.Fill(x, tree)
	return v
}

// What the engine has and the view does not tell is the engine's or the rules' own: whoever reads it there must know.
func TestEveryVariableIsKnown(t *testing.T) {
	own := []variables.RuleVariable{
		variables.Duration, variables.Env, variables.Geo, variables.HighestSeverity, variables.MatchedVar, variables.MatchedVarName,
		variables.MatchedVars, variables.MatchedVarsNames, variables.Rule, variables.TX, variables.Time, variables.TimeDay,
		variables.TimeEpoch, variables.TimeHour, variables.TimeMin, variables.TimeMon, variables.TimeSec, variables.TimeWday, variables.TimeYear,
	}
	tx := engine().NewTransactionWithID("x").(transaction)
	defer tx.Close()
	tx.Variables().All(func(v variables.RuleVariable, c collection.Collection) bool {
		if (Phase(v) == 0) != slices.Contains(own, v) {
			t.Errorf("%s: phase %d", v.Name(), Phase(v))
		}
		_, single := c.(collection.Single)
		if Phase(v) != 0 && (single || v == variables.ArgsCombinedSize) != traits[v].single {
			t.Errorf("%s is held in another way than in the engine", v.Name())
		}
		return true
	})
	for n := range 256 {
		if Phase(variables.RuleVariable(n)) == 0 && len(new(View).Of(variables.RuleVariable(n))) > 0 {
			t.Errorf("variable %d has a value and no phase", n)
		}
	}
}

// What the differences from the engine's own readers allow, and what the guard has fed since it began.
func TestWhatTheRulesRead(t *testing.T) {
	field := &openapi.Operation{Requests: openapi.Requests{Parameters: []*openapi.Parameter{{Name: "X-Shop", In: "header"}, {Name: "q", In: "query"}}}}
	picture := &openapi.Operation{Requests: openapi.Requests{Bodies: []*openapi.Body{{MediaType: "image/png", Kind: body.Opaque}}}}
	for name, c := range map[string]struct {
		s        sample
		variable variables.RuleVariable
		want     []Pair
	}{
		"a declared field is an argument":    {sample{method: "GET", target: "/p?a=1", fields: map[string]string{"X-Shop": "'--"}, contract: field}, variables.ArgsGet, []Pair{{"a", "1"}, {"X-Shop", "'--"}}},
		"values of the template":             {sample{method: "GET", target: "/p/7", contract: field, params: []canon.Pair{{Name: "id", Value: "7"}}}, variables.ArgsPath, []Pair{{"id", "7"}}},
		"without a template the whole path":  {sample{method: "GET", target: "/p/%20x"}, variables.ArgsPath, []Pair{{"path.1", "p"}, {"path.2", " x"}}},
		"all arguments":                      {sample{method: "POST", target: "/p?a=1", fields: map[string]string{"Content-Type": "text/plain"}, body: "t"}, variables.Args, []Pair{{"a", "1"}, {"path.1", "p"}, {"text", "t"}}},
		"names of all arguments":             {sample{method: "POST", target: "/p?a=1", fields: map[string]string{"Content-Type": "text/plain"}, body: "t"}, variables.ArgsNames, []Pair{{"a", "a"}, {"path.1", "path.1"}, {"text", "text"}}},
		"bytes without a contract":           {post("application/octet-stream", "x"), variables.ArgsPost, []Pair{{"bytes", "x"}}},
		"bytes that a contract declares":     {sample{method: "POST", target: "/p", fields: map[string]string{"Content-Type": "image/png"}, body: "x", contract: picture}, variables.ArgsPost, nil},
		"bytes that it does not declare":     {sample{method: "POST", target: "/p", fields: map[string]string{"Content-Type": "image/png"}, body: "x", contract: field}, variables.ArgsPost, []Pair{{"bytes", "x"}}},
		"attributes":                         {post("text/xml", `<a b="1">t</a>`), variables.ArgsPost, []Pair{{"xml.attribute", "1"}}},
		"a document that breaks off":         {post("text/xml", `<a b="1"><c d="' or`), variables.ArgsPost, []Pair{{"xml.attribute", "1"}, {"xml.attribute", `<c d="' or`}}},
		"texts and attributes":               {post("text/xml", `<a b="1"> t <c/>u</a>`), variables.XML, []Pair{{"//@*", "1"}, {"/*", "t"}, {"/*", "u"}}},
		"arrays, null and numbers":           {post("application/json", `{"a":[1e2,null,{"B":true}],"c":[]}`), variables.ArgsPost, []Pair{{"json.a.0", "1e2"}, {"json.a.1", ""}, {"json.a.2.B", "true"}, {"json.a", "3"}}},
		"a value alone":                      {post("application/json", `"x"`), variables.ArgsPost, []Pair{{"json.0", "x"}, {"json", "1"}}},
		"names of a form in any case":        {post("application/x-www-form-urlencoded", "N=1&n=2"), variables.ArgsPost, []Pair{{"N", "1"}, {"n", "2"}}},
		"an open document is an error":       {post("text/xml", `<a b="1">&#0;</a>`), variables.ReqbodyError, []Pair{{"", "1"}}},
		"a coding that was taken off":        {sample{method: "GET", target: "/", fields: map[string]string{"Accept": "a"}}, variables.RequestHeaders, []Pair{{"Host", "api.test"}, {"Accept", "a"}, {"Content-Length", "0"}}},
		"cookies":                            {sample{method: "GET", target: "/", fields: map[string]string{"Cookie": "a=1;b=2"}}, variables.RequestCookies, []Pair{{"a", "1"}, {"b", "2"}}},
		"files":                              {multi("Content-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\n\r\nabc"), variables.Files, []Pair{{"", "x.php"}}},
		"JSON is not there as a whole":       {post("application/json", `{"a":1}`), variables.RequestBody, []Pair{{"", ""}}},
		"a form is there as a whole":         {post("application/x-www-form-urlencoded", `a=1`), variables.RequestBody, []Pair{{"", "a=1"}}},
		"a type without a body is no reader": {sample{method: "GET", target: "/", fields: map[string]string{"Content-Type": "application/json"}}, variables.ReqbodyProcessor, []Pair{{"", ""}}},
	} {
		if got := filled(t, c.s).Of(c.variable); !slices.Equal(got, c.want) {
			t.Errorf("%s: %s is%s, want%s", name, c.variable.Name(), show(got), show(c.want))
		}
	}
}

// A view that is used again holds nothing of the request before.
func TestResetForgets(t *testing.T) {
	var v, empty View
	empty.Reset()
	for _, s := range samples {
		x, tree, _ := s.exchange()
		v.Fill(x, tree)
	}
	x, tree, _ := samples[6].exchange()
	v.Fill(x, tree)
	once := filled(t, samples[6])
	for n := range count {
		variable := variables.RuleVariable(n)
		if !slices.Equal(sorted(v.Of(variable)), sorted(once.Of(variable))) {
			t.Errorf("%s: used again%s, new%s", variable.Name(), show(v.Of(variable)), show(once.Of(variable)))
		}
	}
	v.Reset()
	for n := range count {
		variable := variables.RuleVariable(n)
		if !slices.Equal(v.Of(variable), empty.Of(variable)) || !slices.Equal(v.Head(variable), empty.Head(variable)) {
			t.Errorf("%s after Reset:%s", variable.Name(), show(v.Of(variable)))
		}
	}
	for _, pairs := range append(v.list[:], v.args.pairs, v.args.names) {
		for _, p := range pairs[:cap(pairs)] {
			if p != (Pair{}) {
				t.Errorf("%q is still held", p)
			}
		}
	}
}

// A field that says other cookies than canon read counts, and none is lost.
func TestCookiesAsTheFieldSaysThem(t *testing.T) {
	x, tree, _ := sample{method: "GET", target: "/", fields: map[string]string{"Cookie": "a=1"}}.exchange()
	for line, want := range map[string][]Pair{
		"a=1":                     {{"a", "1"}},
		"a=1; b=2":                {{"a", "1"}, {"b", "2"}},
		" =x ;; \x7fb\t= 2 ;c;= ": {{"", "x"}, {"b", "2"}, {"c", ""}},
	} {
		x.Request.Fields["Cookie"] = []string{line}
		var v View
		v.Fill(x, tree)
		if got := v.Of(variables.RequestCookies); !slices.Equal(got, want) {
			t.Errorf("%q:%s", line, show(got))
		}
		_, all := fed(t, &v, x.ID)
		_, theirs := parsed(t, sample{target: "/"}, x, tree)
		if !slices.Equal(all[variables.RequestCookies], theirs[variables.RequestCookies]) {
			t.Errorf("%q: the engine reads%s", line, show(theirs[variables.RequestCookies]))
		}
	}
	delete(x.Request.Fields, "Cookie")
	var v View
	v.Fill(x, tree)
	if got := v.Of(variables.RequestCookies); !slices.Equal(got, []Pair{{"a", "1"}}) || !slices.Contains(v.Of(variables.RequestHeaders), Pair{"Cookie", "a=1"}) {
		t.Errorf("without the field:%s", show(got))
	}
}

// G8, G11: what is too much is told, is refused by the rules on it, and is no less than what the engine's own readers hold.
func TestTooMany(t *testing.T) {
	long := strings.Repeat("k", 2000)
	for name, c := range map[string]struct {
		s        sample
		tooMany  bool
		variable variables.RuleVariable
	}{
		"as many leaves as may be":    {post("application/json", "["+strings.Repeat("1,", mostArguments-1)+"1]"), false, 0},
		"a leaf more":                 {post("application/json", "["+strings.Repeat("1,", mostArguments)+"1]"), true, variables.ArgumentsLimitReached},
		"an array behind the last":    {post("application/json", "["+strings.Repeat("1,", mostArguments)+"[]]"), true, variables.ArgumentsLimitReached},
		"as many arrays as may be":    {post("application/json", "["+strings.Repeat("[{}],", mostArguments-2)+"[{}]]"), false, 0},
		"an array more":               {post("application/json", "["+strings.Repeat("[{}],", mostArguments)+"[{}]]"), true, variables.ArgumentsLimitReached},
		"an array more, then a leaf":  {post("application/json", `{"a":[`+strings.Repeat("[{}],", mostArguments)+`[{}]],"b":{}}`), true, variables.ArgumentsLimitReached},
		"as deep as may be":           {post("application/json", nested(mostDepth)), false, 0},
		"a level more":                {post("application/json", nested(mostDepth+1)), true, variables.ReqbodyError},
		"names that outgrow the body": {post("application/json", `{"`+long+`":[`+strings.Repeat("1,", 50)+`1]}`), true, variables.ReqbodyError},
		"short, and names that grow":  {post("application/json", `{"`+long[:60]+`":[`+strings.Repeat("1,", 50)+`1]}`), false, 0},
		"as many pairs as may be":     {post("application/x-www-form-urlencoded", strings.Repeat("a&", mostArguments-1)+"a"), false, 0},
		"a pair more":                 {post("application/x-www-form-urlencoded", strings.Repeat("a&", mostArguments)+"a"), true, variables.ArgumentsLimitReached},
	} {
		v := filled(t, c.s)
		if v.TooMany() != c.tooMany {
			t.Errorf("%s: too many is %t", name, v.TooMany())
		}
		if c.tooMany && v.Single(c.variable) != "1" {
			t.Errorf("%s: %s is %q", name, c.variable.Name(), v.Single(c.variable))
		}
		if c.tooMany {
			compare(t, c.s)
		}
	}
	attributes := filled(t, post("text/xml", "<a"+strings.Repeat(" b=c", mostArguments+1)+">"))
	if !attributes.TooMany() || len(attributes.Of(variables.ArgsPost)) != mostArguments {
		t.Error("attributes beyond the argument limit")
	}
}

// nested is n objects inside each other, which have no leaf and so no names that grow.
func nested(n int) string { return strings.Repeat(`{"":`, n-1) + "{}" + strings.Repeat("}", n-1) }

// The bound on what names may take is the engine's, to the byte.
func TestBoundOfNames(t *testing.T) {
	tooMany := 0
	for pad := range 300 {
		s := post("application/json", `{"`+strings.Repeat("k", 69)+`":[`+strings.Repeat("1,", 49)+`1],"p":"`+strings.Repeat("x", pad)+`"}`)
		if filled(t, s).TooMany() {
			tooMany++
		}
		compare(t, s)
	}
	if tooMany == 0 || tooMany == 300 {
		t.Errorf("%d of 300 were too many", tooMany)
	}
}

// The head is that of the request which goes on to the server.
func TestHeadAsItIsSentOn(t *testing.T) {
	x, tree, _ := sample{method: "POST", target: "/p", fields: map[string]string{"Content-Type": "text/plain"}, body: "text"}.exchange()
	x.Request.Major, x.Request.Length = 2, -1
	x.Request.Fields["Content-Encoding"] = []string{"gzip"}
	for name, c := range map[string]struct {
		tree   *body.Tree
		length string
		coded  bool
	}{
		"a body that was read": {tree, "4", false},
		"a body not inspected": {nil, "0", true},
	} {
		var v View
		v.Fill(x, c.tree)
		fields := v.Of(variables.RequestHeaders)
		if slices.Contains(fields, Pair{"Content-Encoding", "gzip"}) != c.coded || !slices.Contains(fields, Pair{"Content-Length", c.length}) {
			t.Errorf("%s:%s", name, show(fields))
		}
		if v.Single(variables.RequestLine) != "POST /p HTTP/2.0" {
			t.Errorf("%s: %s", name, v.Single(variables.RequestLine))
		}
	}
}

// A body at the engine's own limit is refused, as the engine does it.
func TestTooManyBytes(t *testing.T) {
	x, tree, _ := post("text/plain", "x").exchange()
	tree.Raw = make([]byte, mostBytes)
	var v View
	v.Fill(x, tree)
	if !v.TooMany() || v.Single(variables.InboundDataError) != "1" || len(v.Of(variables.ArgsPost)) != 0 {
		t.Error("a body that the engine would refuse is let through")
	}
}

// The engine remembers what a transformation made of a value by the address of its key: two values that shared a key's
// bytes were missed at random. Each has its own, also when it has no name.
func TestEveryValueHasItsOwnKey(t *testing.T) {
	shared := "note"
	pairs := []Pair{{shared, "1"}, {shared, "2"}, {"", "3"}, {"", "4"}, {shared[:0], "5"}}
	seen := map[*byte]string{}
	tx := engine().NewTransactionWithID("x").(transaction)
	defer tx.Close()
	add(tx.Variables().ArgsPost(), pairs)
	for _, m := range tx.Variables().ArgsPost().FindAll() {
		at := unsafe.StringData(m.Key())
		if at == nil || seen[at] != "" {
			t.Errorf("values %q and %q have one key", seen[at], m.Value())
		}
		seen[at] = m.Value()
	}
	if len(seen) != len(pairs) {
		t.Errorf("%d of %d values", len(seen), len(pairs))
	}
}

// With shared keys this fails within a few rounds: lists come in random order, and rule 2 is shown what rule 1 made of
// another value.
func TestNoValueIsMissed(t *testing.T) {
	waf := compile(directives + `
SecRule ARGS "@streq zzz" "id:1,phase:2,pass,nolog,t:none,t:lowercase"
SecRule ARGS "@streq attack" "id:2,phase:2,pass,nolog,t:none,t:lowercase"
`)
	var parts []string
	for i := range 12 {
		parts = append(parts, `Content-Disposition: form-data; name="n`+strconv.Itoa(i)+"\"\r\n\r\nharmless")
	}
	x, tree, ok := multi(parts...).exchange()
	if !ok {
		t.Fatal("refused")
	}
	for _, name := range []string{"note", ""} {
		tree.Parts = append(tree.Parts[:12], body.Part{Name: name, Data: []byte("harmless")}, body.Part{Name: name, Data: []byte("ATTACK")})
		for range 300 {
			var v View
			v.Fill(x, tree)
			tx := waf.NewTransactionWithID(x.ID).(transaction)
			if v.FeedHead(tx) != nil || tx.ProcessRequestHeaders() != nil || v.FeedBody(tx) != nil {
				t.Fatal("not fed")
			}
			if _, err := tx.ProcessRequestBody(); err != nil {
				t.Fatal(err)
			}
			if len(tx.MatchedRules()) != 1 {
				t.Fatalf("the value named %q was missed", name)
			}
			tx.Close()
		}
	}
}

// What the engine cannot be fed with is an error, and never in silence an inspection of nothing.
func TestUnknownEngine(t *testing.T) {
	if set(stranger{}, "x") == nil {
		t.Error("a single that cannot be set was taken for set")
	}
}

type stranger struct{ collection.Single }
