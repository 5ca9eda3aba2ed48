package upstream

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faulty is a server whose behaviour can be changed under load. It counts every request by its id.
type faulty struct {
	address string
	mode    atomic.Value // string
	release chan struct{}
	count   atomic.Int64

	mu     sync.Mutex
	seen   map[string]int
	server *http.Server
}

func newFaulty(t testing.TB) *faulty {
	t.Helper()
	f := &faulty{seen: map[string]int{}, release: make(chan struct{})}
	f.mode.Store("good")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	f.run(l)
	t.Cleanup(func() { close(f.release); f.kill() })
	return f
}

func (f *faulty) url() string { return "http://" + f.address }

func (f *faulty) run(l net.Listener) {
	s := &http.Server{Handler: f, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	f.mu.Lock()
	f.server = s
	f.mu.Unlock()
	go func() { _ = s.Serve(l) }()
}

// kill ends the listener and every connection, as the end of a process does.
func (f *faulty) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.server.Close()
}

func (f *faulty) restart(t testing.TB) {
	for range 100 {
		if l, err := net.Listen("tcp", f.address); err == nil {
			f.run(l)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("address is not free again")
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.count.Add(1)
	id := r.Header.Get("X-Id")
	f.mu.Lock()
	f.seen[id]++
	f.mu.Unlock()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	switch f.mode.Load() {
	case "hung":
		select {
		case <-f.release:
		case <-r.Context().Done():
		}
	case "slow":
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, id)
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "reset":
		hangUp(w, "")
	case "reset after head":
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
	case "reset in chunk":
		hangUp(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	case "reset in head":
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Le")
	case "garbage":
		hangUp(w, "SSH-2.0-OpenSSH\r\n\r\n")
	default:
		fmt.Fprint(w, id)
	}
}

// hangUp writes text and resets the connection.
func hangUp(w http.ResponseWriter, text string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, text)
	if text != "" {
		time.Sleep(2 * time.Millisecond) // a reset overtakes what has not been read
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// twice lists ids that a group of servers has seen more than once together.
func twice(group ...*faulty) map[string]int {
	all := map[string]int{}
	for _, f := range group {
		f.mu.Lock()
		for id, n := range f.seen {
			all[id] += n
		}
		f.mu.Unlock()
	}
	for id, n := range all {
		if n < 2 {
			delete(all, id)
		}
	}
	return all
}
