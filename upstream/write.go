package upstream

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"

	"golang.org/x/net/http/httpguts"
)

// copySize is the most of a body that is held at once.
const copySize = 32 << 10

// framing is how a request's end is told (RFC 9112 section 6).
type framing struct {
	length  int64 // Content-Length; -1 without one
	chunked bool
}

// checkHead refuses a request that cannot be written so that every server reads the same in it. The gateway has checked it
// before; this is the last look at what the wire will carry.
func checkHead(a *attempt) (framing, error) {
	r := a.req
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method) || r.Method == http.MethodConnect:
		return framing{}, fault(ReasonUnsendable, "method "+strconv.Quote(r.Method), nil)
	case r.Host != "" && !validHost(r.Host):
		return framing{}, fault(ReasonUnsendable, "host "+strconv.Quote(r.Host), nil)
	}
	for _, fields := range [...]http.Header{r.Header, r.Trailer} {
		for name, values := range fields {
			if !httpguts.ValidHeaderFieldName(name) {
				return framing{}, fault(ReasonUnsendable, "field name "+strconv.Quote(name), nil)
			}
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) {
					return framing{}, fault(ReasonUnsendable, "value of field "+name, nil)
				}
			}
		}
	}
	switch {
	case a.body == nil && r.ContentLength > 0:
		return framing{}, fault(ReasonUnsendable, "a length without a body", nil)
	case a.body == nil && sendsBody(r.Method):
		return framing{length: 0}, nil
	case a.body == nil:
		return framing{length: -1}, nil
	case r.ContentLength > 0:
		return framing{length: r.ContentLength}, nil
	}
	return framing{length: -1, chunked: true}, nil
}

// sendsBody tells that servers expect a length from the method, be it zero (RFC 9110 section 8.6).
func sendsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// validHost tells that h can stand in a Host field and means the same to everyone: a name or address and a port.
func validHost(h string) bool {
	for i := range len(h) {
		switch c := h[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return true
}

// ours tells that a field is decided by the connection and not by the request.
func ours(name string) bool {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Expect":
		return true
	}
	return false
}

// writeHead writes the request line and the fields. Errors stay in w until it is flushed.
func writeHead(w *bufio.Writer, a *attempt, f framing, host string) {
	r := a.req
	if r.Host != "" {
		host = r.Host
	}
	put(w, r.Method, " ", a.path)
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		put(w, "?", r.URL.RawQuery)
	}
	put(w, " HTTP/1.1\r\nHost: ", host, "\r\n")
	for name, values := range r.Header {
		if ours(name) {
			continue
		}
		for _, v := range values {
			put(w, name, ": ", v, "\r\n")
		}
	}
	if a.call.Upgrade {
		put(w, "Connection: Upgrade\r\nUpgrade: ", r.Header.Get("Upgrade"), "\r\n")
	}
	switch {
	case f.chunked:
		put(w, "Transfer-Encoding: chunked\r\n")
		for name := range r.Trailer {
			if !ours(name) {
				put(w, "Trailer: ", name, "\r\n")
			}
		}
	case f.length >= 0:
		put(w, "Content-Length: ")
		_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), f.length, 10))
		put(w, "\r\n")
	}
	put(w, "\r\n")
}

func put(w *bufio.Writer, parts ...string) {
	for _, p := range parts {
		_, _ = w.WriteString(p)
	}
}

// writeBody writes the body as it comes. Before, which may be nil, is called before each write, and what is written then
// leaves at once; without it the whole body is buffered as far as the buffer goes.
func writeBody(w *bufio.Writer, a *attempt, f framing, buffer []byte, before func()) error {
	for {
		n, err := a.body.Read(buffer)
		if n > 0 {
			if before != nil {
				before()
			}
			if err := writePiece(w, f, buffer[:n], before != nil); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return writeEnd(w, a, f)
		case err != nil:
			return err
		}
	}
}

func writePiece(w *bufio.Writer, f framing, piece []byte, flush bool) error {
	if f.chunked {
		_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(len(piece)), 16))
		put(w, "\r\n")
	}
	_, err := w.Write(piece)
	if f.chunked {
		put(w, "\r\n")
	}
	if flush {
		return w.Flush()
	}
	return err
}

// writeEnd writes the last chunk and the trailers, whose values the client's body has filled in by now. A trailer is
// checked here, since it was not there when the head was.
func writeEnd(w *bufio.Writer, a *attempt, f framing) error {
	if !f.chunked {
		return w.Flush()
	}
	put(w, "0\r\n")
	for name, values := range a.req.Trailer {
		if ours(name) || !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return bodyError{http.ErrNotSupported}
			}
			put(w, name, ": ", v, "\r\n")
		}
	}
	put(w, "\r\n")
	return w.Flush()
}
