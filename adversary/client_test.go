package adversary

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// reply is what a client got for a request.
type reply struct {
	status  int // 0 when the connection or stream ended without an answer
	fields  http.Header
	body    string
	problem struct {
		Type, Title string
		Status      int
		Code, Event string
	}
	more   bool // another answer came on the connection after this one
	closed bool // the connection ended after the answer
	end    string
}

func (r *reply) read() {
	if strings.HasPrefix(r.fields.Get("Content-Type"), "application/problem+json") {
		_ = json.Unmarshal([]byte(r.body), &r.problem) // checked by whoever expects one
	}
}

// second is a request that must never be served when it comes behind one whose framing is refused.
const second = "GET /public/second HTTP/1.1\r\nHost: api.test\r\n\r\n"

// sendRaw sends bytes over HTTP/1.1 and reads the answer. With pipelined, a second request follows in the same write, and
// the reply tells whether it was answered.
func (g *gateway) sendRaw(t testing.TB, from, raw string, secure, pipelined bool) *reply {
	t.Helper()
	var protocols []string
	if secure {
		protocols = []string{"http/1.1"}
	}
	c, err := g.dial(from, protocols...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if pipelined {
		raw += second
	}
	return exchange(t, c, raw, pipelined)
}

// exchange writes bytes and reads an answer, and the end of the connection when toEnd.
func exchange(t testing.TB, c net.Conn, raw string, toEnd bool) *reply {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.WriteString(c, raw) }() // the answer may come before all is written
	reader := bufio.NewReader(c)
	method, _, _ := strings.Cut(raw, " ")
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err != nil {
		if timeout(err) {
			t.Fatalf("no answer and no end: %v", err)
		}
		return &reply{closed: true, end: err.Error()}
	}
	r := &reply{status: response.StatusCode, fields: response.Header}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.end = err.Error()
	}
	r.body = string(body)
	r.read()
	if toEnd {
		_, err := reader.ReadByte()
		r.more = err == nil
		r.closed = err != nil && !timeout(err)
	}
	return r
}

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// field is one field of an HTTP/2 head, sent as it stands.
type field struct{ name, value string }

// stream2 is a client that speaks HTTP/2 frame by frame.
type stream2 struct {
	conn   net.Conn
	framer *http2.Framer
	encode *hpack.Encoder
	block  bytes.Buffer
	next   uint32
	room   int // bytes that the server still takes
}

// open2 makes an HTTP/2 connection and says the preface.
func (g *gateway) open2(t testing.TB, from string) *stream2 {
	t.Helper()
	c, err := g.dial(from, "h2")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	s := &stream2{conn: c, framer: http2.NewFramer(c, c), next: 1}
	s.encode = hpack.NewEncoder(&s.block)
	s.framer.AllowIllegalWrites = true
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := s.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return s
}

// head writes a HEADERS frame on a new stream.
func (s *stream2) head(fields []field, end bool) (uint32, error) {
	id := s.next
	s.next += 2
	return id, s.fields(id, fields, end)
}

func (s *stream2) fields(id uint32, fields []field, end bool) error {
	s.block.Reset()
	for _, f := range fields {
		_ = s.encode.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}) // into a buffer
	}
	block := s.block.Bytes()
	first := block[:min(len(block), 16000)]
	rest := block[len(first):]
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0}); err != nil {
		return err
	}
	for len(rest) > 0 {
		part := rest[:min(len(rest), 16000)]
		rest = rest[len(part):]
		if err := s.framer.WriteContinuation(id, len(rest) == 0, part); err != nil {
			return err
		}
	}
	return nil
}

// answer reads frames until the stream has ended.
func (s *stream2) answer(id uint32) *reply { return s.answerOr(id, func() bool { return false }) }

// answerOr also stops, with nil, when something else that is waited for has happened.
func (s *stream2) answerOr(id uint32, enough func() bool) *reply {
	r := &reply{fields: http.Header{}}
	var body strings.Builder
	for !enough() {
		f, err := s.framer.ReadFrame()
		if err != nil {
			r.closed, r.end = true, err.Error()
			return r
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = s.framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			for _, h := range f.Fields {
				if h.Name == ":status" {
					fmt.Sscan(h.Value, &r.status)
				} else {
					r.fields.Add(h.Name, h.Value)
				}
			}
			if r.status < 200 {
				continue
			}
		case *http2.DataFrame:
			if f.StreamID == id {
				body.Write(f.Data())
			}
		case *http2.WindowUpdateFrame:
			if f.StreamID == id { // the connection's window is as large, and this stream is alone
				s.room += int(f.Increment)
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				r.end = f.ErrCode.String()
				if f.ErrCode != http2.ErrCodeNo || r.status == 0 {
					return r
				}
			}
		case *http2.GoAwayFrame:
			r.end = f.ErrCode.String()
			if f.LastStreamID < id || f.ErrCode != http2.ErrCodeNo {
				r.closed = true
				return r
			}
		}
		if h := f.Header(); h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
			r.body = body.String()
			r.read()
			return r
		}
	}
	return nil
}

// send2 sends one request over HTTP/2 and reads the answer.
func (g *gateway) send2(t testing.TB, from string, fields []field, body string) *reply {
	t.Helper()
	s := g.open2(t, from)
	defer s.conn.Close()
	id, err := s.head(fields, body == "")
	if err != nil {
		t.Fatal(err)
	}
	return s.post(id, body)
}

// post sends the body as fast as the server takes it, and reads the answer.
func (s *stream2) post(id uint32, body string) *reply {
	s.room = 65535
	for body != "" {
		piece := body[:min(len(body), s.room, 16<<10)]
		if len(piece) == 0 {
			if r := s.answerOr(id, func() bool { return s.room > 0 }); r != nil {
				return r
			}
			continue
		}
		body = body[len(piece):]
		s.room -= len(piece)
		if err := s.framer.WriteData(id, body == "", []byte(piece)); err != nil {
			break // the answer says why
		}
	}
	return s.answer(id)
}
