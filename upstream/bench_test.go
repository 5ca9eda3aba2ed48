package upstream

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"
)

var kilobyte = make([]byte, 1024)

// BenchmarkSend is the price of one exchange over a kept connection, beside bare http.Transport's in the same run.
func BenchmarkSend(b *testing.B) {
	target := serve(b, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(kilobyte) })
	u, _ := url.Parse(target)
	drain := func(b *testing.B, buffer []byte, resp *http.Response, err error) {
		if err != nil {
			b.Error(err)
			return
		}
		for err == nil {
			_, err = resp.Body.Read(buffer)
		}
		if err != io.EOF {
			b.Error(err)
		}
		_ = resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func(name string, send func(*http.Request) (*http.Response, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				r, buffer := get(b, "/").WithContext(ctx), make([]byte, 4096)
				r.Header["User-Agent"] = nil
				for pb.Next() {
					resp, err := send(r)
					drain(b, buffer, resp, err)
				}
			})
		})
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	run("transport", func(r *http.Request) (*http.Response, error) {
		r.URL = u
		return transport.RoundTrip(r)
	})
	p := pool(b, Config{}, Deps{}, target)
	run("pool", func(r *http.Request) (*http.Response, error) {
		resp, _, err := p.Send(ctx, r, idempotent)
		return resp, err
	})
}
