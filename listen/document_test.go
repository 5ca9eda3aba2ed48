package listen

import (
	"testing"

	"github.com/gatehouse-sec/gatehouse/config"
)

// The section as an operator writes it, read by package config.
func TestDocument(t *testing.T) {
	d, err := config.Parse("gatehouse.yaml", []byte(`
listen:
  at: [https://0.0.0.0:8443, "https://[::1]:9443"]
  certificates:
    - cert: /etc/gatehouse/tls.crt
      key: file:/etc/gatehouse/tls.key
  acme:
    email: ops@example.com
    domains: [api.example.com]
    accept_terms: true
  min_tls: 1.2
  redirect: http://0.0.0.0:80
  admin: http://127.0.0.1:9091
  trusted_proxies: [10.0.0.0/8]
  proxy_protocol: v2
  plaintext: {accept_risk: "TLS ends at the balancer", until: 2099-12-31}
  limits: {head: 8KiB, fields: 64, head_time: 3s, handshake: 2s, idle: 30s, min_rate: 1KiB, streams: 50, window: 128KiB, per_ipv4: 10, per_ipv6: 20, total: 100}
`))
	if err != nil {
		t.Fatal(err)
	}
	c, found, err := config.Section[Config](d, "listen")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if c.At[1].String() != "https://[::1]:9443" || c.MinTLS != TLS12 || c.Redirect.String() != "http://0.0.0.0:80" ||
		c.AdminAddress().HostPort() != "127.0.0.1:9091" || c.ProxyProtocol != ProxyV2 || c.Certificates[0].Key.Path() != "/etc/gatehouse/tls.key" ||
		c.ACME.Domains[0] != "api.example.com" || c.Limits.Window != 128<<10 || c.Limits.Total != 100 || c.Plaintext.AcceptRisk == "" {
		t.Errorf("%+v", c)
	}
	for _, wrong := range []string{
		"listen: {at: [https://api.example.com]}", "listen: {at: https://0.0.0.0:1}", "listen: {min_tls: 1.1}", "listen: {proxy_protocol: on}",
		"listen: {trusted_proxies: [10.0.0.0]}", "listen: {limits: {head: 8KB}}", "listen: {limits: {heads: 8KiB}}", "listen: {tls: off}",
		"listen: {certificates: [{cert: a, key: \"-----BEGIN\"}]}",
	} {
		d, err := config.Parse("gatehouse.yaml", []byte(wrong))
		if err == nil {
			_, _, err = config.Section[Config](d, "listen")
		}
		if err == nil {
			t.Errorf("accepted: %s", wrong)
		}
	}
}
