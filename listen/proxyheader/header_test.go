package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"strings"
	"testing"
)

func block(command, family byte, body []byte) string {
	b := append([]byte(blockStart), command, family, 0, 0)
	binary.BigEndian.PutUint16(b[14:], uint16(len(body)))
	return string(append(b, body...))
}

var (
	v4 = []byte{192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb}
	v6 = append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0x12, 0x67, 0x01, 0xbb)
)

func withChecksum(good bool) string {
	b := []byte(block(0x21, 0x11, append(bytes.Clone(v4), 0x03, 0, 4, 0, 0, 0, 0)))
	sum := checksum(b, len(b)-4)
	if !good {
		sum++
	}
	binary.BigEndian.PutUint32(b[len(b)-4:], sum)
	return string(b)
}

func TestRead(t *testing.T) {
	both := Accept{V1: true, V2: true}
	for _, c := range []struct {
		name, in string
		accept   Accept
		source   string // "" : no address; "-" : refused
	}{
		{"v1 tcp4", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", both, "192.0.2.1:4711"},
		{"v1 tcp6", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", both, "[2001:db8::1]:4711"},
		{"v1 tcp6 mapped is unmapped", "PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 443\r\n", both, "192.0.2.1:4711"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", both, ""},
		{"v1 unknown with words", "PROXY UNKNOWN ffff:f a 1 2\r\n", both, ""},
		{"v2 tcp4", block(0x21, 0x11, v4), both, "192.0.2.1:4711"},
		{"v2 tcp6", block(0x21, 0x21, v6), both, "[2001:db8::1]:4711"},
		{"v2 local", block(0x20, 0x00, nil), both, ""},
		{"v2 local with garbage", block(0x20, 0x11, []byte("x")), both, ""},
		{"v2 unspec", block(0x21, 0x00, nil), both, ""},
		{"v2 attribute", block(0x21, 0x11, append(bytes.Clone(v4), 0x01, 0, 2, 'h', '2')), both, "192.0.2.1:4711"},
		{"v2 checksum", withChecksum(true), both, "192.0.2.1:4711"},

		// B18 and wrong uses
		{"v2 wrong checksum", withChecksum(false), both, "-"},
		{"nothing accepted", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", Accept{}, "-"},
		{"v1 when v2 is wanted", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", Accept{V2: true}, "-"},
		{"v2 when v1 is wanted", block(0x21, 0x11, v4), Accept{V1: true}, "-"},
		{"none", "GET / HTTP/1.1\r\n", both, "-"},
		{"another method with P", "POST / HTTP/1.1\r\n\r\n", both, "-"},
		{"empty", "", both, "-"},
		{"v1 bare lf", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n", both, "-"},
		{"v1 two spaces", "PROXY TCP4  192.0.2.1 198.51.100.1 4711 443\r\n", both, "-"},
		{"v1 108 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 107-14-2+1) + "\r\n", both, "-"},
		{"v1 longest", "PROXY UNKNOWN " + strings.Repeat("f", 107-14-2) + "\r\n", both, ""},
		{"v1 wrong family", "PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n", both, "-"},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 4711 443\r\n", both, "-"},
		{"v1 port 65536", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", both, "-"},
		{"v1 port 0443", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 0443\r\n", both, "-"},
		{"v1 octal address", "PROXY TCP4 192.0.02.1 198.51.100.1 4711 443\r\n", both, "-"},
		{"v1 lower case", "proxy TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", both, "-"},
		{"v1 control byte", "PROXY UNKNOWN \x00\r\n", both, "-"},
		{"v1 cut", "PROXY TCP4 192.0.2.1", both, "-"},
		{"v2 udp", block(0x21, 0x12, v4), both, "-"},
		{"v2 unix", block(0x21, 0x31, make([]byte, 216)), both, "-"},
		{"v2 short addresses", block(0x21, 0x11, v4[:11]), both, "-"},
		{"v2 version 3", block(0x31, 0x11, v4), both, "-"},
		{"v2 command 2", block(0x22, 0x11, v4), both, "-"},
		{"v2 cut attribute", block(0x21, 0x11, append(bytes.Clone(v4), 0x01, 0)), both, "-"},
		{"v2 long attribute", block(0x21, 0x11, append(bytes.Clone(v4), 0x01, 0, 9, 'x')), both, "-"},
		{"v2 oversize", block(0x21, 0x11, make([]byte, MaxBlock+1)), both, "-"},
		{"v2 cut", block(0x21, 0x11, v4)[:20], both, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(c.in + "rest"))
			if c.source == "-" {
				r = bufio.NewReader(strings.NewReader(c.in))
			}
			h, err := Read(r, c.accept)
			if c.source == "-" {
				if err == nil {
					t.Fatalf("accepted: %v", h)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if h.Source.IsValid() {
				got = h.Source.String()
			}
			if got != c.source {
				t.Errorf("source %q, want %q", got, c.source)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("behind the header came %q", rest)
			}
		})
	}
}

func TestStarts(t *testing.T) {
	for in, want := range map[string][2]bool{
		"":                     {false, true},
		"P":                    {false, true},
		"PROXY":                {false, true},
		"PROXY ":               {true, false},
		"PROXY TCP4":           {true, false},
		"POST":                 {false, false},
		"PROPFIND":             {false, false},
		"\r\n":                 {false, true},
		blockStart:             {true, false},
		blockStart + "x":       {true, false},
		"\r\n\r\nGET":          {false, false},
		"GET / HTTP/1.1\r\n\r": {false, false},
	} {
		if begins, undecided := Starts([]byte(in)); begins != want[0] || undecided != want[1] {
			t.Errorf("Starts(%q) = %v, %v; want %v", in, begins, undecided, want)
		}
	}
}

// The reader never takes a byte behind the header, and what it accepts has a valid form.
func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(block(0x21, 0x11, v4)))
	f.Add([]byte(block(0x21, 0x21, v6)))
	f.Add([]byte(withChecksum(true)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		h, err := Read(r, Accept{V1: true, V2: true})
		if err != nil {
			return
		}
		if begins, _ := Starts(in); !begins {
			t.Fatalf("accepted %q, which is no header", in)
		}
		rest, _ := io.ReadAll(r)
		if !bytes.HasSuffix(in, rest) {
			t.Fatal("bytes behind the header changed")
		}
		if used := len(in) - len(rest); used > MaxBlock+fixed || in[0] == 'P' && used > MaxLine {
			t.Fatalf("a header of %d bytes", used)
		}
		if h.Source.Addr().Is4In6() || h.Source.Addr().Zone() != "" {
			t.Fatalf("address %v", h.Source)
		}
	})
}
