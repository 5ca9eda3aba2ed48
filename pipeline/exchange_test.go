package pipeline

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/bearer"
	"github.com/gatehouse-sec/gatehouse/guard/identity/keys"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// rig is a Gateway with a server behind it that remembers what it got, and a log that remembers every event.
type rig struct {
	*Gateway
	got    *http.Request
	body   string
	answer func() *http.Response
	events []gate.Event
	broken error // of the log
}

func (r *rig) Send(_ context.Context, req *http.Request, _ upstream.Call) (*http.Response, upstream.Report, error) {
	r.got, r.body = req, ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, upstream.Report{}, err
		}
		r.body = string(b)
	}
	if r.answer != nil {
		return r.answer(), upstream.Report{}, nil
	}
	return answered(http.Header{"Content-Type": {"text/plain"}}, "ok"), upstream.Report{}, nil
}

func answered(h http.Header, body string) *http.Response {
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func (r *rig) Record(e gate.Event) error { r.events = append(r.events, e); return nil }
func (r *rig) Err() error                { return r.broken }

// rules are compiled once for all tests.
var rules = sync.OnceValue(waf.Load)

// serving makes a rig of a document and the contracts it names.
func serving(t testing.TB, document string, contracts map[string]string) *rig {
	t.Helper()
	r, err := serve(t, document, contracts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func serve(t testing.TB, document string, contracts map[string]string) (*rig, error) {
	t.Helper()
	d, err := config.Parse("gatehouse.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{}
	now := func() time.Time { return today }
	source := keys.NewSource(now, keys.System(), nil)
	t.Cleanup(source.Close)
	r.Gateway, err = Build(d, Tools{
		Now: now, NewID: func(time.Time) string { return "01ID" },
		ReadFile: func(_, file string) ([]byte, error) { return []byte(contracts[file]), nil },
		Senders:  func(string, upstream.Config, []string) (Sender, error) { return r, nil },
		Counters: memory.NewCounters(100, now), Rules: rules(), Recorder: r,
		Identity: identity.Tools{Now: now, Keys: source, Verified: bearer.NewCache(0)},
	})
	return r, err
}

// ask sends one request through the rig.
func (r *rig) ask(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r.got, r.body, r.events = nil, "", nil
	req := httptest.NewRequest(method, target, io.NopCloser(strings.NewReader(body)))
	req.RequestURI, req.ContentLength = strings.TrimPrefix(target, "http://"+req.Host), int64(len(body))
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "chunked" {
			req.ContentLength = -1
			continue
		}
		req.Header.Add(fields[i], fields[i+1])
	}
	c := &conn.Conn{Peer: netip.MustParseAddrPort("192.0.2.1:1000"), Scheme: "http", Proxy: func(a netip.Addr) bool {
		return slices.Contains(fields, "from proxy")
	}}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		r.ServeHTTP(w, req.WithContext(conn.With(req.Context(), c)))
	}()
	return w
}

const plain = `openapi: 3.1.0
info: {title: t, version: "1"}
paths:
  /things:
    get: {operationId: list, security: [], responses: {"200": {description: ok}}}
    post:
      operationId: make
      security: []
      requestBody: {content: {application/json: {schema: {type: object, properties: {name: {type: string}}}}}}
      responses: {"200": {description: ok}}
`

const served = "apis: [{name: t, contract: c.yaml, to: [\"http://127.0.0.1:1\"]}]\n"

// A guard in dry run denies nothing: not even by having read a part of what the server was to get. What it would have
// denied is in the event, and the server gets every byte.
func TestDryRunSendsTheWholeBody(t *testing.T) {
	dry := "{dry_run: {accept_risk: why, until: 2030-06-01}}"
	r := serving(t, "guards: {contract: "+dry+", waf: "+dry+"}\n"+served, map[string]string{"c.yaml": plain})
	for name, body := range map[string]string{
		"good":      `{"name":"x"}`,
		"twice":     `{"name":"x","name":"y"}`,
		"no json":   `name=x`,
		"undefined": `{"role":"admin"}`,
		"nul":       "\x00\x01",
		"large":     `{"name":"` + strings.Repeat("x", 100_000) + `"`,
	} {
		for _, framing := range []string{"length", "chunked"} {
			w := r.ask("POST", "http://t.test/things", body, "Content-Type", "application/json", framing, "1")
			if w.Code != 200 || r.body != body {
				t.Errorf("%s, %s: %d, server got %d of %d bytes", name, framing, w.Code, len(r.body), len(body))
			}
			if len(r.events) != 1 || (len(r.events[0].Decision.DryRun) > 0) != (name != "good") {
				t.Errorf("%s, %s: %+v", name, framing, r.events)
			}
		}
	}
}

// A server that names no media type leaves it unnamed: a text that begins like a page must not become one.
func TestNoMediaTypeIsGuessed(t *testing.T) {
	r := serving(t, served, map[string]string{"c.yaml": plain})
	r.answer = func() *http.Response { return answered(http.Header{}, "<html><script>alert(1)</script>") }
	if w := r.ask("GET", "http://t.test/things", ""); len(w.Header()["Content-Type"]) > 0 || w.Code != 200 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// What a server says in the gateway's name, of its own connection, or of another way to reach it does not pass.
func TestFieldsThatServersMayNotSet(t *testing.T) {
	r := serving(t, served, map[string]string{"c.yaml": plain})
	r.answer = func() *http.Response {
		return answered(http.Header{
			"Gatehouse-Subject": {"x"}, "Gatehouse-Event": {"y"}, "Alt-Svc": {`h3=":443"`}, "Access-Control-Allow-Origin": {"*"},
			"Connection": {"X-Internal"}, "X-Internal": {"1"}, "Keep-Alive": {"1"}, "Trailer": {"X"}, "Upgrade": {"h2c"}, "Etag": {`"1"`},
		}, "ok")
	}
	h := r.ask("GET", "http://t.test/things", "").Header()
	for _, name := range []string{"Gatehouse-Subject", "Gatehouse-Event", "Alt-Svc", "Access-Control-Allow-Origin", "Connection", "X-Internal", "Keep-Alive", "Trailer", "Upgrade"} {
		if h[name] != nil {
			t.Errorf("%s: %v", name, h[name])
		}
	}
	if h.Get("Etag") == "" {
		t.Error("a field of the server's own is gone")
	}
}

// A trace is continued only from a trusted proxy, with all that belongs to it; anybody else's is replaced.
func TestTraceOfAStranger(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name, field, value string
		trusted, goesOn    bool
	}{
		{"stranger", "Traceparent", parent, false, false},
		{"proxy", "Traceparent", parent, true, true},
		{"proxy, malformed", "Traceparent", parent + "x", true, false},
		{"proxy, later version", "Traceparent", "01" + parent[2:], true, false},
		{"proxy, upper case", "Traceparent", strings.ToUpper(parent), true, false},
		{"stranger's state", "Tracestate", "a=0af7651916cd43dd8448eb211c80319c", false, false},
		{"proxy's state", "Tracestate", "a=0af7651916cd43dd8448eb211c80319c", true, true},
		{"stranger's baggage", "Baggage", "a=0af7651916cd43dd8448eb211c80319c", false, false},
		{"proxy's baggage", "Baggage", "a=0af7651916cd43dd8448eb211c80319c", true, true},
	} {
		r := serving(t, served, map[string]string{"c.yaml": plain})
		fields := []string{c.field, c.value}
		if c.trusted {
			fields = append(fields, "X-Test", "from proxy")
		}
		r.ask("GET", "http://t.test/things", "", fields...)
		got := r.got.Header.Get(c.field)
		if strings.Contains(got, "0af7651916cd43dd8448eb211c80319c") != c.goesOn {
			t.Errorf("%s: the server got %q", c.name, got)
		}
		if c.field != "Traceparent" {
			continue
		}
		if traceparent.FindString(got) == "" || strings.Contains(got, "b7ad6b7169203331") {
			t.Errorf("%s: the server got %q", c.name, got)
		}
		if id := r.events[0].From.Trace; !strings.Contains(got, id) || len(id) != 32 {
			t.Errorf("%s: the event names trace %q, the server got %q", c.name, id, got)
		}
	}
}

// B4: words of a proxy that contradict each other are noted, and are no way round a list of networks.
func TestDoubtAboutTheClientIsNoted(t *testing.T) {
	for guards, status := range map[string]int{"": 200, "guards: {address: {deny: [198.51.100.0/24]}}\n": 403} {
		r := serving(t, guards+served, map[string]string{"c.yaml": plain})
		w := r.ask("GET", "http://t.test/things", "", "X-Forwarded-For", "198.51.100.7", "Forwarded", "for=203.0.113.9", "X-Test", "from proxy")
		if w.Code != status || r.events[0].Note != "Forwarded and X-Forwarded-For disagree" || r.events[0].From.Address != "192.0.2.1" {
			t.Errorf("%s%d %+v", guards, w.Code, r.events)
		}
	}
}

// While events cannot be written nothing is decided and no server asked, unless the document has accepted that.
func TestNothingPassesUnrecorded(t *testing.T) {
	r := serving(t, served, map[string]string{"c.yaml": plain})
	r.broken = io.ErrShortWrite
	if w := r.ask("GET", "http://t.test/things", ""); w.Code != 503 || r.got != nil {
		t.Errorf("%d, server asked %v", w.Code, r.got != nil)
	}
	r.tools.Unsafe = true
	if w := r.ask("GET", "http://t.test/things", ""); w.Code != 200 {
		t.Errorf("%d with on_failure: allow", w.Code)
	}
}

// An answer that breaks leaves two events, the second of the first, and never a whole answer.
func TestABrokenAnswerIsTold(t *testing.T) {
	r := serving(t, served, map[string]string{"c.yaml": plain})
	r.answer = func() *http.Response {
		a := answered(http.Header{}, "")
		a.Body = io.NopCloser(io.MultiReader(bytes.NewReader([]byte("half")), broken{}))
		return a
	}
	r.ask("GET", "http://t.test/things", "")
	if len(r.events) != 2 || r.events[1].Kind != gate.KindBroken || r.events[1].Of != r.events[0].ID || r.events[1].Decision.Reason != "upstream.broken_answer" {
		t.Errorf("%+v", r.events)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
