package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestWhatWasGivenIsWhatIsSent(t *testing.T) {
	for _, proto := range []string{"http1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			got := make(chan *http.Request, 1)
			h := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				got <- r
			}
			cfg := calm()
			cfg.Protocol = proto
			p := pool(t, cfg, Deps{}, serveProtocol(t, proto, h)+"/base%2Fx/")
			r := request(t, "POST", "/a%2fb/%7Ec;d=1?q=%2b&e", "hello")
			r.Header.Set("X-One", "1")
			r.Header.Set("Expect", "100-continue")
			r.Header["transfer-encoding"] = []string{"chunked"} // a smuggler's spelling
			status, _, report, err := send(p, r, Call{})
			if err != nil || status != 200 {
				t.Fatalf("status %d, error %v", status, err)
			}
			in := <-got
			if want := "/base%2Fx/a%2fb/%7Ec;d=1?q=%2b&e"; in.RequestURI != want {
				t.Errorf("target %q, want %q", in.RequestURI, want)
			}
			body, _ := io.ReadAll(in.Body)
			if in.Host != "api.example" || in.Header.Get("X-One") != "1" || string(body) != "hello" || in.ContentLength != 5 {
				t.Errorf("host %q, fields %v, body %q of %d", in.Host, in.Header, body, in.ContentLength)
			}
			for _, name := range []string{"User-Agent", "Accept-Encoding", "Expect", "Transfer-Encoding"} {
				if v, there := in.Header[name]; there {
					t.Errorf("%s was sent: %q", name, v)
				}
			}
			if _, touched := r.Header["User-Agent"]; touched {
				t.Error("the caller's fields were changed")
			}
			if report.Attempts != 1 || report.FirstByte <= 0 || report.Connect <= 0 {
				t.Errorf("report %+v", report)
			}
		})
	}
}

func TestConnectionIsReused(t *testing.T) {
	p := pool(t, calm(), Deps{}, serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method) }))
	for i := range 20 {
		status, body, report, err := send(p, get(t, "/"), idempotent)
		if err != nil || status != 200 || body != "GET" {
			t.Fatalf("status %d, body %q, error %v", status, body, err)
		}
		if report.Reused != (i > 0) {
			t.Errorf("request %d: reused %v", i, report.Reused)
		}
	}
	if s := p.State()[0]; s.Dials != 1 || s.Idle != 1 || s.Busy != 0 || s.Requests != 20 {
		t.Errorf("state %+v", s)
	}
}

// B14: where a redirect leads is the client's business.
func TestRedirectIsNotFollowed(t *testing.T) {
	p := pool(t, calm(), Deps{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	}))
	if status, _, report, err := send(p, get(t, "/"), idempotent); status != http.StatusFound || report.Attempts != 1 || err != nil {
		t.Fatalf("status %d, %+v, %v", status, report, err)
	}
}

func TestStreamingBothWays(t *testing.T) {
	for _, proto := range []string{"http1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			cfg := calm()
			cfg.Protocol = proto
			p := pool(t, cfg, Deps{}, serveProtocol(t, proto, func(w http.ResponseWriter, r *http.Request) {
				c := http.NewResponseController(w)
				_ = c.EnableFullDuplex()
				w.Header().Set("Trailer", "X-End")
				w.WriteHeader(200)
				_ = c.Flush()
				b := make([]byte, 100)
				for {
					n, err := r.Body.Read(b)
					if n > 0 {
						_, _ = w.Write(b[:n])
						_ = c.Flush()
					}
					if err != nil {
						break
					}
				}
				w.Header().Set("X-End", r.Trailer.Get("X-Sent"))
			}))
			reader, writer := io.Pipe()
			r := request(t, "POST", "/", reader)
			r.Trailer = http.Header{"X-Sent": {"fin"}}
			resp, _, err := p.Send(context.Background(), r, Call{Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 10)
			for i := range 5 {
				word := fmt.Sprintf("word%d", i)
				fmt.Fprint(writer, word)
				n, err := resp.Body.Read(b)
				if err != nil || string(b[:n]) != word {
					t.Fatalf("%q, %v", b[:n], err)
				}
			}
			_ = writer.Close()
			if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
				t.Fatalf("%q, %v", rest, err)
			}
			if resp.Trailer.Get("X-End") != "fin" {
				t.Errorf("trailers %v", resp.Trailer)
			}
		})
	}
}
