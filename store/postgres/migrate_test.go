package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Many nodes start at once against an empty database: all come up, one migrates.
func TestOneNodeMigrates(t *testing.T) {
	c := shared.Database(t)
	var log lines
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			db, err := postgres.Open(context.Background(), postgres.Options{Config: c, Log: log.logger()})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = db.Close() }()
			if _, err := db.Write(context.Background(), store.Write{Key: "a", Value: []byte("x"), Version: store.Any}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(log.String(), "schema migrated"); n != 1 {
		t.Errorf("%d nodes migrated\n%s", n, log.String())
	}
}

// with adds migrations to the program's own.
func with(t *testing.T, steps ...string) (fs.FS, int64) {
	t.Helper()
	own, newest := postgres.Migrations()
	all := fstest.MapFS{}
	names, err := fs.Glob(own, "*.sql")
	if err != nil || int64(len(names)) != newest {
		t.Fatalf("%d files of migrations, and the newest version is %d: %v", len(names), newest, err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(own, name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "goose Down") {
			t.Errorf("%s has a way back; there is none", name)
		}
		all[name] = &fstest.MapFile{Data: data}
	}
	for i, sql := range steps {
		all[fmt.Sprintf("%05d_next.sql", newest+int64(i)+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	}
	return all, newest + int64(len(steps))
}

// The node of yesterday goes on while the node of tomorrow has migrated already: what a version adds, the one before
// neither sees nor needs (row I15).
func TestTheVersionBeforeServesOn(t *testing.T) {
	c, ctx := shared.Database(t), context.Background()
	old := opened(t, c)
	if _, err := old.Write(ctx, store.Write{Key: "old", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	_, mark, err := old.Since(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	files, newest := with(t, "ALTER TABLE record ADD COLUMN owner text, ADD COLUMN kind text NOT NULL DEFAULT 'record';\nCREATE TABLE other (id bigint PRIMARY KEY);\nCREATE INDEX record_owner ON record (owner);")
	next, err := postgres.OpenSchema(ctx, postgres.Options{Config: c}, files, newest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	for i, db := range []*postgres.DB{old, next, old} {
		key := fmt.Sprintf("key/%d", i)
		if err := db.WriteAll(ctx, store.Write{Key: key, Value: []byte("1")}, store.Write{Key: "old", Value: []byte{byte(i)}, Version: int64(i + 1)}); err != nil {
			t.Fatal(err)
		}
		for _, w := range []store.Write{{Key: key, Value: []byte("2"), Version: 1}, {Key: key, Version: 2}, {Key: key, Value: []byte("3")}, {Key: key, Value: []byte("4"), Version: store.Any}} {
			if _, err := db.Write(ctx, w); err != nil {
				t.Fatalf("%d: %+v: %v", i, w, err)
			}
		}
		if r, err := db.Get(ctx, key); err != nil || string(r.Value) != "4" {
			t.Fatalf("%d: %+v %v", i, r, err)
		}
		if list, err := db.List(ctx, "key/", "", 10); err != nil || len(list) != i+1 {
			t.Fatalf("%d: %d records, %v", i, len(list), err)
		}
		if changed, _, err := db.Since(ctx, "", mark); err != nil || len(changed) != i+2 {
			t.Fatalf("%d: %d changed, %v", i, len(changed), err)
		}
		if _, err := db.Sweep(ctx, 10); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// And it is refused at its next start, with words (I15).
	_, err = postgres.Open(ctx, postgres.Options{Config: c})
	if err == nil || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "newer") || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a newer schema: %v", err)
	}
}

// A step that fails changes nothing, is told without what it was about, and goes again when its reason is gone.
func TestAStepThatFails(t *testing.T) {
	c, ctx := shared.Database(t), context.Background()
	old := opened(t, c)
	if _, err := old.Write(ctx, store.Write{Key: canary, Value: []byte(canary)}); err != nil {
		t.Fatal(err)
	}
	files, newest := with(t, "CREATE TABLE half (id bigint);\nALTER TABLE record ADD CONSTRAINT none CHECK (key <> '"+canary+"');")
	_, err := postgres.OpenSchema(ctx, postgres.Options{Config: c}, files, newest)
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "migrate") {
		t.Fatalf("%v", err)
	}
	again := opened(t, c) // nothing was done by half
	if _, err := again.Write(ctx, store.Write{Key: canary, Version: 1}); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.OpenSchema(ctx, postgres.Options{Config: c}, files, newest)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
}

// A migration waits for a node that holds the lock, and for no longer than its own context.
func TestTheLockOfAMigration(t *testing.T) {
	c := shared.Database(t)
	opened(t, c)
	files, newest := with(t, "SELECT pg_sleep(0.6);")
	began := make(chan error, 2)
	for range 2 {
		go func() {
			db, err := postgres.OpenSchema(context.Background(), postgres.Options{Config: c}, files, newest)
			if err == nil {
				_ = db.Close()
			}
			began <- err
		}()
	}
	for range 2 {
		if err := <-began; err != nil {
			t.Error(err)
		}
	}
}

// A node dies in the middle of a migration, at any connection: the next one finds everything as it was, or done (I14).
func TestADeathInAMigration(t *testing.T) {
	ctx := context.Background()
	for round := range points(2, 20) {
		c := shared.Database(t)
		opened(t, c)
		url, err := store.ParsePostgres(c.URL)
		if err != nil {
			t.Fatal(err)
		}
		files, newest := with(t, "CREATE TABLE one (id bigint);\nSELECT pg_sleep(0.5);\nCREATE TABLE two (id bigint);")
		died := make(chan error, 1)
		go func() {
			db, err := postgres.OpenSchema(ctx, postgres.Options{Config: c}, files, newest)
			if err == nil {
				_ = db.Close()
			}
			died <- err
		}()
		conn := shared.Connect(t, url.Database)
		which := []string{`query LIKE '%pg_sleep%'`, `query NOT LIKE '%pg_sleep%' AND application_name = 'gatehouse'`}[round%2]
		for ended := 0; ended == 0; time.Sleep(5 * time.Millisecond) {
			if err := conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM pg_stat_activity a WHERE a.datname = $1 AND a.pid <> pg_backend_pid() AND `+which+
				` AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep')`, url.Database).Scan(&ended); err != nil {
				t.Fatal(err)
			}
		}
		db, err := postgres.OpenSchema(ctx, postgres.Options{Config: c}, files, newest)
		if err != nil {
			t.Fatalf("after a death: %v", err)
		}
		exercise(t, db)
		_ = db.Close()
		if err := <-died; err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the one that died: %v", err)
		}
		var rows, tables int
		if err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM gatehouse.schema_version WHERE version_id = $1), (SELECT count(*) FROM pg_tables WHERE tablename IN ('one', 'two'))`, newest).Scan(&rows, &tables); err != nil || rows != 1 || tables != 2 {
			t.Errorf("round %d: the step was done %d times and made %d tables: %v", round, rows, tables, err)
		}
	}
}

// What the package's README says about roles: the owner of a schema who may do nothing else makes and serves it, and a
// role that may only change rows serves what the owner has made.
func TestRoles(t *testing.T) {
	ctx := context.Background()
	c := shared.Database(t) // Role owns the schema and nothing else
	url, err := store.ParsePostgres(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	shared.Exec(t, "postgres", `DROP ROLE IF EXISTS runtime`, `CREATE ROLE runtime LOGIN`)
	runtime := postgres.Options{Config: shared.SocketConfig(url.Database, "runtime")}

	if _, err := postgres.Open(ctx, runtime); err == nil || !strings.Contains(err.Error(), "README") {
		t.Errorf("a role without rights on an empty schema: %v", err)
	}
	for range 2 { // the owner starts once for each version, and once more does nothing
		db, err := postgres.Open(ctx, postgres.Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
	}
	if _, err := postgres.Open(ctx, runtime); err == nil || !strings.Contains(err.Error(), "README") {
		t.Errorf("a role without rights: %v", err)
	}
	shared.Exec(t, url.Database,
		`GRANT USAGE ON SCHEMA gatehouse TO runtime`,
		`GRANT SELECT ON gatehouse.schema_version TO runtime`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON gatehouse.record TO runtime`,
		`GRANT SELECT, UPDATE ON gatehouse.history TO runtime`)
	db := openedWith(t, runtime)
	exercise(t, db)
}

// exercise asks for everything once.
func exercise(t *testing.T, db *postgres.DB) {
	t.Helper()
	ctx := context.Background()
	for _, w := range []store.Write{{Key: "x", Value: []byte("1")}, {Key: "x", Value: []byte("2"), Version: 1}, {Key: "x", Value: []byte("3"), Version: store.Any}, {Key: "x", Version: 3}, {Key: "x", Version: store.Any}, {Key: "x"}} {
		if _, err := db.Write(ctx, w); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if err := db.WriteAll(ctx, store.Write{Key: "y", Value: []byte("1")}, store.Write{Key: "z", Value: []byte("1")}); err != nil {
		t.Error(err)
	}
	if list, err := db.List(ctx, "", "", 10); err != nil || len(list) != 2 {
		t.Errorf("%d records, %v", len(list), err)
	}
	if list, _, err := db.Since(ctx, "", ""); err != nil || len(list) != 2 {
		t.Errorf("%d records, %v", len(list), err)
	}
	if _, err := db.Get(ctx, "y"); err != nil {
		t.Error(err)
	}
	if _, err := db.Sweep(ctx, 10); err != nil {
		t.Error(err)
	}
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// A schema of another name is made where the role may make one, and what it is called goes nowhere but there.
func TestASchemaOfItsOwn(t *testing.T) {
	name := shared.EmptyDatabase(t)
	shared.Exec(t, "postgres", `GRANT CREATE ON DATABASE `+name+` TO `+pgtest.Role)
	one, two := shared.Config(t, name), shared.Config(t, name)
	one.URL += "?schema=select"
	two.URL += "?schema=other_one&application_name=node-2"
	a, b := opened(t, one), opened(t, two)
	exercise(t, a)
	exercise(t, b)
	var tables int
	if err := shared.Connect(t, name).QueryRow(context.Background(), `SELECT count(*) FROM pg_tables WHERE tablename = 'record' AND schemaname IN ('select', 'other_one')`).Scan(&tables); err != nil || tables != 2 {
		t.Errorf("%d tables, %v", tables, err)
	}
}
