package wire

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// slowBody gives one byte per pause until it is interrupted.
type slowBody struct {
	pause       time.Duration
	interrupted chan struct{}
	left        int
}

func (s *slowBody) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.pause):
		s.left--
		return 1, nil
	case <-s.interrupted:
		return 0, errors.New("interrupted")
	}
}
func (s *slowBody) Close() error { return nil }

// D7, H2: in fake time.
func TestPacedBody(t *testing.T) {
	for _, tt := range []struct {
		pause   time.Duration
		bytes   int
		refused bool
	}{
		{3 * time.Millisecond, 5000, false},
		{5 * time.Millisecond, 1000, false}, // slower than 256 B/s, but done in time
		{10 * time.Second, 3, true},
		{100 * time.Millisecond, 1000, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			body := &slowBody{pause: tt.pause, interrupted: make(chan struct{}), left: tt.bytes}
			p := NewPacedBody(body, func() { close(body.interrupted) }, 0, time.Now)
			defer p.Close()
			n, err := io.Copy(io.Discard, p)
			var refusal *Refusal
			if errors.As(err, &refusal) != tt.refused || (p.Refusal() != nil) != tt.refused {
				t.Errorf("every %v: %d bytes, %v", tt.pause, n, err)
			}
			if tt.refused && refusal != nil && (refusal.Reason != reasonSlowBody || refusal.Status != 408 || time.Since(start) > 15*time.Second) {
				t.Errorf("every %v: %v after %v", tt.pause, refusal, time.Since(start))
			}
			if !tt.refused && n != int64(tt.bytes) {
				t.Errorf("every %v: %d bytes", tt.pause, n)
			}
		})
	}
}

// The interrupt works on a real HTTP/2 stream: other streams of the connection live on.
func TestPacedBodyOverHTTP2(t *testing.T) {
	g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		p := NewPacedBody(r.Body, func() { rc.SetReadDeadline(time.Unix(1, 0)) }, 0, time.Now)
		p.left = 20 * time.Millisecond // not in fake time: don't wait for the whole window
		if _, err := io.Copy(io.Discard, p); err != nil {
			w.WriteHeader(p.Refusal().Status)
		}
	})
	client := h2client(t)
	hang, feed := io.Pipe()
	defer feed.Close()
	resp, err := client.Post("http://"+g.addr, "", hang)
	if err != nil || resp.StatusCode != 408 {
		t.Fatal(resp, err)
	}
	if resp, err := client.Post("http://"+g.addr, "", http.NoBody); err != nil || resp.StatusCode != 200 {
		t.Error(resp, err)
	}
}
