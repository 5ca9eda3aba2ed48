package upstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section apis[].upstream: how the servers of one API are chosen, watched and spoken to.
type Config struct {
	// Balance is how a server is chosen: power_of_two (default: the less busy of two), round_robin or hash.
	Balance string `yaml:"balance"`
	// HashOn is what balance hash keeps together: caller, address or header:NAME. No default.
	HashOn string `yaml:"hash_on"`
	// Protocol is what servers speak: http1 (default), http2 (over TLS) or h2c (HTTP/2 without TLS).
	Protocol string `yaml:"protocol"`
	// MaxConnections bounds the requests in progress at one server, which for http1 are its connections. Default 1024.
	MaxConnections int `yaml:"max_connections"`
	// MaxResponseHead bounds an answer's status line and fields together. Default 64KiB.
	MaxResponseHead unit.Size `yaml:"max_response_head"`
	// MinRate is the slowest body in bytes a second, counted while waiting for the server. Default 256B; streams are exempt.
	MinRate unit.Size `yaml:"min_rate"`

	Health   Health   `yaml:"health"`
	Timeouts Timeouts `yaml:"timeouts"`
	Retry    Retry    `yaml:"retry"`
	Breaker  Breaker  `yaml:"breaker"`
	TLS      TLS      `yaml:"tls"`
}

// Health is how the pool learns that a server is down and up again.
type Health struct {
	// Active is the probe: tcp (default: a connection can be opened), http (path answers 200 to 399) or off.
	Active string `yaml:"active"`
	// Path is what an http probe asks for, below the target's base path. Default /.
	Path string `yaml:"path"`
	// Interval is the time between probes of one server. Default 5s.
	Interval time.Duration `yaml:"interval"`
	// Timeout is how long a probe may take. Default 2s.
	Timeout time.Duration `yaml:"timeout"`
	// Fall is how many failed probes in a row take a server out. Default 2.
	Fall int `yaml:"fall"`
	// Rise is how many good probes in a row bring it back. Default 1.
	Rise int `yaml:"rise"`
	// EjectAfter is how many failed requests in a row eject a server. Default 5.
	EjectAfter int `yaml:"eject_after"`
	// EjectFor is the first ejection's length; it doubles with each that follows without a good request. Default 1s.
	EjectFor time.Duration `yaml:"eject_for"`
	// EjectMax is the longest ejection. Default 60s.
	EjectMax time.Duration `yaml:"eject_max"`
}

// Timeouts bound what a server may make the gateway wait for.
type Timeouts struct {
	// Connect bounds opening a connection, and then its TLS handshake. Default 2s.
	Connect time.Duration `yaml:"connect"`
	// FirstByte bounds the wait from the request's end to the end of the answer's head. Default 30s.
	FirstByte time.Duration `yaml:"first_byte"`
	// Idle bounds each pause within a body, in both directions; streams are exempt. Default 60s.
	Idle time.Duration `yaml:"idle"`
	// KeepAlive is how long an unused connection is kept; stay below what the servers allow. Default 30s.
	KeepAlive time.Duration `yaml:"keep_alive"`
}

// Retry bounds how often an idempotent request is sent again.
type Retry struct {
	// Attempts is how often one request is sent at most, 1 meaning no retry. Default 3.
	Attempts int `yaml:"attempts"`
	// Budget is the share of requests that may be retries. Default 10%.
	Budget Percent `yaml:"budget"`
	// Burst is how many retries may come at once beyond the share. Default 50.
	Burst int `yaml:"burst"`
}

// Breaker cuts off a server that fails too often.
type Breaker struct {
	// FailureRate opens the circuit. Default 50%.
	FailureRate Percent `yaml:"failure_rate"`
	// MinRequests is how many requests a window needs before its rate counts. Default 20.
	MinRequests int `yaml:"min_requests"`
	// Window is how far back requests count. Default 10s.
	Window time.Duration `yaml:"window"`
	// OpenFor is how long an open circuit lets nothing through. Default 5s.
	OpenFor time.Duration `yaml:"open_for"`
	// Probes is how many requests test a half-open circuit at once, and must succeed to close it. Default 3.
	Probes int `yaml:"probes"`
}

// TLS is how servers are verified and how the gateway shows itself to them. TLS 1.2 is the least.
type TLS struct {
	// CA is a file of certificates in PEM form that replaces the system's. Default: the system's.
	CA string `yaml:"ca,public"`
	// ServerName is the name that certificates must carry. Default: the target's host.
	ServerName string `yaml:"server_name"`
	// Client is internal to show servers a certificate of the gateway's own authority, made anew every day. Default: client_cert.
	Client string `yaml:"client"`
	// ClientCert refers to the gateway's certificate chain in PEM form. Read again for every new connection. No default.
	ClientCert secret.Ref `yaml:"client_cert"`
	// ClientKey refers to the key that goes with client_cert. No default.
	ClientKey secret.Ref `yaml:"client_key"`
	// InsecureSkipVerify accepts any certificate, for whoever writes down why. Default: off.
	InsecureSkipVerify gate.Risk `yaml:"insecure_skip_verify"`
}

// Percent is a share from 1% to 100%. In a document it is written "10%".
type Percent int

// UnmarshalText reads the written form: a whole number from 1 to 100 with a percent sign.
func (p *Percent) UnmarshalText(text []byte) error {
	word, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	n, err := strconv.Atoi(strings.TrimSpace(word))
	if !ok || err != nil || n < 1 || n > 100 {
		return fmt.Errorf("%q is not a share; write a whole number from 1%% to 100%%, such as 10%%", text)
	}
	*p = Percent(n)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String writes the form that UnmarshalText reads.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

func orDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

// withDefaults fills in what the document left out.
func (c Config) withDefaults() Config {
	orDefault(&c.Balance, "power_of_two")
	orDefault(&c.Protocol, "http1")
	orDefault(&c.MaxConnections, 1024)
	orDefault(&c.MaxResponseHead, 64*unit.KiB)
	orDefault(&c.MinRate, 256)
	orDefault(&c.Health.Active, "tcp")
	orDefault(&c.Health.Path, "/")
	orDefault(&c.Health.Interval, 5*time.Second)
	orDefault(&c.Health.Timeout, 2*time.Second)
	orDefault(&c.Health.Fall, 2)
	orDefault(&c.Health.Rise, 1)
	orDefault(&c.Health.EjectAfter, 5)
	orDefault(&c.Health.EjectFor, time.Second)
	orDefault(&c.Health.EjectMax, time.Minute)
	orDefault(&c.Timeouts.Connect, 2*time.Second)
	orDefault(&c.Timeouts.FirstByte, 30*time.Second)
	orDefault(&c.Timeouts.Idle, time.Minute)
	orDefault(&c.Timeouts.KeepAlive, 30*time.Second)
	orDefault(&c.Retry.Attempts, 3)
	orDefault(&c.Retry.Budget, 10)
	orDefault(&c.Retry.Burst, 50)
	orDefault(&c.Breaker.FailureRate, 50)
	orDefault(&c.Breaker.MinRequests, 20)
	orDefault(&c.Breaker.Window, 10*time.Second)
	orDefault(&c.Breaker.OpenFor, 5*time.Second)
	orDefault(&c.Breaker.Probes, 3)
	return c
}
