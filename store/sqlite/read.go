package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/gatehouse-sec/gatehouse/store"
)

// read lends one of the connections for reading. After an error the connection is closed: the next begins anew.
func (d *DB) read(ctx context.Context, do func(*conn) error) error {
	if ctx.Err() != nil {
		return ended(context.Cause(ctx))
	}
	var c *conn
	select {
	case <-d.done:
		return closed(d.path)
	default:
	}
	select {
	case c = <-d.reader:
	case <-d.done:
		return closed(d.path)
	case <-ctx.Done():
		return ended(context.Cause(ctx))
	}
	c, err := d.dial(ctx, c)
	if err == nil {
		c.raw.SetInterrupt(ctx)
		err = do(c)
		if err != nil {
			c.close()
			c = nil
		} else {
			c.raw.SetInterrupt(context.Background())
		}
	}
	d.reader <- c
	if ctx.Err() != nil && err != nil {
		return ended(context.Cause(ctx))
	}
	return d.explain(err)
}

func ended(err error) error { return fmt.Errorf("%w: %w", store.ErrUnavailable, err) }

func closed(path string) error {
	return fmt.Errorf("%w: store %s was closed", store.ErrUnavailable, path)
}

const columns = "SELECT key, value, version, expires FROM record "

// record reads a row of columns.
func record(s *sqlite3.Stmt) store.Record {
	r := store.Record{Key: s.ColumnText(0), Value: s.ColumnBlob(1, []byte{}), Version: s.ColumnInt64(2)}
	if s.ColumnType(3) != sqlite3.NULL {
		r.Expires = time.UnixMilli(s.ColumnInt64(3)).UTC()
	}
	return r
}

// Get gives a record that is there, or ErrNone.
func (d *DB) Get(ctx context.Context, key string) (r store.Record, err error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	now := d.opt.Now()
	err = d.read(ctx, func(c *conn) error {
		return c.run(columns+"WHERE key = ?1 AND (expires IS NULL OR expires > ?2)", func(s *sqlite3.Stmt) error {
			return errors.Join(s.BindText(1, key), s.BindInt64(2, now.UnixMilli()))
		}, func(s *sqlite3.Stmt) { r = record(s) })
	})
	if err == nil && r.Key == "" {
		err = store.ErrNone
	}
	return r, err
}

// span gives the bounds of a prefix: from the first to below the second.
func span(prefix string) (from, below string) {
	if prefix == "" {
		return "", "\x7f"
	}
	last := len(prefix) - 1
	return prefix, prefix[:last] + string(prefix[last]+1)
}

// List gives records whose keys begin with prefix and are greater than after.
func (d *DB) List(ctx context.Context, prefix, after string, limit int) (list []store.Record, err error) {
	if err := store.CheckList(prefix, after, limit); err != nil {
		return nil, err
	}
	from, below := span(prefix)
	now := d.opt.Now()
	err = d.read(ctx, func(c *conn) error {
		return c.run(columns+"WHERE key >= ?1 AND key < ?2 AND key > ?3 AND (expires IS NULL OR expires > ?4) ORDER BY key LIMIT ?5",
			func(s *sqlite3.Stmt) error {
				return errors.Join(s.BindText(1, from), s.BindText(2, below), s.BindText(3, after),
					s.BindInt64(4, now.UnixMilli()), s.BindInt(5, limit))
			}, func(s *sqlite3.Stmt) { list = append(list, record(s)) })
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Since gives the records under prefix that were written after mark. SQLite has one writer at a time, which numbers what it
// writes: numbers are seen in their order. The mark is read first, so that what comes meanwhile is told twice, not never.
func (d *DB) Since(ctx context.Context, prefix, mark string) (list []store.Record, next string, err error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, "", err
	}
	before, comparable, nothing := d.nothingSince(mark)
	if nothing {
		return nil, mark, ctx.Err()
	}
	from, below := span(prefix)
	now := d.opt.Now()
	err = d.read(ctx, func(c *conn) error {
		life, last, err := c.last()
		if err != nil {
			return err
		}
		next = life + "." + strconv.FormatInt(last, 10)
		after := position(mark, life, last)
		query := columns + "WHERE seq > ?1 AND +key >= ?2 AND +key < ?3 AND (expires IS NULL OR expires > ?4) ORDER BY seq"
		if after == 0 { // by the keys, since all that are under the prefix are meant
			query = columns + "WHERE +seq > ?1 AND key >= ?2 AND key < ?3 AND (expires IS NULL OR expires > ?4) ORDER BY key"
		}
		return c.run(query, func(s *sqlite3.Stmt) error {
			return errors.Join(s.BindInt64(1, after), s.BindText(2, from), s.BindText(3, below), s.BindInt64(4, now.UnixMilli()))
		}, func(s *sqlite3.Stmt) { list = append(list, record(s)) })
	})
	if err != nil {
		return nil, "", err
	}
	if comparable {
		d.remember(before, next)
	}
	return list, next, nil
}

// position reads a mark. One that isn't this file's, or lies ahead of it, as after a restore, means from the beginning:
// a follower then hears everything again rather than miss something.
func position(mark, life string, last int64) int64 {
	of, number, ok := strings.Cut(mark, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || of != life || err != nil || n < 0 || n > last {
		return 0
	}
	return n
}
