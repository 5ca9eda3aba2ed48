package keys

import (
	"net/netip"
	"testing"
)

// E6, I11: where a fetch may go.
func TestPermit(t *testing.T) {
	for _, c := range []struct {
		address string
		by      string // who may reach it: "all", "loopback", "private", "none"
	}{
		{"93.184.215.14", "all"}, {"1.1.1.1", "all"}, {"2606:4700::1111", "all"}, {"::ffff:93.184.215.14", "all"},
		{"127.0.0.1", "loopback"}, {"127.9.9.9", "loopback"}, {"::1", "loopback"}, {"::ffff:127.0.0.1", "loopback"},
		{"10.0.0.1", "private"}, {"172.16.0.1", "private"}, {"192.168.1.1", "private"}, {"fd00::1", "private"},
		{"::ffff:10.0.0.1", "private"}, {"100.64.0.1", "private"},
		{"169.254.169.254", "none"}, {"::ffff:169.254.169.254", "none"}, {"fe80::1", "none"}, {"fe80::1%eth0", "none"},
		{"0.0.0.0", "none"}, {"0.1.2.3", "none"}, {"::", "none"}, {"255.255.255.255", "none"}, {"240.0.0.1", "none"},
		{"224.0.0.1", "none"}, {"ff02::1", "none"}, {"192.0.0.8", "none"}, {"198.18.0.1", "none"}, {"192.0.2.1", "none"},
		{"203.0.113.1", "none"}, {"64:ff9b::a9fe:a9fe", "none"}, {"64:ff9b:1::1", "none"}, {"2002:7f00:1::", "none"},
		{"2001::1", "none"}, {"2001:db8::1", "none"}, {"::127.0.0.1", "none"}, {"fec0::1", "none"}, {"100::1", "none"},
	} {
		a := netip.MustParseAddr(c.address)
		for _, r := range []reach{{}, {loopback: true}, {private: true}, {loopback: true, private: true}} {
			want := c.by == "all" || c.by == "loopback" && r.loopback || c.by == "private" && r.private
			if got := r.permit(a) == nil; got != want {
				t.Errorf("%s with %+v: %t", c.address, r, got)
			}
		}
	}
	for address, good := range map[string]bool{"127.0.0.1": true, "::1": true, "10.0.0.1": false, "1.1.1.1": false} {
		if got := (reach{loopback: true, private: true, only: true}).permit(netip.MustParseAddr(address)) == nil; got != good {
			t.Errorf("%s without encryption: %t", address, got)
		}
	}
	if (reach{loopback: true, private: true}).permit(netip.Addr{}) == nil {
		t.Error("the zero address is permitted")
	}
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://idp.example.com", "https://idp.example.com/realms/a/", "https://idp.example.com:8443",
		"http://localhost:8080/x", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		if _, err := CheckURL(good, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := CheckURL("https://idp.example.com/keys?v=1", true); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "idp.example.com", "//idp.example.com", "http://idp.example.com", "http://10.0.0.1", "http://127.0.0.1.evil.com",
		"http://localhost.evil.com", "ftp://idp.example.com", "file:///etc/passwd", "https://", "https:///x", "https:idp", "https://u:p@idp.example.com",
		"https://idp.example.com#x", "https://idp.example.com/?x", "https://idp.example.com?", "https://idp.example.com/#", "https://%zz", "javascript:alert(1)",
		"http://0x7f000001/", "http://2130706433/", "http://127.1/"} {
		if _, err := CheckURL(bad, false); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://idp.example.com/a", "http://localhost:1", "http://[::1]/", "https://u@h", "https://h?x#y", "http://127.0.0.1@evil/"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, query bool) {
		u, err := CheckURL(text, query)
		if err != nil {
			return
		}
		if u.Hostname() == "" || u.User != nil || u.Fragment != "" || !query && u.RawQuery != "" ||
			u.Scheme != "https" && !(u.Scheme == "http" && Loopback(u.Hostname())) {
			t.Fatalf("%q is accepted as %#v", text, u)
		}
	})
}
