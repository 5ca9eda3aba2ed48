package wire

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// The fast scan finds what the slow one finds: every byte at every place, and random values.
func TestFirstNotValue(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("a", length))
				b[at] = byte(c)
				if got, want := firstNotValue(b), firstNot(b, isValue); got != want {
					t.Fatalf("%q: %d, want %d", b, got, want)
				}
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(0x1c + r.IntN(0x68)) // mostly allowed
		}
		if got, want := firstNotValue(b), firstNot(b, isValue); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
}

func TestAuthorities(t *testing.T) {
	for _, good := range []string{"a", "a.test", "A.Test.", "a_b-c.test:1", "127.0.0.1:65535", "[::1]", "[::1]:80", "[2001:db8::1]", "[::ffff:1.2.3.4]", "xn--a.test", strings.Repeat("a", 253)} {
		if f := checkAuthority([]byte(good), 0); f != nil {
			t.Errorf("%q: %v", good, f)
		}
	}
	for _, bad := range []string{"", ":", "a:", "a:b", "a:-1", "a:+1", "a:080000", "[", "[]", "[::1", "::1", "[::1]a", "[::1%eth0]", "[1.2.3.4]", "a]", "a[", "é.test", "a\x00", strings.Repeat("a", 261)} {
		if checkAuthority([]byte(bad), 0) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestLengths(t *testing.T) {
	for value, want := range map[string]int64{"0": 0, "007": 7, "999999999999999999": 999999999999999999,
		"": -1, "+1": -1, "-1": -1, "1 ": -1, "0x1": -1, "1_0": -1, "1000000000000000000": -1, "\u0661": -1} {
		got, ok := parseLength([]byte(value))
		if ok != (want >= 0) || (ok && got != want) {
			t.Errorf("%q: %d, %v", value, got, ok)
		}
	}
}
