package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/gatehouse-sec/gatehouse/store"
)

//go:embed migrations/*.sql
var files embed.FS

// migrations are steps from one version of the schema to the next.
type migrations struct {
	files  fs.FS
	newest int64
}

// newest is the version of the schema that this program knows: the number of the last file in migrations/.
const newest = 1

func embedded() migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return migrations{files: sub, newest: newest}
}

// versions is the table in which goose keeps what was done.
const versions = "schema_version"

// migrateTime bounds a migration, and the wait for one that another node runs.
const migrateTime = 10 * time.Minute

// up brings the schema to the version that this program knows. One node runs it, the others wait. It needs a role that owns
// the schema, or may create it; where the schema is as it should be, no right is needed but to read. A schema that is newer
// than this program is refused: there is no way back but a backup.
func (m migrations) up(ctx context.Context, s server) error {
	bounded, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	config, err := s.single(ctx, migrateTime)
	if err != nil {
		return fault(ctx, err)
	}
	conn, err := connect(ctx, config)
	if err != nil {
		return fault(ctx, err)
	}
	defer func() {
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		_ = conn.Close(closing)
	}()
	for {
		done, err := m.done(bounded, conn, s.url.Schema)
		if err != nil || done {
			return err
		}
		var mine bool
		if err := conn.QueryRow(bounded, `SELECT pg_try_advisory_lock($1)`, lockKey(s.url.Schema)).Scan(&mine); err != nil {
			return fault(bounded, err)
		}
		if mine {
			break
		}
		if err := wait(bounded, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%w: another node migrates the schema for more than %s", store.ErrUnavailable, migrateTime)
		}
	}
	// The lock lives as long as the connection, whatever happens to this process.
	if done, err := m.done(bounded, conn, s.url.Schema); err != nil || done {
		return err
	}
	return m.run(bounded, s, conn, config)
}

func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout*time.Duration(1+len(config.Fallbacks)))
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

// done tells that there is nothing to do, and refuses what is newer than this program.
func (m migrations) done(ctx context.Context, conn *pgx.Conn, schema string) (bool, error) {
	has, err := m.version(ctx, conn, schema)
	switch {
	case err != nil:
		return false, fault(ctx, err)
	case has > m.newest:
		return false, fmt.Errorf("store: the schema %q has version %d and this program knows %d: a newer Gatehouse has migrated it, and there is no way back; run that version or a newer one, or restore the backup from before", schema, has, m.newest)
	}
	return has == m.newest, nil
}

// version is 0 where there is no schema yet.
func (m migrations) version(ctx context.Context, conn *pgx.Conn, schema string) (int64, error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = $2)`, schema, versions).Scan(&there); err != nil || !there {
		return 0, err
	}
	var version int64
	err := conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versions+` WHERE is_applied`).Scan(&version)
	return version, err
}

func (m migrations) run(ctx context.Context, s server, conn *pgx.Conn, config *pgx.ConnConfig) error {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)`, s.url.Schema).Scan(&there); err != nil {
		return fault(ctx, err)
	}
	if !there {
		if _, err := conn.Exec(ctx, `CREATE SCHEMA `+pgx.Identifier{s.url.Schema}.Sanitize()); err != nil {
			return migrating(ctx, err)
		}
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, m.files, goose.WithTableName(versions),
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithSessionLocker(sessionLock(lockKey(s.url.Schema)+1)))
	if err != nil {
		return errors.New("store: the migrations of this program cannot be read")
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		if r.Error == nil {
			s.options.Log.Info("schema migrated", "part", "store", "version", r.Source.Version, "took", r.Duration.String())
		}
	}
	if err != nil {
		return migrating(ctx, err)
	}
	return nil
}

// sessionLock is held by the very connection that migrates. Should the one that holds lockKey break meanwhile, another node
// still waits, and then finds the work done.
type sessionLock int64

// SessionLock waits for the lock, not longer than the connection's lock_timeout.
func (l sessionLock) SessionLock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(l))
	return err
}

// SessionUnlock gives the lock back; the end of the connection would as well.
func (l sessionLock) SessionUnlock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(l))
	return err
}

// migrating adds what helps to an error in a migration.
func migrating(ctx context.Context, err error) error {
	err = fault(ctx, err)
	return fmt.Errorf("migrate the schema: %w; nothing was changed by the step that failed", err)
}

// lockKey is the number of the advisory lock that a schema's migration holds.
func lockKey(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("gatehouse migrate " + schema))
	return int64(h.Sum64() & math.MaxInt64)
}
