package wire

// responseHead is what is known of the head being read.
type responseHead struct {
	framing
	started bool
	http10  bool
	status  int
	fields  int
}

// question is a request that was sent and is not answered yet.
type question struct {
	head    bool // HEAD: the answer has no body whatever its fields say
	upgrade bool // the answer may be 101
}

// responseParser understands the bytes of one server, like [requestParser] those of a client.
type responseParser struct {
	cursor
	limits        ResponseLimits
	head          responseHead
	body          body
	start         int  // where the current head begins
	inBody        bool // the head was handed on
	informational int  // responses below 200 to the current question
	tunnel        bool // 101 was handed on: what follows is not HTTP
}

func newResponseParser(limits ResponseLimits) responseParser {
	p := responseParser{limits: limits}
	p.head.length = -1
	p.body.maxFields = limits.Fields
	return p
}

// advance understands as much of b as it can, with asked as the questions that await answers, oldest first. It returns how many
// leading bytes may be handed on and how many questions are answered.
func (p *responseParser) advance(b []byte, asked []question) (clear, answered int, refusal *Refusal) {
	answered, f := p.walk(b, asked)
	if f != nil {
		refusal = &Refusal{Reason: f.reason, Status: 502, Detail: f.detail, Offset: p.base + int64(f.at)}
	}
	clear = p.rebase()
	p.start -= clear
	return clear, answered, refusal
}

func (p *responseParser) walk(b []byte, asked []question) (answered int, f *fault) {
	for !p.tunnel {
		if p.inBody {
			if f := p.body.step(&p.cursor, b); f != nil || p.body.state != bodyDone {
				return answered, f
			}
			p.inBody = false
			p.start = p.at
			p.head = responseHead{framing: framing{length: -1}}
			continue
		}
		if p.at == len(b) && !p.head.started {
			return answered, nil
		}
		if answered == len(asked) {
			return answered, &fault{reasonResponseEarly, p.at, "bytes from the server that no request asked for"}
		}
		done, ended, f := p.headLine(b)
		if f != nil || !done {
			return answered, f
		}
		if !ended {
			continue
		}
		final, f := p.endHead(asked[answered])
		if f != nil {
			return answered, f
		}
		if final {
			answered++
		}
	}
	p.at, p.look, p.done = len(b), len(b), len(b)
	return answered, nil
}

// headLine reads one line of the head; done means it was there, ended that it was the empty one.
func (p *responseParser) headLine(b []byte) (done, ended bool, f *fault) {
	at := p.at
	line, ok, f := p.line(b)
	if f != nil {
		return false, false, f
	}
	if (ok && p.at-p.start > p.limits.HeadBytes) || (!ok && len(b)-p.start >= p.limits.HeadBytes) {
		return false, false, &fault{reasonHeadSize, p.start, "a larger response head than allowed"}
	}
	switch {
	case !ok:
		return false, false, nil
	case !p.head.started:
		p.head.started = true
		return true, false, p.statusLine(line, at)
	case len(line) == 0:
		return true, true, nil
	}
	if p.head.fields++; p.head.fields > p.limits.Fields {
		return false, false, &fault{reasonFieldCount, at, "more response fields than allowed"}
	}
	fd, f := parseField(line, at)
	if f == nil {
		f = p.head.note(fd, line, at)
	}
	return true, false, f
}

// statusLine checks "HTTP/1.x SP 3DIGIT [SP reason]" (RFC 9112 section 4). Servers that leave out the last space are common and
// harmless.
func (p *responseParser) statusLine(line []byte, at int) *fault {
	bad := &fault{reasonResponseStatus, at, "not an HTTP/1.1 status line"}
	if len(line) < 12 || (len(line) > 12 && line[12] != ' ') || line[8] != ' ' {
		return bad
	}
	switch string(line[:8]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		p.head.http10 = true
	default:
		return bad
	}
	for _, c := range line[9:12] {
		if !isDigit(c) {
			return bad
		}
		p.head.status = p.head.status*10 + int(c-'0')
	}
	if p.head.status < 100 || p.head.status > 599 {
		return bad
	}
	if i := firstNot(line, isValue); i >= 0 {
		return &fault{nameThe(line[i], reasonResponseStatus), at + i, "a control byte in a status line"}
	}
	return nil
}

// endHead decides what follows the head (RFC 9112 section 6.3); final means the question is answered.
func (p *responseParser) endHead(q question) (final bool, f *fault) {
	if f := p.head.check(p.start, p.head.http10); f != nil {
		return false, f
	}
	framed := p.head.chunked || p.head.length > 0
	switch status := p.head.status; {
	case status == 101:
		if !q.upgrade || framed {
			return false, &fault{reasonResponseSwitching, p.start, "101 to a request that did not ask for an upgrade"}
		}
		p.tunnel = true
		return true, nil
	case status < 200:
		if framed {
			return false, &fault{reasonResponseNoBody, p.start, "an informational response with a body"}
		}
		if p.informational++; p.informational > p.limits.Informational {
			return false, &fault{reasonResponseInfo, p.start, "too many informational responses"}
		}
		p.handOn(framing{length: -1})
		return false, nil
	case status == 204 && framed:
		return false, &fault{reasonResponseNoBody, p.start, "a body where the status 204 allows none"}
	case q.head || status == 204 || status == 304:
		p.handOn(framing{length: -1})
	case !p.head.chunked && p.head.length < 0:
		p.handOn(framing{length: -1})
		p.body.state = bodyUntilClose
	default:
		p.handOn(p.head.framing)
	}
	p.informational = 0
	return true, nil
}

// handOn lets the head go and begins the body that fr describes.
func (p *responseParser) handOn(fr framing) {
	p.done = p.at
	p.inBody = true
	p.body.begin(&fr)
}

// appetite is how much may be read at once into the caller's own buffer.
func (p *responseParser) appetite() int {
	if p.tunnel || (p.inBody && p.body.state == bodyUntilClose) {
		return 1 << 20
	}
	if p.inBody && (p.body.state == bodyLength || p.body.state == bodyChunkData) && p.body.left > readSize {
		return int(min(p.body.left, 1<<20))
	}
	return readSize
}
