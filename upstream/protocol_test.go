package upstream

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// serveProtocol starts a loopback server that speaks proto without TLS.
func serveProtocol(t testing.TB, proto string, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(proto == "http1")
	s.Config.Protocols.SetUnencryptedHTTP2(proto == "h2c")
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}
