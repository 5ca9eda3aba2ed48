package pipeline

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// errLate tells that nothing came in time. The body is as before.
var errLate = errors.New("nothing came in time")

// patient is a body that is read by a goroutine of its own, so that one can stop waiting for it without giving it up. Who
// closes the body ends the goroutine.
type patient struct {
	ask   chan struct{} // for the next piece
	got   chan piece
	asked bool
	left  piece
	clock *time.Timer // nil: there is time
}

type piece struct {
	bytes []byte
	err   error
}

// newPatient reads from a body for at most so long, until hurry is over. Done is called when nobody reads it any more.
func newPatient(from io.Reader, wait time.Duration, done func()) *patient {
	p := &patient{ask: make(chan struct{}, 1), got: make(chan piece, 1), clock: time.NewTimer(wait)}
	go func() {
		defer done()
		buffer := buffers.Get().(*[32 << 10]byte)
		defer buffers.Put(buffer) // who asked has told that it is done with what it got
		for range p.ask {
			n, err := readOnce(from, buffer[:])
			p.got <- piece{buffer[:n], err}
		}
	}()
	return p
}

// readOnce reads. A decoder that panics at what a server sent has failed, like any other: nobody above this goroutine would
// keep the process from ending.
func readOnce(from io.Reader, b []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("reading it panicked: %s at %s", panicked(p), origin())
		}
	}()
	return from.Read(b)
}

// Read gives what has come, or errLate once the time is over.
func (p *patient) Read(b []byte) (int, error) {
	for len(p.left.bytes) == 0 {
		if p.left.err != nil {
			return 0, p.left.err
		}
		if !p.asked {
			p.ask <- struct{}{}
			p.asked = true
		}
		if p.clock == nil {
			p.left = <-p.got
		} else {
			select {
			case p.left = <-p.got:
			case <-p.clock.C:
				p.clock = nil
				return 0, errLate
			}
		}
		p.asked = false
	}
	n := copy(b, p.left.bytes)
	p.left.bytes = p.left.bytes[n:]
	return n, nil
}

// calm ends the hurry: from now on reading waits.
func (p *patient) calm() {
	if p.clock != nil {
		p.clock.Stop()
		p.clock = nil
	}
}

// end lets the goroutine end, once its read returns. What was read before is no longer ours.
func (p *patient) end() {
	p.calm()
	close(p.ask)
}
