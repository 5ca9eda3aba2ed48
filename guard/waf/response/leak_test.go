package response

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// base64 stands for the content of a key.
const base64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"

// dashes keep this file itself from looking like one that holds keys.
const dashes = "-----"

// made is a credential that nobody has given out.
func made(prefix string, n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	const letters = "ABCDEFGHJKMNPQRSTVWXYZ234567"
	b := []byte(prefix)
	for range n {
		b = append(b, letters[r.IntN(len(letters))])
	}
	return string(b)
}

var leaking = []struct{ kind, body string }{
	{PrivateKey, dashes + "BEGIN PRIVATE KEY" + dashes + "\n" + base64 + "\n"},
	{PrivateKey, dashes + "BEGIN RSA PRIVATE KEY" + dashes + "\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-128-CBC,00\r\n\r\n" + base64},
	{PrivateKey, dashes + "BEGIN OPENSSH PRIVATE KEY" + dashes + "\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"},
	{PrivateKey, `{"key":"` + dashes + "BEGIN EC PRIVATE KEY" + dashes + `\n` + base64 + `\n"}`},
	{PrivateKey, `{"key":"` + dashes + "BEGIN PRIVATE KEY" + dashes + `\r\n` + base64 + `"}`},
	{PrivateKey, dashes + "BEGIN PGP PRIVATE KEY BLOCK" + dashes + "\nVersion: GnuPG v2\n\n" + base64},
	{PrivateKey, made("AGE-SECRET-KEY-1", 58)},
	{PrivateKey, "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"},
	{Credential, `{"aws":"` + made("AKIA", 16) + `"}`},
	{Credential, "token=" + made("ghp_", 36)},
	{Credential, `{"k":"` + made("sk_live_", 24) + `"}`},
	{Credential, "https://hooks.slack.com/services/T0A1B2C3D/B0E1F2G3H/" + made("", 24)},
	{Credential, `"bot":"123456789:AA` + made("", 33) + `"`},
	{Connection, "cannot connect to postgres://app:Wq7pT2mL@db.internal:5432/shop"},
	{Connection, `{"url":"mongodb+srv://svc:hV3kq9Zt@cluster0.internal/x"}`},
	{Card, `{"card":"4111111111111111"}`},
	{Card, `{"number":"4111 1111 1111 1111"}`},
	{Card, `pay with 5555-5555-5555-4444 please`},
	{Card, `amex 378282246310005,`},
	{Card, `{"pan":6011111111111117}`},
	{Card, "<td>3782 822463 10005</td>"},
	{StackTrace, "Traceback (most recent call last):\n  File \"/srv/a.py\", line 3, in <module>\n"},
	{StackTrace, `{"error":"Traceback (most recent call last):\n  File \"/srv/a.py\", line 3"}`},
	{StackTrace, "TypeError: x\n    at Object.<anonymous> (/app/server.js:12:5)\n    at Module._compile"},
	{StackTrace, `{"stack":"TypeError: x\n    at /app/server.js:12:5\n"}`},
	{StackTrace, "<pre>TypeError: x<br> &nbsp; &nbsp;at Layer.handle (/app/node_modules/express/lib/router/layer.js:95:5)<br>"},
	{StackTrace, "java.lang.IllegalStateException: x\n\tat com.shop.Orders.find(Orders.java:42)\n"},
	{StackTrace, `{"trace":"x\r\n   at Shop.Orders.Find(Int32 id) in C:\\src\\Orders.cs:line 17"}`},
	{StackTrace, "panic: x\n\ngoroutine 17 [running]:\nmain.main()\n"},
	{StackTrace, "thread 'main' panicked at src/main.rs:4:5:"},
	{StackTrace, "Stack trace:\n#0 /var/www/html/index.php(3): f()"},
	{StackTrace, "app/models/user.rb:12:in `find'"},
	{SQLError, "SQLSTATE[42000]: Syntax error"},
	{SQLError, `pq: relation "users" does not exist`},
	{SQLError, `ERROR:  syntax error at or near "'"`},
	{SQLError, "sqlite3.OperationalError: near"},
	{SQLError, "java.sql.SQLSyntaxErrorException: x"},
	{ServerPath, `File "/home/app/shop/views.py", line 42, in get`},
	{ServerPath, "Notice: Undefined index in /var/www/html/a.php on line 7"},
	{ServerPath, "Notice: Undefined index in <b>/var/www/html/a.php</b> on line <b>7</b>"},
	{ServerPath, `C:\inetpub\wwwroot\a.aspx:12`},
	{AccountFile, "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin"},
	{AccountFile, "ann:$6$rounds=5000$saltsalt$" + base64 + ":19000:0:99999:7:::"},
}

// harmless are answers as APIs give them, some of which look like leaks at first sight.
var harmless = []string{
	`{"id":17,"name":"green tea","price":4.5,"company":"Tea & Co, com.example","tags":["a","b"]}`,
	`{"id":4111111111111111}`, `{"trace_id":"4111111111111111"}`, `{"created":1763841870123456,"updated":"2026-11-22T20:04:30Z"}`,
	`{"id":"5105105105105100"}`, `{"phone":"+49 5555 5555 5555 444"}`, `{"card":"4111111111111112"}`, `{"card":"**** **** **** 1111"}`, `{"card":"0000000000000000"}`,
	`{"uuid":"41111111-1111-1111-1111-111111111111","card":"on file"}`, `{"x":0.4111111111111111,"card":1}`, `{"card_hash":"a4111111111111111b"}`,
	`how to make a key: it begins with ` + dashes + `BEGIN PRIVATE KEY` + dashes + ` and ends with ` + dashes + `END PRIVATE KEY` + dashes,
	dashes + "BEGIN PUBLIC KEY" + dashes + "\n" + base64 + "\n", dashes + "BEGIN CERTIFICATE" + dashes + "\n" + base64,
	`{"access_token":"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJ4In0.c2lnbmF0dXJlc2lnbmF0dXJl","token_type":"Bearer"}`,
	`{"key":"AKIAIOSFODNN7EXAMPLE"}`, "Asia is a continent; see https://example.com/home/index.html and /app/page", `{"url":"https://user@example.com/x","ftp":"ftp://mirror.example/x"}`,
	`{"text":"meet me at the station\n    at noon, at 12:30:00"}`, `{"task-list":["sk-1","task-force-of-twenty-two-people"]}`, `{"root":"x","home":"/home/ann"}`, `error: file not found`,
	`{"message":"password must not be empty","errors":[{"field":"name","code":"required"}]}`, "goroutine leaks are hard", `{"dsn":"postgres://user:${DB_PASSWORD}@db/x"}`,
	"", "{}", "[]", "null",
}

func leaksIn(t testing.TB, text string, pieces ...int) (found []finding) {
	t.Helper()
	if err := shared.Ready(); err != nil {
		t.Fatal(err)
	}
	s := &scanner{rules: shared, level: 0, status: "200"}
	for _, n := range append(pieces, len(text)) {
		n = min(max(n, 0), len(text))
		list, _ := s.read([]byte(text[:n]), n == len(text))
		found = append(found, list...)
		if text = text[n:]; text == "" {
			break
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.kind, b.kind) })
	return found
}

func has(found []finding, kind string) bool {
	return slices.ContainsFunc(found, func(f finding) bool { return f.kind == kind })
}

func TestLeaksAreFound(t *testing.T) {
	for _, c := range leaking {
		for _, around := range []string{"%s", "before\n%s\nafter", strings.Repeat("x ", 1000) + "\n%s\n" + strings.Repeat("y ", 1000)} {
			found := leaksIn(t, fmt.Sprintf(strings.ReplaceAll(around, "%s", "%[1]s"), c.body))
			if !has(found, c.kind) {
				t.Errorf("%s is not found: %q: %v", c.kind, c.body, found)
			}
		}
	}
}

func TestHarmlessAnswersAreNoLeaks(t *testing.T) {
	for _, body := range harmless {
		if found := leaksIn(t, body); len(found) > 0 {
			t.Errorf("%q: %v", body, found)
		}
	}
}

// What is found must not come out again by the event (K2).
func TestFindsAreMasked(t *testing.T) {
	for _, c := range leaking {
		for _, f := range leaksIn(t, c.body) {
			shown := strings.ReplaceAll(f.shown, `"`, "")
			for i := 0; i+5 <= len(c.body); i++ {
				if part := c.body[i : i+5]; strings.Contains(shown, part) && !strings.Contains("(private key) (connection) (account file) characters", part) {
					t.Errorf("%s shows %q of %q", f.kind, part, c.body)
				}
			}
		}
	}
}

// A leak is found wherever the text is divided, and at the same place.
func TestDividedLeaks(t *testing.T) {
	for _, c := range leaking {
		text := "some text before it\n" + c.body + "\nand after"
		want := leaksIn(t, text)
		for cut := range len(text) {
			if got := leaksIn(t, text, cut); !slices.Equal(got, want) {
				t.Fatalf("divided at %d: %v, whole: %v: %q", cut, got, want, text)
			}
		}
		bytes := make([]int, len(text))
		for i := range bytes {
			bytes[i] = 1
		}
		if got := leaksIn(t, text, bytes...); !slices.Equal(got, want) {
			t.Fatalf("byte by byte: %v, whole: %v: %q", got, want, text)
		}
	}
}

// Of what is found no more has left before than the hint that begins it, or five digits of a card and what parts them, wherever the text is divided.
func TestNothingLeavesEarly(t *testing.T) {
	for _, c := range leaking {
		if !slices.Contains([]string{Credential, Connection, PrivateKey, Card}, c.kind) {
			continue
		}
		text := "some text before it\n" + c.body + "\nand after"
		found := leaksIn(t, text)
		begin := int(found[slices.IndexFunc(found, func(f finding) bool { return f.kind == c.kind })].at)
		may := begin + 6
		for _, shape := range shared.shapes {
			for _, hint := range shape.hints {
				if at := strings.Index(text[begin:], hint); at >= 0 && shape.kind == c.kind {
					may = max(may, begin+at+len(hint))
				}
			}
		}
		for cut := range len(text) {
			s := &scanner{rules: shared, status: "200", holds: func(string) bool { return true }}
			if early, _ := s.read([]byte(text[:cut]), false); len(early) > 0 {
				continue
			}
			if left := cut - s.pending; left > may {
				t.Fatalf("%q has left before it was found to be a %s", text[begin:left], c.kind)
			}
		}
	}
}

// FuzzPieces holds what is found in pieces against what is found in the whole.
func FuzzPieces(f *testing.F) {
	for i, c := range leaking {
		f.Add(c.body, uint64(i), 7)
		f.Add(strings.Repeat("z", 500+i)+c.body+strings.Repeat(" at", 300)+leaking[(i*7)%len(leaking)].body, uint64(i), 400)
	}
	f.Add("4111 1111 1111 1111 4111-1111 1111 1111 card 4111111111111111", uint64(3), 3)
	f.Fuzz(func(t *testing.T, text string, seed uint64, most int) {
		if len(text) > 8192 || most < 1 {
			return
		}
		want := leaksIn(t, text)
		r := rand.New(rand.NewPCG(seed, 1))
		var pieces []int
		for n := 0; n < len(text) && len(pieces) < 300; {
			p := r.IntN(min(most, 4096) + 1)
			pieces = append(pieces, p)
			n += p
		}
		if got := leaksIn(t, text, pieces...); !slices.Equal(got, want) {
			t.Errorf("in pieces %v: %v, whole: %v", pieces, got, want)
		}
	})
}

// FuzzFinder holds the finder against looking for each word by itself.
func FuzzFinder(f *testing.F) {
	for _, c := range leaking {
		f.Add(c.body, "PRIVATE KEY")
	}
	f.Fuzz(func(t *testing.T, text, w string) {
		w = fold(w)
		if len(w) < gram || len(text) > 1<<16 {
			return
		}
		var got, want []int
		newFinder([]word{{w, 0}, {"abc", 1}}).find(text, func(token, at int) bool {
			if token == 0 {
				got = append(got, at)
			}
			return true
		})
		for at := 0; at+len(w) <= len(text); at++ {
			if equalFold(text[at:at+len(w)], w) {
				want = append(want, at)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q in %q: %v, want %v", w, text, got, want)
		}
	})
}

func TestModes(t *testing.T) {
	key, card := leaking[0].body, leaking[15].body
	sql := "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"
	for _, c := range []struct {
		mode   Mode
		status int
		body   string
		denied bool
		noted  bool
	}{
		{Block, 200, key, true, false}, {Block, 200, card, true, false}, {Block, 200, sql, true, false}, {Block, 200, "{}", false, false},
		{Errors, 200, key, true, false}, {Errors, 200, card, false, true}, {Errors, 200, sql, false, true}, {Errors, 500, sql, true, false}, {Errors, 500, card, true, false},
		{Errors, 500, "{}", false, false}, {Errors, 422, sql, false, true}, {"", 500, sql, true, false},
		{Detect, 500, key, false, true}, {Detect, 500, sql, false, true}, {Detect, 200, "{}", false, false},
	} {
		n := begin(t, inspector(t, Config{Mode: c.mode}, 1), c.status, "application/json")
		v := n.Begin(t.Context(), []byte(c.body), true)
		noted := n.Noted()
		if v.Allowed() == c.denied || len(noted) > 0 != c.noted {
			t.Errorf("%s, %d, %.30q: %+v, noted %v", c.mode, c.status, c.body, v, noted)
		}
		if c.denied && (v.Code != gate.BadServer || v.Rule == "" || v.Fix == "" || v.Detail == "") {
			t.Errorf("%+v", v)
		}
	}
}

func TestExceptions(t *testing.T) {
	for _, c := range []struct{ rule, body string }{{Card, leaking[15].body}, {"954100", `c:\inetpub\x`}} {
		for _, op := range []string{"", "op"} {
			n := begin(t, inspector(t, Config{Mode: Block, Except: []Exception{{Rule: c.rule, Operation: op}}}, 1), 200, "text/plain")
			if v := n.Begin(t.Context(), []byte(c.body), true); !v.Allowed() || n.Noted() != nil {
				t.Errorf("%s: %+v", c.rule, v)
			}
		}
		i, err := New(Config{Mode: Block, Except: []Exception{{Rule: c.rule, Operation: "other"}}}, 1, &gate.API{Operations: []*gate.Operation{{Key: "op"}, {Key: "other"}}}, shared)
		if err != nil {
			t.Fatal(err)
		}
		if v := begin(t, i, 200, "text/plain").Begin(t.Context(), []byte(c.body), true); v.Allowed() {
			t.Errorf("%s is let be in another operation", c.rule)
		}
	}
}

// What follows the held part is looked at in pieces, by leaks and rules alike.
func TestNext(t *testing.T) {
	for _, body := range []string{leaking[0].body, leaking[15].body, `c:\inetpub\x`, "ORA-00933: quoted"} {
		n := begin(t, inspector(t, Config{Mode: Block}, 1), 200, "text/plain")
		if v := n.Begin(t.Context(), []byte("begin "), false); !v.Allowed() {
			t.Fatal(v)
		}
		half := len(body) / 2
		v := n.Next(t.Context(), []byte(body[:half]), false)
		if v.Allowed() {
			v = n.Next(t.Context(), []byte(body[half:]), true)
		}
		if v.Allowed() {
			t.Errorf("%q passes", body)
		}
	}
}

func TestMedia(t *testing.T) {
	for name, want := range map[string]media{
		"application/json": text, "application/problem+json; charset=utf-8": text, "text/html; charset=iso-8859-1": text, "text/plain": text, "image/svg+xml": text,
		"image/png": binary, "application/pdf": binary, "application/grpc+proto": binary, "": unsure, "application/octet-stream": unsure, "nonsense": unsure,
	} {
		h := http.Header{}
		if name != "" {
			h.Set("Content-Type", name)
		}
		if got := mediaOf(h); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for b, want := range map[string]bool{"": true, "abc\n\u00e4": true, "\x89PNG\r\n\x1a\n\x00": false, "\xff\xd8\xff\xe0": false, strings.Repeat("a", 511) + "\u00e4": true, "PK\x03\x04": false} {
		if looksLikeText([]byte(b)) != want {
			t.Errorf("%q", b)
		}
	}
	n := begin(t, inspector(t, Config{Mode: Block}, 1), 200, "application/octet-stream")
	if most, _ := n.Hold(); most != sniffed {
		t.Errorf("%d bytes of what may be no text are held", most)
	}
	if v := n.Begin(t.Context(), []byte("\x00\x01"), false); !v.Allowed() {
		t.Error(v)
	}
	if v := n.Next(t.Context(), []byte(leaking[0].body), true); !v.Allowed() {
		t.Error("what is no text was looked into")
	}
	if v := begin(t, inspector(t, Config{}, 1), 200, "application/octet-stream").Begin(t.Context(), []byte(leaking[0].body), true); v.Allowed() {
		t.Error("a key that is called bytes passes")
	}
}

// Text in characters of two bytes holds no word that anybody here would find, so it can't be looked into.
func TestWideText(t *testing.T) {
	wide := func(text string) string {
		var b strings.Builder
		for _, c := range utf16.Encode([]rune(text)) {
			b.Write([]byte{byte(c >> 8), byte(c)})
		}
		return b.String()
	}
	key := wide(leaking[0].body)
	for media, body := range map[string]string{"text/plain; charset=utf-16": key, `text/plain; x=1; charset="UTF-16BE"`: key, "application/json;charset = utf-32": key, "text/plain": "\xfe\xff" + key} {
		if v := begin(t, inspector(t, Config{Mode: Block}, 1), 200, media).Begin(t.Context(), []byte(body), true); v.Allowed() || v.Reason != ReasonUnread {
			t.Errorf("%s: %+v", media, v)
		}
		n := begin(t, inspector(t, Config{}, 1), 200, media)
		if v := n.Begin(t.Context(), []byte(body), false); !v.Allowed() || len(n.Noted()) != 1 {
			t.Errorf("%s: %+v", media, v)
		}
	}
	for media, body := range map[string]string{"text/plain; charset=utf-8": "plain", "text/html; charset=iso-8859-1": "\xfc\xff", "application/json": "{}"} {
		if v := begin(t, inspector(t, Config{Mode: Block}, 1), 200, media).Begin(t.Context(), []byte(body), true); !v.Allowed() {
			t.Errorf("%s: %+v", media, v)
		}
	}
}

func TestWrongUses(t *testing.T) {
	for _, cfg := range []Config{
		{Mode: "on"}, {Exact: 1}, {Exact: 1 << 30}, {Exact: -1}, {Wait: -1}, {Wait: time.Hour}, {Threshold: -1}, {Except: []Exception{{}}}, {Except: []Exception{{Rule: "942100"}}},
		{Except: []Exception{{Rule: "leak.crad"}}}, {Except: []Exception{{Rule: Card, Operation: "nope"}}},
	} {
		if _, err := New(cfg, 1, &gate.API{Name: "shop"}, shared); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	var none *Inspector
	if none.ReadsAnswer(&gate.Operation{}) || none.InspectAnswer(exchange(), &gate.Answer{}) != nil {
		t.Error("the nil inspector looks")
	}
}

// Nobody can make many places that look like leaks at first sight cost more than their share.
func TestTries(t *testing.T) {
	n := begin(t, inspector(t, Config{Mode: Block}, 1), 200, "text/plain")
	began := time.Now()
	v := n.Begin(t.Context(), []byte(strings.Repeat("\n    at x.rb:1 PRIVATE KEY ", 1<<19/27)), true)
	if v.Allowed() || v.Reason != ReasonUnread {
		t.Errorf("%+v", v)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}
