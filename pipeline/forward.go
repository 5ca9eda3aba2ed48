package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// chunkTime is how long a client may take to read one chunk of an answer (row H3).
const chunkTime = 30 * time.Second

// loadBody reads the body once, as the kind that the contract declares for its media type.
func (t *trip) loadBody(context.Context) (*body.Tree, gate.Verdict) {
	request := t.x.Request
	if request.Length == 0 {
		return &body.Tree{Kind: body.Empty}, gate.Allow()
	}
	media, params, refusal := body.MediaType(request.Fields)
	if refusal != nil {
		return nil, refused(refusal)
	}
	kind, known := body.KindOf(media)
	if op := t.plan.op.Contract; op != nil && len(op.Bodies) > 0 {
		declared, violation := op.BodyFor(media)
		if violation != nil {
			return nil, gate.Deny(gate.UnsupportedMedia, gate.Reason(violation.Reason), "%s", violation.What).At(violation.Pointer).Fixed(violation.Fix)
		}
		kind, known = declared.Kind, true
	}
	if !known {
		return nil, gate.Deny(gate.UnsupportedMedia, "body.media_type", "nothing here can read media type %.60q", media)
	}
	limits := t.site.limits.Body()
	limits.Declared = request.Length
	from := t.incoming()
	tee, again := t.watched(from)
	tree, refusal := body.Read(kind, params, request.Fields.Get("Content-Encoding"), tee, limits)
	if refusal != nil {
		if r := t.bodyRefusal(); r != nil {
			refusal = r
		}
		t.flow.body = again()
		return nil, refused(refusal)
	}
	return tree, gate.Allow()
}

// watched keeps what is read of a body while some guard that reads bodies is in dry run: a body that is refused then goes
// on, and the server must get all of it. Again gives the body from its beginning, as far as it was kept.
func (t *trip) watched(from io.ReadCloser) (tee io.Reader, again func() io.ReadCloser) {
	for _, s := range t.plan.admit {
		if s.body != nil && s.watches(t.x.Began) {
			seen := &bytes.Buffer{}
			return io.TeeReader(from, seen), func() io.ReadCloser {
				return struct {
					io.Reader
					io.Closer
				}{io.MultiReader(seen, from), from}
			}
		}
	}
	return from, func() io.ReadCloser { return from }
}

// bodyRefusal is what the wire refused of a body whose head it had handed on.
func (t *trip) bodyRefusal() *canon.Refusal {
	var r *wire.Refusal
	switch {
	case t.flow.paced != nil:
		r = t.flow.paced.Refusal()
	case t.conn != nil && t.conn.Request != nil:
		r = t.conn.Request.BodyRefusal()
	}
	if r == nil {
		return nil
	}
	return &canon.Refusal{Reason: r.Reason, Status: r.Status, Detail: r.Detail}
}

// forward sends the request to a server and its answer to the client.
func (t *trip) forward() {
	if a := t.plan.answer; a != nil {
		t.release(a, nil)
		return
	}
	switch t.plan.op.Stream.Kind {
	case "websocket", "sse", "grpc":
		t.stream()
		return
	}
	t.by = "upstream"
	request := t.outgoing()
	if streamed, ok := request.Body.(*bounded); ok {
		if err := streamed.begin(); err != nil {
			t.refuse(t.sendError(err))
			return
		}
	}
	call := upstream.Call{HashKey: t.hashKey(), Idempotent: idempotent(request.Method), Stream: t.plan.op.Stream.Kind != ""}
	response, report, err := t.site.sender.Send(t.r.Context(), request, call)
	t.timing.upstream = report
	if err != nil {
		t.refuse(t.sendError(err))
		return
	}
	defer response.Body.Close()
	a := &gate.Answer{Status: response.StatusCode, Fields: response.Header}
	t.release(a, response)
}

// sendError says why no server answered. What the client's own body did wrong is told as that.
func (t *trip) sendError(err error) gate.Verdict {
	if r := t.bodyRefusal(); r != nil {
		t.by = "wire"
		return refused(r)
	}
	var limit *overLimit
	if errors.As(err, &limit) {
		t.by = "limits"
		return gate.Deny(gate.TooLarge, "limits.body", "the body is larger than %d bytes", limit.bytes)
	}
	var failed *upstream.Error
	if errors.As(err, &failed) {
		return gate.Deny(gate.CodeFor(failed.Status), gate.Reason(failed.Reason), "%s", failed.Error())
	}
	return gate.Deny(gate.BadServer, "upstream.failed", "%v", err)
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// hashKey is what keeps a caller at one server when the document asks for it.
func (t *trip) hashKey() string {
	return t.site.hash(t.x)
}

// outgoing writes the request for the server from the canonical one, and from nothing else.
func (t *trip) outgoing() *http.Request {
	in := t.x.Request
	path := strings.TrimPrefix(in.Path, t.site.api.Base)
	if path == "" {
		path = "/"
	}
	u := &url.URL{Path: decoded(path), RawPath: path, RawQuery: canon.EncodeQuery(in.Query)}
	out := &http.Request{Method: in.Method, URL: u, Host: hostPort(in), Header: t.fields(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if t.looks() {
		readableOnly(out.Header)
	}
	t.body(out)
	return out
}

// decoded is the path as net/url wants it beside its raw form. The raw form is canonical, so this cannot fail.
func decoded(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	s, err := url.PathUnescape(path)
	if err != nil {
		panic("pipeline: canonical path does not decode")
	}
	return s
}

func hostPort(in *canon.Request) string {
	host := in.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if in.Port != "" {
		host += ":" + in.Port
	}
	return host
}

// fields are the client's, cleaned, and what the gateway says of the client: only here are they set, after everything
// that a client could say of itself was removed.
func (t *trip) fields() http.Header {
	in := t.x.Request
	h := in.Fields
	if rest, cut := session.Cut(in.Cookies); cut && !t.site.own {
		h.Del("Cookie")
		if len(rest) > 0 {
			h.Set("Cookie", canon.EncodeCookies(rest))
		}
	}
	if !t.site.pass {
		for _, name := range t.site.api.Credentials {
			h.Del(name)
		}
	}
	h.Set("X-Forwarded-For", t.x.Source.Client.String())
	h.Set("X-Forwarded-Proto", in.Scheme)
	h.Set("X-Forwarded-Host", hostPort(in))
	h.Set("Traceparent", t.trace().next())
	if !t.x.Source.Trusted { // what belongs to a trace that is not continued
		h.Del("Tracestate")
		h.Del("Baggage")
	}
	t.site.names.Write(h, t.x.Principal(), t.x.ID)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // net/http must not invent one
	}
	return h
}

// body gives the server the bytes that were checked, or the stream when no guard reads them.
func (t *trip) body(out *http.Request) {
	in := t.x.Request
	switch tree := t.x.ReadBody(); {
	case tree != nil && len(tree.Raw) > 0:
		raw := tree.Raw
		out.ContentLength = int64(len(raw))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
		out.Body, _ = out.GetBody()
		out.Header.Del("Content-Encoding")
		t.sent.Store(out.ContentLength)
	case tree != nil || in.Length == 0:
		out.Body = http.NoBody
		if in.Method == http.MethodPost || in.Method == http.MethodPut || in.Method == http.MethodPatch {
			out.ContentLength = 0
		}
	default:
		out.ContentLength = in.Length
		out.Body = &bounded{from: t.incoming(), left: t.site.streamLimit(t.plan.op), limit: t.site.streamLimit(t.plan.op), sent: &t.sent}
	}
}

// bounded is a streamed body that may not pass its limit.
type bounded struct {
	from        io.ReadCloser
	left, limit int64
	sent        *atomic.Int64
	first       []byte // read by begin, not yet handed on
	end         error  // that came with it
}

// begin reads the first bytes, before any server is asked: a client that waits for "100 Continue" sends no chunk before, and
// a body whose framing is broken from its first chunk on must reach nobody.
func (b *bounded) begin() error {
	buffer := make([]byte, 4<<10)
	n, err := b.read(buffer)
	b.first, b.end = buffer[:n], err
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

type overLimit struct{ bytes int64 }

func (e *overLimit) Error() string {
	return "body is larger than " + strconv.FormatInt(e.bytes, 10) + " bytes"
}

// Read gives an error, never an end, once the limit is passed: the server must not take a cut body for a whole one.
func (b *bounded) Read(p []byte) (int, error) {
	if len(b.first) > 0 || b.end != nil {
		n := copy(p, b.first)
		if b.first = b.first[n:]; len(b.first) > 0 {
			return n, nil
		}
		return n, b.end
	}
	return b.read(p)
}

func (b *bounded) read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, &overLimit{b.limit}
	}
	b.sent.Add(int64(n))
	return n, err
}

func (b *bounded) Close() error { return b.from.Close() }

// release lets the answer's guards look, writes the event, and only then lets the answer go.
func (t *trip) release(a *gate.Answer, response *http.Response) {
	t.outcome = gate.Outcome{Verdict: gate.Allow(), Status: a.Status}
	if response != nil { // not the gateway's own answer to a preflight, which says of origins what is to be said
		if v := t.undeclared(response); !v.Allowed() {
			t.refuse(v)
			return
		}
		t.site.removeFields(a.Fields)
		t.site.cors.mark(a.Fields, t.x.Request.Fields.Get("Origin"))
	}
	look, v := t.inspect(a, response)
	if !v.Allowed() {
		t.refuse(v)
		return
	}
	defer look.close()
	if v := t.review(t.r.Context(), a); !v.Allowed() {
		t.refuse(v)
		return
	}
	length := int64(0)
	if response != nil {
		length = response.ContentLength
	}
	if err := t.record(gate.Allow(), length); err != nil {
		t.unwritten(err)
		return
	}
	t.head(a)
	switch {
	case look != nil:
		look.copy()
	case response != nil:
		t.copy(response)
	}
}

// copy streams the answer's body. A body that breaks breaks the client's connection too, so that nobody takes half an
// answer for a whole one.
func (t *trip) copy(response *http.Response) {
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	flush := response.ContentLength < 0
	for {
		n, err := response.Body.Read(buffer[:])
		if n > 0 {
			if werr := t.flow.write(buffer[:n], flush && err == nil); werr != nil {
				t.recordBroken("client.gone", "the client did not take the whole answer")
				panic(http.ErrAbortHandler)
			}
		}
		if err == io.EOF {
			if flush || t.flow.resting {
				t.flow.later()
			}
			return
		}
		if err != nil {
			t.recordBroken("upstream.broken_answer", err.Error())
			panic(http.ErrAbortHandler)
		}
	}
}

// buffers are shared by all answers.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// removeFields removes the fields that belong to the connection to the server, and those in which only the gateway has a
// say: whose scripts may read, who called, and under which address else the API is reached.
func (s *site) removeFields(h http.Header) {
	for _, list := range h["Connection"] {
		for _, name := range strings.Split(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	for _, name := range s.names.All() {
		delete(h, name)
	}
	if !s.own && slices.ContainsFunc(h["Set-Cookie"], setsOwn) {
		h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], setsOwn)
	}
}

// setsOwn tells that a Set-Cookie field is about a cookie of the gateway's. Browsers skip white space before the name; and a
// cookie without a name is sent as its value alone, which may read like one of ours.
func setsOwn(field string) bool {
	return session.Own(strings.TrimLeft(field, " \t="))
}

var hopByHop = []string{"Alt-Svc", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
