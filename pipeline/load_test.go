package pipeline

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// echo is a server that answers with who asked and what, for many at once; and the log that counts them.
type echo struct{ events atomic.Int64 }

func (*echo) Send(_ context.Context, req *http.Request, _ upstream.Call) (*http.Response, upstream.Report, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	if strings.Contains(req.Header.Get("X-User"), "gone") {
		return nil, upstream.Report{}, io.ErrUnexpectedEOF
	}
	return answered(http.Header{}, req.Header.Get("X-User")+" "+string(body)), upstream.Report{}, nil
}

func (e *echo) Record(gate.Event) error { e.events.Add(1); return nil }
func (*echo) Err() error                { return nil }

// Many exchanges at once, good and bad ones mixed, share nothing: each answer belongs to who asked, each exchange leaves one
// event. Under the race detector this also shows that what is made at load is only read.
func TestManyAtOnce(t *testing.T) {
	document := "guards: {rate: {off: {accept_risk: why}}, address: {deny: [198.51.100.0/24]}}\n" + served
	g, server := serving(t, document, map[string]string{"c.yaml": plain}).Gateway, &echo{}
	g.tools.Recorder = server
	for _, s := range g.inOrder {
		s.sender = server
	}
	one := func(method, body, user, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://t.test/things", strings.NewReader(body))
		r.RequestURI = "/things"
		r.Header.Set("X-User", user)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		c := &conn.Conn{Peer: netip.MustParseAddrPort(from + ":1"), Scheme: "http"}
		g.ServeHTTP(w, r.WithContext(conn.With(r.Context(), c)))
		return w
	}
	const users, each = 8, 60
	var all sync.WaitGroup
	for u := range users {
		all.Go(func() {
			for i := range each {
				name := fmt.Sprintf("u%d-%d", u, i)
				good := fmt.Sprintf(`{"name":"%s"}`, name)
				for _, c := range []struct {
					method, body, user, from string
					status                   int
					answer                   string // "" for a denial
				}{
					{"POST", good, name, "192.0.2.1", 200, name + " " + good},
					{"GET", "", name, "192.0.2.1", 200, name + " "},
					{"POST", `{"nick":1}`, name, "192.0.2.1", 400, ""},
					{"DELETE", "", name, "192.0.2.1", 405, ""},
					{"GET", "", name, "198.51.100.1", 403, ""},
					{"GET", "", "gone " + name, "192.0.2.1", 502, ""},
				}[i%3*2 : i%3*2+2] {
					w := one(c.method, c.body, c.user, c.from)
					if w.Code != c.status || c.answer != "" && w.Body.String() != c.answer || c.answer == "" && strings.Contains(w.Body.String(), name) {
						t.Errorf("%s %s: %d %s", c.method, name, w.Code, w.Body)
					}
				}
				_ = g.Table()
			}
		})
	}
	all.Wait()
	if n := server.events.Load(); n != users*each*2 {
		t.Errorf("%d events for %d exchanges", n, users*each*2)
	}
}
