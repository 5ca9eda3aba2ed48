package redis

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
	"github.com/gatehouse-sec/gatehouse/store/storetest"
)

// plain is the configuration for a server without TLS.
func plain(address string) store.SharedConfig {
	return store.SharedConfig{URL: "redis://" + address, Insecure: gate.Risk{AcceptRisk: "a test"}, Timeouts: store.Timeouts{Call: 5 * time.Second}}
}

// hurried is the same for tests that wait for its timeouts.
func hurried(address string) store.SharedConfig {
	c := plain(address)
	c.Timeouts = store.Timeouts{Connect: time.Second, Call: 500 * time.Millisecond}
	return c
}

// quiet logs into the test, where it can be seen when the test fails.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(output{t}, nil))
}

type output struct{ t testing.TB }

func (o output) Write(line []byte) (int, error) {
	if o.t.Context().Err() == nil {
		o.t.Log(strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

func open(t testing.TB, o Options) *Client {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet(t)
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// separate gives each call a prefix of its own, which is an empty store.
func separate(cfg store.SharedConfig) func() store.SharedConfig {
	n := 0
	return func() store.SharedConfig {
		n++
		cfg.Prefix = "gatehouse" + strings.Repeat("x", n)
		return cfg
	}
}

func suites(t *testing.T, o Options) {
	next := separate(o.Config)
	t.Run("records", func(t *testing.T) {
		storetest.Records(t, func(t *testing.T) (store.Records, storetest.Env) {
			clock := storetest.NewClock()
			return open(t, Options{Config: next(), Resolve: o.Resolve, Now: clock.Now}).Records(), clock.Env()
		})
	})
	t.Run("feed", func(t *testing.T) {
		storetest.Feed(t, func(t *testing.T) store.Feed { return open(t, Options{Config: next(), Resolve: o.Resolve}).Feed() })
	})
}

func TestOneServer(t *testing.T) {
	t.Parallel()
	suites(t, Options{Config: plain(redistest.Start(t, redistest.Options{}).Address)})
}

// rights are what a user of the server needs; the README lists them.
var rights = []string{
	"~gatehouse*", "resetchannels", "-@all", "+hello", "+auth", "+ping", "+select", "+client|setname", "+evalsha", "+eval",
	"+time", "+get", "+set", "+del", "+hmget", "+hset", "+persist", "+pexpire", "+xadd", "+xtrim", "+xread", "+xrevrange",
	"+zadd", "+zremrangebyscore", "+zcard",
}

func value(t testing.TB, text string) func(secret.Ref) (secret.Value, error) {
	return func(secret.Ref) (secret.Value, error) { return secret.New([]byte(text), "a test") }
}

func ref(t testing.TB, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// secured is the configuration for a server with TLS and a user.
func secured(t testing.TB, s *redistest.Server) store.SharedConfig {
	return store.SharedConfig{URL: "rediss://gatehouse@" + s.Address, Password: ref(t, "file:/nowhere"), TLS: store.TLS{CA: s.CAFile}, Timeouts: store.Timeouts{Connect: time.Second, Call: 5 * time.Second}}
}

func TestTLSAndAUserWithFewRights(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{TLS: true, User: "gatehouse", Password: "correct-horse", Rights: rights})
	suites(t, Options{Config: secured(t, s), Resolve: value(t, "correct-horse")})
}

// admit makes the user with few rights at servers that run.
func admit(t testing.TB, more string, servers ...*redistest.Server) {
	t.Helper()
	for _, s := range servers {
		s.Do(t, append([]string{"acl", "setuser", "gatehouse", "on", ">correct-horse"}, append(rights, strings.Fields(more)...)...)...)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t)
	admit(t, "+cluster|slots", servers...)
	cfg := plain("")
	cfg.URL, cfg.Cluster, cfg.Password = "redis://gatehouse@", redistest.Addresses(servers), ref(t, "file:/nowhere")
	suites(t, Options{Config: cfg, Resolve: value(t, "correct-horse")})
}
