package listen

import (
	"bufio"
	"errors"
	"net"

	"github.com/gatehouse-sec/gatehouse/listen/proxyheader"
)

// errUnexpectedHeader ends a connection on which a PROXY header stands where none may: one from a stranger would choose
// its own address, a second one would choose it again (B18).
var errUnexpectedHeader = errors.New("a PROXY header where none may be")

// opening watches the first bytes of a connection, so that no PROXY header is ever taken for the start of a request.
type opening struct {
	*socket
	first   *bufio.Reader // nil once the first bytes are decided about and handed on
	decided bool
}

// openingSize holds the start of a header of either version.
const openingSize = 64

func newOpening(s *socket) *opening {
	return &opening{socket: s, first: bufio.NewReaderSize(s.Conn, openingSize)}
}

// header reads the PROXY header of a trusted proxy. It may be called once, before any Read.
func (o *opening) header(p ProxyProtocol) (proxyheader.Header, error) {
	return proxyheader.Read(o.first, p.accept())
}

// Read hands on what the client sends.
func (o *opening) Read(p []byte) (int, error) {
	if o.first == nil {
		return o.socket.Read(p)
	}
	if err := o.decide(); err != nil {
		return 0, err
	}
	if o.first.Buffered() == 0 {
		o.first = nil
		return o.socket.Read(p)
	}
	return o.first.Read(p)
}

func (o *opening) decide() error {
	for n := 1; !o.decided; n++ {
		seen, err := o.first.Peek(n)
		begins, undecided := proxyheader.Starts(seen)
		switch {
		case begins:
			return errUnexpectedHeader
		case len(seen) > 0 && !undecided:
			o.decided = true
		case err != nil && len(seen) > 0 && !isTimeout(err):
			o.decided = true // the end came early: what there is goes on to the reader
		case err != nil:
			return err
		}
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
