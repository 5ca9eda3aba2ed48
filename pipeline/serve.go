package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/conn"
)

// ServeHTTP is the life of a request. Read it aloud: it arrives, is decided about, and is refused or sent on. Nothing
// else writes to the client, and every way out has written its event before the answer's first byte.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := g.begin(w, r)
	defer t.end()
	if v := t.decide(); !v.Allowed() {
		t.refuse(v)
		return
	}
	t.forward()
}

// trip is one exchange on its way through the gateway, and what has been done for it so far.
type trip struct {
	g    *Gateway
	w    http.ResponseWriter
	r    *http.Request
	conn *conn.Conn
	x    *gate.Exchange
	site *site
	plan *plan
	by   string // the guard, or the part before them, that is deciding now

	checked []*stage // whose Check ran, to be settled
	timing  timing
	would   []gate.Would // what guards in dry run would have denied
	outcome gate.Outcome
	wrote   bool         // the answer's head has been handed to net/http
	sent    atomic.Int64 // bytes of the body that go, or went, to the server; a streamed body is read by another goroutine
	traced  trace
	flow    flow
}

// timing is what the exchange cost, for its event.
type timing struct {
	guards   map[string]int64 // nanoseconds
	upstream upstreamTiming
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *trip {
	now := g.tools.Now()
	t := &trip{g: g, w: w, r: r, site: g.nobody, x: &gate.Exchange{ID: g.tools.NewID(now), Began: now}}
	t.timing.guards = make(map[string]int64, 8)
	t.flow.bind(w, r)
	if c, ok := conn.From(r.Context()); ok {
		t.conn = c
		t.x.Source = gate.Source{Peer: c.Peer, Client: c.Peer.Addr(), Trusted: c.Trusted(), Fronted: c.Trusted() || c.IsProxy(c.Socket.Addr()), TLS: c.TLS}
	}
	return t
}

// end settles every guard whose Check ran, whatever happened, and turns a panic into a denial.
func (t *trip) end() {
	defer t.flow.drop()
	if p := recover(); p != nil {
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			defer panic(http.ErrAbortHandler)
		} else if t.wrote {
			t.recordBroken("gateway.panic", "panic: "+panicked(p))
			defer panic(http.ErrAbortHandler)
		} else {
			t.refuse(gate.Deny(gate.Internal, "gateway.panic", "panic: %s at %s", panicked(p), origin()))
		}
	}
	for _, s := range t.checked {
		t.settle(s)
	}
}

func (t *trip) settle(s *stage) {
	defer func() {
		if p := recover(); p != nil {
			t.g.system("guard.panic", fmt.Sprintf("%s panicked while settling %s: %s", s.name, t.x.ID, panicked(p)))
		}
	}()
	if s.settle != nil {
		s.settle.Settle(t.x, t.outcome)
	}
}

// decide asks everything that stands between the wire and the server, in order. The first denial is the answer.
func (t *trip) decide() gate.Verdict {
	if err := t.g.tools.Recorder.Err(); err != nil && !t.g.tools.Unsafe {
		t.by = "audit"
		return gate.Deny(gate.Unavailable, "audit.failing", "events cannot be written, so nothing is decided")
	}
	if v := t.canonical(); !v.Allowed() {
		return v
	}
	t.find()
	if v := t.ask(t.site.arrive); !v.Allowed() {
		return v
	}
	if v := t.match(); !v.Allowed() {
		return v
	}
	t.x.SetBody(t.loadBody)
	return t.ask(t.plan.admit)
}

// canonical takes what the wire refused, or makes the one form of the request that everything after it reads.
func (t *trip) canonical() gate.Verdict {
	t.by = "wire"
	if t.conn == nil {
		return gate.Deny(gate.Internal, "gateway.no_connection", "the request came through no listener")
	}
	if t.conn.Request != nil {
		if refusal := t.conn.Request.Next(); refusal != nil {
			return gate.Deny(gate.CodeFor(refusal.Status), gate.Reason(refusal.Reason), "%s", refusal.Detail).At(fmt.Sprintf("byte %d of the connection", refusal.Offset))
		}
	}
	t.by = "canon"
	if t.x.Source.Trusted { // before the canonical form removes what only a proxy may say
		t.x.Source.Client, t.x.Source.Doubt = canon.Client(t.x.Source.Client, t.r.Header, t.conn.IsProxy)
	}
	request, refusal := canon.New(t.r, t.conn.Scheme, t.g.reading(t.conn, t.x.Source.Trusted))
	if refusal != nil {
		return refused(refusal)
	}
	t.x.Request = request
	return gate.Allow()
}

// reading is how heads are read: with as many fields as the listener admits, and what a trusted proxy says of its client is
// no pretence, so that its removal needs no note.
func (g *Gateway) reading(c *conn.Conn, trusted bool) *canon.Options {
	if !trusted && c.Fields == g.canon.Limits.Fields {
		return &g.canon
	}
	options := g.canon
	options.Limits.Fields = c.Fields
	if trusted {
		options.Trusted = func(netip.Addr) bool { return true }
	}
	return &options
}

// refused turns the refusal of a reader below the guards into a verdict.
func refused(r *canon.Refusal) gate.Verdict {
	return gate.Deny(gate.CodeFor(r.Status), gate.Reason(r.Reason), "%s", r.Detail)
}

// find gives the API whose host and base the request names, or leaves nobody's.
func (t *trip) find() {
	sites, ok := t.g.hosts[t.x.Request.Host]
	if !ok {
		sites = t.g.any
	}
	for _, s := range sites {
		if under(t.x.Request.Segments, s.base) {
			t.site, t.x.API = s, s.api
			return
		}
	}
}

func under(segments, base []string) bool {
	if len(segments) < len(base) {
		return false
	}
	for i, b := range base {
		if segments[i] != b {
			return false
		}
	}
	return true
}

// match finds the operation. A request for none is denied here: by default there is nothing to call.
func (t *trip) match() gate.Verdict {
	t.by = "match"
	if t.site.api == nil {
		return gate.Deny(gate.NotFound, "match.api", "no API is served at host %s with this path", t.x.Request.Host)
	}
	segments := t.x.Request.Segments[len(t.site.base):]
	plan, params, allow, ok := t.site.routes.Match(t.x.Request.Method, segments)
	switch {
	case ok:
		t.plan, t.x.Operation, t.x.Params = plan, plan.op, params
		return t.matchUpgrade()
	case len(allow) > 0 && preflight(t.x.Request.Method, t.x.Request.Fields):
		return t.preflight(allow)
	case len(allow) > 0:
		return gate.Deny(gate.MethodNotAllowed, "match.method", "the contract declares other methods here").With("Allow", join(allow))
	}
	return gate.Deny(gate.NotFound, "match.operation", "the contract declares no such path")
}

// ask asks the guards of a phase in order.
func (t *trip) ask(stages []stage) gate.Verdict {
	for i := range stages {
		s := &stages[i]
		if s.check == nil || s.rests(t.x.Began) {
			continue
		}
		t.by = s.name
		began := time.Now()
		v := t.check(s)
		t.timing.guards[s.name] += time.Since(began).Nanoseconds()
		t.would = append(t.would, v.Noted...)
		if v.Allowed() {
			continue
		}
		if r := t.bodyRefusal(); r != nil && string(v.Reason) == r.Reason {
			t.by = "wire" // while this guard was reading
		}
		if !s.watches(t.x.Began) {
			return v
		}
		t.would = append(t.would, gate.Would{Guard: s.name, Code: v.Code, Reason: v.Reason, Rule: v.Rule, Detail: v.Detail})
	}
	return gate.Allow()
}

// check asks one guard. A panic is a denial, and the guard is settled like any other.
func (t *trip) check(s *stage) (v gate.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			v = gate.Deny(gate.Internal, "guard.panic", "%s panicked: %s at %s", s.name, panicked(p), origin())
		}
		if !v.Allowed() && v.Code == "" {
			v = gate.Deny(gate.Internal, "guard.silent", "%s neither allowed nor denied", s.name)
		}
	}()
	t.checked = append(t.checked, s)
	return s.check.Check(t.r.Context(), t.x)
}

// panicked tells what was panicked with. Go's own errors name types and numbers; anything else may repeat what a client
// sent, so that its type must do, with the place (row K1).
func panicked(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a %T", p)
}

// origin names the place of a panic: function, file and line, never an argument, which may be secret.
func origin() string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(2, counters[:])])
	for panicking := false; ; {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}

// review lets the guards that look at answers have their word.
func (t *trip) review(ctx context.Context, a *gate.Answer) gate.Verdict {
	for _, s := range t.checked {
		if v := t.reviewOne(ctx, s, a); !v.Allowed() {
			return v
		}
	}
	for i := range t.site.release {
		if v := t.reviewOne(ctx, &t.site.release[i], a); !v.Allowed() {
			return v
		}
	}
	return gate.Allow()
}

func (t *trip) reviewOne(ctx context.Context, s *stage, a *gate.Answer) (v gate.Verdict) {
	if s.review == nil || s.rests(t.x.Began) {
		return gate.Allow()
	}
	defer func() {
		if p := recover(); p != nil {
			v = gate.Deny(gate.Internal, "guard.panic", "%s panicked at the answer: %s at %s", s.name, panicked(p), origin())
		}
		if !v.Allowed() {
			t.by = s.name
		}
	}()
	return s.review.Review(ctx, t.x, a)
}
