package control

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What an operation works on is closed after the socket: until then the operation has ended.
func TestCloseWaitsForOperations(t *testing.T) {
	var o Operations
	var ended atomic.Bool
	began := make(chan struct{})
	Handle(&o, "work", func(ctx context.Context, _ question, _ Progress) (answer, error) {
		close(began)
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond) // tidies up
		ended.Store(true)
		return answer{}, ctx.Err()
	})
	dir := filepath.Join(t.TempDir(), "c")
	s, err := Listen(dir, &o, func(string, int, error) {})
	if err != nil {
		t.Fatal(err)
	}
	peers, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() { _, err := Ask[answer](t.Context(), peers[0], "work", question{}, nil); asked <- err }()
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !ended.Load() {
		t.Error("the operation goes on, on what is closed next")
	}
	if err := <-asked; err == nil {
		t.Error("answered")
	}
}

// Questions that are none are answered; nothing is printed of them.
func TestOddQuestions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	s, err := Listen(dir, greetings(), func(string, int, error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, c := range map[string]struct{ request, want string }{
		"no path":         {"POST http://control HTTP/1.1\r\nHost: control\r\nContent-Length: 2\r\n\r\n{}", "another version"},
		"two slashes":     {"POST //greet HTTP/1.1\r\nHost: control\r\nContent-Length: 2\r\n\r\n{}", "another version"},
		"a NUL":           {"POST /greet HTTP/1.1\r\nHost: control\r\nContent-Length: 17\r\n\r\n{\"Name\":\"a\x00bcdef\"}", "not understood"},
		"nothing":         {"POST /greet HTTP/1.1\r\nHost: control\r\nContent-Length: 0\r\n\r\n", "not understood"},
		"too much":        {"POST /greet HTTP/1.1\r\nHost: control\r\nContent-Length: 5000000\r\n\r\n" + strings.Repeat(" ", 5000000), "too long"},
		"read, not asked": {"GET /greet HTTP/1.1\r\nHost: control\r\n\r\n", "ask with POST"},
	} {
		c, want := c.request, c.want
		conn, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		go func() { _, _ = fmt.Fprint(conn, c) }()
		all, r := "", bufio.NewReader(conn)
		for !strings.Contains(all, want) {
			line, err := r.ReadString('\n')
			all += line
			if err != nil {
				t.Errorf("%s: %q, want %q: %v", name, all, want, err)
				break
			}
		}
		_ = conn.Close()
	}
}
