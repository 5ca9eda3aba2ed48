package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Status codes of Close frames (RFC 6455 section 7.4.1) that this package or its caller sends.
const (
	Normal        = 1000
	GoingAway     = 1001
	ProtocolError = 1002
	Abnormal      = 1006 // never sent: an end that ended without a Close frame
	NotText       = 1007
	Policy        = 1008
	TooBig        = 1009
	ServerError   = 1011
)

// Side is an end of the connection.
type Side string

// The two ends.
const (
	Client Side = "client"
	Server Side = "server"
)

// Limits bound what one end may send. A zero field means its default.
type Limits struct {
	Message int64 // most bytes in a message, all its fragments together; default 1 MiB
	Frames  int   // most fragments of a message; default 1024
}

func (l Limits) withDefaults() Limits {
	if l.Message <= 0 {
		l.Message = 1 << 20
	}
	if l.Frames <= 0 {
		l.Frames = 1024
	}
	return l
}

// Violation is a rule that an end has broken, and the status with which it is told so.
type Violation struct {
	By     Side
	Code   int
	Detail string
}

// Error makes a violation an error.
func (v *Violation) Error() string {
	return fmt.Sprintf("websocket %d from %s: %s", v.Code, v.By, v.Detail)
}

// The opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// longestControl is the most bytes of a control frame's payload, and longestHead of a frame's head.
const (
	longestControl = 125
	longestHead    = 14
)

// Parser reads the frames that one end sends. It holds no message: of what has passed it remembers only where it is.
type Parser struct {
	by     Side
	limits Limits

	left   int64 // bytes of the current frame's payload that are still to come
	final  bool  // the current frame ends its message
	text   bool  // the current message is text
	masked bool
	key    [4]byte
	at     int // position in the mask

	open   bool  // a message has begun and is not ended
	size   int64 // its bytes so far, the current frame's included
	frames int   // its frames so far
	tail   []byte
	tally  Tally
	ended  bool
	code   int
}

// Tally is what an end has sent.
type Tally struct {
	Messages int64 // whole ones
	Bytes    int64 // of their payload, begun ones included
}

// NewParser makes a parser for what an end sends.
func NewParser(by Side, l Limits) *Parser {
	return &Parser{by: by, limits: l.withDefaults(), tail: make([]byte, 0, utf8.UTFMax)}
}

// Tally is what has come so far.
func (p *Parser) Tally() Tally { return p.tally }

// Between tells that everything that was allowed to pass ends with a frame, so that another frame may follow it.
func (p *Parser) Between() bool { return p.left == 0 }

// Ended tells that a Close frame has passed, and its status: 1005 when it named none.
func (p *Parser) Ended() (code int, ended bool) { return p.code, p.ended }

// Advance looks at the next bytes. The first n of them may pass; the rest, fewer than 140, are a head or a control frame
// that is not complete, and are to be shown again with what follows. What comes after a Close frame never passes.
func (p *Parser) Advance(b []byte) (n int, v *Violation) {
	for n < len(b) && !p.ended {
		if p.left > 0 {
			size := int(min(p.left, int64(len(b)-n)))
			if v := p.payload(b[n : n+size]); v != nil {
				return n, v
			}
			n += size
			continue
		}
		size, v := p.frame(b[n:])
		if v != nil {
			return n, v
		}
		if size == 0 {
			return n, nil
		}
		n += size
	}
	return n, nil
}

// payload takes bytes of the current frame.
func (p *Parser) payload(b []byte) *Violation {
	p.left -= int64(len(b))
	p.tally.Bytes += int64(len(b))
	if p.text && !p.textual(b) {
		return p.violation(NotText, "text that is not UTF-8")
	}
	if p.left == 0 {
		return p.endFrame()
	}
	return nil
}

func (p *Parser) endFrame() *Violation {
	if !p.final {
		return nil
	}
	if len(p.tail) > 0 {
		return p.violation(NotText, "text that ends inside a character")
	}
	p.tally.Messages++
	p.open, p.size, p.frames = false, 0, 0
	return nil
}

// textual unmasks a copy, piece by piece, and looks for what is not UTF-8. A character may stand across pieces and frames.
func (p *Parser) textual(b []byte) bool {
	var room [512]byte
	for len(b) > 0 {
		piece := append(room[:0], p.tail...)
		size := min(len(b), len(room)-len(piece))
		piece = append(piece, b[:size]...)
		p.unmask(piece[len(p.tail):])
		b = b[size:]
		whole := len(piece)
		for i := 1; i < utf8.UTFMax && i <= len(piece); i++ {
			if start := len(piece) - i; utf8.RuneStart(piece[start]) {
				if !utf8.FullRune(piece[start:]) {
					whole = start
				}
				break
			}
		}
		if !utf8.Valid(piece[:whole]) {
			return false
		}
		p.tail = append(p.tail[:0], piece[whole:]...)
	}
	return true
}

func (p *Parser) unmask(b []byte) {
	if !p.masked {
		return
	}
	for i := range b {
		b[i] ^= p.key[p.at&3]
		p.at++
	}
}

// head is the beginning of a frame.
type head struct {
	final  bool
	opcode byte
	masked bool
	length int64
	size   int // bytes of the head itself
}

// frame reads a head, and the whole frame when it is a control frame. It gives 0 when that is not complete yet.
func (p *Parser) frame(b []byte) (int, *Violation) {
	h, v := p.head(b)
	if v != nil || h.size == 0 {
		return 0, v
	}
	if h.opcode&0x8 != 0 {
		if int64(len(b)-h.size) < h.length {
			return 0, nil
		}
		payload := b[h.size : h.size+int(h.length)]
		if h.opcode == opClose {
			if v := p.closing(unmasked(payload, h.masked, b[:h.size])); v != nil {
				return 0, v
			}
		}
		return h.size + len(payload), nil
	}
	if v := p.data(h); v != nil {
		return 0, v
	}
	if h.masked {
		copy(p.key[:], b[h.size-4:])
	}
	p.left, p.final, p.masked, p.at = h.length, h.final, h.masked, 0
	if h.length == 0 {
		return h.size, p.endFrame()
	}
	return h.size, nil
}

// head reads the head of a frame; its size is 0 when it is not complete.
func (p *Parser) head(b []byte) (h head, v *Violation) {
	if len(b) < 2 {
		return head{}, nil
	}
	h = head{final: b[0]&0x80 != 0, opcode: b[0] & 0xF, masked: b[1]&0x80 != 0}
	size, short := 2, int64(b[1]&0x7F)
	switch {
	case b[0]&0x70 != 0:
		return head{}, p.violation(ProtocolError, "reserved bits, which belong to an extension that nobody agreed to")
	case h.masked != (p.by == Client):
		return head{}, p.violation(ProtocolError, "a client masks its frames, a server does not")
	case h.opcode > opPong || h.opcode > opBinary && h.opcode < opClose:
		return head{}, p.violation(ProtocolError, "opcode %#x", h.opcode)
	case h.opcode&0x8 != 0 && (!h.final || short > longestControl):
		return head{}, p.violation(ProtocolError, "a control frame that is long or in fragments")
	}
	h.length = short
	switch short {
	case 126:
		size += 2
		if len(b) < size {
			return head{}, nil
		}
		if h.length = int64(binary.BigEndian.Uint16(b[2:])); h.length < 126 {
			return head{}, p.violation(ProtocolError, "a length that is written longer than it is")
		}
	case 127:
		size += 8
		if len(b) < size {
			return head{}, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long>>63 != 0 || long < 1<<16 {
			return head{}, p.violation(ProtocolError, "a length that is written longer than it is, or with its first bit set")
		}
		h.length = int64(long)
	}
	if h.masked {
		size += 4
	}
	if len(b) < size {
		return head{}, nil
	}
	h.size = size
	return h, nil
}

// data judges the head of a data frame by the message that it belongs to.
func (p *Parser) data(h head) *Violation {
	switch {
	case h.opcode == opContinuation && !p.open:
		return p.violation(ProtocolError, "a continuation of nothing")
	case h.opcode != opContinuation && p.open:
		return p.violation(ProtocolError, "a message inside another")
	case h.length > p.limits.Message-p.size:
		return p.violation(TooBig, "a message of more than %d bytes", p.limits.Message)
	case p.frames == p.limits.Frames:
		return p.violation(TooBig, "a message of more than %d fragments", p.limits.Frames)
	}
	if h.opcode != opContinuation {
		p.text = h.opcode == opText
	}
	p.open = true
	p.size += h.length
	p.frames++
	return nil
}

// closing reads a Close frame: nothing, or a status and a text.
func (p *Parser) closing(body []byte) *Violation {
	p.code = 1005
	switch {
	case len(body) == 1:
		return p.violation(ProtocolError, "a Close frame with half a status")
	case len(body) >= 2:
		p.code = int(binary.BigEndian.Uint16(body))
		if !sendable(p.code) {
			return p.violation(ProtocolError, "a Close frame with status %d", p.code)
		}
		if !utf8.Valid(body[2:]) {
			return p.violation(NotText, "a Close frame whose text is not UTF-8")
		}
	}
	p.ended = true
	return nil
}

// unmasked is a copy of a short payload as it was meant.
func unmasked(payload []byte, masked bool, head []byte) []byte {
	plain := append(make([]byte, 0, longestControl), payload...)
	if masked {
		key := head[len(head)-4:]
		for i := range plain {
			plain[i] ^= key[i&3]
		}
	}
	return plain
}

// sendable tells that a status may stand in a Close frame (RFC 6455 section 7.4 and the IANA registry).
func sendable(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

func (p *Parser) violation(code int, format string, args ...any) *Violation {
	return &Violation{By: p.by, Code: code, Detail: fmt.Sprintf(format, args...)}
}
