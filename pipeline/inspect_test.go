package pipeline

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/klauspost/compress/zstd"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/response"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// answerRules are the response rules, compiled once for all tests.
var answerRules = sync.OnceValue(func() *response.Rules {
	return response.NewRules(func() (coraza.WAF, error) {
		return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("SecRuleEngine On\nInclude @crs-setup.conf.example\nInclude @owasp_crs/REQUEST-901*.conf\nInclude @owasp_crs/RESPONSE-*.conf"))
	}, coreruleset.FS, func() time.Duration { return 0 })
})

// looking is a rig whose WAF looks into answers.
func looking(t testing.TB, cfg response.Config, section string) *rig {
	t.Helper()
	r := serving(t, "guards: {rate: {off: {accept_risk: a test asks often}}"+section+"}\n"+served, map[string]string{"c.yaml": plain})
	s := r.inOrder[0]
	i, err := response.New(cfg, 1, s.api, answerRules())
	if err != nil {
		t.Fatal(err)
	}
	if err := answerRules().Ready(); err != nil {
		t.Fatal(err)
	}
	for n := range s.plans[0].admit {
		if st := &s.plans[0].admit[n]; st.name == "waf" {
			st.answers = i
		}
	}
	return r
}

// secret is what no client may read.
const secret = "-----BEGIN PRIVATE " + "KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"

// text is n bytes in which nothing is to be found.
func text(n int) string {
	r := rand.New(rand.NewPCG(7, 7))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"name":"green tea","price":%d.5},`+"\n", r.IntN(1000), r.IntN(90))
	}
	return b.String()[:n]
}

func encoded(t testing.TB, coding, s string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	default:
		return s
	}
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// pieces is a body that comes in pieces, some of them after a while.
type pieces struct {
	list  []string
	pause time.Duration
	end   error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.list) == 0 {
		if p.end != nil {
			return 0, p.end
		}
		return 0, io.EOF
	}
	time.Sleep(p.pause)
	n := copy(b, p.list[0])
	if p.list[0] = p.list[0][n:]; p.list[0] == "" {
		p.list = p.list[1:]
	}
	return n, nil
}

func (p *pieces) Close() error { return nil }

func answering(status int, coding, media string, length int64, body io.Reader) func() *http.Response {
	h := http.Header{"Content-Type": {media}}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	return func() *http.Response {
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body), ContentLength: length}
	}
}

// What is harmless leaves as it came, byte for byte: of any length, known or not, in any coding, in any pieces.
func TestHarmlessAnswersAreUnchanged(t *testing.T) {
	r := looking(t, response.Config{Mode: response.Block, Exact: 4 * unit.KiB}, "")
	for _, size := range []int{0, 1, 100, 4095, 4096, 4097, 20_000, 300_000} {
		for _, coding := range []string{"", "identity", "gzip", "deflate", "br", "zstd"} {
			body := encoded(t, coding, text(size))
			for _, known := range []bool{true, false} {
				for _, media := range []string{"application/json", "application/octet-stream", "image/png"} {
					length := int64(len(body))
					if !known {
						length = -1
					}
					var list []string
					for rest := body; rest != ""; {
						n := min(len(rest), 1+len(rest)/3)
						list, rest = append(list, rest[:n]), rest[n:]
					}
					r.answer = answering(200, coding, media, length, &pieces{list: list})
					w := r.ask("GET", "http://t.test/things", "")
					if w.Code != 200 || w.Body.String() != body || w.Header().Get("Content-Encoding") != coding {
						t.Fatalf("%d bytes, %q, %s, known %v: %d, %d of %d bytes: %+v", size, coding, media, known, w.Code, w.Body.Len(), len(body), r.events)
					}
					if len(r.events) != 1 || r.events[0].Decision.DryRun != nil {
						t.Fatalf("%+v", r.events)
					}
				}
			}
		}
	}
}

// A leak in the held part is refused before a byte leaves, whatever it is wrapped in.
func TestLeaksAreRefused(t *testing.T) {
	r := looking(t, response.Config{}, "")
	for _, coding := range []string{"", "gzip", "deflate", "br", "zstd"} {
		for _, known := range []bool{true, false} {
			body := encoded(t, coding, text(50_000)+secret+text(5000))
			length := int64(len(body))
			if !known {
				length = -1
			}
			r.answer = answering(200, coding, "application/octet-stream", length, strings.NewReader(body))
			if coding == "" { // what is called bytes is held for a moment only: here it is called text
				r.answer = answering(200, coding, "text/plain", length, strings.NewReader(body))
			} else {
				r.answer = answering(200, coding, "application/json", length, strings.NewReader(body))
			}
			w := r.ask("GET", "http://t.test/things", "")
			if w.Code != 502 || strings.Contains(w.Body.String(), "tea") || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%q: %d %v %.100s", coding, w.Code, w.Header(), w.Body)
			}
			if len(r.events) != 1 || r.events[0].Decision.Reason != response.ReasonLeak || r.events[0].Decision.Guard != "waf" || r.events[0].Decision.Fix == "" || r.events[0].Result.Status != 502 {
				t.Errorf("%q: %+v", coding, r.events)
			}
			if strings.Contains(fmt.Sprint(r.events), "MIIE") {
				t.Error("the event tells the key")
			}
		}
	}
}

// A leak behind the held part breaks the answer off, with an event that names the first.
func TestLaterLeaksBreakOff(t *testing.T) {
	r := looking(t, response.Config{Exact: 4 * unit.KiB}, "")
	for _, coding := range []string{"", "gzip"} {
		for _, known := range []bool{true, false} {
			body := encoded(t, coding, text(200_000)+secret+text(100_000))
			length := int64(len(body))
			if !known {
				length = -1
			}
			r.answer = answering(200, coding, "text/plain", length, strings.NewReader(body))
			w := r.ask("GET", "http://t.test/things", "")
			if w.Code != 200 || w.Body.Len() >= len(body) || strings.Contains(w.Body.String(), "MIIEvQ") {
				t.Errorf("%q: %d, %d of %d bytes", coding, w.Code, w.Body.Len(), len(body))
			}
			if len(r.events) != 2 || r.events[1].Kind != gate.KindBroken || r.events[1].Of != r.events[0].ID || r.events[1].Decision.Reason != response.ReasonLeak || r.events[1].Decision.Guard != "waf" {
				t.Errorf("%q: %+v", coding, r.events)
			}
		}
	}
}

// What was read ahead to be decoded has not left before it was judged: nothing of a leak can be decoded from what the client got.
func TestNothingLeavesUnderACoding(t *testing.T) {
	r := looking(t, response.Config{Exact: 4 * unit.KiB}, "")
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		for _, before := range []int{4_500, 9_000, 20_000, 40_000, 150_000} {
			for _, length := range []int64{0, -1} {
				body := encoded(t, coding, text(before)+secret+text(100_000))
				if length == 0 {
					length = int64(len(body))
				}
				r.answer = answering(200, coding, "text/plain", length, strings.NewReader(body))
				w := r.ask("GET", "http://t.test/things", "")
				plain, _ := io.ReadAll(decode(coding, &kept{from: bytes.NewReader(w.Body.Bytes())}, 0))
				if bytes.Contains(plain, []byte("MIIEvQ")) || w.Body.Len() == len(body) {
					t.Errorf("%s, %d bytes before: the client reads %d bytes, the leak among them", coding, before, len(plain))
				}
			}
		}
	}
}

// Over real connections the client sees that it did not get the whole: over HTTP/1.1 there is no last chunk, over HTTP/2 the
// stream is reset.
func TestClientsSeeTheBreak(t *testing.T) {
	r := looking(t, response.Config{Exact: 4 * unit.KiB}, "")
	r.answer = func() *http.Response {
		return answering(200, "", "text/plain", -1, strings.NewReader(text(200_000)+secret))()
	}
	for _, two := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Host = "t.test"
			c := &conn.Conn{Peer: netip.MustParseAddrPort("192.0.2.1:1000"), Scheme: "https", Proxy: func(netip.Addr) bool { return false }}
			r.ServeHTTP(w, q.WithContext(conn.With(q.Context(), c)))
		}))
		s.EnableHTTP2 = two
		s.StartTLS()
		answer, err := s.Client().Get(s.URL + "/things")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		if err == nil || answer.StatusCode != 200 || bytes.Contains(got, []byte("MIIE")) || two != (answer.ProtoMajor == 2) {
			t.Errorf("HTTP/%d: %d bytes, %v", answer.ProtoMajor, len(got), err)
		}
		s.Close()
	}
}

// An answer that comes slowly is not kept from its client: what came is judged and leaves, then each piece as it comes. A
// leak in a later one still ends it.
func TestSlowAnswers(t *testing.T) {
	r := looking(t, response.Config{Wait: 50 * time.Millisecond}, "")
	for _, coding := range []string{"", "gzip"} {
		from, to := io.Pipe()
		r.answer = answering(200, coding, "application/x-ndjson", -1, from)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Host = "t.test"
			c := &conn.Conn{Peer: netip.MustParseAddrPort("192.0.2.1:1000"), Scheme: "http", Proxy: func(netip.Addr) bool { return false }}
			r.ServeHTTP(w, q.WithContext(conn.With(q.Context(), c)))
		}))
		write := func(line string) { _, _ = io.WriteString(to, line) }
		if coding == "gzip" {
			z := gzip.NewWriter(to)
			write = func(line string) { _, _ = io.WriteString(z, line); _ = z.Flush() }
		}
		lines := make(chan string, 8)
		go func() {
			for line := range lines {
				write(line)
			}
			_ = to.Close()
		}()
		lines <- "{\"n\":1}\n"
		q, _ := http.NewRequest("GET", s.URL+"/things", nil)
		q.Header.Set("Accept-Encoding", "gzip")
		answer, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		var plain io.Reader = answer.Body
		if coding == "gzip" {
			if plain, err = gzip.NewReader(answer.Body); err != nil {
				t.Fatal(err)
			}
		}
		line := make([]byte, 8)
		for n := 1; n < 4; n++ {
			if _, err := io.ReadFull(plain, line); err != nil || string(line) != fmt.Sprintf("{\"n\":%d}\n", n) {
				t.Fatalf("%q %v", line, err)
			}
			lines <- fmt.Sprintf("{\"n\":%d}\n", n+1)
		}
		_, _ = io.ReadFull(plain, line)
		lines <- secret + text(2000)
		close(lines)
		if rest, err := io.ReadAll(plain); err == nil || bytes.Contains(rest, []byte("MIIE")) {
			t.Errorf("%d bytes more, %v", len(rest), err)
		}
		answer.Body.Close()
		s.Close()
		_ = from.Close()
	}
}

// To take a coding off, nothing is read before somebody reads, who can stop waiting.
func TestDecodersDontWait(t *testing.T) {
	for _, coding := range readable {
		body := text(1000)
		from := &counted{from: strings.NewReader(encoded(t, strings.TrimPrefix(coding, "x-"), body))}
		d := decode(coding, &kept{from: from}, 0)
		if from.n != 0 {
			t.Errorf("%s reads %d bytes", coding, from.n)
		}
		if got, err := io.ReadAll(d); err != nil || string(got) != body {
			t.Errorf("%s: %d bytes, %v", coding, len(got), err)
		}
		d.close()
	}
}

// panics is a server's body at which a decoder fails badly.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("a decoder's mistake") }

// A decoder that panics ends the answer, never the process, though it may run in a goroutine of its own.
func TestPanicWhileReadingAnAnswer(t *testing.T) {
	for name, coding := range map[string]string{"plain": "", "compressed": "gzip"} {
		for _, length := range []int64{-1, 100} {
			r := looking(t, response.Config{Mode: response.Block}, "")
			r.answer = answering(200, coding, "application/json", length, panics{})
			w := r.ask("GET", "http://t.test/things", "")
			if last := r.events[len(r.events)-1]; last.Kind == gate.KindExchange && w.Code < 500 {
				t.Errorf("%s, %d: %d, %+v", name, length, w.Code, last)
			}
		}
	}
}

// What waits of a compressed answer is bounded: one in which nothing comes out does not fill the memory, in the part that is
// held or behind it.
func TestWhatWaitsIsBounded(t *testing.T) {
	for _, before := range []int{100, 8_000} {
		r := looking(t, response.Config{Mode: response.Block, Exact: 4 * unit.KiB}, "")
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.NoCompression)
		_, _ = io.WriteString(z, text(before))
		_ = z.Flush()
		b.Write(bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20)) // stored blocks of nothing
		from := &counted{from: &b}
		r.answer = answering(200, "gzip", "text/plain", -1, from)
		r.ask("GET", "http://t.test/things", "")
		if last := r.events[len(r.events)-1]; from.n > 1<<20+256<<10 || last.Decision.Reason != response.ReasonUnread {
			t.Errorf("%d bytes were read, and: %+v", from.n, last)
		}
	}
}

// A compressed answer that again and again looks like the beginning of something leaves as it is judged.
func TestDenseNumbersUnderACoding(t *testing.T) {
	var plain strings.Builder
	for random := rand.New(rand.NewPCG(1, 2)); plain.Len() < 8<<20; {
		for range 10 {
			plain.WriteByte(byte('a' + random.IntN(26)))
		}
		plain.WriteString(strings.Repeat(" 1 2 3 4", 4)) // may be the beginning of a card's number
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		r := looking(t, response.Config{Mode: response.Block, Exact: 4 * unit.KiB}, "")
		body := encoded(t, coding, plain.String())
		r.answer = answering(200, coding, "text/plain", -1, strings.NewReader(body))
		if w := r.ask("GET", "http://t.test/things", ""); w.Body.String() != body || len(r.events) != 1 {
			t.Errorf("%s: %d of %d bytes left, %+v", coding, w.Body.Len(), len(body), r.events[len(r.events)-1].Decision)
		}
	}
}

// counted tells how much was read.
type counted struct {
	from io.Reader
	n    int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}

// Only codings that can be taken off are asked for, and parts as they are.
func TestCodingsAskedFor(t *testing.T) {
	r := looking(t, response.Config{}, "")
	for _, c := range []struct{ said, ranged, want string }{
		{"gzip, deflate, br, zstd", "", "gzip, deflate, zstd"}, {"gzip;q=1.0, compress, *;q=0.1", "", "gzip;q=1.0"}, {"compress", "", "identity"}, {"", "", ""}, {"gzip", "bytes=0-1", "identity"},
	} {
		var fields []string
		if c.said != "" {
			fields = append(fields, "Accept-Encoding", c.said)
		}
		if c.ranged != "" {
			fields = append(fields, "Range", c.ranged)
		}
		if r.ask("GET", "http://t.test/things", "", fields...); r.got.Header.Get("Accept-Encoding") != c.want {
			t.Errorf("%q: %q", c.said, r.got.Header.Get("Accept-Encoding"))
		}
	}
	off := looking(t, response.Config{Mode: response.Off}, "")
	if off.ask("GET", "http://t.test/things", "", "Accept-Encoding", "compress"); off.got.Header.Get("Accept-Encoding") != "compress" {
		t.Error("a guard that looks at no answers changes what is asked for")
	}
}

// What can't be read is refused where all is refused, and passes with a note where finds are noted.
func TestUnreadableAnswers(t *testing.T) {
	bomb := encoded(t, "gzip", strings.Repeat("a", 8<<20))
	for name, c := range map[string]struct {
		status       int
		coding, body string
	}{
		"unknown coding": {200, "compress", "xyz"}, "not gzip": {200, "gzip", text(100)}, "cut gzip": {200, "gzip", encoded(t, "gzip", text(100_000))[:1000]},
		"two codings": {200, "gzip, gzip", "xyz"}, "more behind": {200, "gzip", encoded(t, "gzip", "x") + "GARBAGE"}, "br and more": {200, "br", encoded(t, "br", "x") + secret}, "deflate and more": {200, "deflate", encoded(t, "deflate", "x") + secret},
		"part of gzip": {206, "gzip", encoded(t, "gzip", text(1000))}, "bomb": {200, "gzip", bomb},
	} {
		for mode, want := range map[response.Mode]int{response.Block: 502, response.Detect: c.status} {
			r := looking(t, response.Config{Mode: mode}, "")
			if name == "bomb" {
				r = looking(t, response.Config{Mode: mode, Exact: 4 * unit.MiB}, "")
			}
			r.answer = answering(c.status, c.coding, "application/json", int64(len(c.body)), strings.NewReader(c.body))
			w := r.ask("GET", "http://t.test/things", "")
			if w.Code != want {
				t.Errorf("%s, %s: %d", name, mode, w.Code)
			}
			if mode == response.Detect && (w.Body.String() != c.body || len(r.events) != 1 || len(r.events[0].Decision.DryRun) != 1) {
				t.Errorf("%s: %d of %d bytes, %+v", name, w.Body.Len(), len(c.body), r.events)
			}
			if mode == response.Block && r.events[0].Decision.Reason != response.ReasonUnread {
				t.Errorf("%s: %+v", name, r.events)
			}
		}
	}
}

// Answers without a body, and parts.
func TestAnswersWithoutBodies(t *testing.T) {
	r := looking(t, response.Config{Mode: response.Block}, "")
	for _, status := range []int{204, 304} {
		r.answer = func() *http.Response {
			return &http.Response{StatusCode: status, Header: http.Header{"Etag": {`"1"`}}, Body: http.NoBody, ContentLength: 0}
		}
		if w := r.ask("GET", "http://t.test/things", ""); w.Code != status || w.Header().Get("Etag") == "" {
			t.Errorf("%d: %d", status, w.Code)
		}
	}
	r.answer = answering(206, "", "text/plain", int64(len(secret)), strings.NewReader(secret))
	if w := r.ask("GET", "http://t.test/things", ""); w.Code != 502 {
		t.Errorf("a part with a key: %d", w.Code)
	}
}

// In detection mode, and in dry run, nothing is changed and everything is told: in the event of the exchange, or in one of
// its own when the find comes later.
func TestFindsAreNoted(t *testing.T) {
	for name, r := range map[string]*rig{
		"detect": looking(t, response.Config{Mode: response.Detect, Exact: 4 * unit.KiB}, ""),
		"dry":    looking(t, response.Config{Mode: response.Block, Exact: 4 * unit.KiB}, ", waf: {dry_run: {accept_risk: why, until: 2030-06-01}}"),
	} {
		for _, before := range []int{0, 100_000} {
			body := text(before) + secret
			r.answer = answering(200, "", "text/plain", int64(len(body)), strings.NewReader(body))
			w := r.ask("GET", "http://t.test/things", "")
			if w.Code != 200 || w.Body.String() != body {
				t.Fatalf("%s: %d, %d of %d bytes", name, w.Code, w.Body.Len(), len(body))
			}
			last := r.events[len(r.events)-1]
			if len(last.Decision.DryRun) != 1 || last.Decision.DryRun[0].Guard != "waf" || last.Decision.DryRun[0].Rule != response.PrivateKey || (before > 0) != (last.Kind == gate.KindFound && last.Of != "") {
				t.Errorf("%s, %d: %+v", name, before, r.events)
			}
		}
	}
}

// A server's body that breaks is told as before, held or not.
func TestBrokenAnswersAreStillTold(t *testing.T) {
	r := looking(t, response.Config{Exact: 4 * unit.KiB}, "")
	for _, size := range []int{100, 50_000} {
		for _, length := range []int64{-1, 100_000} {
			r.answer = answering(200, "", "text/plain", length, &pieces{list: []string{text(size)}, end: errors.New("gone")})
			w := r.ask("GET", "http://t.test/things", "")
			if w.Body.String() != text(size) || len(r.events) != 2 || r.events[1].Kind != gate.KindBroken || r.events[1].Decision.Reason != "upstream.broken_answer" {
				t.Errorf("%d: %d bytes, %+v", size, w.Body.Len(), r.events)
			}
		}
	}
}

// BenchmarkAnswers is what a request costs whose answer is looked into, and one whose answer isn't.
func BenchmarkAnswers(b *testing.B) {
	for _, mode := range []response.Mode{response.Off, response.Errors} {
		for _, coding := range []string{"", "gzip"} {
			for _, length := range []string{"known", "unknown"} {
				b.Run(string(mode)+"/"+coding+"/"+length, func(b *testing.B) {
					r := looking(b, response.Config{Mode: mode}, "")
					body := encoded(b, coding, text(1<<10))
					b.ReportAllocs()
					for b.Loop() {
						n := int64(len(body))
						if length == "unknown" {
							n = -1
						}
						r.answer = answering(200, coding, "application/json", n, strings.NewReader(body))
						if w := r.ask("GET", "http://t.test/things", ""); w.Code != 200 {
							b.Fatal(w.Code)
						}
					}
				})
			}
		}
	}
}
