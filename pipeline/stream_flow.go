package pipeline

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// flow holds the bytes of an exchange to a pace in both directions: a client that sends its body too slowly (rows D7, H2),
// and one that takes its answer too slowly (row H3). The connection below cannot: over HTTP/2 it carries many exchanges.
// The zero flow is ready once it is bound.
type flow struct {
	w       http.ResponseWriter
	patient time.Duration // how long the client may take to take one piece
	resting bool          // an alarm stands in for the deadline of writes
	body    io.ReadCloser
	paced   *wire.PacedBody
	alarm   *time.Timer

	mu      sync.Mutex // guards the following
	control *http.ResponseController
}

// bind names the exchange's writer.
func (f *flow) bind(w http.ResponseWriter, r *http.Request) {
	f.w, f.control, f.patient, f.resting = w, http.NewResponseController(w), chunkTime, r.ProtoMajor == 2
}

// drop keeps timers from touching the writer, which net/http takes away when the handler returns.
func (f *flow) drop() {
	if f.alarm != nil {
		f.alarm.Stop()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.control = nil
}

// incoming is the body that the client sends. Over HTTP/1 the connection itself holds it to the minimum rate. What may rest,
// because it is a stream of messages, is held to none.
func (t *trip) incoming() io.ReadCloser {
	f := &t.flow
	if f.body != nil {
		return f.body
	}
	f.body = t.r.Body
	kind := t.plan.op.Stream.Kind
	if t.conn.Request == nil && t.x.Request.Length != 0 && kind != "grpc" && kind != "websocket" {
		f.paced = wire.NewPacedBody(t.r.Body, f.stopReading, t.conn.MinRate, time.Now)
		f.body = f.paced
	}
	return f.body
}

// stopReading fails a read of the body that is under way.
func (f *flow) stopReading() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.control != nil {
		_ = f.control.SetReadDeadline(time.Unix(1, 0)) // a connection that is gone reads nothing either
	}
}

// stopWriting fails a write of the answer that is under way.
func (f *flow) stopWriting() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.control != nil {
		_ = f.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// write hands bytes of an answer to the client, who has some time to take them. Over HTTP/2, and between the messages of a
// stream, no deadline may be left behind: an answer may rest, and a deadline that passes meanwhile would reset it.
func (f *flow) write(b []byte, flush bool) error {
	if f.resting {
		f.arm()
		defer f.alarm.Stop()
	} else {
		_ = f.control.SetWriteDeadline(time.Now().Add(f.patient))
	}
	if _, err := f.w.Write(b); err != nil || !flush {
		return err
	}
	return f.control.Flush()
}

// flush hands on what waits.
func (f *flow) flush() error {
	f.arm()
	defer f.alarm.Stop()
	return f.control.Flush()
}

func (f *flow) arm() {
	if f.alarm == nil {
		f.alarm = time.AfterFunc(f.patient, f.stopWriting)
		return
	}
	f.alarm.Reset(f.patient)
}

// later gives the client time for the end of an answer, which net/http writes after us.
func (f *flow) later() { _ = f.control.SetWriteDeadline(time.Now().Add(f.patient)) }
