package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// crs compiles the rules once for all tests here.
var crs = sync.OnceValue(waf.Load)

// house is a node that serves a document, as serve would.
type house struct {
	t      testing.TB
	dir    string
	file   string // the document
	node   *node
	log    *growing
	token  string // of ann, a customer
	client *http.Client
	broken atomic.Bool  // the rules of the WAF did not compile, see spoiled
	offset atomic.Int64 // by which the node's clock was set, in nanoseconds
	cancel context.CancelFunc
	done   chan error
	ended  bool
	from   source.Options // how the document is read
	opened func()         // between the opening of the state and the reading of the document
}

// growing is a log that a test may read while it is written.
type growing struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *growing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}
func (l *growing) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

// orders is a contract with a read, a write and a public operation.
const orders = `
openapi: 3.0.3
info: {title: orders, version: "1"}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
security: [{token: []}]
paths:
  /orders/{id}:
    get:
      operationId: getOrder
      x-gatehouse-roles: [customer]
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: ok}}
  /orders:
    post:
      operationId: createOrder
      x-gatehouse-roles: [customer]
      requestBody: {required: true, content: {application/json: {schema: {type: object, additionalProperties: false, properties: {note: {type: string}}}}}}
      responses: {"201": {description: ok}}
  /products:
    get:
      operationId: listProducts
      security: []
      responses: {"200": {description: ok}}
`

// listening is the beginning of every document here.
const listening = "listen: {at: [\"http://127.0.0.1:0\", \"https://127.0.0.1:0\"], admin: \"http://127.0.0.1:0\"}\n"

// prepared makes a node whose document and other files lie in a folder of their own; nothing is served yet.
func prepared(t testing.TB, document string, files map[string]string) *house {
	t.Helper()
	r := &house{t: t, dir: t.TempDir(), log: &growing{}, done: make(chan error, 1)}
	r.file = filepath.Join(r.dir, "gatehouse.yaml")
	r.write("orders.yaml", orders)
	for name, text := range files {
		r.write(name, text)
	}
	r.write("gatehouse.yaml", document)
	r.node = newNode(filepath.Join(r.dir, "state"), slog.New(slog.NewTextHandler(r.log, nil)), crs())
	r.node.now = func() time.Time { return time.Now().Add(time.Duration(r.offset.Load())) }
	issuer, err := dev.Open(r.node.state, random())
	if err != nil {
		t.Fatal(err)
	}
	r.node.kept.dev = issuer
	if r.token, err = issuer.Token("ann", []string{"customer"}, nil, time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	r.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(func() {
		if !r.ended && r.cancel != nil {
			_ = r.end()
		}
	})
	return r
}

// serving makes a node and serves.
func serving(t testing.TB, document string, files map[string]string) *house {
	t.Helper()
	r := prepared(t, document, files)
	r.start()
	return r
}

func (r *house) start() {
	r.t.Helper()
	if err := r.tryStart(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *house) tryStart() error {
	bundle, err := r.node.open(context.Background(), r.file, r.from)
	if err != nil {
		return err
	}
	if err := r.node.hold(context.Background(), places{r.node.state, filepath.Join(r.dir, "config")}, bundle, r.log); err != nil {
		return err
	}
	if r.opened != nil {
		r.opened()
	}
	l, err := r.node.load(bundle)
	if err != nil {
		r.node.close()
		return errors.Join(err, r.node.release())
	}
	if err := bundle.Accept(context.Background()); err != nil {
		return errors.Join(err, r.node.release())
	}
	if err := r.node.start(l, true); err != nil {
		return err
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- r.node.serve(ctx, 5*time.Second) }()
	return nil
}

// end stops the node and gives what serve returned.
func (r *house) end() error {
	r.ended = true
	r.cancel()
	r.client.CloseIdleConnections()
	return <-r.done
}

func (r *house) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// address is where the gateway is, by scheme.
func (r *house) address(scheme string) string {
	for _, a := range r.node.server.Addresses() {
		if strings.HasPrefix(a, scheme+"://") {
			return a
		}
	}
	r.t.Fatalf("no %s address", scheme)
	return ""
}

// request makes one with a token.
func (r *house) request(method, host, path, body string) *http.Request {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	q, err := http.NewRequest(method, r.address("http")+path, from)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Host = host
	q.Header.Set("Authorization", "Bearer "+r.token)
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	return q
}

// answer is what a client got.
type answer struct {
	status int
	code   gate.Code
	event  string
	fields http.Header
	body   string
}

// do sends a request and reads the whole answer.
func (r *house) do(q *http.Request) (answer, error) { return exchange(r.client, q) }

func exchange(c *http.Client, q *http.Request) (a answer, err error) {
	response, err := c.Do(q)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	a = answer{status: response.StatusCode, fields: response.Header, body: string(body)}
	var p struct {
		Code  gate.Code
		Event string
	}
	if response.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(body, &p) == nil {
		a.code, a.event = p.Code, p.Event
	}
	return a, err
}

// get asks for an order and fails the test without an answer.
func (r *house) get(host, path string) answer {
	r.t.Helper()
	a, err := r.do(r.request("GET", host, path, ""))
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// admin asks the admin address.
func (r *house) admin(path string) answer {
	r.t.Helper()
	q, err := http.NewRequest("GET", "http://"+r.node.admin.Addr+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := r.do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// metric gives the value of one series, or "".
func (r *house) metric(series string) string {
	r.t.Helper()
	for _, l := range strings.Split(r.admin("/metrics").body, "\n") {
		if rest, ok := strings.CutPrefix(l, series+" "); ok {
			return rest
		}
	}
	return ""
}

// events reads what the log says so far, waiting until it holds all that was recorded.
func (r *house) events() []gate.Event {
	r.t.Helper()
	directory := r.node.written.config.Directory
	var list []gate.Event
	if err := audit.Read(directory, func(e gate.Event) error { list = append(list, e); return nil }); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// event waits for the event with the id.
func (r *house) event(id string) gate.Event {
	r.t.Helper()
	var found gate.Event
	r.until("the event "+id, func() bool {
		e, err := audit.Find(r.node.written.config.Directory, id)
		found = e
		return err == nil
	})
	return found
}

// said waits for a system event and gives its note.
func (r *house) said(reason gate.Reason) string {
	r.t.Helper()
	note := ""
	r.until("the event "+string(reason), func() bool {
		for _, e := range r.events() {
			if e.Kind == gate.KindSystem && e.Decision.Reason == reason {
				note = e.Note
				return true
			}
		}
		return false
	})
	return note
}

func (r *house) until(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s\n%s", what, r.log)
		}
	}
}

// overTLS is a client that speaks HTTP/2 and takes the development certificate.
func overTLS() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, // the node's own certificate
	}}
}

// origin is a server behind: it counts connections and requests, and behaves as it is told.
type origin struct {
	address  string
	server   atomic.Pointer[http.Server]
	accepted atomic.Int64
	requests atomic.Int64
	handler  atomic.Pointer[http.HandlerFunc]
}

func newOrigin(t testing.TB, handler http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{}
	if handler == nil {
		handler = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }
	}
	o.behave(handler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = l.Addr().String()
	o.serve(l)
	t.Cleanup(o.kill)
	return o
}

func (o *origin) url() string                     { return "http://" + o.address }
func (o *origin) behave(handler http.HandlerFunc) { o.handler.Store(&handler) }

func (o *origin) serve(l net.Listener) {
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o.requests.Add(1)
			(*o.handler.Load())(w, r)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				o.accepted.Add(1)
			}
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	o.server.Store(s)
	go func() { _ = s.Serve(l) }()
}

// kill ends the listener and every connection, as the end of a process does.
func (o *origin) kill() { _ = o.server.Load().Close() }

func (o *origin) restart(t testing.TB) {
	for range 200 {
		if l, err := net.Listen("tcp", o.address); err == nil {
			o.serve(l)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the server's address is not free again")
}
