package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
	"github.com/gatehouse-sec/gatehouse/store/storetest"
)

// shared is the server of all tests that do it no harm.
var shared *pgtest.Server

func TestMain(m *testing.M) {
	s, err := pgtest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = s
	code := m.Run()
	s.Remove()
	os.Exit(code)
}

func opened(t testing.TB, c store.Config) *postgres.DB {
	t.Helper()
	return openedWith(t, postgres.Options{Config: c})
}

func openedWith(t testing.TB, o postgres.Options) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestDurable(t *testing.T) {
	t.Parallel()
	database, n := shared.EmptyDatabase(t), 0
	storetest.Durable(t, func(t *testing.T) (store.Durable, storetest.Env) {
		n++
		schema := fmt.Sprintf("schema%d", n)
		shared.Exec(t, database, `CREATE SCHEMA `+schema+` AUTHORIZATION `+pgtest.Role)
		c := shared.Config(t, database)
		c.URL += "?schema=" + schema
		return opened(t, c), storetest.Env{
			Now:     time.Now,
			Forward: time.Sleep, // the server keeps the time
			Step:    500 * time.Millisecond,
			Reopen:  func(t *testing.T) store.Durable { return opened(t, c) },
		}
	})
}
