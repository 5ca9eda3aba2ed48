package adversary

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// I3: nothing that clients reach leads to health and metrics.
func TestAdminIsOutOfReach(t *testing.T) {
	for _, target := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/"} {
		for _, host := range []string{"api.test", shared.admin, "localhost", "127.0.0.1"} {
			if r := shared.sendRaw(t, source(), "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n", true, false); r.status != 404 || strings.Contains(r.body, "gatehouse_") {
				t.Errorf("%s at %s: %d %s", target, host, r.status, r.body)
			}
		}
	}
	response, err := http.Get("http://" + shared.admin + "/debug/pprof/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("pprof at the admin address: %d", response.StatusCode)
	}
}

// I10: what a request says is never a template.
func TestNothingOfARequestIsExpanded(t *testing.T) {
	for _, text := range []string{"{env.CANARY_KEY}", "${CANARY_KEY}", "$CANARY_KEY", "${env:CANARY_KEY}", "env:CANARY_KEY", "{{.}}", "%{CANARY_KEY}", "{{env `CANARY_KEY`}}"} {
		before := shared.server.mark()
		r := shared.sendRaw(t, source(), "GET /public/x HTTP/1.1\r\nHost: api.test\r\nX-A: "+text+"\r\n\r\n", true, false)
		_, requests, _ := shared.server.since(before)
		if r.status == 403 {
			continue // the WAF knows some of them
		}
		if len(requests) != 1 || !strings.Contains(requests[0], "\r\nX-A: "+text+"\r\n") {
			t.Errorf("%s: %d %q", text, r.status, requests)
		}
	}
}

// K1: whatever a client sends, an event is one line of JSON, escaped and bounded, and explain shows nothing a terminal obeys.
func TestEventsStayLines(t *testing.T) {
	texts := []string{"%0d%0a%7B%22admin%22:true%7D", "%1b%5B31mred", "%E2%80%A8", strings.Repeat("a", 4000), "%22%7D%2C%7B%22x%22:%22", "%E2%80%AEabc"}
	for _, text := range texts {
		from := source()
		r := shared.sendRaw(t, from, "GET /search?q="+text+" HTTP/1.1\r\nHost: api.test\r\nUser-Agent: \x1b[31m"+strings.Repeat("u", 200)+"\r\n\r\n", true, false)
		e := shared.events.of(t, r, nil, from)
		out, code := shared.command("explain", e.ID, "--json")
		if code != 0 || strings.Count(out, "\n") != 1 || !json.Valid([]byte(out)) || len(out) > 8<<10 {
			t.Errorf("%s: exit %d, %d bytes: %.300q", text, code, len(out), out)
		}
		out, code = shared.command("explain", e.ID)
		if code != 0 || strings.ContainsAny(strings.ReplaceAll(out, "\n", ""), "\x1b\r\x00\u2028\u202e") {
			t.Errorf("%s: exit %d: %q", text, code, out)
		}
	}
	before := shared.server.mark()
	shared.sendRaw(t, source(), "GET /search?q="+strings.Repeat("a", 4000)+" HTTP/1.1\r\nHost: api.test\r\n\r\n", true, false)
	_, requests, _ := shared.server.since(before)
	if len(requests) != 1 {
		t.Fatalf("%d requests", len(requests))
	}
	e := shared.events.id(t, eventField.FindStringSubmatch(requests[0])[1])
	if len(e.Request.Params) != 1 || len(e.Request.Params[0].Value) > 300 {
		t.Errorf("4000 bytes in the log as %+v", e.Request.Params)
	}
}

// K2: two hundred secrets in every place that a client can put one turn up in no log, no answer, and no metric.
func TestSecretsTurnUpNowhere(t *testing.T) {
	n := 0
	next := func() string { n++; return fmt.Sprintf("cnry%04dQzXw8Kp2Vt6Rb", n) }
	var sent strings.Builder
	say := func(raw string) {
		r := shared.sendRaw(t, source(), raw, n%2 == 0, false)
		sent.WriteString(r.body)
		for name, values := range r.fields {
			fmt.Fprintln(&sent, name, values)
		}
		if r.problem.Event != "" && n%8 == 0 {
			out, _ := shared.command("explain", r.problem.Event)
			sent.WriteString(out)
		}
	}
	get := func(target string, fields ...string) {
		say("GET " + target + " HTTP/1.1\r\n" + strings.Join(append(append([]string{"Host: api.test"}, fields...), "", ""), "\r\n"))
	}
	send := func(target, media, body string) {
		say(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: api.test\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", target, media, len(body), body))
	}
	for n < 200 {
		get("/any", "Authorization: Bearer "+next())
		get("/any", "Authorization: Basic "+next())
		get("/any", "Authorization: Bearer "+forgedWith(next()))
		get("/public/x", "Cookie: session="+next())
		get("/public/x", "Cookie: session=\""+next())
		get("/public/x", "X-Api-Key: "+next(), "X-Api-Key: "+next())
		get("/public/x", "X_Secret: "+next())
		get("/search?token=" + next())
		get("/search?password=" + next() + "&q=%3Cscript%3Ealert(1)%3C/script%3E")
		get("/nowhere/" + next())
		get("/search?n=" + next())
		get("/orders/" + next())
		send("/items", "text/"+next(), "x")
		get("/public/x?access_token=" + next())
		send("/items", "application/json", `{"name":"a","password":"`+next()+`"}`)
		send("/items", "application/json", `{"name":"a","count":"`+next()+`"}`)
		send("/items", "application/json", `{"name":"`+next())
		send("/items", "application/json", `{"name":"' UNION SELECT password FROM users-- `+next()+`"}`)
		send("/form", "application/x-www-form-urlencoded", "password="+next())
		send("/form", "application/x-www-form-urlencoded", "a="+next()+"&a="+next())
		say("GET /public/x HTTP/1.1\r\nHost: api.test\r\nX-A: " + next() + "\x00\r\n\r\n")
		say("GET /public/" + next() + " HTTP/1.1\r\nHost: " + next() + "@api.test\r\n\r\n")
		say(next() + " /public/x HTTP/1.1\r\nHost: api.test\r\n\r\n")
	}
	last := source()
	shared.sendRaw(t, last, "GET /nowhere HTTP/1.1\r\nHost: api.test\r\n\r\n", false, false)
	shared.events.from(t, last, 1)
	sinks := map[string]string{"answers and explain": sent.String(), "standard error": shared.log.String(), "metrics": shared.metrics(t)}
	files, err := filepath.Glob(filepath.Join(shared.events.directory, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sinks[f] += string(text)
	}
	for where, text := range sinks {
		for i := 1; i <= n; i++ {
			if at := strings.Index(text, fmt.Sprintf("cnry%04d", i)); at >= 0 {
				t.Errorf("secret %d of %d in %s: ...%s", i, n, where, text[max(0, at-200):min(len(text), at+60)])
			}
		}
		if strings.Contains(text, canary) {
			t.Errorf("the environment is in %s", where)
		}
	}
	if err := shared.events.verify(); err != nil {
		t.Error(err)
	}
}

// forgedWith is a token whose signature does not hold and whose claims carry a secret (row E36).
func forgedWith(secret string) string {
	forged := issuer{idp.name, other.key}
	return forged.sign(forged.header(nil), forged.claims(object{"sub": secret, "jti": secret}))
}

// B10: trailers of requests reach nobody, whichever way they come.
func TestTrailers(t *testing.T) {
	head := []field{{":method", "POST"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/items"}, {"content-type", "application/json"}}
	for _, announced := range []bool{true, false} {
		before := shared.server.mark()
		s := shared.open2(t, source())
		fields := head
		if announced {
			fields = append(head[:len(head):len(head)], field{"trailer", "x-user"})
		}
		id, err := s.head(fields, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.framer.WriteData(id, false, []byte(item)); err != nil {
			t.Fatal(err)
		}
		if err := s.fields(id, []field{{"x-user", "admin"}}, true); err != nil {
			t.Fatal(err)
		}
		r := s.answer(id)
		s.conn.Close()
		total, requests, _ := shared.server.since(before)
		for _, got := range requests {
			if strings.Contains(strings.ToLower(got), "x-user") {
				t.Errorf("announced %v: at the server %q", announced, got)
			}
		}
		if announced && (r.status != 400 || total != 0) {
			t.Errorf("announced: status %d, %d bytes at the server", r.status, total)
		}
	}
	// Already streaming: the connection breaks, and no server sees a whole message.
	before := shared.server.mark()
	from := source()
	raw := "PUT /blob/x HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	c, err := shared.dial(from)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, raw+"3\r\nabc\r\n")
	time.Sleep(100 * time.Millisecond)
	_, _ = io.WriteString(c, "0\r\nX-User: admin\r\n\r\n"+second)
	all, _ := io.ReadAll(c)
	_, requests, _ := shared.server.since(before)
	if len(requests) != 0 || bytes.Contains(all, []byte("HTTP/1.1 200")) {
		t.Errorf("the client got %q, the server %q", all, requests)
	}
}

// D8: a server behind that speaks HTTP/2 badly ends its own connection and nothing else.
func TestServerWithBadSettings(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				f := http2.NewFramer(c, bufio.NewReader(c))
				_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	document := "listen: {at: [\"http://127.0.0.1:0\"], admin: \"http://ADMIN\"}\nguards: {waf: {off: {accept_risk: \"not what is tested\"}}}\napis:\n" +
		"  - name: shop\n    hosts: [api.test]\n    contract: small.yaml\n    to: [\"http://" + listener.Addr().String() + "\"]\n    upstream: {protocol: h2c, timeouts: {first_byte: 2s}}\n" +
		"  - {name: other, hosts: [other.test], contract: small.yaml, to: [\"UPSTREAM\"]}\n"
	g := another(t, document, map[string]string{"small.yaml": smallContract})
	for range 3 {
		from := source()
		r := g.sendRaw(t, from, healthy, false, false)
		if e := g.events.from(t, from, 1)[0]; r.status < 502 || r.status > 504 || e.Decision.Guard != "upstream" {
			t.Errorf("status %d, %+v", r.status, e.Decision)
		}
	}
	if r := g.sendRaw(t, source(), strings.Replace(healthy, "api.test", "other.test", 1), false, false); r.status != 200 {
		t.Errorf("another API: status %d", r.status)
	}
}

// D19: a session from before a reload is not resumed after it.
func TestNoResumptionAcrossAReload(t *testing.T) {
	t.Parallel()
	g := floodGateway(t)
	config := &tls.Config{RootCAs: g.roots, ServerName: "api.test", NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	resumed := func() bool {
		c, err := tls.Dial("tcp", g.https, config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if r := exchange(t, c, healthy, false); r.status != 200 {
			t.Fatalf("status %d", r.status)
		}
		return c.ConnectionState().DidResume
	}
	resumed()
	if !resumed() {
		t.Error("sessions are not resumed at all, so this test says nothing")
	}
	if err := g.write(strings.Replace(floodDocument, "idle: 2s", "idle: 3s", 1)); err != nil {
		t.Fatal(err)
	}
	if err := g.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(g.log.String(), "document in force"); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("no reload:\n%s", g.log.String())
		}
	}
	if resumed() {
		t.Error("a session from before the reload was resumed")
	}
	if !resumed() {
		t.Error("sessions are not resumed after a reload")
	}
}
