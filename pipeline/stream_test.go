package pipeline

import (
	"bytes"
	"encoding/binary"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

func grpcFrame(flag byte, size int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(size)), make([]byte, size)...)
}

// count shows a reader the bytes in steps.
func count(r reader, in []byte, step int) (messages int64, v *violation) {
	for len(in) > 0 {
		n := min(step, len(in))
		more, v := r.next(in[:n])
		if messages += more; v != nil {
			return messages, v
		}
		in = in[n:]
	}
	return messages, r.end()
}

func TestMessagesOfGRPC(t *testing.T) {
	for _, c := range []struct {
		name     string
		in       []byte
		messages int64
		reason   gate.Reason
	}{
		{"none", nil, 0, ""},
		{"one", grpcFrame(0, 10), 1, ""},
		{"empty ones", bytes.Repeat(grpcFrame(0, 0), 5), 5, ""},
		{"compressed", grpcFrame(1, 100), 1, ""},
		{"too large", grpcFrame(0, 101), 0, streamMessage},
		{"2^32-1 bytes announced", []byte{0, 255, 255, 255, 255}, 0, streamMessage},
		{"flag that means nothing", grpcFrame(2, 1), 0, streamMalformed},
		{"an end in the head", []byte{0, 0, 0}, 0, streamMalformed},
		{"an end in the message", grpcFrame(0, 10)[:14], 0, streamMalformed},
	} {
		for _, step := range []int{1, 3, 1000} {
			n, v := count(&frames{most: 100}, c.in, step)
			if n != c.messages || (v == nil) != (c.reason == "") || v != nil && v.reason != c.reason {
				t.Errorf("%s in steps of %d: %d messages, %v", c.name, step, n, v)
			}
		}
	}
}

func TestEventsOfAStream(t *testing.T) {
	for _, c := range []struct {
		in       string
		messages int64
		large    bool
	}{
		{"", 0, false},
		{"data: x\n\n", 1, false},
		{"data: x\r\n\r\n", 1, false},
		{"data: x\r\rdata: y\r\r", 2, false},
		{"data: x\ndata: y\n\n", 1, false},
		{"\n\n\r\n\n", 0, false},
		{"data: x\n", 0, false},
		{": comment\n\ndata: x\n\n", 2, false},
		{strings.Repeat("x", 99) + "\n\n", 1, false},
		{strings.Repeat("x", 101), 0, true},
		{strings.Repeat("x\n", 51), 0, true},
	} {
		for _, step := range []int{1, 1000} {
			if n, v := count(&events{most: 100}, []byte(c.in), step); n != c.messages || (v != nil) != c.large {
				t.Errorf("%q in steps of %d: %d events, %v", c.in, step, n, v)
			}
		}
	}
}

// Events are found as a pattern finds them, and messages as a reader of whole ones does, in whatever pieces they come.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("data: x\r\n\r\ndata: y\n\n"), 3)
	f.Add(append(grpcFrame(0, 3), grpcFrame(1, 0)...), 2)
	lines := regexp.MustCompile(`\r\n|\r|\n`)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 || step > 100 {
			return
		}
		want, filled := int64(0), false
		parts := lines.Split(string(in), -1)
		for _, line := range parts[:len(parts)-1] {
			if line == "" && filled {
				want++
			}
			filled = line != ""
		}
		if n, v := count(&events{most: 1 << 20}, in, step); n != want || v != nil {
			t.Errorf("%d events, %v, want %d", n, v, want)
		}
		whole, v := count(&frames{most: 50}, in, len(in)+1)
		pieces, w := count(&frames{most: 50}, in, step)
		if whole != pieces || (v == nil) != (w == nil) || v != nil && v.reason != w.reason {
			t.Errorf("%d messages and %v at once, %d and %v in steps", whole, v, pieces, w)
		}
		n, rest := int64(0), bytes.NewReader(in)
		for v == nil {
			var head [5]byte
			if _, err := io.ReadFull(rest, head[:]); err != nil {
				break
			}
			_, _ = io.CopyN(io.Discard, rest, int64(binary.BigEndian.Uint32(head[1:])))
			n++
		}
		if v == nil && n != whole {
			t.Errorf("%d messages counted, there are %d", whole, n)
		}
	})
}

func TestStreamsThatCannotWork(t *testing.T) {
	op := func(method string, s gate.Stream) *gate.API {
		return &gate.API{Operations: []*gate.Operation{{Key: "x", Method: method, Stream: s}}}
	}
	for _, c := range []struct {
		name string
		api  *gate.API
		up   string
		path string
	}{
		{"websocket", op("GET", gate.Stream{Kind: "websocket", Origins: []string{"https://shop.example", "http://localhost:3000", "https://[::1]:8443"}}), "", ""},
		{"grpc", op("POST", gate.Stream{Kind: "grpc"}), "h2c", ""},
		{"websocket by POST", op("POST", gate.Stream{Kind: "websocket"}), "", "operations.x.stream"},
		{"websocket over HTTP/2", op("GET", gate.Stream{Kind: "websocket"}), "http2", "upstream.protocol"},
		{"grpc by GET", op("GET", gate.Stream{Kind: "grpc"}), "h2c", "operations.x.stream"},
		{"grpc over HTTP/1", op("POST", gate.Stream{Kind: "grpc"}), "", "upstream.protocol"},
		{"origins of no websocket", op("GET", gate.Stream{Kind: "sse", Origins: []string{"https://a.example"}}), "", "operations.x.stream.origins"},
		{"origin with a path", op("GET", gate.Stream{Kind: "websocket", Origins: []string{"https://a.example/"}}), "", "operations.x.stream.origins[0]"},
		{"any origin", op("GET", gate.Stream{Kind: "websocket", Origins: []string{"*"}}), "", "operations.x.stream.origins[0]"},
		{"no origin", op("GET", gate.Stream{Kind: "websocket", Origins: []string{"null"}}), "", "operations.x.stream.origins[0]"},
		{"negative time", op("GET", gate.Stream{Kind: "sse", Longest: -1}), "", "operations.x.stream.longest"},
	} {
		var m mistake.List
		checkStreams(APIConfig{Upstream: upstream.Config{Protocol: c.up}}, c.api, &m)
		if c.path == "" && len(m) > 0 || c.path != "" && (len(m) != 1 || m[0].Path != c.path) {
			t.Errorf("%s: %v", c.name, m)
		}
	}
}

// D12: a list of methods holds full names, and nothing that could be read as more.
func TestMethodsOfGRPC(t *testing.T) {
	for name, good := range map[string]bool{
		"/shop.v1.Orders/Get": true, "/Orders/Get": true, "/a_b.C1/D_e": true,
		"shop.v1.Orders/Get": false, "/shop.v1.Orders/": false, "/shop.v1.Orders/*": false, "/shop.v1.Orders/Get/": false, "//Orders/Get": false,
		"/shop..Orders/Get": false, "/shop.v1.Orders/{method}": false, "/shop.v1.Orders/Get\n": false, "/Orders": false, "": false, "/1a/Get": false,
	} {
		var m mistake.List
		api := &gate.API{}
		grpcOperations(APIConfig{GRPC: GRPCConfig{Methods: []string{name}}}, api, &m)
		if (len(m) == 0) != good {
			t.Errorf("%q: %v", name, m)
		}
	}
	var m mistake.List
	grpcOperations(APIConfig{
		GRPC:       GRPCConfig{Methods: []string{"/a.B/C", "/a.B/C"}},
		Operations: map[string]OperationConfig{"/a.B/C": {Stream: StreamConfig{Kind: "sse"}}},
	}, &gate.API{}, &m)
	if len(m) != 3 { // listed twice, and no event stream, told for each
		t.Errorf("%v", m)
	}
}

func TestEveryCodeHasAStatusOfGRPC(t *testing.T) {
	for code, want := range map[gate.Code]int{
		gate.NoIdentity: 16, gate.NotAllowed: 7, gate.BadOrigin: 7, gate.NotFound: 12, gate.TooMany: 8, gate.TooLarge: 8, gate.Unavailable: 14,
		gate.BadServer: 14, gate.ServerTooSlow: 4, gate.BadRequest: 3, gate.InvalidInput: 3, gate.Internal: 13, "": 13,
	} {
		if got := grpcStatus(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
	for _, code := range gate.Codes() {
		if s := grpcStatus(code); s < 1 || s > 16 {
			t.Errorf("%s: %d", code, s)
		}
	}
}
