package key

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Check gives every mistake of the section as a mistake.List. It touches nothing.
func (c Config) Check() error {
	var wrong mistake.List
	r := c.Root
	if kinds := r.kinds(); len(kinds) > 1 {
		wrong.Add("root", kinds[0]+": ...", "there is one root key, and %d kinds are named: %s", len(kinds), strings.Join(kinds, ", "))
	}
	if name := r.Credential; name != "" && (name != filepath.Base(name) || name == "." || name == "..") {
		wrong.Add("root.credential", DefaultCredential, "%q is no name of a credential", name)
	}
	if r.Passphrase != nil {
		wrong.Under("root.passphrase", r.Passphrase.check())
	}
	if r.TPM != nil {
		wrong.Under("root.tpm", r.TPM.check())
	}
	if r.Transit != nil {
		wrong.Under("root.transit", r.Transit.check())
	}
	if r.Shares != nil {
		wrong.Under("root.shares", r.Shares.check())
	}
	return wrong.Err()
}

func (p Passphrase) check() error {
	var wrong mistake.List
	if p.From.IsZero() {
		wrong.Add("from", "file:/run/secrets/passphrase", "the passphrase is missing")
	}
	if p.Memory != 0 && (p.Memory < minMemory<<10 || p.Memory > maxMemory<<10) {
		wrong.Add("memory", "64MiB", "%s is not between 19MiB and 4GiB", p.Memory)
	}
	if p.Time < 0 || p.Time > maxTime {
		wrong.Add("time", "3", "%d is not between 1 and %d", p.Time, maxTime)
	}
	return wrong.Err()
}

func (p Passphrase) costs() costs {
	c := costs{time: 3, memory: 64 << 10, threads: 4} // RFC 9106, section 4, the second recommended option
	if p.Memory != 0 {
		c.memory = uint32(p.Memory / unit.Size(1<<10))
	}
	if p.Time != 0 {
		c.time = uint32(p.Time)
	}
	return c
}

func (t TPM) check() error {
	var wrong mistake.List
	for i, n := range t.PCRs {
		if n < 0 || n > 23 || slices.Contains(t.PCRs[:i], n) {
			wrong.Add(fmt.Sprintf("pcrs[%d]", i), "7", "%d is no register from 0 to 23, or stands there twice", n)
		}
	}
	return wrong.Err()
}

func (t TPM) withDefaults() TPM {
	if t.Device == "" {
		t.Device = "/dev/tpmrm0"
	}
	t.PCRs = slices.Sorted(slices.Values(t.PCRs))
	return t
}

// part is one part of a path of the server's API.
var part = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (t Transit) check() error {
	var wrong mistake.List
	const example = "https://bao.internal:8200"
	u, err := url.Parse(t.Address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		wrong.Add("address", example, "it is no address of a server")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		wrong.Add("address", "https://"+u.Host, "the root key does not travel without TLS beyond this machine")
	case u.Scheme != "https" && u.Scheme != "http":
		wrong.Add("address", example, "%q is neither https nor http", u.Scheme)
	}
	if !part.MatchString(t.Key) || strings.Trim(t.Key, ".") == "" {
		wrong.Add("key", "gatehouse", "it is no name of a key")
	}
	for name, path := range map[string]string{"mount": t.Mount, "namespace": t.Namespace} {
		for _, p := range strings.Split(strings.Trim(path, "/"), "/") {
			if path != "" && (!part.MatchString(p) || strings.Trim(p, ".") == "") {
				wrong.Add(name, "transit", "%q is no path of the server", path)
				break
			}
		}
	}
	if t.Token.IsZero() {
		wrong.Add("token", "file:/run/secrets/bao-token", "the token is missing")
	}
	if t.Timeout < 0 || t.Timeout > time.Minute {
		wrong.Add("timeout", "10s", "%s is not between 0s and 1m", t.Timeout)
	}
	return wrong.Err()
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

func (t Transit) withDefaults() Transit {
	t.Address = strings.TrimSuffix(t.Address, "/")
	if t.Mount = strings.Trim(t.Mount, "/"); t.Mount == "" {
		t.Mount = "transit"
	}
	if t.Timeout == 0 {
		t.Timeout = 10 * time.Second
	}
	return t
}

// maxShares bounds the people.
const maxShares = 32

func (s Shares) check() error {
	var wrong mistake.List
	if s.Threshold < 2 || s.Threshold > maxShares {
		wrong.Add("threshold", "3", "%d is not between 2 and %d; one person's key is a file", s.Threshold, maxShares)
	}
	if s.Of < s.Threshold || s.Of > maxShares {
		wrong.Add("of", "5", "%d shares cannot give a threshold of %d (at most %d)", s.Of, s.Threshold, maxShares)
	}
	return wrong.Err()
}
