package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// C13: a server that answers before it has read the body. What is left of the body is not the next request.
func TestEarlyAnswerEndsTheConnection(t *testing.T) {
	p := pool(t, calm(), Deps{}, raw(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s", len(r.URL.Path), r.URL.Path) // the body stays where it is
		}
	}))
	for range 20 {
		inner, sender := io.Pipe()
		status, body, _, err := send(p, request(t, "POST", "/first", inner), Call{})
		if status != 413 || body != "/first" || err != nil {
			t.Fatal(status, body, err)
		}
		go func() {
			_, _ = io.WriteString(sender, "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
			_ = sender.Close()
		}()
		if status, body, report, err := send(p, get(t, "/second"), idempotent); body != "/second" || err != nil || report.Reused {
			t.Fatal(status, body, report, err)
		}
		p.servers[0].engine.(*http1).mu.Lock()
		for _, c := range p.servers[0].engine.(*http1).idle {
			c.discard()
		}
		p.servers[0].engine.(*http1).idle = nil
		p.servers[0].engine.(*http1).mu.Unlock()
	}
}

// An answer nobody asked for is not the answer to the next request.
func TestUnaskedAnswerEndsTheConnection(t *testing.T) {
	for name, pause := range map[string]time.Duration{"at once": 0, "later": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, calm(), Deps{}, raw(t, func(c net.Conn) {
				talker(func(r *http.Request, _ int) string {
					own := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + r.URL.Path[1:]
					if pause == 0 {
						return own + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
					}
					time.AfterFunc(pause, func() { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison") })
					return own
				})(c)
			}))
			for i := range 5 {
				word := fmt.Sprintf("%04d", i)
				if _, body, _, err := send(p, get(t, "/"+word), idempotent); body != word || err != nil {
					t.Fatalf("%q, %v", body, err)
				}
				time.Sleep(2 * pause)
			}
		})
	}
}

// What comes behind an answer, as from a server that answers HEAD with a body, ends that connection and harms no request
// after it: else one HEAD a second would open the circuit for everybody. With the strict reader below, as cmd has it.
func TestWhatComesBehindAnAnswerHarmsNobody(t *testing.T) {
	for name, answer := range map[string]string{
		"a second answer": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"a few bytes":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
		"a body to HEAD":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, calm(), strict(), raw(t, talker(func(*http.Request, int) string { return answer })))
			for range 20 {
				r := get(t, "/")
				if strings.Contains(name, "HEAD") {
					r.Method = "HEAD"
				}
				if status, body, report, err := send(p, r, idempotent); status != 200 || body != map[string]string{"GET": "ok"}[r.Method] || err != nil || report.Reused {
					t.Fatal(status, body, report, err)
				}
			}
			if s := p.State()[0]; s.Failures != 0 {
				t.Errorf("the server is blamed: %+v", s)
			}
		})
	}
}

// C16: 200 with Upgrade is no tunnel, and its connection serves nobody else.
func TestUpgradeThatWasNotGranted(t *testing.T) {
	p := pool(t, calm(), Deps{}, raw(t, talker(func(*http.Request, int) string {
		return "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok"
	})))
	for _, call := range []Call{{Upgrade: true, Idempotent: true}, idempotent} {
		r := get(t, "/")
		r.Header.Set("Upgrade", "websocket")
		resp, _, err := p.Send(context.Background(), r, call)
		if err != nil {
			t.Fatal(err)
		}
		if _, tunnel := resp.Body.(io.Writer); tunnel {
			t.Error("a tunnel was handed up")
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "ok" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		if s := p.State()[0]; call.Upgrade && s.Idle != 0 {
			t.Error("the connection was kept")
		}
	}
}

// C17: a switch to something else than was asked for, or one that the caller did not allow, is no answer.
func TestSwitchesThatAreRefused(t *testing.T) {
	for protocol, call := range map[string]Call{"h2c": {Upgrade: true}, "websocket": {}} {
		p := pool(t, calm(), Deps{}, raw(t, talker(func(*http.Request, int) string {
			return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
		})))
		r := get(t, "/")
		r.Header.Set("Upgrade", "websocket")
		if _, _, _, err := send(p, r, call); reasonOf(err) != ReasonRefusedResponse {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// C20: two users share a pool, and now and then one of them upgrades. Each answer carries the name of who asked.
func TestTwoUsersNeverMeet(t *testing.T) {
	p := pool(t, calm(), Deps{}, raw(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			user := r.Header.Get("X-User")
			if r.Header.Get("Upgrade") == "" {
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(user), user)
				continue
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello %s\n", user)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = fmt.Fprintf(c, "%s %s", user, line)
			}
		}
	}))
	var wait sync.WaitGroup
	for _, user := range []string{"ann", "bob"} {
		for range 2 {
			wait.Go(func() {
				for i := range 250 {
					if i%25 == 0 {
						speak(t, p, user)
						continue
					}
					r := get(t, "/")
					r.Header.Set("X-User", user)
					if _, body, _, err := send(p, r, idempotent); body != user || err != nil {
						t.Errorf("%s read %q, %v", user, body, err)
						return
					}
				}
			})
		}
	}
	wait.Wait()
	if s := p.State()[0]; s.Busy != 0 || s.Idle > 4 {
		t.Errorf("state %+v", s)
	}
}

func speak(t *testing.T, p *Pool, user string) {
	r := get(t, "/")
	r.Header.Set("X-User", user)
	r.Header.Set("Upgrade", "echo")
	resp, _, err := p.Send(context.Background(), r, Call{Upgrade: true})
	if err != nil || resp.StatusCode != 101 {
		t.Error(resp, err)
		return
	}
	tunnel := resp.Body.(io.ReadWriteCloser)
	in := bufio.NewReader(tunnel)
	for _, want := range []string{"hello " + user, user + " one", user + " two"} {
		if line, err := in.ReadString('\n'); strings.TrimSpace(line) != want || err != nil {
			t.Errorf("%s read %q, %v", user, line, err)
		}
		_, _ = fmt.Fprintf(tunnel, "%s\n", map[string]string{"hello " + user: "one", user + " one": "two"}[want])
	}
	_ = tunnel.Close()
}
