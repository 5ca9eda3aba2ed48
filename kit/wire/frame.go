package wire

import "encoding/binary"

// The frame types of RFC 9113 section 6 that matter here.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
)

const (
	flagEndStream = 0x1
	flagPadded    = 0x8

	frameHead     = 9  // bytes in front of every payload
	prefaceLength = 24 // bytes in front of a client's first frame

	enhanceYourCalm = 0xb // RFC 9113 section 7
)

// frame is what is read of one frame: its head and the first bytes of its payload where they mean something to us.
type frame struct {
	length int
	kind   byte
	flags  byte
	stream uint32
	first  [4]byte // RST_STREAM: the error code; padded DATA: first[0] is the pad length
}

// ends reports END_STREAM, which only DATA and HEADERS have.
func (f *frame) ends() bool {
	return f.flags&flagEndStream != 0 && (f.kind == frameData || f.kind == frameHeaders)
}

// empty reports a DATA frame that brings nothing: no bytes, or only padding.
func (f *frame) empty() bool {
	if f.flags&flagPadded != 0 && f.length > 0 {
		return f.length-1 <= int(f.first[0])
	}
	return f.length == 0
}

// wanted is how many payload bytes belong to first.
func (f *frame) wanted() int {
	switch {
	case f.kind == frameReset:
		return min(4, f.length)
	case f.kind == frameData && f.flags&flagPadded != 0:
		return min(1, f.length)
	}
	return 0
}

// frameScanner finds the frames in a stream of bytes that comes in any pieces. It keeps 13 bytes, never a payload.
type frameScanner struct {
	skip  int // bytes to pass over: the preface, then the rest of a payload
	have  int // bytes of head and first that were seen
	bytes [frameHead + 4]byte
}

// boundary reports whether the next byte begins a frame.
func (s *frameScanner) boundary() bool { return s.skip == 0 && s.have == 0 }

// next returns the next frame that begins in b, as soon as enough of it is seen, and the bytes that follow. Without one it has passed
// over all of b.
func (s *frameScanner) next(b []byte) (f frame, ok bool, rest []byte) {
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			s.skip -= n
			b = b[n:]
			continue
		}
		need := frameHead
		if s.have >= frameHead {
			f = s.parse()
			need += f.wanted()
		}
		n := copy(s.bytes[s.have:need], b)
		s.have += n
		b = b[n:]
		if s.have < frameHead {
			continue
		}
		f = s.parse()
		if s.have == frameHead+f.wanted() {
			s.skip = f.length - f.wanted()
			s.have = 0
			return f, true, b
		}
	}
	return frame{}, false, nil
}

// parse reads what has been collected.
func (s *frameScanner) parse() frame {
	f := frame{
		length: int(s.bytes[0])<<16 | int(s.bytes[1])<<8 | int(s.bytes[2]),
		kind:   s.bytes[3],
		flags:  s.bytes[4],
		stream: binary.BigEndian.Uint32(s.bytes[5:9]) & (1<<31 - 1),
	}
	copy(f.first[:], s.bytes[frameHead:])
	return f
}

// goAway is the frame that tells a client it has asked for too much.
func goAway(lastStream uint32) []byte {
	b := make([]byte, frameHead+8)
	b[2], b[3] = 8, frameGoAway
	binary.BigEndian.PutUint32(b[frameHead:], lastStream)
	binary.BigEndian.PutUint32(b[frameHead+4:], enhanceYourCalm)
	return b
}
