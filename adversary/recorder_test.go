package adversary

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// recorder is a server that writes down the exact bytes of every connection. It finds where a request ends by net/http's
// reader, but only to answer; what it reports are the bytes.
type recorder struct {
	listener net.Listener
	answers  map[string]string         // raw bytes of the answer, by path; none is 200 and {}, and /echo-x says its name
	special  map[string]func(net.Conn) // answers that are more than bytes; called when the head is read

	mu       sync.Mutex
	total    int64    // bytes of all connections
	requests []string // bytes of each request, in order of their ends
	broken   []string // bytes of connections that ended within a request
}

func newRecorder(answers map[string]string, special map[string]func(net.Conn)) (*recorder, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &recorder{listener: listener, answers: answers, special: special}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r, nil
}

func (r *recorder) url() string { return "http://" + r.listener.Addr().String() }
func (r *recorder) close()      { _ = r.listener.Close() }

// Write counts bytes as they come.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += int64(len(p))
	return len(p), nil
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	var seen bytes.Buffer
	reader := bufio.NewReaderSize(io.TeeReader(c, io.MultiWriter(&seen, r)), 64<<10)
	for {
		request, err := http.ReadRequest(reader)
		if err == nil && r.special[request.URL.Path] != nil {
			r.special[request.URL.Path](c)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, request.Body)
		}
		if err != nil {
			if seen.Len() > 0 {
				r.mu.Lock()
				r.broken = append(r.broken, seen.String())
				r.mu.Unlock()
			}
			return
		}
		size := seen.Len() - reader.Buffered()
		r.mu.Lock()
		r.requests = append(r.requests, string(seen.Bytes()[:size]))
		r.mu.Unlock()
		seen.Next(size)
		if r.special[request.URL.Path] != nil {
			continue // has answered
		}
		if strings.HasPrefix(request.URL.Path, "/echo-") {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(request.URL.Path), request.URL.Path)
			continue
		}
		if answer := r.answers[request.URL.Path]; answer != "" {
			_ = c.SetWriteDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, answer)
			if strings.Contains(answer, "Connection: close") || !strings.HasPrefix(answer, "HTTP/1.1 ") {
				return
			}
			continue
		}
		body := "{}"
		if request.Method == http.MethodHead {
			body = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n%s", body)
	}
}

// mark is a point in what a recorder has seen.
type mark struct {
	total    int64
	requests int
	broken   int
}

func (r *recorder) mark() mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return mark{r.total, len(r.requests), len(r.broken)}
}

// since gives the bytes and requests that have come since a mark.
func (r *recorder) since(m mark) (n int64, requests, broken []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total - m.total, slices.Clone(r.requests[m.requests:]), slices.Clone(r.broken[m.broken:])
}

// asked is how many requests came since m that begin like this; what another test has left on its way is not among them.
func (r *recorder) asked(like string, m mark) (n int) {
	_, requests, _ := r.since(m)
	for _, q := range requests {
		if strings.HasPrefix(q, like) {
			n++
		}
	}
	return n
}

var volatile = regexp.MustCompile(`(?m)^(Gatehouse-Event|Traceparent): (?:[0-9A-HJKMNP-TV-Z]{26}|00-[0-9a-f]{32}-[0-9a-f]{16}-01)\r$`)

// plain is a request as recorded, with its fields sorted (their order says nothing, and net/http's map has none) and the
// values that differ each time replaced. A field that has not exactly the expected form is left alone and found.
func plain(raw string) string {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	head = volatile.ReplaceAllString(head+"\r\n", "$1: *\r")
	list := strings.Split(strings.TrimSuffix(head, "\r\n"), "\r\n")
	slices.Sort(list[1:])
	return strings.Join(list, "\r\n") + "\r\n\r\n" + body
}
