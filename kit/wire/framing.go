package wire

import "bytes"

// framing collects the fields of a head that decide where its body ends. Used for requests, responses and what we send ourselves.
type framing struct {
	length    int64 // -1 without Content-Length
	chunked   bool
	encodings int // Transfer-Encoding fields seen
}

// note looks at one field. raw is the whole line: a tab around the value of a framing field is refused, servers differ on it (C6).
func (f *framing) note(fd field, raw []byte, at int) *fault {
	switch {
	case len(fd.name) == 14 && equalFold(fd.name, "content-length"):
		if f.length >= 0 {
			return &fault{reasonLengthTwice, at, "a second Content-Length"}
		}
		n, ok := parseLength(fd.value)
		if !ok || bytes.IndexByte(raw, '\t') >= 0 {
			return &fault{reasonLength, at, "Content-Length is not a plain decimal number"}
		}
		f.length = n
	case len(fd.name) == 17 && equalFold(fd.name, "transfer-encoding"):
		if f.encodings++; f.encodings > 1 {
			return &fault{reasonEncodingTwice, at, "a second Transfer-Encoding"}
		}
		if bytes.IndexByte(raw, '\t') >= 0 {
			return &fault{reasonEncoding, at, "a tab around the transfer encoding"}
		}
		if !equalFold(fd.value, "chunked") {
			return &fault{reasonEncodingUnknown, at, "a transfer encoding other than exactly chunked"}
		}
		f.chunked = true
	}
	return nil
}

// check refuses combinations, at the end of the head.
func (f *framing) check(at int, http10 bool) *fault {
	if f.encodings > 0 && f.length >= 0 {
		return &fault{reasonLengthAndChunks, at, "Content-Length together with Transfer-Encoding"}
	}
	if f.encodings > 0 && http10 {
		return &fault{reasonEncoding10, at, "Transfer-Encoding in an HTTP/1.0 message"}
	}
	return nil
}

// bodyState is where a message stands after its head.
type bodyState uint8

const (
	bodyDone bodyState = iota // no body, or all of it was seen
	bodyLength
	bodyChunkLine
	bodyChunkData
	bodyChunkEnd
	bodyTrailer
	bodyUntilClose // responses only: everything up to the end of the connection
)

const (
	maxTrailer  = 2 << 10  // bytes of a trailer section; net/http can't read more than 4 KiB
	maxOverhead = 16 << 10 // bytes that chunk framing may exceed data by; net/http gives up at the same point
	maxChunk    = 16       // hexadecimal digits of a chunk size
)

// body follows one message body to its end.
type body struct {
	state    bodyState
	left     int64 // bytes of the length or of the chunk
	overhead int64 // chunk framing not outweighed by data
	trailer  int   // bytes of trailer section so far
	fields   int   // fields of trailer section so far

	maxFields int
	allowed   func(lower string) bool // nil allows every field that does not speak of framing
}

// begin starts the body that f describes.
func (b *body) begin(f *framing) {
	b.overhead, b.trailer, b.fields = 0, 0, 0
	switch {
	case f.chunked:
		b.state = bodyChunkLine
	case f.length > 0:
		b.state, b.left = bodyLength, f.length
	default:
		b.state = bodyDone
	}
}

// step understands as much of buf as belongs to the body and has arrived. It returns when it needs more or the body is done.
func (b *body) step(c *cursor, buf []byte) *fault {
	for {
		switch b.state {
		case bodyDone:
			return nil
		case bodyLength, bodyChunkData:
			if c.at == len(buf) {
				return nil
			}
			n := min(int64(len(buf)-c.at), b.left)
			b.left -= n
			c.at += int(n)
			c.look, c.done = c.at, c.at
			if b.left > 0 {
				return nil
			}
			if b.state == bodyChunkData {
				b.state = bodyChunkEnd
			} else {
				b.state = bodyDone
			}
		case bodyUntilClose:
			c.at, c.look, c.done = len(buf), len(buf), len(buf)
			return nil
		case bodyChunkEnd:
			if f, more := b.chunkEnd(c, buf); f != nil || more {
				return f
			}
		case bodyChunkLine:
			if f, more := b.chunkLine(c, buf); f != nil || more {
				return f
			}
		case bodyTrailer:
			if f, more := b.trailerLine(c, buf); f != nil || more {
				return f
			}
		}
	}
}

// chunkEnd reads the CRLF behind the data of a chunk.
func (b *body) chunkEnd(c *cursor, buf []byte) (f *fault, more bool) {
	rest := buf[c.at:]
	if len(rest) > 0 && rest[0] != '\r' {
		if rest[0] == '\n' {
			return &fault{reasonBareLF, c.at, "LF without CR behind the data of a chunk"}, false
		}
		return &fault{reasonChunkEnd, c.at, "the data of a chunk is longer than its size"}, false
	}
	if len(rest) < 2 {
		return nil, true
	}
	if rest[1] != '\n' {
		return &fault{reasonBareCR, c.at, "CR without LF behind the data of a chunk"}, false
	}
	c.at += 2
	c.look, c.done = c.at, c.at
	b.state = bodyChunkLine
	return nil, false
}

// chunkLine reads "size CRLF": hexadecimal digits and nothing else. Extensions are legal (RFC 9112 section 7.1.1), unused, and the
// favourite hiding place of smuggled requests (C9): refused.
func (b *body) chunkLine(c *cursor, buf []byte) (f *fault, more bool) {
	start := c.at
	line := buf[start:]
	n := firstNot(line, isHex)
	switch {
	case n < 0 && len(line) > maxChunk, n > maxChunk:
		return &fault{reasonChunkSize, start, "a chunk size of more than 16 digits"}, false
	case n < 0:
		return nil, true
	case line[n] == ';' || line[n] == ' ' || line[n] == '\t':
		return &fault{reasonChunkExtension, start + n, "something behind a chunk size"}, false
	case line[n] == '\n':
		return &fault{reasonBareLF, start + n, "a chunk line ends in LF without CR"}, false
	case n == 0 || line[n] != '\r':
		return &fault{reasonChunkSize, start + n, "a chunk size that is not hexadecimal"}, false
	case n+1 == len(line):
		return nil, true
	case line[n+1] != '\n':
		return &fault{reasonBareCR, start + n, "CR without LF in a chunk line"}, false
	}
	size, ok := parseHex(line[:n])
	if !ok {
		return &fault{reasonChunkSize, start, "a chunk of 2^60 bytes or more"}, false
	}
	b.overhead = max(0, b.overhead+int64(n)+2-16-2*size)
	if b.overhead > maxOverhead {
		return &fault{reasonChunkOverhead, start, "far more chunk framing than data"}, false
	}
	c.at += n + 2
	c.look, c.done = c.at, c.at
	b.left = size
	b.state = bodyChunkData
	if size == 0 {
		b.state = bodyTrailer
	}
	return nil, false
}

// trailerLine reads one line of the trailer section. The section is handed on only as a whole.
func (b *body) trailerLine(c *cursor, buf []byte) (f *fault, more bool) {
	start := c.at
	if len(buf)-start+b.trailer > maxTrailer {
		buf = buf[:start+maxTrailer-b.trailer]
	}
	line, ok, f := c.line(buf)
	if f != nil {
		return f, false
	}
	if !ok {
		if len(buf)-start+b.trailer >= maxTrailer {
			return &fault{reasonTrailerSize, start, "a trailer section of more than 2 KiB"}, false
		}
		return nil, true
	}
	b.trailer += len(line) + 2
	if len(line) == 0 {
		c.done = c.at
		b.state = bodyDone
		return nil, false
	}
	fd, f := parseField(line, start)
	if f != nil {
		return f, false
	}
	if b.fields++; b.fields > b.maxFields {
		return &fault{reasonTrailerSize, start, "too many trailer fields"}, false
	}
	if !b.allows(fd.name) {
		return &fault{reasonTrailer, start, "a trailer field that is not on the allow list"}, false
	}
	return nil, false
}

// allows reports whether a trailer field may pass. Fields that speak of framing never may.
func (b *body) allows(name []byte) bool {
	if equalFold(name, "content-length") || equalFold(name, "transfer-encoding") || equalFold(name, "trailer") || equalFold(name, "host") {
		return false
	}
	return b.allowed == nil || b.allowed(string(bytes.ToLower(name)))
}

// parseHex reads a chunk size below 2^60, so that no sum of ours or of net/http overflows.
func parseHex(digits []byte) (int64, bool) {
	var n int64
	for _, c := range digits {
		switch {
		case c <= '9':
			c -= '0'
		case c >= 'a':
			c -= 'a' - 10
		default:
			c -= 'A' - 10
		}
		if n >= 1<<56 {
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}
