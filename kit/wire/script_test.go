package wire

import (
	"io"
	"net"
	"time"
)

// script is a peer that sends data in pieces of the given sizes, in turn, and then ends. Writes are forgotten.
type script struct {
	data   []byte
	pieces []int
	turn   int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(s.data), max(1, s.pieces[s.turn%len(s.pieces)]))
	s.turn++
	copy(p, s.data[:n])
	s.data = s.data[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
