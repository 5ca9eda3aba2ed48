package adversary

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

const proxyDocument = `
listen:
  at: ["https://127.0.0.1:0", "http://127.0.0.1:0"]
  admin: "http://ADMIN"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
  trusted_proxies: [127.77.0.0/16]
  proxy_protocol: both
apis:
  - {name: shop, hosts: [api.test], contract: small.yaml, to: ["UPSTREAM"]}
`

// B18: the header of the PROXY protocol is taken once, in one form, from trusted proxies, and from them it is demanded.
func TestPROXYHeaders(t *testing.T) {
	t.Parallel()
	g := another(t, proxyDocument, map[string]string{"small.yaml": smallContract})
	v1 := "PROXY TCP4 198.51.100.77 192.0.2.1 1234 443\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string([]byte{198, 51, 100, 78, 192, 0, 2, 1, 4, 210, 1, 187})
	for _, c := range []struct {
		name, header string
		trusted      bool
		client       string // "" when the connection must end before any HTTP
		reason       string
	}{
		{name: "v1", header: v1, trusted: true, client: "198.51.100.77"},
		{name: "v2", header: v2, trusted: true, client: "198.51.100.78"},
		{name: "none", trusted: true, reason: "proxy.header"},
		{name: "stranger v1", header: v1, reason: "proxy.unexpected"},
		{name: "stranger v2", header: v2, reason: "proxy.unexpected"},
		{name: "twice", header: v1 + v1, trusted: true, reason: "proxy.unexpected"},
		{name: "both", header: v2 + v1, trusted: true, reason: "proxy.unexpected"},
		{name: "long", header: "PROXY TCP4 " + strings.Repeat("1", 120) + "\r\n", trusted: true, reason: "proxy.header"},
		{name: "lf", header: strings.Replace(v1, "\r\n", "\n", 1), trusted: true, reason: "proxy.header"},
		{name: "name", header: "PROXY TCP4 localhost 192.0.2.1 1234 443\r\n", trusted: true, reason: "proxy.header"},
		{name: "zeros", header: "PROXY TCP4 198.051.100.077 192.0.2.1 1234 443\r\n", trusted: true, reason: "proxy.header"},
		{name: "v3", header: strings.Replace(v2, "\x21", "\x31", 1), trusted: true, reason: "proxy.header"},
		{name: "short v2", header: v2[:14] + "\x00\x04\x00\x00\x00\x00", trusted: true, reason: "proxy.header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, before, counted := source(), g.server.mark(), 0
			if c.trusted {
				from = proxySource()
			}
			if c.reason != "" {
				counted = g.refusals(t, gate.Reason(c.reason))
			}
			conn, err := g.dial(from)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(conn, c.header+strings.Replace(healthy, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(conn)
			total, requests, _ := g.server.since(before)
			if c.client == "" {
				if len(all) > 0 || total > 0 || err != nil && timeout(err) {
					t.Errorf("answered %q (%v), %d bytes at the server", all, err, total)
				}
				g.more(t, gate.Reason(c.reason), counted)
				return
			}
			if !strings.HasPrefix(string(all), "HTTP/1.1 200 ") || len(requests) != 1 || !strings.Contains(requests[0], "\r\nX-Forwarded-For: "+c.client+"\r\n") {
				t.Errorf("%q; at the server %q", all, requests)
			}
			g.events.from(t, c.client, 1)
		})
	}
	// A trusted proxy that says nothing at all is not waited for.
	began := time.Now()
	conn, err := g.dial(proxySource())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if all, err := io.ReadAll(conn); len(all) > 0 || timeoutOrNil(err) {
		t.Errorf("a silent proxy gets %q, %v after %s", all, err, time.Since(began))
	}
}

func timeoutOrNil(err error) bool { return err != nil && timeout(err) }

// A16: the answer does not depend on how many hosts there are.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 101, 1000} {
		var b strings.Builder
		b.WriteString("listen: {at: [\"http://127.0.0.1:0\"], admin: \"http://ADMIN\"}\nguards: {waf: {off: {accept_risk: \"a test of hosts\"}}}\napis:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: api%d, hosts: [h%d.test], contract: small.yaml, to: [\"UPSTREAM\"]}\n", i, i)
		}
		g := another(t, b.String(), map[string]string{"small.yaml": smallContract})
		for _, host := range []string{fmt.Sprintf("h%d.test", n-1), fmt.Sprintf("H%d.TEST.", n-1), fmt.Sprintf("h%d.tesT:8080", n-1)} {
			from := source()
			r := g.sendRaw(t, from, strings.Replace(healthy, "api.test", host, 1), false, false)
			if e := g.events.from(t, from, 1)[0]; r.status != 200 || e.Request.API != fmt.Sprint("api", n-1) {
				t.Errorf("%d hosts, %s: %d %+v", n, host, r.status, e)
			}
		}
		if r := g.sendRaw(t, source(), strings.Replace(healthy, "api.test", fmt.Sprintf("h%d.test", n), 1), false, false); r.status != 404 {
			t.Errorf("%d hosts: a host that is not there: %d", n, r.status)
		}
	}
}
