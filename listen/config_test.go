package listen

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"https://0.0.0.0:8443":          "https://0.0.0.0:8443",
		"https://localhost:8443/":       "https://localhost:8443",
		"https://127.0.0.1":             "https://127.0.0.1:443",
		"http://[::1]":                  "http://[::1]:80",
		"https://[::ffff:10.0.0.1]:443": "https://10.0.0.1:443",
		// wrong uses
		"":                            "",
		"0.0.0.0:8443":                "",
		"tcp://0.0.0.0:8443":          "",
		"https://api.example.com":     "",
		"https://:8443":               "",
		"https://127.0.0.1:":          "",
		"https://127.0.0.1:70000":     "",
		"https://127.0.0.1:443/path":  "",
		"https://127.0.0.1:443?q":     "",
		"https://127.0.0.1:443?":      "",
		"https://u:p@127.0.0.1:443":   "",
		"https:127.0.0.1":             "",
		"https://127.1:443":           "",
		"https://0x7f000001:443":      "",
		"HTTPS://127.0.0.1:443#a":     "",
		"https://127.0.0.1:443\r\nX:": "",
	} {
		a, err := ParseAddress(in)
		if got := a.String(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestPatternTakesWhatIsParsed(t *testing.T) {
	pattern := regexp.MustCompile(Address{}.Pattern())
	for in, want := range map[string]bool{
		Address{}.Example(): true, "https://localhost": true, "http://[::1]:80/": true, "https://[fe80::1%25eth0]": false,
		"https://example.com": false, "https://127.0.0.1:443/a": false,
	} {
		if _, err := ParseAddress(in); (err == nil) != want || pattern.MatchString(in) != want {
			t.Errorf("%s: %v, pattern %v", in, err, pattern.MatchString(in))
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"https://0.0.0.0:8443", "http://[::1]:80", "https://localhost", "https://[fe80::1%25eth0]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q becomes %q becomes %v, %v", s, a, again, err)
		}
	})
}

// Wrong uses: each is refused by New, at its place.
func TestWrongUses(t *testing.T) {
	ca := newAuthority(t)
	good, other := ca.issue("good", "a.test"), ca.issue("other", "b.test")
	swapped := CertificateFiles{Cert: good.Cert, Key: other.Key}
	file := func(name, content string) string {
		path := filepath.Join(ca.dir, name)
		ca.write(path, []byte(content))
		return path
	}
	nameless := ca.issue("nameless")
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	secure := at(t, "https://127.0.0.1:8443")
	acme := func(change func(*ACME)) *ACME {
		a := &ACME{Email: "ops@example.com", Domains: []string{"a.test"}, AcceptTerms: true}
		change(a)
		return a
	}
	with := func(c ...CertificateFiles) Config { return Config{At: secure, Certificates: c} }
	for _, c := range []struct {
		name  string
		cfg   Config
		place string
		says  string
	}{
		{"no address", Config{At: []Address{}}, "at", "empty"},
		{"public without certificate", Config{At: at(t, "https://0.0.0.0:8443")}, "at[0]", "no certificate"},
		{"loopback without certificate", Config{}, "certificates", "needs a certificate"},
		{"public plaintext", Config{At: at(t, "http://0.0.0.0:8080")}, "at[0]", "in the clear"},
		{"public plaintext, risk over", Config{At: at(t, "http://0.0.0.0:8080"), Plaintext: gate.Risk{AcceptRisk: "old", Until: time.Now().Add(-time.Hour)}}, "at[0]", "in the clear"},
		{"same address twice", Config{At: at(t, "https://127.0.0.1:8443", "https://127.0.0.1:8443"), Certificates: []CertificateFiles{good}}, "at[1]", "already used by at[0]"},
		{"admin on a client address", Config{At: at(t, "http://127.0.0.1:9090")}, "admin", "already used"}, // I3
		{"admin beyond loopback", Config{At: secure, Certificates: []CertificateFiles{good}, Admin: at(t, "http://0.0.0.0:9090")[0]}, "admin", "beyond this machine"},
		{"admin with TLS", Config{At: secure, Certificates: []CertificateFiles{good}, Admin: at(t, "https://127.0.0.1:9090")[0]}, "admin", "not built"},
		{"redirect with TLS", Config{At: secure, Certificates: []CertificateFiles{good}, Redirect: at(t, "https://127.0.0.1:80")[0]}, "redirect", "not an http address"},
		{"redirect to nothing", Config{At: at(t, "http://127.0.0.1:8080"), Redirect: at(t, "http://127.0.0.1:80")[0]}, "redirect", "no https address"},
		{"certificate without file", with(CertificateFiles{Key: good.Key}), "certificates[0].cert", "no file"},
		{"certificate without key", with(CertificateFiles{Cert: good.Cert}), "certificates[0].key", "no key"},
		// I5, I6, E7: missing, empty, garbled, mismatched: never "without TLS"
		{"certificate missing", with(CertificateFiles{Cert: "/nowhere.crt", Key: good.Key}), "certificates[0].cert", "no such file"},
		{"certificate empty", with(CertificateFiles{Cert: file("empty", " \n"), Key: good.Key}), "certificates[0].cert", "is empty"},
		{"certificate garbled", with(CertificateFiles{Cert: file("garbled", "-----BEGIN"), Key: good.Key}), "certificates[0]", "find any PEM"},
		{"key missing", with(CertificateFiles{Cert: good.Cert, Key: ref(t, "file:/nowhere.key")}), "certificates[0].key", "no such file"},
		{"key empty", with(CertificateFiles{Cert: good.Cert, Key: ref(t, "file:"+file("emptykey", ""))}), "certificates[0].key", "is empty"},
		{"key garbled", with(CertificateFiles{Cert: good.Cert, Key: ref(t, "file:"+file("garbledkey", "x"))}), "certificates[0]", "find any PEM"},
		{"key unset", with(CertificateFiles{Cert: good.Cert, Key: ref(t, "env:GATEHOUSE_TEST_UNSET")}), "certificates[0].key", "is empty"},
		{"key of another", with(good, swapped), "certificates[1]", "does not match"},
		{"certificate without names", with(nameless), "certificates[0].cert", "names no server"},
		{"acme root missing", Config{At: secure, ACME: acme(func(a *ACME) { a.CARoot = "/nowhere.pem" })}, "acme.ca_root", "no such file"},
		{"acme root empty", Config{At: secure, ACME: acme(func(a *ACME) { a.CARoot = file("emptyroot", "") })}, "acme.ca_root", "no certificate"},
		{"acme root garbled", Config{At: secure, ACME: acme(func(a *ACME) { a.CARoot = file("garbledroot", "x") })}, "acme.ca_root", "no certificate"},
		{"acme without names", Config{At: secure, ACME: acme(func(a *ACME) { a.Domains = nil })}, "acme.domains", "empty"},
		{"acme wildcard", Config{At: secure, ACME: acme(func(a *ACME) { a.Domains = []string{"*.a.test"} })}, "acme.domains[0]", "DNS-01"},
		{"acme dot", Config{At: secure, ACME: acme(func(a *ACME) { a.Domains = []string{"A.test."} })}, "acme.domains[0]", "lower case"},
		{"acme twice", Config{At: secure, ACME: acme(func(a *ACME) { a.Domains = []string{"a.test", "a.test"} })}, "acme.domains[1]", "twice"},
		{"acme terms", Config{At: secure, ACME: acme(func(a *ACME) { a.AcceptTerms = false })}, "acme.accept_terms", "not accepted"},
		{"acme in the clear", Config{At: secure, ACME: acme(func(a *ACME) { a.Directory = "http://ca.test/dir" })}, "acme.directory", "not an https URL"},
		{"proxy with host bits", Config{TrustedProxies: prefix("10.0.0.1/8")}, "trusted_proxies[0]", "bits set"},
		{"everybody a proxy", Config{TrustedProxies: prefix("0.0.0.0/0")}, "trusted_proxies[0]", "every host"},
		{"mapped proxy", Config{TrustedProxies: prefix("::ffff:10.0.0.0/104")}, "trusted_proxies[0]", "IPv4"},
		{"zero proxy", Config{TrustedProxies: []netip.Prefix{{}}}, "trusted_proxies[0]", "not a prefix"},
		{"PROXY of nobody", Config{ProxyProtocol: ProxyV1}, "proxy_protocol", "none is listed"},
		{"old TLS", Config{MinTLS: "1.1"}, "min_tls", "safe"},
		{"unknown PROXY version", Config{ProxyProtocol: "v3", TrustedProxies: prefix("10.0.0.0/8")}, "proxy_protocol", "not off"},
		{"negative head", Config{Limits: Limits{Head: -1}}, "limits.head", "between"},
		{"endless handshake", Config{Limits: Limits{Handshake: time.Hour}}, "limits.handshake", "between"},
		{"narrow window", Config{Limits: Limits{Window: 1}}, "limits.window", "between"},
		{"more than there are files", Config{Limits: Limits{Total: 1 << 30}}, "limits.total", "open files"},
		{"less than one", Config{Limits: Limits{Total: -1}}, "limits.total", "less than one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.cfg, deps(t, http.NotFoundHandler()))
			var list mistake.List
			if !errors.As(err, &list) {
				t.Fatalf("accepted, or another error: %v", err)
			}
			for _, m := range list {
				if m.Path == c.place && strings.Contains(m.What, c.says) {
					return
				}
			}
			t.Errorf("no mistake at %s that says %q, but:\n%v", c.place, c.says, list)
		})
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := New(Config{
		At: at(t, "https://0.0.0.0:8443", "http://0.0.0.0:8080"), TrustedProxies: []netip.Prefix{{}},
		Limits: Limits{Head: -1 * unit.KiB, Streams: -1},
	}, deps(t, http.NotFoundHandler()))
	var list mistake.List
	if !errors.As(err, &list) || len(list) != 5 {
		t.Errorf("five mistakes, found:\n%v", err)
	}
}

func TestNewNeedsHandlerAndClock(t *testing.T) {
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("accepted nothing")
	}
}

func TestAcceptedRiskOpensPlaintext(t *testing.T) {
	risk := gate.Risk{AcceptRisk: "TLS ends at the balancer on this host"}
	if _, err := New(Config{At: at(t, "http://0.0.0.0:8080"), Plaintext: risk}, deps(t, http.NotFoundHandler())); err != nil {
		t.Error(err)
	}
}

func TestNoKeyInMistakes(t *testing.T) {
	ca := newAuthority(t)
	good, other := ca.issue("good", "a.test"), ca.issue("other", "b.test")
	key, _ := os.ReadFile(other.Key.Path())
	_, err := New(Config{Certificates: []CertificateFiles{{Cert: good.Cert, Key: other.Key}}}, deps(t, http.NotFoundHandler()))
	if err == nil || strings.Contains(err.Error(), strings.Split(string(key), "\n")[1]) { // K2
		t.Errorf("error %v", err)
	}
}
