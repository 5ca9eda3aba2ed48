package websocket

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"
)

// frame writes a frame as an end would, with whatever the first byte says.
func frame(first byte, masked bool, payload string) []byte {
	b := []byte{first, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	key := []byte{1, 2, 3, 250}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 200)
	huge := strings.Repeat("y", 70_000)
	for _, c := range []struct {
		name     string
		by       Side
		in       []byte
		code     int // of the violation, 0 for none
		messages int64
		end      int // status of the Close frame that passed, 0 for none
	}{
		{"text", Client, frame(0x81, true, "héllo"), 0, 1, 0},
		{"text of a server", Server, frame(0x81, false, "héllo"), 0, 1, 0},
		{"binary", Client, frame(0x82, true, "\xff\x00"), 0, 1, 0},
		{"16 bits of length", Client, frame(0x82, true, long), 0, 1, 0},
		{"64 bits of length", Server, frame(0x82, false, huge), 0, 1, 0},
		{"empty", Client, frame(0x81, true, ""), 0, 1, 0},
		{"fragments", Client, join(frame(0x01, true, "a"), frame(0x00, true, "b"), frame(0x80, true, "c")), 0, 1, 0},
		{"ping between fragments", Client, join(frame(0x01, true, "a"), frame(0x89, true, "p"), frame(0x80, true, "c")), 0, 1, 0},
		{"a character across fragments", Client, join(frame(0x01, true, "h\xc3"), frame(0x80, true, "\xa9")), 0, 1, 0},
		{"pong", Server, frame(0x8A, false, strings.Repeat("p", 125)), 0, 0, 0},
		{"close", Client, frame(0x88, true, "\x03\xe8bye"), 0, 0, 1000},
		{"close of an application", Client, frame(0x88, true, "\x0b\xb8"), 0, 0, 3000},
		{"close without status", Client, frame(0x88, true, ""), 0, 0, 1005},
		{"nothing passes behind a close", Client, join(frame(0x88, true, ""), frame(0xF1, false, "x")), 0, 0, 1005},

		{"D18 unmasked frame of a client", Client, frame(0x81, false, "a"), ProtocolError, 0, 0},
		{"C18 a request of HTTP instead of a frame", Client, []byte("GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"), ProtocolError, 0, 0},
		{"masked frame of a server", Server, frame(0x81, true, "a"), ProtocolError, 0, 0},
		{"D18 compressed", Client, frame(0xC1, true, "a"), ProtocolError, 0, 0},
		{"reserved bit 2", Client, frame(0xA1, true, "a"), ProtocolError, 0, 0},
		{"reserved bit 3", Client, frame(0x91, true, "a"), ProtocolError, 0, 0},
		{"opcode 3", Client, frame(0x83, true, "a"), ProtocolError, 0, 0},
		{"opcode 11", Client, frame(0x8B, true, "a"), ProtocolError, 0, 0},
		{"long ping", Client, frame(0x89, true, strings.Repeat("p", 126)), ProtocolError, 0, 0},
		{"ping in fragments", Client, frame(0x09, true, "p"), ProtocolError, 0, 0},
		{"D18 length of 2^63", Client, []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0}, ProtocolError, 0, 0},
		{"D18 length of 2^63-1", Client, []byte{0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}, TooBig, 0, 0},
		{"length written too long", Client, []byte{0x82, 0xFE, 0, 5, 0, 0, 0, 0}, ProtocolError, 0, 0},
		{"length written far too long", Client, []byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 1, 0}, ProtocolError, 0, 0},
		{"message too large", Client, frame(0x82, true, strings.Repeat("x", 100_001)), TooBig, 0, 0},
		{"message too large in fragments", Client, join(frame(0x02, true, huge), frame(0x80, true, huge)), TooBig, 0, 0},
		{"D18 too many fragments", Client, join(frame(0x02, true, "a"), bytes.Repeat(frame(0x00, true, ""), 8)), TooBig, 0, 0},
		{"continuation of nothing", Client, frame(0x80, true, "a"), ProtocolError, 0, 0},
		{"message in a message", Client, join(frame(0x01, true, "a"), frame(0x81, true, "b")), ProtocolError, 0, 0},
		{"no UTF-8", Client, frame(0x81, true, "a\xff"), NotText, 0, 0},
		{"a surrogate", Client, frame(0x81, true, "\xed\xa0\x80"), NotText, 0, 0},
		{"half a character at the end", Client, frame(0x81, true, "a\xc3"), NotText, 0, 0},
		{"half a character at the end of fragments", Client, join(frame(0x01, true, "a\xc3"), frame(0x80, true, "")), NotText, 0, 0},
		{"close with half a status", Client, frame(0x88, true, "\x03"), ProtocolError, 0, 0},
		{"close with a status that is never sent", Client, frame(0x88, true, "\x03\xee"), ProtocolError, 0, 0},
		{"close with text that is none", Client, frame(0x88, true, "\x03\xe8\xff"), NotText, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{len(c.in), 1, 7} {
				p := NewParser(c.by, Limits{Message: 100_000, Frames: 8})
				_, v := feed(p, c.in, step)
				code := 0
				if v != nil {
					code = v.Code
				}
				end, ended := p.Ended()
				if code != c.code || p.Tally().Messages != c.messages || end != c.end && ended || ended != (c.end != 0) {
					t.Errorf("in steps of %d: %v, %d messages, closed %d", step, v, p.Tally().Messages, end)
				}
			}
		})
	}
}

// feed shows a parser the bytes in steps, as a relay does, and gives what may pass.
func feed(p *Parser, in []byte, step int) (passed []byte, v *Violation) {
	var held []byte
	for len(in) > 0 {
		n := min(step, len(in))
		held = append(held, in[:n]...)
		in = in[n:]
		size, v := p.Advance(held)
		passed = append(passed, held[:size]...)
		held = held[size:]
		if _, ended := p.Ended(); ended || v != nil {
			return passed, v
		}
	}
	return passed, nil
}

// Whatever the pieces in which bytes come, the same bytes pass for the same reason, what passes is a beginning of what
// came, little is held back, and what passes is well-formed by a second reading.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x85abcd12345"), 3, true)
	f.Add(join(frame(0x01, true, "h\xc3"), frame(0x89, true, "p"), frame(0x80, true, "\xa9"), frame(0x88, true, "\x03\xe8")), 2, true)
	f.Add(frame(0x82, false, strings.Repeat("x", 300)), 100, false)
	f.Fuzz(func(t *testing.T, in []byte, step int, client bool) {
		if step < 1 || step > 1000 {
			return
		}
		by := Server
		if client {
			by = Client
		}
		limits := Limits{Message: 400, Frames: 4}
		whole, pieces := NewParser(by, limits), NewParser(by, limits)
		n, v := whole.Advance(in)
		passed, w := feed(pieces, in, step)
		if (v == nil) != (w == nil) || v != nil && v.Code != w.Code {
			t.Fatalf("%v at once, %v in steps of %d", v, w, step)
		}
		if !bytes.HasPrefix(in, passed) || v == nil && len(passed) != n || len(passed) < n {
			t.Fatalf("%d bytes at once, %d in steps", n, len(passed))
		}
		if _, ended := whole.Ended(); v == nil && !ended && len(in)-n >= longestControl+longestHead+1 {
			t.Fatalf("%d bytes held back", len(in)-n)
		}
		if v == nil {
			reread(t, in[:n], client, whole.Tally().Messages)
		}
	})
}

// reread is a reader of frames as simple as can be.
func reread(t *testing.T, b []byte, client bool, messages int64) {
	var text []byte
	isText, got := false, int64(0)
	for len(b) >= 2 {
		first, length, size := b[0], uint64(b[1]&0x7F), uint64(2)
		if length == 126 {
			length, size = uint64(b[2])<<8|uint64(b[3]), 4
		} else if length == 127 {
			length, size = binary.BigEndian.Uint64(b[2:]), 10
		}
		var key [4]byte
		if client {
			copy(key[:], b[size:size+4])
			size += 4
		}
		if length > 400 || first&0x70 != 0 {
			t.Fatalf("a frame of %d bytes passed", length)
		}
		if uint64(len(b)) < size+length {
			return // the last frame is on its way
		}
		for i, c := range b[size : size+length] {
			if first&8 == 0 {
				text = append(text, c^key[i&3])
			}
		}
		if first&15 == opText || first&15 == opBinary {
			isText = first&15 == opText
		}
		if first&0x88 == 0x80 {
			if got++; isText && !utf8.Valid(text) {
				t.Fatalf("%q passed as text", text)
			}
			text = nil
		}
		b = b[size+length:]
	}
	if got != messages {
		t.Fatalf("%d messages counted, %d passed", messages, got)
	}
}

func TestHandshake(t *testing.T) {
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // the example of RFC 6455 section 1.3
		t.Error(got)
	}
}
