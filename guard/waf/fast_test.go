package waf

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// order is JSON of so many lines, each of 8 leaves.
func order(lines int) string {
	var list []string
	for i := range lines {
		list = append(list, fmt.Sprintf(`{"sku":"TEA-%04d","name":"Darjeeling first flush","quantity":%d,"price":"12.50","currency":"EUR","gift":false,"note":"please pack with care","id":"7d444840-9dc0-11d1-b245-5ffdce74fad2"}`, i, i))
	}
	return `{"customer":{"id":4711,"name":"Ann O'Neil","email":"ann@example.org"},"lines":[` + strings.Join(list, ",") + `]}`
}

var benign = map[string]sample{
	"get": {method: "GET", path: "/orders/7", query: []canon.Pair{{Name: "limit", Value: "20"}}},
	"browser": {method: "GET", path: "/products", query: []canon.Pair{{Name: "q", Value: "red shoes, size 42"}, {Name: "page", Value: "2"}}, fields: map[string]string{
		"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Accept-Language": "de-DE,de;q=0.9,en;q=0.8", "Accept-Encoding": "gzip, deflate, br",
		"Cookie": "session=eyJhbGciOiJIUzI1NiJ9; theme=dark; _ga=GA1.2.1234567890.1690000000; consent=yes", "Referer": "https://shop.example/products?page=1", "Sec-Fetch-Mode": "navigate", "Upgrade-Insecure-Requests": "1",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
	}},
	"json 1 KiB":  {method: "POST", path: "/orders", media: "application/json", kind: body.JSON, body: order(7)},
	"json 10 KiB": {method: "POST", path: "/orders", media: "application/json", kind: body.JSON, body: order(60)},
	"prose":       {method: "POST", path: "/notes", media: "application/json", kind: body.JSON, body: `{"text":"` + strings.Repeat("The quick brown fox jumps over the lazy dog, and then it rests; nobody minds. ", 13) + `"}`},
	"form":        {method: "POST", path: "/x", media: "application/x-www-form-urlencoded", kind: body.Form, body: "name=Ann+Lee&city=Bern&note=ring+twice"},
	"photo":       {method: "GET", path: "/static/photo.jpg"},
}

// fast judges a sample three times, and says what the prefilter did the last time.
func fast(t testing.TB, g *Guard, x func() *gate.Exchange) (shown bool, why string) {
	t.Helper()
	if err := g.set.compile(); err != nil {
		t.Fatal(err)
	}
	d := g.derived()
	if <-d.done; d.why != nil {
		t.Fatal(d.why)
	}
	if _, err := d.filter.NewLevel(nil, g.neutral(x().Operation, nil, nil)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if v := g.Check(t.Context(), x()); !v.Allowed() {
			return false, v.Detail
		}
	}
	e := x()
	tree, _ := e.Body(t.Context())
	r, level := g.rules.room(), g.level(e, nil, inside{})
	r.meter.start(time.Hour)
	defer r.meter.end()
	r.ready(level)
	r.view.Fill(e, tree)
	if _, shown = level.Judge(&r.view, r.work); shown {
		return true, ""
	}
	_, o := g.ask(e, &r.view, &meter{most: time.Hour}, nil, nil)
	return false, fmt.Sprint(level.Learn(&r.view, r.work, o), " ", r.work.First())
}

func TestOrdinaryRequestsAreFast(t *testing.T) {
	g := guard(t, Config{})
	for name, s := range benign {
		if shown, why := fast(t, g, s.exchange); !shown {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// varied gives requests like the benign ones, no two alike in their values.
func varied(name string, r *rand.Rand) sample {
	s := benign[name]
	word := func() string {
		b := make([]byte, 3+r.IntN(9))
		for i := range b {
			b[i] = "etaoinshrdlucmfwypvbgkjqxz"[min(r.IntN(26), r.IntN(26))]
		}
		return string(b)
	}
	switch name {
	case "json 1 KiB", "json 10 KiB":
		lines := map[string]int{"json 1 KiB": 7, "json 10 KiB": 80}[name]
		var list []string
		for range lines {
			list = append(list, fmt.Sprintf(`{"sku":"%s-%04d","name":"%s %s %s","quantity":%d,"price":"%d.50","currency":"EUR","gift":false,"note":"%s %s, %s","id":"%08x-9dc0-11d1-b245-%012x"}`,
				strings.ToUpper(word()), r.IntN(10000), word(), word(), word(), r.IntN(99), r.IntN(500), word(), word(), word(), r.Uint32(), r.Uint64()>>16))
		}
		s.body = `{"customer":{"id":4711,"name":"Ann Lee","email":"ann@example.org"},"lines":[` + strings.Join(list, ",") + `]}`
	case "prose":
		var words []string
		for range 180 {
			words = append(words, word())
		}
		s.body = `{"text":"` + strings.Join(words, " ") + `, and so on."}`
	case "browser":
		s.query = []canon.Pair{{Name: "q", Value: word() + " " + word() + ", size 42"}, {Name: "page", Value: fmt.Sprint(r.IntN(100))}}
	case "get":
		s.query = []canon.Pair{{Name: "limit", Value: fmt.Sprint(r.IntN(1000))}}
	}
	return s
}

// BenchmarkCheck is what the guard takes of an ordinary request when the class is known and no value was seen before.
func BenchmarkCheck(b *testing.B) {
	g := guard(b, Config{Budget: time.Hour})
	for name := range benign {
		b.Run(name, func(b *testing.B) {
			shown, _ := fast(b, g, benign[name].exchange)
			r := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				x := varied(name, r).exchange()
				_, _ = x.Body(b.Context())
				b.StartTimer()
				g.Check(b.Context(), x)
			}
			b.ReportMetric(map[bool]float64{true: 1}[shown], "fast")
		})
	}
}
