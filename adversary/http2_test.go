package adversary

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Rows D that are single requests.
func http2Rows() []attack {
	grpc := func(name, path string, w want) attack {
		w.grpc = true
		return attack{row: "D12", name: name, method: "POST", host: "grpc.test", target: path, fields: []field{{"Content-Type", "application/grpc"}}, want: w}
	}
	nowhere := refused("match", 404, gate.NotFound, "match.operation")
	socket := []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}}
	return []attack{
		{row: "D9", name: "method", h2: []field{{":method", "GET /admin HTTP/1.1"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/public/x"}}, want: canon400("method.malformed")},
		{row: "D9", name: "line in path", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/public/x HTTP/1.1\r\nX-A: 1"}}, want: engine2()},
		{row: "D9", name: "space in path", h2: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/public/x HTTP/1.1"}}, want: canon400("path.character")},
		{row: "D9", name: "line in value", h2: get2(field{"x-a", "1\r\nx-b: 2"}), want: engine2()},
		{row: "D9", name: "padded value", h2: get2(field{"x-a", " 1"}), want: canon400("field.bytes")},
		{row: "D9", name: "upper-case name", h2: get2(field{"X-A", "1"}), want: engine2()},
		{row: "D9", name: "colon in name", h2: get2(field{"x:a", "1"}), want: engine2()},
		{row: "D9", name: "pseudo behind", h2: append(get2(field{"x-a", "1"}), field{":path", "/admin/x"}), want: engine2()},
		{row: "D9", name: "path twice", h2: get2(field{":path", "/admin/x"}), want: engine2()},
		{row: "D9", name: "unknown pseudo", h2: get2(field{":admin", "1"}), want: engine2()},
		{row: "D10", name: "two lengths", h2: []field{{":method", "POST"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/items"}, {"content-type", "application/json"}, {"content-length", "12"}, {"content-length", "13"}}, body: item, want: canon400("field.content_length")},
		grpc("double slash", "//shop.Orders/Get", canon400("path.empty_segment")),
		grpc("trailing slash", "/shop.Orders/Get/", nowhere),
		grpc("case", "/shop.orders/get", nowhere),
		grpc("method case", "/shop.Orders/get", nowhere),
		grpc("encoded slash", "/shop.Orders%2FGet", canon400("path.encoded_slash")),
		grpc("other method", "/shop.Orders/Delete", nowhere),
		grpc("no package", "/Get", nowhere),
		{row: "D16", name: "no token", target: "/socket", over: 1, fields: socket, want: refused("identity", 401, gate.NoIdentity, "identity.missing")},
		{row: "D16", name: "other site", target: "/socket", over: 1, fields: append(slices.Clone(socket), field{"Origin", "https://evil.test"}), want: want{status: 403, code: gate.BadOrigin, guard: "match", reason: "stream.origin"}},
		{row: "D16", name: "null origin", target: "/socket", over: 1, fields: append(slices.Clone(socket), field{"Origin", "null"}), want: want{status: 403, code: gate.BadOrigin, guard: "match", reason: "stream.origin"}},
		{row: "D16", name: "cookie is no token", target: "/socket", over: 1, fields: append(slices.Clone(socket), field{"Cookie", "session=1"}, field{"Origin", "https://api.test"}), want: refused("identity", 401, gate.NoIdentity, "identity.missing")},
	}
}

func TestHTTP2(t *testing.T) { bring(t, shared, http2Rows()) }

// ending is how a connection ended: by which GOAWAY, and whether it ended at all.
type ending struct {
	code   http2.ErrCode
	goaway bool
	closed bool
}

// drain reads frames until the connection ends.
func (s *stream2) drain(done chan<- ending) {
	var e ending
	for {
		f, err := s.framer.ReadFrame()
		if err != nil {
			var stream http2.StreamError
			if errors.As(err, &stream) {
				continue
			}
			e.closed = !timeout(err)
			done <- e
			return
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			e.goaway, e.code = true, g.ErrCode
		}
	}
}

// flood writes until the gateway has ended the connection, at most n times, and tells how it ended.
func (s *stream2) flood(t *testing.T, n int, write func(i int) error) ending {
	t.Helper()
	done := make(chan ending, 1)
	go s.drain(done)
	for i := range n {
		if err := write(i); err != nil {
			break
		}
	}
	select {
	case e := <-done:
		return e
	case <-time.After(patience):
		t.Fatalf("the connection is still open after %d frames", n)
	}
	return ending{}
}

// D1 to D4: floods of frames end the connection, before they cost anything behind it.
func TestFrameFloods(t *testing.T) {
	get := get2()
	floods := []struct {
		row, name string
		reason    gate.Reason
		first     func(s *stream2) error
		write     func(s *stream2, i int) error
	}{
		{row: "D1", name: "rapid reset", reason: "http2.reset_flood", write: func(s *stream2, _ int) error {
			id, err := s.head(get, true)
			return errors.Join(err, s.framer.WriteRSTStream(id, http2.ErrCodeCancel))
		}},
		{row: "D2", name: "made to reset", reason: "http2.reset_flood", write: func(s *stream2, _ int) error {
			id, err := s.head(get, false)
			return errors.Join(err, s.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)))
		}},
		{row: "D3", name: "continuation", reason: "http2.overhead_flood", first: func(s *stream2) error {
			return s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: nil})
		}, write: func(s *stream2, _ int) error { return s.framer.WriteContinuation(1, false, nil) }},
		{row: "D4", name: "settings", reason: "http2.overhead_flood", write: func(s *stream2, _ int) error { return s.framer.WriteSettings() }},
		{row: "D4", name: "ping", reason: "http2.overhead_flood", write: func(s *stream2, _ int) error { return s.framer.WritePing(false, [8]byte{}) }},
		{row: "D4", name: "priority", reason: "http2.overhead_flood", write: func(s *stream2, i int) error {
			return s.framer.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		}},
		{row: "D4", name: "empty data", reason: "http2.overhead_flood", first: func(s *stream2) error {
			_, err := s.head([]field{{":method", "POST"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/items"}, {"content-type", "application/json"}}, false)
			return err
		}, write: func(s *stream2, _ int) error { return s.framer.WriteData(1, false, nil) }},
		{row: "D4", name: "window", reason: "http2.overhead_flood", write: func(s *stream2, _ int) error { return s.framer.WriteWindowUpdate(0, 1) }},
		{row: "D4", name: "unknown", reason: "http2.overhead_flood", write: func(s *stream2, _ int) error { return s.framer.WriteRawFrame(0xfa, 0, 0, nil) }},
	}
	for _, f := range floods {
		t.Run(f.row+"/"+f.name, func(t *testing.T) {
			before, counted := shared.server.mark(), shared.refusals(t, f.reason)
			s := shared.open2(t, source())
			defer s.conn.Close()
			if f.first != nil {
				if err := f.first(s); err != nil {
					t.Fatal(err)
				}
			}
			e := s.flood(t, 5000, func(i int) error { return f.write(s, i) })
			if !e.closed || e.goaway && e.code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("ended %+v", e)
			}
			if _, requests, _ := shared.server.since(before); len(requests) > 200 {
				t.Errorf("%d requests at the server", len(requests))
			}
			shared.more(t, f.reason, counted)
		})
	}
}

// D5: 17 kB that would be 58 MB of fields are not unpacked.
func TestHeaderListBomb(t *testing.T) {
	before := shared.memory(t)
	for range 5 {
		s := shared.open2(t, source())
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range get2() {
			_ = encoder.WriteField(hpack.HeaderField{Name: f.name, Value: f.value})
		}
		_ = encoder.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 3500)})
		for block.Len() < 16000 {
			block.WriteByte(0x80 | 62) // the newest entry of the dynamic table
		}
		if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		s.framer.MaxHeaderListSize = 1 << 20
		if r := s.answer(1); r.status == 200 {
			t.Errorf("status %d", r.status)
		}
		s.conn.Close()
	}
	if grown := shared.memory(t) - before; grown > 20<<20 {
		t.Errorf("%d MB more memory", grown>>20)
	}
}

// D7: one connection has at most 100 requests at a time, and what they hold is bounded.
func TestManySlowBodiesOnOneConnection(t *testing.T) {
	before := shared.memory(t)
	s := shared.open2(t, source())
	defer s.conn.Close()
	refusedStreams := make(chan int, 1)
	go func() {
		n := 0
		for {
			f, err := s.framer.ReadFrame()
			if err != nil {
				refusedStreams <- n
				return
			}
			if rst, ok := f.(*http2.RSTStreamFrame); ok && rst.ErrCode == http2.ErrCodeRefusedStream {
				n++
			}
		}
	}()
	head := []field{{":method", "POST"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/items"}, {"content-type", "application/json"}}
	for range 150 {
		id, err := s.head(head, false)
		if err != nil {
			break
		}
		if err := s.framer.WriteData(id, false, []byte(`{"name":"`)); err != nil {
			break
		}
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	n := <-refusedStreams
	if grown := shared.memory(t) - before; grown > 16<<20 {
		t.Errorf("%d MB more memory", grown>>20)
	}
	if n < 50 {
		t.Errorf("%d of 150 streams were refused, want 50", n)
	}
}

// D15: a TLS hello in many records, the server name in a later one, is the same hello.
func TestHelloInPieces(t *testing.T) {
	for _, size := range []int{1, 40, 100} {
		from := source()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", shared.https)
		if err != nil {
			t.Fatal(err)
		}
		secure := shared.client(&pieces{Conn: c, size: size}, "api.test")
		err = secure.Handshake()
		if err == nil {
			if r := exchange(t, secure, "GET /public/x HTTP/1.1\r\nHost: api.test\r\n\r\n", false); r.status != 200 {
				t.Errorf("pieces of %d: status %d", size, r.status)
			}
		}
		c.Close()

		c, err = net.Dial("tcp", shared.https)
		if err != nil {
			t.Fatal(err)
		}
		if err := shared.client(&pieces{Conn: c, size: size}, "other.test").Handshake(); err == nil {
			t.Errorf("pieces of %d: a name without a certificate is served", size)
		}
		c.Close()
	}
}

// pieces splits the first TLS record that is written into many.
type pieces struct {
	net.Conn
	size int
	done bool
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.done || len(b) < 5 || b[0] != 22 {
		return p.Conn.Write(b)
	}
	p.done = true
	var out bytes.Buffer
	for rest := b[5:]; len(rest) > 0; {
		n := min(p.size, len(rest))
		out.Write([]byte{22, b[1], b[2], byte(n >> 8), byte(n)})
		out.Write(rest[:n])
		rest = rest[n:]
	}
	_, err := p.Conn.Write(out.Bytes())
	return len(b), err
}

// D16, C18: what a handshake that is refused leaves behind is not a tunnel: bytes after it are a request of their own.
func TestNoTunnelAfterARefusedHandshake(t *testing.T) {
	from, before := source(), shared.server.mark()
	raw := "GET /socket HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	c, err := shared.dial(from)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, raw+"GET /admin/x HTTP/1.1\r\nHost: api.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(c) // the connection ends, or is reset
	if total, _, _ := shared.server.since(before); total != 0 || bytes.Count(all, []byte("HTTP/1.1 2")) != 0 || bytes.Count(all, []byte("HTTP/1.1 101")) != 0 {
		t.Errorf("%d bytes at the server; answers %q", total, all)
	}
}
