package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// A stream is an exchange that goes on after its head: a websocket, server-sent events, gRPC, an upload. It is admitted like
// any request. From then on its content is not inspected; what is held are its form, the size of its messages, and the end
// of its caller's permission (rows C16 to C18, D12, D16 to D18).

// Drain tells streams that the process is about to end: nobody else could, since a stream has no end of its own.
type Drain struct {
	ctx   context.Context
	begin context.CancelFunc
	until atomic.Pointer[time.Time]
}

// NewDrain makes a Drain that has not begun.
func NewDrain() *Drain {
	d := &Drain{}
	d.ctx, d.begin = context.WithCancel(context.Background())
	return d
}

// Begin ends websockets and event streams now, so that clients come back elsewhere, and gRPC calls, most of which end by
// themselves, after three quarters of the time that is left.
func (d *Drain) Begin(until time.Time) {
	d.until.CompareAndSwap(nil, &until)
	d.begin()
}

// ending is why the gateway ends a stream.
type ending struct {
	reason gate.Reason
	code   gate.Code // for a client whose answer has not begun
	close  int       // status of a websocket's Close frame
	detail string    // in words; also sent in the Close frame
}

// Error makes an ending the cause of a cancelled context.
func (e *ending) Error() string { return string(e.reason) + ": " + e.detail }

// Why the gateway ends streams.
const (
	streamExpired  gate.Reason = "stream.expired"  // the credential has
	streamLongest  gate.Reason = "stream.longest"  // stream.longest of the document is over
	streamDraining gate.Reason = "stream.draining" // the process ends
	streamRevoked  gate.Reason = "stream.revoked"  // the caller's token was called back
)

// life is how long a stream may last. Its context ends with the client, or with an *ending as cause.
type life struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil when nothing but the client ends it
	leave  func() bool // nil without a Drain
	body   func() bool // nil over HTTP/1
	watch  func()      // ends looking after the caller's token
}

// live begins the life of this exchange as a stream.
func (t *trip) live() *life {
	l := &life{}
	l.ctx, l.cancel = context.WithCancelCause(t.r.Context())
	now, op := t.g.tools.Now(), t.plan.op
	var until time.Time
	var why *ending
	if p := t.x.Principal(); p != nil && !p.Expires.IsZero() {
		until, why = p.Expires, &ending{streamExpired, gate.NoIdentity, policyClose, "the credential has expired"}
	}
	if longest := now.Add(op.Stream.Longest); op.Stream.Longest > 0 && (why == nil || longest.Before(until)) {
		until, why = longest, &ending{streamLongest, gate.Unavailable, policyClose, "open for " + op.Stream.Longest.String()}
	}
	if why != nil {
		l.timer = time.AfterFunc(until.Sub(now), func() { l.cancel(why) })
	}
	l.watch = t.g.tools.Identity.Watch(t.x.Principal(), func() {
		l.cancel(&ending{streamRevoked, gate.NoIdentity, policyClose, "the credential was called back"})
	})
	if t.r.ProtoMajor == 2 {
		// net/http does not notice the end of a context while it reads the body that it sends.
		l.body = context.AfterFunc(l.ctx, t.flow.stopReading)
	}
	if d := t.g.tools.Drain; d != nil {
		l.leave = context.AfterFunc(d.ctx, func() { l.drain(d, op.Stream.Kind) })
	}
	return l
}

// drain ends the life when the process does.
func (l *life) drain(d *Drain, kind string) {
	if kind == "grpc" {
		rest := time.NewTimer(time.Until(*d.until.Load()) * 3 / 4)
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-l.ctx.Done():
		}
	}
	l.cancel(&ending{streamDraining, gate.Unavailable, goingAwayClose, "the gateway is going away"})
}

// ending is why the gateway has ended the stream; nil when it has not.
func (l *life) ending() *ending {
	var e *ending
	_ = errors.As(context.Cause(l.ctx), &e) // e stays nil
	return e
}

func (l *life) end() {
	l.watch()
	if l.body != nil {
		l.body()
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.leave != nil {
		l.leave()
	}
	l.cancel(nil)
}

// matchUpgrade holds the request's form against what the operation declares: a websocket handshake only where a websocket
// is declared, and nothing else there; likewise gRPC.
func (t *trip) matchUpgrade() gate.Verdict {
	request, op := t.x.Request, t.plan.op
	asked, declared := request.Upgrade == "websocket", op.Stream.Kind == "websocket"
	switch {
	case asked && !declared:
		return gate.Deny(gate.BadRequest, "stream.undeclared", "a websocket is asked for where none is declared").At(op.Pointer).Fixed("stream: {kind: websocket}")
	case declared && !asked:
		return gate.Deny(gate.UpgradeRequired, "stream.no_handshake", "this operation is a websocket").At(op.Pointer).With("Upgrade", "websocket")
	case declared:
		return t.checkOrigin()
	case op.Stream.Kind == "grpc":
		return t.matchGRPC()
	}
	if most := t.site.streamLimit(op); request.Length > most {
		return gate.Deny(gate.TooLarge, "limits.body", "a body of %d bytes is announced, more than %d", request.Length, most)
	}
	return gate.Allow()
}

// checkOrigin admits a websocket from a listed web origin, or from the API's own hosts when none is listed (row D16). A
// client that is no browser names no origin; it has proved itself by its credential.
func (t *trip) checkOrigin() gate.Verdict {
	origin := t.x.Request.Fields.Get("Origin")
	if origin == "" {
		return gate.Allow()
	}
	listed := t.plan.op.Stream.Origins
	if len(listed) > 0 {
		if slices.Contains(listed, origin) {
			return gate.Allow()
		}
	} else if t.ownOrigin(origin) {
		return gate.Allow()
	}
	return gate.Deny(gate.BadOrigin, "stream.origin", "web origin %s may not open this websocket", gate.Mask(origin)).
		At(t.plan.op.Pointer).Fixed("stream: {origins: [" + cut(origin) + "]}")
}

// ownOrigin tells that a web origin is the very host that is asked. A page that was not protected is no origin for what is.
func (t *trip) ownOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != t.x.Request.Scheme {
		return false
	}
	host, port := u.Host, ""
	if u.Port() == defaultPort(u.Scheme) {
		host, port, _ = strings.Cut(u.Host, ":")
	}
	return port == defaultPort(u.Scheme) && strings.EqualFold(host, t.x.Request.Host) || strings.EqualFold(u.Host, hostPort(t.x.Request))
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// stream sends the request of a websocket, of server-sent events or of gRPC to a server, and passes on what both ends say.
func (t *trip) stream() {
	t.by = "upstream"
	l := t.live()
	defer l.end()
	kind := t.plan.op.Stream.Kind
	out, ctx, asked := t.outgoing(), l.ctx, &meter{}
	switch kind {
	case "websocket":
		ctx = t.r.Context() // its end is told with a Close frame, which needs the connection
		out.Header.Set("Upgrade", "websocket")
		delete(out.Header, "Sec-Websocket-Extensions") // compressed messages could not be measured (row D18)
	case "sse":
		delete(out.Header, "Accept-Encoding")
	case "grpc":
		out.Header.Set("Te", "trailers")
		if out.Body != nil && out.Body != http.NoBody {
			out.Body = &messages{from: out.Body, meter: asked, frames: frames{most: t.plan.op.Stream.Message}}
		}
	}
	if streamed, ok := out.Body.(*bounded); ok {
		if err := streamed.begin(); err != nil {
			t.refuse(t.sendError(err))
			return
		}
	}
	call := upstream.Call{HashKey: t.hashKey(), Idempotent: kind != "grpc" && idempotent(out.Method), Stream: true, Upgrade: kind == "websocket"}
	response, report, err := t.site.sender.Send(ctx, out, call)
	t.timing.upstream = report
	if err != nil {
		t.refuse(t.streamError(l, asked, err))
		return
	}
	defer response.Body.Close()
	switch a := (&gate.Answer{Status: response.StatusCode, Fields: response.Header}); {
	case kind == "websocket":
		t.tunnel(l, a, out, response)
	case !streams(kind, t.x.Request.Method, response):
		t.release(a, response)
	default:
		t.pour(l, a, asked, response)
	}
}

// streamError says why no server answered a stream.
func (t *trip) streamError(l *life, asked *meter, err error) gate.Verdict {
	if e := l.ending(); e != nil {
		t.by = "stream"
		return gate.Deny(e.code, e.reason, "%s", e.detail)
	}
	if v := asked.violation(); v != nil {
		t.by = "stream"
		return gate.Deny(v.code, v.reason, "%s", v.detail)
	}
	return t.sendError(err)
}

// answerKind is the kind of stream that an answer is by its media type, "" for none.
func answerKind(fields http.Header) string {
	media, _, refusal := body.MediaType(fields)
	switch {
	case refusal != nil:
		return ""
	case media == "text/event-stream":
		return "sse"
	case isGRPC(media):
		return "grpc"
	}
	return ""
}

// streams tells that an answer is the stream that was declared. An error, a redirect, an answer to HEAD and an answer
// without content are plain answers.
func streams(kind, method string, response *http.Response) bool {
	return response.StatusCode >= 200 && response.StatusCode < 300 && response.StatusCode != http.StatusNoContent &&
		method != http.MethodHead && answerKind(response.Header) == kind
}

// undeclared denies an answer whose form is not what the operation declares: a stream where none is, which nothing would
// bound, and something else where a stream is.
func (t *trip) undeclared(response *http.Response) gate.Verdict {
	op := t.plan.op
	kind, good := answerKind(response.Header), response.StatusCode >= 200 && response.StatusCode < 300
	declared := op.Stream.Kind
	switch {
	case kind != "" && kind != declared:
		return gate.Deny(gate.BadServer, "stream.undeclared_answer", "the server answers with a stream of kind %s, which is not declared", kind).
			At(op.Pointer).Fixed("stream: {kind: " + kind + "}")
	case good && declared == "websocket":
		return gate.Deny(gate.BadServer, "stream.no_switch", "the server answers %d to a websocket's handshake", response.StatusCode).At(op.Pointer)
	case good && (declared == "sse" || declared == "grpc") && kind == "" && t.x.Request.Method != http.MethodHead && response.StatusCode != http.StatusNoContent:
		return gate.Deny(gate.BadServer, "stream.wrong_answer", "the server answers with no stream of kind %s", declared).At(op.Pointer)
	}
	return gate.Allow()
}

// open lets the answer's guards look at a stream's head and writes the event of its beginning. It tells whether the head
// may leave; if not, the denial has left.
func (t *trip) open(a *gate.Answer) bool {
	t.outcome = gate.Outcome{Verdict: gate.Allow(), Status: a.Status}
	t.site.removeFields(a.Fields)
	delete(a.Fields, "Content-Length")
	t.site.cors.mark(a.Fields, t.x.Request.Fields.Get("Origin"))
	if v := t.review(t.r.Context(), a); !v.Allowed() {
		t.refuse(v)
		return false
	}
	if err := t.write(t.event(gate.KindStreamOpen, gate.Allow()), -1); err != nil {
		t.unwritten(err)
		return false
	}
	return true
}

// closing is how a stream has ended.
type closing struct {
	verdict  gate.Verdict // allowed unless the gateway has ended it
	reason   gate.Reason
	detail   string
	asked    tally // what the client has sent
	answered tally // what the server has sent
}

// tally counts what one end has sent.
type tally struct{ messages, bytes int64 }

// ended is the closing of a stream that the gateway has ended.
func ended(e *ending) closing {
	return closing{verdict: gate.Deny(e.code, e.reason, "%s", e.detail), reason: e.reason, detail: e.detail}
}

// closed writes the event of a stream's end.
func (t *trip) closed(c closing) {
	t.by = "stream"
	t.sent.Store(c.asked.bytes)
	e := t.event(gate.KindStreamClose, c.verdict)
	e.Of, e.ID = e.ID, t.g.tools.NewID(t.g.tools.Now())
	e.Decision.Reason, e.Decision.Detail = c.reason, cut(c.detail)
	e.Result.Bytes, e.Result.Messages = c.answered.bytes, c.asked.messages+c.answered.messages
	e.Note = fmt.Sprintf("%d messages from the client, %d from the server", c.asked.messages, c.answered.messages)
	_ = t.g.tools.Recorder.Record(e)
}

// meter counts the messages of one direction, from the goroutine that passes them, for another that tells of them.
type meter struct {
	messages, bytes atomic.Int64
	broken          atomic.Pointer[violation]
}

// violation is a rule of the stream's form that one end has broken.
type violation struct {
	code   gate.Code
	reason gate.Reason
	detail string
}

func (v *violation) Error() string { return string(v.reason) + ": " + v.detail }

func (m *meter) violation() *violation { return m.broken.Load() }

func (m *meter) tally() tally { return tally{m.messages.Load(), m.bytes.Load()} }

// reader finds messages in the bytes of one direction.
type reader interface {
	// next takes bytes and tells how many messages end in them, or what is wrong.
	next(b []byte) (messages int64, v *violation)
	// end tells what is wrong with bytes that end here.
	end() *violation
}

// take counts bytes that are about to pass. When it gives a violation they must not.
func (m *meter) take(r reader, b []byte) *violation {
	n, v := r.next(b)
	if v != nil {
		m.broken.Store(v)
		return v
	}
	m.messages.Add(n)
	m.bytes.Add(int64(len(b)))
	return nil
}

// pour passes a server's stream on, message by message as they come.
func (t *trip) pour(l *life, a *gate.Answer, asked *meter, response *http.Response) {
	kind := t.plan.op.Stream.Kind
	if kind == "sse" && response.Header.Get("Content-Encoding") != "" {
		t.refuse(gate.Deny(gate.BadServer, "stream.encoded", "events in an encoding that was not asked for, in which nothing can be counted").At(t.plan.op.Pointer))
		return
	}
	if !t.open(a) {
		return
	}
	t.head(a)
	answered := &meter{}
	var r reader = &events{most: t.plan.op.Stream.Message}
	if kind == "grpc" {
		r = &frames{most: t.plan.op.Stream.Message}
	}
	c, abort := t.pass(l, response.Body, r, asked, answered)
	c.asked, c.answered = asked.tally(), answered.tally()
	t.closed(c)
	t.flow.later()
	switch {
	case kind == "grpc":
		t.endGRPC(c, response)
	case abort:
		panic(http.ErrAbortHandler)
	}
}

// pass reads from the server and writes to the client until one of them, or the gateway, ends the stream. Abort tells that
// the client must not take the end for the server's own.
func (t *trip) pass(l *life, from io.Reader, r reader, asked, answered *meter) (c closing, abort bool) {
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	t.flow.resting = true
	_ = t.flow.flush() // the head, before the first message
	for {
		n, err := from.Read(buffer[:])
		if e := l.ending(); e != nil {
			return ended(e), false
		}
		if n > 0 {
			if v := answered.take(r, buffer[:n]); v != nil {
				return closing{verdict: gate.Deny(v.code, v.reason, "%s", v.detail), reason: v.reason, detail: "the server: " + v.detail}, true
			}
			if werr := t.flow.write(buffer[:n], true); werr != nil {
				return closing{verdict: gate.Allow(), reason: "stream.client_gone", detail: "the client takes no more"}, true
			}
		}
		switch v := asked.violation(); {
		case err == nil:
		case err == io.EOF:
			if v := r.end(); v != nil {
				return closing{verdict: gate.Deny(v.code, v.reason, "%s", v.detail), reason: v.reason, detail: "the server: " + v.detail}, true
			}
			return closing{verdict: gate.Allow(), reason: "stream.ended", detail: "by the server"}, false
		case v != nil:
			return closing{verdict: gate.Deny(v.code, v.reason, "%s", v.detail), reason: v.reason, detail: "the client: " + v.detail}, true
		case t.r.Context().Err() != nil:
			return closing{verdict: gate.Allow(), reason: "stream.client_gone", detail: "the client has gone"}, true
		default:
			return closing{verdict: gate.Deny(gate.BadServer, "upstream.broken_answer", "%v", err), reason: "upstream.broken_answer", detail: err.Error()}, true
		}
	}
}
