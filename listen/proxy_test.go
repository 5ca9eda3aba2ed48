package listen

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

const (
	request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
	lineOne = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n"
	blockV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x0a\xc6\x33\x64\x01\x12\x67\x01\xbb"
)

// B18 over plain TCP: what is not exactly one header of a trusted proxy ends the connection, and no HTTP is parsed.
func TestProxyProtocolPlain(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		speak   ProxyProtocol
		send    string
		peer    string // that the handler saw; "" : it was never asked
		reason  string
	}{
		{"v1", trusted, ProxyV1, lineOne + request, "203.0.113.9", ""},
		{"v2", trusted, ProxyV2, blockV2 + request, "203.0.113.10", ""},
		{"both, v1", trusted, ProxyBoth, lineOne + request, "203.0.113.9", ""},
		{"both, v2", trusted, ProxyBoth, blockV2 + request, "203.0.113.10", ""},
		{"proxy for itself", trusted, ProxyV1, "PROXY UNKNOWN\r\n" + request, "127.0.0.1", ""},
		{"twice v1", trusted, ProxyV1, lineOne + lineOne + request, "", reasonProxyStranger},
		{"twice v2", trusted, ProxyV2, blockV2 + blockV2 + request, "", reasonProxyStranger},
		{"v1 then v2", trusted, ProxyBoth, lineOne + blockV2 + request, "", reasonProxyStranger},
		{"oversize", trusted, ProxyV1, "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n" + request, "", reasonProxyHeader},
		{"none", trusted, ProxyV1, request, "", reasonProxyHeader},
		{"v1 where v2 is demanded", trusted, ProxyV2, lineOne + request, "", reasonProxyHeader},
		{"stranger with header", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ProxyBoth, lineOne + request, "", reasonProxyStranger},
		{"stranger with block", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ProxyBoth, blockV2 + request, "", reasonProxyStranger},
		{"stranger without", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ProxyBoth, request, "127.0.0.1", ""},
		{"off, with header", nil, ProxyOff, lineOne + request, "", reasonProxyStranger},
		{"off, PUT starts alike", nil, ProxyOff, strings.Replace(request, "GET", "PUT", 1), "127.0.0.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := run(t, Config{At: at(t, "http://127.0.0.1:0"), TrustedProxies: c.trusted, ProxyProtocol: c.speak},
				deps(t, http.HandlerFunc(tell)))
			answer := raw(t, b.hostport("http"), c.send)
			if c.peer == "" {
				if answer != "" {
					t.Errorf("answer %q", answer)
				}
				b.expect(c.reason)
				return
			}
			if !strings.Contains(answer, " "+c.peer+" trusted=") {
				t.Errorf("answer %q", answer)
			}
			if want := c.peer == "127.0.0.1" && len(c.trusted) > 0 && c.trusted[0].Contains(mustAddr("127.0.0.1")); strings.Contains(answer, "trusted=true") != want {
				t.Errorf("trust of %s: %q", c.peer, answer)
			}
		})
	}
}

// Over TLS the header stands in front of the handshake, and one inside it is just a bad request.
func TestProxyProtocolBeforeTLS(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{
		At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{ca.issue("a", "a.test")},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, ProxyProtocol: ProxyV2,
	}, deps(t, http.HandlerFunc(tell)))
	ask := func(before string) (string, error) {
		c, err := net.Dial("tcp", b.hostport("https"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, before)
		client := tls.Client(c, &tls.Config{RootCAs: ca.pool, ServerName: "a.test"})
		if _, err := io.WriteString(client, request); err != nil {
			return "", err
		}
		answer, err := io.ReadAll(client)
		return string(answer), err
	}
	if answer, err := ask(blockV2); err != nil || !strings.Contains(answer, " https 203.0.113.10 trusted=false") {
		t.Errorf("%q, %v", answer, err)
	}
	if _, err := ask(blockV2 + blockV2); err == nil {
		t.Error("two headers were accepted")
	}
	b.expect(reasonProxyStranger)
	if _, err := ask(""); err == nil {
		t.Error("a trusted proxy without a header was accepted")
	}
	b.expect(reasonProxyHeader)
}

// Behind a proxy the bound is the client's, not the proxy's (H7).
func TestConnectionsPerAddressBehindProxy(t *testing.T) {
	b := run(t, Config{
		At: at(t, "http://127.0.0.1:0"), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		ProxyProtocol: ProxyV1, Limits: Limits{PerIPv4: 2},
	}, deps(t, http.HandlerFunc(tell)))
	open := func(client string) bool {
		c, err := net.Dial("tcp", b.hostport("http"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "PROXY TCP4 "+client+" 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	for _, c := range []struct {
		client string
		want   bool
	}{{"203.0.113.1", true}, {"203.0.113.1", true}, {"203.0.113.1", false}, {"203.0.113.2", true}, {"203.0.113.3", true}} {
		if got := open(c.client); got != c.want {
			t.Errorf("%s: served %v", c.client, got)
		}
	}
}

// A reload that takes a proxy off the list takes its trust on the connections it has (B4, B5).
func TestTrustEndsWithReload(t *testing.T) {
	cfg := Config{At: at(t, "http://127.0.0.1:0"), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	b := run(t, cfg, deps(t, http.HandlerFunc(tell)))
	client := b.client("http", 1, nil)
	if _, body := get(t, client, "http://a.test/"); !strings.Contains(body, "trusted=true") {
		t.Error(body)
	}
	cfg.TrustedProxies = nil
	if err := b.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, client, "http://a.test/"); !strings.Contains(body, "trusted=false") {
		t.Error(body)
	}
}
