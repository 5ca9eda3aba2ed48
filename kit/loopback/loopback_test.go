package loopback

import (
	"net"
	"testing"
)

// A port is one that can be listened on, and none of those that the system gives away itself.
func TestPort(t *testing.T) {
	for range 20 {
		port := Port()
		if port < lowest || port >= 32768 {
			t.Errorf("%d is taken from those that the system gives to connections", port)
		}
		l, err := net.Listen("tcp4", address(port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
