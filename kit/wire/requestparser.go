package wire

import "bytes"

// requestHead is what is known of the head being read.
type requestHead struct {
	framing
	started   bool // its first line was understood
	http10    bool
	absolute  bool   // the target is in absolute form and authority holds its host
	continues bool   // Expect: 100-continue: the body comes only after an interim answer
	upgrade   bool   // asks for another protocol
	hosts     int    // Host fields
	fields    int    // all fields
	authority []byte // of an absolute-form target, then compared with Host; reused
	host      []byte // reused
}

// reset prepares for the next head and keeps the buffers.
func (h *requestHead) reset() {
	*h = requestHead{framing: framing{length: -1}, authority: h.authority[:0], host: h.host[:0]}
}

// stage is what the parser expects next.
type stage uint8

const (
	stageHead       stage = iota // a head, or more of it
	stageFirstChunk              // the head is complete and held until the first chunk line is
	stageBody                    // the head was handed on
)

// requestParser understands the bytes of one client connection, in order. It holds no bytes itself: the caller shows it all that
// arrived and was not handed on, and learns how many may now be handed on.
type requestParser struct {
	cursor
	limits Limits
	head   requestHead
	body   body
	stage  stage
	start  int  // where the current head begins, relative like the cursor
	more   bool // advance stopped at the end of a message although bytes follow
	last   bool // a request with Upgrade was handed on completely: what follows is not HTTP until the handler says so
	heads  int  // heads handed on

	observer observer // nil on the client's side
}

// observer is told what is needed to read the answers to requests that we send ourselves.
type observer interface {
	requestBegun(method []byte)
	upgradeAsked()
}

func newRequestParser(limits Limits) requestParser {
	p := requestParser{limits: limits}
	p.head.reset()
	p.body.maxFields = limits.Fields
	p.body.allowed = limits.Trailers
	return p
}

// advance understands as much of b as it can, up to the end of one message, and returns how many leading bytes may be handed on. With
// a refusal, nothing behind those bytes ever may. b must begin with the first byte not yet handed on, and hold all that was there the
// last time. It stops at the end of a message because the engine reads ahead by one byte: were more handed on at once, an error in
// the second body would be read while the first handler runs.
func (p *requestParser) advance(b []byte) (clear int, refusal *Refusal) {
	f := p.walk(b)
	if f != nil {
		refusal = refuse(f.reason, p.base+int64(f.at), f.detail)
	}
	clear = p.rebase()
	p.start -= clear
	return clear, refusal
}

func (p *requestParser) walk(b []byte) *fault {
	p.more = false
	for !p.last {
		switch p.stage {
		case stageHead:
			if p.at == len(b) && !p.head.started {
				return nil
			}
			if done, f := p.headLine(b); f != nil || !done {
				return f
			}
		case stageFirstChunk:
			if f, more := p.body.chunkLine(&p.cursor, b); f != nil || more {
				return f
			}
			p.handOn()
		case stageBody:
			if f := p.body.step(&p.cursor, b); f != nil {
				return f
			}
			if p.body.state != bodyDone {
				return nil
			}
			p.last = p.head.upgrade
			p.stage, p.start = stageHead, p.at
			p.head.reset()
			p.more = p.at < len(b) && !p.last
			return nil
		}
	}
	return nil
}

// handOn lets the head go. For a chunked body that is only after its first chunk line, so that a request whose body can't be framed
// never reaches the handler.
func (p *requestParser) handOn() {
	p.done = p.at
	p.heads++
	p.stage = stageBody
}

// headLine reads one line of the head; done means the line was there.
func (p *requestParser) headLine(b []byte) (done bool, f *fault) {
	at := p.at
	line, ok, f := p.line(b)
	if f != nil {
		return false, f
	}
	if !ok {
		return false, p.checkPartial(b)
	}
	if p.at-p.start > p.limits.HeadBytes {
		return false, p.tooLarge(at)
	}
	switch {
	case !p.head.started:
		if len(line) == 0 {
			return false, &fault{reasonEmptyLine, at, "an empty line where a request should begin"}
		}
		p.head.started = true
		return true, p.parseRequestLine(line, at)
	case len(line) == 0:
		return true, p.endHead(at)
	}
	return true, p.field(line, at)
}

// checkPartial refuses what can't become valid any more, so that nobody waits for the end of it.
func (p *requestParser) checkPartial(b []byte) *fault {
	if !p.head.started {
		first := b[p.start]
		switch {
		case first == '\r':
			return &fault{reasonEmptyLine, p.start, "an empty line where a request should begin"}
		case classes[first]&isMethod == 0:
			return &fault{nameThe(first, reasonMethod), p.start, "a request that does not begin with an upper-case letter"}
		case len(b)-p.start > maxMethod+p.limits.TargetBytes+len("  HTTP/1.1\r"):
			return &fault{reasonTargetLength, p.start, "a longer request target than allowed"}
		}
	}
	if len(b)-p.start >= p.limits.HeadBytes {
		return p.tooLarge(p.start + p.limits.HeadBytes)
	}
	return nil
}

func (p *requestParser) tooLarge(at int) *fault {
	return &fault{reasonHeadSize, at, "a larger request head than allowed"}
}

// field checks one field line and remembers what the end of the head needs.
func (p *requestParser) field(line []byte, at int) *fault {
	if p.head.fields++; p.head.fields > p.limits.Fields {
		return &fault{reasonFieldCount, at, "more fields than allowed"}
	}
	fd, f := parseField(line, at)
	if f != nil {
		return f
	}
	switch len(fd.name) {
	case 4:
		if equalFold(fd.name, "host") {
			return p.hostField(fd, at)
		}
	case 6:
		if equalFold(fd.name, "expect") {
			if p.head.continues || !equalFold(fd.value, "100-continue") {
				return &fault{reasonExpect, at, "an expectation other than one 100-continue"}
			}
			p.head.continues = true
		}
	case 7:
		if equalFold(fd.name, "upgrade") {
			p.head.upgrade = true
			if p.observer != nil {
				p.head.upgrade = false // not the client's side: the answer decides
				p.observer.upgradeAsked()
			}
		} else if equalFold(fd.name, "trailer") {
			return p.trailerField(fd, at)
		}
	case 14, 17:
		return p.head.note(fd, line, at)
	}
	return nil
}

// hostField takes the one Host field.
func (p *requestParser) hostField(fd field, at int) *fault {
	if p.head.hosts++; p.head.hosts > 1 {
		return &fault{reasonHostTwice, at, "a second Host field"}
	}
	if f := checkAuthority(fd.value, at); f != nil {
		return f
	}
	if p.head.absolute {
		p.head.host = append(p.head.host[:0], fd.value...)
	}
	return nil
}

// trailerField refuses the announcement of trailer fields that would not be let through (B10).
func (p *requestParser) trailerField(fd field, at int) *fault {
	for name := range bytes.SplitSeq(fd.value, []byte{','}) {
		name = trim(name)
		if len(name) == 0 || firstNot(name, isToken) >= 0 || !p.body.allows(name) {
			return &fault{reasonTrailer, at, "an announced trailer field that is not on the allow list"}
		}
	}
	return nil
}

// endHead checks what only the whole head can show, and begins the body.
func (p *requestParser) endHead(at int) *fault {
	if p.head.hosts == 0 {
		return &fault{reasonHostMissing, at, "no Host field"}
	}
	if p.head.absolute && !equalHosts(p.head.authority, p.head.host) {
		return &fault{reasonHostMismatch, at, "Host differs from the host of the request target"}
	}
	if f := p.head.check(at, p.head.http10); f != nil {
		return f
	}
	p.body.begin(&p.head.framing)
	if p.body.state == bodyChunkLine && !p.head.continues { // who awaits 100 Continue sends the chunk line only after it
		p.stage = stageFirstChunk
		return nil
	}
	p.handOn()
	return nil
}

// appetite is how much may be read at once into the engine's own buffer: a head may follow, or a known stretch of body.
func (p *requestParser) appetite() int {
	if p.stage == stageBody && (p.body.state == bodyLength || p.body.state == bodyChunkData) && p.body.left > readSize {
		return int(min(p.body.left, 1<<20))
	}
	return readSize
}
