package store

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// SharedConfig is the section store.shared: the Redis or Valkey that nodes share. Its short form is the URL alone:
// shared: rediss://user@host:6379/0
type SharedConfig struct {
	// URL is rediss://user@host:6379/0, or redis:// without TLS, which needs insecure. With sentinel or cluster it has no
	// host. Default: nothing is shared.
	URL string `yaml:"url,public"`
	// Password refers to the password of the URL's user. Read again for every new connection. No default.
	Password secret.Ref `yaml:"password"`

	TLS `yaml:",inline"`

	// Insecure accepts a connection that others can read (redis://) or answer (rediss://, then not verified), for whoever
	// writes down why.
	Insecure gate.Risk `yaml:"insecure"`
	// Sentinel finds the server that takes writes. Default: the host of the URL is it.
	Sentinel Sentinel `yaml:"sentinel"`
	// Cluster is some nodes of a Redis Cluster, as host:port; the others are learned. No default.
	Cluster []string `yaml:"cluster,nonempty"`
	// Prefix stands before every key, so that several installations may use one server. Default gatehouse.
	Prefix string `yaml:"prefix,public"`
	// Timeouts bound what the server may make this node wait for.
	Timeouts Timeouts `yaml:"timeouts"`
}

// Sentinel is how Redis Sentinel is asked for the server that takes writes. TLS is that of the servers.
type Sentinel struct {
	// Master is the name under which the sentinels know the servers.
	Master string `yaml:"master,public"`
	// Addresses are sentinels, as host:port. The usual port is 26379.
	Addresses []string `yaml:"addresses,nonempty"`
	// User is the name at the sentinels. Default: the default user.
	User string `yaml:"user,public"`
	// Password refers to the password at the sentinels. Default: none.
	Password secret.Ref `yaml:"password"`
}

// Redis is a URL of Redis or Valkey taken apart.
type Redis struct {
	TLS      bool
	User     string // "" for the default user
	Server   string // host:port; "" with sentinel or cluster
	Database int    // 0 to 15
}

var isPrefix = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// UnmarshalText reads the short form: the URL alone.
func (c *SharedConfig) UnmarshalText(text []byte) error {
	r, err := ParseRedis(string(text))
	if err != nil {
		return first(err)
	}
	if r.Server == "" {
		return mistake.Mistake{What: "the URL names no host", Write: c.Example()}
	}
	*c = SharedConfig{URL: string(text)}
	return nil
}

// Pattern and Example describe the short form for the document's schema.
func (SharedConfig) Pattern() string { return `^rediss?://[^#\s]+$` }

// Example is the short form as it is written.
func (SharedConfig) Example() string { return "rediss://gatehouse@cache.internal:6379/0" }

// IsMemory tells that nothing is shared: this process' memory serves.
func (c SharedConfig) IsMemory() bool {
	return c.URL == "" && c.Sentinel.Master == "" && len(c.Sentinel.Addresses) == 0 && len(c.Cluster) == 0
}

// ParseRedis takes a URL apart. The error is a mistake.List. Text that could be a password is never repeated.
func ParseRedis(text string) (Redis, error) {
	var m mistake.List
	u, ok := split(&m, text, "rediss", "redis")
	if !ok {
		return Redis{}, m
	}
	r := Redis{TLS: u.scheme == "rediss", User: u.user}
	if len(u.query) > 0 {
		m.Add("", "", "the URL has no parameters; everything else stands beside it in keys of its own")
	}
	if name := strings.TrimPrefix(u.path, "/"); name != "" {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || n > 15 || strconv.Itoa(n) != name {
			m.Add("", "", "what follows the host is no number of a database from 0 to 15")
		}
		r.Database = n
	}
	if u.hosts != "" {
		list := servers(&m, u.hosts, "6379")
		if len(list) > 1 {
			m.Add("", "cluster: [host:6379, ...]", "the URL names several hosts; the nodes of a cluster stand in the key cluster")
		} else if len(list) == 1 {
			r.Server = list[0]
		}
	}
	if len(m) > 0 {
		return Redis{}, m
	}
	return r, nil
}

// Check lists the mistakes of the section.
func (c SharedConfig) Check(now time.Time) error {
	var m mistake.List
	if c.IsMemory() {
		if !c.isZero() {
			m.Add("url", c.Example(), "no server is named, so that what stands beside the URL means nothing")
		}
		return m.Err()
	}
	c.Timeouts.check(&m)
	c.TLS.check(&m)
	checkRisk(&m, c.Insecure, now)
	if c.Prefix != "" && !isPrefix.MatchString(c.Prefix) {
		m.Add("prefix", "gatehouse", "a prefix is made of at most 64 letters, digits, dots, dashes and underscores")
	}
	r, err := ParseRedis(c.Defaults().URL)
	if err != nil {
		m.Under("url", err)
		return m.Err()
	}
	c.checkServers(&m, r)
	if !r.TLS && c.Insecure.AcceptRisk == "" {
		m.Add("insecure", `insecure: {accept_risk: "why others on this network may read and change what is shared"}`, "redis:// sends passwords and records for all to read, and no reason is given; write rediss://, or give one")
	}
	if !r.TLS && c.TLS != (TLS{}) {
		m.Add("url", "", "without TLS there is no use for ca, server_name, client_cert and client_key; write rediss:// or remove them")
	}
	return m.Err()
}

func (c SharedConfig) isZero() bool {
	s := c.Sentinel
	return c.URL == "" && c.Password.IsZero() && c.TLS == TLS{} && c.Insecure == gate.Risk{} && len(c.Cluster) == 0 && c.Prefix == "" &&
		c.Timeouts == Timeouts{} && s.Master == "" && len(s.Addresses) == 0 && s.User == "" && s.Password.IsZero()
}

// checkServers judges where the servers are: in the URL, behind sentinels, or in a cluster.
func (c SharedConfig) checkServers(m *mistake.List, r Redis) {
	sentinel, cluster := c.Sentinel.Master != "" || len(c.Sentinel.Addresses) > 0, len(c.Cluster) > 0
	switch {
	case sentinel && cluster:
		m.Add("cluster", "", "there is either sentinel or cluster, not both")
	case (sentinel || cluster) && r.Server != "":
		m.Add("url", "rediss://user@", "with sentinel or cluster the URL has no host")
	case !sentinel && !cluster && r.Server == "":
		m.Add("url", c.Example(), "the URL names no host")
	}
	if cluster && r.Database != 0 {
		m.Add("url", "", "a cluster has only database 0")
	}
	if sentinel && c.Sentinel.Master == "" {
		m.Add("sentinel.master", "mymaster", "the name of the servers is missing")
	}
	if sentinel && len(c.Sentinel.Addresses) == 0 {
		m.Add("sentinel.addresses", "[host:26379]", "no sentinel is named")
	}
	for _, l := range []struct {
		path, port string
		list       []string
	}{{"sentinel.addresses", "26379", c.Sentinel.Addresses}, {"cluster", "6379", c.Cluster}} {
		for i, a := range l.list {
			path := l.path + "[" + strconv.Itoa(i) + "]"
			var inner mistake.List
			if got := servers(&inner, a, l.port); len(inner) > 0 || len(got) != 1 || got[0] != a {
				m.Add(path, "cache.internal:"+l.port, "this is no host with its port")
			} else if slices.Contains(l.list[:i], a) {
				m.Add(path, "", "%s stands twice", a)
			}
		}
	}
}

// Defaults fills in what the document left out.
func (c SharedConfig) Defaults() SharedConfig {
	if c.IsMemory() {
		return c
	}
	if c.URL == "" {
		c.URL = "rediss://"
	}
	if c.Prefix == "" {
		c.Prefix = "gatehouse"
	}
	c.Timeouts = c.Timeouts.defaults(time.Second)
	return c
}
