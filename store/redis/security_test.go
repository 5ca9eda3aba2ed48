package redis

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/redis/redistest"
)

// written is a log that can be read while it is written.
type written struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// everything uses all that there is, and gives what it was told.
func everything(t *testing.T, c *Client) (told string) {
	t.Helper()
	n := c.NewCounters(100, time.Now)
	take(t, limit(t, n, 1, 10), "canary-caller", 1)
	_, err1 := c.Records().Get(t.Context(), "canary-class/canary-key")
	_, err2 := c.Records().Write(t.Context(), store.Write{Key: "canary-class/canary-key", Value: []byte("canary-value")})
	err3 := c.Feed().Publish(t.Context(), "t", []byte("canary-message"))
	_, _, err4 := c.Feed().Read(t.Context(), "t", "")
	err5 := c.Ping(t.Context())
	_, err6 := n.Degraded()
	_, err7 := c.State()
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	return errors.Join(err1, err2, err3, err4, err5, err6, err7).Error()
}

// K2: whatever is refused, no error and no log line has a password, a value, or who it was about.
func TestRefusalsRepeatNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rights   []string
		password string
		renamed  string
		says     string
	}{
		"wrong password": {rights: rights, password: "canary-guess", says: "user or password are wrong"},
		"no rights":      {rights: []string{"~*", "+hello", "+auth", "+ping", "+client|setname"}, password: "canary-right", says: "the user may not do this"},
		"other keys":     {rights: append([]string{"~other:*"}, rights[1:]...), password: "canary-right", says: "the user may not do this"},
		"no scripts":     {rights: rights, password: "canary-right", renamed: "--rename-command", says: "the server refused"},
	} {
		o := redistest.Options{User: "gatehouse", Password: "canary-right", Rights: c.rights}
		if c.renamed != "" { // then Redis repeats all arguments in its error
			for _, command := range []string{"EVALSHA", "EVAL", "HMGET", "XREVRANGE"} {
				o.Extra = append(o.Extra, c.renamed, command, "x"+command)
			}
			o.Rights = []string{"~*", "+@all"}
		}
		s := redistest.Start(t, o)
		cfg := plain(s.Address)
		cfg.URL, cfg.Password = "redis://gatehouse@"+s.Address, ref(t, "file:/nowhere")
		var log written
		told := everything(t, open(t, Options{Config: cfg, Resolve: value(t, c.password), Log: slog.New(slog.NewTextHandler(&log, nil))}))
		if !strings.Contains(told, c.says) {
			t.Errorf("%s: nobody is told that %q:\n%s", name, c.says, told)
		}
		if all := told + log.String(); strings.Contains(all, "canary") {
			t.Errorf("%s: it was told:\n%s", name, all)
		}
	}
}

// Passwords are asked for with every connection, so that they can be changed while the gateway serves.
func TestThePasswordChanges(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{User: "gatehouse", Password: "first"})
	cfg := plain(s.Address)
	cfg.URL, cfg.Password = "redis://gatehouse@"+s.Address, ref(t, "file:/nowhere")
	var mu sync.Mutex
	now := "first"
	c := open(t, Options{Config: cfg, Resolve: func(secret.Ref) (secret.Value, error) {
		mu.Lock()
		defer mu.Unlock()
		return secret.New([]byte(now), "a test")
	}})
	s.Do(t, "acl", "setuser", "gatehouse", "resetpass", ">second")
	mu.Lock()
	now = "second"
	mu.Unlock()
	s.Kick(t, "second")
	eventually(t, "the new password", func() bool { _, err := c.Records().Get(t.Context(), "a"); return errors.Is(err, store.ErrNone) })
}

// The server is who it says, or nothing is sent: row I5.
func TestTheServerIsVerified(t *testing.T) {
	t.Parallel()
	s, other := redistest.Start(t, redistest.Options{TLS: true, User: "gatehouse", Password: "p"}), redistest.Start(t, redistest.Options{TLS: true})
	bare := redistest.Start(t, redistest.Options{})
	for name, c := range map[string]struct {
		change func(*store.SharedConfig)
		says   string // "" when it works
	}{
		"as it should be":  {func(*store.SharedConfig) {}, ""},
		"system's CA":      {func(c *store.SharedConfig) { c.CA = "" }, "store.shared.ca"},
		"another CA":       {func(c *store.SharedConfig) { c.CA = other.CAFile }, "store.shared.ca"},
		"another name":     {func(c *store.SharedConfig) { c.ServerName = "cache.internal" }, "store.shared.server_name"},
		"no TLS there":     {func(c *store.SharedConfig) { c.URL = "rediss://gatehouse@" + bare.Address }, "no answer in time"},
		"an accepted risk": {func(c *store.SharedConfig) { c.CA, c.Insecure = "", gate.Risk{AcceptRisk: "a test"} }, ""},
		"a risk no longer accepted": {func(c *store.SharedConfig) {
			c.CA, c.Insecure = "", gate.Risk{AcceptRisk: "a test", Until: time.Now().Add(-time.Hour)}
		}, "store.shared.ca"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := secured(t, s)
			c.change(&cfg)
			client := open(t, Options{Config: cfg, Resolve: value(t, "p")})
			eventually(t, "a first attempt", func() bool { return client.conn.Load() != nil || client.first.Load() != nil })
			_, err := client.Records().Get(t.Context(), "a")
			if c.says == "" && !errors.Is(err, store.ErrNone) || c.says != "" && (!errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v; want %q", err, c.says)
			}
		})
	}
}

// A name with a slip in it is told at the start, and not taken for a server that is away (rows I5, I6).
func TestWhatIsNamedMustBeThere(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{TLS: true, User: "gatehouse", Password: "p"})
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := func(secret.Ref) (secret.Value, error) { return secret.Value{}, errors.New("no file /run/none") }
	for name, c := range map[string]struct {
		ca      string
		resolve func(secret.Ref) (secret.Value, error)
		says    string
	}{
		"a CA that is gone": {"/nowhere.pem", value(t, "p"), "/nowhere.pem"},
		"an empty CA":       {empty, value(t, "p"), "no certificate"},
		"no password":       {s.CAFile, missing, "/run/none"},
		"no file of it":     {s.CAFile, nil, "file:/nowhere/password"},
	} {
		cfg := secured(t, s)
		cfg.CA, cfg.Password = c.ca, ref(t, "file:/nowhere/password")
		client, err := Open(t.Context(), Options{Config: cfg, Resolve: c.resolve})
		if err == nil {
			client.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What lies at the server tells nobody who calls: neither keys nor counters have an address or a session in them.
func TestKeysTellNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	c := open(t, Options{Config: plain(s.Address), HashKey: []byte("0123456789abcdef")})
	l := limit(t, c.NewCounters(100, time.Now), 1, 1000)
	eventually(t, "a counter at the server", func() bool {
		take(t, l, "192.0.2.77", 1)
		return strings.Contains(s.Do(t, "keys", "*"), ":counter:")
	})
	for _, key := range []string{"session/canary", "canary"} {
		if _, err := c.Records().Write(t.Context(), store.Write{Key: key, Value: []byte("sealed")}); err != nil {
			t.Fatal(err)
		}
	}
	keys := s.Do(t, "keys", "*")
	if strings.Contains(keys, "canary") || strings.Contains(keys, "192.0.2") || !strings.Contains(keys, "gatehouse:record:session:") || !strings.Contains(keys, "gatehouse:counter:") {
		t.Error(keys)
	}
	plainly, keyed, again := names{prefix: "g"}, names{prefix: "g", key: []byte("0123456789abcdef")}, names{prefix: "g", key: []byte("0123456789abcdef")}
	if plainly.counter("a") == keyed.counter("a") || keyed.counter("a") == keyed.counter("b") || keyed.counter("a") != again.counter("a") {
		t.Error("the key of the hash does not matter, or too much")
	}
	if _, err := Open(t.Context(), Options{Config: plain(s.Address), HashKey: []byte("short")}); err == nil {
		t.Error("a short key was taken")
	}
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Error("opened without a server")
	}
}

// What others have put at our keys is an error, never a panic and never a value.
func TestForeignData(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	c := open(t, Options{Config: plain(s.Address)})
	name := c.names.record("a/b")
	for _, set := range [][]string{
		{"set", name, "text"}, {"hset", name, "v", "x", "d", "y", "e", ""}, {"hset", name, "v", "1"}, {"rpush", name, "1"},
	} {
		s.Do(t, "del", name)
		s.Do(t, set...)
		if r, err := c.Records().Get(t.Context(), "a/b"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v: %+v, %v", set, r, err)
		}
	}
	n := c.NewCounters(100, time.Now)
	s.Do(t, "set", c.names.counter("k"), "text")
	if !take(t, limit(t, n, 1, 10), "k", 1) {
		t.Error("a counter that is none should have this node count alone")
	}
	s.Do(t, "set", c.names.counter("far"), "99999999999999")
	l := limit(t, n, 100, 10)
	eventually(t, "a counter that is far ahead comes back to a burst", func() bool { return take(t, l, "far", 1) })
}
