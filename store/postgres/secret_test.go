package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

const canary = "canary-8d1f"

// noCanary fails when an error shows what nobody should read, in any form that a log might choose (row K2).
func noCanary(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, form := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, c := range []string{canary, pgtest.Password, "canary"} {
			if strings.Contains(form, c) {
				t.Errorf("%s: the error shows %s: %s", what, c, form)
			}
		}
	}
}

// A server's error quotes the row that it refuses, and the statement. Ours does not.
func TestErrorsShowNoValue(t *testing.T) {
	c, ctx := shared.Database(t), context.Background()
	url, err := store.ParsePostgres(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	db := opened(t, c)
	secretive := store.Write{Key: "secret/" + canary, Value: []byte(canary), Version: store.Any}
	shared.Exec(t, url.Database, `ALTER TABLE gatehouse.record ADD CONSTRAINT none CHECK (key !~ '^secret')`)
	_, err = db.Write(ctx, secretive)
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "23514") {
		t.Errorf("a record that the table refuses: %v", err)
	}
	noCanary(t, "check", err)
	noCanary(t, "check of all", db.WriteAll(ctx, secretive, store.Write{Key: "a", Value: []byte(canary)}))
	shared.Exec(t, url.Database, `CREATE FUNCTION gatehouse.loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'value % of %', convert_from(new.value, 'UTF8'), new.key USING DETAIL = new.key, HINT = new.key; END $$`,
		`CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON gatehouse.record FOR EACH ROW EXECUTE FUNCTION gatehouse.loud()`)
	_, err = db.Write(ctx, store.Write{Key: "a", Value: []byte(canary)})
	noCanary(t, "trigger", err)
	shared.Exec(t, url.Database, `DROP TABLE gatehouse.record`)
	_, err = db.Get(ctx, "a")
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "table is missing") {
		t.Errorf("without its table: %v", err)
	}
}

func TestLogins(t *testing.T) {
	good, ctx := shared.Database(t), context.Background()
	database := good.URL[strings.LastIndex(good.URL, "/")+1:]
	opened(t, good)
	host := shared.Address()
	change := func(f func(*store.Config)) store.Config { c := good; f(&c); return c }
	url := func(text string) func(*store.Config) { return func(c *store.Config) { c.URL = text } }
	risk := gate.Risk{AcceptRisk: "a test on loopback"}
	cert, key := shared.ClientCertificate(t, "certified")
	wrongCert, wrongKey := shared.ClientCertificate(t, "somebody")
	shared.Exec(t, database, `GRANT USAGE ON SCHEMA gatehouse TO certified`, `GRANT SELECT ON gatehouse.schema_version TO certified`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON gatehouse.record TO certified`, `GRANT SELECT, UPDATE ON gatehouse.history TO certified`)
	for name, c := range map[string]struct {
		config store.Config
		want   string // a part of the error; "" for none
	}{
		"password":           {good, ""},
		"by name":            {change(url("postgres://gatehouse@localhost:" + host[strings.LastIndex(host, ":")+1:] + "/" + database)), ""},
		"first host is gone": {change(url("postgres://gatehouse@127.0.0.1:1," + host + "/" + database)), ""},
		"wrong password":     {change(func(c *store.Config) { c.Password = pgtest.Secret(t, canary) }), "refuses the password"},
		"missing password":   {change(func(c *store.Config) { c.Password = pgtest.Reference(t, "/none/password") }), "/none/password"},
		"no password":        {change(func(c *store.Config) { c.Password = secret.Ref{} }), "refuses the password"},
		"no database":        {change(url("postgres://gatehouse@" + host + "/none")), "does not exist"},
		"no such user":       {change(url("postgres://nobody@" + host + "/" + database)), "refuses the password"},
		"no server":          {change(url("postgres://gatehouse@127.0.0.1:1/" + database)), "nothing takes connections at 127.0.0.1:1"},
		"other authority":    {change(func(c *store.Config) { c.CA = otherCA(t) }), "authority that is not trusted"},
		"system's authority": {change(func(c *store.Config) { c.CA = "" }), "authority that is not trusted"},
		"no authority file":  {change(func(c *store.Config) { c.CA = "/none/ca" }), "/none/ca"},
		"other name":         {change(func(c *store.Config) { c.ServerName = "db.internal" }), "for another name"},
		"other name's host":  {change(func(c *store.Config) { c.ServerName = "localhost" }), ""},
		"certificate": {change(func(c *store.Config) {
			c.URL = "postgres://certified@" + host + "/" + database
			c.ClientCert, c.ClientKey, c.Password = cert, key, secret.Ref{}
		}), ""},
		"other certificate": {change(func(c *store.Config) {
			c.URL = "postgres://certified@" + host + "/" + database
			c.ClientCert, c.ClientKey = wrongCert, wrongKey
		}), "lets this user not in"},
		"no certificate":     {change(url("postgres://certified@" + host + "/" + database)), "lets this user not in"},
		"half of two pairs":  {change(func(c *store.Config) { c.ClientCert, c.ClientKey = cert, wrongKey }), "no pair"},
		"unverified":         {change(func(c *store.Config) { c.URL, c.CA, c.Insecure = good.URL+"?sslmode=require", "", risk }), ""},
		"plaintext":          {change(func(c *store.Config) { c.URL, c.CA, c.Insecure = good.URL+"?sslmode=disable", "", risk }), ""},
		"plaintext unasked":  {change(func(c *store.Config) { c.URL, c.CA = good.URL+"?sslmode=disable", "" }), "insecure"},
		"socket":             {shared.SocketConfig(database, pgtest.Role), ""},
		"socket as somebody": {shared.SocketConfig(database, "nobody"), "lets this user not in"},
		"embedded":           {store.Config{}, "embedded"},
	} {
		db, err := postgres.Open(ctx, postgres.Options{Config: c.config})
		if err == nil {
			if e := db.Ping(ctx); e != nil {
				t.Errorf("%s: %v", name, e)
			}
			_ = db.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil {
			noCanary(t, name, err)
		}
	}
}

// otherCA is a good authority that has signed nothing here.
func otherCA(t *testing.T) string {
	t.Helper()
	cert, _ := shared.ClientCertificate(t, "other")
	return cert.Path()
}

// Only what the operator configured counts: neither libpq's variables nor its files in the home directory.
func TestTheEnvironmentHasNoSay(t *testing.T) {
	home := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file(".pgpass", "*:*:*:*:"+pgtest.Password+"\n")
	file(".pg_service.conf", "[evil]\nhost=127.0.0.9\n")
	for _, name := range []string{"root.crt", "postgresql.crt", "postgresql.key"} {
		file(".postgresql/"+name, "garbage")
	}
	t.Setenv("HOME", home)
	for name, value := range map[string]string{
		"PGHOST": "127.0.0.9", "PGPORT": "x", "PGDATABASE": "evil", "PGUSER": "evil", "PGPASSWORD": pgtest.Password, "PGPASSFILE": filepath.Join(home, ".pgpass"),
		"PGAPPNAME": "evil", "PGCONNECT_TIMEOUT": "x", "PGSSLMODE": "evil", "PGSSLKEY": "/none", "PGSSLCERT": "/none", "PGSSLCERTMODE": "evil", "PGSSLSNI": "x",
		"PGSSLROOTCERT": "/none", "PGSSLPASSWORD": "x", "PGSSLNEGOTIATION": "evil", "PGTARGETSESSIONATTRS": "evil", "PGSERVICE": "evil", "PGSERVICEFILE": "/none",
		"PGTZ": "evil", "PGOPTIONS": "-c evil=1", "PGMINPROTOCOLVERSION": "x", "PGMAXPROTOCOLVERSION": "x", "PGCHANNELBINDING": "x", "PGREQUIREAUTH": "evil",
	} {
		t.Setenv(name, value)
	}
	c := shared.Config(t, emptyWithSchema(t))
	db := opened(t, c)
	exercise(t, db)
	c.Password = secret.Ref{}
	if _, err := postgres.Open(context.Background(), postgres.Options{Config: c}); err == nil {
		t.Error("a password came from somewhere")
	}
	c.Password = pgtest.Secret(t, pgtest.Password)
	c.CA = ""
	if _, err := postgres.Open(context.Background(), postgres.Options{Config: c}); err == nil {
		t.Error("an authority came from somewhere")
	}
}

// emptyWithSchema is a database like that of Database, made before the environment is turned upside down.
func emptyWithSchema(t *testing.T) string {
	t.Helper()
	old := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "PG") {
			old[name] = value
			_ = os.Unsetenv(name)
		}
	}
	defer func() {
		for name, value := range old {
			_ = os.Setenv(name, value)
		}
	}()
	name := shared.EmptyDatabase(t)
	shared.Exec(t, name, `CREATE SCHEMA gatehouse AUTHORIZATION `+pgtest.Role)
	return name
}

// A rotated password serves from the next connection on, and those that are open stay.
func TestAPasswordIsRotated(t *testing.T) {
	ctx := context.Background()
	c := shared.Database(t)
	database := c.URL[strings.LastIndex(c.URL, "/")+1:]
	shared.Exec(t, "postgres", `DROP ROLE IF EXISTS rotating`, `CREATE ROLE rotating LOGIN PASSWORD 'first'`)
	shared.Exec(t, database, `DROP SCHEMA gatehouse`, `CREATE SCHEMA gatehouse AUTHORIZATION rotating`)
	c.URL = strings.Replace(c.URL, pgtest.Role+"@", "rotating@", 1)
	c.Password = pgtest.Secret(t, "first")
	db := opened(t, c)
	if err := db.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	shared.Exec(t, "postgres", `ALTER ROLE rotating PASSWORD 'second'`)
	if err := db.Ping(ctx); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	if err := os.WriteFile(c.Password.Path(), []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared.Exec(t, "postgres", `SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'rotating'`)
	if err := db.Ping(ctx); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
}

// The sessions have the bounds that the operator chose, and cannot wait longer than the node.
func TestSettingsOfSessions(t *testing.T) {
	t.Parallel()
	c := shared.Database(t)
	c.Timeouts.Call = 2 * time.Second
	db := opened(t, c)
	if err := db.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	database := c.URL[strings.LastIndex(c.URL, "/")+1:]
	conn := shared.Connect(t, database)
	// A row that somebody else holds: the write ends in bounded time and says so.
	tx, err := conn.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Write(context.Background(), store.Write{Key: "held", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(context.Background(), `SELECT FROM gatehouse.record WHERE key = 'held' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = db.Write(context.Background(), store.Write{Key: "held", Value: []byte("y"), Version: 1})
	if took := time.Since(began); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "55P03") || took > 2*time.Second {
		t.Errorf("a held row: %v after %s", err, took)
	}
	_ = tx.Rollback(context.Background())
	if _, err = db.Write(context.Background(), store.Write{Key: "held", Value: []byte("y"), Version: 1}); err != nil {
		t.Error(err)
	}
	// Whatever the server's administrators chose for this role, a commit waits for the disk.
	shared.Exec(t, database, `ALTER ROLE `+pgtest.Role+` IN DATABASE `+database+` SET synchronous_commit = off`)
	other := opened(t, c)
	for name, want := range map[string]string{"synchronous_commit": "on", "statement_timeout": "1800ms", "lock_timeout": "1600ms", "idle_in_transaction_session_timeout": "4s",
		"search_path": "gatehouse, pg_temp", "application_name": "gatehouse", "default_transaction_isolation": "read committed", "TimeZone": "UTC"} {
		if got, err := other.Show(context.Background(), name); err != nil || got != want {
			t.Errorf("%s is %q, want %q; %v", name, got, want, err)
		}
	}
}
