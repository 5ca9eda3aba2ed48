package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawServer answers the n-th request of each connection with the bytes that answer returns; an empty answer ends the connection.
func rawServer(t testing.TB, answer func(n int, r *http.Request) string) (url string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for n := 1; ; n++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					raw := answer(n, req)
					if raw == "" {
						return
					}
					for piece := range strings.SplitSeq(raw, "|pause|") {
						io.WriteString(c, piece)
						if len(piece) != len(raw) {
							time.Sleep(2 * time.Millisecond)
						}
					}
					if strings.HasSuffix(raw, "|close|") {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), accepted
}

func strictTransport(t testing.TB, lim ResponseLimits) *http.Transport {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return NewResponseConn(c, lim), nil
		},
		DisableCompression: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// C15, C16: each response is refused as a read error of type *Refusal, from the first request and from the second on a kept connection.
func TestRefusedResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct{ name, raw, reason string }{
		{"C15 bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", reasonBareLF},
		{"C15 LF in a field", ok + "X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", reasonBareLF},
		{"C15 obs-fold", ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", reasonObsFold},
		{"C15 CR", ok + "X: a\rb\r\nContent-Length: 0\r\n\r\n", reasonBareCR},
		{"C15 NUL", ok + "X: a\x00b\r\nContent-Length: 0\r\n\r\n", reasonNUL},
		{"C15 control", ok + "X: a\x1bb\r\nContent-Length: 0\r\n\r\n", reasonFieldValue},
		{"C15 name", ok + "X(: a\r\nContent-Length: 0\r\n\r\n", reasonFieldName},
		{"C15 space before colon", ok + "Content-Length : 0\r\n\r\n", reasonSpaceColon},
		{"C15 CL+TE", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", reasonLengthAndChunks},
		{"C15 two CL", ok + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", reasonLengthTwice},
		{"C15 CL list", ok + "Content-Length: 0, 0\r\n\r\n", reasonLength},
		{"C15 TE", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", reasonEncodingUnknown},
		{"C15 TE 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", reasonEncoding10},
		{"C15 bad chunk", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", reasonChunkEnd},
		{"C15 chunk extension", ok + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", reasonChunkExtension},
		{"C15 chunk LF", ok + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", reasonBareLF},
		{"C15 trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", reasonTrailer},
		{"C15 long trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("a", 5000) + "\r\n\r\n", reasonTrailerSize},
		{"C15 1xx flood", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100) + ok + "Content-Length: 0\r\n\r\n", reasonResponseInfo},
		{"C15 1xx body", "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc" + ok + "Content-Length: 0\r\n\r\n", reasonResponseNoBody},
		{"C15 204 body", "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", reasonResponseNoBody},
		{"C15 status", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", reasonResponseStatus},
		{"C15 status 099", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", reasonResponseStatus},
		{"C15 status 999", "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", reasonResponseStatus},
		{"C15 version", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", reasonResponseStatus},
		{"C15 ICY", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", reasonResponseStatus},
		{"C15 reason phrase", "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", reasonNUL},
		{"C16 101 unasked", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw", reasonResponseSwitching},
		{"H13 head size", ok + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 100) + "\r\n", reasonHeadSize},
		{"H13 line without end", ok + "X: " + strings.Repeat("a", 100<<10), reasonHeadSize},
		{"H13 fields", ok + strings.Repeat("a: b\r\n", 300) + "\r\n", reasonFieldCount},
	} {
		for _, before := range []int{0, 1} {
			t.Run(fmt.Sprint(tt.name, "/", before), func(t *testing.T) {
				url, _ := rawServer(t, func(n int, _ *http.Request) string {
					if n <= before {
						return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
					}
					return tt.raw
				})
				tr := strictTransport(t, ResponseLimits{})
				last := watchConns(tr)
				client := &http.Client{Transport: tr}
				for range before {
					if body, err := fetch(client, "POST", url); err != nil || body != "ok" {
						t.Fatalf("%q, %v", body, err)
					}
				}
				_, err := fetch(client, "POST", url)
				var refusal *Refusal
				if errors.As(err, &refusal); refusal == nil && err != nil {
					refusal = last.Load().Refusal() // net/http puts an error of its own in front of a bad trailer
				}
				if refusal == nil || refusal.Reason != tt.reason || refusal.Status != 502 {
					t.Errorf("got %v, want a refusal %s", err, tt.reason)
				}
			})
		}
	}
}

// watchConns remembers the connection that was dialled last.
func watchConns(tr *http.Transport) *atomic.Pointer[ResponseConn] {
	last := new(atomic.Pointer[ResponseConn])
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err == nil {
			last.Store(c.(*ResponseConn))
		}
		return c, err
	}
	return last
}

func fetch(client *http.Client, method, url string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader("body"))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// What servers really send passes, byte for byte, however it is cut, and the connection is kept.
func TestAcceptedResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("0123456789abcdef", 10<<10)
	for _, tt := range []struct {
		name, method, raw, body string
		conns                   int64 // connections that three requests take
	}{
		{"length", "GET", ok + "Content-Length: 3\r\n\r\nabc", "abc", 1},
		{"empty", "GET", ok + "Content-Length: 0\r\n\r\n", "", 1},
		{"long", "POST", ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(long)) + long, long, 1},
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", "abc", 1},
		{"obs-text", "GET", "HTTP/1.1 200 Gr\xfc\xdfe\r\nX: \xfc\r\nContent-Length: 3\r\n\r\nabc", "abc", 1},
		{"chunked", "GET", ok + "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", 1},
		{"trailer", "GET", ok + "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", "abc", 1},
		{"long chunk", "GET", ok + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(long)) + long + "\r\n0\r\n\r\n", long, 1},
		{"until close", "GET", ok + "\r\nabc|close|", "abc|close|", 3},
		{"1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nabc|close|", "abc|close|", 3},
		{"HEAD", "HEAD", ok + "Content-Length: 3\r\n\r\n", "", 1},
		{"HEAD chunked", "HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n", "", 1},
		{"204", "DELETE", "HTTP/1.1 204 No Content\r\n\r\n", "", 1},
		{"204 with length 0", "DELETE", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", 1},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "", 1},
		{"103", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5) + ok + "Content-Length: 3\r\n\r\nabc", "abc", 1},
		{"C16 200 with Upgrade", "GET", ok + "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc", "abc", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, cut := range []string{"", "\r", "\n", "a"} {
				raw := tt.raw
				if cut != "" && len(raw) < 1000 {
					raw = strings.ReplaceAll(raw, cut, cut+"|pause|")
					raw = strings.ReplaceAll(raw, "|pa|pause|use|", "|pause|")
					if strings.Contains(raw, "cl") {
						continue // the mark of a close would be cut, too
					}
				}
				url, conns := rawServer(t, func(int, *http.Request) string { return raw })
				client := &http.Client{Transport: strictTransport(t, ResponseLimits{})}
				for range 3 {
					if body, err := fetch(client, tt.method, url); err != nil || body != tt.body {
						t.Fatalf("%.40q, %v; want %.40q", body, err, tt.body)
					}
				}
				if n := conns.Load(); n != tt.conns {
					t.Errorf("%d connections for three requests, want %d", n, tt.conns)
				}
			}
		})
	}
}

// C16, C18: 101 opens a tunnel only for a request that asked; an Upgrade that is answered otherwise leaves the connection usable.
func TestUpgradeToServer(t *testing.T) {
	url, _ := rawServer(t, func(n int, r *http.Request) string {
		if r.Header.Get("Upgrade") == "echo" {
			return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nGET / not HTTP\n\n"
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
	})
	client := &http.Client{Transport: strictTransport(t, ResponseLimits{})}
	for _, upgrade := range []string{"other", "", "echo"} {
		req, _ := http.NewRequest("GET", url, nil)
		if upgrade != "" {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", upgrade)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(upgrade, err)
		}
		if upgrade != "echo" {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			continue
		}
		if resp.StatusCode != 101 {
			t.Fatal(resp.Status)
		}
		if _, err := io.WriteString(resp.Body.(io.Writer), "\x00 not HTTP either \n"); err != nil {
			t.Error(err)
		}
		raw := make([]byte, 16)
		if _, err := io.ReadFull(resp.Body, raw); err != nil || string(raw) != "GET / not HTTP\n\n" {
			t.Errorf("%q, %v", raw, err)
		}
		resp.Body.Close()
	}
}

// C15: bytes that no request asked for end a kept connection instead of answering the next request.
func TestUnaskedResponse(t *testing.T) {
	url, conns := rawServer(t, func(int, *http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	})
	client := &http.Client{Transport: strictTransport(t, ResponseLimits{})}
	for i := range 5 {
		if body, err := fetch(client, "GET", url); err != nil || body != "abc" {
			t.Fatalf("request %d: %q, %v", i, body, err)
		}
		time.Sleep(5 * time.Millisecond) // the transport closes the connection in the background
	}
	if n := conns.Load(); n != 5 {
		t.Errorf("%d connections for 5 requests: one was kept", n)
	}
}
