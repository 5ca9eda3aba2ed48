package pipeline

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// looks tells that the answer of the request may be looked into.
func (t *trip) looks() bool {
	for _, s := range t.checked {
		if s.answers != nil && s.answers.ReadsAnswer(t.plan.op) {
			return true
		}
	}
	return false
}

// inspected is an answer into which guards look as it passes. What leaves is what came, byte for byte.
type inspected struct {
	t        *trip
	from     io.Reader // the server's body
	plain    io.Reader // without its coding; nil once it can't be read
	raw      *kept     // nil without a coding: what is read is what leaves
	patient  *patient  // nil when the length is known
	decoder  *unpacked // nil without a coding
	looks    []look
	most     int    // of bytes that are held before anything is judged
	held     []byte // read, judged, and not sent
	judged   int64  // bytes, without the coding
	end      error  // that came with it: io.EOF, or why the server's body broke
	departed bool   // the head has left
	flush    bool   // what is sent leaves at once
	closed   bool
}

// look is one guard that looks.
type look struct {
	stage *stage
	gate.Inspection
}

// inspect lets guards look at the beginning of an answer, before anything of it leaves. It gives nil when nobody looks.
func (t *trip) inspect(a *gate.Answer, response *http.Response) (i *inspected, v gate.Verdict) {
	if response == nil {
		return nil, gate.Allow()
	}
	i = &inspected{t: t, from: response.Body, plain: response.Body, flush: response.ContentLength < 0}
	for _, s := range t.checked {
		if s.answers == nil {
			continue
		}
		if one := s.answers.InspectAnswer(t.x, a); one != nil {
			i.looks = append(i.looks, look{s, one})
		}
	}
	if len(i.looks) == 0 {
		return nil, gate.Allow()
	}
	defer func() {
		if p := recover(); p != nil {
			t.by, v = i.looks[0].stage.name, gate.Deny(gate.Internal, "guard.panic", "panicked at the answer's body: %s at %s", panicked(p), origin())
		}
		if !v.Allowed() {
			i.close()
		}
	}()
	if t.r.Method == http.MethodHead || response.Body == http.NoBody || response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified {
		i.end = io.EOF
		return i, i.say(func(l look) gate.Verdict { return l.Begin(t.r.Context(), nil, true) })
	}
	wait := time.Duration(0)
	for _, l := range i.looks {
		m, w := l.Hold()
		i.most, wait = max(i.most, m), max(wait, w)
	}
	if v = i.open(a.Fields, response.StatusCode); !v.Allowed() || i.plain == nil {
		return i, v
	}
	if i.flush {
		i.patient = newPatient(i.plain, wait, i.forget)
		i.plain = i.patient
	}
	return i, i.begin(t.r.Context(), response.ContentLength)
}

// open takes the coding off.
func (i *inspected) open(fields http.Header, status int) gate.Verdict {
	coding, err := codingOf(fields)
	if err == nil && coding == "" {
		return gate.Allow()
	}
	i.raw = &kept{from: i.from}
	if err == nil && status == http.StatusPartialContent {
		err = errors.New("it is a part of what is compressed")
	}
	if err != nil {
		return i.unread(err)
	}
	i.decoder = decode(coding, i.raw, i.most)
	i.plain = i.decoder
	return gate.Allow()
}

// begin holds the first bytes and has them judged.
func (i *inspected) begin(ctx context.Context, length int64) gate.Verdict {
	size := i.most
	if i.raw == nil && length >= 0 {
		size = int(min(length, int64(i.most)))
	}
	var err error
	i.held, err = i.hold(size, length)
	if i.patient != nil {
		i.patient.calm()
	}
	switch {
	case errors.Is(err, errLate):
	case err == nil || i.decoder == nil || errors.Is(err, io.EOF):
		i.end = err
	case i.raw.failed() != nil:
		i.end = i.raw.failed()
	default:
		if v := i.unread(err); !v.Allowed() {
			return v
		}
	}
	whole := i.end != nil
	i.judged = int64(len(i.held))
	return i.say(func(l look) gate.Verdict { return l.Begin(ctx, i.held, whole) })
}

// hold reads until there is enough, or the body ends, or time is over.
func (i *inspected) hold(size int, length int64) ([]byte, error) {
	buffer := make([]byte, 0, min(size+1, 8<<10))
	if length >= 0 && i.raw == nil {
		buffer = make([]byte, 0, size+1)
	}
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		n, err := i.plain.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		if err != nil || len(buffer) > size {
			return buffer, err
		}
	}
}

// unread says that the body can't be looked into from here on.
func (i *inspected) unread(why error) gate.Verdict {
	i.plain = nil
	return i.say(func(l look) gate.Verdict { return l.Unread(why.Error()) })
}

// say asks everybody who looks. A guard in dry run denies nothing.
func (i *inspected) say(ask func(look) gate.Verdict) gate.Verdict {
	for _, l := range i.looks {
		began := time.Now()
		v := ask(l)
		i.t.timing.guards[l.stage.name] += time.Since(began).Nanoseconds()
		would := l.Noted()
		if !v.Allowed() && l.stage.watches(i.t.x.Began) {
			would = append(would, gate.Would{Code: v.Code, Reason: v.Reason, Rule: v.Rule, Detail: v.Detail})
			v = gate.Allow()
		}
		for n := range would {
			would[n].Guard = l.stage.name
		}
		i.note(would)
		if !v.Allowed() {
			i.t.by = l.stage.name
			return v
		}
	}
	return gate.Allow()
}

// note tells what was found and not denied: in the event of the exchange, or in one of its own when that is written.
func (i *inspected) note(would []gate.Would) {
	if len(would) == 0 {
		return
	}
	if !i.departed {
		i.t.would = append(i.t.would, would...)
		return
	}
	e := i.t.event(gate.KindFound, gate.Allow())
	e.Of, e.ID, e.Decision.DryRun = e.ID, i.t.g.tools.NewID(i.t.g.tools.Now()), would
	_ = i.t.g.tools.Recorder.Record(e)
}

// copy sends the answer's body, piece by piece as it is judged.
func (i *inspected) copy() {
	defer i.close()
	i.departed = true
	i.send(nil, i.end == nil)
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	for i.end == nil && i.plain != nil {
		n, err := i.plain.Read(buffer[:])
		if err != nil && i.decoder != nil && !errors.Is(err, io.EOF) && i.raw.failed() == nil {
			i.judge(buffer[:n], false)
			i.must(i.unread(err))
			break
		}
		i.end = err
		i.judge(buffer[:n], err != nil)
		i.send(buffer[:n], err == nil)
	}
	if i.end == nil {
		i.pass(buffer[:])
	}
	if !errors.Is(i.end, io.EOF) {
		i.t.recordBroken("upstream.broken_answer", i.end.Error())
		panic(http.ErrAbortHandler)
	}
	if i.flush || i.t.flow.resting {
		i.t.flow.later()
	}
}

// pass sends on what nobody can look into, and nobody denied.
func (i *inspected) pass(buffer []byte) {
	i.send(nil, true)
	for i.end == nil {
		var n int
		n, i.end = i.from.Read(buffer)
		i.write(buffer[:n], i.end == nil)
	}
}

func (i *inspected) judge(b []byte, last bool) {
	i.judged += int64(len(b))
	i.must(i.say(func(l look) gate.Verdict { return l.Next(i.t.r.Context(), b, last) }))
}

// must breaks the answer off when it is denied: over HTTP/1.1 the connection ends before the answer does, over HTTP/2 the
// stream is reset, so that no client takes what it got for a whole answer.
func (i *inspected) must(v gate.Verdict) {
	if v.Allowed() {
		return
	}
	e := i.t.event(gate.KindBroken, v)
	e.Of, e.ID = e.ID, i.t.g.tools.NewID(i.t.g.tools.Now())
	_ = i.t.g.tools.Recorder.Record(e)
	panic(http.ErrAbortHandler)
}

// send sends what was judged: the plain bytes, or the raw ones that they were made of. What looks like the beginning of
// something waits, as long as there is more to come; of compressed bytes none leaves from which more can be decoded than that.
func (i *inspected) send(plain []byte, more bool) {
	wait := 0
	if more && i.plain != nil {
		for _, l := range i.looks {
			wait = max(wait, l.Pending())
		}
	}
	switch {
	case i.raw == nil && wait == 0 && len(i.held) == 0:
		i.write(plain, more)
	case i.raw == nil:
		i.held = append(i.held, plain...)
		ready := max(0, len(i.held)-wait)
		i.write(i.held[:ready], more)
		i.held = i.held[ready:]
	case i.plain == nil || errors.Is(i.end, io.EOF):
		i.held = nil
		i.write(i.raw.rest(), more)
	default:
		i.held = nil
		i.write(i.raw.take(i.judged-int64(wait)), more)
	}
}

func (i *inspected) write(b []byte, more bool) {
	if len(b) == 0 {
		return
	}
	if err := i.t.flow.write(b, i.flush && more); err != nil {
		i.t.recordBroken("client.gone", "the client did not take the whole answer")
		panic(http.ErrAbortHandler)
	}
}

// close ends reading. The body may still be read by a goroutine; its end, which forward brings about, ends that too.
func (i *inspected) close() {
	if i == nil || i.closed {
		return
	}
	i.closed = true
	if i.patient != nil {
		i.patient.end()
		return
	}
	i.forget()
}

// forget gives back what decoding took, once nobody reads.
func (i *inspected) forget() {
	if i.decoder != nil {
		i.decoder.close()
	}
}
