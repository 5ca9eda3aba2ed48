package store

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the store section of the document: where what must survive a restart is kept, and what nodes share. Its short
// form is the URL alone: store: postgres://user@host/db
type Config struct {
	// URL is embedded (default: one encrypted file in the data directory) or postgres://user@host:5432/db, without
	// password. Several hosts are divided by commas; the one that takes writes is used. Parameters: schema,
	// application_name, sslmode, and for a unix socket host and port.
	URL string `yaml:"url,public"`
	// Password refers to the password of the URL's user. Read again for every new connection. No default.
	Password secret.Ref `yaml:"password"`

	TLS `yaml:",inline"`

	// Insecure accepts a connection that others can read (sslmode=disable in the URL) or answer (sslmode=require), for
	// whoever writes down why. Default: TLS 1.2 or newer with a verified server, but for unix sockets.
	Insecure gate.Risk `yaml:"insecure"`
	// MaxConnections bounds the connections of this node. Default 10.
	MaxConnections int `yaml:"max_connections,min=1,max=1000"`
	// Timeouts bound what the server may make this node wait for.
	Timeouts Timeouts `yaml:"timeouts"`
	// Shared is Redis or Valkey for what nodes share quickly and may forget. Default: this process' memory, for one node.
	Shared SharedConfig `yaml:"shared"`
}

// TLS is how a server of the store is verified, and how this node shows itself to it.
type TLS struct {
	// CA is a file of certificates in PEM form that replaces the system's. Default: the system's.
	CA string `yaml:"ca,public"`
	// ServerName is the name that the server's certificate must carry. Default: the host in the URL.
	ServerName string `yaml:"server_name"`
	// ClientCert refers to this node's certificate chain in PEM form. Read again for every new connection. No default.
	ClientCert secret.Ref `yaml:"client_cert"`
	// ClientKey refers to the key that goes with client_cert. No default.
	ClientKey secret.Ref `yaml:"client_key"`
}

// Timeouts bound what a server of the store may make a caller wait for.
type Timeouts struct {
	// Connect bounds opening one connection, TLS and authentication included. Default 5s.
	Connect time.Duration `yaml:"connect"`
	// Call bounds one operation, the wait for a free connection included. Default 5s, and 1s for shared.
	Call time.Duration `yaml:"call"`
	// Idle is how long an unused connection is kept. Default 5m.
	Idle time.Duration `yaml:"idle"`
}

// Embedded is the URL of the store in the data directory.
const Embedded = "embedded"

// UnmarshalText reads the short form: the URL alone.
func (c *Config) UnmarshalText(text []byte) error {
	if word := string(text); word != Embedded {
		if _, err := ParsePostgres(word); err != nil {
			return first(err)
		}
	}
	*c = Config{URL: string(text)}
	return nil
}

// Pattern and Example describe the short form for the document's schema.
func (Config) Pattern() string { return `^(embedded|postgres(ql)?://[^#\s]+)$` }

// Example is the short form as it is written.
func (Config) Example() string { return "postgres://gatehouse@db.internal/gatehouse" }

// IsEmbedded tells that everything durable is kept in the data directory, by this one node.
func (c Config) IsEmbedded() bool { return c.URL == "" || c.URL == Embedded }

// Check lists the mistakes of the section, shared included.
func (c Config) Check(now time.Time) error {
	var m mistake.List
	m.Under("shared", c.Shared.Check(now))
	if c.IsEmbedded() {
		c.checkEmbedded(&m)
		return m.Err()
	}
	if c.MaxConnections < 0 || c.MaxConnections > 1000 {
		m.Add("max_connections", "10", "%d is no number of connections from 1 to 1000", c.MaxConnections)
	}
	c.Timeouts.check(&m)
	c.TLS.check(&m)
	checkRisk(&m, c.Insecure, now)
	p, err := ParsePostgres(c.URL)
	if err != nil {
		m.Under("url", err)
		return m.Err()
	}
	c.checkServer(&m, p)
	return m.Err()
}

// checkServer judges what stands beside the URL of a server.
func (c Config) checkServer(m *mistake.List, p Postgres) {
	accepted := c.Insecure.AcceptRisk != ""
	switch {
	case p.Socket() && (c.TLS != (TLS{}) || accepted):
		m.Add("url", "", "a unix socket does not leave this machine and has no TLS; remove ca, server_name, client_cert, client_key and insecure")
	case p.Socket():
	case p.Verified() && accepted:
		m.Add("insecure", "", "the connection is verified, so there is no risk to accept; remove insecure, or write ?sslmode=disable (readable by others) or ?sslmode=require (server not verified) in the URL")
	case !p.Verified() && !accepted:
		m.Add("insecure", `insecure: {accept_risk: "why others on this network may read or answer"}`, "sslmode=%s leaves the store open to others on the network, and no reason is given; remove it, or give one", p.SSLMode)
	case p.SSLMode == "disable" && c.TLS != (TLS{}):
		m.Add("url", "", "without TLS there is no use for ca, server_name, client_cert and client_key; remove sslmode=disable or remove them")
	case p.SSLMode == "require" && (c.CA != "" || c.ServerName != ""):
		m.Add("url", "", "with sslmode=require nobody looks at ca and server_name; remove sslmode=require, so that the server is verified")
	}
}

func (c Config) checkEmbedded(m *mistake.List) {
	if !c.Password.IsZero() || c.TLS != (TLS{}) || c.Insecure != (gate.Risk{}) || c.MaxConnections != 0 || c.Timeouts != (Timeouts{}) {
		m.Add("url", "postgres://user@host/db", "the embedded store has no server, so that password, ca, client_cert, client_key, server_name, insecure, max_connections and timeouts mean nothing; remove them or name the server")
	}
}

func (t TLS) check(m *mistake.List) {
	if t.ClientCert.IsZero() != t.ClientKey.IsZero() {
		m.Add("client_cert", "", "client_cert and client_key belong together; one is missing")
	}
	if t.ServerName != "" && !isHost.MatchString(t.ServerName) {
		m.Add("server_name", "db.internal", "%q is no name of a host", t.ServerName)
	}
}

func (t Timeouts) check(m *mistake.List) {
	for path, d := range map[string]time.Duration{"timeouts.connect": t.Connect, "timeouts.call": t.Call} {
		if d != 0 && (d < 100*time.Millisecond || d > time.Minute) {
			m.Add(path, "5s", "%s is not between 100ms and 1m", d)
		}
	}
	if t.Idle < 0 || t.Idle > 0 && t.Idle < time.Second {
		m.Add("timeouts.idle", "5m", "%s is less than 1s", t.Idle)
	}
	slices.SortFunc(*m, func(a, b mistake.Mistake) int { return strings.Compare(a.Path, b.Path) })
}

// checkRisk tells of a risk that is accepted no longer, or with an end but no reason.
func checkRisk(m *mistake.List, risk gate.Risk, now time.Time) {
	if risk.AcceptRisk == "" && !risk.Until.IsZero() {
		m.Add("insecure.accept_risk", `accept_risk: "why this is acceptable here"`, "an insecure connection needs a reason")
	}
	if risk.AcceptRisk != "" && !risk.Accepted(now) {
		m.Add("insecure.until", "", "the risk was accepted until %s, which is over; remove insecure or accept it anew", risk.Until.Format(time.DateOnly))
	}
}

// Defaults fills in what the document left out.
func (c Config) Defaults() Config {
	if c.URL == "" {
		c.URL = Embedded
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 10
	}
	c.Timeouts = c.Timeouts.defaults(5 * time.Second)
	c.Shared = c.Shared.Defaults()
	return c
}

func (t Timeouts) defaults(call time.Duration) Timeouts {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&t.Connect, 5 * time.Second}, {&t.Call, call}, {&t.Idle, 5 * time.Minute}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	return t
}

// first is the first of several mistakes, as a text type tells it.
func first(err error) error {
	var list mistake.List
	if errors.As(err, &list) && len(list) > 0 {
		return list[0]
	}
	return err
}

// isHost is a name or address as it stands in a URL; underscores are usual inside clusters.
var isHost = regexp.MustCompile(`^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+$|^[0-9A-Fa-f:.]+$`)
