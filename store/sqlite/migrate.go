package sqlite

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var embedded embed.FS

// known gives the newest version that this program can make.
func known(history fs.FS) (newest int64, err error) {
	names, err := fs.Glob(history, "*.sql")
	for _, name := range names {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	return newest, err
}

// migrate brings the file to the newest version that this program knows, once: the others wait, and find it done. A step is
// made completely or not at all. Steps only add, so that a program one version older, which is still running, can go on;
// one that starts is refused.
func (d *DB) migrate(ctx context.Context) error {
	pending, err := d.pending()
	if err != nil || !pending {
		return err
	}
	turn, err := d.locks.take(ctx)
	if err != nil {
		return err
	}
	defer turn.Close()
	if pending, err = d.pending(); err != nil || !pending {
		return err
	}
	if err := d.up(ctx, d.path); err != nil {
		return fmt.Errorf("migrate store: %w", d.explain(err))
	}
	d.opt.Log.Info("store migrated", "path", d.path)
	return nil
}

// pending compares the file's version with the newest one known.
func (d *DB) pending() (bool, error) {
	newest, err := known(d.opt.migrations)
	if err != nil {
		return false, err
	}
	c, err := d.cipher.dialLog(d.path, current, settings)
	if err != nil {
		return false, d.explain(err)
	}
	defer c.close()
	version, err := c.schema()
	switch {
	case err != nil && strings.Contains(err.Error(), "no such table"):
		return false, fmt.Errorf("open store %s: %w: it is a database, but not one of this program", d.path, ErrDamaged)
	case err != nil:
		return false, d.explain(err)
	case version > newest:
		return false, fmt.Errorf("open store %s: %w: it has version %d, this program knows %d; start the newer program again, or restore the backup from before its first start", d.path, ErrNewer, version, newest)
	}
	return version < newest, nil
}

// up runs the steps that the file at path has not seen.
func (d *DB) up(ctx context.Context, path string) error {
	db, err := driver.Open(d.cipher.uri(path, current), func(c *sqlite3.Conn) error {
		return c.Exec("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")
	})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // what was migrated is on the disk already
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, d.opt.migrations, goose.WithTableName("schema_version"),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	return db.Close()
}
