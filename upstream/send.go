package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// smallBody is the largest body in memory that is written before the answer is read: it fits the socket's buffer, so that
// a server that answers without reading cannot block the writing.
const smallBody = 32 << 10

// Call says what the caller knows of the exchange.
type Call struct {
	HashKey    string // what balance hash keeps together; without it a server is chosen as by power_of_two
	Idempotent bool   // sending it twice does what sending it once does: GET, HEAD, OPTIONS, PUT, DELETE
	Stream     bool   // a declared stream: pauses and slowness are its nature, the caller ends it by the context
	Upgrade    bool   // a switch of protocols is wanted and allowed: the field Upgrade is sent, 101 is handed up
}

// Report is what Send has done, for the event.
type Report struct {
	Server    string        // the server that answered, or was asked last: scheme://host:port/base; "" when none was asked
	Attempts  int           // how often the request went to a server
	Reused    bool          // the last attempt found a kept connection
	Connect   time.Duration // opening the last attempt's connection; 0 when reused
	FirstByte time.Duration // from the start of the last attempt to the end of the answer's head; 0 without an answer
}

// Send sends req to one of the servers and returns the answer's head; its body flows as it is read. The error is always an
// *Error, and so is what reading the body ends in when it ends early.
//
// URL.RawPath, or the escaped form of URL.Path, goes out byte for byte below the target's base path, with URL.RawQuery.
// Host is sent as given, or the target's without one. The fields that belong to a connection (Connection, Upgrade,
// Transfer-Encoding and their like) and Expect are left out; all others go out as they are. A body may be sent again only
// with GetBody, and is kept in memory by nobody here. Send reads req and never changes it; it closes the body.
//
// A caller closes the answer's body unless it is http.NoBody. The body of a 101 is an io.ReadWriteCloser: the connection.
func (p *Pool) Send(ctx context.Context, req *http.Request, call Call) (*http.Response, Report, error) {
	x := &exchange{pool: p, ctx: ctx, req: req, call: call}
	resp, err := x.run()
	if err != nil {
		x.body.drop()
		return nil, x.report, err
	}
	return resp, x.report, nil
}

// exchange is one call of Send, with what its usual single attempt needs: one piece of memory for all.
type exchange struct {
	pool   *Pool
	ctx    context.Context
	req    *http.Request
	call   Call
	path   string
	body   *upload // of the current attempt
	report Report
	choice choice
	only   attempt // the first attempt
	home   place   // the first server's
	answer answer
}

// run sends until there is an answer to hand up or nothing more may be tried.
func (x *exchange) run() (*http.Response, error) {
	x.path = escapedPath(x.req)
	hasBody := x.req.Body != nil && x.req.Body != http.NoBody
	if hasBody {
		x.body = newUpload(x.req.Body, x.req.ContentLength)
	}
	if !validPath(x.path) || !visible(x.req.URL.RawQuery, 0) {
		return nil, fault(ReasonUnsendable, "a target that is not escaped", nil)
	}
	x.pool.budget.request()
	x.choice = choice{key: x.call.HashKey, now: x.pool.deps.Now()}
	place, err := x.place()
	if err != nil {
		return nil, err
	}
	fresh := false
	for {
		a := x.begin(place, fresh)
		resp, end, err := x.attempt(a, place)
		if err == nil && resp.StatusCode != http.StatusServiceUnavailable {
			return x.accept(a, resp, end, place), nil
		}
		if err != nil {
			x.settle(place, end, asError(err))
		}
		next, again := x.another(a, place.server, err)
		switch {
		case !again && err != nil:
			return nil, err
		case !again:
			return x.accept(a, resp, end, place), nil
		case err == nil:
			end.end(discard(resp, end))
			place.settle(bad, x.pool.deps.Now())
		}
		fresh = next.server == place.server
		place = next
	}
}

func (x *exchange) begin(place *place, fresh bool) *attempt {
	a := &x.only
	if x.report.Attempts > 0 {
		a = new(attempt) // a writer of the first may still look at it
	}
	*a = attempt{
		ctx: x.ctx, req: x.req, path: place.server.base + x.path, body: x.body, call: x.call, fresh: fresh,
		inline: x.req.GetBody != nil && x.req.ContentLength > 0 && x.req.ContentLength <= smallBody,
	}
	return a
}

func (x *exchange) attempt(a *attempt, place *place) (*http.Response, ender, error) {
	start := time.Now()
	resp, end, err := place.server.engine.roundTrip(a)
	x.report.Server = place.server.name
	x.report.Attempts++
	x.report.Reused, x.report.Connect, x.report.FirstByte = a.reused, a.connect, 0
	if err == nil {
		x.report.FirstByte = time.Since(start)
		place.headCame()
	}
	return resp, end, err
}

func (x *exchange) settle(place *place, end ender, e *Error) {
	if end != nil {
		end.end(false)
	}
	o := unknown
	if e.failure() {
		o = bad
	}
	place.settle(o, x.pool.deps.Now())
}

// another finds a server for the next attempt, if there may be one: the answer has not begun, the request has not been
// sent or may be sent twice, its body is untouched or can be had again, and the budget has a retry left.
func (x *exchange) another(a *attempt, last *server, err error) (*place, bool) {
	if x.report.Attempts >= x.pool.cfg.Retry.Attempts || x.ctx.Err() != nil {
		return nil, false
	}
	if !x.call.Idempotent && (err == nil || a.sent) || x.call.Upgrade && a.sent {
		return nil, false
	}
	if err != nil && !asError(err).retryable() {
		return nil, false
	}
	if a.body != nil && x.req.GetBody == nil && (err == nil || !a.body.revoke()) {
		return nil, false
	}
	x.choice.now = x.pool.deps.Now()
	x.choice.skip.add(x.pool.index(last))
	next, missing := x.place()
	if missing != nil {
		// The only server may be asked again when all that failed was a connection it had kept for too long.
		if err == nil || !a.reused || a.heard || asError(err).Reason != ReasonReset {
			return nil, false
		}
		next = new(place)
		if !last.take(next, x.choice.now, true) {
			return nil, false
		}
	}
	if !x.pool.budget.spend() || !x.rewind() {
		next.settle(unknown, x.choice.now)
		return nil, false
	}
	return next, true
}

// rewind makes the body ready for the next attempt.
func (x *exchange) rewind() bool {
	if x.body == nil {
		return true
	}
	if x.body.revoke() {
		x.body = newUpload(x.body.body, x.req.ContentLength)
		return true
	}
	again, err := x.req.GetBody()
	if err != nil {
		return false
	}
	x.body = newUpload(again, x.req.ContentLength)
	return true
}

// place takes a place at one of the servers: among the healthy ones first, among all of them when there is none, since a
// server that may be down is better than none. Open circuits and full servers are never looked past.
func (x *exchange) place() (*place, error) {
	c, p, tried := &x.choice, &x.home, x.choice.skip
	if p.server != nil {
		p = new(place)
	}
	for _, c.lax = range [...]bool{false, true} {
		for {
			i := x.pool.balance(x.pool.servers, c)
			if i < 0 {
				break
			}
			if x.pool.servers[i].take(p, c.now, c.lax) {
				c.skip = tried
				return p, nil
			}
			c.skip.add(i) // another request was faster
		}
		c.skip = tried
	}
	for _, s := range x.pool.servers {
		if s.breaker.ready(c.now) {
			return nil, fault(ReasonNoServer, "every server has as many requests in progress as it may", nil)
		}
	}
	return nil, fault(ReasonBreakerOpen, "every server's circuit is open", nil)
}

func (p *Pool) index(s *server) int {
	for i, t := range p.servers {
		if s == t {
			return i
		}
	}
	return -1
}

// accept hands an answer up. Its place is given back when the body has ended.
func (x *exchange) accept(a *attempt, resp *http.Response, end ender, place *place) *http.Response {
	o := good
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		o = bad
	}
	b := &x.answer
	*b = answer{exchange: x.ctx, source: resp.Body, end: end, place: place, body: a.body, outcome: o, now: x.pool.deps.Now}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		place.record(o, b.now())
		resp.Body = upgraded{b, resp.Body.(io.ReadWriteCloser)}
		return resp
	case resp.Body == http.NoBody:
		b.finish(true, o)
		return resp
	case x.call.Stream:
		place.record(o, b.now())
	default:
		b.rate, b.grace = int64(x.pool.cfg.MinRate), x.pool.cfg.Timeouts.Idle
	}
	resp.Body = b
	return resp
}

// discard drops a body that will not be handed up. It tells whether the connection may serve again: only when the rest of
// the answer has come already, since nobody waits for it.
func discard(resp *http.Response, end ender) bool {
	if resp.Body == http.NoBody {
		return true
	}
	c, ok := end.(*conn)
	if !ok || resp.ContentLength < 0 || resp.ContentLength > int64(c.in.Buffered()) {
		return false
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return err == nil
}

// escapedPath is the path as it is to be sent.
func escapedPath(r *http.Request) string {
	switch {
	case r.URL.Opaque != "":
		return r.URL.Opaque
	case r.URL.RawPath != "":
		return r.URL.RawPath
	}
	if path := r.URL.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return fault(ReasonRefusedResponse, "", err)
}
