package adversary

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// attack is one case of a row: a request, and what becomes of it.
type attack struct {
	row, name string

	// A request that both protocols can say: GET /public/x at api.test unless told otherwise.
	method, target, host string
	fields               []field
	body                 string
	chunked              bool    // the body goes without a length (over HTTP/1.1 in chunks)
	raw                  string  // instead, bytes of HTTP/1.1 as they are
	h2                   []field // instead, fields of HTTP/2 as they are
	over                 int     // 1 or 2 when only that protocol can say it
	proxied              bool    // comes from a trusted proxy

	want  want
	want2 *want // over HTTP/2, when it differs there
}

// want is what must happen.
type want struct {
	status int
	code   gate.Code
	guard  string
	reason gate.Reason
	close  bool // a framing refusal: the connection ends, and a second request behind this one is not served

	// Over HTTP/2, net/http answers a field that belongs to a connection by itself: 400, and the request reaches nobody, but
	// no event is written.
	unrecorded bool

	grpc    bool // over HTTP/2 the denial is a gRPC status, since gRPC's clients read no other
	counted bool // the event says so little, and there may be so many, that the metrics are asked

	sent   string   // request line at the server; "" when nothing may reach it
	host   string   // Host field there, default api.test
	client string   // X-Forwarded-For there, default the source
	adds   []string // field lines there besides those that every request has
	body   string   // body there
}

func wire(status int, code gate.Code, reason gate.Reason) want {
	return want{status: status, code: code, guard: "wire", reason: reason, close: true}
}

func refused(guard string, status int, code gate.Code, reason gate.Reason) want {
	return want{status: status, code: code, guard: guard, reason: reason}
}

// canon400 is a request without a canonical form; like one that the wire refuses, it ends its connection.
func canon400(reason gate.Reason) want {
	return want{status: 400, code: gate.BadRequest, guard: "canon", reason: reason, close: true}
}

func passes(line string, adds ...string) want { return want{status: 200, sent: line, adds: adds} }

func (a attack) defaults() attack {
	a.method, a.target, a.host = orElse(a.method, "GET"), orElse(a.target, "/public/x"), orElse(a.host, "api.test")
	return a
}

// bytes1 are the bytes over HTTP/1.1.
func (a attack) bytes1() string {
	if a.raw != "" {
		return a.raw
	}
	a = a.defaults()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", a.method, a.target, a.host)
	for _, f := range a.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	switch {
	case a.chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(a.body), a.body)
	case a.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(a.body), a.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// fields2 are the fields over HTTP/2.
func (a attack) fields2() []field {
	if a.h2 != nil {
		return a.h2
	}
	a = a.defaults()
	list := []field{{":method", a.method}, {":scheme", "https"}, {":authority", a.host}, {":path", a.target}}
	for _, f := range a.fields {
		list = append(list, field{strings.ToLower(f.name), f.value})
	}
	if a.body != "" && !a.chunked {
		list = append(list, field{"content-length", fmt.Sprint(len(a.body))})
	}
	return list
}

// get2 is a plain HTTP/2 request with further or changed fields, in the order of the arguments.
func get2(more ...field) []field {
	return append([]field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/public/x"}}, more...)
}

// bring brings the attacks against a gateway, one after the other, over each protocol that can say them.
func bring(t *testing.T, g *gateway, attacks []attack) {
	for _, a := range attacks {
		if a.h2 == nil && a.over != 2 {
			for _, secure := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/h1/tls=%v", a.row, a.name, secure), func(t *testing.T) { a.over1(t, g, secure) })
			}
		}
		if a.raw == "" && a.over != 1 {
			t.Run(fmt.Sprintf("%s/%s/h2", a.row, a.name), func(t *testing.T) { a.over2(t, g) })
		}
	}
}

func (a attack) from() string {
	if a.proxied {
		return proxySource()
	}
	return source()
}

func (a attack) over1(t *testing.T, g *gateway, secure bool) {
	from, before, counted := a.from(), g.server.mark(), 0
	if a.want.counted {
		counted = g.refusals(t, a.want.reason)
	}
	r := g.sendRaw(t, from, a.bytes1(), secure, a.want.close)
	scheme := "http"
	if secure {
		scheme = "https"
	}
	a.judge(t, g, a.want, r, from, scheme, before, counted)
}

func (a attack) over2(t *testing.T, g *gateway) {
	w := a.want
	if a.want2 != nil {
		w = *a.want2
	}
	w.close = false
	from, before, counted := a.from(), g.server.mark(), 0
	if w.counted {
		counted = g.refusals(t, w.reason)
	}
	r := g.send2(t, from, a.fields2(), a.body)
	a.judge(t, g, w, r, from, "https", before, counted)
}

// judge holds what happened against what must happen: answer, event, and bytes at the server.
func (a attack) judge(t *testing.T, g *gateway, w want, r *reply, from, scheme string, before mark, counted int) {
	t.Helper()
	total, requests, broken := g.server.since(before)
	if w.counted {
		g.more(t, w.reason, counted)
	}
	if w.counted || w.unrecorded {
		if r.status != w.status || total != 0 {
			t.Errorf("status %d, want %d; %d bytes at the server", r.status, w.status, total)
		}
		return
	}
	event := g.events.of(t, r, requests, from)
	if client := orElse(w.client, from); event.From.Address != client {
		t.Errorf("the event names client %s, want %s", event.From.Address, client)
	}
	if w.grpc && inGRPC(r) {
		if said := r.fields.Get("Grpc-Status"); r.status != 200 || said == "" || said == "0" {
			t.Errorf("status %d, gRPC status %q", r.status, said)
		}
	} else if r.status != w.status {
		t.Errorf("status %d (%s), want %d; %s: %s %s", r.status, r.end, w.status, event.Decision.Guard, event.Decision.Reason, event.Decision.Detail)
	}
	switch {
	case w.sent != "":
		if len(requests) != 1 || len(broken) != 0 || int64(len(requests[0])) != total {
			t.Fatalf("the server got %d requests and %d pieces, %d bytes: %q %q; event %s %s", len(requests), len(broken), total, requests, broken, event.Decision.Reason, event.Decision.Detail)
		}
		if got, want := plain(requests[0]), w.bytes(from, scheme); got != want {
			t.Errorf("at the server\n got  %q\n want %q", got, want)
		}
		if event.Decision.Verdict != "allow" || !strings.Contains(requests[0], "\r\nGatehouse-Event: "+event.ID+"\r\n") {
			t.Errorf("event %+v; at the server %q", event, requests[0])
		}
		return
	case total != 0:
		t.Errorf("%d bytes of a refused request at the server: %q %q", total, requests, broken)
	}
	if event.Decision.Verdict != "deny" || event.Decision.Guard != w.guard || event.Decision.Reason != w.reason || event.Decision.Code != w.code {
		t.Errorf("event %s %s %s by %s: %s; want deny %s %s by %s", event.Decision.Verdict, event.Decision.Code, event.Decision.Reason, event.Decision.Guard, event.Decision.Detail, w.code, w.reason, w.guard)
	}
	if w.grpc && inGRPC(r) {
		return
	}
	if a.method != "HEAD" && (string(w.code) != r.problem.Code || r.problem.Status != w.status || r.problem.Event != event.ID) {
		t.Errorf("problem %+v (%q), want code %s and event %s", r.problem, r.body, w.code, event.ID)
	}
	if w.close && (!r.closed || r.more) {
		t.Errorf("the connection stays open (closed %v, another answer %v)", r.closed, r.more)
	}
}

// inGRPC tells that an answer came in gRPC's form.
func inGRPC(r *reply) bool { return r.fields.Get("Grpc-Status") != "" }

// orElse is said, or what holds when nothing is.
func orElse(said, standard string) string {
	if said != "" {
		return said
	}
	return standard
}

// bytes is the request as the server must get it.
func (w want) bytes(from, scheme string) string {
	host, client := orElse(w.host, "api.test"), orElse(w.client, from)
	list := append([]string{"Host: " + host, "X-Forwarded-For: " + client, "X-Forwarded-Host: " + host, "X-Forwarded-Proto: " + scheme, "Gatehouse-Event: *", "Traceparent: *"}, w.adds...)
	slices.Sort(list)
	return w.sent + "\r\n" + strings.Join(list, "\r\n") + "\r\n\r\n" + w.body
}
