package prefilter

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
)

// suite are the requests of every n-th of the rule set's own tests, at its level of paranoia; those about answers are not
// ours.
func suite(t testing.TB, w world, n int) (requests []referee.Request) {
	t.Helper()
	tests, err := referee.Suite()
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range thin(tests, n, 0) {
		if x.Answered() {
			continue
		}
		r, err := w.collector.Request(x)
		if err != nil {
			continue // no engine reads such a message
		}
		if i%2 == 0 { // half of them under the guard's own settings, without limits on lengths
			r.Settings.TX = nil
		}
		requests = append(requests, r)
	}
	if len(requests) < 4500/n {
		t.Fatalf("only %d requests of the suite", len(requests))
	}
	return requests
}

// hold compares the candidate to the referee on requests, twice: the second time what was learned answers.
func hold(t *testing.T, w world, c *candidate, requests []referee.Request) (second referee.Report) {
	t.Helper()
	runs := 1
	if long() {
		runs = 3
	}
	records, err := w.referee.Records(requests, runs)
	if err != nil {
		t.Fatal(err)
	}
	for _, round := range []string{"first", "second"} {
		report, err := w.referee.Hold(c, records, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			t.Errorf("%s time: %v", round, f)
		}
		t.Logf("%s time: %v %v", round, report, c.why)
		second = report
	}
	return second
}

func TestSuiteSameVerdict(t *testing.T) {
	w := the(t)
	report := hold(t, w, w.candidate(), suite(t, w, every(9)))
	if report.Fast < report.Asked/20 {
		t.Errorf("only %d of %d took the fast path: nothing is proved of it", report.Fast, report.Asked)
	}
}

// The argument of this package is about rules, and not about those of one release: what is derived from an earlier one is held
// to that one's referee, on the same requests, at every level.
func TestAnotherReleaseSameVerdict(t *testing.T) {
	w, err := newWorld(referee.Earlier(guards(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := w.candidate()
	report := hold(t, w, c, suite(t, w, every(45)))
	if report.Fast < report.Asked/20 {
		t.Errorf("only %d of %d took the fast path: nothing is proved of it", report.Fast, report.Asked)
	}
	attacks, naughty := referee.Extract()
	for level := 1; level <= 4; level++ {
		var requests []referee.Request
		for _, list := range [][]referee.Sample{attacks, naughty} {
			spread, err := w.collector.Spread(list, 4000/every(100), referee.Settings{Paranoia: level})
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, spread...)
		}
		hold(t, w, c, requests)
	}
}

// samples are the corpora's texts, or our own few.
func samples(t *testing.T) (attacks, naughty []referee.Sample) {
	folder := os.Getenv("GATEHOUSE_CORPORA")
	if folder == "" {
		t.Log("NOT RUN over the corpora: GATEHOUSE_CORPORA does not name their folder; an extract of our own is tried")
		return referee.Extract()
	}
	attacks, naughty, err := referee.Corpus(folder, referee.Even)
	if err != nil {
		t.Fatal(err)
	}
	return attacks, naughty
}

// Attacks and oddities in every place, at every level.
func TestCorporaSameVerdict(t *testing.T) {
	w := the(t)
	attacks, naughty := samples(t)
	c := w.candidate()
	most := 40000 / every(160)
	for level := 1; level <= 4; level++ {
		s := referee.Settings{Paranoia: level}
		var requests []referee.Request
		for _, list := range [][]referee.Sample{attacks, naughty} {
			// each level begins elsewhere
			begin := len(list) * (level - 1) / 4
			spread, err := w.collector.Spread(append(list[begin:len(list):len(list)], list[:begin]...), most/8, s)
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, spread...)
		}
		hold(t, w, c, requests)
	}
}

// prose says harmless things in several languages.
var prose = []string{
	"The quick brown fox jumps over the lazy dog, and then it rests; nobody minds.",
	"Bitte liefern Sie an die Hausnummer 7, zweiter Stock rechts. Vielen Dank für Ihre Mühe!",
	"Livraison à l’étage s'il vous plaît, merci — le code est affiché à l'entrée.",
	"¿Podría usted enviarlo mañana por la mañana? Muchas gracias.",
	"Пожалуйста, позвоните за час до доставки. Спасибо.",
	"お届けは午後にお願いします。よろしくお願いいたします。",
	"请在下午三点以后送货，谢谢。",
	"يرجى التسليم بعد الظهر، شكرا جزيلا",
	"Kargoyu kapıcıya bırakabilirsiniz, teşekkürler. İyi günler!",
	"Δεν λειτουργεί το κουδούνι, παρακαλώ καλέστε με.",
}

// benign is ordinary traffic in many shapes: nobody attacks anything.
func benign() (messages []referee.Message) {
	browser := []referee.Field{
		{Name: "Host", Value: "shop.example"}, {Name: "Accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
		{Name: "Accept-Language", Value: "de-DE,de;q=0.9,en;q=0.8"}, {Name: "Accept-Encoding", Value: "gzip, deflate, br"},
		{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
	}
	client := []referee.Field{{Name: "Host", Value: "api.example"}, {Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "orders-client/2.1 (+ops@example.org)"}}
	get := func(target string, fields ...referee.Field) {
		messages = append(messages, referee.Message{Method: "GET", Target: target, Version: "HTTP/1.1", Fields: fields})
	}
	send := func(method, target, media, body string, fields []referee.Field) {
		fields = append(fields[:len(fields):len(fields)], referee.Field{Name: "Content-Type", Value: media}, referee.Field{Name: "Content-Length", Value: fmt.Sprint(len(body))})
		messages = append(messages, referee.Message{Method: method, Target: target, Version: "HTTP/1.1", Fields: fields, Body: []byte(body)})
	}
	const boundary = "----form7MA4YWxkTrZu0gW"
	for i := range 12 {
		say := prose[i%len(prose)]
		get(fmt.Sprintf("/orders/%d?limit=%d", 4711+i, 10+i), client...)
		get(fmt.Sprintf("/products?q=red+shoes+%d&page=%d&sort=price", 36+i, i+1), append(browser, referee.Field{Name: "Referer", Value: "https://shop.example/products"},
			referee.Field{Name: "Cookie", Value: fmt.Sprintf("theme=dark; session=7d4448409dc011d1b245%02d; consent=yes", i)})...)
		get(fmt.Sprintf("/static/photo%d.jpg", i), browser...)
		send("POST", "/orders", "application/json", fmt.Sprintf(`{"customer":{"id":%d,"name":"Ann Lee"},"lines":[{"sku":"TEA-%04d","quantity":%d,"price":"12.50","gift":false},{"sku":"MUG-0001","quantity":1,"price":7.5,"gift":true}],"note":%q}`, i, i, i+1, strings.ToValidUTF8(say, "")), client)
		send("PUT", fmt.Sprintf("/profiles/%d", i), "application/json", fmt.Sprintf(`{"email":"ann%d@example.org","city":"Bern","tags":["a","b","c%d"],"active":true,"score":%d.25,"manager":null}`, i, i, i), client)
		send("POST", "/comments", "application/x-www-form-urlencoded", "name=Ann+Lee&text="+strings.ReplaceAll(strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", ";", "%3B").Replace(say), " ", "+"), browser)
		send("POST", "/import", "application/xml", fmt.Sprintf("<order no=\"%d\"><item sku=\"TEA-%04d\">two boxes</item><city>Bern</city></order>", i, i), client)
		send("POST", "/files", "multipart/form-data; boundary="+boundary, "--"+boundary+"\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHolidays "+fmt.Sprint(i)+"\r\n--"+boundary+
			"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"beach"+fmt.Sprint(i)+".jpg\"\r\nContent-Type: image/jpeg\r\n\r\nnot really\r\n--"+boundary+"--\r\n", browser)
	}
	return messages
}

// Ordinary traffic takes the fast path, at paranoia 1 nearly all of it, and has the engine's verdict at every level.
func TestBenignIsFastAndTheSame(t *testing.T) {
	w := the(t)
	c := w.candidate()
	for level, least := range []int{1: 85, 2: 70, 3: 20, 4: 20} {
		if level == 0 {
			continue
		}
		var requests []referee.Request
		for i, m := range benign() {
			r, err := w.collector.Collect(m)
			if err != nil {
				t.Fatal(err)
			}
			r.Name, r.Settings = fmt.Sprint("benign ", i), referee.Settings{Paranoia: level, Method: m.Method}
			for _, f := range m.Fields {
				if f.Name == "Content-Type" {
					r.Settings.Media, _, _ = strings.Cut(f.Value, ";")
				}
			}
			requests = append(requests, r)
		}
		report := hold(t, w, c, requests)
		if share := 100 * report.Fast / report.Asked; share < least {
			t.Errorf("paranoia %d: %d %% took the fast path, not %d: %v %v", level, share, least, c.slow, c.why)
		}
	}
}

// Two at once: what one learns, the other may use.
func TestConcurrently(t *testing.T) {
	w := the(t)
	neutral := w.candidate()
	l, err := neutral.level(referee.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var requests []referee.Request
	for _, m := range benign()[:40] {
		r, err := w.collector.Collect(m)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
	}
	said := make([][]bool, 2)
	var both sync.WaitGroup
	for n := range said {
		both.Go(func() {
			work := l.NewWork()
			for round := range 4 {
				for i := range requests {
					r := requests[(i+n*7)%len(requests)]
					v := neutral.values(r)
					_, shown := l.Judge(v, work)
					if !shown {
						o := w.engine.Without(r, l.Narrow(v, work))
						_ = l.Learn(v, work, plain(o))
					}
					if round == 3 {
						said[n] = append(said[n], shown)
					}
				}
			}
		})
	}
	both.Wait()
	for i := range requests {
		if a, b := said[0][i], said[1][(i-7+len(requests))%len(requests)]; a != b {
			t.Errorf("request %d: one says %v, the other %v", i, a, b)
		}
	}
}

func FuzzSameVerdict(f *testing.F) {
	w := the(f)
	seeds := suite(f, w, 20)
	rules, err := referee.CoreRules()
	if err != nil {
		f.Fatal(err)
	}
	probes, err := w.collector.Probes(rules, referee.Seed(1), 1)
	if err != nil {
		f.Fatal(err)
	}
	for i, m := range benign() {
		r, err := w.collector.Collect(m)
		if err != nil {
			f.Fatal(err)
		}
		r.Name, r.Settings = fmt.Sprint("benign ", i), referee.Settings{Paranoia: 1 + i%4}
		seeds = append(seeds, r)
	}
	c := w.candidate()
	for i := range 4 { // so that there is something to be wrong about
		for _, r := range seeds[len(seeds)-16:] {
			r.Settings = referee.Settings{Paranoia: i + 1}
			if _, _, err := c.Judge(r); err != nil {
				f.Fatal(err)
			}
		}
	}
	referee.Fuzz(f, w.referee, w.collector, c, append(seeds, probes...))
}
