package fleet

import (
	"os"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Config is the section fleet: how this node is called and how closely it follows the others.
type Config struct {
	// Name of this node in status and findings. Default the host's name.
	Name string `yaml:"name"`
	// How often a node tells the others of itself. Default 2s, 500ms to 10s; one that is silent for seven times as long
	// is gone. A node alone on an embedded store does so five times less often.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// What is held of tokens that were called back.
	Revocations RevocationConfig `yaml:"revocations"`
}

// RevocationConfig says how tokens that were called back are known here.
type RevocationConfig struct {
	// How long a node may have heard neither from the store nor from the other nodes before it can no longer tell which
	// tokens were called back; then it refuses every token with 503. Default 30s, 2s to 5m.
	MaxLag time.Duration `yaml:"max_lag"`
	// The longest life of a token. A revocation is forgotten when all tokens that it means have ended by this, and tokens
	// that live longer are refused, since they could not be called back. Default 720h, 1m to 87600h.
	LongestToken time.Duration `yaml:"longest_token"`
	// How many revocations are held at once, at about 80 bytes of memory each. Default 1000000. A further one is refused
	// to whoever asks for it; calling back by subject or by time takes one for many tokens.
	Most int `yaml:"most"`
}

// WithDefaults fills in what the document leaves out. Host is this machine's name, as os.Hostname gives it.
func (c Config) WithDefaults(host func() (string, error)) Config {
	if c.Name == "" {
		if host == nil {
			host = os.Hostname
		}
		if name, err := host(); err == nil && plainName(name) {
			c.Name = name
		} else {
			c.Name = "node"
		}
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 2 * time.Second
	}
	c.Revocations = c.Revocations.withDefaults()
	return c
}

func (c RevocationConfig) withDefaults() RevocationConfig {
	if c.MaxLag == 0 {
		c.MaxLag = 30 * time.Second
	}
	if c.LongestToken == 0 {
		c.LongestToken = 720 * time.Hour
	}
	if c.Most == 0 {
		c.Most = 1_000_000
	}
	return c
}

// Check tells every mistake, with paths within the section.
func (c Config) Check() error {
	var wrong mistake.List
	between := func(path string, d, least, most time.Duration, write string) {
		if d != 0 && (d < least || d > most) {
			wrong.Add(path, write, "%s is not between %s and %s", d, least, most)
		}
	}
	if c.Name != "" && !plainName(c.Name) {
		wrong.Add("name", "name: gatehouse-1", "%q is not a name of up to 64 letters, digits, dots, hyphens and underscores", c.Name)
	}
	between("heartbeat", c.Heartbeat, 500*time.Millisecond, 10*time.Second, "heartbeat: 2s")
	between("revocations.max_lag", c.Revocations.MaxLag, 2*time.Second, 5*time.Minute, "max_lag: 30s")
	between("revocations.longest_token", c.Revocations.LongestToken, time.Minute, 87600*time.Hour, "longest_token: 720h")
	if m := c.Revocations.Most; m != 0 && (m < 1000 || m > 10_000_000) {
		wrong.Add("revocations.most", "most: 1000000", "%d is not between 1000 and 10000000", m)
	}
	return wrong.Err()
}

// plainName admits what is safe in keys, logs and findings.
func plainName(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}) < 0
}
