package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a target may take for one answer.
const patience = 15 * time.Second

// target is where bytes are sent: a service, or the gateway.
type target struct {
	address string      // host:port
	tls     *tls.Config // nil for plain TCP
}

// answer is what came back. Status 0 means that the connection ended without an answer; Err then says how.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Err    error
}

// ok tells whether the request was served.
func (a answer) ok() bool { return a.Status >= 200 && a.Status < 300 }

// problem reads the public code and the event id of a denial.
func (a answer) problem() (code, event string) {
	var p map[string]any
	if json.Unmarshal([]byte(a.Body), &p) != nil {
		return "", ""
	}
	first := func(names ...string) string {
		for _, n := range names {
			if s, ok := p[n].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	return first("code", "title"), strings.TrimPrefix(first("event", "event_id", "instance"), "urn:gatehouse:event:")
}

// open connects, up to the end of the TLS handshake. From is the local address to call from, "" for any.
func (t target) open(from string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", t.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if t.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, t.tls)
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// send opens a connection, writes exactly these bytes, and reads one answer.
func (t target) send(raw []byte, from string) answer {
	conn, err := t.open(from)
	if err != nil {
		return answer{Err: err}
	}
	defer conn.Close()
	return exchange(conn, raw)
}

// exchange writes and reads at the same time: a refusal may come before the last byte is written.
func exchange(conn net.Conn, raw []byte) answer {
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(raw)
		written <- err
	}()
	method, _, _ := strings.Cut(string(raw[:min(len(raw), 20)]), " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		select {
		case werr := <-written:
			err = errors.Join(err, werr)
		default:
		}
		return answer{Err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer{response.StatusCode, response.Header, string(body), err}
}

// sendAll sends several messages, so many at a time, each on its own connection, and gives the answers in the order in which
// they came. It stops early after the eighth 429: an attacker who is told to wait gives up here.
func (t target) sendAll(messages [][]byte, workers int, from string) []answer {
	if workers >= len(messages) && workers > 1 {
		return t.sendTogether(messages, from)
	}
	var (
		next, refused atomic.Int64
		mu            sync.Mutex
		answers       []answer
		wait          sync.WaitGroup
	)
	for range max(workers, 1) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(messages) || refused.Load() >= 8 {
					return
				}
				a := t.send(messages[i], from)
				if a.Status == http.StatusTooManyRequests {
					refused.Add(1)
				}
				mu.Lock()
				answers = append(answers, a)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return answers
}

// sendTogether opens all connections first and then writes on all at once, so that the requests meet at the service.
func (t target) sendTogether(messages [][]byte, from string) []answer {
	answers := make([]answer, len(messages))
	var opened, answered sync.WaitGroup
	opened.Add(len(messages))
	for i, raw := range messages {
		answered.Go(func() {
			conn, err := t.open(from)
			opened.Done()
			if err != nil {
				answers[i] = answer{Err: err}
				return
			}
			defer conn.Close()
			opened.Wait()
			answers[i] = exchange(conn, raw)
		})
	}
	answered.Wait()
	return answers
}

// message builds the bytes of requests. They are the same for the service and for the gateway, Host and token included.
type message struct {
	host   string
	token  func(user string) (string, error)
	inside string // port of the catalogue service, which only servers should reach
}

// bytes writes a request; user "" sends no token. A body gets its Content-Length, and the media type JSON unless a field
// says otherwise. Fields are whole lines, "Name: value".
func (m message) bytes(user, method, path, body string, fields ...string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: shop-tour/1\r\nAccept: application/json, text/plain\r\n", method, path, m.host)
	if user != "" {
		token, err := m.token(user)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	framed, typed := false, false
	for _, f := range fields {
		b.WriteString(f + "\r\n")
		name := strings.ToLower(f)
		framed = framed || strings.HasPrefix(name, "transfer-encoding:")
		typed = typed || strings.HasPrefix(name, "content-type:")
	}
	if body != "" && !typed {
		b.WriteString("Content-Type: application/json\r\n")
	}
	if !framed && (body != "" || method == http.MethodPost) {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes(), nil
}
