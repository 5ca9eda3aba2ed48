package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Snapshot copies the store as it is at this moment to a new file at path, under a key of its own, while reads and writes go
// on. The copy is complete when the name exists, and never before: it is made as path.part-*, which a crash may leave.
// It takes Options.Share of one processor. A follower's mark of the store is none of the copy's, so that one that is
// restored never hides a change. The log grows until the copy is made. A change of key ends it with store.ErrUnavailable.
func (d *DB) Snapshot(ctx context.Context, path string, key secret.Value, progress Progress) error {
	raw, err := checkKey(key)
	if err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("copy the store: %s exists; choose another name", path)
	}
	ctx, stop := d.yielding(ctx)
	defer stop()
	part := path + ".part-" + random()
	name := "copy-" + random()
	d.cipher.hold(name, raw)
	defer d.cipher.release(name)
	err = d.read(ctx, func(c *conn) error { return d.copyOut(ctx, c, part, name, progress) })
	if err == nil {
		err = d.renew(part, name)
	}
	if err == nil {
		err = d.publish(part, path)
	}
	if err != nil {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			_ = os.Remove(part + suffix)
		}
		return fmt.Errorf("copy the store to %s: %w", path, d.explain(err))
	}
	return nil
}

// copyOut copies what the connection sees, which one transaction holds still.
func (d *DB) copyOut(ctx context.Context, c *conn, part, name string, progress Progress) error {
	if err := d.touch(part); err != nil {
		return err
	}
	if err := c.raw.Exec("BEGIN; SELECT count(*) FROM mark"); err != nil {
		return err
	}
	err := c.copyTo(ctx, d.cipher.uri(part, name), func(began time.Time, done, total int64) error {
		if progress != nil {
			progress(done, total, "copy")
		}
		return d.pace(ctx, began)
	})
	return errors.Join(err, c.raw.Exec("ROLLBACK"))
}

// renew gives a copy a life of its own, and leaves it as one file.
func (d *DB) renew(path, key string) error {
	c, err := d.cipher.dialLog(path, key, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(path + "-shm") }()
	defer c.close()
	return c.raw.Exec("UPDATE mark SET life = lower(hex(randomblob(8)))")
}
