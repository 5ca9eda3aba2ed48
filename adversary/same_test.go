package adversary

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// The invariant (row A22): what the event says of a request that was let through is what every other parser reads from the
// bytes that the server got.

// atoms are what targets are made of: most are harmless, so that many requests pass.
var atoms = []string{
	"a", "b", "x1", "admin", "public", "%61", "%4A", "%4a", "J", "%20", "%2B", "+", "~", "%7E", "%25", "%2561", "%C3%A9", "%c3%a9", "%E2%82%AC", ".", "a.b", "..a", "...",
	"@", ":", "!", "'", "(", "*", ",", "=", "%3D", "%26", "&", "$", "%3F", "%23", "%22", "%3C", "[", "]", "{", "|", "^", "%5B", "-", "_", "1", "007", "%F0%9F%98%80",
	"%2f", "%2F", "..", "%2e%2e", ".%2E", "//", ";", "%3b", "\\", "%5c", "%00", "%0a", "%ff", "%c0%ae", "%zz", "%", "#", "?", "\x00", "\t", " ", "é", "\xff", "%ed%a0%80", "%u0061",
}

const harmless = 46 // atoms before the nasty ones

// generated is one random request.
type generated struct {
	method, target, host string
	fields               []field
}

func word(r *rand.Rand, most int) string {
	var b strings.Builder
	for range 1 + r.IntN(most) {
		if r.IntN(25) == 0 {
			b.WriteString(atoms[harmless+r.IntN(len(atoms)-harmless)])
		} else {
			b.WriteString(atoms[r.IntN(harmless)])
		}
	}
	return b.String()
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func generate(r *rand.Rand) generated {
	g := generated{method: pick(r, "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "DELETE")}
	g.host = pick(r, "api.test", "api.test", "api.test", "api.test", "api.test", "api.test", "base.test", "base.test", "API.Test", "api.test.", "aPi.TeST.:8443", "api.test:80", "api.test:443", "api.test:0080", "base.test", "base.test", "api.test..", "api.tést", "[::1]", "api.test:", "a@api.test")
	switch target := word(r, 3); {
	case strings.HasPrefix(strings.ToLower(g.host), "base"):
		g.target = pick(r, "/v1/things/", "/v1/things/", "/v%31/things/", "/V1/things/", "/v1//things/", "/v1/../v1/things/") + target
	default:
		g.target = pick(r, "/public/", "/public/", "/public/", "/%70ublic/", "/admin/", "//public/", "/public/x/", "/public/./", "/PUBLIC/") + target
		if r.IntN(3) == 0 {
			g.target += pick(r, "/", "/", "/"+word(r, 2), "/../x")
		}
		if r.IntN(3) == 0 {
			g.target = "/search"
		}
		if r.IntN(20) == 0 {
			g.target = pick(r, "http://", "https://", "HTTP://", "//", "gopher://") + g.host + g.target
		}
	}
	if strings.HasSuffix(g.target, "/search") || r.IntN(10) == 0 {
		var pairs []string
		for range r.IntN(4) {
			pairs = append(pairs, pick(r, "q=", "q=", "tag=", "tag=", "%71=", "n=7&q=", "q", "=", "q==")+strings.NewReplacer("&", "%26", "#", "%23").Replace(word(r, 3)))
		}
		g.target += "?" + strings.Join(pairs, pick(r, "&", "&", "&", "&&", ";"))
	}
	if r.IntN(4) == 0 {
		g.fields = append(g.fields, field{pick(r, "X-Forwarded-Host", "X-Original-URL", "X-HTTP-Method-Override", "Gatehouse-Event", "X-Rewrite-Url", "X-A", "Accept"), pick(r, "evil.test", "/admin/x", "DELETE", "a, b")})
	}
	return g
}

// sample is a request that was let through: its event, and the bytes at the server.
type sample struct {
	event gate.Event
	raw   string
	inner []string // segments of the base behind
}

// try sends one request and gives the sample if it got through.
func (x generated) try(t testing.TB, g *gateway) (sample, bool) {
	t.Helper()
	before := g.server.mark()
	a := attack{method: x.method, target: x.target, host: x.host, fields: x.fields}
	r := g.sendRaw(t, source(), a.bytes1(), false, false)
	return sampled(t, g, r, before, x)
}

func sampled(t testing.TB, g *gateway, r *reply, before mark, x generated) (sample, bool) {
	t.Helper()
	total, requests, broken := g.server.since(before)
	switch {
	case total == 0:
		return sample{}, false
	case len(requests) != 1 || len(broken) > 0 || int64(len(requests[0])) != total:
		t.Fatalf("%q reached the server as %q %q (%d bytes)", x, requests, broken, total)
	}
	m := eventField.FindStringSubmatch(requests[0])
	if m == nil {
		t.Fatalf("no event in %q", requests[0])
	}
	s := sample{event: g.events.id(t, m[1]), raw: requests[0]}
	if s.event.Request.API == "behind" {
		s.inner = []string{"inner", "base"}
	}
	if s.event.Decision.Verdict != "allow" {
		t.Errorf("%q was denied (%s) and reached the server", x, s.event.Decision.Reason)
	}
	return s, true
}

// operations are those of the contracts that can be reached, in words of this test's own.
var operations = map[string][]string{
	"shop":   {"public /public/{name}", "part /public/{name}/{part}", "slash /public/{name}/", "search /search", "health /health", "admin /admin/{name}", "any /any", "scoped /scoped", "getOrder /orders/{id}"},
	"behind": {"thing /v1/things/{name}"},
}

// chosen finds the operation for decoded segments by comparing them one by one: the one with the first literal wins.
func chosen(api string, segments []string) (key string, params map[string]string) {
	best := ""
	for _, o := range operations[api] {
		k, template, _ := strings.Cut(o, " ")
		parts := strings.Split(template, "/")[1:]
		if len(parts) != len(segments) {
			continue
		}
		fits, weight, values := true, "", map[string]string{}
		for i, p := range parts {
			if strings.HasPrefix(p, "{") {
				values[strings.Trim(p, "{}")] = segments[i]
				weight += "0"
				fits = fits && segments[i] != "" // a template stands for something
			} else {
				weight += "1"
				fits = fits && p == segments[i]
			}
		}
		if fits && weight > best {
			best, key, params = weight, k, values
		}
	}
	return key, params
}

// agree holds a reading against the event. In the base of API behind, /v1 in front is /inner/base behind.
func (s sample) agree(who string, r reading) error {
	e := s.event.Request
	if r.Event != s.event.ID {
		return fmt.Errorf("%s: another request: event %s", who, r.Event)
	}
	segments := r.Segments
	if s.inner != nil {
		if len(segments) < 2 || !slices.Equal(segments[:2], s.inner) {
			return fmt.Errorf("%s: outside the base: %q", who, segments)
		}
		segments = append([]string{"v1"}, segments[2:]...)
	}
	key, params := chosen(e.API, segments)
	if r.Method != e.Method || !strings.EqualFold(r.Host, e.Host) || key != e.Operation {
		return fmt.Errorf("%s reads %s %s %q (%s), the event says %s %s %s", who, r.Method, r.Host, segments, key, e.Method, e.Host, e.Operation)
	}
	var query [][2]string
	for _, p := range e.Params {
		switch {
		case p.In == "query":
			query = append(query, [2]string{p.Name, p.Value})
		case p.In == "path" && params[p.Name] != p.Value:
			return fmt.Errorf("%s reads %s as %q, the event says %q", who, p.Name, params[p.Name], p.Value)
		case p.In == "path":
			delete(params, p.Name)
		}
	}
	if len(params) > 0 {
		return fmt.Errorf("%s reads %q, of which the event says nothing", who, params)
	}
	if !slices.Equal(query, r.Query) {
		return fmt.Errorf("%s reads query %q, the event says %q", who, r.Query, query)
	}
	return nil
}

// TestSameRequest sends random requests over both protocols and lets three other parsers read what the server got.
func TestSameRequest(t *testing.T) {
	seed := uint64(1) // make soak takes others
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var samples []sample
	for range 1500 {
		if s, ok := generate(r).try(t, shared); ok {
			samples = append(samples, s)
		}
	}
	first := len(samples)
	var second *stream2
	for i := range 400 {
		if i%25 == 0 { // another address, since one may ask only so often
			if second != nil {
				second.conn.Close()
			}
			second = shared.open2(t, source())
		}
		x := generate(r)
		before := shared.server.mark()
		id, err := second.head(attack{method: x.method, target: x.target, host: x.host, fields: x.fields}.fields2(), true)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := sampled(t, shared, second.answer(id), before, x); ok {
			samples = append(samples, s)
		}
	}
	second.conn.Close()
	t.Logf("%d of 1500 and %d of 400 got through", first, len(samples)-first)
	if first < 200 || len(samples)-first < 50 {
		t.Error("too few requests got through to say anything")
	}
	raws := make([]string, len(samples))
	for i, s := range samples {
		raws[i] = s.raw
	}
	node, nginx := byNode(t, raws), byNginx(t, raws)
	for i, s := range samples {
		bare, err := byGo(s.raw)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", s.raw, err)
		}
		for who, reading := range map[string]reading{"net/http": bare, "Node": node[i], "nginx": nginx[i]} {
			if err := s.agree(who, reading); err != nil {
				t.Errorf("%v\n%q", err, s.raw)
			}
		}
	}
}

func FuzzSameRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		x := generate(r)
		x.fields = append(x.fields, field{"X-A", "1"})
		f.Add(x.method, x.target, x.host, x.fields[0].name, x.fields[0].value)
	}
	f.Fuzz(func(t *testing.T, method, target, host, name, value string) {
		x := generated{method: method, target: target, host: host, fields: []field{{name, value}, {"Connection", "close"}}}
		raw := attack{method: method, target: target, host: host, fields: x.fields}.bytes1()
		if len(raw) > 16<<10 || strings.HasPrefix(raw, "\r\n") {
			return
		}
		before := shared.server.mark()
		c, err := shared.dial(source())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second)) // for what waits for a body
		_, _ = io.WriteString(c, raw)
		_, _ = io.Copy(io.Discard, c)
		_, requests, broken := shared.server.since(before)
		if len(broken) > 0 {
			t.Errorf("%q reached the server in pieces: %q", raw, broken)
		}
		for _, got := range requests {
			bare, err := byGo(got)
			if err != nil {
				t.Fatalf("net/http refuses %q: %v", got, err)
			}
			s := sample{event: shared.events.id(t, bare.Event), raw: got}
			if s.event.Request.API == "behind" {
				s.inner = []string{"inner", "base"}
			}
			if err := s.agree("net/http", bare); err != nil {
				t.Errorf("%v\n%q\n%q", err, raw, got)
			}
		}
	})
}
