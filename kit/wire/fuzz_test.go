package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// message is one message as a reader of fifteen lines sees it that knows nothing of ours: the lines of the head, and where it ends.
type message struct {
	first  string
	fields http.Header
	body   []byte
}

// plain reads a message that was handed on; it trusts that it is well-formed, and fails the test where it is not.
func plain(t *testing.T, raw []byte, bodyless bool) message {
	t.Helper()
	head, rest, ok := strings.Cut(string(raw), "\r\n\r\n")
	if !ok {
		t.Fatalf("no end of head in %q", raw)
	}
	lines := strings.Split(head, "\r\n")
	m := message{first: lines[0], fields: http.Header{}}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("no field: %q", line)
		}
		m.fields.Add(name, strings.Trim(value, " \t"))
	}
	if m.fields.Get("Transfer-Encoding") == "" || bodyless {
		m.body = []byte(rest)
		return m
	}
	for {
		size, after, _ := strings.Cut(rest, "\r\n")
		n, err := strconv.ParseUint(size, 16, 62)
		if err != nil {
			t.Fatalf("chunk size %q: %v", size, err)
		}
		if n == 0 {
			return m
		}
		m.body = append(m.body, after[:n]...)
		rest = after[n+2:]
	}
}

// cuts makes sizes of pieces from a number.
func cuts(seed uint64) []int {
	if seed == 0 {
		return []int{1 << 20}
	}
	var sizes []int
	for ; seed > 0; seed >>= 8 {
		sizes = append(sizes, int(seed&0xff)+1)
	}
	return sizes
}

func requestSeeds() []string {
	seeds := []string{
		good, good + good,
		"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello" + good,
		"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n" + good,
		"GET http://a.test/p?q HTTP/1.1\r\nHost: a.test\r\n\r\n" + good,
		"GET /p HTTP/1.0\r\nHost: [::1]:80\r\nConnection: keep-alive\r\n\r\n" + good,
		"GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw",
		"POST /p HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"OPTIONS /p HTTP/1.1\r\nHost: a.test\r\nPragma: no-cache\r\nA:\r\nA: \t b \t\r\n\r\n",
	}
	for _, tt := range refusedHeads() {
		if len(tt.raw) < 2000 {
			seeds = append(seeds, tt.raw, good+tt.raw+good)
		}
	}
	return seeds
}

// FuzzRequestAgree: what is handed on is the input, byte for byte, up to a refusal; net/http reads the same requests from it, with the
// same method, target, fields and body, and finds their ends in the same places. Of a refused head nothing is handed on.
func FuzzRequestAgree(f *testing.F) {
	for i, seed := range requestSeeds() {
		f.Add([]byte(seed), uint64(i)*0x01030205)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		limits := Limits{Trailers: func(name string) bool { return name == "x-sum" }}
		// The boundaries, as the parser sees them.
		p := newRequestParser(limits.withDefaults())
		var messages [][]byte
		var last []byte // of a message that is not complete
		var refusal *Refusal
		for rest := data; refusal == nil; {
			var n int
			n, refusal = p.advance(rest)
			last = append(last, rest[:n]...)
			rest = rest[n:]
			if p.stage == stageHead && len(last) > 0 {
				messages, last = append(messages, last), nil
			}
			if !p.more {
				break
			}
		}
		agree(t, messages, func(r *bufio.Reader, raw []byte) (message, error) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return message{}, err
			}
			m := message{first: req.Method + " " + req.RequestURI + " " + req.Proto, fields: req.Header}
			if !strings.EqualFold(req.Host, plain(t, raw, false).fields.Get("Host")) {
				t.Errorf("net/http reads host %q", req.Host)
			}
			m.body, err = io.ReadAll(req.Body)
			return m, err
		}, func(message) bool { return false })

		// The connection hands on the same bytes in any pieces.
		c := NewRequestConn(&script{data: bytes.Clone(data), pieces: cuts(seed)}, limits, time.Now)
		got, err := io.ReadAll(c)
		want := bytes.Join(append(messages, last), nil)
		switch {
		case refusal != nil && p.stage == stageBody:
			var cause *Refusal
			if !errors.As(err, &cause) || *cause != *refusal {
				t.Errorf("read error %v, want %v", err, refusal)
			}
		case refusal != nil:
			want = append(want, substitute...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("pieces %v: handed on %q, want %q", cuts(seed), got, want)
		}
	})
}

// agree requires that net/http reads the messages from their joined bytes as they are.
func agree(t *testing.T, messages [][]byte, read func(*bufio.Reader, []byte) (message, error), bodyless func(message) bool) {
	t.Helper()
	all := bytes.NewReader(bytes.Join(messages, nil))
	r := bufio.NewReader(all)
	end := 0
	for i, raw := range messages {
		got, err := read(r, raw)
		if err != nil {
			t.Fatalf("net/http refuses message %d %q: %v", i, raw, err)
		}
		end += len(raw)
		if at := int(all.Size()) - all.Len() - r.Buffered(); at != end {
			t.Errorf("message %d %q ends at %d, for net/http at %d", i, raw, end, at)
		}
		want := plain(t, raw, false)
		if bodyless(want) {
			want = plain(t, raw, true)
		}
		for _, managed := range []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer", "Connection"} { // net/http takes them out
			want.fields.Del(managed)
			got.fields.Del(managed)
		}
		if _, pragma := want.fields["Pragma"]; pragma { // net/http adds Cache-Control
			want.fields.Del("Cache-Control")
			got.fields.Del("Cache-Control")
		}
		if got.first != want.first || !maps.EqualFunc(got.fields, want.fields, slices.Equal) || !bytes.Equal(got.body, want.body) {
			t.Errorf("message %d: net/http reads %q, we %q", i, got, want)
		}
	}
}

// FuzzResponse: the same for responses, to a GET, a HEAD and a request with Upgrade in turn.
func FuzzResponse(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for i, seed := range []string{
		ok + "Content-Length: 3\r\n\r\nabc" + ok + "Content-Length: 3\r\n\r\n" + "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw",
		ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + ok + "Transfer-Encoding: chunked\r\n\r\n" + ok + "\r\nuntil close",
		"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\nHTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nabc", "HTTP/1.1 200\r\n\r\n", ok + "X: a\n\n", ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		ok + "Content-Length: 0\r\n\r\nunasked", "HTTP/1.1 101 No\r\n\r\n", "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc",
	} {
		f.Add([]byte(seed), uint64(i)*0x0207)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		const asked = "GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"
		c := NewResponseConn(&script{data: bytes.Clone(data), pieces: cuts(seed)}, ResponseLimits{})
		if _, err := io.WriteString(c, asked); err != nil || len(c.asked) != 3 {
			t.Fatal(err, c.asked)
		}
		got, err := io.ReadAll(c)
		if !bytes.HasPrefix(data, got) {
			t.Fatalf("handed on %q of %q", got, data)
		}
		whole := NewResponseConn(&script{data: bytes.Clone(data), pieces: cuts(0)}, ResponseLimits{})
		io.WriteString(whole, asked)
		if all, wholeErr := io.ReadAll(whole); !bytes.Equal(all, got) || (err == nil) != (wholeErr == nil) {
			t.Errorf("in one piece %q, %v; in pieces %v %q, %v", all, wholeErr, cuts(seed), got, err)
		}
		if err != nil {
			return // what was handed on of a broken body is never a complete message: TestRefusedResponses
		}
		r := bufio.NewReader(bytes.NewReader(got))
		for _, method := range []string{"GET", "HEAD", "GET"} {
			for final := false; !final; {
				if _, err := r.Peek(1); err != nil {
					return
				}
				resp, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					t.Fatalf("net/http refuses what was handed on, %q: %v", got, err)
				}
				if resp.StatusCode == http.StatusSwitchingProtocols {
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil && !strings.Contains(err.Error(), "unexpected EOF") {
					t.Fatalf("net/http refuses a body that was handed on, %q: %v", got, err)
				}
				final = resp.StatusCode >= 200
			}
		}
		if _, err := r.Peek(1); err == nil {
			t.Errorf("handed on more than was asked for: %q", got)
		}
	})
}

// FuzzFrames: all bytes pass unchanged until the budget is exceeded; the scanner finds the frames that a plain loop finds.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01"), uint64(3))
	f.Add([]byte("\x00\x00\x03\x00\x08\x00\x00\x00\x01\x02xx\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"), uint64(0x0101))
	f.Add([]byte("\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var want []frame
		rest := data
		for len(rest) >= frameHead {
			n := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
			fr := frame{length: n, kind: rest[3], flags: rest[4]}
			if len(rest) < frameHead+fr.wanted() {
				break
			}
			want = append(want, fr)
			rest = rest[min(len(rest), frameHead+n):]
		}
		got := scanAll(data, cuts(seed)[0])
		if n := len(got); n > 0 && got[n-1].kind == 0xff && len(want) < n {
			got = got[:n-1]
		}
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].length != want[i].length || got[i].kind != want[i].kind || got[i].flags != want[i].flags {
				t.Errorf("frame %d: %+v, want %+v", i, got[i], want[i])
			}
		}
		preface := strings.Repeat("x", prefaceLength)
		var reports int
		c := NewFrameConn(&script{data: append([]byte(preface), data...), pieces: cuts(seed)}, FrameBudget{Resets: 3, Overhead: 3},
			func(Refusal) { reports++ })
		passed, err := io.ReadAll(c)
		if !strings.HasPrefix(preface+string(data), string(passed)) || (err == nil && len(passed) != len(preface)+len(data)) {
			t.Errorf("passed %q, %v", passed, err)
		}
		if (err != nil) != (reports == 1) || reports > 1 {
			t.Errorf("%v with %d reports", err, reports)
		}
	})
}
