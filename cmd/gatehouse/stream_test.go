package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gatehouse-sec/gatehouse/gate"
)

const streamsContract = `
openapi: 3.0.3
info: {title: live, version: "1"}
servers: [{url: /v1}]
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
security: [{token: []}]
paths:
  /chat: {get: {operationId: chat, x-gatehouse-stream: websocket, responses: {"101": {description: ok}}}}
  /news: {get: {operationId: news, x-gatehouse-stream: sse, responses: {"200": {description: ok}}}}
  /ask:
    post:
      operationId: ask
      x-gatehouse-stream: sse
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {q: {type: string}}}}}}
      responses: {"200": {description: ok}}
  /plain: {get: {operationId: plain, responses: {"200": {description: ok}}}}
  /file:
    put:
      operationId: put
      x-gatehouse-stream: upload
      requestBody: {content: {application/octet-stream: {}}}
      responses: {"200": {description: ok}}
  /note:
    put:
      operationId: note
      requestBody: {content: {application/octet-stream: {x-gatehouse-opaque: {accept_risk: a test}}}}
      responses: {"200": {description: ok}}
`

// streamsRig serves the contract above before a server of the test's own.
func streamsRig(t *testing.T, server http.Handler, operations string) *rig {
	t.Helper()
	behind := httptest.NewServer(server)
	t.Cleanup(behind.Close)
	return newRig(t, "  - {name: live, contract: live.yaml, to: [\""+behind.URL+"\"], operations: {"+operations+"}}\n", map[string]string{"live.yaml": streamsContract})
}

// echo is a server that sends every message back.
func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v2"}, CompressionMode: websocket.CompressionNoContextTakeover, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("the server got no handshake: %v", err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(8 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}
}

func (r *rig) websocket(fields http.Header) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, response, err := websocket.Dial(ctx, "ws://"+r.plain+"/v1/chat", &websocket.DialOptions{
		HTTPHeader: fields, Subprotocols: []string{"chat.v1", "chat.v2"}, CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if c != nil {
		c.SetReadLimit(8 << 20)
	}
	return c, response, err
}

func (r *rig) mustWebsocket(life time.Duration) *websocket.Conn {
	r.t.Helper()
	c, _, err := r.websocket(r.bearer(life))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// awaitClose reads until the other side closes, and gives its status.
func awaitClose(t *testing.T, c *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func TestWebsocket(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "")
	c := r.mustWebsocket(time.Minute)
	if c.Subprotocol() != "chat.v2" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	ctx := t.Context()
	large := make([]byte, 900_000)
	_, _ = rand.Read(large)
	for i, message := range [][]byte{[]byte("héllo"), {}, large, []byte(strings.Repeat("x", 70_000))} {
		kind := websocket.MessageBinary
		if i == 0 {
			kind = websocket.MessageText
		}
		if err := c.Write(ctx, kind, message); err != nil {
			t.Fatal(err)
		}
		if k, back, err := c.Read(ctx); err != nil || k != kind || !bytes.Equal(back, message) {
			t.Fatalf("message %d: %v, %d bytes came back", i, err, len(back))
		}
	}
	w, err := c.Writer(ctx, websocket.MessageText) // in fragments
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = io.WriteString(w, strings.Repeat("y", 5000))
	}
	_ = w.Close()
	if _, back, err := c.Read(ctx); err != nil || len(back) != 15_000 {
		t.Fatalf("%v, %d bytes came back", err, len(back))
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	e := r.closes()
	bytes := int64(6 + 900_000 + 70_000 + 15_000)
	if e.Result.Status != 101 || e.Result.Messages != 10 || e.Request.Bytes != bytes || e.Result.Bytes != bytes || e.Decision.Reason != "stream.ended" ||
		e.Decision.Verdict != "allow" || e.Decision.Detail != "by the client" || e.From.Subject != "ann" {
		t.Errorf("%+v", e)
	}
}

// Over TLS the switch happens inside it, and the end is told there too.
func TestWebsocketOverTLS(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "chat: {stream: {longest: 500ms}}")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}} //nolint:gosec // a test
	c, _, err := websocket.Dial(t.Context(), "wss://"+r.secure+"/v1/chat", &websocket.DialOptions{HTTPHeader: r.bearer(time.Minute), HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if _, back, err := c.Read(t.Context()); err != nil || string(back) != "secret" {
		t.Fatalf("%q, %v", back, err)
	}
	if status := awaitClose(t, c); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
	if e := r.closes(); e.From.TLS == "" || e.Result.Messages != 2 {
		t.Errorf("%+v", e)
	}
}

// A stream keeps the document by which it was admitted: a reload ends none.
func TestStreamsOutliveAReload(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "")
	c := r.mustWebsocket(time.Minute)
	text := strings.Replace(string(r.document), "to: [", "upstream: {timeouts: {connect: 1s}}, to: [", 1)
	text = strings.Replace(text, "operations: {", "operations: {chat: {stream: {message: 8B}}", 1)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.node.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		conn *websocket.Conn
		good bool
	}{{c, true}, {r.mustWebsocket(time.Minute), false}} { // the new one is admitted by the new document
		message := []byte("more than eight bytes")
		_ = k.conn.Write(t.Context(), websocket.MessageText, message)
		if _, back, err := k.conn.Read(t.Context()); (err == nil && bytes.Equal(back, message)) != k.good {
			t.Errorf("%q, %v", back, err)
		}
	}
}

// D18: messages without bound, frames that are none.
func TestWebsocketMessageTooLarge(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "chat: {stream: {message: 1KiB}}")
	c := r.mustWebsocket(time.Minute)
	if err := c.Write(t.Context(), websocket.MessageBinary, make([]byte, 1025)); err != nil {
		t.Fatal(err)
	}
	if status := awaitClose(t, c); status != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d", status)
	}
	if e := r.closes(); e.Decision.Reason != "stream.message" || e.Decision.Verdict != "deny" || e.Decision.Code != gate.TooLarge {
		t.Errorf("%+v", e)
	}
}

// D17: a stream does not outlive its caller's permission.
func TestWebsocketEndsWithTheToken(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "")
	began := time.Now()
	c := r.mustWebsocket(2 * time.Second)
	if status := awaitClose(t, c); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
	if lived := time.Since(began); lived < 500*time.Millisecond || lived > 7*time.Second {
		t.Errorf("closed after %s", lived)
	}
	if e := r.closes(); e.Decision.Reason != "stream.expired" || e.Decision.Verdict != "deny" {
		t.Errorf("%+v", e)
	}
}

func TestWebsocketEndsWhenTheDocumentSays(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "chat: {stream: {longest: 300ms}}")
	if status := awaitClose(t, r.mustWebsocket(time.Minute)); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
	if e := r.closes(); e.Decision.Reason != "stream.longest" {
		t.Errorf("%+v", e)
	}
}

// I16: a drain tells clients to come back elsewhere, and does not wait for them.
func TestWebsocketEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "")
	c := r.mustWebsocket(time.Minute)
	status := make(chan websocket.StatusCode, 1)
	go func() { status <- awaitClose(t, c) }()
	began := time.Now()
	e := r.closes()
	if s := <-status; s != websocket.StatusGoingAway {
		t.Errorf("closed with %d", s)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the drain took %s", took)
	}
	if e.Decision.Reason != "stream.draining" {
		t.Errorf("%+v", e)
	}
}

// An end that vanishes is not told as one that said goodbye.
func TestWebsocketWhoseEndsVanish(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, echo(t), "")
	c := r.mustWebsocket(time.Minute)
	_ = c.CloseNow()
	r.rest()
	if e := r.closes(); e.Decision.Reason != "stream.broken" || !strings.HasPrefix(e.Decision.Detail, "the client") {
		t.Errorf("%+v", e)
	}
	vanishing := func(w http.ResponseWriter, req *http.Request) {
		if c, err := websocket.Accept(w, req, nil); err == nil {
			_ = c.CloseNow()
		}
	}
	r = streamsRig(t, http.HandlerFunc(vanishing), "")
	if status := awaitClose(t, r.mustWebsocket(time.Minute)); status != -1 {
		t.Errorf("closed with %d", status)
	}
	if e := r.closes(); e.Decision.Reason != "stream.broken" || !strings.HasPrefix(e.Decision.Detail, "the server") {
		t.Errorf("%+v", e)
	}
}

// D16: a page of another site cannot open a websocket with a browser's help.
func TestWebsocketOrigin(t *testing.T) {
	t.Parallel()
	own := streamsRig(t, echo(t), "")
	listed := streamsRig(t, echo(t), `chat: {stream: {origins: ["https://shop.example"]}}`)
	for _, c := range []struct {
		rig    *rig
		origin string
		status int
	}{
		{own, "http://" + own.plain, 101},
		{own, "https://" + own.plain, 101},
		{own, "https://evil.example", 403},
		{own, "https://evil" + own.plain, 403},
		{own, "null", 403},
		{own, "http://" + own.plain + ".evil.example", 403},
		{listed, "https://shop.example", 101},
		{listed, "http://shop.example", 403},
		{listed, "https://shop.example.evil.example", 403},
		{listed, "https://shop.example:444", 403},
		{listed, "http://" + listed.plain, 403},
	} {
		fields := c.rig.bearer(time.Minute)
		fields.Set("Origin", c.origin)
		conn, response, err := c.rig.websocket(fields)
		if response == nil || response.StatusCode != c.status {
			t.Errorf("%s: %v, want %d", c.origin, err, c.status)
		}
		if conn != nil {
			_ = conn.CloseNow()
		}
	}
	if _, response, _ := own.websocket(nil); response == nil || response.StatusCode != 401 {
		t.Error("a websocket without a credential was not refused")
	}
}

const handshake = "GET /v1/chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// canned answers every connection with the same bytes, then keeps what comes after the first request.
func canned(t *testing.T, answer string) (url string, got func() string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var mu sync.Mutex
	var all bytes.Buffer
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				rest, _ := io.ReadAll(in)
				mu.Lock()
				all.Write(rest)
				mu.Unlock()
			}()
		}
	}()
	return "http://" + l.Addr().String(), func() string { mu.Lock(); defer mu.Unlock(); return all.String() }
}

// C16, C18: only a server that has agreed to this very handshake gets a tunnel.
func TestHandshakesThatAreNone(t *testing.T) {
	t.Parallel()
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, c := range []struct {
		name, asked, answer string
		status              int
		reason              gate.Reason
	}{
		{"agreed", "", switching + accept + "\r\n", 101, ""},
		{"C16 200 with Upgrade", "", "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}", 502, "stream.no_switch"},
		{"C18 426", "", "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426, ""},
		{"C18 refused by the server", "", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, ""},
		{"no accept", "", switching + "\r\n", 502, "stream.handshake"},
		{"accept of another key", "", switching + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", 502, "stream.handshake"},
		{"two accepts", "", switching + accept + accept + "\r\n", 502, ""},
		{"switch to another protocol", "", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 502, ""},
		{"extension nobody asked for", "Sec-WebSocket-Extensions: permessage-deflate\r\n", switching + accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 502, "stream.handshake"},
		{"subprotocol nobody asked for", "Sec-WebSocket-Protocol: a, b\r\n", switching + accept + "Sec-WebSocket-Protocol: c\r\n\r\n", 502, "stream.handshake"},
		{"subprotocol asked for", "Sec-WebSocket-Protocol: a, b\r\n", switching + accept + "Sec-WebSocket-Protocol: b\r\n\r\n", 101, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, got := canned(t, c.answer)
			r := newRig(t, "  - {name: live, contract: live.yaml, to: [\""+url+"\"]}\n", map[string]string{"live.yaml": streamsContract})
			answer := r.raw(handshake + c.asked + "Authorization: Bearer " + r.token(time.Minute) + "\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
			if !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || strings.Count(answer, "HTTP/1.1") != 1 {
				t.Errorf("answered %q", answer)
			}
			if strings.Contains(got(), "GET /admin") {
				t.Errorf("the server got %q", got())
			}
			for _, e := range r.end() {
				if c.reason != "" && e.Decision.Reason != c.reason {
					t.Errorf("%+v", e.Decision)
				}
			}
		})
	}
}

// C17, C18: what the operation does not declare is not tried.
func TestUpgradesThatAreNotDeclared(t *testing.T) {
	t.Parallel()
	var upgrades atomic.Int64
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") != "" || req.Header.Get("Http2-Settings") != "" {
			upgrades.Add(1)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}), "")
	auth := "Authorization: Bearer " + r.token(time.Minute) + "\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"C17 h2c", "GET /v1/plain HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + auth, 200},
		{"C18 websocket where none is", strings.Replace(handshake, "/chat", "/plain", 1) + auth, 400},
		{"C18 version 777", strings.Replace(handshake, "13", "777", 1) + auth, 426},
		{"plain request of a websocket", "GET /v1/chat HTTP/1.1\r\nHost: a\r\n" + auth, 426},
	} {
		if answer := r.raw(c.request); !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
			t.Errorf("%s: %q", c.name, answer)
		}
	}
	if upgrades.Load() != 0 {
		t.Errorf("the server was offered %d upgrades", upgrades.Load())
	}
}

// C20: a connection that was a tunnel never serves anybody else.
func TestTunnelsAreNotReused(t *testing.T) {
	t.Parallel()
	var tunnels sync.Map
	ws := echo(t)
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/chat" {
			tunnels.Store(req.RemoteAddr, true)
			ws(w, req)
			return
		}
		if _, was := tunnels.Load(req.RemoteAddr); was {
			t.Error("a connection that was a tunnel carries a request")
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%q", req.Header.Get("Gatehouse-Subject")+req.Header.Get("X-Number"))
	}), "")
	for i := range 30 {
		c := r.mustWebsocket(time.Minute)
		_ = c.Write(t.Context(), websocket.MessageText, []byte("x"))
		if i%2 == 0 {
			_ = c.CloseNow()
		} else if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		request, _ := http.NewRequest("GET", "http://"+r.plain+"/v1/plain", nil)
		request.Header = r.bearer(time.Minute)
		request.Header.Set("X-Number", fmt.Sprint(i))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(body) != fmt.Sprintf("%q", "ann"+fmt.Sprint(i)) {
			t.Errorf("request %d got %s", i, body)
		}
	}
}

// get asks for an event stream.
func (r *rig) get(client *http.Client, url string, life time.Duration) *http.Response {
	r.t.Helper()
	request, _ := http.NewRequest("GET", url, nil)
	request.Header = r.bearer(life)
	response, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestEvents(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	defer close(next)
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Accept-Encoding") != "" {
			t.Error("the server may encode what must be counted")
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_ = http.NewResponseController(w).Flush()
		for text := range next {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			if text == ": end\n\n" {
				return
			}
		}
	}), "")
	for _, client := range []*http.Client{http.DefaultClient, r.two()} {
		url := "http://" + r.plain + "/v1/news"
		if client != http.DefaultClient {
			url = "https://" + r.secure + "/v1/news"
		}
		response := r.get(client, url, time.Minute)
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Fatalf("%d %s", response.StatusCode, response.Header)
		}
		in := bufio.NewReader(response.Body)
		for _, text := range []string{"data: one\n\n", "id: 1\r\ndata: two\r\n\r\n", "data: three\r\r"} {
			next <- text
			got := make([]byte, len(text))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != text { // before the next is sent: nothing is held back
				t.Fatalf("%q, %v", got, err)
			}
		}
		next <- ": end\n\n"
		if rest, err := io.ReadAll(in); err != nil || string(rest) != ": end\n\n" {
			t.Fatalf("%q, %v", rest, err)
		}
	}
	closed := 0
	for _, e := range r.end() {
		if e.Kind == gate.KindStreamClose {
			closed++
			if e.Result.Messages != 4 || e.Decision.Reason != "stream.ended" || e.Decision.Detail != "by the server" {
				t.Errorf("%+v", e)
			}
		}
	}
	if closed != 2 {
		t.Errorf("%d streams closed", closed)
	}
}

func TestEventsEnd(t *testing.T) {
	t.Parallel()
	forever := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for req.Context().Err() == nil {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	for _, c := range []struct {
		name, operations string
		life             time.Duration
		stop             bool
		reason           gate.Reason
	}{
		{"D17 with the token", "", 2 * time.Second, false, "stream.expired"},
		{"when the document says", "news: {stream: {longest: 300ms}}", time.Minute, false, "stream.longest"},
		{"I16 with the process", "", time.Minute, true, "stream.draining"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := streamsRig(t, forever, c.operations)
			response := r.get(http.DefaultClient, "http://"+r.plain+"/v1/news", c.life)
			if c.stop {
				time.AfterFunc(100*time.Millisecond, r.stop)
			}
			began := time.Now()
			all, err := io.ReadAll(response.Body)
			if err != nil || len(all) == 0 || time.Since(began) > 7*time.Second {
				t.Errorf("%d bytes in %s, %v", len(all), time.Since(began), err)
			}
			if e := r.closes(); e.Decision.Reason != c.reason || e.Result.Messages == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestAnswersThatAreNotDeclared(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[http.Header]
	var status atomic.Int64
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range *answer.Load() {
			w.Header()[name] = values
		}
		w.WriteHeader(int(status.Load()))
		if status.Load() != 204 {
			_, _ = io.WriteString(w, "data: "+strings.Repeat("x", 2000)+"\n\n")
		}
	}), "news: {stream: {message: 1KiB}}")
	for _, c := range []struct {
		path   string
		code   int64
		fields http.Header
		status int
		reason gate.Reason
	}{
		{"plain", 200, http.Header{"Content-Type": {"text/event-stream"}}, 502, "stream.undeclared_answer"},
		{"plain", 200, http.Header{"Content-Type": {"Text/Event-Stream ; x=y"}}, 502, "stream.undeclared_answer"},
		{"plain", 200, http.Header{"Content-Type": {"application/grpc+proto"}}, 502, "stream.undeclared_answer"},
		{"plain", 200, http.Header{"Content-Type": {"text/plain"}}, 200, ""},
		{"news", 200, http.Header{"Content-Type": {"text/html"}}, 502, "stream.wrong_answer"},
		{"news", 200, http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}}, 502, "stream.encoded"},
		{"news", 404, http.Header{"Content-Type": {"text/html"}}, 404, ""},
		{"news", 204, http.Header{}, 204, ""},
		{"news", 200, http.Header{"Content-Type": {"text/event-stream"}}, 200, "stream.message"},
	} {
		answer.Store(&c.fields)
		status.Store(c.code)
		response := r.get(http.DefaultClient, "http://"+r.plain+"/v1/"+c.path, time.Minute)
		all, err := io.ReadAll(response.Body)
		if response.StatusCode != c.status {
			t.Errorf("%s %v: %d", c.path, c.fields, response.StatusCode)
		}
		if c.reason == "stream.message" && (err == nil || len(all) > 1024) {
			t.Errorf("an event of %d bytes passed", len(all))
		}
	}
	var reasons []string
	for _, e := range r.end() {
		if e.Decision.Verdict == "deny" {
			reasons = append(reasons, string(e.Decision.Reason))
		}
	}
	if got := strings.Join(reasons, " "); got != "stream.undeclared_answer stream.undeclared_answer stream.undeclared_answer stream.wrong_answer stream.encoded stream.message" {
		t.Errorf("denied: %s", got)
	}
}

// The question of a stream of events is a request like any other.
func TestQuestionOfAStreamIsChecked(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: x\n\n")
	}), "")
	for body, status := range map[string]int{`{"q":"x"}`: 200, `{"q":1}`: 400, `{"q":"x","admin":true}`: 400, strings.Repeat(" ", 1<<20) + `{}`: 413} {
		request, _ := http.NewRequest("POST", "http://"+r.plain+"/v1/ask", strings.NewReader(body))
		request.Header = r.bearer(time.Minute)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%.40s: %d, want %d", body, response.StatusCode, status)
		}
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, err := io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/json")
		if err == nil {
			fmt.Fprint(w, n)
		}
	}), "put: {stream: {message: 4MiB}}")
	for _, c := range []struct {
		path    string
		size    int
		chunked bool
		status  int
	}{
		{"file", 3 << 20, false, 200}, {"file", 3 << 20, true, 200}, {"file", 4<<20 + 1, false, 413}, {"file", 5 << 20, true, 413},
		{"note", 1 << 20, false, 200}, {"note", 3 << 20, false, 413}, {"note", 3 << 20, true, 413}, {"note", 5 << 20, false, 413},
	} {
		for _, client := range []*http.Client{http.DefaultClient, r.two()} {
			base := "http://" + r.plain
			if client != http.DefaultClient {
				base = "https://" + r.secure
			}
			var body io.Reader = bytes.NewReader(make([]byte, c.size))
			if c.chunked {
				body = io.MultiReader(body)
			}
			request, _ := http.NewRequest("PUT", base+"/v1/"+c.path, body)
			request.Header = r.bearer(time.Minute)
			request.Header.Set("Content-Type", "application/octet-stream")
			response, err := client.Do(request)
			if err != nil {
				t.Errorf("%+v: %v", c, err)
				continue
			}
			answer, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != c.status || c.status == 200 && string(answer) != fmt.Sprint(c.size) {
				t.Errorf("%+v over HTTP/%d: %d %.200s", c, response.ProtoMajor, response.StatusCode, answer)
			}
		}
	}
}

// D7, H2: over HTTP/2, where the connection cannot tell, a body that drips is refused all the same.
func TestSlowBodyOverHTTP2(t *testing.T) {
	t.Parallel()
	r := streamsRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) }), "")
	for _, path := range []string{"ask", "note"} { // read into a tree, and streamed past
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			from, to := io.Pipe()
			defer to.Close()
			method, media := "POST", "application/json"
			if path == "note" {
				method, media = "PUT", "application/octet-stream"
			}
			request, _ := http.NewRequest(method, "https://"+r.secure+"/v1/"+path, from)
			request.Header = r.bearer(time.Minute)
			request.Header.Set("Content-Type", media)
			go func() { _, _ = io.WriteString(to, "[") }()
			began := time.Now()
			response, err := r.two().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if took := time.Since(began); response.StatusCode != 408 || took > 13*time.Second {
				t.Errorf("%d after %s", response.StatusCode, took)
			}
		})
	}
}
