package wire

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
)

// rawCodec passes bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (rawCodec) Name() string { return "raw" }

var _ encoding.Codec = rawCodec{}

// Real gRPC, both directions busy, on one connection: its bandwidth estimator sends PINGs, its readers WINDOW_UPDATEs (D4).
func TestGRPC(t *testing.T) {
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		for {
			var b []byte
			if err := s.RecvMsg(&b); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(&b); err != nil {
				return err
			}
		}
	}))
	g := startH2(t, FrameBudget{}, server.ServeHTTP)
	conn, err := grpc.NewClient(g.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})), grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	call := func(messages, size int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stream, err := conn.NewStream(ctx, desc, "/echo.Echo/Echo")
		if err != nil {
			return err
		}
		out := []byte(strings.Repeat("m", size))
		for range messages {
			if err := stream.SendMsg(&out); err != nil {
				return err
			}
			var in []byte
			if err := stream.RecvMsg(&in); err != nil {
				return err
			}
			if len(in) != size {
				return fmt.Errorf("%d bytes", len(in))
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		var in []byte
		if err := stream.RecvMsg(&in); err != io.EOF {
			return fmt.Errorf("end: %v", err)
		}
		return nil
	}
	var wg sync.WaitGroup
	for _, load := range []struct{ calls, messages, size int }{{1, 1500, 10}, {1, 40, 300000}, {500, 1, 100}} {
		wg.Go(func() {
			for range load.calls {
				if err := call(load.messages, load.size); err != nil {
					t.Error(load, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if r := g.reports(); len(r) != 0 {
		t.Errorf("reported %v", r)
	}
}

// A full house of streams that wait for an answer (long polling) leaves room for others that come and go, and may all be cancelled.
func TestLongPolling(t *testing.T) {
	g := startH2(t, FrameBudget{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/poll" {
			<-r.Context().Done()
		}
	})
	client := h2client(t)
	ctx, cancel := context.WithCancel(t.Context())
	var polls sync.WaitGroup
	for range 90 {
		polls.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr+"/poll", nil)
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		})
	}
	for range 1000 {
		resp, err := client.Get("http://" + g.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	cancel()
	polls.Wait()
	if r := g.reports(); len(r) != 0 {
		t.Errorf("reported %v", r)
	}
}

// D3: net/http ends a CONTINUATION flood itself; it never gets to ours, or ours ends it.
func TestContinuationFlood(t *testing.T) {
	g := startH2(t, FrameBudget{}, func(http.ResponseWriter, *http.Request) {})
	a := attack(t, g.addr)
	a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block})
	sent := 0
	for ; sent < 20000; sent++ {
		if a.WriteContinuation(1, false, nil) != nil {
			break
		}
	}
	<-a.ended
	if sent == 20000 && len(g.reports()) == 0 {
		t.Error("20,000 CONTINUATION frames were taken")
	}
	if g.started.Load() != 0 {
		t.Error("a handler started")
	}
}

// Accounts fill again with time and never above their bound.
func TestLedgerRefill(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLedger(FrameBudget{Now: func() time.Time { return now }}.withDefaults())
	ping := frame{kind: framePing}
	spend := func() (n int) {
		for l.fromClient(ping) == nil {
			n++
		}
		return n
	}
	if n := spend(); n != 200 {
		t.Errorf("%d at once", n)
	}
	l.balance[accountPing] = 0
	for range 50 {
		now = now.Add(100 * time.Millisecond)
		l.refill()
	}
	if n := spend(); n < 95 || n > 100 {
		t.Errorf("%d after half a window", n)
	}
	now = now.Add(1000 * time.Hour)
	l.refill()
	if n := spend(); n > 200 {
		t.Errorf("%d after a long rest", n)
	}
	for range 10000 {
		l.fromServer(frame{kind: frameData, length: 1})
	}
	if n := spend(); n != savings*200 {
		t.Errorf("%d after much work", n)
	}
	// The reset account: 180 streams without an answer, then a rest of half a minute.
	stream := uint32(1)
	reset := func() (n int) {
		for ; l.fromClient(frame{kind: frameHeaders, stream: stream}) == nil; stream += 2 {
			l.fromClient(frame{kind: frameReset, stream: stream})
			n++
		}
		delete(l.open, stream)
		stream += 2
		l.balance[accountResets] = 0
		return n
	}
	if n := reset(); n != 180 {
		t.Errorf("%d resets", n)
	}
	now = now.Add(30 * time.Second)
	l.refill()
	if n := reset(); n < 85 || n > 90 {
		t.Errorf("%d resets after half a minute", n)
	}
}
