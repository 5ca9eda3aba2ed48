package canon

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for _, c := range []struct{ row, in, host, port string }{
		{"", "a.test", "a.test", ""},
		{"A16", "ADMIN.Example.TEST.", "admin.example.test", ""},
		{"A17", "a.test.:8443", "a.test", "8443"},
		{"A16", "bücher.Example", "xn--bcher-kva.example", ""},
		{"A16", "XN--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"", "a.test:443", "a.test", ""},
		{"", "a.test:80", "a.test", "80"},
		{"", "a.test:08443", "a.test", "8443"},
		{"", "localhost:8080", "localhost", "8080"},
		{"", "order_service:1", "order_service", "1"},
		{"", "192.0.2.1:1", "192.0.2.1", "1"},
		{"", "[2001:DB8::1]:9", "2001:db8::1", "9"},
		{"", "[::ffff:192.0.2.1]", "192.0.2.1", ""},
		{"", "１９２.0.2.1", "192.0.2.1", ""},
	} {
		host, port, refusal := Host(c.in, "https")
		if refusal != nil || host != c.host || port != c.port {
			t.Errorf("%s %q: %q %q %v, want %q %q", c.row, c.in, host, port, refusal, c.host, c.port)
		}
	}
	if _, port, _ := Host("a.test:443", "http"); port != "443" {
		t.Errorf("port 443 under http: %q", port)
	}
}

func TestHostRefused(t *testing.T) {
	for _, in := range []string{
		"good@evil", "a/evil", "a:80:81", "a b", "[::1", "a.test/x", "a.test x", // A18, A19
		"::1", "[::1]x", "[::1]:", "[fe80::1%25eth0]", "[192.0.2.1]", "[v1.x]", "a:", "a:0", "a:000001", "a:65536", "a:+1", "a:1 ",
		".", "..", "a..", ".a", "a..b", "-a", "a-", "a.-b.c", "a%41", "a\x00b", "a,b", `a"; for=1.2.3.4`, "a?b", "a#b", `a\b`,
		"127.1", "0x7f.1", "1.2.3", "1.2.3.256", "01.2.3.4", "2130706433", "0x7f000001", "a.0x", "a.1",
		"xn--", "xn--a", "xn--zz-.test", "a℀b.test", "a。。b", "\xff.test",
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "a",
	} {
		if host, port, refusal := Host(in, "https"); refusal == nil {
			t.Errorf("%q: accepted as %q %q", in, host, port)
		} else if refusal.Reason != hostMalformed || refusal.Status != 400 {
			t.Errorf("%q: %v", in, refusal)
		}
	}
	if _, _, refusal := Host("", "https"); refusal == nil || refusal.Reason != hostMissing { // A20
		t.Errorf("no host: %v", refusal)
	}
}

func TestMisdirected(t *testing.T) { // D14
	strict := func(a, b string) bool { return a != "mtls.test" && b != "mtls.test" }
	for _, c := range []struct {
		sni, host string
		ok        bool
	}{
		{"a.test", "a.test", true}, {"A.test.", "a.test", true}, {"a.test", "b.test", true}, {"mtls.test", "mtls.test", true},
		{"a.test", "mtls.test", false}, {"mtls.test", "a.test", false}, {"", "mtls.test", false}, {"", "a.test", true}, {"a b", "a.test", false},
	} {
		refusal := Misdirected(c.sni, c.host, strict)
		if (refusal == nil) != c.ok || refusal != nil && (refusal.Status != 421 || refusal.Reason != hostMisdirected) {
			t.Errorf("%q to %q: %v", c.sni, c.host, refusal)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.:80", "[::1]:443", "bücher.example", "127.1", "xn--bcher-kva", "a@b", "１.2.3.4", "ａ。b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, port, refusal := Host(in, "https")
		if refusal != nil {
			return
		}
		authority := host
		if strings.Contains(host, ":") {
			authority = "[" + host + "]"
		}
		if port != "" {
			authority += ":" + port
		}
		host2, port2, refusal := Host(authority, "https")
		if refusal != nil || host2 != host || port2 != port {
			t.Fatalf("%q: %q is not its own canonical form: %q %q %v", in, authority, host2, port2, refusal)
		}
		u, err := url.Parse("https://" + authority + "/x")
		if err != nil || u.Hostname() != host || u.Port() != port || u.Path != "/x" || u.User != nil {
			t.Fatalf("%q: net/url reads %q as %+v %v", in, authority, u, err)
		}
		if host != strings.ToLower(host) || strings.HasSuffix(host, ".") || len(host) > longestHost {
			t.Fatalf("%q: host %q", in, host)
		}
		if addr, err := netip.ParseAddr(host); err == nil && addr.String() != host {
			t.Fatalf("%q: address %q could be written %q", in, host, addr)
		}
	})
}
