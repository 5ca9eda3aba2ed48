package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2gate is a real http.Server behind FrameConn.
type h2gate struct {
	addr     string
	started  atomic.Int64
	running  atomic.Int64
	mu       sync.Mutex
	reported []Refusal
}

func (g *h2gate) reports() []Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Refusal(nil), g.reported...)
}

func startH2(t testing.TB, b FrameBudget, handler http.HandlerFunc) *h2gate {
	t.Helper()
	g := &h2gate{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	server := &http.Server{
		Protocols: new(http.Protocols),
		ErrorLog:  log.New(io.Discard, "", 0),
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 100},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.started.Add(1)
			g.running.Add(1)
			defer g.running.Add(-1)
			handler(w, r)
		}),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(wrapped{l, func(c net.Conn) net.Conn {
		return NewFrameConn(c, b, func(r Refusal) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.reported = append(g.reported, r)
		})
	}})
	t.Cleanup(func() { server.Close() })
	return g
}

func h2client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// attacker speaks frames.
type attacker struct {
	*http2.Framer
	conn  net.Conn
	block []byte
	next  uint32
	ended chan error // GOAWAY's code and the end of the connection
	code  atomic.Int64
}

func attack(t testing.TB, addr string) *attacker {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(8 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/slow"}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	a := &attacker{Framer: http2.NewFramer(c, c), conn: c, block: block.Bytes(), next: 1, ended: make(chan error, 1)}
	a.code.Store(-1)
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			f, err := a.ReadFrame()
			if err != nil {
				a.ended <- err
				return
			}
			if away, ok := f.(*http2.GoAwayFrame); ok {
				a.code.Store(int64(away.ErrCode))
			}
		}
	}()
	return a
}

// open begins a request and returns its stream.
func (a *attacker) open(end bool) (uint32, error) {
	id := a.next
	a.next += 2
	return id, a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block, EndHeaders: true, EndStream: end})
}

// D1, D2, D3, D4: each flood ends with GOAWAY(ENHANCE_YOUR_CALM), a report and a bounded number of handlers started.
func TestFloods(t *testing.T) {
	const many = 20000
	for _, tt := range []struct {
		name, reason string
		flood        func(a *attacker, i int) error
		handlers     int64
	}{
		{"D1 rapid reset", reasonFrameResets, func(a *attacker, i int) error {
			id, err := a.open(true)
			return errors.Join(err, a.WriteRSTStream(id, http2.ErrCodeCancel))
		}, 200},
		{"D2 provoked by a window update of 0", reasonFrameResets, func(a *attacker, i int) error {
			id, err := a.open(false)
			return errors.Join(err, a.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)))
		}, 200},
		{"D2 provoked by a window overflow", reasonFrameResets, func(a *attacker, i int) error {
			id, err := a.open(false)
			return errors.Join(err, a.WriteWindowUpdate(id, 1<<31-1))
		}, 200},
		{"D2 provoked by a stream that depends on itself", reasonFrameResets, func(a *attacker, i int) error {
			id, err := a.open(false)
			return errors.Join(err, a.WritePriority(id, http2.PriorityParam{StreamDep: id}))
		}, 200},
		{"D4 settings", reasonFrameOverhead, func(a *attacker, i int) error { return a.WriteSettings() }, 0},
		{"D4 settings ack", reasonFrameOverhead, func(a *attacker, i int) error { return a.WriteSettingsAck() }, 0},
		{"D4 ping", reasonFrameOverhead, func(a *attacker, i int) error { return a.WritePing(false, [8]byte{}) }, 0},
		{"D4 priority", reasonFrameOverhead, func(a *attacker, i int) error {
			return a.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 3})
		}, 0},
		{"D4 window update", reasonFrameOverhead, func(a *attacker, i int) error { return a.WriteWindowUpdate(0, 1) }, 0},
		{"D4 unknown", reasonFrameOverhead, func(a *attacker, i int) error { return a.WriteRawFrame(0x42, 0, 0, nil) }, 0},
		{"D4 empty data", reasonFrameOverhead, func(a *attacker, i int) error {
			if i == 0 {
				a.open(false)
			}
			return a.WriteData(1, false, nil)
		}, 1},
		{"D4 data of padding only", reasonFrameOverhead, func(a *attacker, i int) error {
			if i == 0 {
				a.open(false)
			}
			return a.WriteDataPadded(1, false, nil, make([]byte, 3))
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			a := attack(t, g.addr)
			for i := range many {
				if tt.flood(a, i) != nil {
					break
				}
			}
			err := <-a.ended
			if code := a.code.Load(); code != int64(http2.ErrCodeEnhanceYourCalm) {
				t.Errorf("GOAWAY code %d, then %v", code, err)
			}
			if r := g.reports(); len(r) != 1 || r[0].Reason != tt.reason || r[0].Offset <= 0 {
				t.Errorf("reports %v, want one %s", r, tt.reason)
			}
			if n := g.started.Load(); n > tt.handlers {
				t.Errorf("%d handlers started, at most %d expected", n, tt.handlers)
			}
			for i := 0; g.running.Load() > 0 && i < 100; i++ {
				time.Sleep(5 * time.Millisecond)
			}
			if n := g.running.Load(); n > 0 {
				t.Errorf("%d handlers still run", n)
			}
		})
	}
}

// GOAWAY comes at a frame boundary also while the engine writes, in the middle of large DATA frames.
func TestGoAwayBetweenFrames(t *testing.T) {
	g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 60000); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	a := attack(t, g.addr)
	a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	a.WriteWindowUpdate(0, 1<<30)
	for range 3 {
		a.open(true)
	}
	time.Sleep(20 * time.Millisecond)
	for range 50000 {
		if a.WriteSettings() != nil {
			break
		}
	}
	if err := <-a.ended; a.code.Load() != int64(http2.ErrCodeEnhanceYourCalm) {
		t.Errorf("GOAWAY code %d, then %v", a.code.Load(), err)
	}
}

// The same, exactly: the budget is exceeded while half a frame is written. The frame is finished, GOAWAY follows, nothing else does.
func TestGoAwayAfterHalfAFrame(t *testing.T) {
	var data bytes.Buffer
	http2.NewFramer(&data, nil).WriteData(1, false, make([]byte, 1000))
	flood := []byte(strings.Repeat("x", prefaceLength) + strings.Repeat("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 300))
	for _, half := range []int{1, 8, 9, 10, 1008} {
		client := &recorder{script: script{data: bytes.Clone(flood), pieces: []int{1 << 20}}, closed: make(chan struct{})}
		c := NewFrameConn(client, FrameBudget{}, nil)
		c.Write(data.Bytes()[:half])
		read := make(chan error)
		go func() { _, err := io.ReadAll(c); read <- err }()
		for !c.exceeded() {
			time.Sleep(time.Millisecond)
		}
		n, err := c.Write(slices.Concat(data.Bytes()[half:], data.Bytes()))
		if n != data.Len()-half || !errors.Is(err, errCalm) {
			t.Errorf("%d: wrote %d, %v", half, n, err)
		}
		var refusal *Refusal
		if err := <-read; !errors.As(err, &refusal) {
			t.Errorf("%d: %v", half, err)
		}
		if want := slices.Concat(data.Bytes(), goAway(0)); !bytes.Equal(client.wrote.Bytes(), want) {
			t.Errorf("%d: %d bytes on the wire, want %d", half, client.wrote.Len(), len(want))
		}
	}
}

// A client that does its work is never cut off: many requests, large downloads and uploads, streams that end early.
func TestLegitimateHTTP2(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			io.WriteString(w, big)
		case "/early": // answers without reading the body: RST_STREAM(NO_ERROR)
			w.WriteHeader(403)
		case "/hang":
			<-r.Context().Done()
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		}
	})
	client := h2client(t)
	get := func(method, path, body string) (string, error) {
		req, _ := http.NewRequest(method, "http://"+g.addr+path, strings.NewReader(body))
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 500 {
				if b, err := get("GET", "/", ""); err != nil || b != "0" {
					t.Errorf("%q, %v", b, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for range 3 {
		if b, err := get("GET", "/big", ""); err != nil || b != big {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if b, err := get("POST", "/", big); err != nil || b != fmt.Sprint(len(big)) {
			t.Errorf("%q, %v", b, err)
		}
	}
	for range 500 {
		if _, err := get("POST", "/early", big[:100<<10]); err != nil {
			t.Fatal("early", err)
		}
	}
	for range 100 { // a page is left: all its requests are cancelled
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr+"/hang", nil)
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
		cancel()
	}
	if b, err := get("GET", "/", ""); err != nil || b != "0" {
		t.Errorf("%q, %v", b, err)
	}
	if r := g.reports(); len(r) != 0 {
		t.Errorf("reported %v", r)
	}
}

// gRPC estimates bandwidth with a PING after data: paid by the data (D4).
func TestPingsWithWork(t *testing.T) {
	g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for b := make([]byte, 16); ; {
			n, err := r.Body.Read(b)
			if w.Write(b[:n]); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	})
	a := attack(t, g.addr)
	id, _ := a.open(false)
	for i := range 3000 {
		a.WriteData(id, false, []byte("message"))
		if err := a.WritePing(false, [8]byte{}); err != nil {
			t.Fatalf("cut off at %d: %v", i, err)
		}
		if i%1000 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	a.WriteData(id, true, nil)
	if r := g.reports(); len(r) != 0 {
		t.Errorf("reported %v", r)
	}
}

// The scanner finds the same frames however the bytes are cut.
func TestFrameScannerCuts(t *testing.T) {
	var wire bytes.Buffer
	fr := http2.NewFramer(&wire, nil)
	fr.WriteDataPadded(1, false, nil, make([]byte, 2))
	fr.WriteRSTStream(3, http2.ErrCodeCancel)
	fr.WriteData(1, true, []byte("some data"))
	fr.WriteSettings()
	fr.WriteRawFrame(frameData, flagPadded, 1, nil)
	fr.WriteRawFrame(frameReset, 0, 1, []byte{7})
	fr.WritePing(true, [8]byte{1})
	want := scanAll(wire.Bytes(), wire.Len())
	if len(want) != 7 || !want[0].empty() || want[1].first != [4]byte{0, 0, 0, 8} || !want[2].ends() || want[2].empty() || !want[4].empty() {
		t.Fatalf("%+v", want)
	}
	for cut := 1; cut < wire.Len(); cut++ {
		if got := scanAll(wire.Bytes(), cut); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pieces of %d bytes: %v, want %v", cut, got, want)
		}
	}
}

// scanAll shows the scanner all of b in pieces.
func scanAll(b []byte, piece int) (all []frame) {
	var s frameScanner
	for len(b) > 0 {
		part := b[:min(piece, len(b))]
		b = b[len(part):]
		for {
			f, ok, rest := s.next(part)
			if !ok {
				break
			}
			if f.wanted() == 0 {
				f.first = [4]byte{}
			}
			all = append(all, f)
			part = rest
		}
	}
	if !s.boundary() {
		all = append(all, frame{kind: 0xff})
	}
	return all
}
