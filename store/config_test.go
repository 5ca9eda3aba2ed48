package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

const canary = "canary-8d1f"

func day() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func ref(t *testing.T, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// read decodes a section as the gateway does.
func read(t *testing.T, document string) (store.Config, error) {
	t.Helper()
	d, err := config.Parse("gatehouse.yaml", []byte(document))
	if err != nil {
		return store.Config{}, err
	}
	c, _, err := config.Section[store.Config](d, "store")
	return c, err
}

func TestForms(t *testing.T) {
	for document, want := range map[string]store.Config{
		"listen: {}":        {},
		"store: embedded\n": {URL: "embedded"},
		"store: postgres://gw@db.internal/gatehouse\n":        {URL: "postgres://gw@db.internal/gatehouse"},
		"store: {url: 'postgres://gw@db.internal/gatehouse'}": {URL: "postgres://gw@db.internal/gatehouse"},
		"store: {ca: /etc/ca.pem, server_name: db}":           {TLS: store.TLS{CA: "/etc/ca.pem", ServerName: "db"}},
		// A hosted server's name looks random, and is none.
		"store: postgres://gw@db7.c9aKc1q32xYz0pQ4rT7u.eu-west-1.rds.amazonaws.com/gw": {URL: "postgres://gw@db7.c9aKc1q32xYz0pQ4rT7u.eu-west-1.rds.amazonaws.com/gw"},
		"store: {url: postgres://gw@h/d, password: 'file:/run/secrets/pg', max_connections: 4, timeouts: {call: 2s}}": {
			URL: "postgres://gw@h/d", Password: ref(t, "file:/run/secrets/pg"), MaxConnections: 4, Timeouts: store.Timeouts{Call: 2 * time.Second}},
		"store: {shared: 'rediss://gw@cache:6379/0'}": {Shared: store.SharedConfig{URL: "rediss://gw@cache:6379/0"}},
	} {
		got, err := read(t, document)
		if err != nil || got.URL != want.URL || got.TLS != want.TLS || got.Password != want.Password || got.MaxConnections != want.MaxConnections ||
			got.Timeouts != want.Timeouts || got.Shared.URL != want.Shared.URL {
			t.Errorf("%s: %+v, %v", document, got, err)
		}
	}
}

// A password in a URL is refused and never repeated, wherever in the document it stands (row K2).
func TestAPasswordInAURLIsNotRepeated(t *testing.T) {
	for _, url := range []string{
		"postgres://gw:" + canary + "@db/d", "postgres://gw:" + canary + "@db:5432/d?schema=a", "postgres://gw:pa/" + canary + "@db/d",
		"postgres://gw:pa?" + canary + "@db/d", "postgres://gw:p@" + canary + "@db/d", "postgres://gw%3a" + canary + "@db/d",
		"postgres://gw@db/d?password=" + canary, "postgres://gw@db/d?" + canary + "=1", "postgres://gw@db/d?schema=" + canary,
		"postgres://gw:" + canary, "postgres://gw@db:" + canary + "/d", "postgresql://:" + canary + "@/d?host=/run",
		"mysql://gw:" + canary + "@db/d", canary, "postgres://gw:#" + canary + "@db/d", "postgres://gw@db,x:" + canary + "/d",
		"postgres://gw@db/d?host=" + canary, "postgres://gw@db/d?sslmode=" + canary, "postgres://gw@db/d?application_name=%20" + canary,
	} {
		if _, err := store.ParsePostgres(url); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", url, err)
		}
		if err := (store.Config{URL: url}).Check(day()); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", url, err)
		}
		redis := strings.Replace(url, "postgres", "rediss", 1)
		if err := (store.Config{Shared: store.SharedConfig{URL: redis}}).Check(day()); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", redis, err)
		}
		for _, document := range []string{"store: '" + url + "'\n", "store: {shared: '" + redis + "'}\n"} {
			if _, err := read(t, document); err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

func TestPostgresURLs(t *testing.T) {
	for text, want := range map[string]store.Postgres{
		"postgres://gw@db.internal/gatehouse":                  {Servers: []string{"db.internal:5432"}, User: "gw", Database: "gatehouse"},
		"postgresql://g%40w@10.0.0.1:6432/d":                   {Servers: []string{"10.0.0.1:6432"}, User: "g@w", Database: "d"},
		"postgres://gw@[::1]/d":                                {Servers: []string{"[::1]:5432"}, User: "gw", Database: "d"},
		"postgres://gw@[fd00::1]:1/d":                          {Servers: []string{"[fd00::1]:1"}, User: "gw", Database: "d"},
		"postgres://gw@a,b:5433/d?schema=s&application_name=x": {Servers: []string{"a:5432", "b:5433"}, User: "gw", Database: "d", Schema: "s", Application: "x"},
		"postgres:///d?host=/run/postgresql":                   {Servers: []string{"/run/postgresql:5432"}, Database: "d"},
		"postgres://gw@/d?host=/run/postgresql&port=6000":      {Servers: []string{"/run/postgresql:6000"}, User: "gw", Database: "d"},
		"postgres://gw@db/d?sslmode=disable":                   {Servers: []string{"db:5432"}, User: "gw", Database: "d", SSLMode: "disable"},
	} {
		if want.Schema == "" {
			want.Schema, want.Application = "gatehouse", "gatehouse"
		}
		if want.SSLMode == "" {
			want.SSLMode = "verify-full"
		}
		got, err := store.ParsePostgres(text)
		if err != nil || strings.Join(got.Servers, " ") != strings.Join(want.Servers, " ") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		got.Servers, want.Servers = nil, nil
		if got.User != want.User || got.Database != want.Database || got.Schema != want.Schema || got.Application != want.Application || got.SSLMode != want.SSLMode {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for _, text := range []string{
		"", "postgres://", "postgres://db/d", "postgres://gw@db", "postgres://gw@db/", "postgres://gw@/d", "postgres:///d", "postgres://gw@db/a/b",
		"postgres://gw@db/d?host=/run", "postgres://gw@db/d?port=1", "postgres:///d?host=run", "postgres:///d?host=/run/../x", "postgres:///d?host=/a,/b",
		"postgres://gw@db:0/d", "postgres://gw@db:65536/d", "postgres://gw@db:x/d", "postgres://gw@db:/d", "postgres://gw@d b/d", "postgres://gw@db/d#x", "postgres://gw@db,/d",
		"postgres://gw@db/d?sslmode=prefer", "postgres://gw@db/d?sslmode=verify-ca", "postgres://gw@db/d?sslmode=disable&sslmode=disable", "postgres://gw@db/d?sslrootcert=/a",
		"postgres://gw@db/d?options=-c%20x", "postgres://gw@db/d?service=x", "postgres://gw@db/d?target_session_attrs=any", "postgres://gw@db/d?user=root",
		"postgres://gw@db/d?schema=pg_catalog", "postgres://gw@db/d?schema=information_schema", `postgres://gw@db/d?schema=a";drop`, "postgres://gw@db/d?schema=A", "postgres://gw@db/d?schema=",
		"postgres://gw@db/%zz", "postgres://gw@db/a%00b", "postgres://gw%00@db/d", "postgres://gw@db/d?schema=%zz", "POSTGRES://gw@db/d", "postgres:/gw@db/d", "postgres://@db/d", "postgres://gw@[::1/d", "postgres://gw@[db]:1/d",
	} {
		if p, err := store.ParsePostgres(text); err == nil {
			t.Errorf("%q was taken: %+v", text, p)
		}
	}
}

// Every mistake is told, each at its place.
func TestMistakes(t *testing.T) {
	risk := gate.Risk{AcceptRisk: "a wire between two machines in one rack"}
	over := gate.Risk{AcceptRisk: "once", Until: day().Add(-time.Hour)}
	base := "postgres://gw@db/d"
	for name, c := range map[string]struct {
		config store.Config
		paths  string
	}{
		"nothing":               {store.Config{}, ""},
		"good":                  {store.Config{URL: base, TLS: store.TLS{CA: "/ca"}, MaxConnections: 3}, ""},
		"plaintext":             {store.Config{URL: base + "?sslmode=disable"}, "insecure"},
		"plaintext accepted":    {store.Config{URL: base + "?sslmode=disable", Insecure: risk}, ""},
		"plaintext once":        {store.Config{URL: base + "?sslmode=disable", Insecure: over}, "insecure.until"},
		"end without reason":    {store.Config{URL: base, Insecure: gate.Risk{Until: day()}}, "insecure.accept_risk"},
		"loopback is a network": {store.Config{URL: "postgres://gw@127.0.0.1/d?sslmode=disable"}, "insecure"},
		"unverified":            {store.Config{URL: base + "?sslmode=require"}, "insecure"},
		"unverified accepted":   {store.Config{URL: base + "?sslmode=require", Insecure: risk}, ""},
		"risk without use":      {store.Config{URL: base, Insecure: risk}, "insecure"},
		"ca without use":        {store.Config{URL: base + "?sslmode=disable", Insecure: risk, TLS: store.TLS{CA: "/ca"}}, "url"},
		"ca not looked at":      {store.Config{URL: base + "?sslmode=require", Insecure: risk, TLS: store.TLS{CA: "/ca"}}, "url"},
		"socket":                {store.Config{URL: "postgres:///d?host=/run"}, ""},
		"socket with TLS":       {store.Config{URL: "postgres:///d?host=/run", TLS: store.TLS{CA: "/ca"}}, "url"},
		"half a pair":           {store.Config{URL: base, TLS: store.TLS{ClientKey: ref(t, "file:/k")}}, "client_cert"},
		"odd name":              {store.Config{URL: base, TLS: store.TLS{ServerName: "a b"}}, "server_name"},
		"many":                  {store.Config{URL: "postgres://db", MaxConnections: -1, Timeouts: store.Timeouts{Connect: 1, Call: time.Hour, Idle: -1}}, "max_connections timeouts.call timeouts.connect timeouts.idle url url"},
		"embedded with server":  {store.Config{Password: ref(t, "file:/p")}, "url"},

		"redis":                 {store.Config{Shared: store.SharedConfig{URL: "rediss://gw@c/1"}}, ""},
		"plain redis":           {store.Config{Shared: store.SharedConfig{URL: "redis://c"}}, "shared.insecure"},
		"plain redis accepted":  {store.Config{Shared: store.SharedConfig{URL: "redis://c", Insecure: risk}}, ""},
		"plain redis with ca":   {store.Config{Shared: store.SharedConfig{URL: "redis://c", Insecure: risk, TLS: store.TLS{CA: "/a"}}}, "shared.url"},
		"no redis":              {store.Config{Shared: store.SharedConfig{Prefix: "a"}}, "shared.url"},
		"redis number":          {store.Config{Shared: store.SharedConfig{URL: "rediss://c/x"}}, "shared.url"},
		"redis hosts":           {store.Config{Shared: store.SharedConfig{URL: "rediss://c,d/0"}}, "shared.url"},
		"redis parameters":      {store.Config{Shared: store.SharedConfig{URL: "rediss://c/0?a=b"}}, "shared.url"},
		"sentinel":              {store.Config{Shared: store.SharedConfig{URL: "rediss://gw@/2", Sentinel: store.Sentinel{Master: "m", Addresses: []string{"a:26379", "b:26379"}}}}, ""},
		"sentinel with host":    {store.Config{Shared: store.SharedConfig{URL: "rediss://c", Sentinel: store.Sentinel{Master: "m", Addresses: []string{"a:1"}}}}, "shared.url"},
		"sentinel half":         {store.Config{Shared: store.SharedConfig{Sentinel: store.Sentinel{Master: "m"}}}, "shared.sentinel.addresses"},
		"sentinel other half":   {store.Config{Shared: store.SharedConfig{Sentinel: store.Sentinel{Addresses: []string{"a:1", "a:1", "b"}}}}, "shared.sentinel.master shared.sentinel.addresses[1] shared.sentinel.addresses[2]"},
		"cluster":               {store.Config{Shared: store.SharedConfig{Cluster: []string{"a:1", "b:1"}}}, ""},
		"cluster with database": {store.Config{Shared: store.SharedConfig{URL: "rediss:///3", Cluster: []string{"a:1"}}}, "shared.url"},
		"cluster and sentinel":  {store.Config{Shared: store.SharedConfig{Cluster: []string{"a:1"}, Sentinel: store.Sentinel{Master: "m", Addresses: []string{"b:1"}}}}, "shared.cluster"},
	} {
		err := c.config.Check(day())
		var list mistake.List
		_ = errors.As(err, &list)
		var paths []string
		for _, m := range list {
			paths = append(paths, m.Path)
		}
		if strings.Join(paths, " ") != c.paths {
			t.Errorf("%s: %q, want %q\n%v", name, paths, c.paths, err)
		}
		if c.paths == "" {
			if err := c.config.Defaults().Check(day()); err != nil && !c.config.IsEmbedded() {
				t.Errorf("%s: with its defaults: %v", name, err)
			}
		}
	}
}

func TestTLSNeedsWhatItNames(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(folder, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, c := range map[string]store.TLS{ // row I5
		"missing ca": {CA: filepath.Join(folder, "none")}, "empty ca": {CA: file("empty", "")}, "garbled ca": {CA: file("bad", canary)},
		"missing certificate": {ClientCert: ref(t, "file:/none/c"), ClientKey: ref(t, "file:/none/k")},
		"garbled certificate": {ClientCert: ref(t, "file:"+file("c", canary)), ClientKey: ref(t, "file:"+file("k", canary))},
	} {
		got, err := c.Client("db", false, secret.Ref.Resolve)
		if err == nil || got != nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (store.TLS{}).Client("", false, secret.Ref.Resolve); err == nil {
		t.Error("a server is verified by no name")
	}
	if c, err := (store.TLS{ServerName: "other"}).Client("db", false, secret.Ref.Resolve); err != nil || c.InsecureSkipVerify || c.ServerName != "other" {
		t.Errorf("%+v %v", c, err)
	}
}

// What is taken has a user, servers and a name for everything, and none of it can leave its place in a statement; what is
// refused is not repeated.
func FuzzPostgresURL(f *testing.F) {
	for _, s := range []string{"postgres://gw@db/d", "postgres:///d?host=/run&port=1", "postgres://a@[::1]:2,c/d?schema=x&sslmode=require", "postgres://u:p@h/d", "rediss://u@h/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := store.ParsePostgres(text)
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) && !strings.Contains("postgres://gatehouse@db.internal:5432/gatehouse", text) {
				t.Errorf("%q is repeated: %v", text, err)
			}
		} else if len(p.Servers) == 0 || p.Database == "" || p.User == "" && !p.Socket() || strings.ContainsAny(p.Schema, "\"'\\; \x00") || strings.ContainsRune(p.User+p.Database, 0) {
			t.Errorf("%q: %+v", text, p)
		}
		if r, err := store.ParseRedis(text); err == nil && (r.Database < 0 || r.Database > 15) {
			t.Errorf("%q: %+v", text, r)
		}
	})
}
