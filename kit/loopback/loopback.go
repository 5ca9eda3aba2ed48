// Package loopback finds addresses of this machine for servers that are told where to listen. It exists for tests and
// benches alone: what listens itself asks the system for port 0, which hands over the port and the socket in one.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports below those that Linux (32768 to 60999) and macOS (49152 to 65535) give to connections and to whoever asks for port
// 0, so that nothing takes one by chance between its being found and its server's start.
const (
	lowest = 12000
	count  = 20000
)

// Port gives a port of 127.0.0.1 on which nobody listens, drawn by chance, so that tests in several processes don't take the
// same. It panics if there is none.
func Port() int {
	var err error
	for range 100 {
		port := lowest + rand.IntN(count) //nolint:gosec // chance is enough
		var l net.Listener
		if l, err = net.Listen("tcp4", address(port)); err != nil {
			continue
		}
		if err = l.Close(); err == nil {
			return port
		}
	}
	panic(fmt.Errorf("no free port on 127.0.0.1: %w", err))
}

// Address gives 127.0.0.1 with such a port.
func Address() string { return address(Port()) }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
