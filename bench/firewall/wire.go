package firewall

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Request is what is sent, as the same bytes to every rival.
type Request struct {
	Method string
	Target string      // path and query, already escaped
	Fields [][2]string // besides Host and Content-Length
	Body   []byte
}

// Bytes writes it as HTTP/1.1. Its host is a name, since rules suspect a number.
func (r Request) Bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: api.example\r\n", r.Method, r.Target)
	for _, f := range r.Fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	if r.Body != nil {
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.Body)) + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	return b.Bytes()
}

// Conn sends requests one after the other over one connection, and opens another one when the server has closed it. Make it
// with Server.Conn and close it.
type Conn struct {
	address string
	c       net.Conn
	r       *bufio.Reader
}

// Conn gives a connection that is opened with the first request.
func (s *Server) Conn() *Conn { return &Conn{address: s.Address} }

// Close closes it.
func (c *Conn) Close() {
	if c.c != nil {
		_ = c.c.Close()
		c.c = nil
	}
}

// Send sends the bytes of a request and gives the status of the answer.
func (c *Conn) Send(raw []byte) (int, error) {
	reused := c.c != nil
	status, err := c.once(raw)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrLost
	} else if err != nil && reused { // the server may close a connection between two requests whenever it likes
		c.Close()
		status, err = c.once(raw)
	}
	if err != nil {
		c.Close()
	}
	return status, err
}

const patience = 10 * time.Second // for one answer; the worst requests take most engines less than one

// ErrLost is the error of a request that a server doesn't answer in time. It may still be busy with it; see Restart.
var ErrLost = errors.New("no answer within 10 s")

func (c *Conn) once(raw []byte) (int, error) {
	if c.c == nil {
		conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
		if err != nil {
			return 0, err
		}
		c.c, c.r = conn, bufio.NewReader(conn)
	}
	if err := c.c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	_, wrote := c.c.Write(raw) // an early answer may still be there
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, errors.Join(wrote, err)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if cerr := answer.Body.Close(); err == nil {
		err = cerr
	}
	if answer.Close || wrote != nil {
		c.Close()
	}
	return answer.StatusCode, err
}
