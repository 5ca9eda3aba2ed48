package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/gatehouse-sec/gatehouse/store"
)

var (
	errClosed = ours{errors.New("the client is closed")}
	errNotYet = ours{errors.New("there is no connection yet")}
	errAway   = ours{errors.New("it did not answer before and is asked again in a moment")}
)

// ours is an error whose text was written here or in secret, and repeats neither a password nor a value.
type ours struct{ error }

// failure is what callers get: store.ErrUnavailable, what was done, and the cause in our own words. Texts of the server are
// never passed on, since Redis repeats the arguments of what it doesn't like.
func (c *Client) failure(doing string, err error) error {
	if ended := context.Cause(c.stopped); ended != nil && !errors.As(err, new(ours)) {
		err = errClosed
	}
	text := fmt.Errorf("%w: redis: %s: %s", store.ErrUnavailable, doing, words(err))
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return fmt.Errorf("%w (%w)", text, ended)
		}
	}
	return text
}

// refusals are the answers of a server that an operator can do something about.
func refusals(code string) string {
	switch code {
	case "NOPERM":
		return "the user may not do this; give it the rights that store/redis/README.md lists"
	case "WRONGPASS", "NOAUTH":
		return "user or password are wrong; check store.shared.password and the user in store.shared.url"
	case "OOM":
		return "the server's memory is full; raise its maxmemory"
	case "READONLY":
		return "the server is a replica; with Sentinel set store.shared.sentinel"
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY":
		return "the server is not ready (" + code + ")"
	case "MISCONF", "NOREPLICAS":
		return "the server takes no writes (" + code + "); see its log"
	case "MOVED", "ASK", "CROSSSLOT":
		return "the server belongs to a cluster; set store.shared.cluster"
	}
	return "the server refused; see its log"
}

// words tell the cause of a failure.
func words(err error) string {
	var own ours
	if errors.As(err, &own) {
		return own.Error()
	}
	if answer, ok := valkey.IsValkeyErr(err); ok {
		code, _, _ := strings.Cut(answer.Error(), " ")
		return refusals(code)
	}
	if text := verification(err); text != "" {
		return text
	}
	var network *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "the caller has gone"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &network):
		return network.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server has closed the connection"
	}
	return fmt.Sprintf("the connection failed (%T)", err)
}

// verification tells why the server's certificate was not believed.
func verification(err error) string {
	var invalid *tls.CertificateVerificationError
	var alert tls.AlertError
	var plain tls.RecordHeaderError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return name.Error() + "; set store.shared.server_name"
	case errors.As(err, &invalid):
		return invalid.Error() + "; set store.shared.ca"
	case errors.As(err, &alert):
		return alert.Error()
	case errors.As(err, &plain):
		return "the server does not speak TLS; give it a tls-port"
	}
	return ""
}
