package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Good requests pass, pipelined, however they are cut, and each body is its own (C14).
func TestPipelinedRequests(t *testing.T) {
	g := startGate(t, Limits{Trailers: func(name string) bool { return name == "x-sum" }})
	long := strings.Repeat("0123456789abcdef", 8<<10)
	raw := "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n" +
		"POST /2 HTTP/1.1\r\nHost: A.test:80\r\nContent-Length: 5\r\n\r\nGET /" +
		"POST /3 HTTP/1.1\r\nHost: [::1]:8443\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nGET /\r\n00a\r\n0123456789\r\n0\r\n\r\n" +
		"OPTIONS /4 HTTP/1.1\r\nhost:\t a.test \t\r\nX: \xfc \"\t\"\r\nEmpty:\r\n\r\n" +
		"GET http://a.test/5?x=%zz HTTP/1.1\r\nHost: A.TEST\r\nContent-Length: 0\r\n\r\n" +
		"POST /6 HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n" +
		fmt.Sprintf("PUT /7 HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(long), long) +
		fmt.Sprintf("PUT /8 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long) +
		"GET /" + strings.Repeat("9", 8000) + " HTTP/1.1\r\nX: " + strings.Repeat("x", 8000) + "\r\nHost: a.test\r\n\r\n" +
		"M-SEARCH /10 HTTP/1.0\r\nHost: a.test\r\nConnection: close\r\n\r\n"
	bodies := []string{"", "GET /", "GET /0123456789", "", "", "a", long, long, "", ""}
	for _, size := range []int{len(raw), 9000, 61} {
		before := len(g.all())
		var pieces []string
		for piece := range slices.Chunk([]byte(raw), size) {
			pieces = append(pieces, string(piece))
			if size == 61 && len(pieces) > 12 {
				break // enough of small pieces
			}
		}
		pieces = append(pieces, raw[len(strings.Join(pieces, "")):])
		if n := len(answers(t, g.send(t, pieces...))); n != len(bodies) {
			t.Errorf("pieces of %d: %d answers", size, n)
		}
		for i, s := range g.all()[before:] {
			if s.refusal != nil || s.body != bodies[i] {
				t.Errorf("pieces of %d: request %d: body %.20q, refusal %v", size, i+1, s.body, s.refusal)
			}
		}
	}
}

// A body that turns out to be wrong midway: the handler sees an error and the reason, never a complete body, and nothing follows (C8-C10, B10).
func TestRefusedBodies(t *testing.T) {
	g := startGate(t, Limits{Trailers: func(name string) bool { return name == "x-sum" }})
	for _, tt := range []struct{ row, body, reason string }{
		{"C8", "3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n", reasonChunkSize},
		{"C8", "3\r\nabc\r\n\r\n0\r\n\r\n", reasonChunkSize},
		{"C8", "3\r\nabcd\r\n0\r\n\r\n", reasonChunkEnd},
		{"C9", "3\r\nabc\r\n0;a\r\n\r\n", reasonChunkExtension},
		{"C10", "3\r\nabc\n0\r\n\r\n", reasonBareLF},
		{"C10", "3\r\nabc\r\n0\n\r\n", reasonBareLF},
		{"C10", "3\r\nabc\r\n0\r\n\n", reasonBareLF},
		{"C11", "3\r\nabc\rX0\r\n\r\n", reasonBareCR},
		{"C11", "3\r\nabc\r\n0\rX\r\n", reasonBareCR},
		{"B10", "3\r\nabc\r\n0\r\nX-User: admin\r\n\r\n", reasonTrailer},
		{"B10", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n", reasonTrailer},
		{"B10", "3\r\nabc\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n", reasonObsFold},
		{"B10", "3\r\nabc\r\n0\r\nX-Sum : 1\r\n\r\n", reasonSpaceColon},
		{"B10", "0\r\nX-Sum: " + strings.Repeat("1", 3000) + "\r\n\r\n", reasonTrailerSize},
		{"B10", "0\r\n" + strings.Repeat("X-Sum: 1\r\n", 129) + "\r\n", reasonTrailerSize},
		{"H5", strings.Repeat("000000000000001\r\na\r\n", 20000) + "0\r\n\r\n", ""}, // 15 digits are still in proportion
		{"H5", strings.Repeat("0000000000000001\r\na\r\n", 10000) + "0\r\n\r\n", ""},
	} {
		t.Run(tt.row+"/"+tt.reason, func(t *testing.T) {
			raw := "POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + tt.body
			before := len(g.all())
			if tt.reason == "" {
				got := g.send(t, raw+"GET /end HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
				if n := len(answers(t, got)); n != 2 {
					t.Errorf("%d answers: %.200q", n, got)
				}
				return
			}
			got := answers(t, g.send(t, good+raw+good))
			record := g.all()[before:]
			if len(got) != 2 || len(record) != 2 || record[1].refusal == nil || record[1].refusal.Reason != tt.reason {
				t.Fatalf("%d answers, handler saw %v; want refusal %s", len(got), record, tt.reason)
			}
			if !got[1].Close || got[1].StatusCode/100 != 4 {
				b, _ := io.ReadAll(got[1].Body)
				t.Errorf("status %d, close %v: %s", got[1].StatusCode, got[1].Close, b)
			}
		})
	}
}

// The refusal names the byte.
func TestOffset(t *testing.T) {
	g := startGate(t, Limits{})
	g.send(t, good+"GET /x HTTP/1.1\r\nHost: a.test\r\nX: a\x00b\r\n\r\n")
	all := g.all()
	want := int64(len(good) + strings.Index("GET /x HTTP/1.1\r\nHost: a.test\r\nX: a\x00b", "\x00"))
	if r := all[len(all)-1].refusal; r == nil || r.Offset != want {
		t.Errorf("%v, want offset %d", r, want)
	}
}

// A refused head that arrives while the handler of the request before runs neither cancels that request nor overtakes its answer.
func TestRefusalWhileHandlerRuns(t *testing.T) {
	g := startGate(t, Limits{})
	entered, leave := make(chan struct{}), make(chan struct{})
	g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
		close(entered)
		select {
		case <-leave:
			io.WriteString(w, "first")
		case <-r.Context().Done():
			t.Error("the first request was cancelled")
		}
	}
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, good)
	<-entered
	io.WriteString(c, "GET /\x00 HTTP/1.1\r\n\r\n")
	time.Sleep(20 * time.Millisecond)
	close(leave)
	raw, err := io.ReadAll(c)
	if got := answers(t, string(raw)); len(got) != 2 || got[0].StatusCode != 200 || got[1].StatusCode != 400 || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
}

// The client's going is noticed while a handler runs, also with an incomplete next head in hand.
func TestClientGone(t *testing.T) {
	for _, partial := range []string{"", "GET /next HT"} {
		g := startGate(t, Limits{})
		entered, gone := make(chan struct{}), make(chan error, 1)
		g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			close(entered)
			select {
			case <-r.Context().Done():
				gone <- nil
			case <-time.After(3 * time.Second):
				gone <- errors.New("not noticed")
			}
		}
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, good)
		<-entered
		io.WriteString(c, partial)
		time.Sleep(5 * time.Millisecond)
		c.Close()
		if err := <-gone; err != nil {
			t.Error(partial, err)
		}
	}
}

// Expect: 100-continue works: the head is handed on before the body, chunked or not, and a bad body is still refused (C13).
func TestContinue(t *testing.T) {
	for _, tt := range []struct{ field, body, answer string }{
		{"Content-Length: 3", "abc", "200 OK"},
		{"Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "200 OK"},
		{"Transfer-Encoding: chunked", "3;\r\nabc\r\n0\r\n\r\n", "400 Bad Request"},
	} {
		g := startGate(t, Limits{})
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(3 * time.Second))
		r := bufio.NewReader(c)
		io.WriteString(c, "POST /p HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\n"+tt.field+"\r\n\r\n")
		if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Errorf("%q, %v", line, err)
		}
		r.ReadString('\n')
		io.WriteString(c, tt.body)
		if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 "+tt.answer+"\r\n" {
			t.Errorf("%q, %v", line, err)
		}
		c.Close()
	}
}

// A request with Upgrade is the last on its connection: behind it bytes pass only after Tunnel (C16, C17, C18, C20).
func TestUpgradeFromClient(t *testing.T) {
	const upgrade = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	t.Run("refused by the handler", func(t *testing.T) {
		g := startGate(t, Limits{})
		got := answers(t, g.send(t, upgrade+"GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"))
		if len(got) != 1 || len(g.all()) != 1 {
			t.Errorf("%d answers, %v", len(got), g.all())
		}
	})
	t.Run("with a body", func(t *testing.T) {
		g := startGate(t, Limits{})
		got := answers(t, g.send(t, strings.Replace(upgrade, "\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n", 1)+"abcGET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"))
		if len(got) != 1 || len(g.all()) != 1 || g.all()[0].body != "abc" {
			t.Errorf("%d answers, %v", len(got), g.all())
		}
	})
	t.Run("tunnel", func(t *testing.T) {
		g := startGate(t, Limits{})
		g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			time.Sleep(10 * time.Millisecond) // early data arrives in the background read
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := c.Tunnel(); err != nil {
				t.Error(err)
			}
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			io.Copy(conn, rw)
		}
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Second))
		io.WriteString(c, upgrade+"early\n\x00")
		r := bufio.NewReader(c)
		for range 2 {
			r.ReadString('\n')
		}
		echo := make([]byte, 11)
		io.WriteString(c, "late\n")
		if _, err := io.ReadFull(r, echo); err != nil || string(echo) != "early\n\x00late" {
			t.Errorf("%q, %v", echo, err)
		}
	})
	t.Run("hijacked without tunnel", func(t *testing.T) {
		g := startGate(t, Limits{})
		got := make(chan string, 1)
		g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			conn, rw, _ := http.NewResponseController(w).Hijack()
			defer conn.Close()
			b, _ := io.ReadAll(rw)
			got <- string(b)
		}
		g.send(t, upgrade+"raw bytes")
		if b := <-got; b != "" {
			t.Errorf("%q passed without a tunnel", b)
		}
	})
	t.Run("tunnel without upgrade", func(t *testing.T) {
		g := startGate(t, Limits{})
		g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			if c.Tunnel() == nil {
				t.Error("a tunnel without Upgrade")
			}
		}
		g.send(t, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	})
	t.Run("too much early data", func(t *testing.T) {
		g := startGate(t, Limits{})
		gone := make(chan struct{})
		g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			<-r.Context().Done()
			close(gone)
		}
		c, _ := net.Dial("tcp", g.addr)
		defer c.Close()
		io.WriteString(c, upgrade+strings.Repeat("x", 64<<10))
		<-gone
	})
}

// inBubble serves one connection with a real http.Server in fake time and returns the client's end and the handler's record.
func inBubble(t *testing.T, lim Limits, handler func(w http.ResponseWriter, r *http.Request, c *RequestConn)) (net.Conn, *gate, func()) {
	t.Helper()
	server, client := net.Pipe()
	g := &gate{handler: handler}
	conns := make(chan net.Conn, 1)
	conns <- NewRequestConn(server, lim, time.Now)
	srv := &http.Server{Handler: http.HandlerFunc(g.serve), DisableGeneralOptionsHandler: true, ConnContext: connContext}
	l := &oneListener{conns: conns, done: make(chan struct{})}
	go srv.Serve(l)
	return client, g, func() { srv.Close(); client.Close(); synctest.Wait() }
}

type oneListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneListener) Close() error   { close(l.done); return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// H1, H2: the clocks, in fake time.
func TestSlowClients(t *testing.T) {
	const post = "POST /p HTTP/1.1\r\nHost: a.test\r\n"
	for _, tt := range []struct {
		name   string
		before string        // sent at once
		piece  string        // then sent every pause, until the end
		pause  time.Duration // fake
		reason string        // "" for a close without answer
		from   time.Duration // the end comes between from and to
		to     time.Duration
	}{
		{"H1 head stops", "GET /p HTTP/1.1\r\nHo", "", time.Second, reasonSlowHead, 5 * time.Second, 5100 * time.Millisecond},
		{"H1 head trickles", "G", "E", time.Second, reasonSlowHead, 5 * time.Second, 6 * time.Second},
		{"H1 second head stops", good + "GET /p HTTP/1.1\r\nHo", "", time.Second, reasonSlowHead, 5 * time.Second, 5100 * time.Millisecond},
		{"H1 nothing comes", "", "", time.Second, "", 60 * time.Second, 60100 * time.Millisecond},
		{"H1 idle", good, "", time.Second, "", 60 * time.Second, 60100 * time.Millisecond},
		{"H2 body stops", post + "Content-Length: 100\r\n\r\n", "", time.Second, reasonSlowBody, 10 * time.Second, 11 * time.Second},
		{"H2 1 byte in 10 s", post + "Content-Length: 100\r\n\r\n", "x", 9 * time.Second, reasonSlowBody, 9 * time.Second, 11 * time.Second},
		{"H2 body trickles", post + "Content-Length: 100000\r\n\r\n", strings.Repeat("x", 200), time.Second, reasonSlowBody, 40 * time.Second, 50 * time.Second},
		{"H2 chunks trickle", post + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second, reasonSlowBody, 10 * time.Second, 12 * time.Second},
		{"H2 first chunk line", post + "Transfer-Encoding: chunked\r\n\r\n", "", time.Second, reasonSlowBody, 10 * time.Second, 11 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g, end := inBubble(t, Limits{}, nil)
				defer end()
				start := time.Now()
				closed := make(chan string, 1)
				go func() {
					raw, _ := io.ReadAll(client)
					closed <- string(raw)
				}()
				io.WriteString(client, tt.before)
				var sender sync.WaitGroup
				defer sender.Wait()
				sender.Go(func() {
					for tt.piece != "" {
						time.Sleep(tt.pause)
						if _, err := io.WriteString(client, tt.piece); err != nil {
							return
						}
					}
				})
				defer client.Close()
				var answered time.Duration
				for answered == 0 && time.Since(start) < 2*time.Minute {
					time.Sleep(10 * time.Millisecond)
					if all := g.all(); len(all) > 0 && all[len(all)-1].refusal != nil {
						answered = time.Since(start)
						if got := all[len(all)-1].refusal; got.Reason != tt.reason || got.Status != 408 {
							t.Errorf("%v, want %s", got, tt.reason)
						}
					}
					select {
					case raw := <-closed:
						answered = time.Since(start)
						if tt.reason != "" && !strings.Contains(raw, tt.reason) {
							t.Errorf("closed with %q", raw)
						}
						closed <- ""
					default:
					}
				}
				if answered < tt.from || answered > tt.to {
					t.Errorf("ended after %v, want %v to %v", answered, tt.from, tt.to)
				}
			})
		})
	}
}

// Slow handlers and long polling are not the client's fault: no clock of ours runs while a handler does.
func TestSlowHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, end := inBubble(t, Limits{}, func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			time.Sleep(3 * time.Minute)
			body, err := io.ReadAll(r.Body)
			time.Sleep(3 * time.Minute)
			fmt.Fprintf(w, "%q %v %v", body, err, r.Context().Err())
		})
		defer end()
		r := bufio.NewReader(client)
		// net.Pipe has no buffer: the bodies are written when the handler reads them. The first one stays unread for 3 minutes.
		go io.WriteString(client, "POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET /partial HT")
		time.Sleep(7 * time.Minute)
		go io.WriteString(client, "TP/1.1\r\nHost: a.test\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `"abc" <nil> <nil>` {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// An idle client is one that owes us a request, not one that waits for our answer.
func TestIdleTimeStandsStillWhileHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, end := inBubble(t, Limits{}, func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
			time.Sleep(10 * time.Minute)
			fmt.Fprint(w, r.Context().Err())
		})
		defer end()
		go io.WriteString(client, good)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "<nil>" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// SetReadDeadline interrupts a read and nothing that arrived is lost, byte by byte (net/http aborts its background read that way).
func TestDeadlineKeepsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		c := NewRequestConn(server, Limits{HeadTime: time.Hour}, time.Now)
		raw := head("GET /p HTTP/1.1", "X: y")
		go func() {
			for i := range raw {
				time.Sleep(time.Second)
				client.Write([]byte{raw[i]})
			}
		}()
		var got []byte
		timeouts := 0
		for p := make([]byte, 7); len(got) < len(raw); {
			c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				if !isTimeout(err) {
					t.Fatal(err)
				}
				timeouts++
			}
		}
		if string(got) != raw || timeouts < 2*len(raw) {
			t.Errorf("%q after %d timeouts", got, timeouts)
		}
		read := make(chan error)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		synctest.Wait()
		start := time.Now()
		c.SetReadDeadline(time.Unix(1, 0)) // while the read is under way
		if err := <-read; !isTimeout(err) || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.SetDeadline(time.Time{})
		go client.Write([]byte(good))
		if n, err := c.Read(make([]byte, 100)); n != len(good) || err != nil {
			t.Error(n, err)
		}
	})
}

// A refused head hands on nothing, whatever the split.
func TestRefusedHeadHandsOnNothing(t *testing.T) {
	for _, tt := range refusedHeads() {
		for _, size := range []int{1, 3, 4096} {
			if size < 100 && len(tt.raw) > 20000 {
				continue
			}
			c := NewRequestConn(&script{data: []byte(tt.raw), pieces: []int{size}}, Limits{}, time.Now)
			got, err := io.ReadAll(c)
			if err != nil || string(got) != substitute {
				t.Fatalf("%s: handed on %q, %v", tt.reason, got, err)
			}
		}
	}
}

// Close after a refusal lets the answer arrive although the client is still sending.
func TestAnswerSurvivesFlood(t *testing.T) {
	g := startGate(t, Limits{})
	raw := g.send(t, "GET /\x01 HTTP/1.1\r\n", strings.Repeat("x", 100<<10))
	if got := answers(t, raw); len(got) != 1 {
		t.Errorf("%q", raw)
	}
}

// The engine's background read asks for one byte. RequestConn relies on it to tell a running handler from an idle client.
func TestBackgroundReadAsksForOneByte(t *testing.T) {
	sizes := make(chan int, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Millisecond); close(running) })}
	go server.Serve(wrapped{l, func(c net.Conn) net.Conn { return sizeConn{c, sizes} }})
	defer server.Close()
	c, _ := net.Dial("tcp", l.Addr().String())
	defer c.Close()
	io.WriteString(c, good)
	<-running
	if first, background, next := <-sizes, <-sizes, <-sizes; first < 2 || background != 1 || next < 2 {
		t.Errorf("net/http asks for %d, %d in the background, %d", first, background, next)
	}
}

type sizeConn struct {
	net.Conn
	sizes chan int
}

func (c sizeConn) Read(p []byte) (int, error) {
	c.sizes <- len(p)
	return c.Conn.Read(p)
}

// H1, H5: what a connection costs here. Nothing while idle, never more than 64 KiB.
func TestMemory(t *testing.T) {
	for _, piece := range []int{1, 100, 4096} {
		raw := good + head("POST /p HTTP/1.1", "Content-Length: 3") + "abc" + strings.TrimSuffix(head("GET /p HTTP/1.1", "X: "+strings.Repeat("x", 16000)), "\r\n")
		s := &script{data: []byte(raw), pieces: []int{piece}}
		c := NewRequestConn(s, Limits{}, time.Now)
		got, err := io.ReadAll(c)
		if err != nil || cap(c.inbox.b) > 64<<10 || c.inbox.open() < 16000 {
			t.Errorf("%d handed on, %v; holds %d bytes in %d", len(got), err, c.inbox.open(), cap(c.inbox.b))
		}
		s.data = []byte("\r\n")
		if _, err := io.ReadAll(c); err != nil || c.inbox.b != nil {
			t.Errorf("%v; an idle connection holds %d bytes", err, cap(c.inbox.b))
		}
	}
}

func TestReasons(t *testing.T) {
	all := Reasons()
	if !slices.IsSorted(all) || len(all) != len(statuses) || slices.Contains(all, "") {
		t.Error(all)
	}
}
