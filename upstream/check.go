package upstream

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// maxTargets bounds the servers of one pool.
const maxTargets = 256

// check lists what is wrong with a configuration whose defaults are filled in.
func (c Config) check(now time.Time) mistake.List {
	var wrong mistake.List
	oneOf(&wrong, "balance", c.Balance, "power_of_two", "round_robin", "hash")
	oneOf(&wrong, "protocol", c.Protocol, "http1", "http2", "h2c")
	oneOf(&wrong, "health.active", c.Health.Active, "tcp", "http", "off")
	c.checkHash(&wrong)
	if !validPath(c.Health.Path) {
		wrong.Add("health.path", "/", "%q is not an escaped path that begins with one slash", c.Health.Path)
	}
	for path, n := range map[string]int64{
		"max_connections": int64(c.MaxConnections), "max_response_head": int64(c.MaxResponseHead), "min_rate": int64(c.MinRate),
		"health.fall": int64(c.Health.Fall), "health.rise": int64(c.Health.Rise), "health.eject_after": int64(c.Health.EjectAfter),
		"retry.burst": int64(c.Retry.Burst), "breaker.min_requests": int64(c.Breaker.MinRequests), "breaker.probes": int64(c.Breaker.Probes),
	} {
		if n < 1 {
			wrong.Add(path, "", "%d is too small: at least 1, or leave it out for the default", n)
		}
	}
	if c.Retry.Attempts < 1 || c.Retry.Attempts > 10 {
		wrong.Add("retry.attempts", "3", "%d attempts are not between 1 (no retry) and 10", c.Retry.Attempts)
	}
	for path, share := range map[string]Percent{"retry.budget": c.Retry.Budget, "breaker.failure_rate": c.Breaker.FailureRate} {
		if share < 1 || share > 100 {
			wrong.Add(path, "", "%d is not a share from 1%% to 100%%", int(share))
		}
	}
	for path, d := range c.durations() {
		if d < time.Millisecond {
			wrong.Add(path, "", "%s is too short: at least 1ms, or leave it out for the default", d)
		}
	}
	c.TLS.check(&wrong, now)
	slices.SortFunc(wrong, func(a, b mistake.Mistake) int { return strings.Compare(a.Path, b.Path) })
	return wrong
}

func (c Config) durations() map[string]time.Duration {
	return map[string]time.Duration{
		"health.interval": c.Health.Interval, "health.timeout": c.Health.Timeout,
		"health.eject_for": c.Health.EjectFor, "health.eject_max": c.Health.EjectMax,
		"timeouts.connect": c.Timeouts.Connect, "timeouts.first_byte": c.Timeouts.FirstByte,
		"timeouts.idle": c.Timeouts.Idle, "timeouts.keep_alive": c.Timeouts.KeepAlive,
		"breaker.window": c.Breaker.Window, "breaker.open_for": c.Breaker.OpenFor,
	}
}

func (c Config) checkHash(wrong *mistake.List) {
	if c.Balance != "hash" {
		if c.HashOn != "" {
			wrong.Add("hash_on", "balance: hash", "hash_on says nothing without balance: hash")
		}
		return
	}
	name, header := strings.CutPrefix(c.HashOn, "header:")
	if c.HashOn == "caller" || c.HashOn == "address" || header && httpguts.ValidHeaderFieldName(name) {
		return
	}
	wrong.Add("hash_on", "hash_on: caller", "%q is not what a hash can be made of: caller, address or header:NAME", c.HashOn)
}

func (t TLS) check(wrong *mistake.List, now time.Time) {
	if t.ClientCert.IsZero() != t.ClientKey.IsZero() {
		wrong.Add("tls.client_cert", "", "client_cert and client_key belong together; one is missing")
	}
	if t.Client != "" {
		oneOf(wrong, "tls.client", t.Client, "internal")
		if !t.ClientCert.IsZero() || !t.ClientKey.IsZero() {
			wrong.Add("tls.client", "", "the gateway shows one certificate: client: internal, or client_cert with client_key")
		}
	}
	risk := t.InsecureSkipVerify
	if risk.AcceptRisk == "" && !risk.Until.IsZero() {
		wrong.Add("tls.insecure_skip_verify.accept_risk", `accept_risk: "why this is acceptable here"`, "a server whose certificate is not verified needs a reason")
	}
	if risk.AcceptRisk != "" && !risk.Accepted(now) {
		wrong.Add("tls.insecure_skip_verify.until", "", "the risk was accepted until %s, which is over; remove insecure_skip_verify or accept it anew", risk.Until.Format(time.DateOnly))
	}
}

func oneOf(wrong *mistake.List, path, word string, known ...string) {
	if !slices.Contains(known, word) {
		wrong.Add(path, mistake.Nearest(word, known), "%q is none of %s", word, strings.Join(known, ", "))
	}
}

// target is one server's address, taken apart at load.
type target struct {
	name   string // scheme://host:port/base, for events and metrics
	scheme string
	host   string // host:port to connect to
	named  string // host without port, for TLS
	base   string // escaped path put before every request's, without its last slash
}

func parseTargets(protocol string, raw []string) ([]target, mistake.List) {
	var wrong mistake.List
	if len(raw) == 0 {
		wrong.Add("targets", "", "there is no server to send requests to")
	}
	if len(raw) > maxTargets {
		wrong.Add("targets", "", "%d servers are more than the %d that a pool holds", len(raw), maxTargets)
	}
	list := make([]target, 0, len(raw))
	seen := map[string]int{}
	for i, r := range raw {
		path := fmt.Sprintf("targets[%d]", i)
		t, err := parseTarget(protocol, r)
		if err != nil {
			wrong.Add(path, "", "%s", err)
			continue
		}
		if first, twice := seen[t.name]; twice {
			wrong.Add(path, "", "%s is listed already, as targets[%d]", t.name, first)
			continue
		}
		seen[t.name] = i
		list = append(list, t)
	}
	return list, wrong
}

func parseTarget(protocol, raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("a target is not a URL; write http://host:port or https://host:port") // raw may hold a password
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return target{}, fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	case u.User != nil:
		return target{}, fmt.Errorf("a target carries no user name or password")
	case u.Hostname() == "" || strings.Contains(u.Hostname(), "%"):
		return target{}, fmt.Errorf("the target names no host; write http://host:port")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return target{}, fmt.Errorf("a target has neither query nor fragment")
	case protocol == "http2" && u.Scheme != "https":
		return target{}, fmt.Errorf("protocol http2 needs https; for HTTP/2 without TLS write protocol: h2c")
	case protocol == "h2c" && u.Scheme != "http":
		return target{}, fmt.Errorf("protocol h2c is HTTP/2 without TLS; for https write protocol: http2")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return target{}, fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	base := strings.TrimSuffix(u.EscapedPath(), "/")
	if base != "" && (!validPath(base) || strings.HasSuffix(base, "/")) {
		return target{}, fmt.Errorf("base path %q is not an escaped path that begins with one slash and ends with one at most", u.EscapedPath())
	}
	host := u.Hostname() + ":" + port
	if strings.Contains(u.Hostname(), ":") {
		host = "[" + u.Hostname() + "]:" + port
	}
	return target{name: u.Scheme + "://" + host + base, scheme: u.Scheme, host: host, named: u.Hostname(), base: base}, nil
}

// validPath tells that p can stand in a request line as it is: one slash first, visible ASCII, no query, no fragment.
func validPath(p string) bool {
	if p == "" || p[0] != '/' || len(p) > 1 && p[1] == '/' {
		return false
	}
	return visible(p, '?')
}

// visible tells that s is visible ASCII without '#' and without the byte not.
func visible(s string, not byte) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' || c == not {
			return false
		}
	}
	return true
}
