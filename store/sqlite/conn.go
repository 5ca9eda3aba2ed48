package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"

	"github.com/gatehouse-sec/gatehouse/store"
)

// conn is one connection, with the statements it has prepared. A nil conn is a place that is not filled yet.
type conn struct {
	raw   *sqlite3.Conn
	ready map[string]*sqlite3.Stmt
}

// settings of every connection. A busy file is another process that writes. A key comes with the name of the file.
const settings = `PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA journal_size_limit = 67108864;`

func (c *cipher) dial(path, key, settings string) (*conn, error) {
	return dial(c.uri(path, key), settings)
}

// dialLog opens a file that has a log. The log's index would be made with the mode that the process likes; it is made here.
func (c *cipher) dialLog(path, key, settings string) (*conn, error) {
	if f, err := lockFile(path + "-shm"); err == nil {
		_ = f.Close()
	}
	return c.dial(path, key, settings)
}

func dial(uri, settings string) (*conn, error) {
	raw, err := sqlite3.OpenFlags(uri, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, ready: map[string]*sqlite3.Stmt{}}
	if err := raw.Exec(settings); err != nil {
		c.close()
		return nil, err
	}
	if only, ok := raw.ReadOnly("main"); ok && only {
		c.close()
		return nil, sqlite3.READONLY
	}
	return c, nil
}

// dial fills a place for a connection.
func (d *DB) dial(_ context.Context, c *conn) (*conn, error) {
	if c != nil {
		return c, nil
	}
	if fault := d.fault.Load(); fault != nil {
		return nil, *fault
	}
	c, err := d.cipher.dialLog(d.path, current, settings)
	if err != nil {
		return nil, d.explain(err)
	}
	mode, err := c.text("PRAGMA journal_mode")
	if err == nil && mode != "wal" {
		err = fmt.Errorf("it has no write-ahead log but mode %q; move it to a local file system", mode)
	}
	if err != nil {
		c.close()
		return nil, d.explain(err)
	}
	return c, nil
}

func (c *conn) close() {
	if c == nil {
		return
	}
	c.raw.SetInterrupt(context.Background())
	for _, s := range c.ready {
		_ = s.Close()
	}
	_ = c.raw.Close()
}

// prepare gives a statement, ready to be bound. What was prepared is kept.
func (c *conn) prepare(query string) (*sqlite3.Stmt, error) {
	if s, ok := c.ready[query]; ok {
		return s, s.Reset()
	}
	s, _, err := c.raw.PrepareFlags(query, sqlite3.PREPARE_PERSISTENT)
	if err == nil {
		c.ready[query] = s
	}
	return s, err
}

// run binds, steps through all rows, and resets, so that no statement holds a value or a lock afterwards.
func (c *conn) run(query string, bind func(*sqlite3.Stmt) error, row func(*sqlite3.Stmt)) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	if bind != nil {
		if err := bind(s); err != nil {
			return errors.Join(err, s.ClearBindings())
		}
	}
	for s.Step() {
		if row != nil {
			row(s)
		}
	}
	err = s.Err()
	if reset := s.Reset(); err == nil {
		err = reset
	}
	if bind != nil {
		_ = s.ClearBindings()
	}
	return err
}

func (c *conn) text(query string) (text string, err error) {
	err = c.run(query, nil, func(s *sqlite3.Stmt) { text = s.ColumnText(0) })
	return text, err
}

func (c *conn) schema() (version int64, err error) {
	err = c.run("SELECT max(version_id) FROM schema_version WHERE is_applied", nil, func(s *sqlite3.Stmt) { version = s.ColumnInt64(0) })
	return version, err
}

func (c *conn) check() error {
	var found []string
	err := c.run("PRAGMA integrity_check(5)", nil, func(s *sqlite3.Stmt) { found = append(found, s.ColumnText(0)) })
	if err == nil && (len(found) != 1 || found[0] != "ok") {
		err = fmt.Errorf("%w: %s", ErrDamaged, strings.Join(found, "; "))
	}
	return err
}

// unavailable says what keeps the file from being used. The message has the operating system's words, never a value.
func unavailable(path string, err error) error {
	return fmt.Errorf("%w: store %s: %w", store.ErrUnavailable, path, err)
}

// explain turns an error of SQLite into the one of package store, with the remedy.
func (d *DB) explain(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	var code sqlite3.ExtendedErrorCode
	if errors.As(err, &code) {
		err = fmt.Errorf("%w (code %d)", err, int(code))
	}
	remedy := ""
	switch {
	case errors.Is(err, sqlite3.FULL), errors.Is(err, sqlite3.IOERR) && full(d.path): // the file layer doesn't always tell one from the other
		remedy = "the disk is full; make room, then it goes on by itself"
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.PERM):
		remedy = "the file or its directory is read-only; let this user write to both"
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		remedy = "another process holds it; try again"
	case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT), errors.Is(err, ErrDamaged):
		if !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		remedy = "restore a backup; keep the file for whoever looks into it"
	case errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.CANTOPEN):
		remedy = "it cannot be read or written; look at the disk and at the system's log"
	}
	if remedy == "" {
		return unavailable(d.path, err)
	}
	return fmt.Errorf("%w: store %s: %s: %w", store.ErrUnavailable, d.path, remedy, err)
}

// full tells that the disk of a file has no room for a page of it and of its log.
func full(path string) bool {
	var disk unix.Statfs_t
	return unix.Statfs(filepath.Dir(path), &disk) == nil && uint64(disk.Bavail)*uint64(disk.Bsize) < 64<<10 //nolint:gosec,unconvert // the types differ by system
}
