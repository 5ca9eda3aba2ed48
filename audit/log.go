// Package audit is the record of events: one JSON object on a line, numbered, each carrying the hash of the line before,
// so that a missing, changed or reordered line shows. An event counts as written once the queue has taken it; when the
// file behind the queue fails for two seconds the log says so and the gateway stops deciding (row K3): a decision that
// cannot be recorded is not made.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// patience is how long the file may fail, or the queue stay full, before the log counts as failing.
const patience = 2 * time.Second

// queued is how many events may wait for the file.
const queued = 4096

// Sink takes finished lines. Write gets one or more whole lines; an error means that none of them counts as written.
type Sink interface {
	Write(lines []byte) error
	Close() error
}

// ErrFailing is returned while events cannot be written.
var ErrFailing = errors.New("audit: the event log cannot be written")

// Log is a chain of events on its way into a sink. Make it with New.
type Log struct {
	sink    Sink
	queue   chan gate.Event
	done    chan struct{}
	now     func() time.Time
	failing atomic.Bool
	last    atomic.Uint64
	closing atomic.Bool

	seq  uint64
	prev string
}

// New starts a log that continues a chain at the entry before: its number and hash, or 0 and "" for a new one.
func New(sink Sink, at Position, now func() time.Time) *Log {
	l := &Log{sink: sink, queue: make(chan gate.Event, queued), done: make(chan struct{}), now: now, seq: at.Seq, prev: at.Hash}
	l.last.Store(at.Seq)
	go l.write()
	return l
}

// Position is a place in a chain: the number of an entry and the hash of its line.
type Position struct {
	Seq  uint64
	Hash string
}

// Record hands an event to the queue and returns when it is taken. It waits up to two seconds for a place; after that,
// or when the sink has failed for that long, it returns ErrFailing.
func (l *Log) Record(e gate.Event) error {
	select {
	case l.queue <- e:
		return l.Err()
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.queue <- e:
		return l.Err()
	case <-timer.C:
		l.failing.Store(true)
		return ErrFailing
	}
}

// Err is ErrFailing while events cannot be written, else nil.
func (l *Log) Err() error {
	if l.failing.Load() {
		return ErrFailing
	}
	return nil
}

// Written is the number of the last entry that the sink has taken.
func (l *Log) Written() uint64 { return l.last.Load() }

// Close writes what is queued and closes the sink. Record must not be called after it.
func (l *Log) Close() error {
	if !l.closing.Swap(true) {
		close(l.queue)
	}
	<-l.done
	return l.sink.Close()
}

// write is the one goroutine that numbers, chains and writes. It takes what is queued in one go, so that a busy log
// costs one system call for many events.
func (l *Log) write() {
	defer close(l.done)
	var lines []byte
	for e := range l.queue {
		lines = l.appendLine(lines[:0], e)
		for n := len(l.queue); n > 0 && len(lines) < 256<<10; n-- {
			e, ok := <-l.queue
			if !ok {
				break
			}
			lines = l.appendLine(lines, e)
		}
		l.put(lines)
	}
}

// put writes until it succeeds. The chain goes on unbroken: a line is never left out because the disk was full for a
// while; what waits behind it waits in the queue, whose end is what callers feel.
func (l *Log) put(lines []byte) {
	began := l.now()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err := l.sink.Write(lines); err == nil {
			l.failing.Store(false)
			l.last.Store(l.seq)
			return
		}
		if l.now().Sub(began) >= patience {
			l.failing.Store(true)
			if l.closing.Load() { // a broken sink does not hold up the end of the process
				return
			}
		}
		time.Sleep(wait)
	}
}

func (l *Log) appendLine(lines []byte, e gate.Event) []byte {
	l.seq++
	e.Schema, e.Seq, e.Prev = gate.EventSchema, l.seq, l.prev
	line, err := json.Marshal(e)
	if err != nil { // no field of an event can fail to marshal
		panic("audit: " + err.Error())
	}
	l.prev = hashOf(line)
	return append(append(lines, line...), '\n')
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}
