package wire

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a scripted client that remembers what the server wrote.
type recorder struct {
	script
	mu     sync.Mutex
	wrote  bytes.Buffer
	once   sync.Once
	closed chan struct{}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrote.Write(p)
}

func (r *recorder) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// FuzzEngineNeverAnswers: whatever a client sends, every answer comes from our handler, none from net/http, and the handler runs at most
// once for each. (D, item 4: what the reader lets through, the engine has nothing against.)
func FuzzEngineNeverAnswers(f *testing.F) {
	for i, seed := range requestSeeds() {
		f.Add([]byte(seed), uint64(i)*0x01030205)
	}
	conns := make(chan net.Conn)
	server := &http.Server{
		ErrorLog:                     log.New(io.Discard, "", 0),
		DisableGeneralOptionsHandler: true,
		ConnContext:                  connContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(mark, "yes")
			w.Header().Set("Date", "")
			c := r.Context().Value(connKey{}).(*RequestConn)
			if refusal := c.Next(); refusal != nil {
				w.WriteHeader(refusal.Status)
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(400)
			}
		}),
	}
	go server.Serve(&oneListener{conns: conns, done: make(chan struct{})})
	f.Cleanup(func() { server.Close() })
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		client := &recorder{script: script{data: bytes.Clone(data), pieces: cuts(seed)}, closed: make(chan struct{})}
		conns <- NewRequestConn(client, Limits{}, time.Now)
		<-client.closed
		client.mu.Lock()
		defer client.mu.Unlock()
		out := client.wrote.String()
		answered := strings.Count(out, "HTTP/1.") - strings.Count(out, "HTTP/1.1 100 Continue\r\n\r\n")
		if marked := strings.Count(out, mark+": yes\r\n"); marked != answered {
			t.Errorf("%d answers, %d of the handler, to %q: %q", answered, marked, data, out)
		}
	})
}

// Over TLS the timeouts of net/http's background read leave the connection usable, and refusals arrive.
func TestOverTLS(t *testing.T) {
	g := &gate{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(g.serve))
	server.StartTLS() // for its certificate
	certificate := server.TLS.Certificates[0]
	pool := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	server.Close()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	strict := &http.Server{Handler: http.HandlerFunc(g.serve), ConnContext: connContext, ErrorLog: log.New(io.Discard, "", 0)}
	go strict.Serve(wrapped{l, func(c net.Conn) net.Conn { return NewRequestConn(tls.Server(c, config), Limits{}, time.Now) }})
	defer strict.Close()

	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var all bytes.Buffer
	answer := make([]byte, 4096)
	for i := range 20 { // one connection, one after the other
		fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", i)
		n, err := c.Read(answer)
		if err != nil {
			t.Fatal(i, err)
		}
		all.Write(answer[:n])
	}
	io.WriteString(c, "GET /\x00 HTTP/1.1\r\n"+strings.Repeat("x", 50000))
	rest, err := io.ReadAll(c)
	all.Write(rest)
	got := answers(t, all.String())
	if len(got) != 21 || got[20].StatusCode != 400 || got[19].StatusCode != 200 || err != nil {
		t.Errorf("%d answers, then %v", len(got), err)
	}
}

// The handler may open the tunnel before it takes the connection over: the background read is still under way then.
func TestTunnelBeforeHijack(t *testing.T) {
	g := startGate(t, Limits{})
	g.handler = func(w http.ResponseWriter, r *http.Request, c *RequestConn) {
		if err := c.Tunnel(); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Millisecond)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.Copy(conn, rw)
	}
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly ")
	time.Sleep(2 * time.Millisecond)
	io.WriteString(c, "middle ")
	time.Sleep(10 * time.Millisecond)
	io.WriteString(c, "late")
	echo := make([]byte, len("early middle late"))
	if _, err := io.ReadFull(c, echo); err != nil || string(echo) != "early middle late" {
		t.Errorf("%q, %v", echo, err)
	}
}
