// Package proxyheader reads the header of the PROXY protocol, versions 1 and 2: the line or block with which a load
// balancer says, before the first byte of the client, whose connection it passes on. The format is HAProxy's
// (doc/proxy-protocol.txt). Whoever may send such a header chooses the address that guards, limits and the log will see;
// so the reader is asked only for connections of trusted proxies, and accepts one form of each thing: a header that is
// too long, half right or repeated ends the connection before any other byte of it is understood (adversary row B18).
package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Bounds of a header in bytes.
const (
	MaxLine  = 107  // version 1: the longest line of the specification, with its end
	MaxBlock = 2048 // version 2: addresses and attributes; load balancers send a few hundred
)

// Accept says which versions are accepted. The zero Accept accepts none.
type Accept struct{ V1, V2 bool }

// Header is what a load balancer said.
type Header struct {
	Source      netip.AddrPort // the client; not valid when the balancer speaks for itself (LOCAL, UNKNOWN)
	Destination netip.AddrPort // what the client had connected to
}

// ErrTwice is the error for a second header after the first.
var ErrTwice = errors.New("a second PROXY header")

const (
	lineStart  = "PROXY "
	blockStart = "\r\n\r\n\x00\r\nQUIT\n"
)

// Starts tells how data relates to the start of a PROXY header of either version: whether it begins with one, and
// whether it is too short to tell.
func Starts(data []byte) (begins, undecided bool) {
	for _, start := range []string{lineStart, blockStart} {
		n := min(len(data), len(start))
		if string(data[:n]) != start[:n] {
			continue
		}
		if n == len(start) {
			return true, false
		}
		undecided = true
	}
	return false, undecided
}

// Read takes exactly one header from r and nothing after it. It does not wait for bytes behind the header: that no
// second header follows is for the caller to see with Starts.
func Read(r *bufio.Reader, accept Accept) (Header, error) {
	first, err := r.Peek(1)
	if err != nil {
		return Header{}, fmt.Errorf("no PROXY header: %w", err)
	}
	switch {
	case accept.V1 && first[0] == lineStart[0]:
		return readLine(r)
	case accept.V2 && first[0] == blockStart[0]:
		return readBlock(r)
	}
	return Header{}, fmt.Errorf("no PROXY header of an accepted version: first byte 0x%02x", first[0])
}

func readLine(r *bufio.Reader) (Header, error) {
	line := make([]byte, 0, MaxLine)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == MaxLine {
			return Header{}, fmt.Errorf("PROXY line longer than %d bytes", MaxLine)
		}
		b, err := r.ReadByte()
		if err != nil {
			return Header{}, fmt.Errorf("PROXY line: %w", noEOF(err))
		}
		if n := len(line); n < len(lineStart) && b != lineStart[n] || b == '\n' && (n == 0 || line[n-1] != '\r') {
			return Header{}, fmt.Errorf("PROXY line: unexpected byte 0x%02x at %d", b, n)
		}
		line = append(line, b)
	}
	return ParseLine(string(line[:len(line)-2]))
}

// ParseLine reads a line of version 1 without its end: "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443".
func ParseLine(line string) (Header, error) {
	rest, ok := strings.CutPrefix(line, lineStart)
	if !ok {
		return Header{}, errors.New("PROXY line does not start with PROXY")
	}
	words := strings.Split(rest, " ")
	if words[0] == "UNKNOWN" {
		return Header{}, printable(rest)
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return Header{}, fmt.Errorf("PROXY line %.40q is not TCP4 or TCP6 with two addresses and two ports", line)
	}
	source, err := endpoint(words[1], words[3], words[0] == "TCP4")
	if err != nil {
		return Header{}, err
	}
	destination, err := endpoint(words[2], words[4], words[0] == "TCP4")
	return Header{Source: source, Destination: destination}, err
}

// printable refuses the control characters that the specification lets an UNKNOWN line carry.
func printable(s string) error {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return fmt.Errorf("PROXY line: byte 0x%02x", s[i])
		}
	}
	return nil
}

func endpoint(address, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4() != v4 {
		return netip.AddrPort{}, fmt.Errorf("PROXY line: %.40q is not an address of the family it names", address)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(p, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("PROXY line: %.10q is not a port", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

// The fixed part of a version 2 header: signature, version and command, family and transport, length.
const fixed = 16

func readBlock(r *bufio.Reader) (Header, error) {
	block := make([]byte, fixed, fixed+MaxBlock)
	for i := range len(blockStart) { // stop at the first wrong byte, however few have come
		b, err := r.ReadByte()
		if err != nil {
			return Header{}, fmt.Errorf("PROXY block: %w", noEOF(err))
		}
		if b != blockStart[i] {
			return Header{}, fmt.Errorf("PROXY block: unexpected byte 0x%02x at %d", b, i)
		}
		block[i] = b
	}
	if _, err := io.ReadFull(r, block[len(blockStart):]); err != nil {
		return Header{}, fmt.Errorf("PROXY block: %w", noEOF(err))
	}
	length := int(binary.BigEndian.Uint16(block[14:]))
	if length > MaxBlock {
		return Header{}, fmt.Errorf("PROXY block of %d bytes is longer than %d", length, MaxBlock)
	}
	block = block[:fixed+length]
	if _, err := io.ReadFull(r, block[fixed:]); err != nil {
		return Header{}, fmt.Errorf("PROXY block: %w", noEOF(err))
	}
	return ParseBlock(block)
}

// ParseBlock reads a whole header of version 2.
func ParseBlock(block []byte) (Header, error) {
	if len(block) < fixed || string(block[:len(blockStart)]) != blockStart ||
		int(binary.BigEndian.Uint16(block[14:])) != len(block)-fixed {
		return Header{}, errors.New("PROXY block: signature or length is wrong")
	}
	body := block[fixed:]
	var h Header
	var size int // of the addresses, by family
	switch family := block[13]; {
	case block[12] != 0x20 && block[12] != 0x21:
		return Header{}, fmt.Errorf("PROXY block: version and command 0x%02x", block[12])
	case block[12] == 0x20: // LOCAL: the balancer itself, such as its health check; the rest has no meaning
		return Header{}, nil
	case family == 0x00: // UNSPEC
		return Header{}, nil
	case family == 0x11 && len(body) >= 12: // TCP over IPv4
		h, size = addresses[[4]byte](body, netip.AddrFrom4), 12
	case family == 0x21 && len(body) >= 36: // TCP over IPv6
		h, size = addresses[[16]byte](body, netip.AddrFrom16), 36
	default:
		return Header{}, fmt.Errorf("PROXY block: family 0x%02x with %d bytes", family, len(body))
	}
	return h, attributes(block, fixed+size)
}

func addresses[A [4]byte | [16]byte](body []byte, from func(A) netip.Addr) Header {
	var source, destination A
	n := len(source)
	for i := range n {
		source[i], destination[i] = body[i], body[n+i]
	}
	ports := body[2*n:]
	return Header{
		Source:      netip.AddrPortFrom(from(source).Unmap(), binary.BigEndian.Uint16(ports)),
		Destination: netip.AddrPortFrom(from(destination).Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}
}

// attributes walks the type-length-values behind the addresses; all must fit, and a checksum (type 3) must be right.
func attributes(block []byte, at int) error {
	for at < len(block) {
		if len(block)-at < 3 {
			return errors.New("PROXY block: a cut attribute")
		}
		kind, length := block[at], int(binary.BigEndian.Uint16(block[at+1:]))
		value := at + 3
		if length > len(block)-value {
			return errors.New("PROXY block: an attribute longer than the block")
		}
		if kind == 0x03 {
			if length != 4 || checksum(block, value) != binary.BigEndian.Uint32(block[value:]) {
				return errors.New("PROXY block: the checksum is wrong")
			}
		}
		at = value + length
	}
	return nil
}

// checksum is the CRC-32C of the block with the four bytes at place taken as zero.
func checksum(block []byte, place int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, block[:place])
	sum = crc32.Update(sum, table, make([]byte, 4))
	return crc32.Update(sum, table, block[place+4:])
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
