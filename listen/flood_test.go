package listen

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// dialFrames opens an HTTP/2 connection and says hello.
func (b *bench) dialFrames(ca *authority) (*http2.Framer, net.Conn) {
	b.t.Helper()
	c, err := tls.Dial("tcp", b.hostport("https"), &tls.Config{RootCAs: ca.pool, ServerName: "a.test", NextProtos: []string{"h2"}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		b.t.Fatal(err)
	}
	return f, c
}

func head(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// ended reads frames until GOAWAY or the end.
func ended(f *http2.Framer) (goaway http2.ErrCode, said bool) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return goaway, said
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			goaway, said = g.ErrCode, true
		}
	}
}

// D1: streams opened and reset at once end the connection, and are an incident.
func TestRapidReset(t *testing.T) {
	ca := newAuthority(t)
	var served atomic.Int64
	d := deps(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		<-r.Context().Done()
	}))
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}, d)
	f, _ := b.dialFrames(ca)
	block := head(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/")
	go func() {
		for id := uint32(1); id < 4000; id += 2 {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}) != nil ||
				f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	if code, said := ended(f); said && code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("GOAWAY %v", code)
	}
	if n := served.Load(); n > 200 {
		t.Errorf("%d streams reached the handler", n)
	}
	b.expect("http2.reset_flood")
}

// What net/http itself ends an HTTP/2 connection for is an incident, too; a client that just leaves is none.
func TestHTTP2ErrorsAreIncidents(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}, deps(t, http.HandlerFunc(tell)))
	f, c := b.dialFrames(ca)
	_ = f.WritePing(false, [8]byte{})
	c.Close()
	if !eventually(func() bool { return b.Connections() == 0 }) || b.count(reasonHTTP2) != 0 {
		t.Errorf("%d incidents of a client that left", b.count(reasonHTTP2))
	}
	f, _ = b.dialFrames(ca)
	_ = f.WriteRawFrame(http2.FrameData, 0, 7, []byte("x")) // on a stream that nobody opened
	if code, said := ended(f); !said || code != http2.ErrCodeProtocol {
		t.Errorf("GOAWAY %v, %v", code, said)
	}
	b.expect(reasonHTTP2)
}

// D5: a header block that unfolds beyond the head's limit is refused.
func TestHeaderBomb(t *testing.T) {
	ca := newAuthority(t)
	var served atomic.Int64
	d := deps(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")}}, d)
	f, _ := b.dialFrames(ca)
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/"}
	for range 1000 { // one byte each on the wire
		fields = append(fields, "x", strings.Repeat("y", 3000))
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(fields...), EndStream: true, EndHeaders: true})
	go func() { time.Sleep(300 * time.Millisecond); _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			break
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			if err != nil || fields[0].Value != "431" {
				t.Errorf("%v, %v", fields, err)
			}
			break
		}
	}
	if served.Load() != 0 {
		t.Error("the handler was asked")
	}
}

// H1: heads that never end are answered with 408 when their time is over, and the healthy client beside them is served.
func TestSlowHeads(t *testing.T) {
	b := run(t, Config{At: at(t, "http://127.0.0.1:0"), Limits: Limits{HeadTime: 200 * time.Millisecond}}, deps(t, http.HandlerFunc(tell)))
	answers := make(chan string)
	for range 20 {
		go func() { answers <- raw(t, b.hostport("http"), "GET / HTTP/1.1\r\nHost: a.test\r\nX-A: ") }()
	}
	if _, body := get(t, b.client("http", 1, nil), "http://a.test/"); !strings.HasPrefix(body, "HTTP/1.1") {
		t.Error(body)
	}
	for range 20 {
		if a := <-answers; !strings.HasPrefix(a, "HTTP/1.1 408 ") {
			t.Errorf("answer %.40q", a)
		}
	}
	if !eventually(func() bool { return b.Connections() <= 1 }) {
		t.Errorf("%d connections are left", b.Connections())
	}
}

// A connection on which nothing comes, before or between requests, ends after the idle time.
func TestIdle(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "http://127.0.0.1:0", "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")},
		Limits: Limits{Idle: time.Second},
	}, deps(t, http.HandlerFunc(tell)))
	began := time.Now()
	f, _ := b.dialFrames(ca)
	raws := make(chan string, 2)
	for _, send := range []string{"", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"} {
		go func() { raws <- raw(t, b.hostport("http"), send) }()
	}
	<-raws
	<-raws
	if took := time.Since(began); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("HTTP/1 ended after %v", took)
	}
	if code, said := ended(f); said && code != http2.ErrCodeNo {
		t.Errorf("GOAWAY %v", code)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("HTTP/2 ended after %v", took)
	}
}

// Every reason is listed once and in neither list of the other package.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(Reasons(), wire.Reasons()...) {
		if seen[r] || strings.Count(r, ".") != 1 {
			t.Errorf("reason %s", r)
		}
		seen[r] = true
	}
}
