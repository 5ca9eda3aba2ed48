package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// fault is a control that fails while everything else works.
type fault struct {
	control, fault string
	guards         string                       // of the document
	more           string                       // of the document, below
	inject         func(t *testing.T, r *house) // before the node reads its document
	later          func(t *testing.T, r *house) // once it serves

	status int       // of a good request; 200 where the documented mode is to go on
	code   gate.Code // of its denial
	reason gate.Reason
}

// Sections of guards: nothing but the control in question stands in the way.
const (
	plainly    = "guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test}}}\n"
	slowly     = "guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test}}, rate: {per_address: 1/m burst 5}}\n"
	inspecting = "guards: {identity: {development: {accept_risk: a test}}}\n"
	byIssuer   = "guards: {identity: {issuers: [{issuer: \"ISSUER\", audience: x}]}, waf: {off: {accept_risk: a test}}}\n"
)

// I7: every control built so far, with what can happen to it. It fails closed with its code, and with its reason in an
// event; the process lives on.
func TestFaults(t *testing.T) {
	t.Parallel()
	keys := gate.Reason("identity.keys_unavailable")
	for _, f := range []fault{
		{control: "identity", fault: "JWKS down", guards: byIssuer, inject: issuer(nil), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "JWKS 500", guards: byIssuer, inject: issuer(says(500, "{}")), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "JWKS garbage", guards: byIssuer, inject: issuer(says(200, "\x00 garbage")), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "JWKS empty", guards: byIssuer, inject: issuer(says(200, `{"keys": []}`)), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "JWKS endless", guards: byIssuer, inject: issuer(endless), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "JWKS hangs", guards: byIssuer, inject: issuer(hangs), status: 503, code: gate.Unavailable, reason: keys},
		{control: "identity", fault: "clock a day ahead", guards: plainly, later: clock(24 * time.Hour), status: 401, code: gate.NoIdentity, reason: "identity.expired"},
		{control: "identity", fault: "clock an hour back", guards: plainly, later: clock(-time.Hour), status: 401, code: gate.NoIdentity, reason: "identity.not_yet"},

		{control: "rate", fault: "counters fail", guards: plainly, inject: counting(counters{err: errors.New("no answer")}), status: 503, code: gate.Unavailable, reason: "rate.counters"},
		{control: "rate", fault: "counters panic", guards: plainly, inject: counting(counters{panics: true}), status: 500, code: gate.Internal, reason: "guard.panic"},
		{control: "rate", fault: "counters never agree", guards: plainly, inject: counting(counters{}), status: 503, code: gate.Unavailable, reason: "rate.counters"},
		{control: "rate", fault: "clock set back", guards: slowly, later: clock(-20 * time.Second), status: 200},
		{control: "rate", fault: "clock set ahead forgives nobody", guards: slowly, later: func(t *testing.T, r *house) {
			for range 5 {
				r.get("h", "/orders/1")
			}
			clock(20*time.Minute)(t, r)
		}, status: 429, code: gate.TooMany, reason: "rate.address"},

		{control: "waf", fault: "rules that did not compile", guards: inspecting, inject: spoiled, later: broken, status: 500, code: gate.Internal, reason: "waf.engine"},
		{control: "waf", fault: "panic", guards: inspecting, inject: spoiled, status: 500, code: gate.Internal, reason: "guard.panic"},

		{control: "access", fault: "a list that became empty", guards: plainly, later: roles("[]"), status: 403, code: gate.NotAllowed, reason: "access.nobody"},
		{control: "contract", fault: "gone at reload", guards: plainly, later: func(t *testing.T, r *house) {
			_ = os.Remove(r.dir + "/orders.yaml")
			if err := r.node.reload(t.Context()); err == nil {
				t.Error("a document without its contract was taken")
			}
		}, status: 200},

		{control: "audit", fault: "device full", guards: plainly, more: "audit: {also: [\"file:/dev/full\"]}\n", later: failing, status: 503, code: gate.Unavailable, reason: "audit.failing"},
		{control: "audit", fault: "hangs", guards: plainly, more: "audit: {also: [stdout]}\n", inject: unread, later: failing, status: 503, code: gate.Unavailable, reason: "audit.failing"},
		{control: "audit", fault: "device full, risk accepted", guards: plainly, more: "audit: {also: [\"file:/dev/full\"], on_failure: allow, accept_risk: a test}\n", later: failing, status: 200},
		{control: "audit", fault: "directory deleted", guards: plainly, later: func(_ *testing.T, r *house) { _ = os.RemoveAll(r.node.written.config.Directory) }, status: 200},
		{control: "audit", fault: "clock set", guards: plainly, later: func(t *testing.T, r *house) {
			time.Sleep(10 * time.Millisecond) // upkeep has begun
			clock(5*time.Minute)(t, r)
			if note := r.said("clock.jump"); !strings.Contains(note, "5m0s") {
				t.Errorf("said %q", note)
			}
			clock(0)(t, r)
			r.until("the jump back is an event too", func() bool {
				n := 0
				for _, e := range r.events() {
					if e.Decision.Reason == "clock.jump" {
						n++
					}
				}
				return n == 2
			})
		}, status: 200},
	} {
		t.Run(f.control+"/"+f.fault, func(t *testing.T) { t.Parallel(); f.run(t) })
	}
}

func (f fault) run(t *testing.T) {
	server := newOrigin(t, nil)
	r := prepared(t, listening+f.guards+f.more+"apis: [{name: a, contract: orders.yaml, to: [\""+server.url()+"\"]}]\n", nil)
	if f.inject != nil {
		f.inject(t, r)
	}
	r.start()
	if f.later != nil {
		f.later(t, r)
	}
	before := server.requests.Load()
	got := r.get("h", "/orders/1")
	if got.status != f.status || got.code != f.code {
		t.Fatalf("answered %d %s, want %d %s: %s", got.status, got.code, f.status, f.code, got.body)
	}
	if f.status != 200 {
		if server.requests.Load() != before {
			t.Error("the server behind was asked")
		}
		if strings.Contains(got.body, string(f.reason)) {
			t.Errorf("the client learns the reason: %s", got.body)
		}
	}
	if f.control != "audit" && f.status != 200 {
		if e := r.event(got.event); e.Decision.Reason != f.reason || e.Decision.Guard != f.control || e.Decision.Code != f.code {
			t.Errorf("event: %+v, want %s by %s", e.Decision, f.reason, f.control)
		}
	}
	if f.control == "identity" {
		q := r.request("GET", "h", "/products", "")
		q.Header.Del("Authorization")
		if a, err := r.do(q); err != nil || a.status != 200 {
			t.Errorf("what needs no credential: %+v, %v", a, err)
		}
	}
	if a := r.admin("/healthz"); a.status != 200 {
		t.Errorf("health: %+v", a)
	}
}

func clock(by time.Duration) func(*testing.T, *house) {
	return func(_ *testing.T, r *house) { r.offset.Store(int64(by)) }
}

// issuer is a provider that answers as h does, or, without h, not at all; the caller's token names it.
func issuer(h http.HandlerFunc) func(*testing.T, *house) {
	return func(t *testing.T, r *house) {
		provider := newOrigin(t, h)
		if h == nil {
			provider.kill()
		}
		text, err := os.ReadFile(r.file)
		if err != nil {
			t.Fatal(err)
		}
		r.write("gatehouse.yaml", strings.Replace(string(text), "ISSUER", provider.url(), 1))
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k1"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"x","sub":"ann","iat":%d,"exp":%d}`, provider.url(), time.Now().Unix(), time.Now().Add(time.Hour).Unix()))
		if err != nil {
			t.Fatal(err)
		}
		if r.token, err = signed.CompactSerialize(); err != nil {
			t.Fatal(err)
		}
	}
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
			return
		}
	}
}

// counters are a store that fails, panics, or whose numbers always have changed meanwhile.
type counters struct {
	err    error
	panics bool
}

func counting(c counters) func(*testing.T, *house) {
	return func(_ *testing.T, r *house) { r.node.kept.counters = rate.Counters(c) }
}

func (c counters) GetWithTime(context.Context, string) (int64, time.Time, error) {
	if c.panics {
		panic("counters")
	}
	return -1, time.Now(), c.err
}

func (c counters) SetIfNotExistsWithTTL(context.Context, string, int64, time.Duration) (bool, error) {
	return false, c.err
}

func (c counters) CompareAndSwapWithTTL(context.Context, string, int64, int64, time.Duration) (bool, error) {
	return false, c.err
}

// spoiled gives the node rules that count as compiled but are not there; once broken is called they tell that they did not
// compile. Both is settled before the node starts: what it does beside reads these fields.
func spoiled(_ *testing.T, r *house) {
	rules := waf.Load()
	_ = rules.Ready() // nothing is compiling any more
	set := reflect.ValueOf(rules).Elem().FieldByName("core").Elem().FieldByName("set").Elem()
	*(*func() error)(unsafe.Pointer(set.FieldByName("compile").UnsafeAddr())) = func() error {
		if r.broken.Load() {
			return errors.New("compile the core rule set: no memory")
		}
		return nil
	}
	engine := set.FieldByName("engine")
	reflect.NewAt(engine.Type(), unsafe.Pointer(engine.UnsafeAddr())).Elem().SetZero()
	r.node.kept.rules = rules
}

func broken(_ *testing.T, r *house) { r.broken.Store(true) }

// Rules that do not compile prevent the start.
func TestNoStartWithoutRules(t *testing.T) {
	t.Parallel()
	r := prepared(t, listening+inspecting+"apis: [{name: a, contract: orders.yaml, to: [\"http://127.0.0.1:1\"]}]\n", nil)
	spoiled(t, r)
	broken(t, r)
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "core rule set") {
		t.Errorf("start: %v", err)
	}
}

// I6: a key that does not fit its certificate is a rotation on its way: the pair from before goes on. One that is gone closes
// the way to the server once its minute of grace is over, and once it is back everything goes there again.
func TestKeyGone(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d", len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	r := prepared(t, "", map[string]string{"client.pem": certificate, "client.key": key})
	r.write("gatehouse.yaml", listening+plainly+fmt.Sprintf("apis: [{name: a, contract: orders.yaml, to: [%q], upstream: {health: {active: off, eject_for: 100ms}, tls: {ca: %q, client_cert: \"file:%s\", client_key: \"file:%s\"}}}]\n",
		server.URL, r.dir+"/client.pem", r.dir+"/client.pem", r.dir+"/client.key"))
	r.start()
	if got := r.get("h", "/orders/1"); got.status != 200 || got.body != "1" {
		t.Fatalf("%+v", got)
	}
	afresh := func() answer { // over a new connection
		server.CloseClientConnections()
		return r.get("h", "/orders/1")
	}
	r.write("client.key", certificate)
	r.until("the keeper has seen the wrong key", func() bool {
		return afresh().status == 200 && strings.Contains(r.log.String(), "don't belong together")
	})
	_ = os.Remove(r.dir + "/client.key")
	r.until("the keeper has seen that the key is gone", func() bool { return strings.Contains(r.log.String(), "the last value serves on") })
	if got := afresh(); got.status != 200 {
		t.Errorf("within the grace: %+v", got)
	}
	clock(2*time.Minute)(t, r)
	var got answer
	r.until("closed", func() bool { got = afresh(); return got.status != 200 })
	if got.status != 502 && got.status != 503 {
		t.Errorf("%+v", got)
	}
	if e := r.event(got.event); e.Decision.Guard != "upstream" || e.Decision.Reason == "" {
		t.Errorf("event %+v", e.Decision)
	}
	r.write("client.key", key)
	r.until("served again", func() bool { return afresh().status == 200 })
}

func roles(list string) func(*testing.T, *house) {
	return func(t *testing.T, r *house) {
		text, err := os.ReadFile(r.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.reload(strings.Replace(string(text), "contract:", "operations: {getOrder: {roles: "+list+"}}, contract:", 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// unread is a standard output that nobody reads: writing to it hangs once the pipe is full.
func unread(t *testing.T, r *house) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = out.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	for err == nil {
		_, err = out.Write(make([]byte, 4096))
	}
	_ = out.SetWriteDeadline(time.Time{})
	t.Cleanup(func() { _ = in.Close(); _ = out.Close() })
	r.node.written.stdout = out
}

// failing waits until the log says that it fails. K3: within two seconds and a little.
func failing(t *testing.T, r *house) {
	began := time.Now()
	r.until("the log fails", func() bool { return r.node.Err() != nil })
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	a := r.admin("/readyz")
	if a.status != 503 || !strings.Contains(a.body, "event log") {
		t.Errorf("readiness: %+v", a)
	}
	if got := r.metric("gatehouse_events_failing"); got != "1" {
		t.Errorf("gatehouse_events_failing is %q", got)
	}
}

// K3: after a failure the log goes on without a gap, the refusals meanwhile in it as far as the queue had room, and
// requests are served again: here, once a reload has taken the full device away.
func TestRecoveryOfTheLog(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	document := listening + plainly + "apis: [{name: a, contract: orders.yaml, to: [\"" + server.url() + "\"]}]\n"
	r := serving(t, document+"audit: {also: [\"file:/dev/full\"]}\n", nil)
	first := r.get("h", "/orders/1")
	if first.status != 200 {
		t.Fatalf("%+v", first)
	}
	failing(t, r)
	refused := r.get("h", "/orders/2")
	if refused.status != 503 {
		t.Errorf("%+v", refused)
	}
	if err := r.reload(document); err != nil {
		t.Fatal(err)
	}
	r.until("ready again", func() bool { return r.admin("/readyz").status == 200 })
	if got := r.get("h", "/orders/3"); got.status != 200 {
		t.Errorf("%+v", got)
	}
	if e := r.event(refused.event); e.Decision.Reason != "audit.failing" || e.Decision.Guard != "audit" {
		t.Errorf("event of the refusal: %+v", e.Decision)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	verify(t, r)
}

// An answer whose event finds no place in the queue does not leave, even though the log was not failing when it was decided.
func TestNoAnswerWithoutItsEvent(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	r := prepared(t, oneAPI(server)+"audit: {also: [stdout]}\n", nil)
	unread(t, r)
	r.start()     // its event hangs
	for range 3 { // the writer takes some before it hangs
		for r.node.written.log.Load().Offer(gate.Event{}) {
		}
		time.Sleep(20 * time.Millisecond)
	}
	if r.node.Err() != nil {
		t.Fatal("the log fails too early for this test")
	}
	got := r.get("h", "/orders/1")
	if server.requests.Load() != 1 || got.status != 503 || got.code != gate.Unavailable {
		t.Errorf("%d requests at the server, %+v", server.requests.Load(), got)
	}
	if n := r.metric("gatehouse_events_unwritten_total"); n == "0" || n == "" {
		t.Errorf("%q events counted as unwritten", n)
	}
}

// H18: whatever a client asks for, no new series appears.
func TestRandomPathsMakeNoSeries(t *testing.T) {
	t.Parallel()
	r := serving(t, listening+plainly+"apis: [{name: a, contract: orders.yaml, to: [\""+newOrigin(t, nil).url()+"\"]}]\n", nil)
	ask := func(i int) {
		for _, q := range []*http.Request{
			r.request("GET", fmt.Sprintf("h%d.test", i), fmt.Sprintf("/nowhere/%d?x%d=%d", i, i, i), ""),
			r.request(fmt.Sprintf("M%d", i), "h", "/orders/1", ""),
			r.request("GET", "h", fmt.Sprintf("/orders/%d", i), ""),
		} {
			q.Header.Set("User-Agent", fmt.Sprint("ua", i))
			if _, err := r.do(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	series := func() int { return strings.Count(r.admin("/metrics").body, "\ngatehouse_") }
	ask(0)
	before := series()
	for i := range 25 {
		ask(i)
	}
	if after := series(); after != before {
		t.Errorf("%d series, %d before", after, before)
	}
}

// Metrics tell of servers, keys, certificates, connections and events.
func TestFamilies(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	r := serving(t, oneAPI(server), nil)
	r.get("h", "/orders/1")
	text := r.admin("/metrics").body
	for _, want := range []string{
		`gatehouse_server_up{api="a",server="` + server.url() + `"} 1`, `gatehouse_server_requests_total{api="a",server="` + server.url() + `"} 1`,
		`gatehouse_server_dials_total{api="a"`, `gatehouse_certificate_expires_seconds{serial="`, "gatehouse_ready 1", "gatehouse_connections 1",
		"gatehouse_events_waiting ", "gatehouse_events_failing 0", "gatehouse_requests_in_progress 0",
		`gatehouse_document_info{policy="` + r.node.gateway.Load().Version() + `"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestJumped(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ wall, passed, want time.Duration }{
		{time.Second, time.Second, 0}, {3 * time.Second, time.Second + time.Second/2, 0}, {time.Hour + time.Second, time.Second, time.Hour},
		{-time.Hour, time.Second, -time.Hour - time.Second}, {time.Second, time.Minute, -59 * time.Second},
	} {
		if got := jumped(at, at.Add(c.wall), c.passed); got != c.want {
			t.Errorf("the wall clock went %s in %s: %s, want %s", c.wall, c.passed, got, c.want)
		}
	}
}
