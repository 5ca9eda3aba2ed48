package canon

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func ours(a netip.Addr) bool {
	return netip.MustParsePrefix("10.0.0.0/8").Contains(a) || netip.MustParsePrefix("fd00::/8").Contains(a)
}

func TestClient(t *testing.T) { // B4
	xff, fwd := "X-Forwarded-For", "Forwarded"
	for _, c := range []struct {
		peer   string
		fields http.Header
		want   string
		noted  bool
	}{
		{"192.0.2.9", http.Header{xff: {"127.0.0.1"}}, "192.0.2.9", false},
		{"::ffff:192.0.2.9", nil, "192.0.2.9", false},
		{"10.0.0.1", nil, "10.0.0.1", false},
		{"10.0.0.1", http.Header{xff: {"127.0.0.1, 203.0.113.5"}}, "203.0.113.5", false},
		{"::ffff:10.0.0.1", http.Header{xff: {"203.0.113.5"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{xff: {"1.1.1.1, 203.0.113.5, ::ffff:10.0.0.7"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{xff: {"1.1.1.1", "203.0.113.5", "10.0.0.3"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{xff: {"10.0.0.2, 10.0.0.3"}}, "10.0.0.2", false},
		{"10.0.0.1", http.Header{xff: {"203.0.113.5:4711"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{xff: {"[2001:db8::1]:80"}}, "2001:db8::1", false},
		{"10.0.0.1", http.Header{xff: {"[2001:db8::1]"}}, "2001:db8::1", false},
		{"10.0.0.1", http.Header{xff: {"garbage, 203.0.113.5"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{xff: {"203.0.113.5, garbage"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {"203.0.113.5,"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {""}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {"fe80::1%eth0"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {"[fe80::1%eth0]"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {"unknown"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {strings.Repeat("1.1.1.1,", 1300) + "203.0.113.5"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{xff: {strings.Repeat("10.1.1.1,", 40) + "10.0.0.2"}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {"for=203.0.113.5;proto=https"}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{fwd: {`For="[2001:db8::1]:80" ; by=x, for=10.0.0.4`}}, "2001:db8::1", false},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1, for=203.0.113.5:80`}}, "203.0.113.5", false},
		{"10.0.0.1", http.Header{fwd: {`for="1.2.3.4;by=x, for=evil"`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=unknown`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=_obf`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`by=10.0.0.2`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1;for=2.2.2.2`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for="1.1.1.1`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1 by=2`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1,`}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {"for=" + strings.Repeat("1", 9000)}}, "10.0.0.1", true},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1`}, xff: {"1.1.1.1"}}, "1.1.1.1", false},
		{"10.0.0.1", http.Header{fwd: {`for=1.1.1.1`}, xff: {"2.2.2.2"}}, "10.0.0.1", true},
	} {
		got, note := Client(netip.MustParseAddr(c.peer), c.fields, ours)
		if got.String() != c.want || (note != "") != c.noted {
			t.Errorf("%s %.90q: %s %q, want %s noted %v", c.peer, c.fields, got, note, c.want, c.noted)
		}
	}
	if got, note := Client(netip.MustParseAddr("10.0.0.1"), http.Header{xff: {"1.1.1.1"}}, nil); got.String() != "10.0.0.1" || note != "" {
		t.Errorf("nobody is trusted: %s %q", got, note)
	}
}

func FuzzClient(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.1", "")
	f.Add("", `for="[2001:db8::1]:80";by=x, for=10.0.0.4`)
	f.Add("::ffff:10.0.0.1,[fe80::1%0]", "for=unknown")
	f.Fuzz(func(t *testing.T, list, forwarded string) {
		peer := netip.MustParseAddr("10.0.0.1")
		fields := http.Header{}
		if list != "" {
			fields["X-Forwarded-For"] = []string{list}
		}
		if forwarded != "" {
			fields["Forwarded"] = []string{forwarded}
		}
		got, note := Client(peer, fields, ours)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q %q: %v", list, forwarded, got)
		}
		if note != "" && got != peer {
			t.Fatalf("%q %q: noted %q, yet %v", list, forwarded, note, got)
		}
		if stranger, _ := Client(netip.MustParseAddr("192.0.2.1"), fields, ours); stranger.String() != "192.0.2.1" {
			t.Fatalf("a stranger was believed: %v", stranger)
		}
	})
}
