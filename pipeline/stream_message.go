package pipeline

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// The reasons for which the form of a stream is refused.
const (
	streamMessage   gate.Reason = "stream.message"   // a message is too large
	streamMalformed gate.Reason = "stream.malformed" // the bytes are no messages
)

func tooLarge(most int64) *violation {
	return &violation{gate.TooLarge, streamMessage, fmt.Sprintf("a message of more than %d bytes", most)}
}

// frames finds the messages of gRPC: a flag, four bytes of length, and as many bytes.
type frames struct {
	most int64
	head [5]byte
	have int   // bytes of head
	left int64 // bytes of the message that are still to come
}

func (f *frames) next(b []byte) (messages int64, v *violation) {
	for len(b) > 0 {
		if f.have < len(f.head) {
			n := copy(f.head[f.have:], b)
			b = b[n:]
			if f.have += n; f.have < len(f.head) {
				return messages, nil
			}
			f.left = int64(binary.BigEndian.Uint32(f.head[1:]))
			if f.head[0] > 1 {
				return messages, &violation{gate.BadRequest, streamMalformed, fmt.Sprintf("flag %#x before a message", f.head[0])}
			}
			if f.left > f.most {
				return messages, tooLarge(f.most)
			}
		}
		n := min(f.left, int64(len(b)))
		b = b[n:]
		if f.left -= n; f.left == 0 {
			messages++
			f.have = 0
		}
	}
	return messages, nil
}

func (f *frames) end() *violation {
	if f.have > 0 {
		return &violation{gate.BadRequest, streamMalformed, "the bytes end in a message"}
	}
	return nil
}

// messages is the body of a gRPC request on its way.
type messages struct {
	from  io.ReadCloser
	meter *meter
	frames
}

// Read gives an error instead of bytes that break a rule: the server must not see half of a message that is too large.
func (m *messages) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	if v := m.meter.take(&m.frames, p[:n]); v != nil {
		return 0, v
	}
	if err == io.EOF {
		if v := m.end(); v != nil {
			m.meter.broken.Store(v)
			return 0, v
		}
	}
	return n, err
}

func (m *messages) Close() error { return m.from.Close() }

// events finds server-sent events: lines up to an empty one. A line ends with LF, CR, or both.
type events struct {
	most  int64
	size  int64 // of the current event so far
	begun bool  // the current line has begun
	cr    bool  // the last byte was a CR
}

func (e *events) next(b []byte) (messages int64, v *violation) {
	for _, c := range b {
		cr := e.cr
		e.cr = c == '\r'
		switch {
		case c == '\n' && cr: // the second half of a line's end
			continue
		case c != '\n' && c != '\r':
			e.begun = true
			if e.size++; e.size > e.most {
				return messages, tooLarge(e.most)
			}
		case e.begun:
			e.begun = false
			if e.size++; e.size > e.most {
				return messages, tooLarge(e.most)
			}
		default:
			if e.size > 0 {
				messages++
			}
			e.size = 0
		}
	}
	return messages, nil
}

// end is always well: a client forgets an event that is not complete.
func (e *events) end() *violation { return nil }
