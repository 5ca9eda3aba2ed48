package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// Rehearsal is a request that is tried without being served: nobody is told, nothing is counted, no event is written.
type Rehearsal struct {
	Raw    []byte          // an HTTP/1.1 request, byte for byte
	Caller *gate.Principal // as whom it comes; nil: nobody
	API    string          // whose it must be; "": any
}

// Rehearsed is what became of one.
type Rehearsed struct {
	Exchange *gate.Exchange // as far as it came; its Operation is nil when it was for none
	By       string         // who refused it; "" when it got as far as to be asked about
	Verdict  gate.Verdict
}

// errNoRequest says that there is no HTTP request to try.
var errNoRequest = errors.New("this is no HTTP/1.1 request: it begins with a line such as POST /orders HTTP/1.1, then fields, an empty line and the body")

// APIs are those that this Gateway serves.
func (g *Gateway) APIs() []*gate.API {
	list := make([]*gate.API, len(g.inOrder))
	for i, s := range g.inOrder {
		list[i] = s.api
	}
	return list
}

// Resting names the APIs for which the document switches a guard off, or lets it only record.
func (g *Gateway) Resting(guard string) (apis []string) {
	now := g.tools.Now()
	for _, s := range g.inOrder {
		if st := s.stage(guard); st.rests(now) || st.watches(now) {
			apis = append(apis, s.api.Name)
		}
	}
	return apis
}

// Rehearse takes a request through everything that reads it, as if it had come in: the wire, the canonical form, the match,
// the contract. Who it is from is said and not proved. Then ask is asked, as the guards after the contract are.
func (g *Gateway) Rehearse(ctx context.Context, r Rehearsal, ask func(context.Context, *gate.Exchange) gate.Verdict) (Rehearsed, error) {
	c := &conn.Conn{Peer: netip.MustParseAddrPort("127.0.0.1:1"), Scheme: "https", Fields: g.canon.Limits.Fields}
	c.Request = wire.NewRequestConn(&written{rest: bytes.NewReader(r.Raw)}, wire.Limits{}, time.Now)
	request, err := http.ReadRequest(bufio.NewReader(c.Request))
	if err != nil {
		return Rehearsed{}, errNoRequest
	}
	request = request.WithContext(conn.With(ctx, c))
	t := &trip{g: g, r: request, conn: c, site: g.nobody, x: &gate.Exchange{Began: g.tools.Now(), Source: gate.Source{Peer: c.Peer, Client: c.Peer.Addr()}}}
	v := t.rehearse(r, func() gate.Verdict { t.by = ""; return ask(ctx, t.x) })
	return Rehearsed{Exchange: t.x, By: t.by, Verdict: v}, nil
}

func (t *trip) rehearse(r Rehearsal, ask func() gate.Verdict) gate.Verdict {
	if v := t.canonical(); !v.Allowed() {
		return v
	}
	if t.find(); r.API != "" && (t.x.API == nil || t.x.API.Name != r.API) {
		for _, s := range t.g.inOrder { // whoever wrote the request down need not have used a name that this gateway has
			if s.api.Name == r.API && under(t.x.Request.Segments, s.base) {
				t.site, t.x.API = s, s.api
			}
		}
		if t.x.API == nil || t.x.API.Name != r.API {
			t.by = "match"
			return gate.Deny(gate.NotFound, "match.api", "API %s does not begin at this path", r.API)
		}
	}
	if v := t.match(); !v.Allowed() {
		return v
	}
	t.x.SetBody(t.loadBody)
	if r.Caller != nil {
		t.x.Identify(*r.Caller)
	}
	for i := range t.plan.admit {
		if s := &t.plan.admit[i]; s.name == "contract" && s.check != nil && !s.rests(t.x.Began) && !s.watches(t.x.Began) {
			t.by = s.name
			if v := s.check.Check(t.r.Context(), t.x); !v.Allowed() {
				return v
			}
		}
	}
	return ask()
}

// written is a connection on which everything has come already.
type written struct {
	net.Conn
	rest *bytes.Reader
}

// Read gives the next bytes.
func (w *written) Read(p []byte) (int, error) { return w.rest.Read(p) }

// Write forgets: nobody answers.
func (w *written) Write(p []byte) (int, error) { return io.Discard.Write(p) }

// Close does nothing.
func (w *written) Close() error { return nil }

// SetDeadline does nothing.
func (w *written) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (w *written) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (w *written) SetWriteDeadline(time.Time) error { return nil }
