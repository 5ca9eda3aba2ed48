package adversary

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// floodDocument has the edge profile's bounds with shorter times.
const floodDocument = `
listen:
  at: ["https://127.0.0.1:0", "http://127.0.0.1:0"]
  admin: "http://ADMIN"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
  limits: {head_time: 1s, handshake: 1s, idle: 2s}
apis:
  - {name: shop, hosts: [api.test], contract: small.yaml, to: ["UPSTREAM"]}
  - {name: answers, hosts: [answers.test], contract: answers.yaml, to: ["ANSWERS"]}
`

const smallContract = `
openapi: 3.0.3
info: {title: shop, version: "1"}
paths:
  /public/x: {get: {operationId: public, security: [], responses: {"200": {description: ok}}}}
  /items:
    post:
      operationId: addItem
      security: []
      requestBody: {content: {application/json: {schema: {type: object, properties: {name: {type: string}}}}}}
      responses: {"200": {description: ok}}
`

func floodGateway(t *testing.T) *gateway {
	return another(t, floodDocument, map[string]string{"small.yaml": smallContract, "answers.yaml": answersContract})
}

const healthy = "GET /public/x HTTP/1.1\r\nHost: api.test\r\n\r\n"

// during asks as a healthy client while an attack goes on, and fails when it is not answered, or slowly.
func during(t *testing.T, g *gateway, attack func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); attack() }()
	asked, slowest := 0, time.Duration(0)
	for running := true; running; asked++ {
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
		began := time.Now()
		if r := g.sendRaw(t, source(), healthy, true, false); r.status != 200 {
			t.Fatalf("the healthy client got %d (%s)", r.status, r.end)
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("%d healthy requests, the slowest %s", asked, slowest)
	if slowest > 2*time.Second {
		t.Errorf("the slowest healthy request took %s", slowest)
	}
}

// bounded fails when the process has grown by more than most bytes while f ran.
func bounded(t *testing.T, g *gateway, most int, f func()) {
	t.Helper()
	before, highest := g.memory(t), 0
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(10 * time.Millisecond):
		}
		highest = max(highest, g.memory(t))
	}
	t.Logf("%d KiB more memory at most", (highest-before)>>10)
	if highest-before > most {
		t.Errorf("%d KiB more memory, want at most %d", (highest-before)>>10, most>>10)
	}
}

// many opens n connections from addresses of 127.block/16, 50 from each, and calls use for each at the same time.
func (g *gateway) many(t *testing.T, block, n int, protocols []string, use func(c net.Conn)) {
	var all sync.WaitGroup
	for i := range n {
		c, err := g.dial(fmt.Sprintf("127.%d.%d.1", block, i/50), protocols...)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			break
		}
		all.Go(func() { defer c.Close(); use(c) })
	}
	all.Wait()
}

// H1, H4 to H7 in a short form: what costs an attacker nothing costs the gateway little, and others are served.
func TestConnectionFloods(t *testing.T) {
	t.Parallel()
	g := floodGateway(t)
	g.sendRaw(t, source(), healthy, true, false)
	t.Run("H1", func(t *testing.T) {
		bounded(t, g, 40<<20, func() {
			during(t, g, func() {
				g.many(t, 120, 500, nil, func(c net.Conn) {
					_ = c.SetDeadline(time.Now().Add(patience))
					_, _ = io.WriteString(c, "GET /public/x HTTP/1.1\r\nHost: api.test\r\nX-A:")
					began := time.Now()
					all, err := io.ReadAll(c)
					if err != nil && timeout(err) || !strings.HasPrefix(string(all), "HTTP/1.1 408 ") {
						t.Errorf("half a head: %q, %v after %s", all, err, time.Since(began))
					}
				})
			})
		})
	})
	t.Run("H4", func(t *testing.T) {
		before := g.refusals(t, "tls.timeout")
		bounded(t, g, 30<<20, func() {
			during(t, g, func() {
				for i := range 300 {
					c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.121.%d.1", i/50))}}).Dial("tcp", g.https)
					if err != nil {
						t.Errorf("%v", err)
						break
					}
					defer c.Close()
					_, _ = c.Write([]byte{22, 3, 1, 2, 0, 1})
				}
				for began := time.Now(); g.refusals(t, "tls.timeout") < before+300; time.Sleep(50 * time.Millisecond) {
					if time.Since(began) > patience {
						t.Errorf("%d of 300 handshakes have ended", g.refusals(t, "tls.timeout")-before)
						break
					}
				}
			})
		})
	})
	for row, head := range map[string]string{"H5": strings.Repeat("a:b\r\n", 180_000), "H6": "X-A: " + strings.Repeat("a", 900_000) + "\r\n"} {
		t.Run(row, func(t *testing.T) {
			bounded(t, g, 100*64<<10+20<<20, func() {
				during(t, g, func() {
					g.many(t, 122, 100, nil, func(c net.Conn) {
						_ = c.SetDeadline(time.Now().Add(patience))
						go func() {
							_, _ = io.WriteString(c, "GET /public/x HTTP/1.1\r\nHost: api.test\r\n"+head+"\r\n")
						}()
						line := make([]byte, 13)
						if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 431 " {
							t.Errorf("%q %v", line, err)
						}
					})
				})
			})
		})
	}
	t.Run("H7", func(t *testing.T) {
		before := g.refusals(t, "connection.per_address")
		var open []net.Conn
		during(t, g, func() {
			for range 150 {
				if c, err := g.dial("127.123.0.1"); err == nil {
					open = append(open, c)
				}
			}
			for began := time.Now(); g.refusals(t, "connection.per_address") < before+50 && time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
			}
		})
		if n := g.refusals(t, "connection.per_address") - before; n != 50 {
			t.Errorf("%d of 150 connections from one address were refused, want 50", n)
		}
		for _, c := range open {
			c.Close()
		}
	})
}

// H2 and H3: a body of a byte a second, and an answer that nobody reads, end; in the meantime, others are served.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	g := floodGateway(t)
	t.Run("H2", func(t *testing.T) {
		t.Parallel()
		g.many(t, 124, 20, nil, func(c net.Conn) {
			_ = c.SetDeadline(time.Now().Add(25 * time.Second))
			_, _ = io.WriteString(c, "POST /items HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
			go func() {
				for range 25 {
					if _, err := c.Write([]byte(" ")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			all, err := io.ReadAll(c)
			if err != nil && timeout(err) || !strings.HasPrefix(string(all), "HTTP/1.1 408 ") {
				t.Errorf("a slow body: %q %v", all, err)
			}
		})
		if total, _, _ := g.server.since(mark{}); total > 100*500 {
			t.Errorf("%d bytes at the server", total)
		}
	})
	t.Run("H3", func(t *testing.T) {
		t.Parallel()
		bounded(t, g, 60<<20, func() {
			for range 20 {
				c, err := g.dial("127.125.0.1")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, ask("/endless"))
			}
			g.events.from(t, "127.125.0.1", 20)
			time.Sleep(31 * time.Second)
			for _, e := range g.events.from(t, "127.125.0.1", 40) {
				if e.Kind != gate.KindExchange && (e.Kind != gate.KindBroken || e.Decision.Reason != "client.gone") {
					t.Errorf("%s %+v", e.Kind, e.Decision)
				}
			}
		})
	})
}

// H12: when the files that the process may open run out, the admin address still answers, and service goes on afterwards.
func TestFilesRunOut(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	g, err := prepareGateway(shortDir(t), floodDocument, map[string]string{"small.yaml": smallContract, "answers.yaml": answersContract})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.start(sh, "-c", `ulimit -n 256 && exec "$0" "$@"`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	var open []net.Conn
	for i := range 400 {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.126.%d.1", i/50))}, Timeout: time.Second}).Dial("tcp", g.http)
		if err == nil {
			open = append(open, c)
		}
	}
	if text := g.metrics(t); !strings.Contains(text, "gatehouse_") {
		t.Errorf("the admin address answers %q", text)
	}
	for _, c := range open {
		c.Close()
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := g.dial(source(), "http/1.1")
		if err == nil {
			r := exchange(t, c.(*tls.Conn), healthy, false)
			c.Close()
			if r.status == 200 {
				return
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("no service after the flood: %v", err)
		}
	}
}
