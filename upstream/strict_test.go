package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/wire"
)

// strict is what cmd hands in.
func strict() Deps {
	return Deps{WrapConn: func(c net.Conn) net.Conn { return wire.NewResponseConn(c, wire.ResponseLimits{}) }}
}

// C15: with the strict reader in between, what net/http would read generously is refused, and the server is blamed.
func TestStrictReaderBelow(t *testing.T) {
	for name, answer := range map[string]string{
		"obs-fold":          "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"bare LF":           "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"length and coding": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"NUL in a value":    "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"six times 103":     strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			target := raw(t, talker(func(*http.Request, int) string { return answer }))
			p := pool(t, calm(), strict(), target)
			_, _, _, err := send(p, get(t, "/"), idempotent)
			if reasonOf(err) != ReasonRefusedResponse {
				t.Fatal(err)
			}
			if s := p.State()[0]; s.Failures != 1 || s.Idle != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// All that works without the strict reader works above it.
func TestStrictReaderIsTransparent(t *testing.T) {
	f := newFaulty(t)
	p := pool(t, calm(), strict(), f.url())
	big := strings.Repeat("x", 100<<10)
	for i, body := range []any{nil, "small", big, io.MultiReader(strings.NewReader("a"), strings.NewReader("stream")), nil} {
		method := "PUT"
		if body == nil {
			method = "GET"
		}
		r := request(t, method, "/", body)
		r.Header.Set("X-Id", fmt.Sprint(i))
		status, answer, report, err := send(p, r, idempotent)
		if status != 200 || answer != fmt.Sprint(i) || err != nil || report.Reused != (i > 0) {
			t.Fatal(i, status, answer, report, err)
		}
	}
	f.mode.Store("reset after head")
	if _, body, _, err := send(p, get(t, "/"), idempotent); body != "abc" || reasonOf(err) != ReasonReset {
		t.Error(body, err)
	}
}

// C20 above the strict reader.
func TestStrictReaderTunnel(t *testing.T) {
	p := pool(t, calm(), strict(), raw(t, func(c net.Conn) {
		head := make([]byte, 4096)
		_, _ = c.Read(head)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi")
		_, _ = io.Copy(c, c)
	}))
	r := get(t, "/")
	r.Header.Set("Upgrade", "echo")
	resp, _, err := p.Send(context.Background(), r, Call{Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	tunnel := resp.Body.(io.ReadWriteCloser)
	_, _ = io.WriteString(tunnel, "\x00\x01\r\n\r\n")
	got := make([]byte, 8)
	if _, err := io.ReadFull(tunnel, got); !bytes.Equal(got, []byte("hi\x00\x01\r\n\r\n")) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_ = tunnel.Close()
	if s := p.State()[0]; s.Busy != 0 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
}
