package wire

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const browser = "GET /orders/12345?fields=id,total HTTP/1.1\r\n" +
	"Host: api.example.test\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: application/json\r\n" +
	"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Authorization: Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFwaSJ9.c2lnbmF0dXJl\r\n" +
	"Cookie: __Host-session=0123456789abcdef0123456789abcdef\r\n" +
	"Connection: keep-alive\r\n\r\n"

// endless gives the same requests for ever, one per Read.
type endless struct {
	script
	request string
}

func (e *endless) Read(p []byte) (int, error) { return copy(p, e.request), nil }

// What reading costs by itself: nothing is allocated per request.
func BenchmarkRequestConn(b *testing.B) {
	for _, bm := range []struct{ name, request string }{
		{"get", browser},
		{"post 1 KiB", strings.Replace(browser, "GET", "POST", 1)[:len(browser)-1] + "Content-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)},
		{"chunked 1 KiB", strings.Replace(browser, "GET", "POST", 1)[:len(browser)-1] + "Transfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n0\r\n\r\n"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			c := NewRequestConn(&endless{request: bm.request}, Limits{}, time.Now)
			p := make([]byte, 4096)
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.request)))
			for b.Loop() {
				for n := 0; n < len(bm.request); {
					m, err := c.Read(p)
					if err != nil {
						b.Fatal(err)
					}
					n += m
				}
			}
		})
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	c := NewRequestConn(&endless{request: browser}, Limits{}, time.Now)
	p := make([]byte, 4096)
	if n := testing.AllocsPerRun(1000, func() { c.Read(p) }); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// A real server with and without the strict reader (goal: at most 5 % more CPU). The client's part is in both. The bare server has the
// timeouts that every exposed one needs and that the strict reader brings.
func BenchmarkServer(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	})
	start := func(server *http.Server, wrap func(net.Conn) net.Conn) net.Conn {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server.Handler = handler
		go server.Serve(wrapped{l, wrap})
		b.Cleanup(func() { server.Close() })
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		return c
	}
	bare := start(&http.Server{IdleTimeout: time.Minute, ReadHeaderTimeout: 5 * time.Second}, func(c net.Conn) net.Conn { return c })
	strict := start(&http.Server{}, func(c net.Conn) net.Conn { return NewRequestConn(c, Limits{}, time.Now) })
	answer := make([]byte, 4096)
	const batch = 200
	spend := func(c net.Conn) time.Duration {
		before := cpu()
		for range batch {
			if _, err := io.WriteString(c, browser); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(answer); err != nil {
				b.Fatal(err)
			}
		}
		return cpu() - before
	}
	compare(b, func() time.Duration { return spend(bare) }, func() time.Duration { return spend(strict) })
}

// compare measures both in turn and reports by how much the second is dearer. Of many batches it takes the quickest tenth: a busy machine
// only ever adds.
func compare(b *testing.B, bare, strict func() time.Duration) {
	var with, without []time.Duration
	for b.Loop() {
		without = append(without, bare())
		with = append(with, strict())
	}
	slices.Sort(with)
	slices.Sort(without)
	tenth := len(with) / 10
	b.ReportMetric(100*(float64(with[tenth])/float64(without[tenth])-1), "%more")
	b.ReportMetric(float64(without[tenth].Nanoseconds())/200, "bare-cpu-ns/req")
}

// The same for HTTP/2 and the frame counter.
func BenchmarkServerHTTP2(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	})
	start := func(wrap func(net.Conn) net.Conn) func() time.Duration {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
		server.Protocols.SetUnencryptedHTTP2(true)
		go server.Serve(wrapped{l, wrap})
		b.Cleanup(func() { server.Close() })
		client := h2client(b)
		return func() time.Duration {
			before := cpu()
			for range 200 {
				resp, err := client.Get("http://" + l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return cpu() - before
		}
	}
	bare := start(func(c net.Conn) net.Conn { return c })
	counted := start(func(c net.Conn) net.Conn { return NewFrameConn(c, FrameBudget{}, nil) })
	compare(b, bare, counted)
}
