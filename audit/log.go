// Package audit is the record of events: one JSON object on a line, numbered, each carrying the hash of the line before,
// so that a missing, changed or reordered line shows. An event counts as written once the queue has taken it; when what
// lies behind the queue fails, or hangs, for two seconds the log says so and the gateway stops deciding (row K3): a
// decision that cannot be recorded is not made.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// patience is how long the sink may fail or hang, or the queue stay full, before the log counts as failing; and how long
// the end of the process waits for it.
const patience = 2 * time.Second

// queued is how many events may wait for the sink, and together how many are written in one go.
const (
	queued   = 4096
	together = 64
)

// Sink takes finished lines. Write gets one or more whole lines; an error means that they will be offered again.
type Sink interface {
	Write(lines []byte) error
	Close() error
}

// ErrFailing is returned while events cannot be written; what stands behind it says why.
var ErrFailing = errors.New("audit: the event log cannot be written")

// ErrClosed is returned by a log that has ended.
var ErrClosed = errors.New("audit: the event log has ended")

// Position is a place in a chain: the number of an entry and the hash of its line.
type Position struct {
	Seq  uint64
	Hash string
}

// Standing is where a chain stands, and in which files.
type Standing struct {
	Position
	Directory string // "" when the sink is no files of ours
	Chain     string // stem of the files
}

// placed is a sink that knows in which files its chain lies.
type placed interface {
	chain() (directory, stem string)
}

// Log is a chain of events on its way into a sink. Make it with New.
type Log struct {
	queue  chan gate.Event
	change chan Change // asked of the writer
	ended  chan struct{}
	health health
	last   atomic.Pointer[Standing]

	life    sync.RWMutex // held for reading by whoever may send to the queue
	closed  bool
	closing atomic.Bool

	chain chain // the writer's own
}

// chain is what only the writer touches.
type chain struct {
	sink  Sink
	at    Position
	lines []byte // reused
	lost  int    // events that a sink did not take before the end
	err   error  // of closing the sink
}

// Change exchanges the sink, and says where its chain stands. The writer calls it between two writes, also while a sink
// fails: then what that one did not take goes to the next.
type Change func(old Sink, at Position) (Sink, Position)

// New starts a log that continues a chain at the entry before: its number and hash, or 0 and "" for a new one.
func New(sink Sink, at Position, now func() time.Time) *Log {
	l := &Log{
		queue: make(chan gate.Event, queued), change: make(chan Change), ended: make(chan struct{}),
		health: health{now: now, start: now()}, chain: chain{sink: sink, at: at},
	}
	l.stands()
	go l.write()
	return l
}

// Record hands an event to the queue and returns when it is taken. It waits up to two seconds for a place, and not at all
// while the log is failing. An error says that the event will not be written.
func (l *Log) Record(e gate.Event) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- e:
		return nil
	default:
	}
	if err := l.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.queue <- e:
		return nil
	case <-timer.C:
		l.health.choked.Store(true)
		return l.Err()
	}
}

// Offer hands an event to the queue if there is a place now, for those who must not wait. It tells whether there was.
func (l *Log) Offer(e gate.Event) bool {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.closed {
		return false
	}
	select {
	case l.queue <- e:
		return true
	default:
		return false
	}
}

// Err is ErrFailing, with the cause, while events cannot be written, else nil.
func (l *Log) Err() error { return l.health.err() }

// Written is the number of the last entry that the sink has taken.
func (l *Log) Written() uint64 { return l.last.Load().Seq }

// At is where the chain stands: the last entry that the sink has taken, and the files that it lies in.
func (l *Log) At() Standing { return *l.last.Load() }

// Waiting is how many events wait for the sink.
func (l *Log) Waiting() int { return len(l.queue) }

// Change has the writer exchange its sink. It waits up to two seconds for the writer, which a sink that hangs can hold up.
func (l *Log) Change(change Change) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.change <- change:
		return nil
	case <-l.ended:
		return ErrClosed
	case <-timer.C:
		return fmt.Errorf("%w: the present sink hangs and cannot be exchanged", ErrFailing)
	}
}

// Close writes what is queued and closes the sink. A sink that fails or hangs is given two seconds; then the error says how
// many events are lost.
func (l *Log) Close() error {
	l.life.Lock()
	if !l.closed {
		l.closed = true
		l.closing.Store(true)
		close(l.queue)
	}
	l.life.Unlock()
	timer := time.NewTimer(patience + patience/2)
	defer timer.Stop()
	select {
	case <-l.ended:
	case <-timer.C:
		return fmt.Errorf("%w: the sink hangs; about %d events are lost", ErrFailing, len(l.queue)+1)
	}
	if l.chain.lost > 0 {
		return errors.Join(fmt.Errorf("%w: %d events are lost", ErrFailing, l.chain.lost), l.chain.err)
	}
	return l.chain.err
}

// write is the one goroutine that numbers, chains and writes. It takes what is queued in one go, so that a busy log
// costs one system call for many events.
func (l *Log) write() {
	defer close(l.ended)
	var batch []gate.Event
	for {
		select {
		case change := <-l.change:
			l.exchange(change)
		case e, more := <-l.queue:
			if !more {
				l.chain.err = l.chain.sink.Close()
				return
			}
			batch = append(batch, e)
			for n := min(len(l.queue), together-1); n > 0; n-- {
				batch = append(batch, <-l.queue)
			}
			l.put(batch)
			clear(batch)
			batch = batch[:0]
		}
	}
}

func (l *Log) exchange(change Change) {
	l.chain.sink, l.chain.at = change(l.chain.sink, l.chain.at)
	l.stands()
}

// stands tells others where the chain stands.
func (l *Log) stands() {
	s := &Standing{Position: l.chain.at}
	if p, ok := l.chain.sink.(placed); ok {
		s.Directory, s.Chain = p.chain()
	}
	l.last.Store(s)
}

// put writes until it succeeds. The chain goes on unbroken: a line is never left out because the disk was full for a
// while; what waits behind it waits in the queue, whose end is what callers feel.
func (l *Log) put(batch []gate.Event) {
	if l.chain.lost > 0 {
		l.chain.lost += len(batch)
		return
	}
	began := l.health.begin()
	lines, at := appendLines(l.chain.lines[:0], l.chain.at, batch)
	l.chain.lines = lines
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := l.chain.sink.Write(lines)
		if err == nil {
			l.chain.at = at
			l.stands()
			l.health.end(len(l.queue) < queued/2)
			return
		}
		l.health.cause.Store(&err)
		if l.closing.Load() && l.health.elapsed()-began >= patience {
			l.chain.lost += len(batch) // a broken sink does not hold up the end of the process
			return
		}
		select {
		case <-time.After(pause):
		case change := <-l.change:
			l.exchange(change)
			lines, at = appendLines(lines[:0], l.chain.at, batch)
		}
	}
}

// health is how the writing goes.
type health struct {
	now    func() time.Time
	start  time.Time
	began  atomic.Int64 // of the write in progress, counted from start; 0 when there is none
	choked atomic.Bool  // somebody waited in vain for a place in the queue
	cause  atomic.Pointer[error]
}

// elapsed is the time since the start, which a clock that is set cannot change.
func (h *health) elapsed() time.Duration { return h.now().Sub(h.start) }

func (h *health) begin() time.Duration {
	at := max(h.elapsed(), 1)
	h.began.Store(int64(at))
	return at
}

func (h *health) end(room bool) {
	h.began.Store(0)
	h.cause.Store(nil)
	if room {
		h.choked.Store(false)
	}
}

func (h *health) err() error {
	began := h.began.Load()
	if !h.choked.Load() && (began == 0 || h.elapsed()-time.Duration(began) < patience) {
		return nil
	}
	if cause := h.cause.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrFailing, *cause)
	}
	return fmt.Errorf("%w: what it is written to does not answer", ErrFailing)
}

// appendLines numbers and chains events behind the entry at.
func appendLines(lines []byte, at Position, events []gate.Event) ([]byte, Position) {
	out := bytes.NewBuffer(lines)
	encoder := json.NewEncoder(out)
	for i := range events {
		at.Seq++
		e, begin := &events[i], out.Len()
		e.Schema, e.Seq, e.Prev = gate.EventSchema, at.Seq, at.Hash
		if err := encoder.Encode(e); err != nil { // no field of an event can fail to marshal
			panic("audit: " + err.Error())
		}
		at.Hash = hashOf(out.Bytes()[begin : out.Len()-1])
	}
	return out.Bytes(), at
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}
