package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxQuestion bounds a question in bytes; values of secrets are the longest.
const maxQuestion = 4 << 20

// line is one line of what comes back. Exactly one of Answer and Error ends the stream.
type line struct {
	Done   int64           `json:"done,omitempty"`
	Total  int64           `json:"total,omitempty"`
	What   string          `json:"what,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// Asked is told of every operation that was asked for: its name, the user id of who asked, and what became of it.
type Asked func(name string, uid int, err error)

// Server answers on a socket until it is closed.
type Server struct {
	path    string
	offered atomic.Pointer[Operations]
	http    *http.Server
	done    sync.WaitGroup // Serve
	asking  sync.WaitGroup // operations in progress
	mu      sync.Mutex
	closed  bool // no operation begins any more
}

// begin tells that an operation may begin; it says when it has ended by asking.Done.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.asking.Add(1)
	}
	return !s.closed
}

// patience is how long Close waits for operations whose context has ended.
const patience = 5 * time.Second

// Listen answers on the socket PID.sock in the folder dir, which is made when it isn't there and must be the owner's alone.
func Listen(dir string, o *Operations, asked Asked) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the control socket: %w", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the folder of the control socket can be used by others; run: chmod 700 %s", dir)
	}
	s := &Server{path: filepath.Join(dir, strconv.Itoa(os.Getpid())+suffix)}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a process that had our number
		return nil, err
	}
	var l net.Listener
	err := short(s.path, func(path string) (err error) {
		l, err = net.Listen("unix", path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket %s: %w", s.path, err)
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.Offer(o)
	s.http = &http.Server{
		Handler: s.handler(asked), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			uid, err := caller(c)
			if err != nil {
				uid = -1
			}
			return context.WithValue(ctx, uidKey{}, uid)
		},
	}
	s.done.Go(func() { _ = s.http.Serve(l) }) // ends with Close
	return s, nil
}

type uidKey struct{}

// Close ends the context of operations in progress, waits some seconds for them to end, and removes the socket: what they work
// on can be closed after it.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.http.Close()
	s.done.Wait()
	ended := make(chan struct{})
	go func() { s.asking.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		err = errors.Join(err, errors.New("an operation that was asked for on the control socket does not end"))
	}
	if e := os.Remove(s.path); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// Offer exchanges the operations: a process that starts can do less than one that serves.
func (s *Server) Offer(o *Operations) { s.offered.Store(o) }

func (s *Server) handler(asked Asked) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _ := r.Context().Value(uidKey{}).(int)
		if uid != os.Geteuid() && uid != 0 {
			http.Error(w, "only the owner of this process may ask", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodPost {
			http.Error(w, "ask with POST", http.StatusMethodNotAllowed)
			return
		}
		question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		if err != nil {
			http.Error(w, "the question is too long or broke off", http.StatusBadRequest)
			return
		}
		if !s.begin() {
			http.Error(w, "this process is ending", http.StatusServiceUnavailable)
			return
		}
		defer s.asking.Done()
		out := &stream{out: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
		name := strings.TrimPrefix(r.URL.Path, "/")
		answer, err := s.offered.Load().perform(r.Context(), name, question, func(done, total int64, what string) {
			out.write(line{Done: done, Total: total, What: what})
		})
		asked(name, uid, err)
		if err != nil {
			out.write(line{Error: err.Error()})
			return
		}
		out.write(line{Answer: answer})
	})
}

// stream writes lines one at a time: an operation may tell its progress from several goroutines.
type stream struct {
	sync.Mutex
	out   *json.Encoder
	flush func() error
}

func (s *stream) write(l line) {
	s.Lock()
	defer s.Unlock()
	if s.out.Encode(l) == nil {
		_ = s.flush() // an asker who has gone ends the operation through its context
	}
}
