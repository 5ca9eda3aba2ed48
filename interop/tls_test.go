package interop

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTLS lets openssl shake hands with the built gateway in good and in bad ways, by default and where TLS 1.2 is admitted
// (rows A17, D13, D19, M5).
func TestTLS(t *testing.T) {
	t.Parallel()
	server := behind(t, echo)
	t.Run("default", func(t *testing.T) {
		h := settle(t, echoContract, echoDocument, server)
		handshakes(t, h, []handshake{
			{"TLS 1.3", "-tls1_3 -servername localhost", "", []string{"New, TLSv1.3", "HTTP/1.1 200 OK", "Verification: OK", "Compression: NONE", "No client certificate CA names sent"}},
			{"TLS 1.2", "-tls1_2 -servername localhost", "", []string{"alert protocol version"}},
			{"TLS 1.1", "-tls1_1 -servername localhost -cipher ALL:@SECLEVEL=0", "", []string{"alert protocol version"}},
			{"TLS 1.0", "-tls1 -servername localhost -cipher ALL:@SECLEVEL=0", "", []string{"alert protocol version"}},
			{"a name in capitals", "-servername LOCALHOST", "", []string{"New, TLSv1.3", "HTTP/1.1 200 OK"}},
			{"a name with its last dot", "-servername localhost.", "", []string{"SSL alert number", "no peer certificate available"}}, // RFC 6066, section 3
			{"no name", "-noservername", "", []string{"New, TLSv1.3", "HTTP/1.1 200 OK"}},
			{"another name", "-servername evil.example", "", []string{"SSL alert number", "no peer certificate available"}},
			{"a name below", "-servername a.localhost", "", []string{"SSL alert number", "no peer certificate available"}},
			{"a name that is none", "-servername local_host", "", []string{"SSL alert number", "no peer certificate available"}},
			{"ALPN h2", "-servername localhost -alpn h2,http/1.1", "", []string{"ALPN protocol: h2"}},
			{"ALPN http/1.1", "-servername localhost -alpn http/1.1", "", []string{"ALPN protocol: http/1.1", "HTTP/1.1 200 OK"}},
			{"ALPN of its own order", "-servername localhost -alpn foo,http/1.1", "", []string{"ALPN protocol: http/1.1"}},
			{"no ALPN", "-servername localhost", "", []string{"No ALPN negotiated", "HTTP/1.1 200 OK"}},
			{"ALPN of nothing known", "-servername localhost -alpn h3,spdy/3", "", []string{"alert no application protocol"}},
			{"ALPN http/1.0, as curl --http1.0 names it", "-servername localhost -alpn http/1.0", "", []string{"alert no application protocol"}},
			{"a curve that nobody has", "-servername localhost -groups X448", "", []string{"alert handshake failure"}},
			{"P-256", "-servername localhost -groups P-256", "", []string{"New, TLSv1.3", "Server Temp Key: ECDH, prime256v1"}},
			{"AES 128", "-servername localhost -ciphersuites TLS_AES_128_GCM_SHA256", "", []string{"Cipher is TLS_AES_128_GCM_SHA256"}},
			{"ChaCha20", "-servername localhost -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "", []string{"Cipher is TLS_CHACHA20_POLY1305_SHA256"}},
			{"CCM", "-servername localhost -ciphersuites TLS_AES_128_CCM_SHA256", "", []string{"alert handshake failure"}},
			{"renegotiation", "-tls1_3 -servername localhost", "R\n", []string{"wrong ssl version"}},
			{"new keys while talking", "-tls1_3 -servername localhost", "K\n", []string{"KEYUPDATE", "New, TLSv1.3"}},
		})
		tickets(t, h)
		plain(t, h)
		h.sound(t)
	})
	t.Run("min_tls 1.2", func(t *testing.T) {
		h := settle(t, echoContract, strings.Replace(echoDocument, "listen: {", "listen: {min_tls: \"1.2\", ", 1), server)
		handshakes(t, h, []handshake{
			{"TLS 1.3 is taken all the same", "-servername localhost", "", []string{"New, TLSv1.3"}},
			{"TLS 1.2", "-tls1_2 -servername localhost", "", []string{"New, TLSv1.2", "HTTP/1.1 200 OK", "Secure Renegotiation IS supported", "Compression: NONE", "Extended master secret: yes", "Server Temp Key: X25519"}},
			{"TLS 1.1", "-tls1_1 -servername localhost -cipher ALL:@SECLEVEL=0", "", []string{"alert protocol version"}},
			{"keys that anybody can open who has the certificate's", "-tls1_2 -servername localhost -cipher kRSA", "", []string{"alert handshake failure"}},
			{"DHE", "-tls1_2 -servername localhost -cipher kDHE", "", []string{"alert handshake failure"}},
			{"CBC", "-tls1_2 -servername localhost -cipher ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", "", []string{"alert handshake failure"}},
			{"3DES, RC4, NULL, anonymous", "-tls1_2 -servername localhost -cipher 3DES:RC4:eNULL:aNULL:@SECLEVEL=0", "", []string{"alert handshake failure"}},
			{"SHA-1 signatures", "-tls1_2 -servername localhost -sigalgs ECDSA+SHA1 -cipher ALL:@SECLEVEL=0", "", []string{"alert handshake failure"}},
			{"renegotiation by the client", "-tls1_2 -servername localhost", "R\n", []string{"New, TLSv1.2", "RENEGOTIATING", "SSL alert number"}},
		})
		h.sound(t)
	})
}

// handshake is one run of openssl s_client: its arguments, what it is told after the handshake (else a request), and what
// it must say.
type handshake struct {
	name, args, typed string
	says              []string
}

func handshakes(t *testing.T, h *house, list []handshake) {
	for _, c := range list {
		out := shake(t, h, c.typed, strings.Fields(c.args)...)
		for _, word := range c.says {
			if !strings.Contains(out, word) {
				t.Errorf("%s: openssl says nothing of %q:\n%s", c.name, word, out)
			}
		}
	}
}

// shake runs openssl s_client, which fails when the handshake does; both are told by what it prints.
func shake(t *testing.T, h *house, typed string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	usual := []string{"s_client", "-connect", "localhost:" + h.port, "-CAfile", h.ca, "-verify_return_error"}
	if typed == "" {
		typed = "GET /notes HTTP/1.1\r\nHost: localhost:" + h.port + "\r\nConnection: close\r\n\r\n"
		usual = append(usual, "-ign_eof")
	}
	c := exec.CommandContext(ctx, "openssl", append(usual, args...)...)
	c.Stdin = strings.NewReader(typed)
	out, _ := c.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("openssl %q did not end", args)
	}
	return string(out)
}

// tickets: a session goes on, for the same name only, and never with data before its handshake.
func tickets(t *testing.T, h *house) {
	session := filepath.Join(t.TempDir(), "session")
	if out := shake(t, h, "", "-tls1_3", "-servername", "localhost", "-sess_out", session); !strings.Contains(out, "Max Early Data: 0") {
		t.Errorf("a ticket without early data: %s", out)
	}
	if out := shake(t, h, "", "-tls1_3", "-servername", "localhost", "-sess_in", session); !strings.Contains(out, "Reused, TLSv1.3") || !strings.Contains(out, "HTTP/1.1 200 OK") {
		t.Errorf("a session that goes on: %s", out)
	}
	if out := shake(t, h, "", "-tls1_3", "-servername", "evil.example", "-sess_in", session); !strings.Contains(out, "SSL alert number") || strings.Contains(out, "HTTP/1.1") {
		t.Errorf("a session that goes on under another name: %s", out)
	}
}

// plain: HTTP without TLS on the port of TLS is answered by nobody, or with an error, and never by the server behind.
func plain(t *testing.T, h *house) {
	out, _ := exec.Command("curl", "-sS", "--max-time", "10", "-w", "%{http_code}", "http://localhost:"+h.port+"/notes").CombinedOutput()
	if strings.Contains(string(out), "Target") || strings.HasSuffix(string(out), "200") {
		t.Errorf("HTTP without TLS: %s", out)
	}
}
