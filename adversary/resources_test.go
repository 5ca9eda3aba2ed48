package adversary

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory is what the process holds, in bytes.
func (g *gateway) memory(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(g.process.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// client is TLS over a connection that is there.
func (g *gateway) client(c net.Conn, name string) *tls.Conn {
	_ = c.SetDeadline(time.Now().Add(patience))
	return tls.Client(c, &tls.Config{RootCAs: g.roots, ServerName: name, NextProtos: []string{"http/1.1"}})
}
